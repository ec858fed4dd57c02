//! `weft plugin`

use std::path::PathBuf;

use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};

mod grant;

use super::Failure;
use super::client::Client;
use super::print;

#[derive(Subcommand)]
pub(super) enum Plugin {
    /// Install a plugin from a file.
    Add {
        /// A component: a `.wasm` file.
        file: PathBuf,
    },
    /// List installed plugins, and files of the watched folder that were refused.
    List,
    /// Say what a plugin may do beyond its runs, in all its versions. What was granted before is replaced.
    Grant {
        /// `vendor/name`.
        name: String,
        /// Keep what was granted before.
        #[arg(long)]
        add: bool,
        #[command(flatten)]
        grants: grant::Granted,
    },
    /// Take everything back that a plugin may do.
    Revoke {
        /// `vendor/name`.
        name: String,
    },
    /// Show a plugin: its types, what it imports and exports, and what it may do.
    Inspect {
        /// `vendor/name`, or `vendor/name@version`; by default the newest version.
        name: String,
    },
}

pub(super) async fn run(verb: Plugin, client: &Client) -> Result<(), Failure> {
    match verb {
        Plugin::Add { file } => {
            let bytes = std::fs::read(&file).map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))?;
            let plugin = client.send(Method::POST, "/plugins", bytes.into()).await?;
            shown(client, &plugin);
        }
        Plugin::Grant { name, add, grants } => grant::grant(client, &name, &grants, add).await?,
        Plugin::Revoke { name } => grant::put(client, &name, &json!({})).await?,
        Plugin::List => list(client).await?,
        Plugin::Inspect { name } => {
            let (name, version) = match name.split_once('@') {
                Some((name, version)) => (name.to_owned(), format!("?version={version}")),
                None => (name, String::new()),
            };
            check_name(&name)?;
            shown(client, &client.get(&format!("/plugins/{name}{version}")).await?);
        }
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), Failure> {
    match name.split('/').count() {
        2 => Ok(()),
        _ => Err(Failure::Usage(format!("`{name}` is no plugin: write vendor/name"))),
    }
}

async fn list(client: &Client) -> Result<(), Failure> {
    let page = client.get("/plugins").await?;
    if client.json {
        print::json(&page);
        return Ok(());
    }
    let rows = print::items(&page).map(|plugin| {
        let digest: String = print::text(plugin, "digest").chars().take(19).collect();
        let [name, version, triggers, nodes] = ["name", "version", "triggers", "nodes"].map(|name| print::text(plugin, name));
        [name, version, digest, triggers, nodes]
    });
    print::table(["plugin", "version", "digest", "triggers", "nodes"], rows.collect(), "no plugins");
    for file in page["refused"].as_array().into_iter().flatten() {
        println!("refused: {}: {}", print::text(file, "path"), print::text(file, "reason"));
    }
    Ok(())
}

fn shown(client: &Client, plugin: &Value) {
    if client.json {
        print::json(plugin);
        return;
    }
    println!("{} {}  {}", print::text(plugin, "name"), print::text(plugin, "version"), print::text(plugin, "title"));
    println!("{}", print::text(plugin, "summary"));
    println!("\ndigest   {}", print::text(plugin, "digest"));
    for (what, member) in [("imports", "imports"), ("exports", "exports")] {
        for (index, interface) in plugin[member].as_array().into_iter().flatten().filter_map(Value::as_str).enumerate() {
            println!("{:<8} {interface}", if index == 0 { what } else { "" });
        }
    }
    println!("{:<8} {}", "grants", plugin["grants"]);
    println!("{:<8} {}", "used", plugin["used"]);
    for (what, member) in [("trigger", "triggers"), ("node", "nodes")] {
        for kind in plugin[member].as_array().into_iter().flatten() {
            println!("\n{what} {}: {}", print::text(kind, "name"), print::text(kind, "summary"));
            let required: Vec<&str> =
                kind["config_schema"]["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            for (name, field) in kind["config_schema"]["properties"].as_object().into_iter().flatten() {
                let mark = if required.contains(&name.as_str()) { " (required)" } else { "" };
                println!("  {name}{mark}: {}", field["description"].as_str().unwrap_or("-").replace('\n', " "));
            }
            let branches: Vec<&str> =
                kind["branches"].as_array().into_iter().flatten().filter_map(|branch| branch["key"].as_str()).collect();
            if !branches.is_empty() {
                println!("  branches: {}", branches.join(", "));
            }
        }
    }
}
