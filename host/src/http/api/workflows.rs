//! Workflows, drafts, revisions.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, page};
use crate::admin::Overview;
use crate::executor::rfc3339;
use crate::http::error::Problem;
use crate::http::request::{Reply, header_text, json_reply};
use crate::store::{Canary, Revision};
use crate::trigger::Received;
use crate::workflow::{Definition, Key, query_paths, sample_paths};

/// `GET /workflows?limit&after` → `{items: [workflow], next}`, by key. `not_listening`: why nobody listens for it, although it is active;
/// `set_aside`: how many events its trigger could not take, if there are any.
pub(super) async fn list(call: Call) -> Result<Reply, Problem> {
    call.query.only(&["limit", "after"])?;
    let (found, next) = call.admin.workflows(call.query.get("after")?, call.limit()?).await?;
    Ok(json_reply(StatusCode::OK, &page(found.iter().map(listed).collect(), next)))
}

/// `GET /workflows/{key}` → workflow with `urls`, where it listens, `runs_started`, `canary` (the revision on trial, its rule, and how its `runs`
/// and the `runs_of_active` ended), and `last_canary` (the last one that was taken back, and `why`).
pub(super) async fn show(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    whole(&call, &call.param::<Key>("key")?).await
}

/// `GET /workflows/{key}/draft` → definition, with an `ETag`.
pub(super) async fn draft(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    let (draft, etag) = call.admin.draft(&call.param::<Key>("key")?).await?;
    Ok(with_etag(json_reply(StatusCode::OK, &draft.definition), &etag))
}

/// `PUT /workflows/{key}/draft` with a definition → `{key, is_new}`, with an `ETag`. With `If-Match` only if the draft still
/// has that one (412).
pub(super) async fn save_draft(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    let definition = definition(&call)?;
    let expected = header_text(&call.headers, header::IF_MATCH).filter(|etag| *etag != "*");
    let expected = expected.map(|etag| etag.trim_matches('"').to_owned().try_into().map_err(Problem::bad_request)).transpose()?;
    let key = definition.key.clone();
    let saved = call.admin.save_draft(definition, expected).await?;
    let status = if saved.is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(with_etag(json_reply(status, &json!({ "key": key, "is_new": saved.is_new })), &saved.etag))
}

/// `POST /workflows/{key}/check` with a definition → `{problems: [{pointer, message}]}`. Nothing is saved.
pub(super) async fn check(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    let problems = call.admin.check(&definition(&call)?).await?;
    Ok(json_reply(StatusCode::OK, &json!({ "problems": problems })))
}

/// `GET /workflows/{key}/requests` → `{items: [{at, method, target, remote_address, headers: [{name, value}], body, base64?, body_bytes, status,
/// code?, note?, run?, took_us}]}`: the last ones since the host started, newest first, also those that were refused. Credentials and
/// secrets are taken out, and of a long body its beginning is kept.
pub(super) async fn requests(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    let requests = call.admin.last_requests(&call.param::<Key>("key")?).await?;
    let items: Vec<Value> = requests.iter().map(request).collect();
    Ok(json_reply(StatusCode::OK, &json!({ "items": items })))
}

/// A sample.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    #[serde(default)]
    body: Value,
    #[serde(default)]
    query: String,
}

/// `POST /samples` with `{body?, query?}` → `{body: [{path, alias, sample}], query: […]}`: the places in them, for configs that name some.
pub(super) async fn sample(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    let Sample { body, query } = call.json()?;
    Ok(json_reply(StatusCode::OK, &json!({ "body": sample_paths(&body), "query": query_paths(&query) })))
}

fn request(received: &Received) -> Value {
    let headers: Vec<Value> = received
        .head
        .lines()
        .map(|line| line.split_once(": ").unwrap_or((line, "")))
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect();
    let cut = received.is_cut();
    // A text may be cut off within a character.
    let text = match str::from_utf8(&received.body) {
        Ok(text) => Some(text),
        Err(error) if cut && error.error_len().is_none() => str::from_utf8(&received.body[..error.valid_up_to()]).ok(),
        Err(_) => None,
    };
    let mut view = json!({
        "at": rfc3339(received.at_ms),
        "method": received.method,
        "target": received.target,
        "remote_address": received.remote_address,
        "headers": headers,
        "body": text.map_or_else(|| BASE64_STANDARD.encode(&received.body), ToOwned::to_owned),
        "body_bytes": received.body_bytes,
        "took_us": received.took_us,
    });
    if text.is_none() {
        view["base64"] = true.into();
    }
    if let (Value::Object(view), Value::Object(became)) = (&mut view, json!(received.became)) {
        view.extend(became);
    }
    view
}

/// `GET /workflows/{key}/revisions?limit&after` → `{items: [revision], next}`, newest first, without definitions.
pub(super) async fn revisions(call: Call) -> Result<Reply, Problem> {
    call.query.only(&["limit", "after"])?;
    let key = call.param::<Key>("key")?;
    let (revisions, next) = call.admin.revisions(&key, call.query.get("after")?, call.limit()?).await?;
    let head = call.admin.head(&key).await?;
    let items = revisions.iter().map(|revision| summary(revision, head.active_revision)).collect();
    Ok(json_reply(StatusCode::OK, &page(items, next)))
}

/// `POST /workflows/{key}/revisions` with `{message?}` → revision; 201, or 200 if nothing differs from the newest one.
pub(super) async fn publish(call: Call) -> Result<Reply, Problem> {
    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Publish {
        message: Option<String>,
    }
    call.query.only(&[])?;
    let wanted: Publish = call.json_or_default()?;
    let published = call.admin.publish(&call.param::<Key>("key")?, "admin", wanted.message).await?;
    let status = if published.is_new { StatusCode::CREATED } else { StatusCode::OK };
    let mut body = summary(&published.revision, None);
    body["is_new"] = published.is_new.into();
    Ok(json_reply(status, &body))
}

/// `GET /workflows/{key}/revisions/{number}` → revision with its definition and the plugins that it is pinned to.
pub(super) async fn revision(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    let key = call.param::<Key>("key")?;
    let revision = call.admin.revision(&key, call.param("number")?).await?;
    let head = call.admin.head(&key).await?;
    let mut body = summary(&revision, head.active_revision);
    body["definition"] = json!(revision.definition);
    body["pins"] = json!({ "trigger": revision.trigger_pin, "nodes": revision.node_pins });
    Ok(json_reply(StatusCode::OK, &body))
}

/// `POST /workflows/{key}/activate` with `{revision?}` → workflow. By default the newest revision. 409 `replay-differs` or `replay-required`: a
/// plugin's other version would take over (see `required-replay` of plugins).
pub(super) async fn activate(call: Call) -> Result<Reply, Problem> {
    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Activate {
        revision: Option<u32>,
    }
    call.query.only(&[])?;
    let wanted: Activate = call.json_or_default()?;
    activated(&call, wanted.revision).await
}

/// `POST /workflows/{key}/restore` with `{revision}` → workflow. Makes an older revision the active one again.
pub(super) async fn restore(call: Call) -> Result<Reply, Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Restore {
        revision: u32,
    }
    call.query.only(&[])?;
    let wanted: Restore = call.json()?;
    activated(&call, Some(wanted.revision)).await
}

async fn activated(call: &Call, revision: Option<u32>) -> Result<Reply, Problem> {
    let key = call.param::<Key>("key")?;
    call.admin.activate(&key, revision).await?;
    whole(call, &key).await
}

async fn whole(call: &Call, key: &Key) -> Result<Reply, Problem> {
    let found = call.admin.workflow(key).await?;
    let mut body = listed(&found);
    body["urls"] = json!(found.urls);
    body["runs_started"] = found.runs_started.into();
    if let Some(canary) = &found.head.canary {
        let (of_canary, of_others) = call.admin.ends(key);
        body["canary"] = json!({
            "revision": canary.revision,
            "share_percent": canary.share_percent,
            "runs_min": canary.runs_min,
            "worse_by_percent": canary.worse_by_percent,
            "promote_after_runs": canary.promote_after_runs,
            "began_at": rfc3339(canary.began_ms),
            "runs": of_canary,
            "runs_of_active": of_others,
        });
    }
    if let Some(last) = &found.head.last_canary {
        body["last_canary"] = json!({
            "revision": last.revision,
            "ended_at": rfc3339(last.ended_ms),
            "why": last.why,
            "runs": last.canary,
            "runs_of_active": last.active,
        });
    }
    Ok(json_reply(StatusCode::OK, &body))
}

/// `PUT /workflows/{key}/canary` with `{revision?, share_percent, runs_min?, worse_by_percent?, promote_after_runs?}` → workflow. Puts a
/// revision (by default the newest) on trial: it has 1 to 99 percent of the requests that start runs. When `runs_min` (20) of its runs have ended
/// and its percentage of failed ones is more than `worse_by_percent` (5) points above the active revision's, it is taken back; after
/// `promote_after_runs` ends without that it becomes the active one. It must listen where the active one does.
pub(super) async fn begin_canary(call: Call) -> Result<Reply, Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Begin {
        #[serde(default)]
        revision: u32,
        share_percent: u8,
        #[serde(default = "runs_min")]
        runs_min: u32,
        #[serde(default = "worse_by_percent")]
        worse_by_percent: u8,
        promote_after_runs: Option<u32>,
    }
    fn runs_min() -> u32 {
        20
    }
    fn worse_by_percent() -> u8 {
        5
    }
    call.query.only(&[])?;
    let key = call.param::<Key>("key")?;
    let Begin { revision, share_percent, runs_min, worse_by_percent, promote_after_runs } = call.json()?;
    let canary = Canary { revision, share_percent, runs_min, worse_by_percent, promote_after_runs, began_ms: 0 };
    call.admin.begin_canary(&key, canary).await?;
    whole(&call, &key).await
}

/// `DELETE /workflows/{key}/canary` → workflow. Takes the revision on trial back; runs of it that go on finish.
pub(super) async fn end_canary(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    let key = call.param::<Key>("key")?;
    call.admin.end_canary(&key).await?;
    whole(&call, &key).await
}

/// `POST /workflows/{key}/pause` → workflow. Events no longer start runs.
pub(super) async fn pause(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    let key = call.param::<Key>("key")?;
    call.admin.pause(&key).await?;
    whole(&call, &key).await
}

/// `GET /workflows/{key}/diff?from&to` → `{from, to, changes: [{path, kind, from?, to?}]}`. Numbers of revisions, or `draft`. By
/// default from the active (else the newest) revision to the draft.
pub(super) async fn diff(call: Call) -> Result<Reply, Problem> {
    call.query.only(&["from", "to"])?;
    let key = call.param::<Key>("key")?;
    let head = call.admin.head(&key).await?;
    let from = call.query.get::<Side>("from")?.unwrap_or(Side(head.active_revision.unwrap_or(head.latest_revision)));
    let to = call.query.get::<Side>("to")?.unwrap_or(Side(0));
    let changes = call.admin.diff(&key, from.0, to.0).await?;
    Ok(json_reply(StatusCode::OK, &json!({ "from": from.shown(), "to": to.shown(), "changes": changes })))
}

/// `GET /workflows/{key}/export?revision` → definition, as `workflow apply` takes it. By default of the draft.
pub(super) async fn export(call: Call) -> Result<Reply, Problem> {
    call.query.only(&["revision"])?;
    let side = call.query.get::<Side>("revision")?.unwrap_or(Side(0));
    let definition = call.admin.definition(&call.param::<Key>("key")?, side.0).await?;
    Ok(json_reply(StatusCode::OK, &definition))
}

/// A revision's number, or 0 for the draft.
struct Side(u32);

impl Side {
    fn shown(&self) -> Value {
        if self.0 == 0 { "draft".into() } else { self.0.into() }
    }
}

impl std::str::FromStr for Side {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match (text, text.parse()) {
            ("draft", _) => Ok(Self(0)),
            (_, Ok(number @ 1..)) => Ok(Self(number)),
            _ => Err("give the number of a revision, from 1, or `draft`"),
        }
    }
}

fn definition(call: &Call) -> Result<Definition, Problem> {
    let key = call.param::<Key>("key")?;
    let value: Value = call.json()?;
    let definition = Definition::from_value(value).map_err(|problems| Problem::invalid("this is no workflow", problems))?;
    if definition.key == key {
        Ok(definition)
    } else {
        Err(Problem::bad_request(format!("the definition's key is `{}`, and the URL says `{key}`", definition.key)))
    }
}

fn with_etag(mut reply: Reply, etag: &crate::digest::Digest) -> Reply {
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{etag}\"")) {
        reply.headers_mut().insert(header::ETAG, etag);
    }
    reply
}

fn listed(Overview { head, not_listening, set_aside, .. }: &Overview) -> Value {
    let mut body = json!({
        "key": head.key,
        "title": head.title,
        "status": if head.active_revision.is_some() { "active" } else { "paused" },
        "active_revision": head.active_revision,
        "latest_revision": head.latest_revision,
        "created_at": rfc3339(head.created_ms),
        "updated_at": rfc3339(head.updated_ms),
    });
    if let Some(why) = not_listening {
        body["not_listening"] = why.as_str().into();
    }
    if *set_aside > 0 {
        body["set_aside"] = (*set_aside).into();
    }
    body
}

fn summary(revision: &Revision, active: Option<u32>) -> Value {
    json!({
        "id": format!("{}-{:05}", revision.workflow, revision.number),
        "workflow": revision.workflow,
        "number": revision.number,
        "is_active": active == Some(revision.number),
        "author": revision.author,
        "message": revision.message,
        "published_at": rfc3339(revision.published_ms),
    })
}
