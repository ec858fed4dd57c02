//! `weft env`

use clap::Subcommand;
use http::Method;

use super::Failure;
use super::client::{Client, segment};
use super::print;

#[derive(Subcommand)]
pub(super) enum Env {
    /// Set a variable. It is no secret: everybody who sees a run sees it, and every plugin that looks at its run's variables.
    Set {
        /// What workflows call it: `{{$env.NAME}}`.
        name: String,
        /// Its value, a text.
        value: String,
    },
    /// List the variables.
    List,
    /// Remove a variable. Refused while an active revision names it without a default.
    Remove {
        /// Its name.
        name: String,
        /// Remove it all the same: what uses it fails.
        #[arg(long)]
        force: bool,
    },
}

pub(super) async fn run(verb: Env, client: &Client) -> Result<(), Failure> {
    match verb {
        Env::Set { name, value } => {
            let body = serde_json::json!({ "value": value }).to_string();
            let set = client.send(Method::PUT, &format!("/env/{}", segment(&name)), body.into()).await?;
            if client.json {
                print::json(&set);
            } else {
                println!("{name}: set");
            }
        }
        Env::List => {
            let page = client.get("/env").await?;
            if client.json {
                print::json(&page);
            } else {
                let rows = print::items(&page).map(|variable| ["name", "value"].map(|name| print::text(variable, name)));
                print::table(["variable", "value"], rows.collect(), "no variables");
            }
        }
        Env::Remove { name, force } => {
            let path = format!("/env/{}{}", segment(&name), if force { "?force=true" } else { "" });
            client.send(Method::DELETE, &path, bytes::Bytes::new()).await?;
            if !client.json {
                println!("{name}: removed");
            }
        }
    }
    Ok(())
}
