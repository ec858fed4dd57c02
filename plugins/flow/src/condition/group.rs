//! Trees of comparisons.

use weft_sdk::prelude::*;

use super::compare::{Operator, compare};

/// Comparisons that are joined.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Group {
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
    pub(super) fn holds(&self) -> bool {
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
