//! A revision made ready to run: its plan, and the plugin of each type.

use std::collections::HashMap;
use std::sync::Arc;

use super::scheduler::workflow_queue;
use crate::digest::Digest;
use crate::plugin::{Pace, Plugin, Registry};
use crate::store::{Pin, Revision};
use crate::workflow::{ON_FAILURE, Plan, Problem, Step, StepId};

/// A revision made ready to run.
pub struct Program {
    /// Its steps.
    pub plan: Plan,
    /// Its trigger.
    pub trigger: TriggerBinding,
    /// Whether its runs are waited for, and so cannot wait for times, signals or people.
    pub synchronous: bool,
    /// The queue of its runs, unless their trigger names another.
    pub queue: Arc<str>,
    /// The draft that it is, where it is none of the revisions.
    pub draft: Option<Digest>,
    /// Its plugins are missing: good for ending a run, and for nothing that calls a component.
    pub is_bare: bool,
    nodes: Vec<NodeBinding>,
}

/// The plugin that carries out a trigger.
pub struct TriggerBinding {
    /// The digest of the plugin's component.
    pub digest: Digest,
    /// The type's name within it.
    pub name: Box<str>,
    /// Whether a start by name goes through the trigger.
    pub is_callable: bool,
    /// How long its calls computed of late.
    pub pace: Pace,
}

/// The plugin that carries out a step.
#[derive(Clone)]
pub struct NodeBinding {
    /// The digest of the plugin's component.
    pub digest: Digest,
    /// The plugin's name, `vendor/name`.
    pub plugin: Arc<str>,
    /// The type's name within it.
    pub name: Box<str>,
    /// Whether it may look at its run's variables and steps.
    pub sees_run: bool,
    /// Whether it may ask for anything beyond its run.
    pub uses_services: bool,
    /// Whether a call that reached outside is not made again after a crash.
    pub at_most_once: bool,
    /// The keys of the branches that the step has.
    pub branches: Vec<Box<str>>,
    /// What it may wait for.
    pub waits: Vec<Box<str>>,
    /// How long its calls computed of late.
    pub pace: Pace,
}

/// Why a revision cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// A pinned plugin is not installed.
    #[error("`{0}` {1} ({2}) is not installed, and the revision is pinned to it")]
    MissingPlugin(String, semver::Version, Digest),
    /// A type has no pin, or its plugin lacks it.
    #[error("the revision does not say which plugin carries out `{0}`")]
    MissingPin(String),
    /// Its templates cannot be read.
    #[error("the revision's definition cannot be read: {}", .0.iter().map(|p| p.message.as_str()).collect::<Vec<_>>().join("; "))]
    Definition(Vec<Problem>),
    /// There is no such revision.
    #[error("there is no revision {1} of `{0}`")]
    Missing(String, u32),
    /// It could not be read.
    #[error(transparent)]
    Store(#[from] crate::store::Error),
}

impl Program {
    /// Puts together what a run needs. `nodes` are the steps', in the plan's order.
    pub fn new(plan: Plan, trigger: TriggerBinding, synchronous: bool, nodes: Vec<NodeBinding>) -> Self {
        let queue = workflow_queue(&plan.workflow);
        Self { plan, trigger, synchronous, queue, draft: None, is_bare: false, nodes }
    }

    /// Makes a revision ready.
    pub fn load(registry: &Registry, revision: &Revision) -> Result<Self, ProgramError> {
        let plugin = |pin: &Pin| {
            let missing = || ProgramError::MissingPlugin(pin.plugin.clone(), pin.version.clone(), pin.digest);
            registry.get(&pin.digest).ok_or_else(missing)
        };
        let pin = &revision.trigger_pin;
        let trigger_plugin = plugin(pin)?;
        let unpinned = || ProgramError::MissingPin(revision.definition.trigger.r#type.clone());
        let kind = trigger_plugin.trigger(&pin.name).ok_or_else(unpinned)?;
        let mut kinds: HashMap<&str, (Arc<Plugin>, &str)> = HashMap::new();
        for (type_name, pin) in &revision.node_pins {
            kinds.insert(type_name, (plugin(pin)?, &pin.name));
        }
        let schema = |step: &Step| {
            let (plugin, name) = kinds.get(step.r#type.as_str())?;
            Some(&plugin.node(name)?.config_schema)
        };
        let plan = Plan::with_schemas(&revision.definition, revision.number, Some(&kind.config_schema), &schema);
        let plan = plan.map_err(ProgramError::Definition)?;
        let synchronous = kind.is_synchronous(&revision.definition.trigger.config);
        let is_callable = kind.subscribes.iter().any(|name| name == "callable");
        let trigger = TriggerBinding { digest: pin.digest, name: pin.name.as_str().into(), is_callable, pace: Pace::default() };

        let mut nodes = Vec::new();
        let mut missing = None;
        revision.definition.each_step(|step, _, _| {
            let unpinned = || ProgramError::MissingPin(step.r#type.clone());
            match kinds.get(step.r#type.as_str()).and_then(|(plugin, name)| NodeBinding::of(plugin, name, step)) {
                Some(binding) => nodes.push(binding),
                None => missing = missing.take().or_else(|| Some(unpinned())),
            }
        });
        match missing {
            Some(error) => Err(error),
            None => Ok(Self::new(plan, trigger, synchronous, nodes)),
        }
    }

    /// Whether a plugin carries out one of its steps.
    pub fn uses(&self, plugin: &Digest) -> bool {
        self.nodes.iter().any(|node| node.digest == *plugin)
    }

    /// A revision without its plugins.
    pub fn bare(revision: &Revision) -> Result<Self, ProgramError> {
        let plan = Plan::new(&revision.definition, revision.number).map_err(ProgramError::Definition)?;
        let pin = &revision.trigger_pin;
        let trigger =
            TriggerBinding { digest: pin.digest, name: pin.name.as_str().into(), is_callable: false, pace: Pace::default() };
        let mut nodes = Vec::new();
        revision.definition.each_step(|step, _, _| nodes.push(NodeBinding::missing(revision.node_pins.get(&step.r#type))));
        Ok(Self { is_bare: true, ..Self::new(plan, trigger, false, nodes) })
    }

    /// Whether a plugin carries out its trigger or one of its steps.
    pub fn is_pinned_to(&self, plugin: &Digest) -> bool {
        self.trigger.digest == *plugin || self.nodes.iter().any(|node| node.digest == *plugin)
    }

    /// What carries out a step.
    pub fn node(&self, step: StepId) -> &NodeBinding {
        &self.nodes[step.index()]
    }
}

impl NodeBinding {
    /// The same type of another version of its plugin; none: that does not have it.
    pub(super) fn with(&self, version: &Plugin) -> Option<Self> {
        let kind = version.node(&self.name)?;
        Some(Self {
            digest: version.digest,
            sees_run: version.sees_run,
            uses_services: version.uses_services,
            waits: kind.waits.iter().map(|wait| wait.as_str().into()).collect(),
            ..self.clone()
        })
    }

    /// What stands for a plugin that is missing.
    fn missing(pin: Option<&Pin>) -> Self {
        Self {
            digest: pin.map_or_else(|| Digest::of(b""), |pin| pin.digest),
            plugin: pin.map(|pin| pin.plugin.as_str()).unwrap_or_default().into(),
            name: pin.map(|pin| pin.name.as_str()).unwrap_or_default().into(),
            sees_run: false,
            uses_services: false,
            at_most_once: false,
            branches: Vec::new(),
            waits: Vec::new(),
            pace: Pace::default(),
        }
    }

    /// The binding of a step to a type of a plugin; none: the plugin has no such type.
    fn of(plugin: &Plugin, name: &str, step: &Step) -> Option<Self> {
        let kind = plugin.node(name)?;
        Some(Self {
            digest: plugin.digest,
            plugin: plugin.description.name.as_str().into(),
            name: name.into(),
            sees_run: plugin.sees_run,
            uses_services: plugin.uses_services,
            at_most_once: kind.at_most_once || step.repeat.is_some(),
            branches: kind.branch_keys(&step.config).filter(|key| *key != ON_FAILURE).map(Into::into).collect(),
            waits: kind.waits.iter().map(|wait| wait.as_str().into()).collect(),
            pace: Pace::default(),
        })
    }
}
