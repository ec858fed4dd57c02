//! What came of a case.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::case::HttpAnswer;
use super::world::{Exchange, body_of};
use crate::run::{Effects, Failure, Fault, LogLine, Outcome, Response, StagedFile, Usage, Wait, WaitKind};
use crate::workflow::Problem;

/// What came of a case.
#[derive(Debug, Default, Serialize)]
pub struct Trial {
    /// The type that was called: `vendor/plugin/type`.
    pub r#type: String,
    /// What it came to, by the contract's names: `done`, `failed`, `pending`, `end-run`, `go-back`; of a trigger `subscribes`, `reaction` and
    /// `settlement`; `refused` where publishing would have refused the config.
    #[serde(flatten)]
    pub came_to: Map<String, Value>,
    /// Each call: the event that it was for, how long it took, and what it took.
    pub calls: Vec<CallMade>,
    /// Log lines of all calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<LogLine>,
    /// Values of the plugin's own, as they are afterwards.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub kv: BTreeMap<String, String>,
    /// Files that it makes: `{id, name, media_type, size, text}`, or `base64` where it is no text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<Value>,
    /// Runs that it starts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub starts: Vec<Value>,
    /// What it sets as the run's output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// New results of earlier steps.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub results: BTreeMap<String, Value>,
    /// What it answers whoever waits for the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<Value>,
    /// What it tells whoever caused the run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<String>,
    /// Requests to servers outside.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<Exchange>,
    /// What all calls took.
    pub used: Usage,
    /// How it went.
    #[serde(skip)]
    pub verdict: Verdict,
}

/// One call of a component.
#[derive(Clone, Debug, Serialize)]
pub struct CallMade {
    /// `execute`, `resume`, `subscribe`, `fire` or `settle`.
    pub call: &'static str,
    /// What `resume` was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<Value>,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// What it took.
    pub used: Usage,
}

/// How a case went.
#[derive(Debug, Default)]
pub enum Verdict {
    /// The plugin did its work.
    #[default]
    Done,
    /// It waits for something that the case does not give.
    Waits,
    /// It could not do its work.
    Failed(Failure),
    /// It broke off, was stopped, or answered what breaks the contract.
    Broke(Failure),
    /// Publishing would have refused the config.
    Refused(Vec<Problem>),
}

impl Trial {
    /// Notes how it went.
    pub(super) fn end(&mut self, outcome: &Outcome) {
        let (name, value) = shown(outcome);
        self.came_to.insert(name.into(), value);
    }

    /// Notes that it failed.
    pub(super) fn fail(&mut self, failure: Failure, is_broken: bool) {
        self.came_to.insert("failed".into(), shown_failure(&failure));
        let breaks = is_broken || &*failure.code == "bad-answer";
        self.verdict = if breaks { Verdict::Broke(failure) } else { Verdict::Failed(failure) };
    }

    /// Notes what publishing would have said.
    pub(super) fn refuse(&mut self, problems: Vec<Problem>) {
        let shown = problems.iter().map(|problem| json!({"pointer": problem.pointer, "message": problem.message}));
        self.came_to.insert("refused".into(), shown.collect());
        self.verdict = Verdict::Refused(problems);
    }

    /// Adds what a call did that is kept.
    pub(super) fn keep(&mut self, effects: &Effects) {
        let start = |start: &crate::run::StagedStart| json!({"workflow": start.workflow, "context": start.context.value()});
        self.starts.extend(effects.staged.starts.iter().map(start));
        self.files.extend(effects.staged.files.iter().map(shown_file));
        self.results.extend(effects.results.iter().map(|(step, result)| (step.to_string(), result.value().clone())));
        self.messages.extend(effects.messages.iter().map(ToString::to_string));
        if let Some(output) = &effects.output {
            self.output = Some(output.value().clone());
        }
        if let Some(response) = &effects.response {
            self.response.get_or_insert_with(|| shown_response(response));
        }
    }
}

fn shown_file(file: &StagedFile) -> Value {
    let StagedFile { id, facts, content } = file;
    let (member, content) = match str::from_utf8(content) {
        Ok(text) => ("text", text.to_owned()),
        Err(_) => ("base64", BASE64_STANDARD.encode(content)),
    };
    json!({"id": id.to_string(), "name": facts.name, "media_type": facts.media_type, "size": facts.size, member: content})
}

/// An answer by the contract's name, and what it says.
fn shown(outcome: &Outcome) -> (&'static str, Value) {
    match outcome {
        Outcome::Done(result) => ("done", result.value().clone()),
        Outcome::Failed(failure) => ("failed", shown_failure(failure)),
        Outcome::EndRun { status, message } => ("end-run", json!({"status": status, "message": message})),
        Outcome::GoBack { step, output } => ("go-back", json!({"step": step, "output": output.value()})),
        Outcome::Pending { state, wait, .. } => {
            ("pending", json!({"state": state.value(), "wait": wait.iter().map(shown_wait).collect::<Vec<_>>()}))
        }
    }
}

/// Something that a step waits for.
pub(super) fn shown_wait(wait: &Wait) -> Value {
    let mut shown = json!({"id": wait.id, "kind": wait.kind.name()});
    match &wait.kind {
        WaitKind::Timer(at_ms) => shown["at"] = super::scope::rfc3339(*at_ms).into(),
        WaitKind::Signal { name, key } => {
            shown["name"] = (&**name).into();
            shown["key"] = key.as_deref().into();
        }
        WaitKind::Task(task) => {
            shown["title"] = (&*task.title).into();
            shown["actions"] = task.actions.iter().map(|action| Value::from(&*action.key)).collect();
        }
        WaitKind::Child { workflow, context, .. } => {
            shown["workflow"] = workflow.as_str().into();
            shown["context"] = context.value().clone();
        }
        WaitKind::Request(request) => shown["request"] = format!("{} {}", request.method, request.url).into(),
    }
    shown
}

pub(super) fn shown_failure(failure: &Failure) -> Value {
    let mut shown = json!({"status": failure.status, "code": failure.code, "message": failure.message});
    if failure.transient {
        shown["transient"] = true.into();
    }
    if let Some(output) = &failure.output {
        shown["output"] = output.value().clone();
    }
    shown
}

/// A response; a body that is JSON as such.
pub(super) fn shown_response(response: &Response) -> Value {
    let headers: BTreeMap<&str, &str> = response.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    let text = String::from_utf8_lossy(&response.body);
    let body = serde_json::from_str(&text).unwrap_or_else(|_| Value::from(&*text));
    json!({"status": response.status, "headers": headers, "body": body})
}

/// What a case says that a server answers.
pub(super) fn response_of(answer: &HttpAnswer) -> Result<Response, Fault> {
    if let Some(code) = &answer.fault {
        return Err(Fault::passing(code, "the case says so"));
    }
    let header = |(name, value): (&String, &String)| (name.to_ascii_lowercase().into(), value.as_str().into());
    Ok(Response {
        status: answer.status.unwrap_or(200),
        headers: answer.headers.iter().map(header).collect(),
        body: body_of(&answer.body).into(),
    })
}
