//! Vendors of plugins, and the keys that are trusted for them.

use http::StatusCode;
use serde_json::{Value, json};

use super::Call;
use crate::digest::Digest;
use crate::executor::rfc3339;
use crate::http::error::Problem;
use crate::http::request::{Reply, empty_reply, json_reply};
use crate::store::TrustedKey;
use crate::workflow::Key;

/// `GET /vendors` → `{items: [{vendor, fingerprint, pem, trusted_at}]}`: every trusted key.
pub(super) async fn list(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    let items: Vec<Value> = call.admin.trusted_keys().await?.iter().map(shown).collect();
    Ok(json_reply(StatusCode::OK, &json!({ "items": items })))
}

/// `POST /vendors/{name}/keys` with a public key in PEM → key. From now on only files of that vendor are taken that one of its keys signed.
pub(super) async fn trust(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    let pem = std::str::from_utf8(&call.body).map_err(|_| Problem::bad_request("the body is a public key in PEM"))?;
    let trusted = call.admin.trust(&call.param::<Key>("name")?, pem).await?;
    Ok(json_reply(StatusCode::OK, &shown(&trusted)))
}

/// `DELETE /vendors/{name}/keys/{fingerprint}` → 204.
pub(super) async fn distrust(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    let fingerprint: Digest = call.param::<String>("fingerprint")?.try_into().map_err(Problem::bad_request)?;
    call.admin.distrust(&call.param::<Key>("name")?, fingerprint).await?;
    Ok(empty_reply(StatusCode::NO_CONTENT))
}

fn shown(trusted: &TrustedKey) -> Value {
    let TrustedKey { vendor, fingerprint, pem, trusted_ms } = trusted;
    json!({ "vendor": vendor, "fingerprint": fingerprint, "pem": pem, "trusted_at": rfc3339(*trusted_ms) })
}
