//! What carries out steps.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either, ready};

use super::program::NodeBinding;
use crate::digest::Digest;
use crate::plugin::exports::nodes;
use crate::plugin::{CallContext, Grants, Instance, Registry};
use crate::run::{Event, Failure, Outcome, Usage};
use crate::workflow::Json;

/// One call of a step's component.
pub struct NodeCall {
    /// What the component is told.
    pub call: nodes::Call,
    /// The state that it kept and the event, for all calls but an activation's first.
    pub event: Option<(Json, Event)>,
    /// What it may use.
    pub context: CallContext,
    /// An instance that this run has already.
    pub instance: Option<Instance>,
    /// How long it may take, in milliseconds.
    pub limit_ms: u64,
}

/// What came of a call.
pub struct NodeAnswer {
    /// The component's answer, or the failure that stands for none.
    pub outcome: Result<Outcome, Failure>,
    /// Whether there was no answer: the component broke off, or was stopped.
    pub is_broken: bool,
    /// What it used and did.
    pub context: CallContext,
    /// Fit for the next call of this run.
    pub instance: Option<Instance>,
}

/// Calls components.
pub trait Components: Send + Sync {
    /// Makes one call.
    fn call<'a>(&'a self, binding: &'a NodeBinding, call: NodeCall) -> BoxFuture<'a, NodeAnswer>;

    /// Whether a fresh instance would have to be waited for.
    fn is_crowded(&self) -> bool;

    /// What an operator lets a plugin do, now.
    fn grants(&self, plugin: &Digest) -> Arc<Grants>;

    /// Whether what the host answers a plugin's calls is kept for replays.
    fn is_recorded(&self, plugin: &Digest) -> bool;

    /// Whether a plugin is in quarantine.
    fn is_quarantined(&self, plugin: &Digest) -> bool;

    /// Counts what a plugin took outside of its calls.
    fn took(&self, plugin: &Digest, used: &Usage);
}

impl Components for Registry {
    fn call<'a>(&'a self, binding: &'a NodeBinding, call: NodeCall) -> BoxFuture<'a, NodeAnswer> {
        let NodeCall { call, event, mut context, instance, limit_ms } = call;
        let Some(plugin) = self.get(&binding.digest) else {
            let message = format!("`{}` ({}) is not installed", binding.plugin, binding.digest);
            let outcome = Err(Failure::error("plugin-missing", message));
            return Box::pin(ready(NodeAnswer { outcome, is_broken: true, context, instance: None }));
        };
        if let Err(failure) = plugin.admit() {
            return Box::pin(ready(NodeAnswer { outcome: Err(failure), is_broken: false, context, instance }));
        }
        context.grants = plugin.grants();
        let instance = match instance {
            Some(instance) => Either::Left(ready(Ok(instance))),
            None => Either::Right(self.fresh(&plugin)),
        };
        let called = self.carry(&binding.pace, async move {
            match instance.await {
                Err(error) => NodeAnswer { outcome: Err(error.into()), is_broken: true, context, instance: None },
                Ok(mut instance) => match instance.call_node(call, event, context, limit_ms).await {
                    (Ok(outcome), context) => NodeAnswer { outcome, is_broken: false, context, instance: Some(instance) },
                    // An instance that broke is gone.
                    (Err(error), context) => NodeAnswer { outcome: Err(error.into()), is_broken: true, context, instance: None },
                },
            }
        });
        Box::pin(called.inspect(|answer| binding.pace.took(answer.context.used.cpu_us)))
    }

    fn is_crowded(&self) -> bool {
        Registry::is_crowded(self)
    }

    fn grants(&self, plugin: &Digest) -> Arc<Grants> {
        self.get(plugin).map(|plugin| plugin.grants()).unwrap_or_default()
    }

    fn is_recorded(&self, plugin: &Digest) -> bool {
        self.get(plugin).is_some_and(|plugin| plugin.is_recorded())
    }

    fn is_quarantined(&self, plugin: &Digest) -> bool {
        self.get(plugin).is_some_and(|plugin| plugin.is_quarantined())
    }

    fn took(&self, plugin: &Digest, used: &Usage) {
        if let Some(plugin) = self.get(plugin) {
            plugin.took(used);
        }
    }
}
