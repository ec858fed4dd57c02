//! Single steps of a draft.

use std::collections::BTreeMap;
use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, runs};
use crate::admin::Given;
use crate::http::error::Problem;
use crate::http::request::{Reply, json_reply};
use crate::limits::WAIT_MS_MAX;
use crate::run::RunId;
use crate::workflow::Key;

/// `GET /workflows/{key}/steps/{step}/variables` → `{items: [{source, title?, variable, type, description?}]}`: what the step of the draft can name,
/// with what its schemas say of it. `source`: `context`, `step`, `scope`, `system`, `env`, `secret`.
pub(super) async fn variables(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    let visible = call.admin.visible(&call.param::<Key>("key")?, &call.param::<Key>("step")?).await?;
    Ok(json_reply(StatusCode::OK, &json!({ "items": visible })))
}

/// `POST /workflows/{key}/steps/{step}/test` with `{context?, steps?: {key: result}, scopes?: {key: value}, run?, config?, wait_ms?}` → run; 201. Carries out
/// the draft's step alone, with these values for its variables, or with those of an earlier `run`; what it does is done. Waits for its end, 10 s unless `wait_ms` says otherwise.
pub(super) async fn test(call: Call) -> Result<Reply, Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Body {
        context: Option<Value>,
        steps: BTreeMap<String, Value>,
        scopes: BTreeMap<String, Value>,
        run: Option<String>,
        config: Option<Value>,
        wait_ms: u32,
    }
    impl Default for Body {
        fn default() -> Self {
            let (steps, scopes) = Default::default();
            Self { context: None, steps, scopes, run: None, config: None, wait_ms: 10_000 }
        }
    }
    call.query.only(&[])?;
    let Body { context, steps, scopes, run, config, wait_ms } = call.json_or_default()?;
    let run: Option<RunId> = match run {
        Some(run) => Some(run.parse().map_err(|error| Problem::bad_request(format!("run: {error}")))?),
        None => None,
    };
    let given = Given { run, context, steps, scopes, config };
    let id = call.admin.test_step(&call.param::<Key>("key")?, &call.param::<Key>("step")?, given).await?;
    call.admin.wait_for_run(id, Duration::from_millis(wait_ms.min(WAIT_MS_MAX).into())).await?;
    runs::begun(&call, id).await
}
