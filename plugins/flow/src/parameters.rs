//! What a workflow that is started by name wants to be given.

use std::collections::HashSet;

use weft_sdk::prelude::serde_json::Map;
use weft_sdk::prelude::*;

/// A value that the workflow is given by its name: `$context.<name>`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameter {
    /// Its name in `$context`.
    #[schemars(regex(pattern = r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$"))]
    name: String,
    /// Its name for people.
    #[serde(default)]
    #[expect(dead_code, reason = "forms show it")]
    title: String,
    /// What it means, for people.
    #[serde(default)]
    #[expect(dead_code, reason = "forms show it")]
    description: String,
    /// What kind of value it is.
    #[serde(default)]
    r#type: Type,
    /// Whether it must be given.
    #[serde(default)]
    required: bool,
    /// Its value when it is not given.
    default: Option<Value>,
    /// The values that it can have; without them any of its type.
    #[schemars(length(min = 1, max = 1_000))]
    values: Option<Vec<Value>>,
}

/// What the run's steps see as `$context`: the parameters by their names; without parameters whatever was given.
#[derive(JsonSchema)]
#[schemars(extend("x-weft-members-from" = "/parameters"))]
#[expect(dead_code, reason = "only its schema is wanted")]
pub(crate) struct Given(Value);

/// The types of JSON Schema, and any.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Type {
    /// Any value.
    #[default]
    Any,
    /// A text.
    String,
    /// A number.
    Number,
    /// A number without a fraction.
    Integer,
    /// True or false.
    Boolean,
    /// An object.
    Object,
    /// A list.
    Array,
}

impl Type {
    fn fits(self, value: &Value) -> bool {
        match self {
            Self::Any => true,
            Self::String => value.is_string(),
            Self::Number => value.is_number(),
            Self::Integer => value.as_f64().is_some_and(|number| number.fract() == 0.0),
            Self::Boolean => value.is_boolean(),
            Self::Object => value.is_object(),
            Self::Array => value.is_array(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Any => "a value",
            Self::String => "a string",
            Self::Number => "a number",
            Self::Integer => "an integer",
            Self::Boolean => "true or false",
            Self::Object => "an object",
            Self::Array => "an array",
        }
    }
}

impl Parameter {
    /// Why this is no value for it.
    fn refuses(&self, value: &Value) -> Option<String> {
        if !self.r#type.fits(value) {
            return Some(format!("`{}` is not {}", self.name, self.r#type.name()));
        }
        let values = self.values.as_deref().filter(|values| !values.contains(value))?;
        let values: Vec<String> = values.iter().map(Value::to_string).collect();
        Some(format!("`{}` is none of {}", self.name, values.join(", ")))
    }
}

/// The context of a run, from what a caller gives: defaults filled in, or everything that is wrong. Without parameters anything will do.
pub(crate) fn read(parameters: &[Parameter], given: &str) -> Result<Value, String> {
    let given: Value = serde_json::from_str(given).map_err(|error| error.to_string())?;
    if parameters.is_empty() {
        return Ok(given);
    }
    let mut given = match given {
        Value::Object(members) => members,
        Value::Null => Map::new(),
        _ => return Err(format!("what is given is no object with the members {}", names(parameters))),
    };
    let (mut context, mut wrong) = (Map::new(), Vec::new());
    for parameter in parameters {
        let name = &parameter.name;
        match given.remove(name).filter(|value| !value.is_null()).or_else(|| parameter.default.clone()) {
            None if parameter.required => wrong.push(format!("`{name}` is missing")),
            None => drop(context.insert(name.clone(), Value::Null)),
            Some(value) => match parameter.refuses(&value) {
                Some(message) => wrong.push(message),
                None => drop(context.insert(name.clone(), value)),
            },
        }
    }
    wrong.extend(given.keys().map(|name| format!("there is no parameter `{name}`, but {}", names(parameters))));
    if wrong.is_empty() { Ok(context.into()) } else { Err(wrong.join("; ")) }
}

fn names(parameters: &[Parameter]) -> String {
    parameters.iter().map(|parameter| format!("`{}`", parameter.name)).collect::<Vec<_>>().join(", ")
}

/// What the schema of a config does not say of its parameters.
pub(crate) fn check(config: &Value) -> Vec<Problem> {
    let list = config.get("parameters").cloned().unwrap_or_default();
    let Ok(parameters) = serde_json::from_value::<Vec<Parameter>>(list) else { return Vec::new() };
    let (mut problems, mut seen) = (Vec::new(), HashSet::new());
    for (index, parameter) in parameters.iter().enumerate() {
        let at = format!("/parameters/{index}");
        if !seen.insert(&parameter.name) {
            problems.push(Problem::new(&format!("{at}/name"), "two parameters have the same name"));
        }
        if let Some(message) = parameter.default.as_ref().and_then(|default| parameter.refuses(default)) {
            problems.push(Problem::new(&format!("{at}/default"), message));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(value: Value) -> Result<Value, String> {
        let parameters = json!([
            {"name": "sku", "type": "string", "required": true},
            {"name": "count", "type": "integer", "default": 1},
            {"name": "currency", "values": ["EUR", "IDR"]}
        ]);
        read(&serde_json::from_value::<Vec<Parameter>>(parameters).unwrap(), &value.to_string())
    }

    #[test]
    fn defaults_are_filled_in() {
        assert_eq!(given(json!({"sku": "A1"})).unwrap(), json!({"sku": "A1", "count": 1, "currency": null}));
        let all = json!({"sku": "A1", "count": 2.0, "currency": "EUR"});
        assert_eq!(given(all.clone()).unwrap(), all);
        assert_eq!(read(&[], "[1]").unwrap(), json!([1]));
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let said = given(json!({"count": 1.5, "currency": "USD", "color": "red"})).unwrap_err();
        let want = "`sku` is missing; `count` is not an integer; `currency` is none of \"EUR\", \"IDR\"; \
                    there is no parameter `color`, but `sku`, `count`, `currency`";
        assert_eq!(said, want);
        assert!(given(json!(null)).unwrap_err().contains("`sku` is missing"));
        assert!(given(json!("A1")).unwrap_err().contains("no object"));
    }

    #[test]
    fn parameters_are_checked() {
        let list = json!([{"name": "a"}, {"name": "a"}, {"name": "b", "type": "boolean", "default": 1}]);
        let at: Vec<String> = check(&json!({ "parameters": list })).into_iter().map(|problem| problem.pointer).collect();
        assert_eq!(at, ["/parameters/1/name", "/parameters/2/default"]);
    }
}
