//! Plugins.

use http::StatusCode;
use serde_json::{Value, json};

use super::Call;
use crate::admin::Source;
use crate::http::error::Problem;
use crate::http::request::{Reply, json_reply};
use crate::plugin::{Grants, Plugin};

/// `GET /plugins` → `{items: [plugin], refused: [{path, reason}]}`: every installed version, and files of the watched folder
/// that are no plugins.
pub(super) async fn list(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    let items: Vec<Value> = call.admin.registry().list().iter().map(|plugin| summary(plugin)).collect();
    Ok(json_reply(StatusCode::OK, &json!({ "items": items, "refused": call.admin.refused_files() })))
}

/// `POST /plugins` with a component's bytes → plugin; 201, or 200 if it was installed before.
pub(super) async fn add(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    if call.body.is_empty() {
        return Err(Problem::bad_request("the body is the plugin: the bytes of a .wasm file"));
    }
    let installed = call.admin.install(call.body.into(), Source::Outside).await?;
    let status = if installed.is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(json_reply(status, &inspected(&installed.plugin)))
}

/// `GET /plugins/{vendor}/{name}?version` → plugin with its types, schemas, imports and exports, its grants, and what it has
/// `used` since the host started: `{calls, broken, cpu_us, memory_bytes, host_calls, bytes_in, bytes_out}`. By default the newest version.
pub(super) async fn inspect(call: Call) -> Result<Reply, Problem> {
    call.query.only(&["version"])?;
    let name = format!("{}/{}", call.param::<String>("vendor")?, call.param::<String>("name")?);
    let wanted: Option<semver::Version> = call.query.get("version")?;
    let plugins = call.admin.registry().list();
    let mut versions = plugins.iter().filter(|plugin| plugin.description.name == name);
    let found = match &wanted {
        Some(version) => versions.find(|plugin| plugin.description.version == *version),
        None => versions.next_back(),
    };
    let wanted = wanted.map(|version| format!(" {version}")).unwrap_or_default();
    let missing = || Problem::not_found(format!("no plugin `{name}`{wanted} is installed; `weft plugin list` shows what is"));
    Ok(json_reply(StatusCode::OK, &inspected(found.ok_or_else(missing)?)))
}

/// `PUT /plugins/{vendor}/{name}/grants` with `{http?: [text], secrets?: [text], workflows?: [text], kv?: bool, limits?: {…}}` → the
/// grants. What the plugin may do from now on, in all its versions: send requests (`api.example.org`, `GET,HEAD *.example.org`, `*`,
/// `127.0.0.1:8080`), use secrets that its configs name (`github`, `verify github`, `sign,send acme-*`), start workflows (`orders`,
/// `orders-*`), keep values of its own; and what it may take, where that differs from what every plugin may: `memory_mib`, `cpu_ms`,
/// `wall_ms`, `http_calls`, `kv_calls` of one call, `cpu_ms_per_hour`, `http_calls_per_hour`, `http_kib_per_hour`.
pub(super) async fn grant(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    let name = format!("{}/{}", call.param::<String>("vendor")?, call.param::<String>("name")?);
    let grants: Grants = call.json()?;
    call.admin.set_grants(&name, grants).await?;
    Ok(json_reply(StatusCode::OK, &call.admin.grants(&name).await?))
}

fn summary(plugin: &Plugin) -> Value {
    let description = &plugin.description;
    let nodes: Vec<&str> = description.nodes.iter().map(|node| node.name.as_str()).collect();
    let triggers: Vec<&str> = description.triggers.iter().map(|trigger| trigger.name.as_str()).collect();
    json!({
        "name": description.name,
        "version": description.version,
        "title": description.title,
        "digest": plugin.digest,
        "nodes": nodes,
        "triggers": triggers,
    })
}

fn inspected(plugin: &Plugin) -> Value {
    let mut body = serde_json::to_value(&plugin.description).unwrap_or_default();
    body["digest"] = json!(plugin.digest);
    body["imports"] = json!(plugin.facts.imports);
    body["exports"] = json!(plugin.facts.exports);
    body["grants"] = json!(*plugin.grants());
    body["used"] = json!(plugin.totals());
    body
}
