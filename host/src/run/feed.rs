//! An entry as whoever follows a run sees it.

use serde::Serialize;
use serde_json::Value;

use super::called::{Failure, LogLine, Outcome};
use super::entry::{Arrival, Entry};
use super::view::FailureView;

/// One entry of a journal, without what only the engine needs.
#[derive(Debug, Default, Serialize)]
pub struct EntryView {
    /// `accepted`, `started`, `intended`, `called`, `woke`, `responded`, `arrived`, `timed-out`, `lost` or `restarted`.
    pub kind: &'static str,
    /// When, RFC 3339.
    pub at: String,
    /// The path of the activation that it is about: `loop/3/mail`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation: Option<Box<str>>,
    /// Of a call: `done`, `pending`, `failed`, `retrying`, `end-run` or `go-back`. Of an arrival: `signal`, `task-acted`, `child-ended`, `cancel`
    /// or `decided`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<&'static str>,
    /// The result of a call that is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Why a call failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureView>,
    /// Which try of a call it was, or is going to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// How long a call took, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_us: Option<u32>,
    /// What a call logged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<LogLine>,
}

impl EntryView {
    /// Tells an entry to people. `at` writes a time in milliseconds since 1970.
    pub fn of(entry: &Entry, at: &dyn Fn(u64) -> String) -> Self {
        let view = |kind, at_ms, activation: Option<&Box<str>>| Self {
            kind,
            at: at(at_ms),
            activation: activation.cloned(),
            ..Self::default()
        };
        match entry {
            Entry::Accepted(accepted) => view("accepted", accepted.at_ms, None),
            Entry::Started { at_ms } => view("started", *at_ms, None),
            Entry::Intended { at_ms, activation, attempt } => {
                Self { attempt: Some(*attempt), ..view("intended", *at_ms, Some(activation)) }
            }
            Entry::Woke { at_ms, activation, .. } => view("woke", *at_ms, Some(activation)),
            Entry::Responded { at_ms, activation, .. } => view("responded", *at_ms, Some(activation)),
            Entry::TimedOut { at_ms, activation } => view("timed-out", *at_ms, activation.as_ref()),
            Entry::Lost { at_ms, activation } => view("lost", *at_ms, Some(activation)),
            Entry::Restarted { at_ms, activation, .. } => view("restarted", *at_ms, Some(activation)),
            Entry::Arrived { at_ms, arrival } => {
                let (what, activation) = match arrival {
                    Arrival::Signal { .. } => ("signal", None),
                    Arrival::TaskActed { activation, .. } => ("task-acted", Some(activation)),
                    Arrival::ChildEnded { activation, .. } => ("child-ended", Some(activation)),
                    Arrival::Cancel { .. } => ("cancel", None),
                    Arrival::Decided { activation, .. } => ("decided", Some(activation)),
                };
                Self { what: Some(what), ..view("arrived", *at_ms, activation) }
            }
            Entry::Called(called) => {
                let failed = |failure: &Failure| FailureView { code: failure.code.clone(), message: failure.message.clone() };
                let (what, output, failure) = match &called.outcome {
                    Outcome::Done(output) => ("done", Some(output.value().clone()), None),
                    Outcome::GoBack { output, .. } => ("go-back", Some(output.value().clone()), None),
                    Outcome::Pending { .. } => ("pending", None, None),
                    Outcome::EndRun { .. } => ("end-run", None, None),
                    Outcome::Failed(failure) if called.retry_at_ms.is_some() => ("retrying", None, Some(failed(failure))),
                    Outcome::Failed(failure) => ("failed", None, Some(failed(failure))),
                };
                Self {
                    what: Some(what),
                    output,
                    failure,
                    attempt: Some(called.attempt),
                    took_us: Some(called.took_us),
                    log: called.log.clone(),
                    ..view("called", called.at_ms, Some(&called.activation))
                }
            }
        }
    }
}
