//! Versions of plugins that wait for approval, or are not used.

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Call;
use crate::admin::{Held, Standing, Unused};
use crate::digest::Digest;
use crate::http::error::Problem;
use crate::http::request::{Reply, json_reply};

/// `POST /plugins/{vendor}/{name}/approve` with `{version}` → `{name, version, status}`. A version that was held is used from now on.
pub(super) async fn approve(call: Call) -> Result<Reply, Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Approve {
        version: semver::Version,
    }
    call.query.only(&[])?;
    let name = call.plugin()?;
    let Approve { version } = call.json()?;
    call.admin.approve(&name, &version).await?;
    Ok(json_reply(StatusCode::OK, &json!({ "name": name, "version": version, "status": "usable" })))
}

/// A version that is held, like an installed plugin: with what it says of itself, and what it asks for beyond what was approved.
pub(super) fn held(held: &Held, standing: &Standing) -> Value {
    let Held { record, wider } = held;
    let mut body = record.description.clone();
    body["digest"] = json!(record.digest);
    body["status"] = "held".into();
    body["capabilities"] = json!(record.capabilities);
    body["wider"] = json!(wider);
    body["signed_by"] = signed_by(record.digest, standing);
    body
}

/// A version that is installed and not used.
pub(super) fn unused(unused: &Unused) -> Value {
    let Unused { name, version, code, reason } = unused;
    json!({ "name": name, "version": version, "code": code, "reason": reason })
}

/// The keys that signed a component.
pub(super) fn signed_by(digest: Digest, standing: &Standing) -> Value {
    json!(standing.signers.get(&digest).map(Vec::as_slice).unwrap_or_default())
}
