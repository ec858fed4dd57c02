//! One call of a step's component: what it is told, and the journal entry that comes of it.

use std::sync::Arc;
use std::time::Instant;

use sha2::{Digest as _, Sha256};

use super::Executor;
use super::clock::rfc3339;
use super::program::Program;
use super::scope::{ConfigScope, Snapshot};
use crate::limits::CONFIG_BYTES_MAX;
use crate::plugin::exports::nodes;
use crate::plugin::{CallContext, Instance, Plugin};
use crate::run::{ActivationId, BranchEnd, Called, Effects, Event, Failure, Outcome, RunId, SecretUse, State};
use crate::workflow::{Json, StepId};

/// Everything that a call needs, taken out of the run so that several can go on side by side.
pub(super) struct Prepared {
    pub(super) activation: ActivationId,
    pub(super) step: StepId,
    path: Arc<str>,
    call: nodes::Call,
    event: Option<(Json, BranchEnd)>,
    config: Result<Json, Failure>,
    secrets: Vec<SecretUse>,
    /// Whether it is the activation's first call, for which the config was filled in.
    is_first: bool,
    context: CallContext,
    at_ms: u64,
}

/// What came of a call.
pub(super) struct Answered {
    pub(super) activation: ActivationId,
    pub(super) entry: Called,
    /// Fit for the next call of this run.
    pub(super) instance: Option<Instance>,
}

impl Executor {
    /// Takes what a call needs out of a run.
    pub(super) fn prepare(
        &self,
        program: &Arc<Program>,
        state: &State,
        run: RunId,
        id: ActivationId,
        event: Option<Event>,
    ) -> Option<Prepared> {
        let activation = state.activation(id)?;
        let now_ms = self.clock.now_ms();
        let step = program.plan.step(activation.step);
        let binding = program.node(activation.step);
        let (config, secrets, is_first) = match &activation.config {
            Some((config, secrets)) => (Ok(config.clone()), secrets.clone(), false),
            None => {
                let scope = ConfigScope::of_step(program, state, id, &*self.clock, now_ms);
                let config = step.config.render(&scope, CONFIG_BYTES_MAX);
                (config.map_err(|error| Failure::error("too-large", error.to_string())), scope.into_tokens(), true)
            }
        };
        let call = nodes::Call {
            node: binding.name.to_string(),
            workflow: program.plan.workflow.to_string(),
            run: run.to_string(),
            step: step.key.to_string(),
            attempt: 1,
            idempotency_key: idempotency_key(run, &activation.path, activation.calls),
            now: rfc3339(now_ms),
            config: config.as_ref().map_or_else(|_| String::new(), |config| config.text().to_owned()),
            more: None,
        };
        // Making a snapshot costs, and few components look at their run.
        let snapshot = || Arc::new(Snapshot::of(program.clone(), state, id, activation.step, now_ms)) as _;
        let context = CallContext {
            scope: binding.plugin.sees_run.then(snapshot),
            vault: (!secrets.is_empty()).then(|| self.vault.clone()),
            secrets: secrets.clone(),
            ..CallContext::default()
        };
        Some(Prepared {
            activation: id,
            step: activation.step,
            path: activation.path.clone(),
            call,
            event: event.map(|Event::BranchEnded(end)| (activation.state.clone(), end)),
            config,
            secrets,
            is_first,
            context,
            at_ms: now_ms,
        })
    }

    /// Makes a call.
    pub(super) async fn call(self: Arc<Self>, program: Arc<Program>, prepared: Prepared, instance: Option<Instance>) -> Answered {
        let began = Instant::now();
        let binding = program.node(prepared.step);
        let (outcome, context, instance) = match &prepared.config {
            Err(failure) => (Err(failure.clone()), prepared.context, instance),
            Ok(_) => self.reach(&binding.plugin, &prepared.call, prepared.event, prepared.context, instance).await,
        };
        let outcome = outcome.and_then(|outcome| known_branches(&outcome, &binding.branches).map(|()| outcome));
        // A failure keeps nothing of what its call did but the log.
        let (outcome, effects) = match outcome {
            Ok(outcome) => (outcome, context.effects),
            Err(failure) => (Outcome::Failed(failure), Effects::default()),
        };
        let entry = Called {
            activation: (*prepared.path).into(),
            at_ms: prepared.at_ms,
            took_us: u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX),
            config: prepared.config.ok().filter(|_| prepared.is_first),
            secrets: if prepared.is_first { prepared.secrets } else { Vec::new() },
            outcome,
            effects,
            log: context.log.lines,
            log_dropped: context.log.dropped,
        };
        Answered { activation: prepared.activation, entry, instance }
    }

    /// Calls the component, in an instance that the run has already or in a fresh one. An instance that broke is gone.
    async fn reach(
        &self,
        plugin: &Plugin,
        call: &nodes::Call,
        event: Option<(Json, BranchEnd)>,
        context: CallContext,
        instance: Option<Instance>,
    ) -> (Result<Outcome, Failure>, CallContext, Option<Instance>) {
        let instance = match instance {
            Some(instance) => Ok(instance),
            None => self.registry.instantiate(plugin).await,
        };
        match instance {
            Err(error) => (Err(error.into()), context, None),
            Ok(mut instance) => match instance.call_node(call, event, context).await {
                (Ok(outcome), context) => (outcome, context, Some(instance)),
                (Err(error), context) => (Err(error.into()), context, None),
            },
        }
    }
}

fn known_branches(outcome: &Outcome, branches: &[Box<str>]) -> Result<(), Failure> {
    let Outcome::Pending { start, .. } = outcome else { return Ok(()) };
    match start.iter().find(|start| !branches.contains(&start.branch)) {
        Some(unknown) => {
            Err(Failure::bad_answer(format_args!("it starts a branch `{}`, which its type does not have", unknown.branch)))
        }
        None => Ok(()),
    }
}

/// The same for every attempt of a call and after a crash, and different for every other call of any run.
fn idempotency_key(run: RunId, path: &str, calls: u32) -> String {
    let mut hash = Sha256::new();
    hash.update(run.as_bytes());
    hash.update(calls.to_be_bytes());
    hash.update(path.as_bytes());
    hex::encode(&hash.finalize()[..16])
}
