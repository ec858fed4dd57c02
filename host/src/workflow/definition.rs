//! The definition of a workflow as people write it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::name::Key;
use crate::limits::{BRANCH_DEPTH_MAX, DEFINITION_STEPS_MAX, RETRY_ATTEMPTS_MAX, RUNS_LIVE_MAX, STACK_DEPTH_MAX, TIMEOUT_MS_MAX};

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
    /// How its runs are treated.
    #[serde(default, skip_serializing_if = "Options::is_default")]
    pub options: Options,
}

/// How the runs of a workflow are treated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// How long a run may take, its waits included and its time in a queue not, in milliseconds; none: as long as it likes. Then it
    /// is aborted with the reason `timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// How often this workflow may stand in a chain of runs that start each other; 1 by default, so that it does not start itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack_limit: Option<u32>,
    /// How many of its runs are carried out at one time; none: as many as the host can. A run that waits does not count. Further
    /// ones stand in a queue; callers who would have to wait for one get 429.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// How long its runs are kept; the host's own settings apply besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
}

/// Which runs that ended are deleted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// Those that ended with one of these statuses, at once: `succeeded`, `failed`, …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delete_on: Vec<String>,
    /// Those that ended more than so many days ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
    /// The oldest ones, when there are more than so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<u32>,
}

impl Options {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
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
    /// Lists of steps by the keys of the branches that the type has, and [`ON_FAILURE`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub branches: BTreeMap<String, Vec<Step>>,
    /// Whether and when a call that failed for a passing reason is made again; none: it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// How long the step may take, with its tries, branches and waits, in milliseconds; none: as long as it likes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// How long one call of its component may take, in milliseconds; none: the host's bound. What it exceeds may be tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_timeout_ms: Option<u64>,
    /// What happens when it fails in the end. The steps of the branch [`ON_FAILURE`], if there is one, come instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
    /// Stricter than its type: a call with an external effect is not made again after a crash, and a person decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<Repeat>,
}

/// The branch that every step may have, whatever its type: its steps are carried out when the step failed in the end, and
/// see `$scopes.<step>.failure` (`status`, `code`, `message`, `output`). Then the run goes on after the step, with the failure's output
/// as result. No type has a branch of this name, since keys of branches have no `_`.
pub const ON_FAILURE: &str = "on_failure";

/// When a call is made again that failed with a transient failure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// How often a call is made at most, the first time included.
    pub attempts: u32,
    /// How long to wait before the second try, in milliseconds.
    #[serde(default = "Retry::default_backoff_ms")]
    pub backoff_ms: u64,
    /// What each further wait is a multiple of: of the one before.
    #[serde(default = "Retry::default_factor")]
    pub factor: u32,
    /// The longest wait, in milliseconds.
    #[serde(default = "Retry::default_backoff_ms_max")]
    pub backoff_ms_max: u64,
    /// Whether waits are shortened by up to a half, at random, so that what failed together is not tried again together.
    #[serde(default = "Retry::default_jitter")]
    pub jitter: bool,
}

impl Retry {
    fn default_backoff_ms() -> u64 {
        1_000
    }

    fn default_factor() -> u32 {
        2
    }

    fn default_backoff_ms_max() -> u64 {
        60_000
    }

    fn default_jitter() -> bool {
        true
    }
}

/// What happens when a step fails in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// What the step is in fails too.
    #[default]
    Fail,
    /// The run goes on after it, with the failure's output as result.
    Continue,
}

/// Whether a call with an external effect is made again when a crash hid what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Repeat {
    /// It is not: the step's outcome is unknown until a person decides.
    AtMostOnce,
}

/// One thing wrong with a definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where: a JSON Pointer (RFC 6901) into the definition.
    pub pointer: String,
    /// What is wrong and what to do.
    pub message: String,
    /// What it is, for programs, where something can be done about it outside of the definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

impl Problem {
    /// A problem at a place.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into(), code: None }
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
            step.policy_problems(pointer, &mut problems);
        });
        self.options.problems(&mut problems);
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

impl Step {
    fn policy_problems(&self, at: &str, problems: &mut Vec<Problem>) {
        if let Some(retry) = &self.retry {
            bounded(problems, format!("{at}/retry/attempts"), retry.attempts.into(), 1..=RETRY_ATTEMPTS_MAX.into());
            bounded(problems, format!("{at}/retry/backoff_ms"), retry.backoff_ms, 1..=TIMEOUT_MS_MAX);
            bounded(problems, format!("{at}/retry/factor"), retry.factor.into(), 1..=10);
            bounded(problems, format!("{at}/retry/backoff_ms_max"), retry.backoff_ms_max, retry.backoff_ms..=TIMEOUT_MS_MAX);
        }
        for (name, value) in [("timeout_ms", self.timeout_ms), ("call_timeout_ms", self.call_timeout_ms)] {
            bounded(problems, format!("{at}/{name}"), value.unwrap_or(1), 1..=TIMEOUT_MS_MAX);
        }
        if self.on_failure.is_some() && self.branches.contains_key(ON_FAILURE) {
            let message = format!("give `on_failure` or the branch `{ON_FAILURE}`, not both");
            problems.push(Problem::new(format!("{at}/on_failure"), message));
        }
    }
}

impl Options {
    fn problems(&self, problems: &mut Vec<Problem>) {
        bounded(problems, "/options/timeout_ms".into(), self.timeout_ms.unwrap_or(1), 1..=TIMEOUT_MS_MAX);
        let stack_limit = self.stack_limit.unwrap_or(1).into();
        bounded(problems, "/options/stack_limit".into(), stack_limit, 1..=u64::from(STACK_DEPTH_MAX));
        bounded(problems, "/options/concurrency".into(), self.concurrency.unwrap_or(1).into(), 1..=u64::from(RUNS_LIVE_MAX));
        if let Some(history) = &self.history {
            for (index, status) in history.delete_on.iter().enumerate() {
                if !ENDED.contains(&status.as_str()) {
                    let message = format!("`{status}` is no status that a run ends with: {}", ENDED.join(", "));
                    problems.push(Problem::new(format!("/options/history/delete_on/{index}"), message));
                }
            }
        }
    }
}

/// The statuses that a run ends with.
const ENDED: [&str; 6] = ["succeeded", "failed", "error", "aborted", "canceled", "rejected"];

fn bounded(problems: &mut Vec<Problem>, at: String, value: u64, range: std::ops::RangeInclusive<u64>) {
    if !range.contains(&value) {
        problems.push(Problem::new(at, format!("{value} is not between {} and {}", range.start(), range.end())));
    }
}

/// One token of a JSON Pointer, escaped (RFC 6901 §3).
pub(crate) fn escape(token: &str) -> String {
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
