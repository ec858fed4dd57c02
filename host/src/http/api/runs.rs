//! Runs and their journals.

use std::ops::Range;
use std::time::Duration;

use http::StatusCode;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use super::{Call, page};
use crate::admin::{Error, StartRun, Which};
use crate::executor::{ActOn, Heard, Progress, rfc3339};
use crate::http::error::Problem;
use crate::http::request::{Reply, empty_reply, json_reply};
use crate::limits::{SIGNAL_NAME_BYTES_MAX, STEPS_SHOWN_BYTES_MAX, STEPS_SHOWN_MAX, WAIT_MS_MAX};
use crate::run::{Decision, RunId, Shown, Status, View};
use crate::store::{RUN_STATUSES, RunFilter, RunHead};
use crate::workflow::Key;

/// `GET /runs?workflow&revision&status&from&before&limit&after` → `{items: [run], next}`, newest first. `from` and `before` are times (RFC
/// 3339) of acceptance.
pub(super) async fn list(call: Call) -> Result<Reply, Problem> {
    call.query.only(&["workflow", "status", "revision", "from", "before", "limit", "after"])?;
    let status = call.query.get::<String>("status")?.map(|word| {
        let status = serde_json::from_value(word.as_str().into()).ok().filter(|status| RUN_STATUSES.contains(status));
        let known = || RUN_STATUSES.map(Status::as_str).join(", ");
        status.ok_or_else(|| Problem::bad_request(format!("?status={word}: a run is one of {}", known())))
    });
    let filter = RunFilter {
        workflow: call.query.get("workflow")?,
        revision: call.query.get("revision")?,
        status: status.transpose()?,
        from_ms: time(&call, "from")?,
        before_ms: time(&call, "before")?,
        after: call.query.get("after")?,
        limit: call.limit()?,
    };
    if filter.revision.is_some() && filter.workflow.is_none() {
        return Err(Problem::bad_request("?revision: say of which ?workflow"));
    }
    let (runs, next) = call.admin.runs(filter).await?;
    Ok(json_reply(StatusCode::OK, &page(runs.iter().map(summary).collect(), next)))
}

/// A time in the query (RFC 3339), in milliseconds since 1970.
fn time(call: &Call, name: &str) -> Result<Option<u64>, Problem> {
    let given: Option<jiff::Timestamp> = call.query.get(name)?;
    Ok(given.map(|time| u64::try_from(time.as_millisecond()).unwrap_or(0)))
}

/// `GET /runs/{id}?limit&after` → run with `context`, `output`, `arrivals` and `steps`, in the order of their first calls, each with input, output,
/// duration and log, and what it waits for. A run may have a hundred thousand: `next` is there if there are more than these, and goes into
/// `after`. `progress`: `[{step, done, total, message, at}]`, what steps that go on say of how far they are. `held_up_by`: `[{plugin, version, reason}]`, plugins in quarantine that it would call.
pub(super) async fn show(call: Call) -> Result<Reply, Problem> {
    call.query.only(&["limit", "after"])?;
    let limit = match call.query.get::<usize>("limit")? {
        None => STEPS_SHOWN_MAX,
        Some(limit @ 1..=STEPS_SHOWN_MAX) => limit,
        Some(limit) => {
            return Err(Problem::bad_request(format!("?limit={limit}: 1 to {STEPS_SHOWN_MAX} steps are shown at once")));
        }
    };
    let after = call.query.get::<u32>("after")?.map_or(0, |place| place as usize);
    let run = call.admin.history(call.param("id")?, steps(after..after + limit)).await?;
    Ok(whole(&call, run, StatusCode::OK))
}

fn steps(places: Range<usize>) -> Shown {
    Shown { places, bytes_max: STEPS_SHOWN_BYTES_MAX }
}

fn whole(call: &Call, (head, told): (RunHead, View), status: StatusCode) -> Reply {
    let mut shown = summary(&head);
    let held_up_by: Vec<Value> = (call.admin.held_up_by(head.id).iter())
        .map(|plugin| {
            let description = &plugin.description;
            json!({ "plugin": description.name, "version": description.version, "reason": plugin.quarantine_reason() })
        })
        .collect();
    if !held_up_by.is_empty() {
        shown["held_up_by"] = held_up_by.into();
    }
    let progress = call.admin.executor().progress_of(head.id);
    let progress: Vec<Value> = progress.iter().filter(|said| !told.over.contains(&*said.step)).map(progress_of).collect();
    if !progress.is_empty() && !head.status.is_end() {
        shown["progress"] = progress.into();
    }
    json_reply(status, &Whole { head: shown, told })
}

/// How far a step is.
pub(super) fn progress_of(said: &Progress) -> Value {
    let at = rfc3339(said.at_ms);
    json!({ "step": said.step, "done": said.done, "total": said.total, "message": said.message, "at": at })
}

/// A run with what its journal tells. Documents of the run are written as they are, since one of them may be too deep to be read
/// again where it stands deeper yet.
struct Whole {
    head: Value,
    told: View,
}

impl Serialize for Whole {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let View { context, output, steps, next, arrivals, .. } = &self.told;
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.head.as_object().into_iter().flatten() {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("context", context)?;
        map.serialize_entry("output", output)?;
        map.serialize_entry("steps", steps)?;
        if let Some(next) = next {
            map.serialize_entry("next", &next.to_string())?;
        }
        if !arrivals.is_empty() {
            map.serialize_entry("arrivals", arrivals)?;
        }
        map.end()
    }
}

/// `POST /workflows/{key}/runs` with `{context?, revision?, draft?, wait_ms?}` → run; 201. Starts a run by hand, of the active revision
/// (else the newest), of another, or of the draft (`draft: true`). With `wait_ms` the response waits so long for its end. Of a run that
/// was deleted when it ended it is `{id, is_deleted: true}`.
pub(super) async fn start(call: Call) -> Result<Reply, Problem> {
    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Given {
        context: Value,
        revision: Option<u32>,
        draft: bool,
        wait_ms: u32,
    }
    call.query.only(&[])?;
    let given: Given = call.json_or_default()?;
    let which = match (given.revision, given.draft) {
        (None, false) => Which::Current,
        (None, true) => Which::Draft,
        (Some(number), false) => Which::Revision(number),
        (Some(_), true) => return Err(Problem::bad_request("give `revision` or `draft`, not both")),
    };
    let start = StartRun { which, context: given.context.into() };
    let id = call.admin.start_run(&call.param::<Key>("key")?, start).await?;
    let patience = Duration::from_millis(given.wait_ms.min(WAIT_MS_MAX).into());
    if !patience.is_zero() {
        call.admin.wait_for_run(id, patience).await?;
    }
    begun(&call, id).await
}

/// A run that has just begun; it may have ended, and be gone.
pub(super) async fn begun(call: &Call, id: RunId) -> Result<Reply, Problem> {
    match call.admin.history(id, steps(0..STEPS_SHOWN_MAX)).await {
        Err(Error::NotFound { .. }) => Ok(json_reply(StatusCode::CREATED, &json!({ "id": id.to_string(), "is_deleted": true }))),
        found => Ok(whole(call, found?, StatusCode::CREATED)),
    }
}

/// `POST /runs/{id}/cancel` → 202. The run is stopped soon, also while a step computes; 409 if it has ended.
pub(super) async fn cancel(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    call.admin.cancel_run(call.param("id")?).await?;
    Ok(empty_reply(StatusCode::ACCEPTED))
}

/// `POST /runs/{id}/rerun` with `{from?, revision?}` → the new run; 201. `from`: the path of a step; what was done before it is kept. On
/// the run's own revision, or on `"newest"`, `"draft"` or a number.
pub(super) async fn rerun(call: Call) -> Result<Reply, Problem> {
    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Given {
        from: Option<Box<str>>,
        revision: Value,
    }
    call.query.only(&[])?;
    let given: Given = call.json_or_default()?;
    let which = match &given.revision {
        Value::Null => None,
        Value::String(word) if word == "newest" => Some(Which::Newest),
        Value::String(word) if word == "draft" => Some(Which::Draft),
        number => match number.as_u64().and_then(|number| u32::try_from(number).ok()) {
            Some(number) => Some(Which::Revision(number)),
            None => return Err(Problem::bad_request(format!("`revision`: {number} is no number, \"newest\" or \"draft\""))),
        },
    };
    let id = call.admin.rerun(call.param("id")?, given.from, which).await?;
    begun(&call, id).await
}

/// `POST /runs/{id}/signals` with `{name, payload?}` → `{waits, workflow?, with_key?}`, 202. The message is kept until a step of the run waits for
/// it. `waits`: whether one does now, `null` where that is not known; `with_key`: with this key one waits for a message of that name to the
/// `workflow`.
pub(super) async fn signal(call: Call) -> Result<Reply, Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Given {
        name: String,
        #[serde(default)]
        payload: Value,
    }
    call.query.only(&[])?;
    let given: Given = call.json()?;
    check_name(&given.name)?;
    let heard = call.admin.signal_run(call.param("id")?, &given.name, given.payload.into()).await?;
    let body = match heard {
        None => json!({ "waits": null }),
        Some(Heard::Now) => json!({ "waits": true }),
        Some(Heard::Kept { with_key: None, .. }) => json!({ "waits": false }),
        Some(Heard::Kept { workflow, with_key }) => json!({ "waits": false, "workflow": workflow, "with_key": with_key }),
    };
    Ok(json_reply(StatusCode::ACCEPTED, &body))
}

/// `POST /workflows/{key}/signals` with `{name, key, payload?}` → `{runs}`, 202: how many runs of the workflow waited for the message.
/// If none did, it is kept for a day, for the first that will.
pub(super) async fn signal_workflow(call: Call) -> Result<Reply, Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Given {
        name: String,
        key: String,
        #[serde(default)]
        payload: Value,
    }
    call.query.only(&[])?;
    let Given { name, key, payload } = call.json()?;
    check_name(&name)?;
    check_name(&key)?;
    let runs = call.admin.signal_workflow(&call.param::<Key>("key")?, &name, &key, payload.into()).await?;
    Ok(json_reply(StatusCode::ACCEPTED, &json!({ "runs": runs })))
}

fn check_name(name: &str) -> Result<(), Problem> {
    if name.is_empty() || name.len() > SIGNAL_NAME_BYTES_MAX {
        return Err(Problem::bad_request(format!("the name and the key of a message have 1 to {SIGNAL_NAME_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// `POST /runs/{id}/tasks` with `{step, task, user, action, values?}` → 202. Acts on an open task for one of its assignees; the run of `GET
/// /runs/{id}` shows which there are.
pub(super) async fn act(call: Call) -> Result<Reply, Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Given {
        step: Box<str>,
        task: Box<str>,
        user: Box<str>,
        action: Box<str>,
        #[serde(default)]
        values: serde_json::Map<String, Value>,
    }
    call.query.only(&[])?;
    let Given { step, task, user, action, values } = call.json()?;
    let values = Value::Object(values).into();
    call.admin.act(call.param("id")?, ActOn { activation: step, task, user, action, values }).await?;
    Ok(empty_reply(StatusCode::ACCEPTED))
}

/// `POST /runs/{id}/decide` with `{step, decision, output?, message?}` → 202. Says of a step with the status `unknown` what came of it:
/// `retry` makes its call again, `succeed` gives it this `output`, `fail` this `message`.
pub(super) async fn decide(call: Call) -> Result<Reply, Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Given {
        step: Box<str>,
        decision: Word,
        #[serde(default)]
        output: Value,
        #[serde(default)]
        message: Box<str>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Word {
        Retry,
        Succeed,
        Fail,
    }
    call.query.only(&[])?;
    let Given { step, decision, output, message } = call.json()?;
    let decision = match decision {
        Word::Retry => Decision::Retry,
        Word::Succeed => Decision::Succeed(output.into()),
        Word::Fail => Decision::Fail(message),
    };
    call.admin.decide(call.param("id")?, step, decision).await?;
    Ok(empty_reply(StatusCode::ACCEPTED))
}

/// `DELETE /runs/{id}` → 204. Deletes a run that has ended, with its history.
pub(super) async fn delete(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    call.admin.delete_run(call.param("id")?).await?;
    Ok(empty_reply(StatusCode::NO_CONTENT))
}

/// What lists and the live feed show of a run.
pub(super) fn summary(head: &RunHead) -> Value {
    json!({
        "id": head.id.to_string(),
        "workflow": head.workflow,
        "revision": head.revision,
        "is_draft": head.draft.is_some(),
        "status": head.status,
        "reason": head.reason,
        "message": head.message,
        "accepted_at": rfc3339(head.accepted_ms),
        "ended_at": head.ended_ms.map(rfc3339),
        "wakes_at": head.place.wake_ms().map(rfc3339),
        "is_manual": head.manual,
        "parent": head.parent.map(|run| run.to_string()),
        "rerun_of": head.rerun_of.map(|run| run.to_string()),
        "queue": head.queue,
    })
}
