//! `weft plugin plan` and `upgrade`

use std::path::Path;

use http::Method;
use serde_json::Value;

use super::super::client::Client;
use super::super::{Failure, print};
use super::source::{Access, read};
use super::{check_name, name_and_version, oci, query};

pub(super) async fn plan(client: &Client, plugin: &str, access: &Access) -> Result<(), Failure> {
    let file = Path::new(plugin);
    let is_file = file.extension().is_some_and(|extension| extension == "wasm") || file.is_file();
    let plan = if is_file || oci::is_reference(plugin) {
        let bytes = read(plugin, access).await?;
        client.send(Method::POST, "/plugins/plan", bytes.into()).await?
    } else {
        let (name, version) = name_and_version(plugin)?;
        client.get(&format!("/plugins/{name}/plan{}", query(version))).await?
    };
    show(client, &plan);
    Ok(())
}

pub(super) async fn upgrade(client: &Client, name: &str, wanted: &Value) -> Result<(), Failure> {
    check_name(name)?;
    let plan = client.post(&format!("/plugins/{name}/upgrade"), wanted).await?;
    show(client, &plan);
    Ok(())
}

fn show(client: &Client, plan: &Value) {
    if client.json {
        print::json(plan);
        return;
    }
    let plugin = &plan["plugin"];
    let installed = if plan["is_installed"] == true { "" } else { " (not installed)" };
    println!("{} {}{installed}", print::text(plugin, "name"), print::text(plugin, "version"));
    let asked = print::text(plan, "not_granted");
    if !asked.is_empty() {
        println!("asks for what is not granted: {asked}");
    }
    let workflows: Vec<&Value> = plan["workflows"].as_array().into_iter().flatten().collect();
    let rows = workflows.iter().map(|moved| {
        let active = if moved["is_active"] == true { "active" } else { "-" };
        let verdict = match moved["moved_to"].as_u64() {
            Some(number) => format!("moved to revision {number}"),
            None => print::text(moved, "verdict"),
        };
        let [workflow, revision, from] = ["workflow", "revision", "from"].map(|member| print::text(moved, member));
        [workflow, revision, active.into(), from, verdict, moved["reason"].as_str().unwrap_or_default().into()]
    });
    print::table(["workflow", "revision", "active", "from", "verdict", "why"], rows.collect(), "no workflow uses it");
    for moved in workflows {
        for problem in moved["problems"].as_array().into_iter().flatten() {
            println!(
                "{} {}: {}",
                print::text(moved, "workflow"),
                print::text(problem, "pointer"),
                print::text(problem, "message")
            );
        }
    }
}
