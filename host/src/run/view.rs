//! A run as people see it: its steps with input, output, duration and log.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::value::RawValue;

use super::called::{Failure, LogLine, SecretUse, Status, Usage};
use super::file::FileFacts;
use super::id::RunId;
use super::wait::{Wait, WaitKind};
use crate::workflow::Json;

/// What a journal tells.
#[derive(Debug, Default)]
pub struct View {
    /// What the trigger gave the run: `$context`.
    pub context: Option<Box<RawValue>>,
    /// The last output that a step set for the run.
    pub output: Option<Box<RawValue>>,
    /// Activations, in the order of their first calls: those that are shown.
    pub steps: Vec<ActivationView>,
    /// The place of the first one after them; none: there is no other.
    pub next: Option<usize>,
    /// What came for the run from outside, in order.
    pub arrivals: Vec<ArrivalView>,
    /// The paths of all activations that are over.
    pub over: BTreeSet<Box<str>>,
}

/// One activation.
#[derive(Debug, Serialize)]
pub struct ActivationView {
    /// Step keys and branch ids from the top: `loop/3/mail`.
    pub path: Box<str>,
    /// The step's key.
    pub step: Box<str>,
    /// `waiting` until it is finished, or `retrying`, or `unknown` where a crash hid what came of a call.
    pub status: Status,
    /// When it was first called, RFC 3339.
    pub started_at: String,
    /// How long its calls took, in microseconds, without what lay between them.
    pub took_us: u64,
    /// How many times its component was called, tries that failed included.
    pub calls: u32,
    /// When a call that failed is made again, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<String>,
    /// What it waits for besides its branches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waits: Vec<WaitView>,
    /// The config with its variables filled in; a secret is named, not shown.
    pub input: Option<Box<RawValue>>,
    /// Its result.
    pub output: Option<Box<RawValue>>,
    /// What failed; of a call that is made again too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureView>,
    /// What it gave whoever waits for the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<ResponseView>,
    /// What it set as the run's output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_output: Option<Box<RawValue>>,
    /// Messages that it added for whoever caused the run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<Box<str>>,
    /// Runs that it started, waited for or not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<String>,
    /// Files that it made.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileView>,
    /// What its component logged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<LogLine>,
    /// How many lines were dropped at the limit.
    #[serde(skip_serializing_if = "is_zero")]
    pub log_dropped: u32,
    /// What its calls took: together, and of memory the most.
    #[serde(skip_serializing_if = "Usage::is_nothing")]
    pub used: Usage,
    /// A call reached outside, and its answer is not there yet.
    #[serde(skip)]
    pub(super) is_outside: bool,
    /// Bytes of the lists that each call adds to: log, messages, runs, files.
    #[serde(skip)]
    pub(super) grown: usize,
}

/// A file that a step made.
#[derive(Debug, Serialize)]
pub struct FileView {
    /// `GET /api/v1/files/<id>` gives what it holds.
    pub id: String,
    /// What is known of it.
    #[serde(flatten)]
    pub facts: FileFacts,
}

/// Something that an activation waits for.
#[derive(Debug, Serialize)]
pub struct WaitView {
    /// Chosen by the step.
    pub id: Box<str>,
    /// `timer`, `signal`, `task`, `child` or `request`.
    pub kind: &'static str,
    /// When a timer fires, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// What the sender of a signal calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Box<str>>,
    /// What tells runs apart that wait for the same signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Box<str>>,
    /// A task, as whoever may act on it sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskView>,
    /// Where a request goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The run that is waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

/// Something that a person has to do.
#[derive(Debug, Serialize)]
pub struct TaskView {
    /// One line.
    pub title: Box<str>,
    /// Ids of users.
    pub assignees: Vec<Box<str>>,
    /// JSON Schema of the form.
    pub form_schema: Box<RawValue>,
    /// What the form starts with.
    pub values: Box<RawValue>,
    /// The buttons: keys and titles.
    pub actions: Vec<(Box<str>, Box<str>)>,
}

/// Something that came for the run from outside.
#[derive(Debug, Serialize)]
pub struct ArrivalView {
    /// When it was taken up, RFC 3339.
    pub at: String,
    /// `signal`, `task-acted`, `child-ended`, `cancel` or `decided`.
    pub kind: &'static str,
    /// The activation that it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation: Option<Box<str>>,
    /// A signal's name, a task's action, or why the run was cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<Box<str>>,
    /// Who did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<Box<str>>,
}

/// Why an activation failed.
#[derive(Debug, Serialize)]
pub struct FailureView {
    /// Stable, kebab-case.
    pub code: Box<str>,
    /// What was wrong and what to do.
    pub message: Box<str>,
}

/// An HTTP response.
#[derive(Debug, Serialize)]
pub struct ResponseView {
    /// Its status code.
    pub status: u16,
    /// Its header fields: names and values, in order.
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// Its body, as far as it is text.
    pub body: String,
}

impl ActivationView {
    pub(super) fn new(path: &str, started_at: String) -> Self {
        let step = path.rsplit('/').next().unwrap_or_default();
        Self {
            path: path.into(),
            step: step.split('~').next().unwrap_or_default().into(),
            status: Status::Waiting,
            started_at,
            took_us: 0,
            calls: 0,
            retry_at: None,
            waits: Vec::new(),
            input: None,
            output: None,
            failure: None,
            response: None,
            run_output: None,
            messages: Vec::new(),
            runs: Vec::new(),
            files: Vec::new(),
            log: Vec::new(),
            log_dropped: 0,
            used: Usage::default(),
            is_outside: false,
            grown: 0,
        }
    }

    pub(super) fn end(&mut self, status: Status) {
        self.status = status;
        self.waits.clear();
        self.retry_at = None;
    }

    /// It ends because what it is part of does, if it has not ended before. Of a call that reached outside nobody knows.
    pub(super) fn abort(&mut self) {
        if !self.status.is_end() {
            self.end(if self.is_outside { Status::Unknown } else { Status::Aborted });
        }
    }

    /// Bytes of its documents.
    pub(super) fn bytes(&self) -> usize {
        let documents = [&self.input, &self.output, &self.run_output].into_iter().flatten().map(|raw| raw.get().len());
        let body = self.response.as_ref().map_or(0, |response| response.body.len());
        let tasks = self.waits.iter().filter_map(|wait| wait.task.as_ref());
        let forms = tasks.map(|task| task.form_schema.get().len() + task.values.get().len());
        let failure = self.failure.as_ref().map_or(0, |failure| failure.message.len());
        documents.sum::<usize>() + body + forms.sum::<usize>() + failure + self.grown
    }

    /// Only where it is and how it stands stays.
    pub(super) fn forget(&mut self) {
        let (path, step) = (std::mem::take(&mut self.path), std::mem::take(&mut self.step));
        let started_at = std::mem::take(&mut self.started_at);
        *self = Self { step, status: self.status, is_outside: self.is_outside, ..Self::new(&path, started_at) };
    }

    pub(super) fn succeeded(&mut self, output: &Json) {
        self.end(Status::Succeeded);
        self.output = Some(raw(output));
        self.failure = None;
    }

    pub(super) fn failed(&mut self, failure: &Failure) {
        self.end(failure.status);
        self.output = failure.output.as_ref().map(raw);
        self.failure = Some(FailureView { code: failure.code.clone(), message: failure.message.clone() });
    }

    pub(super) fn wait_for(&mut self, run: RunId, at_ms: u64, waits: &[Wait], at: &dyn Fn(u64) -> String) {
        let mut known = std::mem::take(&mut self.waits);
        for wait in waits {
            let kept = known.iter().position(|known| known.id == wait.id).map(|index| known.swap_remove(index));
            let stays = matches!(wait.kind, WaitKind::Child { .. } | WaitKind::Signal { .. } | WaitKind::Request(_));
            self.waits.push(match kept {
                Some(kept) if stays => kept,
                _ => {
                    let view = WaitView::of(run, &self.path, at_ms, wait, at);
                    self.runs.extend(view.run.clone());
                    view
                }
            });
        }
    }
}

impl WaitView {
    fn of(run: RunId, path: &str, at_ms: u64, wait: &Wait, at: &dyn Fn(u64) -> String) -> Self {
        let (id, kind) = (wait.id.clone(), wait.kind.name());
        let mut view = Self { id, kind, at: None, name: None, key: None, task: None, request: None, run: None };
        match &wait.kind {
            WaitKind::Timer(due_ms) => view.at = Some(at(*due_ms)),
            WaitKind::Signal { name, key } => (view.name, view.key) = (Some(name.clone()), key.clone()),
            WaitKind::Task(task) => {
                view.task = Some(TaskView {
                    title: task.title.clone(),
                    assignees: task.assignees.clone(),
                    form_schema: raw(&task.form_schema),
                    values: raw(&task.values),
                    actions: task.actions.iter().map(|action| (action.key.clone(), action.title.clone())).collect(),
                });
            }
            WaitKind::Child { .. } => view.run = Some(RunId::derived(at_ms, run, path, &wait.id).to_string()),
            WaitKind::Request(request) => {
                let by = request.connection.as_ref().map(|name| format!(" by {name}")).unwrap_or_default();
                view.request = Some(format!("{} {}{by}", request.method, request.url));
            }
        }
        view
    }
}

/// A config in which each token is the variable again that it came from.
pub(super) fn named(config: &Json, secrets: &[SecretUse]) -> Json {
    if secrets.is_empty() {
        return config.clone();
    }
    let mut text = config.text().to_owned();
    for used in secrets {
        text = text.replace(&*used.token, &format!("{{{{$secrets.{}}}}}", used.name));
    }
    Json::parse(text).unwrap_or_else(|_| Json::null())
}

pub(super) fn raw(json: &Json) -> Box<RawValue> {
    RawValue::from_string(json.text().to_owned()).unwrap_or_default()
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}
