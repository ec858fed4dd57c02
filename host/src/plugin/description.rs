//! What a component says of itself: kept with the plugin, shown by the API, used by publishing.

use std::collections::HashSet;

use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::workflow::{Key, ON_FAILURE, Schema};

/// The cases of the contract's `wait` that this host knows.
const WAITS: [&str; 5] = ["timer", "signal", "task", "child", "request"];

/// A plugin and its types.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// `vendor/name`.
    pub name: String,
    /// Semantic version.
    pub version: Version,
    /// Name for people.
    pub title: String,
    /// What it is for.
    pub summary: String,
    /// SPDX expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub homepage: Option<String>,
    /// Its node types.
    pub nodes: Vec<NodeType>,
    /// Its trigger types.
    pub triggers: Vec<TriggerType>,
}

/// A node type. The fields are those of the contract's `node-type`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "wit/nodes.wit documents each field")]
pub struct NodeType {
    pub name: String,
    pub title: String,
    pub summary: String,
    pub category: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icon: Option<String>,
    pub config_schema: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_schema: Option<Value>,
    pub branches: Vec<Branch>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branches_from: Option<String>,
    pub waits: Vec<String>,
    pub at_most_once: bool,
    /// The member `failures` of the contract's `more`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<FailureKind>,
}

/// One way in which calls of a type can fail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailureKind {
    /// The failure's code.
    pub code: String,
    /// What it means, and what to do.
    pub message: String,
    /// The part of the config that it is about (JSON Pointer, RFC 6901); empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pointer: String,
}

/// A place for steps below a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "wit/nodes.wit documents each field")]
pub struct Branch {
    pub key: String,
    pub title: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope_schema: Option<Value>,
}

/// A trigger type. The fields are those of the contract's `trigger-type`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "wit/triggers.wit documents each field")]
pub struct TriggerType {
    pub name: String,
    pub title: String,
    pub summary: String,
    pub category: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icon: Option<String>,
    pub config_schema: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_schema: Option<Value>,
    pub mode: Mode,
    pub subscribes: Vec<String>,
    /// The member `failures` of the contract's `more`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<FailureKind>,
}

/// Whether runs are synchronous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Always.
    Synchronous,
    /// Never.
    Asynchronous,
    /// As the config's member `mode` says: `sync` or `async`.
    ByConfig,
}

impl TriggerType {
    /// Whether the runs of a workflow with this trigger config are synchronous.
    pub fn is_synchronous(&self, config: &Value) -> bool {
        match self.mode {
            Mode::Synchronous => true,
            Mode::Asynchronous => false,
            Mode::ByConfig => config.get("mode").and_then(Value::as_str) == Some("sync"),
        }
    }
}

impl NodeType {
    /// The keys of the branches that a step with this config has.
    pub fn branch_keys<'a>(&'a self, config: &'a Value) -> impl Iterator<Item = &'a str> {
        let listed = self.branches_from.as_deref().and_then(|pointer| config.pointer(pointer)).and_then(Value::as_array);
        let listed = listed.into_iter().flatten().filter_map(|element| element.get("key")?.as_str());
        listed.chain(self.branches.iter().map(|branch| branch.key.as_str()))
    }
}

impl Description {
    /// Everything in it that a host cannot use, one sentence each.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let is_word = |text: &str| text.parse::<Key>().is_ok();
        if !self.name.split_once('/').is_some_and(|(vendor, name)| is_word(vendor) && is_word(name)) {
            problems.push(format!("`{}` is not `vendor/name` in lower-case letters, digits and hyphens", self.name));
        }
        if self.nodes.is_empty() && self.triggers.is_empty() {
            problems.push("it has no node type and no trigger type".into());
        }
        for (what, names) in [
            ("node", self.nodes.iter().map(|node| &node.name).collect::<Vec<_>>()),
            ("trigger", self.triggers.iter().map(|trigger| &trigger.name).collect()),
        ] {
            let mut seen = HashSet::new();
            for name in names {
                if !is_word(name) {
                    problems.push(format!("{what} type `{name}`: a name is lower-case letters, digits and hyphens"));
                }
                if !seen.insert(name) {
                    problems.push(format!("{what} type `{name}` is there twice"));
                }
            }
        }
        for node in &self.nodes {
            for wait in node.waits.iter().filter(|wait| !WAITS.contains(&wait.as_str())) {
                problems.push(format!("node type `{}` waits for `{wait}`; this host knows {}", node.name, WAITS.join(", ")));
            }
            for branch in node.branches.iter().filter(|branch| branch.key == ON_FAILURE) {
                problems.push(format!("node type `{}`: the branch `{}` belongs to the host", node.name, branch.key));
            }
        }
        let schemas = (self.nodes.iter().map(|node| (&node.name, &node.config_schema)))
            .chain(self.triggers.iter().map(|trigger| (&trigger.name, &trigger.config_schema)));
        for (name, schema) in schemas {
            if let Err(error) = Schema::parse(schema) {
                problems.push(format!("type `{name}`: its config schema is {error}"));
            }
        }
        problems
    }
}
