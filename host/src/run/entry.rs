//! The entries of a run's journal.
//!
//! An entry is a fact that came from outside the pure core: the run was accepted, a component answered. What follows
//! from it (the next step, the end of a branch) is not written down; [`super::State`] folds it.

use serde::{Deserialize, Serialize};

use super::called::{Called, Failure, Response};
use super::id::RunId;
use super::wait::Fault;
use crate::workflow::{Json, Key};

/// One entry of a journal. Stored: a released form is never changed, only added to. Times are milliseconds since 1970; an
/// `activation` is named by its path, `loop/3/mail`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// The first entry of every run.
    Accepted(Accepted),
    /// A run that stood in a queue began.
    Started {
        /// When.
        at_ms: u64,
    },
    /// A call is about to reach outside the host; stored before it does.
    Intended {
        /// When the call began.
        at_ms: u64,
        /// Whose call.
        activation: Box<str>,
        /// Which try of it.
        attempt: u32,
    },
    /// A step's component was called and answered.
    Called(Box<Called>),
    /// The time came that an activation waits for.
    Woke {
        /// When it was seen to have come.
        at_ms: u64,
        /// Who waits.
        activation: Box<str>,
        /// The wait.
        id: Box<str>,
    },
    /// An HTTP request that an activation waits for was answered, or could not be.
    Responded {
        /// When.
        at_ms: u64,
        /// Who waits.
        activation: Box<str>,
        /// The wait.
        id: Box<str>,
        /// The response, or why there is none.
        response: Result<Response, Fault>,
    },
    /// Something came for the run from outside of it.
    Arrived {
        /// When it was taken up.
        at_ms: u64,
        /// What came.
        arrival: Arrival,
    },
    /// A deadline passed.
    TimedOut {
        /// When it was seen to have passed.
        at_ms: u64,
        /// Whose; none: the run's own.
        activation: Option<Box<str>>,
    },
    /// A crash hid what came of a call that reached outside and may not be made again.
    Lost {
        /// When that was found.
        at_ms: u64,
        /// Whose call.
        activation: Box<str>,
    },
    /// An atomic branch begins again: after a crash, or because what it read was changed by others.
    Restarted {
        /// When.
        at_ms: u64,
        /// Whose branch.
        activation: Box<str>,
        /// The branch's id.
        branch: Box<str>,
    },
}

impl Entry {
    /// The path of the activation that it is about.
    pub fn activation(&self) -> Option<&str> {
        match self {
            Self::Accepted(_) | Self::Started { .. } => None,
            Self::Called(called) => Some(&called.activation),
            Self::TimedOut { activation, .. } => activation.as_deref(),
            Self::Intended { activation, .. }
            | Self::Woke { activation, .. }
            | Self::Responded { activation, .. }
            | Self::Lost { activation, .. }
            | Self::Restarted { activation, .. } => Some(activation),
            Self::Arrived { arrival, .. } => match arrival {
                Arrival::TaskActed { activation, .. }
                | Arrival::ChildEnded { activation, .. }
                | Arrival::Decided { activation, .. } => Some(activation),
                Arrival::Signal { .. } | Arrival::Cancel { .. } => None,
            },
        }
    }
}

/// A run was accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// When.
    pub at_ms: u64,
    /// The workflow.
    pub workflow: Key,
    /// Its revision; 0 for a draft.
    pub revision: u32,
    /// What the trigger gave: `$context`.
    pub context: Json,
    /// Whether whoever caused the run waits for it.
    pub synchronous: bool,
    /// Whether it stands in a queue before it begins.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub queued: bool,
    /// The workflows of the runs that led to this one, the first one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stack: Vec<Key>,
    /// Who is told when it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// The run whose first entries it repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerun: Option<Rerun>,
}

/// The wait of a run for another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// The run that waits.
    pub run: RunId,
    /// Its activation.
    pub activation: Box<str>,
    /// The wait.
    pub id: Box<str>,
}

/// Where a run that is carried out again comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rerun {
    /// The run before.
    pub of: RunId,
    /// The activation from which on it is carried out again; none: from the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Box<str>>,
}

/// What can come for a run from outside of it. It is stored when it comes, and becomes an entry when the run takes it up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrival {
    /// A message. With a key it is for whoever waits for both; without one it is kept until a step waits for the name.
    Signal {
        /// What the sender calls it.
        name: Box<str>,
        /// What tells runs apart.
        key: Option<Box<str>>,
        /// What the sender gave.
        payload: Json,
    },
    /// A person acted on a task.
    TaskActed {
        /// Who waits.
        activation: Box<str>,
        /// The task.
        id: Box<str>,
        /// The person.
        user: Box<str>,
        /// What the person chose.
        action: Box<str>,
        /// What the person filled in.
        values: Json,
    },
    /// A run that was waited for ended, or could not start.
    ChildEnded {
        /// Who waits.
        activation: Box<str>,
        /// The wait.
        id: Box<str>,
        /// Its output, or why there is none.
        output: Result<Json, Failure>,
    },
    /// The run is to end.
    Cancel {
        /// Why.
        reason: Reason,
        /// Who asked for it.
        by: Option<Box<str>>,
    },
    /// A person says what came of a call whose outcome is unknown.
    Decided {
        /// Whose call.
        activation: Box<str>,
        /// What came of it.
        decision: Decision,
        /// Who says so.
        by: Option<Box<str>>,
    },
}

/// What a person says of a call whose outcome is unknown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// It is to be made again.
    Retry,
    /// The step did its work, with this result.
    Succeed(Json),
    /// The step failed.
    Fail(Box<str>),
}

/// Why a run was stopped before it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// It took longer than its workflow allows.
    Timeout,
    /// Somebody cancelled it.
    ManualCancel,
    /// The run that waited for it ended, or waits no more.
    ParentAborted,
}

impl Reason {
    /// The word of the API and the CLI.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::ManualCancel => "manual-cancel",
            Self::ParentAborted => "parent-aborted",
        }
    }
}
