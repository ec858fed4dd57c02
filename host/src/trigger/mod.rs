//! How runs start: outside events go to trigger components, and what these answer becomes runs and responses.

mod fire;
mod routes;

use std::sync::Arc;

use arc_swap::ArcSwap;

pub use fire::FireError;
pub use routes::{HttpRoute, Matched, Route, RouteConflict, Routes};

use crate::executor::{ConfigScope, Executor, Program, TriggerServices, rfc3339};
use crate::limits::{CONFIG_BYTES_MAX, SUBSCRIPTIONS_MAX};
use crate::plugin::exports::triggers;
use crate::plugin::{CallContext, CallError, Instance, Registry};
use crate::run::{Failure, SecretUse};
use crate::workflow::Key;

/// What listens for events on behalf of active workflows.
pub struct Triggers {
    executor: Arc<Executor>,
    registry: Arc<Registry>,
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
    /// What it did could not be stored.
    #[error("{0}")]
    Store(String),
}

impl Triggers {
    /// Nothing is listened to yet. Starts by name go through these triggers from now on.
    pub fn new(executor: Arc<Executor>, registry: Arc<Registry>, public_url: String) -> Arc<Self> {
        let triggers = Arc::new(Self { executor: executor.clone(), registry, routes: ArcSwap::default(), public_url });
        executor.set_callee(triggers.clone());
        triggers
    }

    /// The plugins that triggers are in.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
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

    /// Asks the trigger of a revision what to subscribe to: the routes among it.
    pub async fn subscribe(&self, program: &Program) -> Result<Vec<HttpRoute>, SubscribeError> {
        let (call, secrets) = self.call(program, 0).map_err(SubscribeError::Failed)?;
        let mut instance = self.instance_of(program).await?;
        let context = self.context(program, &call, secrets, None);
        let (answer, context) = instance.subscribe(&call, context).await;
        let subscriptions = answer?.map_err(|failure| SubscribeError::Failed(failure.into()))?;
        if subscriptions.len() > SUBSCRIPTIONS_MAX {
            let what = format_args!("{} subscriptions; at most {SUBSCRIPTIONS_MAX}", subscriptions.len());
            return Err(SubscribeError::Failed(Failure::bad_answer(what)));
        }
        let mut changes = Vec::new();
        crate::executor::staged_changes(context.effects.staged, &[], &mut changes);
        self.executor.store().commit(changes).await.map_err(|error| SubscribeError::Store(error.to_string()))?;
        let kind = self.registry.get(&program.trigger.digest);
        let declared = kind.as_ref().and_then(|plugin| plugin.trigger(&program.trigger.name)).map(|kind| &kind.subscribes[..]);
        let routes = subscriptions.into_iter().map(|subscription| routes::read(subscription, declared.unwrap_or_default()));
        let routes: Result<Vec<Option<HttpRoute>>, Failure> = routes.collect();
        Ok(routes.map_err(SubscribeError::Failed)?.into_iter().flatten().collect())
    }

    /// A fresh instance of a program's trigger.
    async fn instance_of(&self, program: &Program) -> Result<Instance, CallError> {
        let plugin = self.registry.get(&program.trigger.digest);
        let plugin = plugin.ok_or_else(|| CallError::Host(format!("plugin {} is not installed", program.trigger.digest)))?;
        self.registry.instantiate(&plugin).await
    }

    /// What every call of a trigger is told, and the tokens in its config.
    fn call(&self, program: &Program, runs_started: u32) -> Result<(triggers::Call, Vec<SecretUse>), Failure> {
        let clock = self.executor.clock();
        let now_ms = clock.now_ms();
        let scope = ConfigScope::of_trigger(&self.executor, now_ms);
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

    fn context(
        &self,
        program: &Program,
        call: &triggers::Call,
        secrets: Vec<SecretUse>,
        remote_address: Option<Box<str>>,
    ) -> CallContext {
        let vault = (!secrets.is_empty()).then(|| self.executor.vault().clone());
        let digest = program.trigger.digest;
        let plugin = self.registry.get(&digest);
        let services = TriggerServices { executor: self.executor.clone() };
        let uses_services = plugin.as_ref().is_some_and(|plugin| plugin.uses_services);
        CallContext {
            grants: plugin.as_ref().map(|plugin| plugin.grants()).unwrap_or_default(),
            plugin: plugin.map(|plugin| plugin.description.name.as_str().into()).unwrap_or_default(),
            workflow: Some(program.plan.workflow.clone()),
            idempotency_key: call.idempotency_key.as_str().into(),
            secrets,
            vault,
            services: uses_services.then(|| Arc::new(services) as _),
            remote_address,
            ..CallContext::default()
        }
    }
}
