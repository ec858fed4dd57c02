//! What an activation can wait for besides its branches.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::called::Response;
use super::id::RunId;
use crate::limits::{HTTP_RESPONSE_BYTES_DEFAULT, HTTP_RESPONSE_BYTES_MAX};
use crate::workflow::{Json, Key};

/// One thing that an activation waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wait {
    /// Chosen by the step.
    pub id: Box<str>,
    /// What it is.
    pub kind: WaitKind,
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaitKind {
    /// A time, in milliseconds since 1970.
    Timer(u64),
    /// A message.
    Signal {
        /// What the sender calls it.
        name: Box<str>,
        /// What tells runs apart; none: it is for this run.
        key: Option<Box<str>>,
    },
    /// The action of a person.
    Task(Box<Task>),
    /// The end of another run.
    Child {
        /// The run's id, from its start on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<RunId>,
        /// The workflow.
        workflow: Key,
        /// What the run is given.
        context: Json,
    },
    /// The answer to an HTTP request.
    Request(Box<Request>),
}

impl WaitKind {
    /// The name of the contract's case of `wait`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Timer(_) => "timer",
            Self::Signal { .. } => "signal",
            Self::Task(_) => "task",
            Self::Child { .. } => "child",
            Self::Request(_) => "request",
        }
    }

    /// Whether its first event is its only one.
    pub fn is_spent_by_event(&self) -> bool {
        matches!(self, Self::Timer(_) | Self::Child { .. } | Self::Request(_))
    }
}

/// Something that a person has to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// One line.
    pub title: Box<str>,
    /// Ids of users.
    pub assignees: Vec<Box<str>>,
    /// JSON Schema of the form.
    pub form_schema: Json,
    /// What the form starts with.
    pub values: Json,
    /// The buttons.
    pub actions: Vec<TaskAction>,
    /// What people keep for later, by user.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drafts: Vec<(Box<str>, Json)>,
}

/// A button of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskAction {
    /// Unique within the task.
    pub key: Box<str>,
    /// What it says.
    pub title: Box<str>,
    /// Its own form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form_schema: Option<Json>,
    /// Whether it only keeps the values.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draft: bool,
}

/// An HTTP request to a server outside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Upper case.
    pub method: Box<str>,
    /// Absolute; with a connection a path below its base URL.
    pub url: Box<str>,
    /// Names and values, in order. A value may hold tokens for secrets.
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// The body; may hold tokens for secrets.
    pub body: Bytes,
    /// How long the exchange may take, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u32>,
    /// The stored connection whose base URL and credentials apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Box<str>>,
    /// The longest body of a response that is taken, in bytes; none: the host's usual limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_bytes_max: Option<u32>,
}

impl Request {
    /// The longest body of a response that is taken, in bytes.
    pub fn response_bytes_max(&self) -> usize {
        let asked = self.response_bytes_max.map_or(HTTP_RESPONSE_BYTES_DEFAULT, |max| max as usize);
        asked.min(HTTP_RESPONSE_BYTES_MAX)
    }

    /// A response to it that is there already, as a host that reads it would have it.
    pub fn admit(&self, response: Response) -> Result<Response, Fault> {
        let bytes_max = self.response_bytes_max();
        if response.body.len() > bytes_max {
            return Err(Fault::new("too-large", format!("the response has more than {bytes_max} bytes")));
        }
        Ok(response)
    }

    /// How much is sent, in bytes: the URL, header fields and the body.
    pub fn bytes(&self) -> u64 {
        (self.url.len() + header_bytes(&self.headers) + self.body.len()) as u64
    }
}

/// The bytes of header fields.
pub(super) fn header_bytes(headers: &[(Box<str>, Box<str>)]) -> usize {
    headers.iter().map(|(name, value)| name.len() + value.len()).sum()
}

/// Why a capability could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Stable, kebab-case.
    pub code: Box<str>,
    /// One sentence for a person.
    pub message: Box<str>,
    /// Whether the same request may succeed later.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub transient: bool,
}

impl Fault {
    /// A fault that trying again does not help.
    pub fn new(code: &str, message: impl Into<Box<str>>) -> Self {
        Self { code: code.into(), message: message.into(), transient: false }
    }

    /// A fault that may pass.
    pub fn passing(code: &str, message: impl Into<Box<str>>) -> Self {
        Self { transient: true, ..Self::new(code, message) }
    }
}
