//! A run as people see it: its steps in order, with input, output, duration and log.

use serde::Serialize;
use serde_json::value::RawValue;

use super::entry::{Called, Effects, Entry, LogLine, Outcome, SecretUse, Status};
use crate::workflow::Json;

/// What a journal tells.
#[derive(Debug, Serialize)]
pub struct View {
    /// What the trigger gave the run: `$context`.
    pub context: Option<Box<RawValue>>,
    /// Each activation, in the order of their first calls.
    pub steps: Vec<ActivationView>,
}

/// One activation.
#[derive(Debug, Serialize)]
pub struct ActivationView {
    /// Step keys and branch ids from the top: `loop/3/mail`.
    pub path: Box<str>,
    /// The step's key.
    pub step: Box<str>,
    /// `waiting` until it is finished.
    pub status: Status,
    /// When it was first called, RFC 3339.
    pub started_at: String,
    /// How long its calls took, in microseconds, without what lay between them.
    pub took_us: u64,
    /// How many times its component was called.
    pub calls: u32,
    /// The config with its variables filled in; a secret is named, not shown.
    pub input: Option<Box<RawValue>>,
    /// Its result.
    pub output: Option<Box<RawValue>>,
    /// What failed.
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
    /// What its component logged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<LogLine>,
    /// How many lines were dropped at the limit.
    #[serde(skip_serializing_if = "is_zero")]
    pub log_dropped: u32,
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

/// Tells a journal to people. `at` writes a time in milliseconds since 1970.
pub fn view(entries: &[Entry], at: impl Fn(u64) -> String) -> View {
    let mut view = View { context: None, steps: Vec::new() };
    for entry in entries {
        match entry {
            Entry::Accepted(accepted) => view.context = Some(raw(&accepted.context)),
            Entry::Called(called) => add_call(&mut view.steps, called, &at),
        }
    }
    view
}

fn add_call(steps: &mut Vec<ActivationView>, called: &Called, at: impl Fn(u64) -> String) {
    let index = match steps.iter().rposition(|step| step.path == called.activation) {
        Some(index) => index,
        None => {
            let step = called.activation.rsplit('/').next().unwrap_or_default();
            steps.push(ActivationView {
                path: called.activation.clone(),
                step: step.split('~').next().unwrap_or_default().into(),
                status: Status::Waiting,
                started_at: at(called.at_ms),
                took_us: 0,
                calls: 0,
                input: called.config.as_ref().map(|config| raw(&named(config, &called.secrets))),
                output: None,
                failure: None,
                response: None,
                run_output: None,
                messages: Vec::new(),
                log: Vec::new(),
                log_dropped: 0,
            });
            steps.len() - 1
        }
    };
    let step = &mut steps[index];
    step.took_us += u64::from(called.took_us);
    step.calls += 1;
    step.log.extend(called.log.iter().cloned());
    step.log_dropped += called.log_dropped;
    let Effects { output, response, messages, .. } = &called.effects;
    step.run_output = output.as_ref().map(raw).or(step.run_output.take());
    step.messages.extend(messages.iter().cloned());
    if let Some(response) = response {
        let body = String::from_utf8_lossy(&response.body).into_owned();
        step.response = Some(ResponseView { status: response.status, headers: response.headers.clone(), body });
    }
    match &called.outcome {
        Outcome::Pending { .. } => return,
        Outcome::Done(output) | Outcome::GoBack { output, .. } => {
            step.status = Status::Succeeded;
            step.output = Some(raw(output));
        }
        Outcome::EndRun { status, .. } => step.status = *status,
        Outcome::Failed(failure) => {
            step.status = failure.status;
            step.output = failure.output.as_ref().map(raw);
            step.failure = Some(FailureView { code: failure.code.clone(), message: failure.message.clone() });
        }
    }
    end_others(steps, called);
}

/// What ends with a step: whatever still ran in its branches; and with a run everything, where the steps around the one
/// that ended it take the run's status.
fn end_others(steps: &mut [ActivationView], called: &Called) {
    let ended = &*called.activation;
    for step in steps.iter_mut().filter(|step| step.status == Status::Waiting) {
        match &called.outcome {
            Outcome::EndRun { status, .. } if is_inside(ended, &step.path) => step.status = *status,
            Outcome::EndRun { .. } => step.status = Status::Aborted,
            _ if is_inside(&step.path, ended) => step.status = Status::Aborted,
            _ => {}
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
    use crate::run::{BranchStart, Effects, Failure};

    fn called(path: &str, outcome: Outcome) -> Entry {
        Entry::Called(Box::new(Called {
            activation: path.into(),
            at_ms: 0,
            took_us: 7,
            config: Some(json!("weft-secret-1").into()),
            secrets: vec![SecretUse { token: "weft-secret-1".into(), name: "x".into() }],
            outcome,
            effects: Effects::default(),
            log: Vec::new(),
            log_dropped: 0,
        }))
    }

    fn pending() -> Outcome {
        let start = BranchStart { branch: "b".into(), id: "1".into(), scope: Json::null() };
        Outcome::Pending { state: Json::null(), start: vec![start], stop: Vec::new() }
    }

    fn statuses(entries: &[Entry]) -> Vec<(String, &'static str)> {
        let view = view(entries, |_| String::new());
        view.steps.into_iter().map(|step| (step.path.into(), step.status.as_str())).collect()
    }

    #[test]
    fn what_ends_with_a_step_or_a_run_is_shown_so() {
        let end = Outcome::EndRun { status: Status::Failed, message: None };
        let entries = [called("a", pending()), called("a/1/b", pending()), called("a/2/c", pending()), called("a/1/b/1/d", end)];
        let want = [("a", "failed"), ("a/1/b", "failed"), ("a/2/c", "aborted"), ("a/1/b/1/d", "failed")];
        assert_eq!(statuses(&entries), want.map(|(path, status)| (path.to_owned(), status)));

        let failed = Outcome::Failed(Failure::error("x", "y"));
        let entries = [called("a", pending()), called("a/1/b", pending()), called("ab", pending()), called("a", failed)];
        let want = [("a", "error"), ("a/1/b", "aborted"), ("ab", "waiting")];
        assert_eq!(statuses(&entries), want.map(|(path, status)| (path.to_owned(), status)));
    }

    #[test]
    fn a_secret_is_named_and_calls_are_added_up() {
        let view = view(&[called("a", pending()), called("a", Outcome::Done(json!(1).into()))], |_| String::new());
        let step = &view.steps[0];
        assert_eq!(step.input.as_ref().unwrap().get(), "\"{{$secrets.x}}\"");
        assert_eq!((step.calls, step.took_us, step.step.as_ref()), (2, 14, "a"));
    }
}
