//! `formula-condition` and `formula-switch`: what `condition` and `switch` do, with conditions that are formulas.
//!
//! They are types of their own because their engine is large: the types of `flow`, which most runs use, shall not begin with it.

use weft_branching::{Mode, check_conditions, choose, choosing, chosen, decide, decided, deciding};
use weft_js::{Dialect, Expression};
use weft_sdk::prelude::*;

/// Goes on in the branch `yes` or `no`, or, in the mode `reject`, goes on only if the formula holds.
#[derive(Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct FormulaCondition {
    /// What to do if the formula does not hold: go on in the branch `no`, or fail.
    #[serde(default)]
    mode: Mode,
    #[serde(flatten)]
    formula: Formula,
}

/// Goes on in the branch of the first formula that holds; if none does, in the branch `else`, and then fails, unless it may go on.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FormulaSwitch {
    /// The formulas, in the order in which they are calculated; each has a branch of its own.
    #[schemars(length(min = 1, max = 100))]
    conditions: Vec<Case>,
    /// Whether the run goes on below when no formula holds; else the step fails after the branch `else`.
    #[serde(default)]
    continue_on_no_match: bool,
}

/// A formula with a branch.
#[derive(Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Case {
    /// The key of the branch: lower-case letters, digits and hyphens.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9-]{0,63}$"))]
    key: String,
    /// The name of the branch, for people.
    #[serde(default, rename = "title")]
    _title: String,
    #[serde(flatten)]
    formula: Formula,
}

/// A formula that holds or does not.
#[derive(Deserialize, JsonSchema)]
struct Formula {
    /// The formula's language. `math.js`: numbers, matrices, units; lists begin at 1. `formula.js`: functions as spreadsheets have them, in a JavaScript expression;
    /// lists begin at 0.
    #[serde(default)]
    engine: Dialect,
    /// The formula. `{{…}}` stands for a value, not for its text: it must not stand in quotes. What it gives holds as in its language's own `a ? b : c`: in `math.js`
    /// 0, the empty text and `null` do not hold, and a list is an error; in `formula.js` what JavaScript takes for false does not.
    #[schemars(extend("x-weft-raw" = true))]
    expression: String,
}

impl Formula {
    /// Whether it holds; `at` is where it stands in the config.
    fn holds(&self, at: &str) -> Result<bool, Failure> {
        let invalid = |message| Failure::invalid_config(&format!("{at}/expression"), message);
        let holds = Expression::read(self.engine, &self.expression).map_err(invalid)?.holds();
        holds.map_err(|failure| match failure.code.as_str() {
            "expression-error" => Failure { message: format!("{at}/expression: {}", failure.message), ..failure },
            _ => failure,
        })
    }

    fn check(config: &Value, at: &str) -> Vec<Problem> {
        let engine = config.get("engine").map_or(Ok(Dialect::default()), Dialect::deserialize);
        match (engine, config.get("expression").and_then(Value::as_str)) {
            (Ok(dialect), Some(expression)) => Expression::check(dialect, expression, &format!("{at}/expression")),
            _ => Vec::new(),
        }
    }
}

/// How a formula fails, at this place of the config.
pub(crate) fn failing(node: NodeType, pointer: &str) -> NodeType {
    node.fails(
        "expression-error",
        "A formula cannot be read, or not be calculated with these values; the message says which, and why.",
        pointer,
    )
    .fails("invalid-config", "A variable stands in quotes, where it would stay text: take it out and join the texts.", pointer)
    .fails("too-large", "The values are longer than a formula may have: pick what it needs first.", pointer)
}

impl Node for FormulaCondition {
    const NAME: &str = "formula-condition";

    fn node_type() -> NodeType {
        failing(deciding(NodeType::of::<Self>()), "/expression")
    }

    fn check(config: &Value) -> Vec<Problem> {
        Formula::check(config, "")
    }

    fn execute(self, _: &Call) -> Answer {
        decide(self.formula.holds("")?, self.mode)
    }

    fn resume(self, _: &Call, state: State, event: Event) -> Answer {
        decided(&state, event)
    }
}

impl Node for FormulaSwitch {
    const NAME: &str = "formula-switch";

    fn node_type() -> NodeType {
        failing(choosing(NodeType::of::<Self>()), "/conditions")
    }

    fn check(config: &Value) -> Vec<Problem> {
        check_conditions(config, Formula::check)
    }

    fn execute(self, _: &Call) -> Answer {
        let holds = |index: usize| self.conditions[index].formula.holds(&format!("/conditions/{index}"));
        choose(self.conditions.iter().map(|case| case.key.as_str()), holds)
    }

    fn resume(self, _: &Call, state: State, event: Event) -> Answer {
        chosen(self.continue_on_no_match, &state, event)
    }
}
