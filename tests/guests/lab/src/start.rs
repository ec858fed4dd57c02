//! How runs start.

use weft_sdk::prelude::*;
use weft_sdk::{FinishedRun, HttpRoute};

use crate::effects::count;

/// Can be started by name, by a step, a person or the API. Refuses a context without the member that it wants.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Callable {
    /// Whether the caller waits.
    mode: String,
    /// A member that the context must have.
    wants: Option<String>,
    /// The queue of its runs.
    queue: Option<String>,
}

impl Trigger for Callable {
    const NAME: &str = "callable";

    fn trigger_type() -> TriggerType {
        TriggerType::of::<Self>(Mode::ByConfig, &["callable"])
    }

    fn subscribe(self, _: &TriggerCall) -> Result<Vec<Subscription>, Failure> {
        let _ = &self.mode;
        Ok(vec![Subscription::Callable])
    }

    fn fire(self, _: &TriggerCall, event: TriggerEvent) -> Result<Reaction, Failure> {
        let TriggerEvent::Called(called) = event else { return Ok(Reaction::nothing("not called")) };
        let context: Value = serde_json::from_str(&called.context).unwrap_or_default();
        if let Some(wants) = self.wants.filter(|wants| context.get(wants).is_none()) {
            return Ok(Reaction::nothing(&format!("`{wants}` is missing")));
        }
        let start = Start::with(&json!({ "given": context, "by": called.user }))?;
        Ok(Reaction::start(vec![Start { queue: self.queue, ..start }]))
    }

    fn settle(self, _: &TriggerCall, _: FinishedRun) -> Result<Settlement, Failure> {
        Ok(Settlement { proceed: true, response: None })
    }
}

/// Counts the requests that come, in the plugin's own state, and starts a run for each; `?key=` makes one run, `?signal=` sends a
/// message by that key instead.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Hook {
    /// Whether the caller waits.
    mode: String,
}

impl Trigger for Hook {
    const NAME: &str = "hook";

    fn trigger_type() -> TriggerType {
        TriggerType::of::<Self>(Mode::ByConfig, &["http"])
    }

    fn subscribe(self, _: &TriggerCall) -> Result<Vec<Subscription>, Failure> {
        Ok(vec![Subscription::Http(HttpRoute { methods: vec!["POST".into()], path: None, body_bytes_max: None })])
    }

    fn fire(self, _: &TriggerCall, event: TriggerEvent) -> Result<Reaction, Failure> {
        let TriggerEvent::Http(request) = event else { return Ok(Reaction::nothing("no request")) };
        let number = count("requests")?;
        let member = |name: &str| {
            let mut members = request.query.split('&').filter_map(|member| member.split_once('='));
            members.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
        };
        if let Some(key) = member("signal") {
            let payload = String::from_utf8_lossy(&request.body).into_owned();
            let mut reaction = Reaction::nothing("a message");
            reaction.signals = vec![weft_sdk::TriggerSignal { name: "paid".into(), key, payload }];
            return Ok(reaction.respond(HttpResponse::empty(202)));
        }
        let data: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let start = Start::with(&json!({ "number": number, "data": data }))?;
        let start = Start { dedup_key: member("key"), ..start };
        Ok(Reaction::start(vec![if self.mode == "sync" { start.wait(30_000) } else { start }]))
    }

    fn settle(self, _: &TriggerCall, run: FinishedRun) -> Result<Settlement, Failure> {
        let response = match run.output {
            Ok(output) => HttpResponse::new(200, "application/json", output),
            Err(failure) => HttpResponse::new(500, "text/plain", failure.code),
        };
        Ok(Settlement { proceed: true, response: Some(response) })
    }
}
