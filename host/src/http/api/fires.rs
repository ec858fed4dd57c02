//! What timers of workflows do next, and events that triggers could not take.

use http::StatusCode;
use serde_json::{Value, json};

use super::{Call, page};
use crate::executor::rfc3339;
use crate::http::error::Problem;
use crate::http::request::{Reply, empty_reply, json_reply};
use crate::limits::NEXT_FIRES_MAX;
use crate::store::SetAside;
use crate::trigger::{Fire, NextFires};
use crate::workflow::Key;

/// `GET /workflows/{key}/fires?limit` → `{items: [{timer, at, is_set, runs}], set_aside?, held?, stopped?}`: when the workflow's timers fire next, and how many
/// runs that starts. What is not set yet (`is_set`) is what its trigger would set, and nothing is kept of the question. `held`: why the first one is
/// not delivered although it is due, `{code, message, attempts, until}`; `stopped`: why the trigger said no more, `{code, message}`;
/// `set_aside`: how many events its trigger could not take, if there are any. What it would have set after them is not set.
pub(super) async fn next(call: Call) -> Result<Reply, Problem> {
    call.query.only(&["limit"])?;
    let limit = match call.query.get::<usize>("limit")? {
        None => 10,
        Some(limit @ 1..=NEXT_FIRES_MAX) => limit,
        Some(limit) => return Err(Problem::bad_request(format!("?limit={limit}: it is 1 to {NEXT_FIRES_MAX}"))),
    };
    let (NextFires { fires, held, stopped }, set_aside) = call.admin.next_fires(&call.param::<Key>("key")?, limit).await?;
    let shown = |fire: &Fire| json!({ "timer": fire.timer, "at": rfc3339(fire.at_ms), "is_set": fire.is_set, "runs": fire.runs });
    let mut body = json!({ "items": fires.iter().map(shown).collect::<Vec<Value>>() });
    if set_aside > 0 {
        body["set_aside"] = set_aside.into();
    }
    if let Some(held) = held {
        let until = rfc3339(held.until_ms);
        body["held"] = json!({ "code": held.code, "message": held.message, "attempts": held.attempts, "until": until });
    }
    if let Some(stopped) = stopped {
        body["stopped"] = json!({ "code": stopped.code, "message": stopped.message });
    }
    Ok(json_reply(StatusCode::OK, &body))
}

/// `GET /workflows/{key}/set-aside?limit&after` → `{items: [{number, timer, at, payload, failure: {code, message}, revision, set_aside_at}], next}`,
/// oldest first: timers that fired and that the trigger could not take.
pub(super) async fn set_aside(call: Call) -> Result<Reply, Problem> {
    call.query.only(&["limit", "after"])?;
    let (events, next) = call.admin.set_aside(&call.param::<Key>("key")?, call.query.get("after")?, call.limit()?).await?;
    Ok(json_reply(StatusCode::OK, &page(events.iter().map(shown).collect(), next)))
}

/// `POST /workflows/{key}/set-aside/{number}/retry` → `{runs}`: delivers it once more, to the active revision. After a failure it stays.
pub(super) async fn retry(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    let runs = call.admin.retry_set_aside(&call.param::<Key>("key")?, call.param("number")?).await?;
    Ok(json_reply(StatusCode::OK, &json!({ "runs": runs })))
}

/// `DELETE /workflows/{key}/set-aside/{number}`: drops it.
pub(super) async fn drop(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    call.admin.drop_set_aside(&call.param::<Key>("key")?, call.param("number")?).await?;
    Ok(empty_reply(StatusCode::NO_CONTENT))
}

fn shown((number, event): &(u64, SetAside)) -> Value {
    json!({
        "number": number.to_string(),
        "timer": event.timer.id,
        "at": rfc3339(event.timer.at_ms),
        "payload": event.timer.payload.value(),
        "failure": { "code": event.failure.code, "message": event.failure.message },
        "revision": event.revision,
        "set_aside_at": rfc3339(event.at_ms),
    })
}
