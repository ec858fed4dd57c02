//! `condition`: goes one way or the other.

use weft_sdk::prelude::*;

use crate::compare::{Operator, compare};

/// Goes on in the branch `yes` or `no`, or, in the mode `reject`, goes on only if the condition holds.
///
/// The condition is one comparison (`left`, `operator`, `right`) or a tree of them (`group`).
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// What to do if the condition does not hold: go on in the branch `no`, or fail.
    #[serde(default)]
    mode: Mode,
    /// The left side of the comparison.
    #[serde(default)]
    left: Value,
    /// How to compare.
    operator: Option<Operator>,
    /// The right side of the comparison.
    #[serde(default)]
    right: Value,
    /// A tree of comparisons, in the place of one.
    group: Option<Group>,
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

/// Comparisons that are joined.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Group {
    /// `and`: all must hold (true if there are none). `or`: one must hold (false if there are none).
    r#type: Join,
    /// What is joined.
    calculations: Vec<Calculation>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Join {
    /// All must hold.
    And,
    /// One must hold.
    Or,
}

/// A comparison, or a group of them.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Calculation {
    /// How to compare. Without it, or without operands, the comparison holds.
    calculator: Option<Operator>,
    /// The left side and the right side.
    operands: Option<(Value, Value)>,
    /// A group in the place of a comparison.
    group: Option<Group>,
}

impl Group {
    fn holds(&self) -> bool {
        match self.r#type {
            Join::And => self.calculations.iter().all(Calculation::holds),
            Join::Or => self.calculations.iter().any(Calculation::holds),
        }
    }
}

impl Calculation {
    fn holds(&self) -> bool {
        match (self, &self.group) {
            (_, Some(group)) => group.holds(),
            (Self { calculator: Some(operator), operands: Some((left, right)), .. }, None) => compare(left, *operator, right),
            _ => true,
        }
    }
}

impl Condition {
    fn holds(&self) -> bool {
        match (&self.group, self.operator) {
            (Some(group), _) => group.holds(),
            (None, Some(operator)) => compare(&self.left, operator, &self.right),
            (None, None) => true,
        }
    }
}

impl Node for Condition {
    const NAME: &str = "condition";

    fn node_type() -> NodeType {
        NodeType::of::<Self>().category("flow").result::<bool>().branch("yes", "Yes").branch("no", "No")
    }

    fn check(config: &Value) -> Vec<Problem> {
        match (config.get("group"), config.get("operator")) {
            (Some(_), Some(_)) => vec![Problem::new("/group", "give `left`, `operator` and `right`, or `group`, not both")],
            (None, None) => vec![Problem::new("", "give `left`, `operator` and `right`, or `group`")],
            _ => Vec::new(),
        }
    }

    fn execute(self, _: &Call) -> Answer {
        let holds = self.holds();
        if !holds && self.mode == Mode::Reject {
            return Err(Failure::new("condition-false", "the condition does not hold").status(Status::Failed).output(&false));
        }
        let branch = if holds { "yes" } else { "no" };
        Pending::with(holds)?.start(branch, branch, Value::Null)?.answer()
    }

    fn resume(self, _: &Call, state: State, event: Event) -> Answer {
        match event {
            Event::BranchEnded(ended) => {
                ended.output?;
                done(state.get::<bool>()?)
            }
            _ => Err(Failure::new("unexpected-event", "a condition waits for its branch only")),
        }
    }
}
