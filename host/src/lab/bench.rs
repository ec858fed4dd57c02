//! A component ready to be called, with nothing around it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::case::{Case, CaseError};
use super::trial::Trial;
use crate::capability;
use crate::plugin::{
    Cache, CallError, Compiler, Engine, ExamineError, Factory, Grants, HttpGrant, Instance, OWN_PROGRAM, Plugin, Registry,
};

/// A component ready to be called.
pub struct Bench {
    registry: Arc<Registry>,
    plugin: Arc<Plugin>,
    /// Servers that requests may really be sent to.
    pub(super) allowed: Vec<HttpGrant>,
    /// How long it took to make it ready, compiling included, in milliseconds.
    pub loaded_ms: u64,
    _scratch: Scratch,
}

/// Why there is nothing to call.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is no plugin for this host.
    #[error(transparent)]
    Examine(#[from] ExamineError),
    /// This machine cannot run any.
    #[error("no plugin can be run here: {0}")]
    Machine(String),
}

impl Bench {
    /// Compiles a component and asks it who it is, as a host does when a plugin is added.
    pub async fn load(bytes: Arc<[u8]>) -> Result<Self, LoadError> {
        Self::load_by(Compiler::children_of(OWN_PROGRAM), bytes).await
    }

    /// The same with another compiler: a program that is not `weft` would start itself again and again.
    pub async fn load_by(compiler: Compiler, bytes: Arc<[u8]>) -> Result<Self, LoadError> {
        let machine = |error: &dyn std::fmt::Display| LoadError::Machine(error.to_string());
        let engine = Engine::start().map_err(|error| machine(&error))?;
        let scratch = Scratch::make().map_err(|error| machine(&error))?;
        // What is compiled here is used here and then deleted: nobody else needs to know the key.
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| machine(&error))?;
        let cache = Cache::open(&scratch.0, key, &engine).map_err(|error| machine(&error))?;
        let factory = Factory::new(engine, capability::link).map_err(|error| machine(&error))?;
        let registry = Arc::new(Registry::new(factory, compiler, cache));
        let began = Instant::now();
        let plugin = registry.examine(bytes).await?;
        let loaded_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let plugin = registry.add(plugin);
        Ok(Self { registry, plugin, allowed: Vec::new(), loaded_ms, _scratch: scratch })
    }

    /// Lets requests to these servers be sent for real, where a case gives no answers.
    pub fn allow_http(&mut self, servers: Vec<HttpGrant>) {
        self.allowed = servers;
    }

    /// The plugin.
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// Carries out a case: a node from `execute` to its end, a trigger from `subscribe` to `settle`.
    pub async fn run(&self, case: &Case) -> Result<Trial, CaseError> {
        self.run_in(&mut self.instance().await?, case).await
    }

    /// The same in an instance that may have been called before, as a run's next step is.
    pub async fn run_in(&self, instance: &mut Instance, case: &Case) -> Result<Trial, CaseError> {
        let description = &self.plugin.description;
        match (&case.node, &case.trigger) {
            (None, None) => match (&description.nodes[..], &description.triggers[..]) {
                ([node], []) => self.run_step(instance, case, &node.name).await,
                ([], [trigger]) => self.run_start(instance, case, &trigger.name).await,
                _ => Err(CaseError::Which(self.types())),
            },
            (Some(node), None) => self.run_step(instance, case, node).await,
            (None, Some(trigger)) => self.run_start(instance, case, trigger).await,
            _ => Err(CaseError::Which(self.types())),
        }
    }

    /// A fresh instance.
    pub async fn instance(&self) -> Result<Instance, CallError> {
        self.registry.instantiate(&self.plugin).await
    }

    /// What the plugin may do here: everything that stays in memory, and requests as far as they are allowed.
    pub(super) fn grants(&self) -> Arc<Grants> {
        let mut grants = Grants::everything();
        if !self.allowed.is_empty() {
            grants.http.clone_from(&self.allowed);
        }
        Arc::new(grants)
    }

    /// The plugin's types, for a message.
    fn types(&self) -> String {
        let description = &self.plugin.description;
        let nodes = description.nodes.iter().map(|node| format!("--node {}", node.name));
        let triggers = description.triggers.iter().map(|trigger| format!("--trigger {}", trigger.name));
        nodes.chain(triggers).collect::<Vec<_>>().join(", ")
    }
}

/// A folder for as long as it is needed.
struct Scratch(PathBuf);

impl Scratch {
    fn make() -> std::io::Result<Self> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(std::io::Error::other)?;
        let folder: &Path = &std::env::temp_dir().join(format!("weft-lab-{}", hex::encode(random)));
        std::fs::create_dir(folder)?;
        Ok(Self(folder.to_owned()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
