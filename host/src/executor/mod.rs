//! Runs: carries out what the pure core decides, and makes what happened durable.
//!
//! Decide, call, fold, and at the end (or earlier, where somebody must be able to rely on it) commit. A step that only
//! computes has nothing outside to keep in step with, so a whole run of such steps is one commit.

mod call;
mod clock;
mod drive;
mod program;
mod recovery;
mod scope;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{oneshot, watch};

pub use clock::{Clock, SystemClock, rfc3339};
pub use program::{NodeBinding, Program, ProgramError, TriggerBinding};
pub(crate) use scope::ConfigScope;

use crate::plugin::{Instance, Registry, SecretSource};
use crate::run::{Accepted, End, Entry, Response, RunId, State, Status};
use crate::store::{self, Appended, DedupKey, RunHead, Segment, Store};
use crate::workflow::{Json, Key};

/// Carries out runs.
pub struct Executor {
    registry: Arc<Registry>,
    store: Store,
    vault: Arc<dyn SecretSource>,
    clock: Arc<dyn Clock>,
    /// Runs that go on in this process.
    live: Mutex<HashMap<RunId, Live>>,
    /// Dedup keys of runs that have begun and are not stored yet.
    reserved: Mutex<HashMap<(Key, DedupKey), RunId>>,
}

struct Live {
    head: RunHead,
    ended: watch::Receiver<bool>,
}

/// A run to begin.
pub struct Start {
    /// What it carries out.
    pub program: Arc<Program>,
    /// What the trigger gave.
    pub context: Json,
    /// Two starts of a workflow with the same key make one run.
    pub dedup: Option<DedupKey>,
}

/// How a run came out.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub end: End,
    /// The output that a step set.
    pub output: Option<Json>,
    /// The answer that a step gave.
    pub response: Option<Response>,
    /// The messages that steps added.
    pub messages: Vec<Box<str>>,
}

/// What whoever waits for a run gets.
pub enum Outcome {
    /// A step answered; the run may go on.
    Responded(Response),
    /// The run ended, and no step had answered. With it come instances that are still fresh of this run.
    Ended(Box<Finished>, Vec<Instance>),
}

/// A run that somebody waits for.
pub struct Waiting {
    /// The run.
    pub run: RunId,
    /// Dropping it gives up waiting; the run goes on.
    pub outcome: oneshot::Receiver<Result<Outcome, Error>>,
}

/// What became of a start.
pub enum Begun<T> {
    /// The run began.
    New(T),
    /// The dedup key already began this one.
    Duplicate(RunId),
}

/// Why the executor could not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error("the run could not be stored: {0}")]
    Store(Arc<store::Error>),
    /// A revision cannot be run.
    #[error(transparent)]
    Program(Arc<ProgramError>),
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl From<ProgramError> for Error {
    fn from(error: ProgramError) -> Self {
        Self::Program(Arc::new(error))
    }
}

impl Executor {
    /// An executor without runs.
    pub fn new(registry: Arc<Registry>, store: Store, vault: Arc<dyn SecretSource>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { registry, store, vault, clock, live: Mutex::default(), reserved: Mutex::default() })
    }

    /// The time and the random numbers of this host.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The plugins that runs call.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Where secrets are.
    pub fn vault(&self) -> &Arc<dyn SecretSource> {
        &self.vault
    }

    /// What runs are stored in.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Begins a run that somebody waits for. Nothing is stored before it ends, unless it takes long. `instances` were
    /// made for this run's event and serve its steps too.
    pub fn begin_waiting(self: &Arc<Self>, start: Start, instances: Vec<Instance>) -> Result<Begun<Waiting>, Error> {
        let (head, accepted) = self.accept(&start, true);
        let run = head.id;
        if let Some(key) = &start.dedup
            && let Some(first) = self.reserve(&head.workflow, key, run)?
        {
            return Ok(Begun::Duplicate(first));
        }
        let (sender, outcome) = oneshot::channel();
        let mut running = drive::Running::new(self.clone(), start.program, head, start.dedup, vec![accepted]);
        running.wait_for_caller(sender, instances);
        tokio::spawn(running.drive());
        Ok(Begun::New(Waiting { run, outcome }))
    }

    /// Begins runs that nobody waits for. When it returns they are durable, all of them or none.
    pub async fn begin(self: &Arc<Self>, starts: Vec<Start>) -> Result<Vec<Begun<RunId>>, Error> {
        let accepted: Vec<(RunHead, Entry)> = starts.iter().map(|start| self.accept(start, false)).collect();
        let segments: Vec<Segment<'_>> = starts
            .iter()
            .zip(&accepted)
            .map(|(start, (head, entry))| Segment {
                head,
                number: 0,
                entries: std::slice::from_ref(entry),
                dedup: start.dedup.as_ref(),
            })
            .collect();
        let appended = self.store.append_all(&segments).await?;
        let mut begun = Vec::with_capacity(starts.len());
        for ((start, (head, entry)), appended) in starts.into_iter().zip(accepted).zip(appended) {
            begun.push(match appended {
                Appended::Duplicate(first) => Begun::Duplicate(first),
                Appended::Done => {
                    let run = head.id;
                    let mut running = drive::Running::new(self.clone(), start.program, head, None, vec![entry]);
                    running.entries_are_stored(1);
                    tokio::spawn(running.drive());
                    Begun::New(run)
                }
            });
        }
        Ok(begun)
    }

    /// Waits for the end of a run that goes on in this process; returns at once for every other.
    pub async fn wait_for_end(&self, run: RunId) {
        let ended = self.live.lock().unwrap_or_else(PoisonError::into_inner).get(&run).map(|live| live.ended.clone());
        if let Some(mut ended) = ended {
            let _ = ended.wait_for(|ended| *ended).await;
        }
    }

    /// How a stored run came out; none while it goes on.
    pub fn finished(&self, program: &Program, run: RunId) -> Result<Option<Finished>, Error> {
        let (entries, _) = self.store.journal(run)?;
        let state = fold(program, &entries);
        Ok(state.and_then(|state| Finished::of(&state)))
    }

    /// Heads of runs that go on and are not stored yet, newest first.
    pub fn live(&self) -> Vec<RunHead> {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let mut heads: Vec<RunHead> = live.values().map(|live| live.head.clone()).collect();
        heads.sort_by_key(|head| std::cmp::Reverse(head.id));
        heads
    }

    fn accept(&self, start: &Start, synchronous: bool) -> (RunHead, Entry) {
        let at_ms = self.clock.now_ms();
        let plan = &start.program.plan;
        let head = RunHead {
            id: RunId::new(at_ms, self.clock.random()),
            workflow: plan.workflow.clone(),
            revision: plan.revision,
            status: Status::Running,
            accepted_ms: at_ms,
            ended_ms: None,
            message: None,
        };
        let (workflow, revision, context) = (plan.workflow.clone(), plan.revision, start.context.clone());
        (head, Entry::Accepted(Accepted { at_ms, workflow, revision, context, synchronous }))
    }

    /// Reserves a dedup key for a run, before anything of it runs. Some: the run that has the key.
    fn reserve(&self, workflow: &Key, key: &DedupKey, run: RunId) -> Result<Option<RunId>, Error> {
        let reservation = (workflow.clone(), key.clone());
        {
            let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(first) = reserved.get(&reservation) {
                return Ok(Some(*first));
            }
            reserved.insert(reservation.clone(), run);
        }
        // Whoever finished between these lines is in the store.
        match self.store.run_of_dedup(workflow, key) {
            Ok(None) => Ok(None),
            found => {
                self.reserved.lock().unwrap_or_else(PoisonError::into_inner).remove(&reservation);
                Ok(found?)
            }
        }
    }
}

impl Finished {
    fn of(state: &State) -> Option<Self> {
        Some(Self {
            end: state.end()?.clone(),
            output: state.output().cloned(),
            response: state.response().cloned(),
            messages: state.messages().to_vec(),
        })
    }
}

/// The state that a journal folds to.
fn fold(program: &Program, entries: &[Entry]) -> Option<State> {
    let (first, rest) = entries.split_first()?;
    let mut state = State::begin(&program.plan, first)?;
    for entry in rest {
        state.apply(&program.plan, entry);
    }
    Some(state)
}
