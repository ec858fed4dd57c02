//! `call-workflow`, `call-function`, `call-job`: runs of other workflows.

use weft_sdk::capability::workflows;
use weft_sdk::prelude::*;

use super::{KEY, is_key};

/// Runs another workflow and waits for its end. The result is what that run gave as its output, null if it gave none; if it fails, so does
/// the step, with the same status.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CallWorkflow {
    /// The key of the workflow. It may be paused.
    #[schemars(regex(pattern = r"^[a-z][a-z0-9_-]{0,63}$"), extend("x-weft-workflow" = true))]
    workflow: String,
    /// What the run is given: its `$context`, or what its trigger makes that from.
    #[serde(default)]
    context: Value,
}

/// Calls a workflow that is a function, waits for its end, and gives what it returns.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CallFunction {
    /// The key of the workflow, whose trigger is `function`.
    #[schemars(regex(pattern = r"^[a-z][a-z0-9_-]{0,63}$"), extend("x-weft-workflow" = true))]
    workflow: String,
    /// The arguments, by the names of the function's parameters.
    #[serde(default)]
    arguments: serde_json::Map<String, Value>,
}

/// Starts a workflow and does not wait for it: heavy work for a queue of its own.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CallJob {
    /// The key of the workflow, whose trigger usually is `job`.
    #[schemars(regex(pattern = r"^[a-z][a-z0-9_-]{0,63}$"), extend("x-weft-workflow" = true))]
    workflow: String,
    /// What the run is given: its `$context`, or what its trigger makes that from.
    #[serde(default)]
    context: Value,
}

/// The run that was started.
#[derive(Serialize, JsonSchema)]
struct Started {
    /// Its id.
    run: String,
}

impl Node for CallWorkflow {
    const NAME: &str = "call-workflow";

    fn node_type() -> NodeType {
        waits_for_child(NodeType::of::<Self>())
    }

    fn execute(self, _: &Call) -> Answer {
        wait_for_child(&self.workflow, self.context)
    }

    fn resume(self, _: &Call, _: State, event: Event) -> Answer {
        returned(event)
    }
}

impl Node for CallFunction {
    const NAME: &str = "call-function";

    fn node_type() -> NodeType {
        waits_for_child(NodeType::of::<Self>())
    }

    fn execute(self, _: &Call) -> Answer {
        wait_for_child(&self.workflow, self.arguments.into())
    }

    fn resume(self, _: &Call, _: State, event: Event) -> Answer {
        returned(event)
    }
}

impl Node for CallJob {
    const NAME: &str = "call-job";

    fn node_type() -> NodeType {
        NodeType::of::<Self>()
            .category("flow")
            .result::<Started>()
            .fails("not-found", NOT_FOUND, "/workflow")
            .fails("stack-limit", STACK_LIMIT, "/workflow")
            .fails("too-large", "The context is longer than one may be: hand on less, or where it is found.", "/context")
    }

    fn execute(self, _: &Call) -> Answer {
        done(Started { run: workflows::start(&self.workflow, &self.context.to_string())? })
    }
}

const NOT_FOUND: &str = "There is no workflow of this key that is published: publish it, or mend the key.";
const STACK_LIMIT: &str = "The workflow stands too often in the chain of runs that started each other: they may go in circles. Its option `stack_limit` allows more.";

fn wait_for_child(workflow: &str, context: Value) -> Answer {
    if !is_key(workflow) {
        return Err(Failure::invalid_config("/workflow", format!("`{workflow}` is no key of a workflow: {KEY}")));
    }
    Pending::with(Value::Null)?.wait_child("child", workflow, context)?.answer()
}

fn waits_for_child(described: NodeType) -> NodeType {
    let not_synchronous = "Somebody waits for this run, and the workflow that is called is not synchronous: make it so, or call it from a run that nobody waits for.";
    described
        .category("flow")
        .waits(&["child"])
        .fails("not-found", NOT_FOUND, "/workflow")
        .fails("stack-limit", STACK_LIMIT, "/workflow")
        .fails("not-synchronous", not_synchronous, "/workflow")
        .fails(
            "not-started",
            "The trigger of the workflow that is called refuses what it is given; the message says why.",
            "/workflow",
        )
        .fails("invalid-config", "A variable gave what is no key of a workflow.", "/workflow")
}

/// What came of the run that was called; any failure of its own is handed on.
fn returned(event: Event) -> Answer {
    let Event::ChildEnded(ended) = event else { return Err(Failure::unexpected_event("the run that it called")) };
    Ok(Outcome::Done(ended.output?))
}
