//! `function`: a workflow as a function of others.

use weft_sdk::prelude::*;

use crate::parameters::{self, Parameter};

/// Is called by other workflows with arguments, and returns a value: what its step `output` says.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Function {
    /// Whether it can be called where somebody waits for an answer (`sync`: then no step may wait for times, messages or people), or takes
    /// its time (`async`).
    #[expect(dead_code, reason = "the host reads it")]
    mode: Mode,
    /// What it is called with.
    #[serde(default)]
    #[schemars(length(max = 100))]
    parameters: Vec<Parameter>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    /// Synchronous runs can call it.
    Sync,
    /// Its steps may wait.
    Async,
}

impl Trigger for Function {
    const NAME: &str = "function";

    fn trigger_type() -> TriggerType {
        super::describe(TriggerType::of::<Self>(weft_sdk::Mode::ByConfig, &["callable"]))
    }

    fn check(config: &Value) -> Vec<Problem> {
        parameters::check(config)
    }

    fn subscribe(self, _: &TriggerCall) -> Result<Vec<Subscription>, Failure> {
        Ok(vec![Subscription::Callable])
    }

    fn fire(self, _: &TriggerCall, event: TriggerEvent) -> Result<Reaction, Failure> {
        super::react(&self.parameters, event, |start| start)
    }
}
