//! One way or the other.

use weft_sdk::prelude::*;

/// What to do if the condition does not hold.
#[derive(Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Go on in the branch `no`.
    #[default]
    Branch,
    /// Fail with the status `failed`.
    Reject,
}

/// Describes a type that decides; `mode` is a field of its config.
pub fn deciding(node: NodeType) -> NodeType {
    node.category("flow").result::<bool>().branch("yes", "Yes").branch("no", "No").fails(
        "condition-false",
        "The condition does not hold: status `failed`, result `false`. The mode `branch` goes on in the branch `no` instead.",
        "/mode",
    )
}

/// Goes on in the branch for whether a condition holds, or fails.
pub fn decide(holds: bool, mode: Mode) -> Answer {
    if !holds && mode == Mode::Reject {
        return Err(Failure::new("condition-false", "the condition does not hold, and its mode is `reject`")
            .status(Status::Failed)
            .output(&false));
    }
    let branch = if holds { "yes" } else { "no" };
    Pending::with(holds)?.start(branch, branch, Value::Null)?.answer()
}

/// What comes of it when the branch has ended.
pub fn decided(state: &State, event: Event) -> Answer {
    let Event::BranchEnded(ended) = event else { return Err(Failure::unexpected_event("its branch")) };
    ended.output?;
    done(state.get::<bool>()?)
}
