//! A run as people see it: its steps in order, with input, output, duration and log.

use serde::Serialize;
use serde_json::value::RawValue;

use super::called::{Called, Effects, Failure, LogLine, Outcome, SecretUse, Status, Usage};
use super::entry::{Arrival, Decision, Entry};
use super::file::FileFacts;
use super::id::RunId;
use super::wait::{Wait, WaitKind};
use crate::workflow::Json;

/// What a journal tells.
#[derive(Debug)]
pub struct View {
    /// What the trigger gave the run: `$context`.
    pub context: Option<Box<RawValue>>,
    /// The last output that a step set for the run.
    pub output: Option<Box<RawValue>>,
    /// Each activation, in the order of their first calls.
    pub steps: Vec<ActivationView>,
    /// What came for the run from outside, in order.
    pub arrivals: Vec<ArrivalView>,
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
    is_outside: bool,
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

/// Tells a run's journal to people. `at` writes a time in milliseconds since 1970.
pub fn view(run: RunId, entries: &[Entry], at: &dyn Fn(u64) -> String) -> View {
    let mut view = View { context: None, output: None, steps: Vec::new(), arrivals: Vec::new() };
    for entry in entries {
        view.add(run, entry, at);
    }
    view
}

impl View {
    fn add(&mut self, run: RunId, entry: &Entry, at: &dyn Fn(u64) -> String) {
        match entry {
            Entry::Accepted(accepted) => self.context = Some(raw(&accepted.context)),
            Entry::Started { .. } => {}
            Entry::Intended { at_ms, activation, .. } => self.step(activation, *at_ms, at).is_outside = true,
            Entry::Called(called) => self.called(run, called, at),
            Entry::Woke { activation, id, .. } | Entry::Responded { activation, id, .. } => self.fired(activation, id),
            Entry::Arrived { at_ms, arrival } => self.arrived(at(*at_ms), arrival),
            Entry::TimedOut { activation: None, .. } => self.aborted(),
            Entry::TimedOut { at_ms, activation: Some(path) } => {
                let failure = Failure::timed_out("the step did not end in time");
                self.step(path, *at_ms, at).failed(&failure);
                end_others(&mut self.steps, path, None);
            }
            Entry::Lost { at_ms, activation } => self.step(activation, *at_ms, at).status = Status::Unknown,
            Entry::Restarted { activation, branch, .. } => {
                let inside = format!("{activation}/{branch}");
                end_others(&mut self.steps, &inside, None);
            }
        }
    }

    /// The view of an activation, made when it is first heard of. One that is over and comes again is another: an atomic
    /// branch began again.
    fn step(&mut self, path: &str, at_ms: u64, at: &dyn Fn(u64) -> String) -> &mut ActivationView {
        let index = match self.steps.iter().rposition(|step| &*step.path == path && !step.status.is_end()) {
            Some(index) => index,
            None => {
                self.steps.push(ActivationView::new(path, at(at_ms)));
                self.steps.len() - 1
            }
        };
        &mut self.steps[index]
    }

    fn called(&mut self, run: RunId, called: &Called, at: &dyn Fn(u64) -> String) {
        let step = self.step(&called.activation, called.at_ms, at);
        if let Some(config) = &called.config {
            step.input = Some(raw(&named(config, &called.secrets)));
        }
        step.is_outside = false;
        step.took_us += u64::from(called.took_us);
        step.calls += 1;
        step.log.extend(called.log.iter().cloned());
        step.log_dropped += called.log_dropped;
        step.used.add(&called.used);
        let Effects { output, response, messages, started, files, .. } = &called.effects;
        step.run_output = output.as_ref().map(raw).or(step.run_output.take());
        step.messages.extend(messages.iter().cloned());
        step.runs.extend(started.iter().map(ToString::to_string));
        step.files.extend(files.iter().map(|(id, facts)| FileView { id: id.to_string(), facts: facts.clone() }));
        if let Some(response) = response {
            let body = String::from_utf8_lossy(&response.body).into_owned();
            step.response = Some(ResponseView { status: response.status, headers: response.headers.clone(), body });
        }
        match &called.outcome {
            Outcome::Failed(failure) if called.retry_at_ms.is_some() => {
                step.failed(failure);
                step.status = Status::Retrying;
            }
            Outcome::Failed(failure) => step.failed(failure),
            Outcome::Pending { wait, .. } => {
                (step.status, step.failure) = (Status::Waiting, None);
                step.wait_for(run, called.at_ms, wait, at);
            }
            Outcome::Done(output) | Outcome::GoBack { output, .. } => step.succeeded(output),
            Outcome::EndRun { status, .. } => step.end(*status),
        }
        step.retry_at = called.retry_at_ms.map(at);
        if let Some(output) = output {
            self.output = Some(raw(output));
        }
        match &called.outcome {
            Outcome::Pending { .. } => {}
            Outcome::EndRun { status, .. } => end_others(&mut self.steps, &called.activation, Some(*status)),
            _ if called.retry_at_ms.is_some() => {}
            _ => end_others(&mut self.steps, &called.activation, None),
        }
    }

    fn fired(&mut self, path: &str, id: &str) {
        if let Some(step) = self.steps.iter_mut().rev().find(|step| &*step.path == path) {
            step.waits.retain(|wait| &*wait.id != id);
        }
    }

    fn arrived(&mut self, at: String, arrival: &Arrival) {
        let (kind, activation, what, by) = match arrival {
            Arrival::Signal { name, .. } => ("signal", None, Some(name.clone()), None),
            Arrival::TaskActed { activation, user, action, .. } => {
                ("task-acted", Some(activation), Some(action.clone()), Some(user.clone()))
            }
            Arrival::ChildEnded { activation, id, .. } => {
                self.fired(activation, id);
                ("child-ended", Some(activation), None, None)
            }
            Arrival::Cancel { reason, by } => {
                self.aborted();
                ("cancel", None, Some(reason.as_str().into()), by.clone())
            }
            Arrival::Decided { activation, decision, by } => {
                if let Some(step) = self.steps.iter_mut().rev().find(|step| step.path == *activation) {
                    step.is_outside = false;
                    match decision {
                        Decision::Retry => step.status = Status::Waiting,
                        Decision::Succeed(output) => step.succeeded(output),
                        Decision::Fail(message) => step.failed(&Failure::error("outcome-unknown", message.clone())),
                    }
                }
                ("decided", Some(activation), None, by.clone())
            }
        };
        self.arrivals.push(ArrivalView { at, kind, activation: activation.cloned(), what, by });
    }

    /// The run was stopped: so is everything in it, but of a call that reached outside nobody knows.
    fn aborted(&mut self) {
        for step in self.steps.iter_mut().filter(|step| !step.status.is_end()) {
            step.end(if step.is_outside { Status::Unknown } else { Status::Aborted });
        }
    }
}

impl ActivationView {
    fn new(path: &str, started_at: String) -> Self {
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
        }
    }

    fn end(&mut self, status: Status) {
        self.status = status;
        self.waits.clear();
        self.retry_at = None;
    }

    fn succeeded(&mut self, output: &Json) {
        self.end(Status::Succeeded);
        self.output = Some(raw(output));
        self.failure = None;
    }

    fn failed(&mut self, failure: &Failure) {
        self.end(failure.status);
        self.output = failure.output.as_ref().map(raw);
        self.failure = Some(FailureView { code: failure.code.clone(), message: failure.message.clone() });
    }

    fn wait_for(&mut self, run: RunId, at_ms: u64, waits: &[Wait], at: &dyn Fn(u64) -> String) {
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

/// What ends with a step: whatever still ran in its branches; and with a run (`run`: its status) everything, where the steps
/// around the one that ended it take the run's status.
fn end_others(steps: &mut [ActivationView], ended: &str, run: Option<Status>) {
    for step in steps.iter_mut().filter(|step| !step.status.is_end()) {
        let unknown = if step.is_outside { Status::Unknown } else { Status::Aborted };
        match run {
            Some(status) if is_inside(ended, &step.path) => step.end(status),
            Some(_) => step.end(unknown),
            None if is_inside(&step.path, ended) => step.end(unknown),
            None => {}
        }
    }
}

/// Whether an activation is in a branch of another, at any depth.
fn is_inside(path: &str, of: &str) -> bool {
    path.strip_prefix(of).is_some_and(|rest| rest.starts_with('/'))
}

/// A config in which each token is the variable again that it came from.
fn named(config: &Json, secrets: &[SecretUse]) -> Json {
    if secrets.is_empty() {
        return config.clone();
    }
    let mut text = config.text().to_owned();
    for used in secrets {
        text = text.replace(&*used.token, &format!("{{{{$secrets.{}}}}}", used.name));
    }
    Json::parse(text).unwrap_or_else(|_| Json::null())
}

fn raw(json: &Json) -> Box<RawValue> {
    RawValue::from_string(json.text().to_owned()).unwrap_or_default()
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::run::{BranchStart, Reason};

    fn called(path: &str, outcome: Outcome) -> Called {
        Called {
            activation: path.into(),
            at_ms: 0,
            took_us: 7,
            attempt: 1,
            retry_at_ms: None,
            config: Some(json!("weft-secret-1").into()),
            secrets: vec![SecretUse { token: "weft-secret-1".into(), name: "x".into() }],
            outcome,
            effects: Effects::default(),
            log: Vec::new(),
            log_dropped: 0,
            used: Usage::default(),
            recorded: None,
        }
    }

    fn entry(path: &str, outcome: Outcome) -> Entry {
        Entry::Called(Box::new(called(path, outcome)))
    }

    fn pending() -> Outcome {
        let start = BranchStart { branch: "b".into(), id: "1".into(), scope: Json::null(), atomic: false };
        let timer = Wait { id: "t".into(), kind: WaitKind::Timer(5) };
        Outcome::Pending { state: Json::null(), start: vec![start], stop: Vec::new(), wait: vec![timer] }
    }

    fn told(entries: &[Entry]) -> View {
        view(RunId::new(1, [0; 10]), entries, &|ms| ms.to_string())
    }

    fn statuses(entries: &[Entry]) -> Vec<(String, &'static str)> {
        told(entries).steps.into_iter().map(|step| (step.path.into(), step.status.as_str())).collect()
    }

    fn owned<const N: usize>(want: [(&str, &'static str); N]) -> Vec<(String, &'static str)> {
        want.map(|(path, status)| (path.to_owned(), status)).to_vec()
    }

    #[test]
    fn what_ends_with_a_step_or_a_run_is_shown_so() {
        let end = Outcome::EndRun { status: Status::Failed, message: None };
        let entries = [entry("a", pending()), entry("a/1/b", pending()), entry("a/2/c", pending()), entry("a/1/b/1/d", end)];
        let want = [("a", "failed"), ("a/1/b", "failed"), ("a/2/c", "aborted"), ("a/1/b/1/d", "failed")];
        assert_eq!(statuses(&entries), owned(want));

        let failed = Outcome::Failed(Failure::error("x", "y"));
        let entries = [entry("a", pending()), entry("a/1/b", pending()), entry("ab", pending()), entry("a", failed)];
        assert_eq!(statuses(&entries), owned([("a", "error"), ("a/1/b", "aborted"), ("ab", "waiting")]));
    }

    #[test]
    fn of_a_call_that_reached_outside_a_cancelled_run_knows_nothing() {
        let intended = Entry::Intended { at_ms: 1, activation: "b".into(), attempt: 1 };
        let cancel =
            Entry::Arrived { at_ms: 2, arrival: Arrival::Cancel { reason: Reason::ManualCancel, by: Some("ada".into()) } };
        let entries = [entry("a", pending()), intended, cancel];
        assert_eq!(statuses(&entries), owned([("a", "aborted"), ("b", "unknown")]));
        let view = told(&entries);
        assert_eq!((view.arrivals[0].what.as_deref(), view.arrivals[0].by.as_deref()), (Some("manual-cancel"), Some("ada")));
        assert!(view.steps[0].waits.is_empty());
    }

    #[test]
    fn waits_are_shown_until_they_are_over() {
        let woke = Entry::Woke { at_ms: 5, activation: "a".into(), id: "t".into() };
        let view = told(&[entry("a", pending())]);
        assert_eq!((view.steps[0].waits[0].kind, view.steps[0].waits[0].at.as_deref()), ("timer", Some("5")));
        assert!(told(&[entry("a", pending()), woke]).steps[0].waits.is_empty());
    }

    #[test]
    fn a_call_that_is_made_again_says_when_and_why() {
        let failed = Outcome::Failed(Failure::error("x", "y"));
        let retried = Called { retry_at_ms: Some(9), ..called("a", failed) };
        let view = told(&[Entry::Called(Box::new(retried))]);
        let step = &view.steps[0];
        assert_eq!((step.status, step.retry_at.as_deref()), (Status::Retrying, Some("9")));
        assert_eq!(&*step.failure.as_ref().unwrap().code, "x");
    }

    #[test]
    fn a_secret_is_named_and_calls_are_added_up() {
        let view = told(&[entry("a", pending()), entry("a", Outcome::Done(json!(1).into()))]);
        let step = &view.steps[0];
        assert_eq!(step.input.as_ref().unwrap().get(), "\"{{$secrets.x}}\"");
        assert_eq!((step.calls, step.took_us, step.step.as_ref()), (2, 14, "a"));
    }
}
