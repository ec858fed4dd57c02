//! Failures, problems and JSON.

use std::fmt::Display;

use serde::Serialize;

use crate::bindings::weft::plugin::types;
use crate::bindings::weft::plugin::types::{Failure, Fault, HttpRequest, HttpResponse, Pair, Status};

/// One thing wrong with a config: a JSON Pointer into it, and what to do.
pub type Problem = types::Problem;

impl Failure {
    /// The work broke: status `error`. `code` is stable and kebab-case; `message` says what was wrong and what to change.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        let (code, message) = (code.into(), message.into());
        Self { status: Status::Error, code, message, transient: false, retry_after_ms: None, output: None }
    }

    /// A value that a variable gave and that cannot be used, at a place of the config (JSON Pointer): code `invalid-config`. `what` says what is wanted
    /// in its place.
    pub fn invalid_config(pointer: &str, what: impl Display) -> Self {
        let message = if pointer.is_empty() { what.to_string() } else { format!("{pointer}: {what}") };
        Self::new("invalid-config", message)
    }

    /// An event that nothing here waits for, which is the host's mistake and not the author's: code `unexpected-event`. `what` is all that it knows,
    /// such as `its branch`.
    pub fn unexpected_event(what: &str) -> Self {
        Self::new("unexpected-event", format!("the host told this of something else than {what}: please report it"))
    }

    /// The same with another status: `failed` where a configured expectation was not met.
    #[must_use]
    pub fn status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }

    /// Trying again may help.
    #[must_use]
    pub fn transient(mut self) -> Self {
        self.transient = true;
        self
    }

    /// The step's result although it failed.
    #[must_use]
    pub fn output(mut self, output: &impl Serialize) -> Self {
        self.output = serde_json::to_string(output).ok();
        self
    }
}

impl Status {
    /// The word of the API and of workflows: `succeeded`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Error => "error",
            Self::Aborted => "aborted",
            Self::Canceled => "canceled",
            Self::Rejected => "rejected",
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self { transient: fault.transient, ..Self::new(&fault.code, fault.message) }
    }
}

impl Problem {
    /// A problem at a place.
    pub fn new(pointer: &str, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }
}

impl HttpResponse {
    /// A response with a body of some media type.
    pub fn new(status_code: u16, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status_code, headers: vec![Pair::new("content-type", media_type)], body: body.into(), more: None }
    }

    /// A response without a body.
    pub fn empty(status_code: u16) -> Self {
        Self { status_code, headers: Vec::new(), body: Vec::new(), more: None }
    }

    /// The same with one more header field.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(Pair::new(name, value));
        self
    }
}

impl HttpRequest {
    /// A request without header fields and body.
    pub fn new(method: &str, url: &str) -> Self {
        let (method, url) = (method.into(), url.into());
        Self { method, url, headers: Vec::new(), body: Vec::new(), timeout_ms: None, connection: None, name: None, more: None }
    }
}

impl Pair {
    /// A name with a value.
    pub fn new(name: &str, value: &str) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

/// A problem document (RFC 9457): what the caller did wrong, with a stable code.
pub fn problem_response(status_code: u16, code: &str, title: &str, detail: &str) -> HttpResponse {
    let body = serde_json::json!({ "title": title, "status": status_code, "code": code, "detail": detail });
    HttpResponse::new(status_code, "application/problem+json", body.to_string())
}

pub(crate) fn to_json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value)
        .map_err(|error| Failure::new("invalid-json", format!("the result cannot be written as JSON: {error}")))
}
