//! `manual-start`: a person or a program starts it.

use weft_sdk::prelude::*;

use crate::parameters::{self, Parameter};

/// Is started by a person, or by a program with the API: `weft run start WORKFLOW`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ManualStart {
    /// What it is started with.
    #[serde(default)]
    #[schemars(length(max = 100))]
    parameters: Vec<Parameter>,
}

impl Trigger for ManualStart {
    const NAME: &str = "manual-start";

    fn trigger_type() -> TriggerType {
        super::describe(TriggerType::of::<Self>(Mode::Asynchronous, &["callable"]))
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
