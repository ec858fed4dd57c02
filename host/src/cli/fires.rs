//! `weft workflow next` and `weft workflow set-aside`

use http::Method;

use super::Failure;
use super::client::{Client, segment};
use super::print;

pub(super) async fn next(client: &Client, key: &str, limit: usize) -> Result<(), Failure> {
    let found = client.get(&format!("/workflows/{}/fires?limit={limit}", segment(key))).await?;
    if client.json {
        print::json(&found);
        return Ok(());
    }
    let rows = print::items(&found).map(|fire| {
        let [at, timer, runs] = ["at", "timer", "runs"].map(|member| print::text(fire, member));
        [at, timer, runs, if fire["is_set"] == true { "set".into() } else { "then".into() }]
    });
    let set_aside = found["set_aside"].as_u64().unwrap_or_default();
    let nothing = if set_aside > 0 { "no timer is set" } else { "no timer is set: the workflow is paused, or waits for none" };
    print::table(["at", "timer", "runs", ""], rows.collect(), nothing);
    if set_aside > 0 {
        println!("{}", waiting(set_aside, key));
    }
    for (member, says) in [("held", "held up"), ("stopped", "the trigger says no more")] {
        let told = &found[member];
        if told.is_object() {
            println!("{says}: {} ({})", print::text(told, "message"), print::text(told, "code"));
        }
    }
    Ok(())
}

/// Says that events wait for an operator, and how to look at them.
pub(super) fn waiting(set_aside: u64, key: &str) -> String {
    format!(
        "{set_aside} set aside: its trigger could not take them, and set no timer after them; `weft workflow set-aside {key}` shows why"
    )
}

pub(super) async fn set_aside(client: &Client, key: &str, after: Option<String>, limit: usize) -> Result<(), Failure> {
    let after = after.map(|after| format!("&after={}", segment(&after))).unwrap_or_default();
    let page = client.get(&format!("/workflows/{}/set-aside?limit={limit}{after}", segment(key))).await?;
    if client.json {
        print::json(&page);
        return Ok(());
    }
    let rows = print::items(&page).map(|event| {
        let [number, timer, at, since] = ["number", "timer", "at", "set_aside_at"].map(|member| print::text(event, member));
        let failure = &event["failure"];
        [number, timer, at, since, format!("{} ({})", print::text(failure, "message"), print::text(failure, "code"))]
    });
    print::table(["number", "timer", "at", "set aside", "because"], rows.collect(), "no event was set aside");
    print::more(&page);
    Ok(())
}

pub(super) async fn retry(client: &Client, key: &str, number: &str) -> Result<(), Failure> {
    let path = format!("/workflows/{}/set-aside/{}/retry", segment(key), segment(number));
    let done = client.post(&path, &serde_json::json!({})).await?;
    if client.json {
        print::json(&done);
    } else {
        println!("{key}: event {number} started {} runs", done["runs"]);
    }
    Ok(())
}

pub(super) async fn drop(client: &Client, key: &str, number: &str) -> Result<(), Failure> {
    let path = format!("/workflows/{}/set-aside/{}", segment(key), segment(number));
    client.send(Method::DELETE, &path, bytes::Bytes::new()).await?;
    if !client.json {
        println!("{key}: event {number} is dropped");
    }
    Ok(())
}
