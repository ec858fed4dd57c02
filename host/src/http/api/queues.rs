//! Job queues.

use http::StatusCode;
use serde_json::{Value, json};

use super::Call;
use crate::admin::Queue;
use crate::http::error::Problem;
use crate::http::request::{Reply, json_reply};
use crate::workflow::Key;

/// `GET /queues` → `{items: [{name, concurrency, priority}]}`: the queues that were set.
pub(super) async fn list(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    let items: Vec<Value> = call.admin.queues().await?.iter().map(|(name, queue)| shown(name, *queue)).collect();
    Ok(json_reply(StatusCode::OK, &json!({ "items": items })))
}

/// `PUT /queues/{name}` with `{concurrency?, priority?}` → queue. How many of its runs are carried out at one time (1), and which of
/// two queues goes first: the one with more priority (0).
pub(super) async fn set(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    let (name, queue) = (call.param::<Key>("name")?, call.json::<Queue>()?);
    call.admin.set_queue(&name, queue).await?;
    Ok(json_reply(StatusCode::OK, &shown(&name, queue)))
}

fn shown(name: &Key, queue: Queue) -> Value {
    json!({ "name": name, "concurrency": queue.concurrency, "priority": queue.priority })
}
