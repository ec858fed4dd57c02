//! From every error to a response: the only place that chooses a status code for one.

use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::request::{Reply, json_reply};
use crate::admin::{self, InstallError, Named, RemoveError};
use crate::capability::{ConnectionError, VaultError};
use crate::executor::{self, ArriveError, RerunError};
use crate::plugin::CallError;
use crate::store;
use crate::trigger::FireError;

/// A problem document (RFC 9457) with a stable code: what is wrong, where, and what to do.
#[derive(Debug)]
pub(super) struct Problem(Box<Document>);

#[derive(Debug)]
struct Document {
    status: StatusCode,
    code: &'static str,
    detail: String,
    /// Places in what was sent, each with what is wrong there.
    errors: Vec<Value>,
    header: Option<(header::HeaderName, HeaderValue)>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self(Box::new(Document { status, code, detail: detail.into(), errors: Vec::new(), header: None }))
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-request", detail)
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    /// The request's content is wrong, at these places.
    pub(super) fn invalid(detail: impl Into<String>, problems: Vec<crate::workflow::Problem>) -> Self {
        Self::invalid_as("invalid-workflow", detail, problems)
    }

    fn invalid_as(code: &'static str, detail: impl Into<String>, problems: Vec<crate::workflow::Problem>) -> Self {
        let errors = problems.into_iter().map(|problem| json!(problem));
        let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail);
        problem.0.errors = errors.collect();
        problem
    }

    pub(super) fn too_large(bytes_max: usize) -> Self {
        let detail = format!("the body has more than {bytes_max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail)
    }

    pub(super) fn method_not_allowed(allowed: &str) -> Self {
        let detail = format!("this URL takes {allowed}");
        let problem = Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail);
        problem.with_header(header::ALLOW, allowed)
    }

    /// The disk has no room for what was asked.
    fn no_space() -> Self {
        let problem = Self::new(StatusCode::INSUFFICIENT_STORAGE, "no-space", store::Error::NoSpace.to_string());
        problem.with_header(header::RETRY_AFTER, "60")
    }

    /// The host's own fault; what it was stands in the log, not in the response.
    fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(error = %error, "a request could not be served");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the host made a mistake; its log says which")
    }

    pub(super) fn with_header(mut self, name: header::HeaderName, value: &str) -> Self {
        self.0.header = HeaderValue::from_str(value).ok().map(|value| (name, value));
        self
    }

    pub(super) fn status(&self) -> StatusCode {
        self.0.status
    }

    pub(super) fn code(&self) -> &'static str {
        self.0.code
    }

    pub(super) fn detail(&self) -> &str {
        &self.0.detail
    }

    pub(super) fn into_reply(self) -> Reply {
        let Document { status, code, detail, errors, header } = *self.0;
        let title = status.canonical_reason().unwrap_or_default();
        let mut document = json!({ "title": title, "status": status.as_u16(), "code": code, "detail": detail });
        if !errors.is_empty() {
            document["errors"] = errors.into();
        }
        let mut reply = json_reply(status, &document);
        reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some((name, value)) = header {
            reply.headers_mut().insert(name, value);
        }
        reply
    }
}

impl From<admin::Error> for Problem {
    fn from(error: admin::Error) -> Self {
        use admin::Error;
        match error {
            Error::NotFound { .. } => Self::not_found(error.to_string()),
            Error::Invalid(problems) => Self::invalid("the workflow cannot be published", problems),
            Error::Stale => Self::new(StatusCode::PRECONDITION_FAILED, "stale-draft", error.to_string()),
            Error::Route(_) => Self::new(StatusCode::CONFLICT, "route-conflict", error.to_string()),
            Error::Subscribe(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "trigger-refused", error.to_string()),
            Error::Unrunnable(..) => Self::new(StatusCode::CONFLICT, "plugin-missing", error.to_string()),
            Error::Unlike { differs: true, .. } => Self::new(StatusCode::CONFLICT, "replay-differs", error.to_string()),
            Error::Unlike { .. } => Self::new(StatusCode::CONFLICT, "replay-required", error.to_string()),
            Error::Install(error) => error.into(),
            Error::Remove(error) => error.into(),
            Error::Vault(error) => error.into(),
            Error::Connection(error) => error.into(),
            Error::Store(error) => error.into(),
            Error::Executor(error) => error.into(),
            // Somebody of this host asks, who may know what the trigger said.
            Error::Fire(FireError::Failed(_) | FireError::Call(_)) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "trigger-failed", error.to_string())
            }
            Error::Fire(FireError::Quarantined(..)) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "plugin-quarantined", error.to_string())
                    .with_header(header::RETRY_AFTER, "300")
            }
            Error::Fire(error) => error.into(),
            Error::Arrive(error) => error.into(),
            Error::Rerun(error) => error.into(),
            Error::NotStarted(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "not-started", error.to_string()),
            Error::GoesOn(_) => Self::new(StatusCode::CONFLICT, "run-goes-on", error.to_string()),
            Error::InUse { what, .. } => {
                let code = match what {
                    Named::Secret => "secret-in-use",
                    Named::Variable => "variable-in-use",
                    Named::Connection => "connection-in-use",
                };
                Self::new(StatusCode::CONFLICT, code, error.to_string())
            }
            Error::Setting(_) => Self::bad_request(error.to_string()),
        }
    }
}

impl From<ArriveError> for Problem {
    fn from(error: ArriveError) -> Self {
        let (status, code) = match error {
            ArriveError::Form(problems) => return Self::invalid_as("invalid-form", "the form is filled in wrongly", problems),
            ArriveError::Executor(error) => return error.into(),
            ArriveError::NotFound(_) => (StatusCode::NOT_FOUND, "not-found"),
            ArriveError::Ended(..) => (StatusCode::CONFLICT, "run-ended"),
            ArriveError::TooMany(_) => (StatusCode::TOO_MANY_REQUESTS, "too-many-messages"),
            ArriveError::NoStep(..) => (StatusCode::NOT_FOUND, "step-not-found"),
            ArriveError::NoTask(..) => (StatusCode::NOT_FOUND, "task-not-found"),
            ArriveError::NoAction(..) => (StatusCode::BAD_REQUEST, "unknown-action"),
            ArriveError::NotAssigned(_) => (StatusCode::FORBIDDEN, "not-assigned"),
            ArriveError::NotUnknown(_) => (StatusCode::CONFLICT, "outcome-known"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<RerunError> for Problem {
    fn from(error: RerunError) -> Self {
        let (status, code) = match error {
            RerunError::Executor(error) => return error.into(),
            RerunError::NotFound(_) => (StatusCode::NOT_FOUND, "not-found"),
            RerunError::NoStep(..) => (StatusCode::NOT_FOUND, "step-not-found"),
            RerunError::OtherSteps(..) => (StatusCode::CONFLICT, "other-steps"),
            RerunError::Program(_) => (StatusCode::CONFLICT, "plugin-missing"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<InstallError> for Problem {
    fn from(error: InstallError) -> Self {
        let status = match error {
            InstallError::Examine(_) | InstallError::ReservedVendor(_) | InstallError::Untrusted(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            InstallError::VersionTaken { .. } | InstallError::Downgrade { .. } => StatusCode::CONFLICT,
        };
        Self::new(status, error.code(), error.to_string())
    }
}

impl From<RemoveError> for Problem {
    fn from(error: RemoveError) -> Self {
        let code = match error {
            RemoveError::BuiltIn(_) => "plugin-built-in",
            RemoveError::Pinned(..) | RemoveError::UnderWay(_) => "plugin-in-use",
            RemoveError::InFolder(..) => "plugin-in-folder",
        };
        Self::new(StatusCode::CONFLICT, code, error.to_string())
    }
}

impl From<VaultError> for Problem {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Name(_) | VaultError::Size | VaultError::Hosts => Self::bad_request(error.to_string()),
            VaultError::Sealed(_) => Self::new(StatusCode::CONFLICT, "secret-sealed", error.to_string()),
            VaultError::Store(error) => error.into(),
            VaultError::MasterKey(..)
            | VaultError::MasterKeyForm(_)
            | VaultError::NoMasterKey(..)
            | VaultError::OtherMasterKey(..) => Self::internal(&error),
        }
    }
}

impl From<ConnectionError> for Problem {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::Name(_) | ConnectionError::Invalid(_) => Self::bad_request(error.to_string()),
            ConnectionError::Vault(error) => error.into(),
        }
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Conflict => Self::new(StatusCode::CONFLICT, "conflict", error.to_string()),
            error if error.is_no_space() => Self::no_space(),
            store::Error::Closed => Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the host is stopping")
                .with_header(header::RETRY_AFTER, "5"),
            error => Self::internal(&error),
        }
    }
}

impl From<executor::Error> for Problem {
    fn from(error: executor::Error) -> Self {
        match &error {
            executor::Error::Store(inner) if matches!(**inner, store::Error::Closed) => store::Error::Closed.into(),
            executor::Error::Store(inner) if inner.is_no_space() => Self::no_space(),
            executor::Error::TooManyRuns(_) => {
                let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-runs", error.to_string());
                problem.with_header(header::RETRY_AFTER, "1")
            }
            executor::Error::Overloaded => {
                let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", error.to_string());
                problem.with_header(header::RETRY_AFTER, "1")
            }
            executor::Error::Store(_) | executor::Error::Commit(_) | executor::Error::Program(_) => Self::internal(&error),
        }
    }
}

impl From<FireError> for Problem {
    fn from(error: FireError) -> Self {
        match error {
            FireError::Executor(error) => error.into(),
            FireError::Superseded => {
                let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "superseded", error.to_string());
                problem.with_header(header::RETRY_AFTER, "1")
            }
            FireError::Paused(_) => Self::new(StatusCode::CONFLICT, "not-listening", error.to_string()),
            FireError::Call(CallError::Host(_)) => Self::internal(&error),
            FireError::Quarantined(..) => {
                let detail = "the workflow's trigger broke again and again, and is not called until somebody has looked at it";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "plugin-quarantined", detail).with_header(header::RETRY_AFTER, "300")
            }
            FireError::HeldUp(run, _) => {
                let detail = format!(
                    "run {run} is held up: a plugin that it needs broke again and again, and is not called until somebody has looked at \
                     it; the run goes on then"
                );
                // Not 503: it was accepted, and whoever sends it again starts another one.
                Self::new(StatusCode::GATEWAY_TIMEOUT, "held-up", detail)
            }
            FireError::Call(_) | FireError::Failed(_) => {
                tracing::error!(%error, "a trigger failed");
                let detail = "the workflow's trigger could not handle the request; the host's log says why";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "trigger-failed", detail)
            }
        }
    }
}
