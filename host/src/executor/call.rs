//! One call of a step's component: what it is told, and the journal entry that comes of it.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use sha2::{Digest as _, Sha256};
use tokio::sync::{OnceCell, mpsc};

use super::Executor;
use super::clock::rfc3339;
use super::components::{NodeAnswer, NodeCall};
use super::program::Program;
use super::scope::{ConfigScope, Snapshot};
use super::services::{Intent, StepServices};
use crate::limits::{CONFIG_BYTES_MAX, STEP_WALL_MS_CEILING};
use crate::plugin::exports::nodes;
use crate::plugin::{CallContext, Instance};
use crate::run::{ActivationId, Called, Effects, Event, Failure, Outcome, Recorded, RunId, SecretUse, Staged, State, backoff_ms};
use crate::workflow::{Json, Key, StepId};

/// Everything that a call needs, taken out of the run so that several can go on side by side.
pub(super) struct Prepared {
    pub(super) activation: ActivationId,
    pub(super) step: StepId,
    pub(super) at_ms: u64,
    path: Arc<str>,
    attempt: u32,
    call: NodeCall,
    config: Result<Json, Failure>,
    secrets: Vec<SecretUse>,
    /// Whether it is the activation's first call, for which the config was filled in.
    is_first: bool,
    services: Option<Arc<StepServices>>,
}

/// What came of a call.
pub(super) struct Answered {
    pub(super) activation: ActivationId,
    pub(super) entry: Called,
    /// It reached outside, and then broke off: nobody knows what came of that.
    pub(super) is_hidden: bool,
    /// Fit for the next call of this run.
    pub(super) instance: Option<Instance>,
}

/// The run that calls.
pub(super) struct Frame<'a> {
    pub(super) program: &'a Arc<Program>,
    pub(super) run: RunId,
    pub(super) stack: &'a Arc<[Key]>,
    pub(super) intents: &'a mpsc::UnboundedSender<Intent>,
}

impl Executor {
    /// Takes what a call needs out of a run.
    pub(super) fn prepare(
        self: &Arc<Self>,
        frame: &Frame<'_>,
        state: &State,
        id: ActivationId,
        event: Option<Event>,
    ) -> Option<Prepared> {
        let Frame { program, run, .. } = *frame;
        let activation = state.activation(id)?;
        let at_ms = self.clock.now_ms();
        let step = program.plan.step(activation.step);
        let binding = program.node(activation.step);
        let (config, secrets, is_first) = match &activation.config {
            Some((config, secrets)) => (Ok(config.clone()), secrets.clone(), false),
            None => {
                let scope = ConfigScope::of_step(self, program, state, id, at_ms);
                let config = step.config.render(&scope, CONFIG_BYTES_MAX);
                (config.map_err(|error| Failure::error("too-large", error.to_string())), scope.into_tokens(), true)
            }
        };
        let attempt = activation.attempt();
        let key = idempotency_key(run, &activation.path, activation.calls);
        let services = binding.uses_services.then(|| {
            Arc::new(StepServices {
                executor: self.clone(),
                program: program.clone(),
                stack: frame.stack.clone(),
                run,
                context: state.context().clone(),
                config: config.as_ref().ok().cloned(),
                activation: id,
                path: activation.path.clone(),
                attempt,
                at_ms,
                intents: frame.intents.clone(),
                intended: OnceCell::new(),
                recorded: self.components.is_recorded(&binding.digest).then(Mutex::default),
            })
        });
        let call = nodes::Call {
            node: binding.name.to_string(),
            workflow: program.plan.workflow.to_string(),
            run: run.to_string(),
            step: step.key.to_string(),
            attempt,
            idempotency_key: key.clone(),
            now: rfc3339(at_ms),
            config: config.as_ref().map_or_else(|_| String::new(), |config| config.text().to_owned()),
            more: None,
        };
        // Making a snapshot costs, and few components look at their run.
        let snapshot = || Arc::new(Snapshot::of(self, program.clone(), state, id, activation.step, at_ms)) as _;
        let context = CallContext {
            plugin: binding.plugin.clone(),
            workflow: Some(program.plan.workflow.clone()),
            idempotency_key: key.into(),
            scope: binding.sees_run.then(snapshot),
            vault: (!secrets.is_empty()).then(|| self.vault.clone()),
            secrets: secrets.clone(),
            around: if binding.uses_services { state.staged(id) } else { Staged::default() },
            services: services.clone().map(|services| services as _),
            ..CallContext::default()
        };
        let event = event.map(|event| (activation.state.clone(), event));
        let limit_ms = step.call_timeout_ms.unwrap_or(STEP_WALL_MS_CEILING);
        Some(Prepared {
            activation: id,
            step: activation.step,
            at_ms,
            path: activation.path.clone(),
            attempt,
            call: NodeCall { call, event, context, instance: None, limit_ms },
            config,
            secrets,
            is_first,
            services,
        })
    }

    /// Makes a call.
    pub(super) async fn call(self: Arc<Self>, program: Arc<Program>, prepared: Prepared, instance: Option<Instance>) -> Answered {
        let began = Instant::now();
        let binding = program.node(prepared.step);
        let call = NodeCall { instance, ..prepared.call };
        let NodeAnswer { outcome, is_broken, context, instance } = match &prepared.config {
            Ok(_) => self.components.call(binding, call).await,
            Err(failure) => {
                let NodeCall { context, instance, .. } = call;
                NodeAnswer { outcome: Err(failure.clone()), is_broken: false, context, instance }
            }
        };
        let outcome = outcome.and_then(|outcome| binding.check(&outcome).map(|()| outcome));
        // A failure keeps nothing of what its call did but the log.
        let (outcome, effects) = match outcome {
            Ok(outcome) => (outcome, context.effects),
            Err(failure) => (Outcome::Failed(failure), Effects::default()),
        };
        let is_intended = prepared.services.as_ref().is_some_and(|services| services.intended.initialized());
        let recorded = prepared.services.and_then(|services| services.take_recorded());
        let recorded = recorded.map(|recorded| Box::new(Recorded { staged: effects.staged.digest(), ..recorded }));
        let mut entry = Called {
            activation: (*prepared.path).into(),
            at_ms: prepared.at_ms,
            took_us: u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX),
            attempt: prepared.attempt,
            retry_at_ms: None,
            config: prepared.config.ok().filter(|_| prepared.is_first),
            secrets: if prepared.is_first { prepared.secrets } else { Vec::new() },
            outcome,
            effects,
            log: context.log.lines,
            log_dropped: context.log.dropped,
            used: context.used,
            recorded,
        };
        if let Outcome::Failed(failure) = &entry.outcome {
            let [a, b, c, d, e, f, g, h, ..] = self.clock.random();
            let random = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
            let wait_ms = backoff_ms(program.plan.step(prepared.step).retry.as_ref(), entry.attempt, failure, random);
            entry.retry_at_ms = wait_ms.map(|wait_ms| self.clock.now_ms() + wait_ms);
        }
        Answered { activation: prepared.activation, entry, is_hidden: is_broken && is_intended && binding.at_most_once, instance }
    }
}

impl super::NodeBinding {
    /// Whether an answer keeps to what the type declared.
    pub(super) fn check(&self, outcome: &Outcome) -> Result<(), Failure> {
        let Outcome::Pending { start, wait, .. } = outcome else { return Ok(()) };
        if let Some(unknown) = start.iter().find(|start| !self.branches.contains(&start.branch)) {
            let branch = &unknown.branch;
            return Err(Failure::bad_answer(format_args!("it starts a branch `{branch}`, which its type does not have")));
        }
        if let Some(wait) = wait.iter().find(|wait| !self.waits.iter().any(|declared| **declared == *wait.kind.name())) {
            let kind = wait.kind.name();
            return Err(Failure::bad_answer(format_args!("it waits for a {kind}, which its type does not declare")));
        }
        Ok(())
    }
}

/// The same for every attempt of a call and after a crash, and different for every other call of any run.
pub(super) fn idempotency_key(run: RunId, path: &str, calls: u32) -> String {
    let mut hash = Sha256::new();
    hash.update(run.as_bytes());
    hash.update(calls.to_be_bytes());
    hash.update(path.as_bytes());
    hex::encode(&hash.finalize()[..16])
}
