//! Whether something holds: the one place where conditions are read and evaluated, for every type that has one.
//!
//! A config holds a condition by `#[serde(flatten)]`. Whoever evaluates it once (`condition`, `switch`) lets the host fill its templates
//! in; whoever does so again and again (`loop`) keeps it raw, and asks [`Condition::read`] each time.

mod compare;
mod group;

use weft_sdk::capability::variables;
use weft_sdk::config;
use weft_sdk::prelude::serde_json::Map;
use weft_sdk::prelude::*;

use compare::{Operator, compare};
use group::Group;

/// One comparison (`left`, `operator`, `right`), or a tree of them (`group`).
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Condition {
    /// What the condition is written in.
    #[serde(default)]
    engine: Engine,
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

/// What a condition is written in.
#[derive(Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Engine {
    /// Comparisons, picked in a form.
    #[default]
    Basic,
}

/// How every type fails that has a condition.
pub(crate) const UNUSABLE: &str =
    "A variable gave what no condition can be made of, such as an operator that there is not; the message says what.";

impl Condition {
    /// Reads a condition that was kept raw. `own_scope` is what `$scopes.<this step>` gives in it.
    pub(crate) fn read(raw: &Map<String, Value>, own_scope: &Value) -> Result<Self, Failure> {
        let filled = variables::resolve(&json!(raw).to_string(), Some(&own_scope.to_string()))?;
        config::read(&filled, "/condition")
    }

    /// Whether it holds.
    pub(crate) fn holds(&self) -> bool {
        let Engine::Basic = self.engine;
        match (&self.group, self.operator) {
            (Some(group), _) => group.holds(),
            (None, Some(operator)) => compare(&self.left, operator, &self.right),
            (None, None) => true,
        }
    }

    /// What its schema does not say, when it is published. `at` is where it stands in the config.
    pub(crate) fn check(config: &Value, at: &str) -> Vec<Problem> {
        match (config.get("group"), config.get("operator")) {
            (Some(_), Some(_)) => {
                vec![Problem::new(&format!("{at}/group"), "give `left`, `operator` and `right`, or `group`, not both")]
            }
            (None, None) => vec![Problem::new(at, "give `left`, `operator` and `right`, or `group`")],
            _ => Vec::new(),
        }
    }
}
