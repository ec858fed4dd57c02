//! What a component answered to a call, and what it did and took on the way: the largest part of a journal.
//!
//! Stored with its entry: a released form is never changed, only added to.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::file::{FileFacts, FileId};
use super::id::RunId;
use super::recorded::Recorded;
use super::staged::Staged;
use super::wait::Wait;
use crate::limits::MESSAGE_BYTES_MAX;
use crate::workflow::{Json, Key};

/// A component was called for an activation and answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Called {
    /// The activation's path: step keys and branch ids, `loop/3/mail`.
    pub activation: Box<str>,
    /// When the call began, in milliseconds since 1970.
    pub at_ms: u64,
    /// How long it took, in microseconds.
    pub took_us: u32,
    /// Which try of the call it was, from 1; one that a crash cut off counts.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub attempt: u32,
    /// When the call is made again; none: it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at_ms: Option<u64>,
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
    /// What it took.
    #[serde(default, skip_serializing_if = "Usage::is_nothing")]
    pub used: Usage,
    /// What the host answered to its requests, where that is kept for replays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Box<Recorded>>,
}

/// What a call took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Computing, in microseconds; the host's part of the call included.
    #[serde(skip_serializing_if = "is_zero")]
    pub cpu_us: u32,
    /// The most memory that its instance had, in bytes.
    #[serde(skip_serializing_if = "is_zero_64")]
    pub memory_bytes: u64,
    /// Requests to the host, of every capability but `log`.
    #[serde(skip_serializing_if = "is_zero")]
    pub host_calls: u32,
    /// Of these, requests to servers outside, also those that were denied.
    #[serde(skip_serializing_if = "is_zero")]
    pub http_calls: u32,
    /// Bytes received from servers outside.
    #[serde(skip_serializing_if = "is_zero_64")]
    pub bytes_in: u64,
    /// Bytes that were given to be sent to servers outside.
    #[serde(skip_serializing_if = "is_zero_64")]
    pub bytes_out: u64,
}

impl Usage {
    /// Adds what another call of the same step took.
    pub fn add(&mut self, other: &Self) {
        self.cpu_us = self.cpu_us.saturating_add(other.cpu_us);
        self.memory_bytes = self.memory_bytes.max(other.memory_bytes);
        self.host_calls = self.host_calls.saturating_add(other.host_calls);
        self.http_calls = self.http_calls.saturating_add(other.http_calls);
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
    }

    /// Whether nothing was counted.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
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
        /// Branches to stop, by id.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        stop: Vec<Box<str>>,
        /// Everything else that it waits for.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        wait: Vec<Wait>,
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
    /// Whether what its steps do inside the host is committed together when it succeeds, and dropped otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub atomic: bool,
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
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub transient: bool,
    /// Not before so many milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u32>,
    /// The step's result although it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Json>,
}

impl Failure {
    /// A failure that the host found, with the status `error`. A message that names what a guest gave is cut at its bound.
    pub fn error(code: &str, message: impl Into<Box<str>>) -> Self {
        let (code, mut message) = (code.into(), message.into());
        if message.len() > MESSAGE_BYTES_MAX {
            message = message[..message.floor_char_boundary(MESSAGE_BYTES_MAX)].into();
        }
        Self { status: Status::Error, code, message, transient: false, retry_after_ms: None, output: None }
    }

    /// A failure with the status `aborted`: something took too long.
    pub fn timed_out(message: impl Into<Box<str>>) -> Self {
        Self { status: Status::Aborted, ..Self::error("timed-out", message) }
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
    /// Runs that it started, for whoever looks at this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub started: Vec<RunId>,
    /// Files that it made, for whoever looks at this run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<(FileId, FileFacts)>,
    /// What it did to the host beside its run. Not in the journal: it is committed in the same batch.
    #[serde(skip)]
    pub staged: Staged,
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

impl Response {
    /// How much was received, in bytes: header fields and the body.
    pub fn bytes(&self) -> u64 {
        (super::wait::header_bytes(&self.headers) + self.body.len()) as u64
    }
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
    /// A run that stands in a queue.
    Queued,
    /// A run that goes on.
    Running,
    /// A step that waits for something.
    Waiting,
    /// A step whose last call failed and is made again.
    Retrying,
    /// A step of which a crash hid whether it did its work.
    Unknown,
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
            Self::Queued => "queued",
            Self::Retrying => "retrying",
            Self::Unknown => "unknown",
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

impl Status {
    /// Whether a run or a step with this status is done.
    pub fn is_end(self) -> bool {
        !matches!(self, Self::Queued | Self::Running | Self::Waiting | Self::Retrying | Self::Unknown)
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

fn one() -> u32 {
    1
}

fn is_one(number: &u32) -> bool {
    *number == 1
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn is_zero_64(number: &u64) -> bool {
    *number == 0
}
