//! The variables that a step sees.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::program::Program;
use super::{Environment, Executor};
use crate::run::{ActivationId, SecretUse, State};
use crate::workflow::{Json, Key, Root, Scope, StepId};

/// What a config sees while it is filled in: the run as it is, and tokens in the place of secrets.
pub(crate) struct ConfigScope<'a> {
    run: Option<(&'a Program, &'a State, ActivationId)>,
    executor: &'a Executor,
    now_ms: u64,
    tokens: RefCell<Vec<SecretUse>>,
}

impl<'a> ConfigScope<'a> {
    /// For a step of a run.
    pub(super) fn of_step(
        executor: &'a Executor,
        program: &'a Program,
        state: &'a State,
        activation: ActivationId,
        now_ms: u64,
    ) -> Self {
        Self { run: Some((program, state, activation)), executor, now_ms, tokens: RefCell::default() }
    }

    /// For a trigger, which has no run yet.
    pub(crate) fn of_trigger(executor: &'a Executor, now_ms: u64) -> Self {
        Self { run: None, executor, now_ms, tokens: RefCell::default() }
    }

    /// The tokens that were given out.
    pub(crate) fn into_tokens(self) -> Vec<SecretUse> {
        self.tokens.into_inner()
    }

    /// A text that stands for a secret, for the holder of this config only.
    fn token(&self, name: &str) -> Json {
        let mut tokens = self.tokens.borrow_mut();
        let token: Box<str> = match tokens.iter().find(|used| &*used.name == name) {
            Some(used) => used.token.clone(),
            None => {
                let token: Box<str> = format!("weft-secret-{}", hex::encode(self.executor.clock.random())).into();
                tokens.push(SecretUse { token: token.clone(), name: name.into() });
                token
            }
        };
        Json::from(Value::from(&*token))
    }
}

impl Scope for ConfigScope<'_> {
    fn get(&self, root: &Root) -> Option<Json> {
        match (root, self.run) {
            (Root::Secret(name), _) => Some(self.token(name)),
            (Root::System(_) | Root::Env(_), _) => self.executor.environment.get(root, self.now_ms),
            (_, None) => None,
            (Root::Context, Some((_, state, _))) => Some(state.context().clone()),
            (Root::Step(key), Some((program, state, activation))) => {
                state.result(activation, program.plan.find(key.as_str())?).cloned()
            }
            (Root::Scope(key), Some((program, state, activation))) => {
                state.scope(&program.plan, activation, key.as_str()).cloned()
            }
        }
    }
}

/// What the capability `variables` sees: the run as it was when the call began.
pub(super) struct Snapshot {
    program: Arc<Program>,
    context: Json,
    results: Arc<BTreeMap<StepId, Json>>,
    scopes: Vec<(StepId, Json)>,
    step: StepId,
    environment: Arc<Environment>,
    now_ms: u64,
}

impl Snapshot {
    pub(super) fn of(
        executor: &Executor,
        program: Arc<Program>,
        state: &State,
        activation: ActivationId,
        step: StepId,
        now_ms: u64,
    ) -> Self {
        Self {
            context: state.context().clone(),
            results: state.results(activation),
            scopes: state.scopes(activation),
            program,
            step,
            environment: executor.environment.clone(),
            now_ms,
        }
    }
}

impl Scope for Snapshot {
    fn get(&self, root: &Root) -> Option<Json> {
        match root {
            Root::Context => Some(self.context.clone()),
            Root::Step(key) => self.results.get(&self.program.plan.find(key.as_str())?).cloned(),
            Root::Scope(key) => {
                let step = self.program.plan.find(key.as_str())?;
                self.scopes.iter().find(|(owner, _)| *owner == step).map(|(_, scope)| scope.clone())
            }
            Root::System(_) | Root::Env(_) => self.environment.get(root, self.now_ms),
            Root::Secret(_) => None,
        }
    }

    fn is_own(&self, step: &Key) -> bool {
        self.program.plan.step(self.step).key == *step
    }

    fn may_set_result(&self, step: &Key) -> bool {
        let Some(target) = self.program.plan.find(step.as_str()) else { return false };
        let (own, other) = (self.program.node(self.step), self.program.node(target));
        self.results.contains_key(&target) && own.digest == other.digest && own.name == other.name
    }
}
