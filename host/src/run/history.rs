//! A run as people see it: its steps in order, with input, output, duration and log.

use serde::Serialize;
use serde_json::value::RawValue;

use super::entry::{Called, Entry, LogLine, Outcome, SecretUse, Status};
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
    match &called.outcome {
        Outcome::Pending { .. } => {}
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
