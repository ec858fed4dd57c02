//! The audit log.

use http::StatusCode;
use serde_json::{Value, json};

use super::{Call, page};
use crate::digest::Digest;
use crate::executor::rfc3339;
use crate::http::error::Problem;
use crate::http::request::{Reply, json_reply};
use crate::store::Audited;

/// `GET /audit?limit&after` → `{items: [{number, at, who, what, on, details, hash}], next}`, newest first. One that is damaged has
/// `problem` instead of what it told.
pub(super) async fn list(call: Call) -> Result<Reply, Problem> {
    call.query.only(&["limit", "after"])?;
    let (entries, next) = call.admin.audit(call.query.get("after")?, call.limit()?).await?;
    Ok(json_reply(StatusCode::OK, &page(entries.iter().map(shown).collect(), next)))
}

/// `GET /audit/verify?number&hash` → `{entries, newest: {number, hash}, problems_found, problems: [{number, problem}]}`: whether every entry
/// is as it was written; with a number and a hash that were noted elsewhere, whether that entry still has that hash.
pub(super) async fn verify(call: Call) -> Result<Reply, Problem> {
    call.query.only(&["number", "hash"])?;
    let hash: Option<String> = call.query.get("hash")?;
    let hash: Option<Digest> = hash.map(|hash| hash.try_into().map_err(Problem::bad_request)).transpose()?;
    let noted = match (call.query.get("number")?, hash) {
        (Some(number), Some(hash)) => Some((number, hash)),
        (None, None) => None,
        _ => return Err(Problem::bad_request("give ?number and ?hash, or neither")),
    };
    let report = call.admin.verify_audit(noted).await?;
    let problems: Vec<Value> =
        report.problems.iter().map(|(number, problem)| json!({ "number": number, "problem": problem })).collect();
    let body = json!({
        "entries": report.entries,
        "newest": report.newest.map(|(number, hash)| json!({ "number": number, "hash": hash })),
        "problems_found": report.problems_found,
        "problems": problems,
    });
    Ok(json_reply(StatusCode::OK, &body))
}

fn shown(audited: &Audited) -> Value {
    let mut body = json!({ "number": audited.number });
    match &audited.entry {
        Err(problem) => body["problem"] = problem.as_str().into(),
        Ok(entry) => {
            body["at"] = rfc3339(entry["at_ms"].as_u64().unwrap_or_default()).into();
            for member in ["who", "what", "on", "details"] {
                body[member] = entry[member].clone();
            }
        }
    }
    body["hash"] = json!(audited.hash);
    body
}
