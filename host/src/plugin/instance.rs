//! One instance of a component, and calls of it within their bounds.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use wasmtime::Store;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker, TypedFunc};

use super::background::Background;
use super::bindings::exports::weft::plugin::{info, nodes, triggers};
use super::bindings::weft::plugin::types;
use super::convert;
use super::cpu::CpuMeter;
use super::description::Description;
use super::engine::Engine;
use super::health::Health;
use super::limits::CallLimits;
use super::meter::Meter;
use super::sandbox::{CallContext, CallKind, Exceeded, Guest, HostMemory};
use crate::digest::Digest;
use crate::limits::{CONFIG_PROBLEMS_MAX, DESCRIBE_WALL_MS_MAX, MESSAGE_BYTES_MAX};
use crate::run::{Event, Failure, Outcome};
use crate::workflow::Json;

/// Why a call brought no answer. What a component *answers*, be it a failure, is not here.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// It broke off.
    #[error("the plugin broke off: {0}")]
    Trapped(String),
    /// It wanted more memory than it may have.
    #[error("the plugin wanted more than {0} MiB of memory")]
    OutOfMemory(usize),
    /// The plugins of this host together want more memory than they may have.
    #[error("all plugins together have as much memory as this host gives them; try again in a moment")]
    HostOutOfMemory,
    /// It computed longer than it may.
    #[error("the plugin computed for more than {0} ms")]
    OutOfCpu(u64),
    /// It took longer than it may, waiting included.
    #[error("the plugin did not answer within {0} ms")]
    TimedOut(u64),
    /// The host made a mistake.
    #[error("the host made a mistake while the plugin was called: {0}")]
    Host(String),
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let code = match error {
            CallError::Trapped(_) => "trapped",
            CallError::OutOfMemory(_) => "memory-limit",
            CallError::HostOutOfMemory => "unavailable",
            CallError::OutOfCpu(_) => "cpu-limit",
            CallError::TimedOut(_) => "timed-out",
            CallError::Host(_) => "internal",
        };
        match error {
            // Another time it may be quicker.
            CallError::TimedOut(_) => Self { transient: true, ..Self::timed_out(error.to_string()) },
            CallError::HostOutOfMemory => Self { transient: true, ..Self::error(code, error.to_string()) },
            _ => Self::error(code, error.to_string()),
        }
    }
}

/// Makes instances: an engine, what components can import, and how many may be alive.
pub struct Factory {
    engine: Engine,
    linker: Linker<Guest>,
    permits: Arc<Semaphore>,
    memory: HostMemory,
    quarantined: Arc<Notify>,
    background: Background,
}

/// A component that can be instantiated.
pub struct Loaded {
    digest: Digest,
    pre: InstancePre<Guest>,
    info: info::GuestIndices,
    nodes: Option<nodes::GuestIndices>,
    triggers: Option<triggers::GuestIndices>,
    execute: Option<ComponentExportIndex>,
    fire: Option<ComponentExportIndex>,
    /// What its calls have taken.
    pub(super) meter: Meter,
    /// Whether it goes on being called.
    pub(super) health: Health,
}

/// What every run calls is found alone: finding all functions of an interface costs as much as calling one of them.
type Execute = TypedFunc<(nodes::Call,), (Result<nodes::Outcome, types::Failure>,)>;

/// See [`Execute`].
type Fire<'a> = TypedFunc<(&'a triggers::Call, &'a triggers::Event), (Result<triggers::Reaction, types::Failure>,)>;

/// An instance of a component. After an error it is not to be used again.
pub struct Instance {
    store: Store<Guest>,
    cpu: CpuMeter,
    instance: wasmtime::component::Instance,
    loaded: Arc<Loaded>,
    /// What was called before.
    execute: Option<Execute>,
    nodes: Option<nodes::Guest>,
    triggers: Option<triggers::Guest>,
    _permit: OwnedSemaphorePermit,
}

impl Factory {
    /// `link` adds the host's capabilities to what components can import.
    pub fn new(engine: Engine, link: impl FnOnce(&mut Linker<Guest>) -> wasmtime::Result<()>) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(engine.wasmtime());
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        link(&mut linker)?;
        let (memory, quarantined, background) = (HostMemory::default(), Arc::default(), Background::start()?);
        let permits = engine.instances().clone();
        Ok(Self { engine, linker, permits, memory, quarantined, background })
    }

    pub(super) fn background(&self) -> &Background {
        &self.background
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Checks a component against what the host offers and what it calls.
    pub(super) fn load(&self, digest: Digest, component: &Component) -> wasmtime::Result<Loaded> {
        let pre = self.linker.instantiate_pre(component)?;
        let nodes = component.get_export_index(None, "weft:plugin/nodes@0.1.0");
        let triggers = component.get_export_index(None, "weft:plugin/triggers@0.1.0");
        Ok(Loaded {
            digest,
            info: info::GuestIndices::new(&pre)?,
            execute: nodes.as_ref().and_then(|nodes| component.get_export_index(Some(nodes), "execute")),
            fire: triggers.as_ref().and_then(|triggers| component.get_export_index(Some(triggers), "fire")),
            nodes: nodes.map(|_| nodes::GuestIndices::new(&pre)).transpose()?,
            triggers: triggers.map(|_| triggers::GuestIndices::new(&pre)).transpose()?,
            pre,
            meter: Meter::default(),
            health: Health::new(self.quarantined.clone()),
        })
    }

    /// Is told when a plugin is put in quarantine.
    pub(super) fn quarantined(&self) -> &Notify {
        &self.quarantined
    }

    pub(super) fn is_crowded(&self) -> bool {
        self.permits.available_permits() == 0
    }

    /// A fresh instance, whose calls may take so much. Waits while too many are alive.
    pub async fn instantiate(&self, loaded: &Arc<Loaded>, limits: CallLimits) -> Result<Instance, CallError> {
        let permit = self.permits.clone().acquire_owned().await.map_err(|error| CallError::Host(error.to_string()))?;
        let mut store = Guest::store(&self.engine, limits, self.memory.clone());
        let cpu = store.data().cpu().clone();
        let made = guarded(&cpu, limits.wall_ms, loaded.pre.instantiate_async(&mut store)).await;
        let instance = made.map_err(|error| verdict(error, &store, limits.wall_ms))?;
        Ok(Instance { store, cpu, instance, loaded: loaded.clone(), execute: None, nodes: None, triggers: None, _permit: permit })
    }
}

/// What a call comes to, and what it used and did on the way.
pub type Called<T> = (Result<T, CallError>, CallContext);

impl Instance {
    /// The component's digest.
    pub fn digest(&self) -> &Digest {
        &self.loaded.digest
    }

    /// Finds `execute`, unless it was found before.
    fn load_execute(&mut self) -> Result<Execute, CallError> {
        if let Some(execute) = self.execute {
            return Ok(execute);
        }
        let index = self.loaded.execute.as_ref().ok_or_else(|| no_export("nodes"))?;
        let execute = self.instance.get_typed_func(&mut self.store, index);
        Ok(*self.execute.insert(execute.map_err(|error| misfit(&error))?))
    }

    /// Finds `fire`, which is called once.
    fn load_fire<'a>(&mut self) -> Result<Fire<'a>, CallError> {
        let index = self.loaded.fire.as_ref().ok_or_else(|| no_export("triggers"))?;
        let fire = self.instance.get_typed_func(&mut self.store, index);
        fire.map_err(|error| misfit(&error))
    }

    /// Finds the functions of `nodes`, unless they were found before.
    fn load_nodes(&mut self) -> Result<(), CallError> {
        if self.nodes.is_none() {
            let indices = self.loaded.nodes.as_ref().ok_or_else(|| no_export("nodes"))?;
            self.nodes = Some(indices.load(&mut self.store, &self.instance).map_err(|error| misfit(&error))?);
        }
        Ok(())
    }

    /// Finds the functions of `triggers`, unless they were found before.
    fn load_triggers(&mut self) -> Result<(), CallError> {
        if self.triggers.is_none() {
            let indices = self.loaded.triggers.as_ref().ok_or_else(|| no_export("triggers"))?;
            self.triggers = Some(indices.load(&mut self.store, &self.instance).map_err(|error| misfit(&error))?);
        }
        Ok(())
    }

    /// Asks the component who it is and which types it has. The text is what it says wrong.
    pub async fn describe(&mut self) -> Result<Result<Description, String>, CallError> {
        let loaded = self.loaded.clone();
        let info = loaded.info.load(&mut self.store, &self.instance).map_err(|error| misfit(&error))?;
        let (has_nodes, has_triggers) = (loaded.nodes.is_some(), loaded.triggers.is_some());
        if has_nodes {
            self.load_nodes()?;
        }
        if has_triggers {
            self.load_triggers()?;
        }
        self.store.data_mut().begin(CallContext::default());
        let (nodes, triggers, store) = (&self.nodes, &self.triggers, &mut self.store);
        let answered = guarded(&self.cpu, DESCRIBE_WALL_MS_MAX, async {
            let info = info.call_describe(&mut *store).await?;
            let nodes = match nodes {
                Some(nodes) => nodes.call_node_types(&mut *store).await?,
                None => Vec::new(),
            };
            let triggers = match triggers {
                Some(triggers) => triggers.call_trigger_types(&mut *store).await?,
                None => Vec::new(),
            };
            Ok((info, nodes, triggers))
        })
        .await;
        let (info, nodes, triggers) = answered.map_err(|error| verdict(error, &self.store, DESCRIBE_WALL_MS_MAX))?;
        // Reading many schemas takes long.
        let read = tokio::task::spawn_blocking(move || convert::description(info, nodes, triggers)).await;
        read.map_err(|error| CallError::Host(error.to_string()))
    }

    /// Asks the component what is wrong with a node's or a trigger's config.
    pub async fn check(&mut self, kind: types::Kind, name: &str, config: &str) -> Result<Vec<types::Problem>, CallError> {
        match kind {
            types::Kind::Node => self.load_nodes()?,
            types::Kind::Trigger => self.load_triggers()?,
        }
        self.store.data_mut().begin(CallContext::default());
        let (name, config) = (&name.to_owned(), &config.to_owned());
        let (nodes, triggers, store) = (&self.nodes, &self.triggers, &mut self.store);
        let answered = guarded(&self.cpu, DESCRIBE_WALL_MS_MAX, async {
            match (kind, nodes, triggers) {
                (types::Kind::Node, Some(nodes), _) => nodes.call_check(store, name, config).await,
                (types::Kind::Trigger, _, Some(triggers)) => triggers.call_check(store, name, config).await,
                _ => Ok(Vec::new()),
            }
        })
        .await;
        let mut problems = answered.map_err(|error| verdict(error, &self.store, DESCRIBE_WALL_MS_MAX))?;
        problems.truncate(CONFIG_PROBLEMS_MAX);
        for types::Problem { pointer, message } in &mut problems {
            for text in [pointer, message] {
                text.truncate(text.floor_char_boundary(MESSAGE_BYTES_MAX));
            }
        }
        Ok(problems)
    }

    /// Begins a step, or tells it of an event, with the state that it kept. It may take `limit_ms`, waiting included.
    pub async fn call_node(
        &mut self,
        call: nodes::Call,
        event: Option<(Json, Event)>,
        context: CallContext,
        limit_ms: u64,
    ) -> Called<Result<Outcome, Failure>> {
        let limit_ms = limit_ms.min(self.limits().wall_ms);
        let answered = match event {
            None => match self.load_execute() {
                Ok(execute) => {
                    self.store.data_mut().begin(CallContext { kind: CallKind::Node, ..context });
                    let answer = execute.call_async(&mut self.store, (call,));
                    guarded(&self.cpu, limit_ms, async { answer.await.map(|(answer,)| answer) }).await
                }
                Err(error) => return (Err(error), context),
            },
            Some((state, event)) => match self.load_nodes() {
                Ok(()) => {
                    let nodes = self.nodes.as_ref().expect("just loaded");
                    self.store.data_mut().begin(CallContext { kind: CallKind::Node, ..context });
                    let (state, event) = (state.text().to_owned(), convert::event(event));
                    guarded(&self.cpu, limit_ms, nodes.call_resume(&mut self.store, &call, &state, &event)).await
                }
                Err(error) => return (Err(error), context),
            },
        };
        let (answered, context) = self.finish(answered, limit_ms);
        let outcome = answered.map(|answer| match answer {
            Ok(outcome) => convert::outcome(outcome),
            Err(failure) => Err(failure.into()),
        });
        (outcome, context)
    }

    /// Tells a trigger of an event.
    pub async fn fire(
        &mut self,
        call: &triggers::Call,
        event: &triggers::Event,
        context: CallContext,
    ) -> Called<Result<triggers::Reaction, types::Failure>> {
        let limit_ms = self.limits().wall_ms;
        let fire = match self.load_fire() {
            Ok(fire) => fire,
            Err(error) => return (Err(error), context),
        };
        self.store.data_mut().begin(CallContext { kind: CallKind::Trigger, ..context });
        let answer = fire.call_async(&mut self.store, (call, event));
        let answered = guarded(&self.cpu, limit_ms, async { answer.await.map(|(answer,)| answer) }).await;
        self.finish(answered, limit_ms)
    }

    /// Asks a trigger what to subscribe to.
    pub async fn subscribe(
        &mut self,
        call: &triggers::Call,
        context: CallContext,
    ) -> Called<Result<Vec<triggers::Subscription>, types::Failure>> {
        let limit_ms = self.limits().wall_ms;
        let triggers = match self.load_triggers() {
            Ok(()) => self.triggers.as_ref().expect("just loaded"),
            Err(error) => return (Err(error), context),
        };
        self.store.data_mut().begin(CallContext { kind: CallKind::Trigger, ..context });
        let answered = guarded(&self.cpu, limit_ms, triggers.call_subscribe(&mut self.store, call)).await;
        self.finish(answered, limit_ms)
    }

    /// Asks a trigger what to tell whoever waited for a run.
    pub async fn settle(
        &mut self,
        call: &triggers::Call,
        run: &triggers::FinishedRun,
        context: CallContext,
    ) -> Called<Result<triggers::Settlement, types::Failure>> {
        let limit_ms = self.limits().wall_ms;
        let triggers = match self.load_triggers() {
            Ok(()) => self.triggers.as_ref().expect("just loaded"),
            Err(error) => return (Err(error), context),
        };
        self.store.data_mut().begin(CallContext { kind: CallKind::Trigger, ..context });
        let answered = guarded(&self.cpu, limit_ms, triggers.call_settle(&mut self.store, call, run)).await;
        self.finish(answered, limit_ms)
    }

    /// What it did when it was last asked who it is: nothing is granted for that, so it should be nothing. And the memory that it has.
    pub fn observed(&mut self) -> CallContext {
        self.store.data_mut().finish()
    }

    /// What a call of it may take.
    pub fn limits(&self) -> &CallLimits {
        self.store.data().limits()
    }

    fn finish<T>(&mut self, answered: Result<T, Stopped>, limit_ms: u64) -> Called<T> {
        let answered = answered.map_err(|error| verdict(error, &self.store, limit_ms));
        let mut call = self.store.data_mut().finish();
        call.used.cpu_us = u32::try_from(self.cpu.spent().as_micros()).unwrap_or(u32::MAX);
        self.loaded.meter.called(&call.used, answered.is_err(), &call.grants.limits);
        match &answered {
            Ok(_) => self.loaded.health.answered(),
            // What is asked of it when it is looked at, what the host lacks, and a step that gives it less time than others say nothing.
            Err(CallError::Host(_) | CallError::HostOutOfMemory) => {}
            Err(CallError::TimedOut(limit_ms)) if *limit_ms < self.limits().wall_ms => {}
            Err(_) if call.kind == CallKind::Describe => {}
            Err(error) => self.loaded.health.broke(error, call.grants.limits.breaks_in_a_row()),
        }
        (answered, call)
    }
}

fn no_export(interface: &str) -> CallError {
    CallError::Trapped(format!("it does not export `weft:plugin/{interface}`"))
}

/// A function is not there, or takes and gives other types than the contract's.
fn misfit(error: &wasmtime::Error) -> CallError {
    CallError::Trapped(format!("it does not fit the contract: {error:#}"))
}

enum Stopped {
    Guest(wasmtime::Error),
    TimedOut,
    Panicked(String),
}

/// Waits for a call, but not longer than its deadline, and counts what it computes. A panic of the host stays within the call.
async fn guarded<T>(cpu: &CpuMeter, limit_ms: u64, call: impl Future<Output = wasmtime::Result<T>>) -> Result<T, Stopped> {
    let mut call = std::pin::pin!(AssertUnwindSafe(call).catch_unwind());
    let metered = std::future::poll_fn(|context| cpu.during(|| call.as_mut().poll(context)));
    match tokio::time::timeout(Duration::from_millis(limit_ms), metered).await {
        Ok(Ok(answer)) => answer.map_err(Stopped::Guest),
        Ok(Err(panic)) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned()).or_else(|| panic.downcast_ref().cloned());
            Err(Stopped::Panicked(text.unwrap_or_default()))
        }
        Err(_) => Err(Stopped::TimedOut),
    }
}

fn verdict(stopped: Stopped, store: &Store<Guest>, limit_ms: u64) -> CallError {
    match (stopped, store.data().exceeded()) {
        (Stopped::TimedOut, _) => CallError::TimedOut(limit_ms),
        (Stopped::Panicked(text), _) => CallError::Host(text),
        (Stopped::Guest(_), Exceeded::Memory) => CallError::OutOfMemory(store.data().limits().memory_bytes / 1024 / 1024),
        (Stopped::Guest(_), Exceeded::HostMemory) => CallError::HostOutOfMemory,
        (Stopped::Guest(_), Exceeded::Cpu) => CallError::OutOfCpu(store.data().limits().cpu_ms),
        (Stopped::Guest(_), Exceeded::Table) => CallError::Trapped("it wanted too large a table".into()),
        (Stopped::Guest(error), Exceeded::Nothing) => CallError::Trapped(trap_text(&error)),
    }
}

/// The reason of a trap and where it came from, in one line: the innermost functions, which a name section names.
fn trap_text(error: &wasmtime::Error) -> String {
    let reason = error.root_cause().to_string();
    let frames = error.downcast_ref::<wasmtime::WasmBacktrace>().map(|backtrace| {
        let names = backtrace.frames().iter().filter_map(|frame| frame.func_name()).take(4);
        names.map(|name| name.chars().take(80).collect::<String>()).collect::<Vec<_>>().join(" < ")
    });
    match frames.filter(|frames| !frames.is_empty()) {
        Some(frames) => format!("{reason} (in {frames})"),
        None => reason,
    }
}
