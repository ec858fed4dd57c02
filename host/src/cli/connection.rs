//! `weft connection`

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;

use super::Failure;
use super::client::{Client, segment};
use super::print;

#[derive(Subcommand)]
pub(super) enum Connection {
    /// Set a connection. Its secret comes from standard input; a line break at its end is not part of it.
    Set(Box<Set>),
    /// List connections.
    List,
    /// Show a connection, and which active revisions name it.
    Show {
        /// Its name.
        name: String,
    },
    /// Send a GET by a connection and say what comes of it.
    Test {
        /// Its name.
        name: String,
        /// What to ask for, below its base URL.
        #[arg(default_value = "")]
        path: String,
    },
    /// Remove a connection. Refused while an active revision names it.
    Remove {
        /// Its name.
        name: String,
        /// Remove it all the same: steps that use it fail.
        #[arg(long)]
        force: bool,
    },
}

/// What a connection is.
#[derive(Args)]
pub(super) struct Set {
    /// What workflows call it.
    name: String,
    /// What it is a connection to.
    #[arg(long, default_value = "http")]
    kind: String,
    /// Paths of requests stand below it: `https://api.example.org/v1`.
    #[arg(long, value_name = "URL")]
    base_url: String,
    #[command(flatten)]
    auth: Auth,
    /// Who asks for a token.
    #[arg(long, value_name = "ID", requires = "oauth2_client_credentials")]
    client_id: Option<String>,
    /// What the token is for.
    #[arg(long, value_name = "SCOPE", requires = "client_id")]
    scope: Option<String>,
    /// A file of certificates (PEM) that the server's is signed with, in place of those that the system trusts.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A file with the client's certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "client_key")]
    client_cert: Option<PathBuf>,
    /// A file with the key of the client's certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    client_key: Option<PathBuf>,
    /// Let it lead to a private address.
    #[arg(long)]
    allow_private: bool,
}

/// How it shows who it is.
#[derive(Args)]
#[group(multiple = false)]
struct Auth {
    /// Send the secret in `Authorization: Bearer`.
    #[arg(long)]
    bearer: bool,
    /// Send the secret as the password of this user (HTTP Basic).
    #[arg(long, value_name = "USER")]
    basic: Option<String>,
    /// Send the secret in this header.
    #[arg(long, value_name = "NAME")]
    header: Option<String>,
    /// Fetch a token from this URL with the secret (OAuth 2.0, client credentials), and send that in `Authorization: Bearer`.
    #[arg(long, value_name = "TOKEN_URL", requires = "client_id")]
    oauth2_client_credentials: Option<String>,
}

pub(super) async fn run(verb: Connection, client: &Client) -> Result<(), Failure> {
    match verb {
        Connection::Set(set) => put(*set, client).await,
        Connection::List => {
            let page = client.get("/connections").await?;
            if client.json {
                print::json(&page);
                return Ok(());
            }
            let rows = print::items(&page).map(|connection| {
                let [name, kind, url, version, set] =
                    ["name", "kind", "base_url", "version", "set_at"].map(|name| print::text(connection, name));
                [name, kind, url, print::text(&connection["auth"], "type"), version, set]
            });
            print::table(["connection", "kind", "base URL", "credentials", "version", "set"], rows.collect(), "no connections");
            Ok(())
        }
        Connection::Show { name } => {
            print::json(&client.get(&format!("/connections/{}", segment(&name))).await?);
            Ok(())
        }
        Connection::Test { name, path } => {
            let body = json!({ "path": path }).to_string();
            let tried = client.send(Method::POST, &format!("/connections/{}/test", segment(&name)), body.into()).await?;
            if client.json {
                print::json(&tried);
            } else if tried["reached"] == true {
                println!("{name}: status {} after {} ms", tried["status"], tried["took_ms"]);
            }
            match tried["reached"] == true {
                true => Ok(()),
                false => Err(Failure::Refused(format!("{} ({})", print::text(&tried, "message"), print::text(&tried, "code")))),
            }
        }
        Connection::Remove { name, force } => {
            let path = format!("/connections/{}{}", segment(&name), if force { "?force=true" } else { "" });
            client.send(Method::DELETE, &path, bytes::Bytes::new()).await?;
            if !client.json {
                println!("{name}: removed");
            }
            Ok(())
        }
    }
}

async fn put(set: Set, client: &Client) -> Result<(), Failure> {
    let Auth { bearer, basic, header, oauth2_client_credentials: token_url } = set.auth;
    let auth = match (bearer, basic, header, token_url) {
        (true, ..) => json!({ "type": "bearer" }),
        (_, Some(user), ..) => json!({ "type": "basic", "user": user }),
        (_, _, Some(name), _) => json!({ "type": "header", "name": name }),
        (.., Some(url)) => {
            json!({ "type": "oauth2-client-credentials", "token_url": url, "client_id": set.client_id, "scope": set.scope })
        }
        _ => json!({ "type": "none" }),
    };
    let mut body = json!({ "kind": set.kind, "base_url": set.base_url, "allow_private": set.allow_private });
    for (member, file) in [("ca", &set.ca), ("client_cert", &set.client_cert), ("client_key", &set.client_key)] {
        if let Some(file) = file {
            body[member] = read(file)?.into();
        }
    }
    if auth["type"] != "none" {
        let secret = String::from_utf8(super::secret::from_input()?);
        body["secret"] = secret.map_err(|error| Failure::Usage(format!("standard input: {error}")))?.into();
    }
    body["auth"] = auth;
    let name = set.name;
    let answer = client.send(Method::PUT, &format!("/connections/{}", segment(&name)), body.to_string().into()).await?;
    if client.json {
        print::json(&answer);
    } else {
        println!("{name}: version {}", print::text(&answer, "version"));
    }
    Ok(())
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))
}
