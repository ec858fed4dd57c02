//! `json-mapping`: names for parts of JSON.

use std::collections::HashSet;

use weft_sdk::prelude::*;

use crate::path;

/// Gives parts of an object names, by which later steps pick them.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JsonMapping {
    /// The object.
    source: Value,
    /// The parts.
    variables: Vec<Variable>,
    /// Whether paths have the indices of lists in them (`b.0.c`). Otherwise a name over a list takes that member of each element: `b.c` is `[2, 3]`.
    #[serde(default)]
    parse_array: bool,
}

/// A part of the object.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Variable {
    /// What it is called in the result.
    key: String,
    /// Where it is: names and indices from the object on, joined by dots.
    #[serde(default)]
    path: Option<String>,
    /// Places where it may be: the first that has a value counts. In the place of `path`.
    #[serde(default)]
    paths: Vec<String>,
    /// Its name for people.
    #[serde(default, rename = "title")]
    _title: Option<String>,
    /// Parts of this part, which are members of the result, too. Their paths begin at the object as well.
    #[serde(default)]
    children: Vec<Variable>,
}

impl Node for JsonMapping {
    const NAME: &str = "json-mapping";

    fn node_type() -> NodeType {
        NodeType::of::<Self>().category("calculation").result::<serde_json::Map<String, Value>>().fails(
            "no-object",
            "The source is neither an object nor a list: status `failed`. Does it name what an earlier step gives?",
            "/source",
        )
    }

    fn check(config: &Value) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(variables) = config.get("variables") {
            check(variables, "/variables", &mut HashSet::new(), &mut problems);
        }
        problems
    }

    fn execute(self, _: &Call) -> Answer {
        if !self.source.is_object() && !self.source.is_array() {
            return Err(Failure::new("no-object", "/source: this is neither an object nor a list").status(Status::Failed));
        }
        let mut result = serde_json::Map::new();
        self.map(&self.variables, &mut result);
        done(result)
    }
}

impl JsonMapping {
    fn map(&self, variables: &[Variable], result: &mut serde_json::Map<String, Value>) {
        for variable in variables {
            let mut places = variable.path.iter().chain(&variable.paths);
            let value = places.find_map(|place| path::get(&self.source, place, self.parse_array));
            result.insert(variable.key.clone(), value.unwrap_or_default());
            self.map(&variable.children, result);
        }
    }
}

/// Finds keys that are there twice, and parts without a place.
fn check<'a>(variables: &'a Value, pointer: &str, keys: &mut HashSet<&'a str>, problems: &mut Vec<Problem>) {
    for (index, variable) in variables.as_array().into_iter().flatten().enumerate() {
        let pointer = format!("{pointer}/{index}");
        if let Some(key) = variable.get("key").and_then(Value::as_str)
            && !keys.insert(key)
        {
            problems.push(Problem::new(&format!("{pointer}/key"), format!("there is a part `{key}` already")));
        }
        let has_paths = variable.get("paths").and_then(Value::as_array).is_some_and(|paths| !paths.is_empty());
        if variable.is_object() && variable.get("path").is_none() != has_paths {
            problems.push(Problem::new(&pointer, "give `path`, or `paths`"));
        }
        if let Some(children) = variable.get("children") {
            check(children, &format!("{pointer}/children"), keys, problems);
        }
    }
}
