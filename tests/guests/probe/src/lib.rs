//! A trigger and a node that try out what the built-in ones do not use.

use weft_sdk::capability::verify_secret;
use weft_sdk::prelude::*;
use weft_sdk::{FinishedRun, HttpRoute};

/// Starts as many runs as the query says (`starts`), with a dedup key (`key`).
#[derive(Deserialize, JsonSchema)]
struct Probe {
    /// Whether the caller waits.
    mode: String,
}

impl Trigger for Probe {
    const NAME: &str = "probe";

    fn trigger_type() -> TriggerType {
        TriggerType::of::<Self>(Mode::ByConfig, &["http"])
    }

    fn subscribe(self, _: &TriggerCall) -> Result<Vec<Subscription>, Failure> {
        Ok(vec![Subscription::Http(HttpRoute { methods: vec!["POST".into()], path: None, body_bytes_max: None })])
    }

    fn fire(self, call: &TriggerCall, event: TriggerEvent) -> Result<Reaction, Failure> {
        let TriggerEvent::Http(request) = event else { return Ok(Reaction::nothing("no request")) };
        let member = |name: &str| {
            let mut members = request.query.split('&').filter_map(|member| member.split_once('='));
            members.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
        };
        let count: u32 = member("starts").map_or(1, |text| text.parse().unwrap_or(1));
        // What tells this call from every other one.
        let start = Start::with(&json!({ "n": call.idempotency_key }))?;
        let start = Start { dedup_key: member("key"), ..start };
        Ok(Reaction::start(match self.mode.as_str() {
            "sync" => vec![start.wait(30_000)],
            _ => vec![start; count as usize],
        }))
    }

    fn settle(self, _: &TriggerCall, run: FinishedRun) -> Result<Settlement, Failure> {
        let status = if run.output.is_ok() { 200 } else { 500 };
        Ok(Settlement { proceed: true, response: Some(HttpResponse::empty(status)) })
    }
}

/// Compares a text with the secret of a token.
#[derive(Deserialize, JsonSchema)]
struct Verify {
    /// The token.
    token: String,
    /// The text.
    candidate: String,
}

impl Node for Verify {
    const NAME: &str = "verify";

    fn execute(self, _: &Call) -> Answer {
        done(verify_secret(&self.token, &self.candidate)?)
    }
}

weft_sdk::plugin! { name: "acme/probe", nodes: [Verify], triggers: [Probe] }
