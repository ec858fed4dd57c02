//! A case: what a type is given, and what is to come of it. Golden cases are files of them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::event::GivenEvent;

/// What a node or a trigger is given. In YAML or JSON; every member but the type may be left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Case {
    /// What it shows, for whoever reads the report.
    pub name: Option<String>,
    /// A node type of the plugin.
    pub node: Option<String>,
    /// Or a trigger type.
    pub trigger: Option<String>,
    /// The config as a workflow has it, with `{{…}}`.
    pub config: Value,
    /// For a node the run's `$context`. For a trigger the event: `http`, `called`, `topic` or `timer` with its fields.
    pub input: Value,
    /// Results of earlier steps, and scopes of steps around.
    pub variables: Variables,
    /// Secrets by name, for `{{$secrets.NAME}}`. The plugin gets tokens, as in a host.
    pub secrets: BTreeMap<String, String>,
    /// Values of the plugin's own that are there already.
    pub kv: BTreeMap<String, String>,
    /// Files that the run knows.
    pub files: Vec<GivenFile>,
    /// What servers answer. Without them requests are `denied`.
    pub http: Vec<HttpAnswer>,
    /// What branches end with, by their keys; others end with `null`.
    pub branches: BTreeMap<String, Value>,
    /// What happens while the step waits, in order.
    pub resume: Vec<GivenEvent>,
    /// For a trigger: how a run that somebody waits for ended.
    pub settle: Option<FinishedRun>,
    /// The time of the first call (RFC 3339); by default now.
    pub now: Option<String>,
    /// Calls the type although publishing would refuse the config.
    pub unchecked: bool,
    /// What is to come of it: parts of what `weft plugin test --json` prints.
    pub expect: Map<String, Value>,
}

/// What a config can name beside the context.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Variables {
    /// `$context`, unless the case has an input.
    pub context: Value,
    /// `$steps.<key>.result`, by key.
    pub steps: BTreeMap<String, Value>,
    /// `$scopes.<key>`, by key.
    pub scopes: BTreeMap<String, Value>,
}

/// A file that the run knows.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GivenFile {
    /// Its id, as the config or the context names it: `0193a5c2-7b1e-7c3a-9f00-2a51c4d0b7e1.00112233445566778899`.
    pub id: String,
    /// Its content, if that is text.
    pub text: String,
    /// Or in Base64.
    pub base64: Option<String>,
}

/// What a server answers. Of several that fit the first is given first; the last one is given again and again.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpAnswer {
    /// Only to requests with this method.
    pub method: Option<String>,
    /// Only to this URL, or with `*` at its end to what begins so.
    pub url: Option<String>,
    /// The status; 200 by default.
    pub status: Option<u16>,
    /// Header fields.
    pub headers: BTreeMap<String, String>,
    /// A text as it is, anything else as JSON.
    pub body: Value,
    /// Instead of a response: the code of a fault, such as `refused` or `timed-out`.
    pub fault: Option<String>,
}

/// How a run ended.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FinishedRun {
    /// Its output.
    pub output: Value,
    /// Or the code of its failure.
    pub failure: Option<String>,
    /// Whether a step ended it before its last.
    pub ended_early: bool,
    /// What steps told whoever waits.
    pub messages: Vec<String>,
}

/// Why a case cannot be carried out. What a plugin answers is not here.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// It names no type, or two.
    #[error("say which type to call: {0}")]
    Which(String),
    /// The plugin has no such type.
    #[error("the plugin has no {kind} type `{name}`; it has {has}")]
    Unknown {
        /// `node` or `trigger`.
        kind: &'static str,
        /// As it was named.
        name: String,
        /// What there is.
        has: String,
    },
    /// Something in it cannot be used.
    #[error("{0}")]
    Invalid(String),
    /// The bench itself could not.
    #[error("no instance could be made: {0}")]
    Instance(#[from] crate::plugin::CallError),
}

impl Case {
    /// What `$context` is.
    pub(super) fn context(&self) -> &Value {
        if self.input.is_null() { &self.variables.context } else { &self.input }
    }

    /// The config; nothing is an empty object, as publishing has it.
    pub(super) fn config(&self) -> Value {
        if self.config.is_null() { Value::Object(Map::new()) } else { self.config.clone() }
    }
}
