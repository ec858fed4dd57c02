//! Formulas, in which `{{…}}` stands for a value: it is bound to a name, never pasted as text.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weft_sdk::capability::variables;
use weft_sdk::{Failure, Problem};

use crate::Engine;

/// The language of a formula.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Dialect {
    /// math.js: numbers, matrices, units; lists begin at 1.
    #[default]
    #[serde(rename = "math.js")]
    MathJs,
    /// Functions as spreadsheets have them, in a JavaScript expression; lists begin at 0.
    #[serde(rename = "formula.js")]
    FormulaJs,
}

/// A formula, read.
pub struct Expression {
    dialect: Dialect,
    source: String,
    templates: Vec<String>,
}

impl Expression {
    /// Finds a formula's variables. An error: one stands where it would be text.
    pub fn read(dialect: Dialect, text: &str) -> Result<Self, String> {
        let (mut source, mut templates, mut quote, mut rest) = (String::new(), Vec::new(), None, text);
        while let Some(next) = rest.chars().next() {
            if let Some((template, after)) = variable(rest) {
                if quote.is_some() {
                    return Err(format!(
                        "`{template}` stands in quotes, where it would stay text: take it out and join the texts"
                    ));
                }
                templates.push(template.to_owned());
                source.push_str(&format!(" _v{} ", templates.len()));
                rest = after;
                continue;
            }
            match quote {
                Some(open) if open == next => quote = None,
                Some(_) if next == '\\' => {
                    source.push(next);
                    rest = &rest[1..];
                    let Some(escaped) = rest.chars().next() else { break };
                    source.push(escaped);
                    rest = &rest[escaped.len_utf8()..];
                    continue;
                }
                None if next == '"' || next == '`' || next == '\'' && !transposes(dialect, &source) => quote = Some(next),
                _ => {}
            }
            source.push(next);
            rest = &rest[next.len_utf8()..];
        }
        Ok(Self { dialect, source, templates })
    }

    /// What is wrong with a formula in a config as it is written: found when a workflow is published.
    pub fn check(dialect: Dialect, text: &str, pointer: &str) -> Vec<Problem> {
        let checked = Self::read(dialect, text).and_then(|expression| {
            let (dialect, source) = (json(&expression.dialect), json(&expression.source));
            let count = expression.templates.len().to_string();
            let checked = Engine::get().call("weftCheckExpression", &[&dialect, &source, &count]);
            checked.map_err(|thrown| thrown.message)
        });
        checked.err().map(|message| Problem::new(pointer, message)).into_iter().collect()
    }

    /// Calculates with the run's variables as they are now, and gives JSON.
    pub fn evaluate(&self) -> Result<String, Failure> {
        self.call("weftEvaluate")
    }

    /// Whether it holds with the run's variables as they are now: what its language takes for true in `a ? b : c`.
    pub fn holds(&self) -> Result<bool, Failure> {
        Ok(self.call("weftHolds")? == "true")
    }

    fn call(&self, function: &str) -> Result<String, Failure> {
        let values = match &self.templates[..] {
            [] => "[]".into(),
            templates => variables::resolve(&json(&templates), None)?,
        };
        let (dialect, source) = (json(&self.dialect), json(&self.source));
        let engine = Engine::get();
        let result = engine.call(function, &[&dialect, &source, &values]);
        result.map_err(|thrown| Failure::new("expression-error", thrown.message))
    }
}

/// The variable at the beginning of a text, and what follows. Other text in double braces is nobody's variable.
fn variable(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix("{{")?;
    let end = inner.find("}}")?;
    let name = inner[..end].trim();
    name.strip_prefix("ctx.").unwrap_or(name).starts_with('$').then(|| text.split_at(end + 4))
}

/// Whether an apostrophe after this is math.js' operator, not a quote.
fn transposes(dialect: Dialect, before: &str) -> bool {
    let follows = |c: char| c.is_alphanumeric() || matches!(c, '_' | ')' | ']' | '\'' | '.');
    dialect == Dialect::MathJs && before.trim_end().chars().next_back().is_some_and(follows)
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dialect: Dialect, text: &str) -> (String, Vec<String>) {
        let expression = Expression::read(dialect, text).map_err(|message| panic!("{message}")).ok();
        expression.map(|expression| (expression.source, expression.templates)).unwrap_or_default()
    }

    #[test]
    fn variables_become_names() {
        let (source, templates) = read(Dialect::MathJs, "2 * {{$context.a}} + {{ctx.$steps.b.result:7}}' + {{other}}");
        assert_eq!(source, "2 *  _v1  +  _v2 ' + {{other}}");
        assert_eq!(templates, ["{{$context.a}}", "{{ctx.$steps.b.result:7}}"]);
        assert_eq!(read(Dialect::FormulaJs, r#"CONCATENATE("it\"s", {{$context.a}}, 'b')"#).1.len(), 1);
    }

    #[test]
    fn variables_in_quotes_are_refused() {
        for text in [r#""a {{$context.a}}""#, "'{{$context.a}}'", r#"concat("it\"s {{$context.a}}", "b")"#] {
            assert!(Expression::read(Dialect::MathJs, text).is_err(), "{text}");
        }
    }
}
