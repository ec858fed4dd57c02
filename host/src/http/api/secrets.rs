//! Secrets: they go in, and never come out.

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Call;
use crate::executor::rfc3339;
use crate::http::error::Problem;
use crate::http::request::{Reply, empty_reply, json_reply};
use crate::plugin::HostPattern;

/// `GET /secrets` → `{items: [{name, version, set_at, hosts}]}`.
pub(super) async fn list(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    let secrets = call.admin.vault().list()?;
    let items: Vec<Value> = secrets
        .iter()
        .map(|secret| json!({ "name": secret.name, "version": secret.version, "set_at": rfc3339(secret.set_ms), "hosts": secret.hosts }))
        .collect();
    Ok(json_reply(StatusCode::OK, &json!({ "items": items })))
}

/// `PUT /secrets/{name}` with the value as the body, byte for byte → `{name, version}`.
pub(super) async fn set(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    let name: String = call.param("name")?;
    let version = call.admin.set_secret(&name, &call.body).await?;
    Ok(json_reply(StatusCode::OK, &json!({ "name": name, "version": version })))
}

/// Where a secret may be sent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Allowed {
    hosts: Vec<HostPattern>,
}

/// `PUT /secrets/{name}/hosts` with `{hosts: [host]}` → `{name, hosts}`. The servers that the secret may be sent to, in place of those before:
/// `api.example.org`, `*.example.org`, `127.0.0.1:8080`.
pub(super) async fn allow(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    let name: String = call.param("name")?;
    let Allowed { hosts } = call.json()?;
    call.admin.allow_secret(&name, &hosts).await?;
    Ok(json_reply(StatusCode::OK, &json!({ "name": name, "hosts": hosts })))
}

/// `DELETE /secrets/{name}?force=` → 204. Refused while an active revision names it, unless `force` is `true`.
pub(super) async fn remove(call: Call) -> Result<Reply, Problem> {
    call.query.only(&["force"])?;
    let name: String = call.param("name")?;
    call.admin.remove_secret(&name, call.query.get("force")?.unwrap_or(false)).await?;
    Ok(empty_reply(StatusCode::NO_CONTENT))
}
