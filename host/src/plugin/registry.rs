//! Which plugins there are, and which of them carries out a type.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use semver::{Version, VersionReq};

use super::background::Pace;
use super::cache::Cache;
use super::compiler::{CompileError, Compiler};
use super::description::{Description, NodeType, TriggerType};
use super::effort::weigh;
use super::grants::Grants;
use super::inspect::{CONTRACT, Facts, Refusal, admit, inspect};
use super::instance::{CallError, Factory, Instance, Loaded};
use super::limits::CallLimits;
use super::meter::{Reading, Totals};
use crate::digest::Digest;
use crate::run::{Failure, Usage};
use crate::workflow::{Schema, TypeRef};

/// The vendor of the built-in plugins, whose types may be named by their short names.
pub const BUILT_IN_VENDOR: &str = "weft";

/// A plugin that can be called.
pub struct Plugin {
    /// The digest of its component.
    pub digest: Digest,
    /// What it says of itself.
    pub description: Description,
    /// What its component imports and exports.
    pub facts: Facts,
    /// Whether it may look at its run's variables and steps.
    pub sees_run: bool,
    /// Whether it may ask for anything beyond its run.
    pub uses_services: bool,
    /// What an operator lets it do.
    grants: ArcSwap<Grants>,
    /// So many calls must come out the same before it takes over from another version, or another from it; 0: that is not required.
    required_replay: AtomicU32,
    loaded: Arc<Loaded>,
}

/// Why a file could not become a plugin.
#[derive(Debug, thiserror::Error)]
pub enum ExamineError {
    /// It is no plugin for this host.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It does not compile.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Its imports or exports have other types than the contract's.
    #[error("the component does not fit the contract: {0}")]
    Link(String),
    /// It broke when it was asked who it is.
    #[error("the plugin could not say who it is: {0}")]
    Describe(#[from] CallError),
    /// What it says of itself is wrong.
    #[error("what the plugin says of itself is wrong: {}", .0.join("; "))]
    Description(Vec<String>),
}

impl ExamineError {
    /// A stable word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(Refusal::TooComplex(_)) => "plugin-too-complex",
            Self::Compile(error) => error.code(),
            _ => "plugin-refused",
        }
    }
}

/// Why no plugin carries out a type.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// No plugin has it.
    #[error("there is no {kind} type `{name}`{hint}")]
    Unknown {
        /// `node` or `trigger`.
        kind: &'static str,
        /// As the definition names it.
        name: String,
        /// What may have been meant, or nothing.
        hint: String,
    },
    /// A plugin has it, but in no version that will do.
    #[error("no installed version of `{plugin}` satisfies `{requirement}`; installed: {installed}")]
    Version {
        /// `vendor/name`.
        plugin: String,
        /// What is asked for.
        requirement: VersionReq,
        /// What there is.
        installed: String,
    },
}

/// Whether a type starts runs or is a step of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A step.
    Node,
    /// A start.
    Trigger,
}

impl Kind {
    /// The word of messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Trigger => "trigger",
        }
    }
}

impl Plugin {
    fn new(digest: Digest, description: Description, facts: Facts, loaded: Arc<Loaded>) -> Self {
        let sees_run = facts.uses("variables") || facts.uses("run");
        let uses_services = ["http", "kv", "files", "workflows", "progress"].iter().any(|interface| facts.uses(interface))
            || facts.uses_wasi("http");
        let vendor = description.name.split('/').next();
        let grants = if vendor == Some(BUILT_IN_VENDOR) { Grants::everything() } else { Grants::default() };
        Self {
            digest,
            description,
            facts,
            sees_run,
            uses_services,
            grants: ArcSwap::from_pointee(grants),
            required_replay: AtomicU32::new(0),
            loaded,
        }
    }

    /// What an operator lets it do, now.
    pub fn grants(&self) -> Arc<Grants> {
        self.grants.load_full()
    }

    /// Lets it do this from now on, and nothing else. Calls that go on keep what they had.
    pub fn grant(&self, grants: Grants) {
        self.grants.store(Arc::new(grants));
    }

    /// How many of the last calls must come out the same before one of its versions takes over from another, if that is required.
    pub fn required_replay(&self) -> Option<u32> {
        Some(self.required_replay.load(Ordering::Relaxed)).filter(|last| *last > 0)
    }

    /// Requires that from now on, or nothing.
    pub fn require_replay(&self, last: Option<u32>) {
        self.required_replay.store(last.unwrap_or(0), Ordering::Relaxed);
    }

    /// Whether what the host answers its calls is kept for replays: that is asked for, or a replay is required.
    pub fn is_recorded(&self) -> bool {
        self.grants.load().record || self.required_replay().is_some()
    }

    /// Whether it may be called now; a failure: it has had what its budgets give.
    pub fn admit(&self) -> Result<(), Failure> {
        self.loaded.meter.admit(&self.grants.load().limits)
    }

    /// Whether it is in quarantine: no run calls it.
    pub fn is_quarantined(&self) -> bool {
        self.loaded.health.is_quarantined()
    }

    /// Why it is in quarantine; none: it is not.
    pub fn quarantine_reason(&self) -> Option<Arc<String>> {
        self.loaded.health.reason()
    }

    /// Puts it in quarantine, for this reason.
    pub fn quarantine(&self, reason: String) {
        self.loaded.health.quarantine(reason);
    }

    /// Lets it out of quarantine, and counts its breaks anew.
    pub fn release(&self) {
        self.loaded.health.release();
    }

    /// What it has taken.
    pub fn totals(&self) -> Totals {
        self.loaded.meter.totals()
    }

    /// What it has taken, to be kept over restarts; none: nothing since that was last [kept](Self::kept). `now_ms`: milliseconds since 1970.
    pub fn unkept(&self, now_ms: u64) -> Option<Reading> {
        self.loaded.meter.unkept(now_ms, Instant::now())
    }

    /// What it has taken is kept.
    pub fn kept(&self, reading: Reading) {
        self.loaded.meter.kept(reading);
    }

    /// Goes on with what it had taken when that was kept. For a plugin that was not called yet.
    pub fn go_on(&self, kept: Reading, now_ms: u64) {
        self.loaded.meter.go_on(kept, now_ms, Instant::now());
    }

    /// Counts what it took outside of its calls.
    pub fn took(&self, used: &Usage) {
        self.loaded.meter.took(used, &self.grants.load().limits);
    }

    /// A node type of this plugin.
    pub fn node(&self, name: &str) -> Option<&NodeType> {
        self.description.nodes.iter().find(|node| node.name == name)
    }

    /// A trigger type of this plugin.
    pub fn trigger(&self, name: &str) -> Option<&TriggerType> {
        self.description.triggers.iter().find(|trigger| trigger.name == name)
    }

    /// The schema of a type's config, as the plugin gives it.
    pub fn config_schema(&self, kind: Kind, name: &str) -> Option<&serde_json::Value> {
        Some(match kind {
            Kind::Node => &self.node(name)?.config_schema,
            Kind::Trigger => &self.trigger(name)?.config_schema,
        })
    }

    /// The same, made ready to check configs.
    pub fn schema(&self, kind: Kind, name: &str) -> Option<Schema> {
        Schema::parse(self.config_schema(kind, name)?).ok()
    }

    /// Whether it has a type.
    pub fn has(&self, kind: Kind, name: &str) -> bool {
        match kind {
            Kind::Node => self.node(name).is_some(),
            Kind::Trigger => self.trigger(name).is_some(),
        }
    }
}

/// The plugins of a host. Reading never waits; what is added is seen by the next call.
pub struct Registry {
    factory: Arc<Factory>,
    compiler: Compiler,
    cache: Cache,
    installed: ArcSwap<Installed>,
    adding: Mutex<()>,
}

#[derive(Clone, Default)]
struct Installed {
    by_digest: HashMap<Digest, Arc<Plugin>>,
    releases: BTreeMap<String, BTreeMap<Version, Digest>>,
}

impl Registry {
    /// A registry without plugins.
    pub fn new(factory: Factory, compiler: Compiler, cache: Cache) -> Self {
        Self { factory: Arc::new(factory), compiler, cache, installed: ArcSwap::default(), adding: Mutex::new(()) }
    }

    /// Finds out whether a file is a plugin for this host, and which. Nothing is added.
    pub async fn examine(self: &Arc<Self>, bytes: Arc<[u8]>) -> Result<Plugin, ExamineError> {
        let (digest, facts, loaded) = self.load(bytes).await?;
        let loaded = Arc::new(loaded);
        let instance = self.instance(loaded.clone(), CallLimits::default());
        let described = self.carry(&Pace::default(), async move { instance.await?.describe().await }).await?;
        let description = described.map_err(|problem| ExamineError::Description(vec![problem]))?;
        // Its schemas are made ready, each of them.
        let description = aside(move || match description.problems() {
            problems if problems.is_empty() => Ok(description),
            problems => Err(ExamineError::Description(problems)),
        })
        .await?;
        Ok(Plugin::new(digest, description, facts, loaded))
    }

    /// Makes a plugin callable again that was examined before.
    pub async fn restore(self: &Arc<Self>, bytes: Arc<[u8]>, description: Description) -> Result<Plugin, ExamineError> {
        let (digest, facts, loaded) = self.load(bytes).await?;
        Ok(Plugin::new(digest, description, facts, Arc::new(loaded)))
    }

    async fn load(self: &Arc<Self>, bytes: Arc<[u8]>) -> Result<(Digest, Facts, Loaded), ExamineError> {
        let (registry, wasm) = (self.clone(), bytes.clone());
        let (digest, facts, found) = aside(move || {
            let facts = inspect(&wasm)?;
            admit(&facts)?;
            let digest = Digest::of(&wasm);
            let found = registry.cache.load(registry.factory.engine(), &digest);
            if found.is_none() {
                weigh(&wasm)?;
            }
            Ok((digest, facts, found))
        })
        .await?;
        let component = match found {
            Some(component) => component,
            None => {
                let (registry, compiled) = (self.clone(), self.compiler.compile(bytes).await?);
                aside(move || {
                    let kept = registry.cache.keep(registry.factory.engine(), &digest, compiled);
                    Ok(kept.map_err(|error| CompileError::Invalid(format!("{error:#}")))?)
                })
                .await?
            }
        };
        let registry = self.clone();
        aside(move || {
            let loaded = registry.factory.load(digest, &component).map_err(|error| misfit(&facts, &error))?;
            Ok((digest, facts, loaded))
        })
        .await
    }

    /// Adds a plugin; from now on it is found.
    pub fn add(&self, plugin: Plugin) -> Arc<Plugin> {
        self.put_back(Arc::new(plugin))
    }

    /// Adds a plugin again that was taken out.
    pub fn put_back(&self, plugin: Arc<Plugin>) -> Arc<Plugin> {
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let mut installed = Installed::clone(&self.installed.load());
        let Description { name, version, .. } = &plugin.description;
        installed.releases.entry(name.clone()).or_default().insert(version.clone(), plugin.digest);
        installed.by_digest.insert(plugin.digest, plugin.clone());
        self.installed.store(Arc::new(installed));
        plugin
    }

    /// Takes a plugin out: it is not found any more. What is mapped of it goes when its last call has come back.
    pub fn take_out(&self, digest: &Digest) -> Option<Arc<Plugin>> {
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let mut installed = Installed::clone(&self.installed.load());
        let plugin = installed.by_digest.remove(digest)?;
        for versions in installed.releases.values_mut() {
            versions.retain(|_, release| release != digest);
        }
        installed.releases.retain(|_, versions| !versions.is_empty());
        self.installed.store(Arc::new(installed));
        Some(plugin)
    }

    /// Removes what was compiled of a component. It is compiled again where it is needed.
    pub fn forget_compiled(&self, digest: &Digest) {
        self.cache.remove(digest);
    }

    /// The plugin with a digest.
    pub fn get(&self, digest: &Digest) -> Option<Arc<Plugin>> {
        self.installed.load().by_digest.get(digest).cloned()
    }

    /// The plugin with a name and a version.
    pub fn release(&self, name: &str, version: &Version) -> Option<Arc<Plugin>> {
        let installed = self.installed.load();
        installed.by_digest.get(installed.releases.get(name)?.get(version)?).cloned()
    }

    /// Every installed version of every plugin, by name and version.
    pub fn list(&self) -> Vec<Arc<Plugin>> {
        let installed = self.installed.load();
        let digests = installed.releases.values().flat_map(BTreeMap::values);
        digests.filter_map(|digest| installed.by_digest.get(digest).cloned()).collect()
    }

    /// The plugin that carries out a type: the newest release that satisfies the requirement, else the newest
    /// pre-release that it names.
    pub fn resolve(&self, kind: Kind, reference: &TypeRef) -> Result<Arc<Plugin>, ResolveError> {
        let installed = self.installed.load();
        let newest = |digests: &BTreeMap<Version, Digest>| {
            let satisfies = |version: &Version| match &reference.requirement {
                Some(requirement) => requirement.matches(version),
                None => version.pre.is_empty(),
            };
            digests.iter().rev().find(|(version, _)| satisfies(version)).map(|(_, digest)| *digest)
        };
        let mut candidates = installed.releases.iter().filter(|(name, _)| match &reference.plugin {
            Some(plugin) => *name == plugin,
            None => name.split_once('/').is_some_and(|(vendor, _)| vendor == BUILT_IN_VENDOR),
        });
        let mut too_old = None;
        let found = candidates.find_map(|(name, digests)| {
            let has = |digest: &Digest| installed.by_digest.get(digest).filter(|plugin| plugin.has(kind, &reference.name));
            match newest(digests) {
                Some(digest) => has(&digest).cloned(),
                None => {
                    if digests.values().any(|digest| has(digest).is_some()) || reference.plugin.is_some() {
                        too_old = Some((name.clone(), digests.keys().map(Version::to_string).collect::<Vec<_>>().join(", ")));
                    }
                    None
                }
            }
        });
        match (found, too_old, &reference.requirement) {
            (Some(plugin), ..) => Ok(plugin),
            (None, Some((plugin, installed)), requirement) => {
                let requirement = requirement.clone().unwrap_or(VersionReq::STAR);
                Err(ResolveError::Version { plugin, requirement, installed })
            }
            (None, None, _) => Err(ResolveError::Unknown {
                kind: kind.as_str(),
                name: reference.to_string(),
                hint: installed.hint(kind, reference),
            }),
        }
    }

    /// Waits until another plugin is put in quarantine.
    pub async fn quarantined(&self) {
        self.factory.quarantined().notified().await;
    }

    /// Whether a fresh instance would have to be waited for.
    pub fn is_crowded(&self) -> bool {
        self.factory.is_crowded()
    }

    /// A fresh instance of a plugin.
    pub async fn instantiate(&self, plugin: &Plugin) -> Result<Instance, CallError> {
        self.carry(&Pace::default(), self.fresh(plugin)).await
    }

    /// The same, made when it is waited for: within [`Registry::carry`].
    pub fn fresh(&self, plugin: &Plugin) -> impl Future<Output = Result<Instance, CallError>> + Send + use<> {
        self.instance(plugin.loaded.clone(), plugin.grants.load().limits.of_call())
    }

    fn instance(
        &self,
        loaded: Arc<Loaded>,
        limits: CallLimits,
    ) -> impl Future<Output = Result<Instance, CallError>> + Send + use<> {
        let factory = self.factory.clone();
        async move { factory.instantiate(&loaded, limits).await }
    }

    /// Carries out calls of instances. Where one computes for long it goes on in the background, on threads to which the system prefers
    /// all others; where those before it did, it begins there.
    pub fn carry<T: Send + 'static>(
        &self,
        pace: &Pace,
        calls: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = T> + Send {
        self.factory.background().carry(pace, calls)
    }
}

/// Why a component cannot be linked: something of the contract has another type or is not there, perhaps not yet.
fn misfit(facts: &Facts, error: &wasmtime::Error) -> ExamineError {
    let spoken = Version::parse(CONTRACT).ok();
    match facts.contract().filter(|found| Some(found) > spoken.as_ref()) {
        Some(found) => Refusal::NewerContract { found, spoken: CONTRACT, missing: format!("{error:#}") }.into(),
        None => ExamineError::Link(format!("{error:#}")),
    }
}

/// Does what takes long on a thread where nobody waits for his turn.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T, ExamineError> + Send + 'static) -> Result<T, ExamineError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(CallError::Host(format!("examining a plugin broke off: {error}")).into()))
}

impl Installed {
    /// Says where a type of that name is, when it is not where it was looked for.
    fn hint(&self, kind: Kind, reference: &TypeRef) -> String {
        let has = |kind: Kind| {
            let plugins = self.by_digest.values().filter(move |plugin| plugin.has(kind, &reference.name));
            plugins.map(|plugin| plugin.description.name.as_str()).min()
        };
        let other = match kind {
            Kind::Node => Kind::Trigger,
            Kind::Trigger => Kind::Node,
        };
        match (has(kind), has(other), &reference.plugin) {
            (Some(plugin), ..) => format!("; did you mean `{plugin}/{}`?", reference.name),
            (None, Some(_), _) => format!("; there is a {} type of that name", other.as_str()),
            (None, None, Some(plugin)) if !self.releases.contains_key(plugin) => {
                format!("; no plugin `{plugin}` is installed (`weft plugin add FILE`)")
            }
            _ => "; `weft plugin list` shows what is installed".into(),
        }
    }
}
