//! From the exports of a component to the types that carry them out.

use std::marker::PhantomData;

use serde_json::Value;

use crate::answer::Problem;
use crate::bindings::exports::weft::plugin::{info, nodes, triggers};
use crate::bindings::weft::plugin::types::{Failure, Status};
use crate::node::{Answer, Call, Event, Node, NodeType, State};
use crate::trigger::{FinishedRun, Reaction, Settlement, Subscription, Trigger, TriggerCall, TriggerEvent, TriggerType};
use crate::{config, schema};

/// What `plugin!` says of a component.
pub trait Plugin {
    /// Its node types.
    const NODES: &'static [NodeEntry];
    /// Its trigger types.
    const TRIGGERS: &'static [TriggerEntry];
    /// `vendor/name`.
    const NAME: &'static str;
    /// For people; empty: made from the name.
    const TITLE: &'static str;
    /// Semantic version.
    const VERSION: &'static str;
    /// What it is for.
    const SUMMARY: &'static str;
    /// SPDX expression, or empty.
    const LICENSE: &'static str;
    /// URL, or empty.
    const HOMEPAGE: &'static str;
}

/// A node type of a component, without its Rust type.
pub struct NodeEntry {
    name: &'static str,
    describe: fn() -> NodeType,
    check: fn(&Value) -> Vec<Problem>,
    execute: fn(&Call) -> Answer,
    resume: fn(&Call, State, Event) -> Answer,
}

impl NodeEntry {
    /// The entry of a type.
    pub const fn of<N: Node>() -> Self {
        Self {
            name: N::NAME,
            describe: N::node_type,
            check: N::check,
            execute: |call| config::read::<N>(&call.config, "")?.execute(call),
            resume: |call, state, event| config::read::<N>(&call.config, "")?.resume(call, state, event),
        }
    }
}

/// A trigger type of a component, without its Rust type.
pub struct TriggerEntry {
    name: &'static str,
    describe: fn() -> TriggerType,
    check: fn(&Value) -> Vec<Problem>,
    subscribe: fn(&TriggerCall) -> Result<Vec<Subscription>, Failure>,
    unsubscribe: fn(&TriggerCall) -> Result<(), Failure>,
    fire: fn(&TriggerCall, TriggerEvent) -> Result<Reaction, Failure>,
    settle: fn(&TriggerCall, FinishedRun) -> Result<Settlement, Failure>,
}

impl TriggerEntry {
    /// The entry of a type.
    pub const fn of<T: Trigger>() -> Self {
        Self {
            name: T::NAME,
            describe: T::trigger_type,
            check: T::check,
            subscribe: |call| config::read::<T>(&call.config, "")?.subscribe(call),
            unsubscribe: |call| config::read::<T>(&call.config, "")?.unsubscribe(call),
            fire: |call, event| config::read::<T>(&call.config, "")?.fire(call, event),
            settle: |call, run| config::read::<T>(&call.config, "")?.settle(call, run),
        }
    }
}

/// Carries out the exports of the contract for a plugin.
pub struct Exports<P>(PhantomData<P>);

impl<P: Plugin> Exports<P> {
    fn node(name: &str) -> Result<&'static NodeEntry, Failure> {
        P::NODES.iter().find(|entry| entry.name == name).ok_or_else(|| unknown(name))
    }

    fn trigger(name: &str) -> Result<&'static TriggerEntry, Failure> {
        P::TRIGGERS.iter().find(|entry| entry.name == name).ok_or_else(|| unknown(name))
    }
}

fn unknown(name: &str) -> Failure {
    Failure::new("unknown-type", format!("this plugin has no type `{name}`")).status(Status::Error)
}

fn checked(check: fn(&Value) -> Vec<Problem>, config: &str) -> Vec<Problem> {
    match serde_json::from_str(config) {
        Ok(config) => check(&config),
        Err(error) => vec![Problem::new("", format!("not JSON: {error}"))],
    }
}

impl<P: Plugin> info::Guest for Exports<P> {
    fn describe() -> info::PluginInfo {
        let present = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        info::PluginInfo {
            name: P::NAME.into(),
            version: P::VERSION.into(),
            title: present(P::TITLE).unwrap_or_else(|| schema::title(P::NAME)),
            summary: P::SUMMARY.into(),
            license: present(P::LICENSE),
            homepage: present(P::HOMEPAGE),
            more: None,
        }
    }
}

impl<P: Plugin> nodes::Guest for Exports<P> {
    fn node_types() -> Vec<nodes::NodeType> {
        P::NODES.iter().map(|entry| (entry.describe)().0).collect()
    }

    fn check(node: String, config: String) -> Vec<Problem> {
        Self::node(&node).map_or_else(|failure| vec![Problem::new("", failure.message)], |entry| checked(entry.check, &config))
    }

    fn execute(call: Call) -> Answer {
        (Self::node(&call.node)?.execute)(&call)
    }

    fn resume(call: Call, state: String, event: Event) -> Answer {
        (Self::node(&call.node)?.resume)(&call, State(state), event)
    }
}

impl<P: Plugin> triggers::Guest for Exports<P> {
    fn trigger_types() -> Vec<triggers::TriggerType> {
        P::TRIGGERS.iter().map(|entry| (entry.describe)().0).collect()
    }

    fn check(trigger: String, config: String) -> Vec<Problem> {
        Self::trigger(&trigger)
            .map_or_else(|failure| vec![Problem::new("", failure.message)], |entry| checked(entry.check, &config))
    }

    fn subscribe(call: TriggerCall) -> Result<Vec<Subscription>, Failure> {
        (Self::trigger(&call.trigger)?.subscribe)(&call)
    }

    fn unsubscribe(call: TriggerCall) -> Result<(), Failure> {
        (Self::trigger(&call.trigger)?.unsubscribe)(&call)
    }

    fn fire(call: TriggerCall, event: TriggerEvent) -> Result<Reaction, Failure> {
        (Self::trigger(&call.trigger)?.fire)(&call, event)
    }

    fn settle(call: TriggerCall, run: FinishedRun) -> Result<Settlement, Failure> {
        (Self::trigger(&call.trigger)?.settle)(&call, run)
    }
}
