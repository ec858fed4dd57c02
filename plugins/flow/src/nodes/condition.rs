//! `condition`: goes one way or the other.

use weft_sdk::prelude::*;

use super::unexpected;
use crate::condition::Condition;

/// Goes on in the branch `yes` or `no`, or, in the mode `reject`, goes on only if the condition holds.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "Condition", deny_unknown_fields)]
pub(crate) struct Decide {
    /// What to do if the condition does not hold: go on in the branch `no`, or fail.
    #[serde(default)]
    mode: Mode,
    #[serde(flatten)]
    condition: Condition,
}

/// What to do if the condition does not hold.
#[derive(Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    /// Go on in the branch `no`.
    #[default]
    Branch,
    /// Fail with the status `failed`.
    Reject,
}

impl Node for Decide {
    const NAME: &str = "condition";

    fn node_type() -> NodeType {
        NodeType::of::<Self>()
            .category("flow")
            .result::<bool>()
            .branch("yes", "Yes")
            .branch("no", "No")
            .fails(
                "condition-false",
                "The condition does not hold: status `failed`, result `false`. The mode `branch` goes on in the branch `no` instead.",
                "/mode",
            )
            .fails("invalid-config", crate::condition::UNUSABLE, "")
    }

    fn check(config: &Value) -> Vec<Problem> {
        Condition::check(config, "")
    }

    fn execute(self, _: &Call) -> Answer {
        let holds = self.condition.holds();
        if !holds && self.mode == Mode::Reject {
            return Err(Failure::new("condition-false", "the condition does not hold, and its mode is `reject`")
                .status(Status::Failed)
                .output(&false));
        }
        let branch = if holds { "yes" } else { "no" };
        Pending::with(holds)?.start(branch, branch, Value::Null)?.answer()
    }

    fn resume(self, _: &Call, state: State, event: Event) -> Answer {
        let Event::BranchEnded(ended) = event else { return unexpected("its branch") };
        ended.output?;
        done(state.get::<bool>()?)
    }
}
