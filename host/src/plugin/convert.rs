//! Between the contract's records and our own.

use serde_json::Value;

use super::bindings::exports::weft::plugin::{info, nodes, triggers};
use super::bindings::weft::plugin::{log, types};
use super::description::{Branch, Description, Mode, NodeType, TriggerType};
use crate::limits::{OUTPUT_BYTES_MAX, STATE_BYTES_MAX};
use crate::run::{BranchEnd, BranchStart, Failure, LogLevel, Outcome, Response, Status};
use crate::workflow::{Json, Key};

/// JSON from a guest.
pub(super) fn json(text: String, what: &str, bytes_max: usize) -> Result<Json, Failure> {
    if text.len() > bytes_max {
        let message = format!("{what} has {} bytes; at most {bytes_max} are kept", text.len());
        return Err(Failure::error("too-large", message));
    }
    Json::parse(text).map_err(|error| Failure::bad_answer(format_args!("{what} is {error}")))
}

pub(super) fn outcome(outcome: nodes::Outcome) -> Result<Outcome, Failure> {
    Ok(match outcome {
        nodes::Outcome::Done(result) => Outcome::Done(json(result, "the result", OUTPUT_BYTES_MAX)?),
        nodes::Outcome::Pending(pending) => {
            if !pending.wait.is_empty() {
                return Err(Failure::bad_answer("it waits for something other than branches, which its type does not declare"));
            }
            Outcome::Pending {
                state: json(pending.state, "the state", STATE_BYTES_MAX)?,
                start: pending.start.into_iter().map(branch_start).collect::<Result<_, _>>()?,
                stop: pending.stop.into_iter().map(Into::into).collect(),
            }
        }
        nodes::Outcome::EndRun(end) => Outcome::EndRun { status: status(end.status), message: end.message.map(Into::into) },
        nodes::Outcome::GoBack(back) => Outcome::GoBack {
            step: back.step.parse::<Key>().map_err(Failure::bad_answer)?,
            output: json(back.output, "the result", OUTPUT_BYTES_MAX)?,
        },
        nodes::Outcome::Other(other) => {
            return Err(Failure::bad_answer(format_args!("this host knows no outcome `{}`", other.kind)));
        }
    })
}

fn branch_start(start: nodes::BranchStart) -> Result<BranchStart, Failure> {
    if start.atomic {
        return Err(Failure::bad_answer("this host has no atomic branches yet"));
    }
    Ok(BranchStart {
        branch: start.branch.into(),
        id: start.id.into(),
        scope: json(start.scope, "the scope of a branch", OUTPUT_BYTES_MAX)?,
    })
}

pub(super) fn branch_ended(end: BranchEnd) -> nodes::Event {
    let output = end.output.map(|output| output.text().to_owned()).map_err(|failure| (&failure).into());
    nodes::Event::BranchEnded(nodes::Ended { id: end.id.into(), output })
}

impl From<types::Failure> for Failure {
    fn from(failure: types::Failure) -> Self {
        if failure.status == types::Status::Succeeded {
            return Self::bad_answer("a failure with the status `succeeded`");
        }
        let output = failure.output.map(|output| json(output, "the failure's output", OUTPUT_BYTES_MAX));
        let output = match output.transpose() {
            Ok(output) => output,
            Err(failure) => return failure,
        };
        Self {
            status: status(failure.status),
            code: failure.code.into(),
            message: failure.message.into(),
            transient: failure.transient,
            retry_after_ms: failure.retry_after_ms,
            output,
        }
    }
}

impl From<&Failure> for types::Failure {
    fn from(failure: &Failure) -> Self {
        Self {
            status: to_status(failure.status),
            code: failure.code.to_string(),
            message: failure.message.to_string(),
            transient: failure.transient,
            retry_after_ms: failure.retry_after_ms,
            output: failure.output.as_ref().map(|output| output.text().to_owned()),
        }
    }
}

/// A response that a guest gave.
pub fn response(response: types::HttpResponse) -> Result<Response, Failure> {
    if !(200..=599).contains(&response.status_code) {
        return Err(Failure::bad_answer(format_args!("{} is no status of a response", response.status_code)));
    }
    for header in &response.headers {
        let name = http::HeaderName::from_bytes(header.name.as_bytes());
        if name.is_err() || http::HeaderValue::from_str(&header.value).is_err() {
            return Err(Failure::bad_answer(format_args!("`{}` with its value is no header field", header.name.escape_debug())));
        }
    }
    if response.body.len() > OUTPUT_BYTES_MAX {
        let message = format!("the response's body has {} bytes; at most {OUTPUT_BYTES_MAX} are sent", response.body.len());
        return Err(Failure::error("too-large", message));
    }
    Ok(Response {
        status: response.status_code,
        headers: response.headers.into_iter().map(|header| (header.name.into(), header.value.into())).collect(),
        body: response.body.into(),
    })
}

pub(super) fn status(status: types::Status) -> Status {
    match status {
        types::Status::Succeeded => Status::Succeeded,
        types::Status::Failed => Status::Failed,
        types::Status::Error => Status::Error,
        types::Status::Aborted => Status::Aborted,
        types::Status::Canceled => Status::Canceled,
        types::Status::Rejected => Status::Rejected,
    }
}

fn to_status(status: Status) -> types::Status {
    match status {
        Status::Succeeded => types::Status::Succeeded,
        Status::Failed => types::Status::Failed,
        Status::Error | Status::Running | Status::Waiting => types::Status::Error,
        Status::Aborted => types::Status::Aborted,
        Status::Canceled => types::Status::Canceled,
        Status::Rejected => types::Status::Rejected,
    }
}

impl From<log::Level> for LogLevel {
    fn from(level: log::Level) -> Self {
        match level {
            log::Level::Debug => Self::Debug,
            log::Level::Info => Self::Info,
            log::Level::Warn => Self::Warn,
            log::Level::Error => Self::Error,
        }
    }
}

/// What a component said of itself; the text is what it said wrong.
pub(super) fn description(
    info: info::PluginInfo,
    nodes: Vec<nodes::NodeType>,
    triggers: Vec<triggers::TriggerType>,
) -> Result<Description, String> {
    let version = info.version.parse().map_err(|error| format!("version `{}` is not semver: {error}", info.version))?;
    Ok(Description {
        name: info.name,
        version,
        title: info.title,
        summary: info.summary,
        license: info.license,
        homepage: info.homepage,
        nodes: nodes.into_iter().map(node_type).collect::<Result<_, _>>()?,
        triggers: triggers.into_iter().map(trigger_type).collect::<Result<_, _>>()?,
    })
}

fn node_type(node: nodes::NodeType) -> Result<NodeType, String> {
    let document = |text: &str, what: &str| document(&node.name, text, what);
    Ok(NodeType {
        config_schema: document(&node.config_schema, "config-schema")?,
        result_schema: node.result_schema.as_deref().map(|text| document(text, "result-schema")).transpose()?,
        branches: node
            .branches
            .iter()
            .map(|branch| {
                Ok(Branch {
                    key: branch.key.clone(),
                    title: branch.title.clone(),
                    scope_schema: branch.scope_schema.as_deref().map(|text| document(text, "scope-schema")).transpose()?,
                })
            })
            .collect::<Result<_, String>>()?,
        name: node.name,
        title: node.title,
        summary: node.summary,
        category: node.category,
        icon: node.icon,
        branches_from: node.branches_from,
        waits: node.waits,
        at_most_once: node.repeat == nodes::Repeat::AtMostOnce,
    })
}

fn trigger_type(trigger: triggers::TriggerType) -> Result<TriggerType, String> {
    let document = |text: &str, what: &str| document(&trigger.name, text, what);
    Ok(TriggerType {
        config_schema: document(&trigger.config_schema, "config-schema")?,
        context_schema: trigger.context_schema.as_deref().map(|text| document(text, "context-schema")).transpose()?,
        name: trigger.name,
        title: trigger.title,
        summary: trigger.summary,
        category: trigger.category,
        icon: trigger.icon,
        mode: match trigger.mode {
            triggers::Mode::Synchronous => Mode::Synchronous,
            triggers::Mode::Asynchronous => Mode::Asynchronous,
            triggers::Mode::ByConfig => Mode::ByConfig,
        },
        subscribes: trigger.subscribes,
    })
}

fn document(name: &str, text: &str, what: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("type `{name}`: {what} is not JSON: {error}"))
}
