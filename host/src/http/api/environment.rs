//! Variables of the host: `{{$env.NAME}}`.

use http::StatusCode;
use serde_json::{Value, json};

use super::Call;
use crate::http::error::Problem;
use crate::http::request::{Reply, empty_reply, json_reply};

/// `GET /env` → `{items: [{name, value}]}`.
pub(super) async fn list(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    let all = call.admin.environment().await?;
    let items: Vec<Value> = all.into_iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    Ok(json_reply(StatusCode::OK, &json!({ "items": items })))
}

/// `PUT /env/{name}` with `{value}` → `{name, value}`.
pub(super) async fn set(call: Call) -> Result<Reply, Problem> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Given {
        value: String,
    }
    call.query.only(&[])?;
    let name: String = call.param("name")?;
    let Given { value } = call.json()?;
    call.admin.set_environment(&name, &value).await?;
    Ok(json_reply(StatusCode::OK, &json!({ "name": name, "value": value })))
}

/// `DELETE /env/{name}?force=` → 204. Refused while an active revision names it without a default, unless `force` is `true`.
pub(super) async fn remove(call: Call) -> Result<Reply, Problem> {
    call.query.only(&["force"])?;
    let name: String = call.param("name")?;
    call.admin.remove_environment(&name, call.query.get("force")?.unwrap_or(false)).await?;
    Ok(empty_reply(StatusCode::NO_CONTENT))
}
