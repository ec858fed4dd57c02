//! Runs: carries out what the pure core decides, and makes what happened durable.
//!
//! Decide, call, fold, and at the end (or earlier, where somebody must be able to rely on it) commit. A step that only
//! computes has nothing outside to keep in step with, so a whole run of such steps is one commit. A run that waits is not in
//! memory: time, or whoever brings something for it, makes it go on.

mod arrive;
mod call;
mod child;
mod clock;
mod commit;
mod components;
mod drive;
mod environment;
mod flights;
mod live;
mod program;
mod programs;
mod progress;
mod pump;
mod replay;
mod rerun;
mod scheduler;
mod scope;
mod services;
#[cfg(test)]
mod simulator;
mod start;
mod tally;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

pub use arrive::{ActOn, ArriveError, Heard};
pub use child::{Called, Callee};
pub use clock::{Clock, SystemClock, rfc3339};
pub(crate) use commit::staged_changes;
pub use components::{Components, NodeAnswer, NodeCall};
pub use environment::Environment;
pub use program::{NodeBinding, Program, ProgramError, TriggerBinding};
pub use programs::{Programs, StoredPrograms};
pub use progress::Progress;
pub use replay::{Difference, Replayed, Took};
pub use rerun::RerunError;
pub use scheduler::{Full, QueueLimits, job_queue};
pub(crate) use scope::ConfigScope;
pub(crate) use services::TriggerServices;
pub use start::{Begun, Start, Waiting};
pub use tally::Tallies;

use crate::capability::Outbound;
use crate::plugin::{Instance, SecretSource};
use crate::run::{End, Failure, Response, RunId, State, Status};
use crate::store::{self, CommitError, DedupKey, RunHead, RunStore};
use crate::workflow::{Json, Key};
use live::LiveRuns;
use progress::ProgressBoard;
use pump::Pump;
use scheduler::Scheduler;

/// Carries out runs.
pub struct Executor {
    components: Arc<dyn Components>,
    programs: Arc<dyn Programs>,
    store: Arc<dyn RunStore>,
    vault: Arc<dyn SecretSource>,
    outbound: Arc<dyn Outbound>,
    clock: Arc<dyn Clock>,
    environment: Arc<Environment>,
    /// What a start by name goes through; set once, since it needs the executor itself.
    callee: OnceLock<Arc<dyn Callee>>,
    live: LiveRuns,
    scheduler: Arc<Scheduler>,
    pump: Pump,
    tallies: Tallies,
    progress: ProgressBoard,
    /// Dedup keys of runs that have begun and are not stored yet.
    reserved: Mutex<HashMap<(Key, DedupKey), RunId>>,
    #[cfg(test)]
    faults: simulator::Faults,
}

/// What an executor works with.
pub struct Parts {
    /// What carries out steps.
    pub components: Arc<dyn Components>,
    /// Which revisions there are.
    pub programs: Arc<dyn Programs>,
    /// Where runs are kept.
    pub store: Arc<dyn RunStore>,
    /// Where secrets are.
    pub vault: Arc<dyn SecretSource>,
    /// The way to servers outside.
    pub outbound: Arc<dyn Outbound>,
    /// Time and random numbers.
    pub clock: Arc<dyn Clock>,
    /// What belongs to the host itself.
    pub environment: Arc<Environment>,
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
    /// A plugin in quarantine holds the run up, until somebody releases it.
    HeldUp,
}

/// Why the executor could not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error("the run could not be stored: {0}")]
    Store(Arc<store::Error>),
    /// The store refused what was to be committed.
    #[error("the run could not be stored: {0}")]
    Commit(Arc<CommitError>),
    /// A revision cannot be run.
    #[error(transparent)]
    Program(Arc<ProgramError>),
    /// As many runs of the workflow are carried out as its options allow.
    #[error("as many runs of `{0}` are under way as its options allow; try again in a moment")]
    TooManyRuns(Key),
    /// As many runs are carried out as the host can.
    #[error("the host carries out as many runs as it can; try again in a moment")]
    Overloaded,
}

impl Error {
    /// Whether what was read before writing was changed by others meanwhile, so that it is to be done again.
    pub fn is_changed(&self) -> bool {
        matches!(self, Self::Commit(error) if matches!(**error, CommitError::Changed))
    }

    /// Whether what was to be taken up is gone: somebody else took it up.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Commit(error) if matches!(**error, CommitError::Gone))
    }

    /// Whether the disk is full, or nearly.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_no_space())
    }
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
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { components, programs, store, vault, outbound, clock, environment } = parts;
        Arc::new(Self {
            components,
            programs,
            store,
            vault,
            outbound,
            clock,
            environment,
            callee: OnceLock::new(),
            live: LiveRuns::default(),
            scheduler: Scheduler::new(),
            pump: Pump::default(),
            tallies: Tallies::default(),
            progress: ProgressBoard::new(),
            reserved: Mutex::default(),
            #[cfg(test)]
            faults: simulator::Faults::default(),
        })
    }

    /// What starts by name go through from now on.
    pub fn set_callee(&self, callee: Arc<dyn Callee>) {
        let _ = self.callee.set(callee);
    }

    /// The time and the random numbers of this host.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The variables and the time zone of this host.
    pub fn environment(&self) -> &Arc<Environment> {
        &self.environment
    }

    /// What the steps of a run that goes on say of how far they are.
    pub fn progress_of(&self, run: RunId) -> Vec<Progress> {
        self.progress.of(run)
    }

    /// What steps say of how far they are, from now on.
    pub fn follow_progress(&self) -> tokio::sync::broadcast::Receiver<Progress> {
        self.progress.follow()
    }

    /// How runs end of workflows that have a revision on trial.
    pub fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    /// The revisions that runs carry out.
    pub fn programs(&self) -> &Arc<dyn Programs> {
        &self.programs
    }

    /// Where secrets are.
    pub fn vault(&self) -> &Arc<dyn SecretSource> {
        &self.vault
    }

    /// What runs are stored in.
    pub fn store(&self) -> &Arc<dyn RunStore> {
        &self.store
    }

    /// Refuses while the disk has no room for new runs. What is under way goes on.
    pub fn check_space(&self) -> Result<(), Error> {
        Ok(self.store.check_space()?)
    }

    /// How a queue is treated from now on.
    pub fn set_queue(&self, queue: &str, limits: QueueLimits) {
        self.scheduler.set_limits(queue, limits);
    }

    /// Waits for the end of a run.
    pub async fn wait_for_end(&self, run: RunId) -> Result<(), Error> {
        loop {
            let ended = self.live.watch(run);
            if !self.live.contains(run) && self.store.run(run)?.is_none_or(|head| head.status.is_end()) {
                return Ok(());
            }
            let _ = ended.await;
        }
    }

    /// How a stored run came out; none while it goes on, or when it has been deleted.
    pub fn finished(&self, run: RunId) -> Result<Option<Finished>, Error> {
        let Some(head) = self.store.run(run)? else { return Ok(None) };
        let program = self.plan_of(&head)?;
        let entries = self.store.journal(run)?;
        Ok(fold(&program, run, &entries).and_then(|state| Finished::of(&state)))
    }

    /// What a run carries out, for whoever reads its journal only or ends it: its plugins may be missing.
    fn plan_of(&self, head: &RunHead) -> Result<Arc<Program>, ProgramError> {
        match self.programs.program(&head.workflow, head.revision, head.draft.as_ref()) {
            Err(ProgramError::MissingPlugin(..)) => self.programs.bare(&head.workflow, head.revision, head.draft.as_ref()),
            found => found,
        }
    }

    /// Heads of runs that are being carried out, newest first; some are not stored yet.
    pub fn live(&self) -> Vec<RunHead> {
        self.live.heads()
    }

    /// How many runs are being carried out.
    pub fn live_count(&self) -> usize {
        self.live.count()
    }

    fn new_id(&self) -> RunId {
        RunId::new(self.clock.now_ms(), self.clock.random())
    }

    /// Reserves a dedup key for a run, before anything of it runs. Some: the run that has the key.
    fn reserve(&self, workflow: &Key, key: &DedupKey, run: RunId) -> Result<Option<RunId>, Error> {
        let reservation = (workflow.clone(), key.clone());
        // Under one lock, so that nobody learns of a run that is a duplicate itself.
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = reserved.get(&reservation) {
            return Ok(Some(*first));
        }
        let first = self.store.run_of_dedup(workflow, key)?;
        if first.is_none() {
            reserved.insert(reservation, run);
        }
        Ok(first)
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

    /// The run's output, or why there is none.
    pub fn output(&self) -> Result<Json, Failure> {
        self.end.output(self.output.as_ref())
    }
}

impl End {
    /// What whoever waits is told: the run's output, `null` when no step gave one, or why it failed.
    fn output(&self, output: Option<&Json>) -> Result<Json, Failure> {
        match (self.status, &self.failure) {
            (Status::Succeeded, _) => Ok(output.cloned().unwrap_or_else(Json::null)),
            (_, Some((failure, _))) => Err(failure.clone()),
            (status, None) => {
                let code = self.reason.map_or("ended", crate::run::Reason::as_str);
                Err(Failure { status, ..Failure::error(code, self.message.clone().unwrap_or_default()) })
            }
        }
    }
}

/// Does something to its end, also when whoever asked for it goes away: what is stored is to have its consequences.
pub async fn to_its_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    done(tokio::spawn(work)).await
}

/// What a task comes to. Its panic is not hidden; one that was stopped comes to nothing.
async fn done<T>(task: tokio::task::JoinHandle<T>) -> T {
    match task.await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => std::future::pending().await,
        },
    }
}

/// The state that a journal folds to.
fn fold(program: &Program, run: RunId, entries: &[crate::run::Entry]) -> Option<State> {
    let (first, rest) = entries.split_first()?;
    let mut state = State::begin(&program.plan, run, first)?;
    rest.iter().for_each(|entry| state.apply(&program.plan, entry));
    Some(state)
}
