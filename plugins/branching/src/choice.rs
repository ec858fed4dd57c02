//! The first of several conditions that holds.

use weft_sdk::prelude::*;

use crate::listed;

/// The branch for when no condition holds.
const ELSE: &str = "else";

/// Which way it went.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Matched")]
struct Chosen {
    /// The key of the condition that holds; null if none does.
    matched: Option<String>,
    /// What each condition came to, in order: true, false, or null for those that were not looked at; for one that cannot be evaluated, why.
    outcomes: Vec<Value>,
}

/// Describes a type that chooses: a config has `conditions`, each with the `key` of its branch, and `continue_on_no_match`.
pub fn choosing(node: NodeType) -> NodeType {
    node.category("flow").result::<Chosen>().branches_from("/conditions").branch(ELSE, "Else").fails(
        "no-match",
        "No condition holds: status `failed`, after the branch `else`. With `continue_on_no_match` the run goes on instead.",
        "/continue_on_no_match",
    )
}

/// What is wrong with the conditions of a config: with their keys, and with what they are otherwise. `check` gets each, and where it stands.
pub fn check_conditions(config: &Value, check: impl Fn(&Value, &str) -> Vec<Problem>) -> Vec<Problem> {
    let mut problems = listed::check(config, "conditions", &[ELSE]);
    for (index, case) in config["conditions"].as_array().into_iter().flatten().enumerate() {
        problems.extend(check(case, &format!("/conditions/{index}")));
    }
    problems
}

/// Goes on in the branch of the first condition that holds. `holds` gets their indices, in order; what it fails with is what the step fails with.
pub fn choose<'a>(keys: impl IntoIterator<Item = &'a str>, holds: impl Fn(usize) -> Result<bool, Failure>) -> Answer {
    let keys: Vec<&str> = keys.into_iter().collect();
    let mut chosen = Chosen { matched: None, outcomes: vec![Value::Null; keys.len()] };
    for (index, key) in keys.into_iter().enumerate() {
        match holds(index) {
            Ok(holds) => chosen.outcomes[index] = holds.into(),
            Err(failure) => {
                chosen.outcomes[index] = failure.message.clone().into();
                return Err(failure.output(&chosen));
            }
        }
        if chosen.outcomes[index] == true {
            chosen.matched = Some(key.to_owned());
            break;
        }
    }
    let branch = chosen.matched.as_deref().unwrap_or(ELSE).to_owned();
    Pending::with(&chosen)?.start(&branch, &branch, Value::Null)?.answer()
}

/// What comes of it when the branch has ended.
pub fn chosen(continue_on_no_match: bool, state: &State, event: Event) -> Answer {
    let Event::BranchEnded(ended) = event else { return Err(Failure::unexpected_event("its branch")) };
    ended.output?;
    let chosen: Chosen = state.get()?;
    if chosen.matched.is_none() && !continue_on_no_match {
        return Err(Failure::new("no-match", "no condition holds, and `continue_on_no_match` is not set")
            .status(Status::Failed)
            .output(&chosen));
    }
    done(chosen)
}
