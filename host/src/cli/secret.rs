//! `weft secret`

use std::io::Read as _;

use clap::Subcommand;
use http::Method;

use super::Failure;
use super::client::{Client, segment};
use super::print;

#[derive(Subcommand)]
pub(super) enum Secret {
    /// Set a secret. The value comes from standard input; a line break at its end is not part of it.
    Set {
        /// What workflows call it: `{{$secrets.NAME}}`.
        name: String,
    },
    /// Say to which servers a secret may be sent; those that were allowed before are replaced. Without any it goes nowhere.
    Allow {
        /// Its name.
        name: String,
        /// `api.example.org`, `*.example.org`, `127.0.0.1:8080`.
        hosts: Vec<String>,
    },
    /// List the names of secrets, and where each may be sent.
    List,
    /// Remove a secret. Refused while an active revision names it.
    Remove {
        /// Its name.
        name: String,
        /// Remove it all the same: what uses it fails.
        #[arg(long)]
        force: bool,
    },
}

pub(super) async fn run(verb: Secret, client: &Client) -> Result<(), Failure> {
    match verb {
        Secret::Set { name } => {
            let set = client.send(Method::PUT, &format!("/secrets/{}", segment(&name)), from_input()?.into()).await?;
            if client.json {
                print::json(&set);
            } else {
                println!("{name}: version {}", print::text(&set, "version"));
            }
        }
        Secret::Allow { name, hosts } => {
            let body = serde_json::json!({ "hosts": hosts }).to_string();
            let allowed = client.send(Method::PUT, &format!("/secrets/{}/hosts", segment(&name)), body.into()).await?;
            if client.json {
                print::json(&allowed);
            } else {
                println!("{name}: may be sent to {}", allowed["hosts"]);
            }
        }
        Secret::List => {
            let page = client.get("/secrets").await?;
            if client.json {
                print::json(&page);
            } else {
                let rows = print::items(&page).map(|secret| {
                    let hosts = secret["hosts"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_str);
                    let [name, version, set] = ["name", "version", "set_at"].map(|name| print::text(secret, name));
                    [name, version, set, hosts.collect::<Vec<_>>().join(" ")]
                });
                print::table(["secret", "version", "set", "may be sent to"], rows.collect(), "no secrets");
            }
        }
        Secret::Remove { name, force } => {
            let path = format!("/secrets/{}{}", segment(&name), if force { "?force=true" } else { "" });
            client.send(Method::DELETE, &path, bytes::Bytes::new()).await?;
            if !client.json {
                println!("{name}: removed");
            }
        }
    }
    Ok(())
}

/// A secret from standard input, without the line break at its end.
pub(super) fn from_input() -> Result<Vec<u8>, Failure> {
    let mut value = Vec::new();
    std::io::stdin().read_to_end(&mut value).map_err(|error| Failure::Usage(format!("standard input: {error}")))?;
    if value.last() == Some(&b'\n') {
        value.pop();
        if value.last() == Some(&b'\r') {
            value.pop();
        }
    }
    Ok(value)
}
