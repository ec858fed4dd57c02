//! How runs start: outside events go to trigger components, and what these answer becomes runs and responses.

mod fire;
mod routes;

use std::sync::Arc;

use arc_swap::ArcSwap;

pub use fire::FireError;
pub use routes::{HttpRoute, Matched, Route, RouteConflict, Routes};

use crate::executor::{ConfigScope, Executor, Program, rfc3339};
use crate::limits::CONFIG_BYTES_MAX;
use crate::plugin::exports::triggers;
use crate::plugin::{CallContext, CallError};
use crate::run::{Failure, SecretUse};
use crate::workflow::Key;

/// What listens for events on behalf of active workflows.
pub struct Triggers {
    executor: Arc<Executor>,
    routes: ArcSwap<Routes>,
    /// Where this host is reached from outside: `https://weft.example.org`.
    public_url: String,
}

/// Why a trigger could not say what to subscribe to.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// It brought no answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It said no.
    #[error("{} ({})", .0.message, .0.code)]
    Failed(Failure),
}

impl Triggers {
    /// Nothing is listened to yet.
    pub fn new(executor: Arc<Executor>, public_url: String) -> Self {
        Self { executor, routes: ArcSwap::default(), public_url }
    }

    /// What carries out the runs.
    pub fn executor(&self) -> &Arc<Executor> {
        &self.executor
    }

    /// The routes that are listened to.
    pub fn routes(&self) -> arc_swap::Guard<Arc<Routes>> {
        self.routes.load()
    }

    /// Listens to these routes from now on. Requests that are under way keep the old ones.
    pub fn listen(&self, routes: Routes) {
        self.routes.store(Arc::new(routes));
    }

    /// The URL of a route.
    pub fn url_of(&self, route: &HttpRoute, workflow: &Key) -> String {
        format!("{}/hooks/{}", self.public_url, route.path(workflow))
    }

    /// Asks the trigger of a revision what to subscribe to.
    pub async fn subscribe(&self, program: &Program) -> Result<Vec<HttpRoute>, SubscribeError> {
        let (call, secrets) = self.call(program, 0).map_err(SubscribeError::Failed)?;
        let mut instance = self.executor.registry().instantiate(&program.trigger.plugin).await?;
        let (answer, _) = instance.subscribe(&call, self.context(secrets, None)).await;
        let subscriptions = answer?.map_err(|failure| SubscribeError::Failed(failure.into()))?;
        subscriptions
            .into_iter()
            .map(|subscription| routes::read(subscription, program))
            .collect::<Result<_, _>>()
            .map_err(SubscribeError::Failed)
    }

    /// What every call of a trigger is told, and the tokens in its config.
    fn call(&self, program: &Program, runs_started: u32) -> Result<(triggers::Call, Vec<SecretUse>), Failure> {
        let clock = self.executor.clock();
        let now_ms = clock.now_ms();
        let scope = ConfigScope::of_trigger(&**clock, now_ms);
        let config = program.plan.trigger.render(&scope, CONFIG_BYTES_MAX);
        let config = config.map_err(|error| Failure::error("too-large", error.to_string()))?;
        let call = triggers::Call {
            trigger: program.trigger.name.to_string(),
            workflow: program.plan.workflow.to_string(),
            now: rfc3339(now_ms),
            config: config.text().to_owned(),
            runs_started,
            hook_url: Some(format!("{}/hooks/{}", self.public_url, program.plan.workflow)),
            idempotency_key: hex::encode(clock.random()),
            more: None,
        };
        Ok((call, scope.into_tokens()))
    }

    fn context(&self, secrets: Vec<SecretUse>, remote_address: Option<Box<str>>) -> CallContext {
        let vault = (!secrets.is_empty()).then(|| self.executor.vault().clone());
        CallContext { secrets, vault, remote_address, ..CallContext::default() }
    }
}
