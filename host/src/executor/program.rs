//! A revision made ready to run: its plan, and the plugin of each type.

use std::sync::Arc;

use crate::plugin::{Plugin, Registry};
use crate::store::{Pin, Revision};
use crate::workflow::{Plan, Problem, StepId};

/// A revision made ready to run.
pub struct Program {
    /// Its steps.
    pub plan: Plan,
    /// Its trigger.
    pub trigger: TriggerBinding,
    /// Whether its runs are waited for, and so cannot wait for times, signals or people.
    pub synchronous: bool,
    nodes: Vec<NodeBinding>,
}

/// The plugin that carries out a trigger.
pub struct TriggerBinding {
    /// The plugin.
    pub plugin: Arc<Plugin>,
    /// The type's name within it.
    pub name: Box<str>,
}

/// The plugin that carries out a step.
pub struct NodeBinding {
    /// The plugin.
    pub plugin: Arc<Plugin>,
    /// The type's name within it.
    pub name: Box<str>,
    /// The keys of the branches that the step has.
    pub branches: Vec<Box<str>>,
}

/// Why a revision cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// A pinned plugin is not installed.
    #[error("`{0}` {1} ({2}) is not installed, and the revision is pinned to it")]
    MissingPlugin(String, semver::Version, crate::digest::Digest),
    /// A type has no pin, or its plugin lacks it.
    #[error("the revision does not say which plugin carries out `{0}`")]
    MissingPin(String),
    /// Its templates cannot be read.
    #[error("the revision's definition cannot be read: {}", .0.iter().map(|p| p.message.as_str()).collect::<Vec<_>>().join("; "))]
    Definition(Vec<Problem>),
}

impl Program {
    /// Makes a revision ready.
    pub fn load(registry: &Registry, revision: &Revision) -> Result<Self, ProgramError> {
        let plan = Plan::new(&revision.definition, revision.number).map_err(ProgramError::Definition)?;
        let plugin = |pin: &Pin| {
            let missing = || ProgramError::MissingPlugin(pin.plugin.clone(), pin.version.clone(), pin.digest);
            registry.get(&pin.digest).ok_or_else(missing)
        };
        let pin = &revision.trigger_pin;
        let trigger = TriggerBinding { plugin: plugin(pin)?, name: pin.name.as_str().into() };
        let kind = trigger.plugin.trigger(&pin.name).ok_or_else(|| ProgramError::MissingPin(plan.trigger_type.to_string()))?;
        let synchronous = kind.is_synchronous(&revision.definition.trigger.config);

        let mut nodes = Vec::new();
        let mut missing = None;
        revision.definition.each_step(|step, _, _| {
            let unpinned = || ProgramError::MissingPin(step.r#type.clone());
            let bound = revision.node_pins.get(&step.r#type).ok_or_else(unpinned).and_then(|pin| {
                let plugin = plugin(pin)?;
                let kind = plugin.node(&pin.name).ok_or_else(unpinned)?;
                let branches = kind.branch_keys(&step.config).map(Into::into).collect();
                Ok(NodeBinding { name: pin.name.as_str().into(), branches, plugin })
            });
            match bound {
                Ok(binding) => nodes.push(binding),
                Err(error) => missing = missing.take().or(Some(error)),
            }
        });
        match missing {
            Some(error) => Err(error),
            None => Ok(Self { plan, trigger, synchronous, nodes }),
        }
    }

    /// What carries out a step.
    pub fn node(&self, step: StepId) -> &NodeBinding {
        &self.nodes[step.index()]
    }
}
