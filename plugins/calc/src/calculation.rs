//! `calculation`: a formula's value.

use weft_js::{Dialect, Expression};
use weft_sdk::capability::variables;
use weft_sdk::prelude::*;

use crate::formula::failing;

/// Calculates with a formula, or puts a text together.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Calculation {
    /// The formula's language. `math.js`: numbers, matrices, units; lists begin at 1. `formula.js`: functions as spreadsheets have them, in a JavaScript expression;
    /// lists begin at 0. `string`: the text, with each variable's text in its place.
    #[serde(default)]
    engine: Engine,
    /// The formula. `{{…}}` stands for a value, not for its text: it must not stand in quotes. In the result decimals have 15 digits, as in spreadsheets; what is no
    /// number (`NaN`, infinite) is `null`; matrices and ranges are lists; big numbers, fractions, complex numbers and units are texts; dates are ISO texts.
    #[schemars(extend("x-weft-raw" = true))]
    expression: String,
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
enum Engine {
    #[default]
    #[serde(rename = "math.js")]
    MathJs,
    #[serde(rename = "formula.js")]
    FormulaJs,
    #[serde(rename = "string")]
    String,
}

impl Engine {
    fn dialect(self) -> Option<Dialect> {
        match self {
            Self::MathJs => Some(Dialect::MathJs),
            Self::FormulaJs => Some(Dialect::FormulaJs),
            Self::String => None,
        }
    }
}

impl Node for Calculation {
    const NAME: &str = "calculation";

    fn node_type() -> NodeType {
        failing(NodeType::of::<Self>().category("calculation").result::<Value>(), "/expression")
    }

    fn check(config: &Value) -> Vec<Problem> {
        let engine = config.get("engine").map_or(Ok(Engine::default()), Engine::deserialize);
        match (engine.map(Engine::dialect), config.get("expression").and_then(Value::as_str)) {
            (Ok(Some(dialect)), Some(expression)) => Expression::check(dialect, expression, "/expression"),
            _ => Vec::new(),
        }
    }

    fn execute(self, _: &Call) -> Answer {
        match self.engine.dialect() {
            Some(dialect) => {
                let expression = Expression::read(dialect, &self.expression);
                let invalid = |message| Failure::invalid_config("/expression", message);
                Ok(Outcome::Done(expression.map_err(invalid)?.evaluate()?))
            }
            None => {
                let resolved = variables::resolve(&json!(self.expression).to_string(), None)?;
                // A text that is one variable and nothing else is that variable's value.
                done(match serde_json::from_str(&resolved).unwrap_or_default() {
                    Value::String(text) => text,
                    Value::Null => String::new(),
                    value => value.to_string(),
                })
            }
        }
    }
}
