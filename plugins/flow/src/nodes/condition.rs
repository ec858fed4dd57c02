//! `condition`: goes one way or the other.

use weft_branching::{Mode, decide, decided, deciding};
use weft_sdk::prelude::*;

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

impl Node for Decide {
    const NAME: &str = "condition";

    fn node_type() -> NodeType {
        deciding(NodeType::of::<Self>()).fails("invalid-config", crate::condition::UNUSABLE, "")
    }

    fn check(config: &Value) -> Vec<Problem> {
        Condition::check(config, "")
    }

    fn execute(self, _: &Call) -> Answer {
        decide(self.condition.holds(), self.mode)
    }

    fn resume(self, _: &Call, state: State, event: Event) -> Answer {
        decided(&state, event)
    }
}
