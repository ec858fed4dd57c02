//! The definition of a workflow as people write it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::name::Key;
use crate::limits::{BRANCH_DEPTH_MAX, DEFINITION_STEPS_MAX};

/// A workflow: a trigger and a tree of steps. The form is `weft: 1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// The version of this form; 1.
    pub weft: u32,
    /// Names the workflow in URLs, in the API and to other workflows.
    pub key: Key,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Where runs start.
    pub trigger: Trigger,
    /// What a run does, in order.
    #[serde(default)]
    pub steps: Vec<Step>,
}

/// Where a workflow starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    /// A trigger type: `webhook`, `acme/crm/contact-added@^1`.
    pub r#type: String,
    /// What the type's schema says.
    #[serde(default = "empty_object")]
    pub config: Value,
}

/// One step of the tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Names the step in variables, in the journal and in differences; the same over revisions.
    pub key: Key,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// A node type: `condition`, `acme/crm/contact@^1`.
    pub r#type: String,
    /// What the type's schema says, with `{{…}}` where a value is only known in a run.
    #[serde(default = "empty_object")]
    pub config: Value,
    /// Lists of steps by the keys of the branches that the type has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub branches: BTreeMap<String, Vec<Step>>,
}

/// One thing wrong with a definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where: a JSON Pointer (RFC 6901) into the definition.
    pub pointer: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl Problem {
    /// A problem at a place.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }
}

fn empty_object() -> Value {
    Value::Object(serde_json::Map::new())
}

impl Definition {
    /// Reads a definition and checks its shape: known members, keys that are unique, bounds. What its types say
    /// about configs and branches is checked at publish, where the types are known.
    pub fn from_value(value: Value) -> Result<Self, Vec<Problem>> {
        let definition: Self = serde_path_to_error::deserialize(value)
            .map_err(|error| vec![Problem::new(pointer_of(error.path()), error.inner().to_string())])?;
        let problems = definition.problems();
        if problems.is_empty() { Ok(definition) } else { Err(problems) }
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.weft != 1 {
            problems.push(Problem::new("/weft", format!("this host reads form 1, not {}", self.weft)));
        }
        let mut seen: BTreeMap<&Key, String> = BTreeMap::new();
        let mut count = 0;
        self.each_step(|step, pointer, depth| {
            count += 1;
            if let Some(first) = seen.insert(&step.key, pointer.to_owned()) {
                let message = format!("`{}` is the key of {first} already; keys are unique in a workflow", step.key);
                problems.push(Problem::new(format!("{pointer}/key"), message));
            }
            if depth > BRANCH_DEPTH_MAX && !step.branches.is_empty() {
                problems.push(Problem::new(
                    format!("{pointer}/branches"),
                    format!("branches nest at most {BRANCH_DEPTH_MAX} deep; move these steps to a workflow of their own"),
                ));
            }
        });
        if count > DEFINITION_STEPS_MAX {
            problems.push(Problem::new("/steps", format!("{count} steps; a workflow has at most {DEFINITION_STEPS_MAX}")));
        }
        problems
    }

    /// Visits each step with its JSON Pointer and its depth (1 at the top), parents first, in order.
    pub fn each_step<'a>(&'a self, mut visit: impl FnMut(&'a Step, &str, usize)) {
        fn walk<'a>(steps: &'a [Step], at: &str, depth: usize, visit: &mut impl FnMut(&'a Step, &str, usize)) {
            for (index, step) in steps.iter().enumerate() {
                let pointer = format!("{at}/{index}");
                visit(step, &pointer, depth);
                for (branch, steps) in &step.branches {
                    walk(steps, &format!("{pointer}/branches/{}", escape(branch)), depth + 1, visit);
                }
            }
        }
        walk(&self.steps, "/steps", 1, &mut visit);
    }
}

/// One token of a JSON Pointer, escaped (RFC 6901 §3).
pub(super) fn escape(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

fn pointer_of(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => pointer.push_str(&format!("/{}", escape(key))),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems(value: Value) -> Vec<(String, String)> {
        let problems = Definition::from_value(value).expect_err("is refused");
        problems.into_iter().map(|p| (p.pointer, p.message)).collect()
    }

    #[test]
    fn a_definition_reads_back_as_it_was_written() {
        let value = json!({
            "weft": 1, "key": "a", "trigger": {"type": "webhook", "config": {}},
            "steps": [{"key": "s", "type": "condition", "config": {"left": 1}, "branches": {"yes": []}}],
        });
        let definition = Definition::from_value(value.clone()).unwrap();
        assert_eq!(serde_json::to_value(definition).unwrap(), value);
    }

    #[test]
    fn a_wrong_shape_is_named_by_its_place() {
        let step = json!({"key": "s", "type": "data", "confg": {}});
        let found = problems(json!({"weft": 1, "key": "a", "trigger": {"type": "w"}, "steps": [step]}));
        assert_eq!(found[0].0, "/steps/0/confg");
        assert!(found[0].1.contains("unknown field `confg`"), "{found:?}");

        let found = problems(json!({"weft": 1, "key": "A b", "trigger": {"type": "w"}}));
        assert_eq!(found[0].0, "/key");
    }

    #[test]
    fn all_problems_come_at_once() {
        let step = json!({"key": "s", "type": "data"});
        let nested = json!({"key": "t", "type": "data", "branches": {"a/b": [step]}});
        let found = problems(json!({"weft": 2, "key": "a", "trigger": {"type": "w"}, "steps": [step, nested, step]}));
        let places: Vec<&str> = found.iter().map(|(pointer, _)| pointer.as_str()).collect();
        assert_eq!(places, ["/weft", "/steps/1/branches/a~1b/0/key", "/steps/2/key"]);
    }

    #[test]
    fn depth_and_number_are_bounded() {
        let deep = |levels: usize| {
            let mut step = json!({"key": "s0", "type": "data"});
            for level in 1..=levels {
                step = json!({"key": format!("s{level}"), "type": "data", "branches": {"b": [step]}});
            }
            json!({"weft": 1, "key": "a", "trigger": {"type": "w"}, "steps": [step]})
        };
        assert!(Definition::from_value(deep(BRANCH_DEPTH_MAX)).is_ok());
        assert!(problems(deep(BRANCH_DEPTH_MAX + 1))[0].0.ends_with("/branches"));

        let many = |count: usize| {
            let steps: Vec<Value> = (0..count).map(|n| json!({"key": format!("s{n}"), "type": "data"})).collect();
            json!({"weft": 1, "key": "a", "trigger": {"type": "w"}, "steps": steps})
        };
        assert!(Definition::from_value(many(DEFINITION_STEPS_MAX)).is_ok());
        assert_eq!(problems(many(DEFINITION_STEPS_MAX + 1))[0].0, "/steps");
    }
}
