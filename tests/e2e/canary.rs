//! A revision on trial has its share of the starts, and is taken back or made the active one by rule.

use serde_json::{Value, json};

use crate::harness::{Host, eventually, workflow};
use crate::store::Flushes;

/// A revision whose runs answer with its name, or fail where the request says so; with the path of its route.
fn revision(name: &str, fails: bool) -> Value {
    let way = if fails { "panic" } else { "print" };
    let steps = json!([
        {"key": "a", "type": "acme/rogue/rogue", "config": {"way": way}},
        {"key": "answer", "type": "response", "config": {"status": 200, "body": {"from": name}}}
    ]);
    workflow("w", &json!({"mode": "sync"}), &steps)
}

/// A host with revision 1 active and revision 2 published.
fn host_with(second: &Value) -> Host {
    let host = Host::start();
    host.add_plugin("rogue");
    host.apply(&revision("first", false));
    publish(&host, second);
    host
}

fn publish(host: &Host, definition: &Value) {
    assert!(host.api("PUT", "/workflows/w/draft", definition.to_string().as_bytes()).status < 300);
    assert_eq!(host.api("POST", "/workflows/w/revisions", b"").status, 201);
}

fn canary(host: &Host, arguments: &[&str]) -> Value {
    let output = host.cli(&[&["workflow", "canary", "w", "--json"], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn ask(host: &Host) -> (u16, Value) {
    let answer = host.hook("w", b"{}");
    (answer.status, if answer.status == 200 { answer.json()["from"].clone() } else { Value::Null })
}

#[test]
fn a_revision_that_fails_more_is_taken_back() {
    let host = host_with(&revision("second", true));
    let begun = canary(&host, &["--share", "25", "--runs-min", "10", "--worse-by", "20"]);
    assert_eq!((&begun["active_revision"], &begun["canary"]["revision"]), (&json!(1), &json!(2)));
    let mut failed = 0;
    for asked in 0..400 {
        failed += u32::from(ask(&host).0 == 500);
        if host.get("/workflows/w")["last_canary"].is_object() {
            assert!(asked > 30, "it is not judged before 10 of its runs have ended");
            break;
        }
    }
    assert!((10..15).contains(&failed), "{failed} requests failed before it was taken back");
    let shown = host.get("/workflows/w");
    assert_eq!((&shown["active_revision"], &shown["canary"]), (&json!(1), &Value::Null));
    let told = host.get("/audit?limit=2")["items"].clone();
    let told =
        [0, 1].map(|index| [&told[index]["who"], &told[index]["what"], &told[index]["on"]].map(|text| text.as_str().unwrap()));
    assert_eq!(told, [["host", "trial-ended", "w"], ["command line", "trial-begun", "w"]]);
    let last = &shown["last_canary"];
    assert!(last["why"].as_str().unwrap().contains("100.0 % failed, beside 0.0 %"), "{last}");
    assert_eq!(last["runs"]["ended"], last["runs"]["failed"]);
    assert!((0..20).all(|_| ask(&host) == (200, json!("first"))));
    let text = String::from_utf8(host.cli(&["workflow", "show", "w"]).stdout).unwrap();
    assert!(text.contains("was taken back   revision 2"), "{text}");
}

#[test]
fn a_revision_that_does_well_has_its_share_and_becomes_the_active_one() {
    let host = host_with(&revision("second", false));
    canary(&host, &["--share", "20"]);
    // It survives a restart.
    let host = Host::start_in(host.kill(), &[]);
    let of_second = |host: &Host, asks: usize| (0..asks).filter(|_| ask(host) == (200, json!("second"))).count();
    assert_eq!(of_second(&host, 100), 20, "a share is exact");
    assert_eq!(host.get("/workflows/w")["canary"]["runs"], json!({"ended": 20, "failed": 0}));
    // By hand it is taken back, and put on trial anew.
    assert_eq!(canary(&host, &["--stop"])["canary"], Value::Null);
    assert_eq!(of_second(&host, 50), 0);
    host.api("DELETE", "/workflows/w/canary", b"").expect_problem(404, "not-found");
    canary(&host, &["--share", "50", "--runs-min", "5", "--promote-after", "15"]);
    of_second(&host, 40);
    eventually("it is the active one", || host.get("/workflows/w")["active_revision"] == 2);
    assert_eq!(of_second(&host, 10), 10);
    assert_eq!(host.get("/workflows/w")["canary"], Value::Null);
}

#[test]
fn what_cannot_stand_beside_the_active_revision_is_refused() {
    let elsewhere = workflow("w", &json!({"mode": "sync", "methods": ["PUT"]}), &json!([]));
    let host = host_with(&elsewhere);
    let refused = |body: Value, part: &str| {
        let answer = host.api("PUT", "/workflows/w/canary", body.to_string().as_bytes());
        assert!(answer.status >= 400, "{body}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(part), "{body}: {detail}");
    };
    refused(json!({"share_percent": 10}), "listens elsewhere");
    refused(json!({"share_percent": 10, "revision": 1}), "active one already");
    refused(json!({"share_percent": 10, "revision": 7}), "no revision");
    refused(json!({"share_percent": 100}), "1 to 99");
    refused(json!({"share_percent": 10, "promote_after_runs": 3}), "at least");
    host.api("POST", "/workflows/w/pause", b"");
    refused(json!({"share_percent": 10}), "paused");
    assert_eq!(host.get("/workflows/w")["canary"], Value::Null);
}

#[test]
fn what_a_trigger_does_when_it_is_subscribed_is_kept_with_the_trial() {
    let (host, flushed) = Flushes::of_host();
    host.add_plugin("lab");
    let of = |label: &str| {
        let trigger = json!({"type": "acme/lab/ticks", "config": {"label": label, "counter": "subscribed"}});
        let steps = json!([{"key": "a", "type": "acme/lab/read", "config": {"counter": "subscribed"}}]);
        json!({"weft": 1, "key": "w", "trigger": trigger, "steps": steps})
    };
    host.apply(&of("one"));
    publish(&host, &of("two"));
    // A trial takes the place of the one before it.
    let cost = flushed.of(|| drop(canary(&host, &["--share", "50"])));
    assert_eq!(cost, 1, "one commit for both: nobody finds one without the other");
    assert_eq!(host.run_once("w", &json!({}))["steps"][0]["output"], 4, "it was subscribed each time");
}
