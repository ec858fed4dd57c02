//! How runs start: outside events go to trigger components, and what these answer becomes runs and responses.

mod fire;
mod fires;
mod last;
mod room;
mod routes;
mod timers;

use std::sync::Arc;

use arc_swap::ArcSwap;

pub use fire::{FireError, Fired};
pub use fires::{Fire, NextFires};
pub use last::{Became, Hidden, LastRequests, Received};
pub use routes::{HttpRoute, Matched, Route, RouteConflict, Routes};
pub use timers::Held;

use crate::executor::{ConfigScope, Executor, Program, TriggerServices, rfc3339};
use crate::limits::{CONFIG_BYTES_MAX, SUBSCRIPTIONS_MAX};
use crate::plugin::exports::triggers;
use crate::plugin::{CallContext, CallError, Instance, Pace, Registry};
use crate::run::{Failure, SecretUse};
use crate::store::{Change, Timer, TimerChange};
use crate::workflow::{Key, annotated};
use routes::Wanted;
use timers::Timers;

/// What listens for events on behalf of active workflows.
pub struct Triggers {
    executor: Arc<Executor>,
    registry: Arc<Registry>,
    routes: ArcSwap<Routes>,
    timers: Timers,
    requests: LastRequests,
    /// Where this host is reached from outside: `https://weft.example.org`.
    public_url: String,
}

/// The annotation by which a schema says that a text of a trigger's config names a header field whose value is nobody's business.
const NAMES_HIDDEN_HEADER: &str = "x-weft-hidden-header";

/// What a trigger subscribed to.
pub struct Subscribed {
    /// Its routes.
    pub routes: Vec<HttpRoute>,
    /// What is committed when its revision becomes the active one: its timers in the place of those that there were, and what it did inside
    /// the host.
    pub changes: Vec<Change>,
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
    /// The store could not be read.
    #[error(transparent)]
    Executor(#[from] crate::executor::Error),
}

impl Triggers {
    /// Nothing is listened to yet. Starts by name go through these triggers from now on.
    pub fn new(executor: Arc<Executor>, registry: Arc<Registry>, public_url: String) -> Arc<Self> {
        let (routes, timers, requests) = (ArcSwap::default(), Timers::default(), LastRequests::default());
        let triggers = Arc::new(Self { executor: executor.clone(), registry, routes, timers, requests, public_url });
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

    /// The last requests to each workflow.
    pub fn requests(&self) -> &LastRequests {
        &self.requests
    }

    /// Listens to these routes from now on. Requests that are under way keep the old ones.
    pub fn listen(&self, routes: Routes) {
        self.routes.store(Arc::new(routes));
        self.try_held_timers();
    }

    /// The URL of a route.
    pub fn url_of(&self, route: &HttpRoute, workflow: &Key) -> String {
        format!("{}/hooks/{}", self.public_url, route.path(workflow))
    }

    /// Asks the trigger of a revision what to subscribe to.
    pub async fn subscribe(&self, program: &Program) -> Result<Subscribed, SubscribeError> {
        let runs_started = self.executor.store().runs_started(&program.plan.workflow).map_err(crate::executor::Error::from)?;
        let (call, secrets) = self.call(program, runs_started).map_err(SubscribeError::Failed)?;
        let instance = self.instance_of(program)?;
        let context = self.context(program, &call, secrets, None);
        let config = serde_json::from_str(&call.config).unwrap_or_default();
        let subscribed = async move { Ok::<_, CallError>(instance.await?.subscribe(&call, context).await) };
        let (answer, context) = self.registry.carry(&Pace::default(), subscribed).await?;
        let subscriptions = answer?.map_err(|failure| SubscribeError::Failed(failure.into()))?;
        if subscriptions.len() > SUBSCRIPTIONS_MAX {
            let what = format_args!("{} subscriptions; at most {SUBSCRIPTIONS_MAX}", subscriptions.len());
            return Err(SubscribeError::Failed(Failure::bad_answer(what)));
        }
        let plugin = self.registry.get(&program.trigger.digest);
        let kind = plugin.as_ref().and_then(|plugin| plugin.trigger(&program.trigger.name));
        let declared = kind.map(|kind| &kind.subscribes[..]);
        let named = kind.map(|kind| annotated(&kind.config_schema, &config, NAMES_HIDDEN_HEADER)).unwrap_or_default();
        let hidden_headers: Vec<String> = named.into_iter().map(|(.., name)| name.to_ascii_lowercase()).collect();
        let (mut routes, mut set) = (Vec::new(), Vec::new());
        for subscription in subscriptions {
            match routes::read(subscription, declared.unwrap_or_default()).map_err(SubscribeError::Failed)? {
                Wanted::Route(route) => routes.push(HttpRoute { hidden_headers: hidden_headers.clone(), ..route }),
                Wanted::Timer((id, at_ms, payload)) => {
                    set.push(Timer { id, at_ms, payload, revision: program.plan.revision });
                }
                Wanted::Call => {}
            }
        }
        let timers = TimerChange { drop_all: true, set, ..TimerChange::none(&program.plan.workflow) };
        let mut changes = vec![Change::Timers(Box::new(timers))];
        crate::executor::staged_changes(context.effects.staged, &[], &mut changes);
        Ok(Subscribed { routes, changes })
    }

    /// A fresh instance of a program's trigger, made when it is waited for.
    fn instance_of(
        &self,
        program: &Program,
    ) -> Result<impl Future<Output = Result<Instance, CallError>> + Send + use<>, CallError> {
        let plugin = self.registry.get(&program.trigger.digest);
        let plugin = plugin.ok_or_else(|| CallError::Host(format!("plugin {} is not installed", program.trigger.digest)))?;
        Ok(self.registry.fresh(&plugin))
    }

    /// What every call of a trigger is told, and the tokens in its config.
    fn call(&self, program: &Program, runs_started: u32) -> Result<(triggers::Call, Vec<SecretUse>), Failure> {
        let now_ms = self.executor.clock().now_ms();
        self.call_at(program, runs_started, now_ms, hex::encode(self.executor.clock().random()))
    }

    fn call_at(
        &self,
        program: &Program,
        runs_started: u32,
        now_ms: u64,
        idempotency_key: String,
    ) -> Result<(triggers::Call, Vec<SecretUse>), Failure> {
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
            idempotency_key,
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
