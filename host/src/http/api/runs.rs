//! Runs and their journals.

use http::StatusCode;
use serde_json::{Value, json};

use super::{Call, page};
use crate::executor::rfc3339;
use crate::http::error::Problem;
use crate::http::request::{Reply, json_reply};
use crate::run::{RunId, Status, view};
use crate::store::{RunFilter, RunHead};

/// `GET /runs?workflow&status&limit&after` → `{items: [run], next}`, newest first.
pub(super) async fn list(call: Call) -> Result<Reply, Problem> {
    call.query.only(&["workflow", "status", "limit", "after"])?;
    let status = call.query.get::<String>("status")?.map(|word| {
        let status: Result<Status, _> = serde_json::from_value(word.into());
        status.map_err(|error| Problem::bad_request(format!("?status: {error}")))
    });
    let filter = RunFilter {
        workflow: call.query.get("workflow")?,
        status: status.transpose()?,
        after: call.query.get("after")?,
        limit: call.limit()?,
    };
    let (runs, next) = call.admin.runs(filter).await?;
    Ok(json_reply(StatusCode::OK, &page(runs.iter().map(summary).collect(), next)))
}

/// `GET /runs/{id}` → run with `context` and `steps`, each with input, output, duration and log.
pub(super) async fn show(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    let (head, entries) = call.admin.run(call.param::<RunId>("id")?).await?;
    let mut body = summary(&head);
    let told = serde_json::to_value(view(&entries, rfc3339)).unwrap_or_default();
    if let (Value::Object(body), Value::Object(told)) = (&mut body, told) {
        body.extend(told);
    }
    Ok(json_reply(StatusCode::OK, &body))
}

fn summary(head: &RunHead) -> Value {
    json!({
        "id": head.id.to_string(),
        "workflow": head.workflow,
        "revision": head.revision,
        "status": head.status,
        "accepted_at": rfc3339(head.accepted_ms),
        "ended_at": head.ended_ms.map(rfc3339),
        "message": head.message,
    })
}
