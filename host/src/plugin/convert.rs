//! Between the contract's records and our own.

use serde::Deserialize;
use serde_json::Value;

use super::bindings::exports::weft::plugin::{info, nodes, triggers};
use super::bindings::weft::plugin::{log, types};
use super::bounds;
use super::description::{Branch, Description, FailureKind, Mode, NodeType, TriggerType};
use crate::limits::{
    CONTEXT_BYTES_MAX, HTTP_REQUEST_BYTES_MAX, NAME_BYTES_MAX, OPEN_AT_ONCE_MAX, OUTPUT_BYTES_MAX, SIGNAL_NAME_BYTES_MAX,
    STATE_BYTES_MAX, TASK_MEMBERS_MAX, TIMER_PAYLOAD_BYTES_MAX, URL_BYTES_MAX,
};
use crate::run::{
    BranchStart, Ended, Event, Failure, Fault, LogLevel, Outcome, Request, Response, Status, Task, TaskAction, Wait, WaitKind,
};
use crate::workflow::{Json, Key, Schema};

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
        nodes::Outcome::Pending(pending) => Outcome::Pending {
            state: json(pending.state, "the state", STATE_BYTES_MAX)?,
            start: each(pending.start, OPEN_AT_ONCE_MAX, "branches to start", branch_start)?,
            stop: each(pending.stop, OPEN_AT_ONCE_MAX, "branches to stop", |id| bounds::name(id, "a branch's id"))?,
            wait: each(pending.wait, OPEN_AT_ONCE_MAX, "waits", wait)?,
        },
        nodes::Outcome::EndRun(end) => Outcome::EndRun { status: status(end.status), message: end.message.map(bounds::text) },
        nodes::Outcome::GoBack(back) => Outcome::GoBack {
            step: bounds::name(back.step, "a step")?.parse::<Key>().map_err(Failure::bad_answer)?,
            output: json(back.output, "the result", OUTPUT_BYTES_MAX)?,
        },
        nodes::Outcome::Other(other) => {
            return Err(Failure::bad_answer(format_args!("this host knows no outcome `{}`", other.kind)));
        }
    })
}

/// Converts a list that is not too long.
fn each<T, U>(list: Vec<T>, max: usize, what: &str, convert: impl FnMut(T) -> Result<U, Failure>) -> Result<Vec<U>, Failure> {
    bounds::list(list, max, what)?.into_iter().map(convert).collect()
}

fn branch_start(start: nodes::BranchStart) -> Result<BranchStart, Failure> {
    Ok(BranchStart {
        branch: bounds::name(start.branch, "a branch")?,
        id: bounds::name(start.id, "a branch's id")?,
        scope: json(start.scope, "the scope of a branch", OUTPUT_BYTES_MAX)?,
        atomic: start.atomic,
    })
}

fn wait(wait: nodes::Wait) -> Result<Wait, Failure> {
    let (id, kind) = match wait {
        nodes::Wait::Timer(timer) => (timer.id, WaitKind::Timer(timestamp(&timer.at)?)),
        nodes::Wait::Signal(signal) => {
            if signal.name.len().max(signal.key.as_ref().map_or(0, String::len)) > SIGNAL_NAME_BYTES_MAX {
                let what = format_args!("the name and the key of a message have at most {SIGNAL_NAME_BYTES_MAX} bytes");
                return Err(Failure::bad_answer(what));
            }
            let (name, key) = (signal.name.into(), signal.key.map(Into::into));
            (signal.id, WaitKind::Signal { name, key })
        }
        nodes::Wait::Task(task) => (task.id.clone(), WaitKind::Task(Box::new(read_task(task)?))),
        nodes::Wait::Child(child) => {
            let workflow = bounds::name(child.workflow, "a workflow")?.parse::<Key>().map_err(Failure::bad_answer)?;
            let context = json(child.context, "the context of a child", CONTEXT_BYTES_MAX)?;
            (child.id, WaitKind::Child { run: None, workflow, context })
        }
        nodes::Wait::Request(wait) => {
            let request = request(wait.request).map_err(|fault| Failure::error(&fault.code, fault.message))?;
            (wait.id, WaitKind::Request(Box::new(request)))
        }
        nodes::Wait::Other(other) => {
            return Err(Failure::bad_answer(format_args!("this host knows no wait `{}`", other.kind)));
        }
    };
    Ok(Wait { id: bounds::name(id, "a wait's id")?, kind })
}

/// A trigger's timer: its id, when it is due, and what it hands back.
pub fn timer(timer: triggers::Timer) -> Result<(Box<str>, u64, Json), Failure> {
    let triggers::Timer { id, at, payload } = timer;
    let payload = json(payload, "the payload of a timer", TIMER_PAYLOAD_BYTES_MAX)?;
    Ok((bounds::name(id, "a timer's id")?, timestamp(&at)?, payload))
}

/// A time from a guest, in milliseconds since 1970; what is before that is past anyway.
fn timestamp(text: &str) -> Result<u64, Failure> {
    let time: jiff::Timestamp = text
        .parse()
        .map_err(|error| Failure::bad_answer(format_args!("`{}` is no time (RFC 3339): {error}", text.escape_debug())))?;
    Ok(u64::try_from(time.as_millisecond()).unwrap_or(0))
}

fn read_task(task: nodes::Task) -> Result<Task, Failure> {
    let form = |text: String| {
        let form = json(text, "the form of a task", OUTPUT_BYTES_MAX)?;
        match Schema::parse(form.value()) {
            Ok(_) => Ok(form),
            Err(error) => Err(Failure::bad_answer(format_args!("the form of the task `{}` is {error}", task.id))),
        }
    };
    let actions = each(task.actions, TASK_MEMBERS_MAX, "actions of a task", |action| {
        let (key, title) = (bounds::name(action.key, "an action's key")?, bounds::text(action.title));
        Ok(TaskAction { key, title, form_schema: action.form_schema.map(form).transpose()?, draft: action.draft })
    })?;
    let is_twice = |(at, action): (usize, &TaskAction)| actions[..at].iter().any(|other| other.key == action.key);
    if actions.is_empty() || actions.iter().enumerate().any(is_twice) {
        return Err(Failure::bad_answer(format_args!("the task `{}` has no action, or two with one key", task.id)));
    }
    Ok(Task {
        title: bounds::text(task.title),
        assignees: each(task.assignees, TASK_MEMBERS_MAX, "assignees of a task", |id| bounds::name(id, "an assignee's id"))?,
        form_schema: form(task.form_schema)?,
        values: json(task.values, "the values of a task", OUTPUT_BYTES_MAX)?,
        actions,
        drafts: Vec::new(),
    })
}

/// What `more` of a request can say. Members that are not known are of a later contract.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct RequestMore {
    response_bytes_max: Option<u32>,
}

/// A request that a guest gave.
pub fn request(request: types::HttpRequest) -> Result<Request, Fault> {
    let invalid = |what: String| Fault::new("invalid", what);
    if http::Method::from_bytes(request.method.as_bytes()).is_err() || request.method.to_ascii_uppercase() != request.method {
        return Err(invalid(format!("`{}` is no HTTP method", request.method.escape_debug())));
    }
    if request.connection.as_ref().is_some_and(|name| name.len() > NAME_BYTES_MAX) {
        return Err(invalid(format!("the name of a connection has at most {NAME_BYTES_MAX} bytes")));
    }
    if request.url.len() > URL_BYTES_MAX {
        let message = format!("the request's URL has {} bytes; at most {URL_BYTES_MAX} are sent", request.url.len());
        return Err(Fault::new("too-large", message));
    }
    bounds::headers(&request.headers).map_err(|what| Fault::new("too-large", format!("the request has {what}")))?;
    for header in &request.headers {
        let name = http::HeaderName::from_bytes(header.name.as_bytes());
        if name.is_err() || http::HeaderValue::from_str(&header.value).is_err() {
            return Err(invalid(format!("`{}` with its value is no header field", header.name.escape_debug())));
        }
    }
    if request.body.len() > HTTP_REQUEST_BYTES_MAX {
        let message = format!("the request's body has {} bytes; at most {HTTP_REQUEST_BYTES_MAX} are sent", request.body.len());
        return Err(Fault::new("too-large", message));
    }
    let more = request.more.as_deref().map_or_else(|| Ok(RequestMore::default()), serde_json::from_str);
    let more = more.map_err(|error| invalid(format!("the member `more` of the request is not what is known of it: {error}")))?;
    Ok(Request {
        method: request.method.into(),
        url: request.url.into(),
        headers: request.headers.into_iter().map(|header| (header.name.into(), header.value.into())).collect(),
        body: request.body.into(),
        timeout_ms: request.timeout_ms,
        connection: request.connection.map(Into::into),
        response_bytes_max: more.response_bytes_max,
    })
}

pub(super) fn event(event: Event) -> nodes::Event {
    match event {
        Event::BranchEnded(end) => nodes::Event::BranchEnded(ended(end)),
        Event::ChildEnded(end) => nodes::Event::ChildEnded(ended(end)),
        Event::Woke(id) => nodes::Event::Woke(id.into()),
        Event::Signalled { id, payload } => {
            nodes::Event::Signalled(nodes::Signalled { id: id.into(), payload: payload.text().to_owned() })
        }
        Event::TaskActed { id, user, action, values } => nodes::Event::TaskActed(nodes::TaskActed {
            id: id.into(),
            user: user.into(),
            action: action.into(),
            values: values.text().to_owned(),
        }),
        Event::Responded { id, response } => {
            nodes::Event::Responded(nodes::Responded { id: id.into(), response: response.map(to_response).map_err(Into::into) })
        }
    }
}

fn ended(end: Ended) -> nodes::Ended {
    let output = end.output.map(|output| output.text().to_owned()).map_err(|failure| (&failure).into());
    nodes::Ended { id: end.id.into(), output }
}

/// A response for a guest.
pub fn to_response(response: Response) -> types::HttpResponse {
    let pair = |(name, value): (Box<str>, Box<str>)| types::Pair { name: name.into(), value: value.into() };
    types::HttpResponse {
        status_code: response.status,
        headers: response.headers.into_iter().map(pair).collect(),
        body: response.body.into(),
        more: None,
    }
}

impl From<Fault> for types::Fault {
    fn from(fault: Fault) -> Self {
        Self { code: fault.code.into(), message: fault.message.into(), transient: fault.transient }
    }
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
        let code = match bounds::name(failure.code, "a failure's code") {
            Ok(code) => code,
            Err(failure) => return failure,
        };
        Self {
            status: status(failure.status),
            code,
            message: bounds::text(failure.message),
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
    bounds::headers(&response.headers).map_err(|what| Failure::error("too-large", format!("the response has {what}")))?;
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
        Status::Error => types::Status::Error,
        Status::Aborted => types::Status::Aborted,
        Status::Canceled => types::Status::Canceled,
        Status::Rejected => types::Status::Rejected,
        // No failure has one of these.
        Status::Queued | Status::Running | Status::Waiting | Status::Retrying | Status::Unknown => types::Status::Error,
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
    bounds::description(&info, &nodes, &triggers)?;
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
    let failures = failures(&node.name, node.more.as_deref())?;
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
        failures,
    })
}

fn trigger_type(trigger: triggers::TriggerType) -> Result<TriggerType, String> {
    let document = |text: &str, what: &str| document(&trigger.name, text, what);
    Ok(TriggerType {
        failures: failures(&trigger.name, trigger.more.as_deref())?,
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

/// What `more` tells of a type: the ways in which it can fail.
fn failures(name: &str, more: Option<&str>) -> Result<Vec<FailureKind>, String> {
    let Some(more) = more else { return Ok(Vec::new()) };
    let mut more = document(name, more, "more")?;
    let failures = more.get_mut("failures").map(Value::take).unwrap_or_else(|| Value::Array(Vec::new()));
    serde_json::from_value(failures).map_err(|error| format!("type `{name}`: the member failures of more: {error}"))
}

fn document(name: &str, text: &str, what: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("type `{name}`: {what} is not JSON: {error}"))
}
