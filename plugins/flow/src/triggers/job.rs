//! `job`: heavy work, in a queue of its own.

use weft_sdk::prelude::*;

use crate::nodes::{KEY, is_key};
use crate::parameters::{self, Parameter};

/// Is started by other workflows, people or programs, who do not wait, and runs in a queue of its own, which takes nothing from other runs.
///
/// How many run at one time, and which queue goes first, says the operator: `weft queue set NAME --concurrency 2 --priority 10`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Job {
    /// The queue. By default it has the workflow's key as its name.
    #[schemars(regex(pattern = r"^[a-z][a-z0-9_-]{0,63}$"))]
    queue: Option<String>,
    /// What it is started with.
    #[serde(default)]
    #[schemars(length(max = 100))]
    parameters: Vec<Parameter>,
}

impl Trigger for Job {
    const NAME: &str = "job";

    fn trigger_type() -> TriggerType {
        super::describe(TriggerType::of::<Self>(Mode::Asynchronous, &["callable"])).fails(
            "invalid-config",
            "A variable of the host gave what is no name of a queue.",
            "/queue",
        )
    }

    fn check(config: &Value) -> Vec<Problem> {
        parameters::check(config)
    }

    fn subscribe(self, _: &TriggerCall) -> Result<Vec<Subscription>, Failure> {
        Ok(vec![Subscription::Callable])
    }

    fn fire(self, call: &TriggerCall, event: TriggerEvent) -> Result<Reaction, Failure> {
        let queue = self.queue.unwrap_or_else(|| call.workflow.clone());
        if !is_key(&queue) {
            return Err(Failure::invalid_config("/queue", format!("`{queue}` is no name of a queue: {KEY}")));
        }
        super::react(&self.parameters, event, |start| Start { queue: Some(queue), ..start })
    }
}
