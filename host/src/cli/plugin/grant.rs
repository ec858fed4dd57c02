//! `weft plugin grant` and `revoke`

use clap::Args;
use http::Method;
use serde_json::{Value, json};

use super::super::client::Client;
use super::super::{Failure, print};
use super::check_name;

/// What is granted.
#[derive(Args)]
#[group(required = true, multiple = true)]
pub(in crate::cli) struct Granted {
    /// Requests that it may send: `api.example.org`, `*.example.org`, `*`, `127.0.0.1:8080`; for some methods only:
    /// `GET,HEAD api.example.org`. May be given again.
    #[arg(long, value_name = "HOST")]
    http: Vec<String>,
    /// A secret that it may use where its config names it: `github`, `acme-*`; for some uses only: `verify github`,
    /// `sign,send acme-*`. May be given again.
    #[arg(long, value_name = "NAME")]
    secret: Vec<String>,
    /// A connection that its requests may use: `crm`, `crm-*`. May be given again.
    #[arg(long, value_name = "NAME")]
    connection: Vec<String>,
    /// A workflow that it may start: `orders`, `orders-*`. May be given again.
    #[arg(long, value_name = "KEY")]
    workflow: Vec<String>,
    /// Let it keep values of its own.
    #[arg(long)]
    kv: bool,
    /// Let it make files in its runs and read those that they know.
    #[arg(long)]
    files: bool,
    /// Keep with its runs what the host answers its calls, so that `plugin replay` can try another version on that.
    #[arg(long)]
    record: bool,
    /// What it may take, where that differs from what every plugin may: `memory_mib=128`. Also `cpu_ms`, `wall_ms`, `http_calls` and
    /// `kv_calls` of one call, `breaks_in_a_row`, and `cpu_ms_per_hour`, `http_calls_per_hour`, `http_kib_per_hour`, which go on over
    /// restarts. May be given again.
    #[arg(long, value_name = "WHAT=NUMBER")]
    limit: Vec<String>,
}

pub(super) async fn grant(client: &Client, name: &str, granted: &Granted, add: bool) -> Result<(), Failure> {
    check_name(name)?;
    let mut grants = if add { client.get(&format!("/plugins/{name}")).await?["grants"].take() } else { json!({}) };
    let Granted { http, secret, connection, workflow, .. } = granted;
    let lists = [("http", http), ("secrets", secret), ("connections", connection), ("workflows", workflow)];
    for (member, texts) in lists.into_iter().filter(|(_, texts)| !texts.is_empty()) {
        let mut all = grants[member].as_array().cloned().unwrap_or_default();
        for text in texts.iter().map(|text| Value::from(text.as_str())) {
            if !all.contains(&text) {
                all.push(text);
            }
        }
        grants[member] = all.into();
    }
    if granted.kv {
        grants["kv"] = true.into();
    }
    if granted.files {
        grants["files"] = true.into();
    }
    if granted.record {
        grants["record"] = true.into();
    }
    for limit in &granted.limit {
        let read = limit.split_once('=').and_then(|(what, number)| Some((what, number.parse::<u32>().ok()?)));
        let (what, number) =
            read.ok_or_else(|| Failure::Usage(format!("`{limit}`: write WHAT=NUMBER, such as memory_mib=128")))?;
        grants["limits"][what] = number.into();
    }
    put(client, name, &grants).await
}

pub(super) async fn put(client: &Client, name: &str, grants: &Value) -> Result<(), Failure> {
    check_name(name)?;
    let granted = client.send(Method::PUT, &format!("/plugins/{name}/grants"), grants.to_string().into()).await?;
    if client.json {
        print::json(&granted);
    } else {
        println!("{name} may: {granted}");
    }
    Ok(())
}
