//! `switch`: the first of several conditions that holds says where it goes on.

use weft_branching::{check_conditions, choose, choosing, chosen};
use weft_sdk::prelude::*;

use crate::condition::Condition;

/// Goes on in the branch of the first condition that holds; if none does, in the branch `else`, and then fails, unless it may go on.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Switch {
    /// The conditions, in the order in which they are looked at; each has a branch of its own.
    #[schemars(length(min = 1, max = 100))]
    conditions: Vec<Case>,
    /// Whether the run goes on below when no condition holds; else the step fails after the branch `else`.
    #[serde(default)]
    continue_on_no_match: bool,
}

/// A condition with a branch.
#[derive(Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Case {
    /// The key of the branch: lower-case letters, digits and hyphens.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9-]{0,63}$"))]
    key: String,
    /// The name of the branch, for people.
    #[serde(default)]
    #[allow(dead_code, reason = "the editor shows it")]
    title: String,
    #[serde(flatten)]
    condition: Condition,
}

impl Node for Switch {
    const NAME: &str = "switch";

    fn node_type() -> NodeType {
        choosing(NodeType::of::<Self>()).fails("invalid-config", crate::condition::UNUSABLE, "/conditions")
    }

    fn check(config: &Value) -> Vec<Problem> {
        check_conditions(config, Condition::check)
    }

    fn execute(self, _: &Call) -> Answer {
        choose(self.conditions.iter().map(|case| case.key.as_str()), |index| Ok(self.conditions[index].condition.holds()))
    }

    fn resume(self, _: &Call, state: State, event: Event) -> Answer {
        chosen(self.continue_on_no_match, &state, event)
    }
}
