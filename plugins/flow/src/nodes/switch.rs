//! `switch`: the first of several conditions that holds says where it goes on.

use weft_sdk::prelude::*;

use super::unexpected;
use crate::branches;
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

/// Which way it went.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Matched {
    /// The key of the condition that holds; null if none does.
    matched: Option<String>,
    /// What each condition came to, in order: true, false, or null for those that were not looked at.
    outcomes: Vec<Value>,
}

impl Node for Switch {
    const NAME: &str = "switch";

    fn node_type() -> NodeType {
        NodeType::of::<Self>()
            .category("flow")
            .result::<Matched>()
            .branches_from("/conditions")
            .branch(ELSE, "Else")
            .fails("no-match", "No condition holds: status `failed`, after the branch `else`. With `continue_on_no_match` the run goes on instead.", "/continue_on_no_match")
            .fails("invalid-config", crate::condition::UNUSABLE, "/conditions")
    }

    fn check(config: &Value) -> Vec<Problem> {
        let mut problems = branches::check(config, "conditions", &[ELSE]);
        for (index, case) in config["conditions"].as_array().into_iter().flatten().enumerate() {
            problems.extend(Condition::check(case, &format!("/conditions/{index}")));
        }
        problems
    }

    fn execute(self, _: &Call) -> Answer {
        let mut result = Matched { matched: None, outcomes: vec![Value::Null; self.conditions.len()] };
        for (index, case) in self.conditions.iter().enumerate() {
            result.outcomes[index] = case.condition.holds().into();
            if result.outcomes[index] == true {
                result.matched = Some(case.key.clone());
                break;
            }
        }
        let branch = result.matched.as_deref().unwrap_or(ELSE).to_owned();
        Pending::with(&result)?.start(&branch, &branch, Value::Null)?.answer()
    }

    fn resume(self, _: &Call, state: State, event: Event) -> Answer {
        let Event::BranchEnded(ended) = event else { return unexpected("its branch") };
        ended.output?;
        let result: Matched = state.get()?;
        if result.matched.is_none() && !self.continue_on_no_match {
            return Err(Failure::new("no-match", "no condition holds, and `continue_on_no_match` is not set")
                .status(Status::Failed)
                .output(&result));
        }
        done(result)
    }
}

/// The branch for when no condition holds.
const ELSE: &str = "else";
