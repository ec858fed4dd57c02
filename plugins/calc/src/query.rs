//! `json-query`: picks from JSON.

use serde_json::value::RawValue;
use weft_js::Engine;
use weft_sdk::prelude::*;

use crate::path;

/// Picks from JSON, and reshapes it, with a query.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JsonQuery {
    /// The query's language: JMESPath, JSONPath-plus (its filters are simple expressions, not JavaScript), or JSONata.
    #[serde(default)]
    engine: Language,
    /// What to pick from.
    #[schemars(with = "Value")]
    source: Box<RawValue>,
    /// The query. Variables become part of its text.
    expression: String,
    /// Which members of the result to keep, and what to call them; for a result that is an object, or a list of objects.
    #[serde(default)]
    model: Vec<Member>,
}

#[derive(Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Language {
    /// JMESPath.
    #[default]
    Jmespath,
    /// JSONPath-plus.
    Jsonpathplus,
    /// JSONata.
    Jsonata,
}

/// A member of the result.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Member {
    /// Where it is: names and indices, joined by dots.
    path: String,
    /// What it is called; by default its path with `_` for each dot.
    alias: Option<String>,
    /// Its name for people.
    #[serde(default, rename = "label")]
    _label: Option<String>,
}

impl Node for JsonQuery {
    const NAME: &str = "json-query";

    fn node_type() -> NodeType {
        NodeType::of::<Self>()
            .category("calculation")
            .result::<Value>()
            .fails("query-error", "The query cannot be read, or not be carried out on this source; the message says why.", "/expression")
            .fails("no-object", "The result is neither an object nor a list of objects, and only those have members for a model: change the query, or leave `model` out.", "/model")
    }

    fn check(config: &Value) -> Vec<Problem> {
        let engine = config.get("engine").map_or(Ok(Language::default()), Language::deserialize);
        let (Ok(engine), Some(expression)) = (engine, config.get("expression").and_then(Value::as_str)) else {
            return Vec::new();
        };
        // With variables it is a query only when they are filled in.
        if expression.contains("{{") {
            return Vec::new();
        }
        let arguments = [json!(engine).to_string(), json!(expression).to_string()];
        let checked = Engine::get().call("weftCheckQuery", &[&arguments[0], &arguments[1]]);
        checked.err().map(|thrown| Problem::new("/expression", thrown.message)).into_iter().collect()
    }

    fn execute(self, _: &Call) -> Answer {
        let (engine, expression) = (json!(self.engine).to_string(), json!(self.expression).to_string());
        let result = Engine::get()
            .call("weftQuery", &[&engine, self.source.get(), &expression])
            .map_err(|thrown| Failure::new("query-error", thrown.message))?;
        if self.model.is_empty() {
            return Ok(Outcome::Done(result));
        }
        let result: Value = serde_json::from_str(&result).unwrap_or_default();
        let no_object = || {
            Failure::new("no-object", "/model: the result is neither an object nor a list of objects, which alone have members")
        };
        match &result {
            Value::Array(items) => {
                let items: Option<Vec<Value>> = items.iter().map(|item| reshape(item, &self.model)).collect();
                done(items.ok_or_else(no_object)?)
            }
            item => done(reshape(item, &self.model).ok_or_else(no_object)?),
        }
    }
}

fn reshape(item: &Value, model: &[Member]) -> Option<Value> {
    item.as_object()?;
    let name =
        |member: &Member| member.alias.clone().filter(|alias| !alias.is_empty()).unwrap_or_else(|| member.path.replace('.', "_"));
    let members = model.iter().map(|member| (name(member), path::get(item, &member.path, true).unwrap_or_default()));
    Some(Value::Object(members.collect()))
}
