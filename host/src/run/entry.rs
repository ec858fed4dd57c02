//! The entries of a run's journal.
//!
//! An entry is a fact that came from outside the pure core: the run was accepted, a component answered. What follows
//! from it (the next step, the end of a branch) is not written down; [`super::State`] folds it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::workflow::{Json, Key};

/// One entry of a journal. Stored: a released form is never changed, only added to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// The first entry of every run.
    Accepted(Accepted),
    /// A step's component was called and answered.
    Called(Box<Called>),
}

/// A run was accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// The workflow.
    pub workflow: Key,
    /// Its revision.
    pub revision: u32,
    /// What the trigger gave: `$context`.
    pub context: Json,
    /// Whether whoever caused the run waits for it.
    pub synchronous: bool,
}

/// A component was called for an activation and answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Called {
    /// The activation's path: step keys and branch ids, `loop/3/mail`.
    pub activation: Box<str>,
    /// When the call began, in milliseconds since 1970.
    pub at_ms: u64,
    /// How long it took, in microseconds.
    pub took_us: u32,
    /// The config that the component got, in the activation's first call: every later one gets the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Json>,
    /// Which texts in the config are tokens for secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretUse>,
    /// What it answered.
    pub outcome: Outcome,
    /// What it did to its run.
    #[serde(default, skip_serializing_if = "Effects::is_empty")]
    pub effects: Effects,
    /// What it logged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<LogLine>,
    /// How many log lines were dropped at the limit.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub log_dropped: u32,
}

/// A text that stands for a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretUse {
    /// The text.
    pub token: Box<str>,
    /// The secret's name.
    pub name: Box<str>,
}

/// What a component answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The step is finished, with this result.
    Done(Json),
    /// The step goes on later.
    Pending {
        /// The node's own state, handed back at each event.
        state: Json,
        /// Branches to start.
        start: Vec<BranchStart>,
        /// Branch instances to stop, by id.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        stop: Vec<Box<str>>,
    },
    /// The whole run ends.
    EndRun {
        /// With this status.
        status: Status,
        /// Why, for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<Box<str>>,
    },
    /// The step is finished and the run goes on at an earlier step.
    GoBack {
        /// That step.
        step: Key,
        /// The step's result, which that step gets as input.
        output: Json,
    },
    /// The step could not do its work.
    Failed(Failure),
}

/// A branch to start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BranchStart {
    /// The branch's key.
    pub branch: Box<str>,
    /// Unique within the activation.
    pub id: Box<str>,
    /// `$scopes.<step>` inside the branch.
    pub scope: Json,
}

/// Why a step could not do its work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The status that the step, and what fails with it, ends with.
    pub status: Status,
    /// Stable, kebab-case.
    pub code: Box<str>,
    /// What was wrong and what to do.
    pub message: Box<str>,
    /// Whether the same call may succeed later.
    #[serde(default, skip_serializing_if = "is_false")]
    pub transient: bool,
    /// Not before so many milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u32>,
    /// The step's result although it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Json>,
}

impl Failure {
    /// A failure that the host found, with the status `error`.
    pub fn error(code: &str, message: impl Into<Box<str>>) -> Self {
        let (code, message) = (code.into(), message.into());
        Self { status: Status::Error, code, message, transient: false, retry_after_ms: None, output: None }
    }

    /// A component's answer broke a rule of the contract.
    pub fn bad_answer(what: impl std::fmt::Display) -> Self {
        Self::error("bad-answer", format!("the plugin's answer breaks the contract: {what}"))
    }
}

/// What a call did to its run; kept only if the call's entry is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Effects {
    /// The run's output from here on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Json>,
    /// New results of earlier steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<(Key, Json)>,
    /// The answer for the HTTP caller who waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Response>,
    /// Messages for whoever caused the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<Box<str>>,
}

impl Effects {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// An HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// 100 to 599.
    pub status: u16,
    /// Names and values, in order.
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// The body, any bytes.
    pub body: Bytes,
}

/// A line that a component logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// How much it matters.
    pub level: LogLevel,
    /// Without control characters, of bounded length.
    pub message: Box<str>,
}

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// For the node's author.
    Debug,
    /// For whoever looks at the run.
    Info,
    /// Something is odd.
    Warn,
    /// Something went wrong.
    Error,
}

/// How a step, a branch or a run stands or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It goes on.
    Running,
    /// A step that waits for something.
    Waiting,
    /// It did its work.
    Succeeded,
    /// A configured expectation was not met.
    Failed,
    /// The work broke.
    Error,
    /// The engine stopped it.
    Aborted,
    /// It waited and was cancelled from outside.
    Canceled,
    /// A person said no.
    Rejected,
}

impl Status {
    /// The word of the API and the CLI.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Error => "error",
            Self::Aborted => "aborted",
            Self::Canceled => "canceled",
            Self::Rejected => "rejected",
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn is_false(value: &bool) -> bool {
    !value
}
