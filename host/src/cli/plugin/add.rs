//! `weft plugin add` and `push`

use http::Method;
use serde_json::{Value, json};

use super::super::client::Client;
use super::super::{Failure, print};
use super::source::{Access, expand, read};
use super::{oci, shown};

/// Adds one plugin after the other: one that is refused does not keep back the others.
pub(super) async fn add(client: &Client, sources: &[String], allow_downgrade: bool, access: &Access) -> Result<(), Failure> {
    let all = expand(sources)?;
    if let [source] = &all[..] {
        let plugin = add_one(client, source, allow_downgrade, access).await?;
        shown(client, &plugin);
        return Ok(());
    }
    let (mut added, mut refused) = (Vec::new(), Vec::new());
    for source in &all {
        match add_one(client, source, allow_downgrade, access).await {
            Ok(plugin) => {
                if !client.json {
                    println!("{source}: {} {}", print::text(&plugin, "name"), print::text(&plugin, "version"));
                }
                added.push(plugin);
            }
            Err(failure @ Failure::Unreachable(_)) => return Err(failure),
            Err(failure) => {
                if !client.json {
                    println!("{source}: refused: {}", failure.text());
                }
                refused.push(json!({ "source": source, "reason": failure.text() }));
            }
        }
    }
    let count = refused.len();
    if client.json {
        print::json(&json!({ "items": added, "refused": refused }));
    }
    if count == 0 { Ok(()) } else { Err(Failure::Refused(format!("{count} of {} were refused", all.len()))) }
}

async fn add_one(client: &Client, source: &str, allow_downgrade: bool, access: &Access) -> Result<Value, Failure> {
    let bytes = read(source, access).await?;
    let query = if allow_downgrade { "?allow_downgrade=true" } else { "" };
    Ok(client.send(Method::POST, &format!("/plugins{query}"), bytes.into()).await?)
}

pub(super) async fn push(client: &Client, file: &str, target: &str, access: &Access) -> Result<(), Failure> {
    let bytes = read(file, access).await?;
    let at = oci::push(bytes, target, access).await?;
    if client.json {
        print::json(&json!({ "reference": at }));
    } else {
        println!("{at}");
    }
    Ok(())
}
