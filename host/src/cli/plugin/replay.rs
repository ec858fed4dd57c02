//! `weft plugin replay` and `require-replay`

use http::Method;
use serde_json::{Value, json};

use super::super::client::Client;
use super::super::{Failure, print};
use super::check_name;

pub(super) async fn replay(client: &Client, name: &str, against: &semver::Version, last: u32) -> Result<(), Failure> {
    let (name, version) = name.split_once('@').ok_or_else(|| Failure::Usage(format!("`{name}`: write vendor/name@version")))?;
    check_name(name)?;
    let given = json!({ "version": version, "against": against, "last": last });
    let replayed = client.post(&format!("/plugins/{name}/replay"), &given).await?;
    let differences = replayed["differences"].as_array().map_or(&[][..], Vec::as_slice);
    if client.json {
        print::json(&replayed);
    } else {
        shown(&replayed, differences, version, &against.to_string());
    }
    if differences.is_empty() {
        Ok(())
    } else {
        Err(Failure::Refused(format!("{} calls came out differently", differences.len())))
    }
}

pub(super) async fn require(client: &Client, name: &str, last: Option<u32>) -> Result<(), Failure> {
    check_name(name)?;
    let path = format!("/plugins/{name}/required-replay");
    let required = match last {
        Some(last) => client.send(Method::PUT, &path, json!({ "last": last }).to_string().into()).await?,
        None => client.send(Method::DELETE, &path, bytes::Bytes::new()).await?,
    };
    match last {
        _ if client.json => print::json(&required),
        Some(last) => println!("another version of {name} takes over only if the last {last} calls come out the same"),
        None => println!("any version of {name} may take over"),
    }
    Ok(())
}

fn shown(replayed: &Value, differences: &[Value], new: &str, old: &str) {
    let [calls, same, unrecorded] = ["calls", "same", "unrecorded"].map(|member| print::text(replayed, member));
    println!(
        "{calls} calls of {old} made again with {new}: {same} the same, {} differently, {unrecorded} not recorded",
        differences.len()
    );
    let rows = [(old, "old"), (new, "new")].map(|(version, member)| {
        let took = &replayed[member];
        let ms = |what: &str| format!("{:.2} ms", took[what].as_f64().unwrap_or_default() / 1_000.0);
        let mib = format!("{:.1} MiB", took["memory_bytes"].as_f64().unwrap_or_default() / 1024.0 / 1024.0);
        [version.to_owned(), ms("p50_us"), ms("p99_us"), ms("cpu_us"), mib]
    });
    print::table(["version", "p50", "p99", "cpu", "memory"], rows.into(), "no calls");
    for difference in differences {
        let [run, activation, what, old, new] =
            ["run", "activation", "what", "old", "new"].map(|member| print::text(difference, member));
        println!("\n{run} {activation}: {what}\n  then {old}\n  now  {new}");
    }
    if replayed["unrecorded"] != 0 {
        println!("\nWhat the host answers is kept from now on with `weft plugin grant NAME --add --record`.");
    }
}
