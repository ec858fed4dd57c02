//! Connections: their credentials go in, and never come out.

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Call;
use crate::capability::{Credentials, Settings};
use crate::executor::rfc3339;
use crate::http::error::Problem;
use crate::http::request::{Reply, empty_reply, json_reply};
use crate::store::SealedConnection;

fn view((sealed, settings): &(SealedConnection, Settings)) -> Value {
    let mut view = json!({ "name": sealed.name, "version": sealed.version, "set_at": rfc3339(sealed.set_ms) });
    if let (Value::Object(view), Ok(Value::Object(settings))) = (&mut view, serde_json::to_value(settings)) {
        view.extend(settings);
    }
    view
}

/// `GET /connections` → `{items: [{name, version, set_at, kind, base_url, auth, allow_private}]}`, without certificates.
pub(super) async fn list(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    let all = call.admin.list_connections().await?;
    let short =
        |(sealed, settings): (SealedConnection, Settings)| view(&(sealed, Settings { ca: None, client_cert: None, ..settings }));
    let items: Vec<Value> = all.into_iter().map(short).collect();
    Ok(json_reply(StatusCode::OK, &json!({ "items": items })))
}

/// `GET /connections/{name}` → the same with `ca?`, `client_cert?` and `used_by`: the places in active revisions that name it.
pub(super) async fn show(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    let name: String = call.param("name")?;
    let mut view = view(&call.admin.connection(&name).await?);
    view["used_by"] = call.admin.uses_of_connection(&name).await?.into();
    Ok(json_reply(StatusCode::OK, &view))
}

/// What is set.
#[derive(Deserialize)]
struct Given {
    #[serde(default)]
    secret: String,
    #[serde(default)]
    client_key: String,
    #[serde(flatten)]
    settings: serde_json::Map<String, Value>,
}

/// `PUT /connections/{name}` with `{kind, base_url, auth?: {type, …}, secret?, ca?, client_cert?, client_key?, allow_private?}` →
/// `{name, version}`. `auth.type` is `none`, `bearer`, `basic` (with `user`), `header` (`name`) or `oauth2-client-credentials`
/// (`token_url`, `client_id`, `scope?`); certificates and keys are PEM.
pub(super) async fn set(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    let name: String = call.param("name")?;
    let Given { secret, client_key, settings } = call.json()?;
    let settings: Settings = serde_json::from_value(settings.into())
        .map_err(|error| Problem::bad_request(format!("the body is not the JSON that is wanted: {error}")))?;
    let version = call.admin.set_connection(&name, &settings, &Credentials { secret, client_key }).await?;
    Ok(json_reply(StatusCode::OK, &json!({ "name": name, "version": version })))
}

/// What is asked for by it.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Path {
    #[serde(default)]
    path: String,
}

/// `POST /connections/{name}/test` with `{path?}` → `{reached, status, code, message, took_ms}`. Sends a GET by it.
pub(super) async fn test(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    let name: String = call.param("name")?;
    let Path { path } = call.json_or_default()?;
    Ok(json_reply(StatusCode::OK, &call.admin.try_connection(&name, &path).await?))
}

/// `DELETE /connections/{name}?force=` → 204. Refused while an active revision names it, unless `force` is `true`.
pub(super) async fn remove(call: Call) -> Result<Reply, Problem> {
    call.query.only(&["force"])?;
    let name: String = call.param("name")?;
    call.admin.remove_connection(&name, call.query.get("force")?.unwrap_or(false)).await?;
    Ok(empty_reply(StatusCode::NO_CONTENT))
}
