//! `weft plugin remove` and `prune`

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::super::client::{Client, segment};
use super::super::{Failure, print};
use super::name_and_version;

pub(super) async fn remove(client: &Client, name: &str, inactive: bool) -> Result<(), Failure> {
    let (name, Some(version)) = name_and_version(name)? else {
        return Err(Failure::Usage(format!("say which version goes: {name}@1.0.0; `weft plugin list` shows which there are")));
    };
    let path = format!("/plugins/{name}?version={}&inactive={inactive}", segment(version));
    let removed = client.send(Method::DELETE, &path, Bytes::new()).await?;
    if client.json {
        print::json(&removed);
    } else {
        println!("removed {name} {version}");
    }
    Ok(())
}

pub(super) async fn prune(client: &Client, inactive: bool, dry_run: bool) -> Result<(), Failure> {
    let pruned = client.post("/plugins/prune", &json!({ "inactive": inactive, "dry_run": dry_run })).await?;
    if client.json {
        print::json(&pruned);
        return Ok(());
    }
    let removed: Vec<&Value> = pruned["removed"].as_array().into_iter().flatten().collect();
    for plugin in &removed {
        let would = if dry_run { "would remove" } else { "removed" };
        println!("{would} {} {}", print::text(plugin, "name"), print::text(plugin, "version"));
    }
    if removed.is_empty() {
        println!("nothing to remove");
    }
    Ok(())
}
