//! What carrying out runs needs of a store: the boundary that another engine (a cluster's database) takes the place of.
//!
//! Everything is written by [`RunStore::commit`]: a list of changes, all or nothing, durable when it returns. Reading sees what
//! was committed. [`super::Store`] keeps it in an embedded engine, [`super::MemoryRunStore`] in memory for tests; both
//! pass the same suite.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::Error;
use super::audit::AuditEntry;
use super::timers::{SetAside, StoredTimer, TimerChange};
use crate::digest::Digest;
use crate::run::{Arrival, Entry, FileFacts, FileId, KvKey, Parent, Reason, RunId, Seen, StagedFile, State, Status};
use crate::workflow::{Json, Key};

/// What lists of runs show, and where a run stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunHead {
    /// The run.
    pub id: RunId,
    /// Its workflow.
    pub workflow: Key,
    /// Its revision; 0 for a draft.
    pub revision: u32,
    /// The draft that it carries out, where it is none of the revisions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draft: Option<Digest>,
    /// How it stands or ended.
    pub status: Status,
    /// When it was accepted, in milliseconds since 1970.
    pub accepted_ms: u64,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// Why it was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Why it ended so, where a step said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Box<str>>,
    /// Whether somebody waits for it, and nobody can be waited for in it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub synchronous: bool,
    /// Whether a person started it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub manual: bool,
    /// The run that waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<RunId>,
    /// The run that it is another carrying-out of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerun_of: Option<RunId>,
    /// The job queue that its trigger put it into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Box<str>>,
    /// The digest of its dedup key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedup: Option<Digest>,
    /// Whether and how it waits.
    #[serde(default, skip_serializing_if = "Place::is_active")]
    pub place: Place,
    /// Bytes of its journal and of its files.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bytes: u64,
    /// Messages by name that it keeps for steps to come.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub kept_signals: u64,
}

#[cfg(test)]
impl RunHead {
    /// One that is being carried out, for tests.
    pub(crate) fn active(id: RunId, workflow: Key, accepted_ms: u64) -> Self {
        Self {
            id,
            workflow,
            revision: 1,
            draft: None,
            status: Status::Running,
            accepted_ms,
            ended_ms: None,
            reason: None,
            message: None,
            synchronous: false,
            manual: false,
            parent: None,
            rerun_of: None,
            queue: None,
            dedup: None,
            place: Place::Active,
            bytes: 0,
            kept_signals: 0,
        }
    }
}

/// Where a run stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// It is being carried out: after a crash it goes on at once.
    #[default]
    Active,
    /// It stands in this queue.
    Queued(Box<str>),
    /// It waits, until this time (milliseconds since 1970) at the latest; none: for something to arrive.
    Parked(Option<u64>),
    /// It has ended.
    Ended,
}

impl Place {
    fn is_active(&self) -> bool {
        *self == Self::Active
    }

    /// When a run that waits goes on by itself.
    pub fn wake_ms(&self) -> Option<u64> {
        match self {
            Self::Parked(wake_ms) => *wake_ms,
            _ => None,
        }
    }
}

/// Two starts of a workflow with the same key make one run.
pub type DedupKey = Box<str>;

/// One of the changes that are committed together.
#[derive(Clone, Debug)]
pub enum Change {
    /// A run's journal grows, or a run begins.
    Run(Box<RunChange>),
    /// Something comes for a run.
    Arrive(RunId, Arrival),
    /// A run takes up what came for it. Refused if that is gone.
    TakeUp(RunId, ArrivalId),
    /// A run is asked for.
    Ask(Box<Asked>),
    /// A run that was asked for begins or cannot. Refused if it is not asked for any more.
    Answer(RunId),
    /// Everything is refused if a value is not as it was seen.
    KvSeen(KvKey, Seen),
    /// A value is set, or removed.
    Kv(KvKey, Option<Bytes>),
    /// A message by name and key is kept for whoever will wait for it.
    KeepSignal(Box<KeptSignal>),
    /// A kept message goes to a run, or is too old. Refused if it is gone.
    TakeSignal(SignalName, ArrivalId),
    /// What becomes of a workflow's timers.
    Timers(Box<TimerChange>),
    /// The audit log tells of it.
    Audit(Box<AuditEntry>),
}

/// What happens to one run.
#[derive(Clone, Debug)]
pub struct RunChange {
    /// The run's head after it.
    pub head: RunHead,
    /// The head as it is stored; none: the run is new.
    pub before: Option<RunHead>,
    /// How many segments its journal has. Refused if it has more: somebody else carries it out.
    pub segments: u32,
    /// Entries to be added, as one segment.
    pub entries: Arc<Vec<Entry>>,
    /// The state that the journal then folds to, to spare whoever goes on with it the folding.
    pub snapshot: Option<State>,
    /// Its dedup key. Matters for a new run only; refused if the key began one already.
    pub dedup: Option<DedupKey>,
    /// Messages that it now waits for.
    pub waits: Vec<SignalName>,
    /// Messages that it waits for no more.
    pub waits_no_more: Vec<SignalName>,
    /// Files that its steps made.
    pub files: Vec<StagedFile>,
    /// It leaves nothing behind but its count and its dedup key.
    pub forget: bool,
}

/// A run that another one wants to start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// The id that it will have.
    pub run: RunId,
    /// Its workflow.
    pub workflow: Key,
    /// What it is given.
    pub context: Json,
    /// Who is told when it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// The workflows of the runs that led to it.
    pub stack: Vec<Key>,
    /// Whether it must be synchronous.
    #[serde(default, skip_serializing_if = "is_false")]
    pub synchronous: bool,
}

/// A message by name and key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignalName {
    /// The workflow whose runs may wait for it.
    pub workflow: Key,
    /// What the sender calls it.
    pub name: Box<str>,
    /// What tells runs apart.
    pub key: Box<str>,
}

/// A message that nobody waited for.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptSignal {
    /// Which one.
    pub name: SignalName,
    /// What the sender gave.
    pub payload: Json,
    /// When it was sent, in milliseconds since 1970.
    pub sent_ms: u64,
}

/// Names something that came; later ones are greater.
pub type ArrivalId = u64;

/// Why nothing was committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The dedup key of the run with this place in the list of changes began this run already.
    #[error("the dedup key has begun run {1} already")]
    Duplicate(usize, RunId),
    /// Somebody else carries out this run.
    #[error("run {0} is carried out by somebody else")]
    Fenced(RunId),
    /// A value is not as it was seen.
    #[error("a value was changed by somebody else meanwhile")]
    Changed,
    /// What was to be taken up, answered or taken is gone.
    #[error("it was taken up already")]
    Gone,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
}

/// A journal as it is needed to go on.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The run.
    pub head: RunHead,
    /// What the first segments fold to.
    pub snapshot: Option<State>,
    /// The entries after those.
    pub entries: Vec<Entry>,
    /// How many segments there are in all.
    pub segments: u32,
    /// How many of them the snapshot does not cover.
    pub tail: u32,
}

/// Which runs to list.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Of this workflow.
    pub workflow: Option<Key>,
    /// Of this revision of the workflow.
    pub revision: Option<u32>,
    /// With this status.
    pub status: Option<Status>,
    /// Accepted at this time or later, in milliseconds since 1970.
    pub from_ms: Option<u64>,
    /// Accepted before this time.
    pub before_ms: Option<u64>,
    /// Older than this one.
    pub after: Option<RunId>,
    /// So many at most.
    pub limit: usize,
}

/// See the module.
pub trait RunStore: Send + Sync + 'static {
    /// Makes all of these changes, or none.
    fn commit(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<(), CommitError>>;

    /// Refuses with [`Error::NoSpace`] while the disk has no room for new work. Costs next to nothing.
    fn check_space(&self) -> Result<(), Error> {
        Ok(())
    }

    /// A run's head.
    fn run(&self, id: RunId) -> Result<Option<RunHead>, Error>;

    /// A run's whole journal.
    fn journal(&self, id: RunId) -> Result<Vec<Entry>, Error>;

    /// The entry with which a run's journal begins.
    fn first_entry(&self, id: RunId) -> Result<Option<Entry>, Error>;

    /// What is needed to go on with a run.
    fn load(&self, id: RunId) -> Result<Option<Loaded>, Error>;

    /// Runs, newest first, and where the next page begins.
    fn runs(&self, filter: &RunFilter) -> Result<(Vec<RunHead>, Option<RunId>), Error>;

    /// How many runs a workflow has had, deleted ones included.
    fn runs_started(&self, workflow: &Key) -> Result<u32, Error>;

    /// The run that a dedup key began.
    fn run_of_dedup(&self, workflow: &Key, key: &str) -> Result<Option<RunId>, Error>;

    /// Runs that were being carried out, oldest first.
    fn active_runs(&self) -> Result<Vec<RunId>, Error>;

    /// When runs go on that wait for a time, earliest first, after one of them, `limit` at most.
    fn wakes(&self, after: Option<(u64, RunId)>, limit: usize) -> Result<Vec<(u64, RunId)>, Error>;

    /// Runs in a queue, oldest first, after one of them, `limit` at most.
    fn queued(&self, queue: &str, after: Option<RunId>, limit: usize) -> Result<Vec<RunId>, Error>;

    /// The queues in which runs stand.
    fn queues(&self) -> Result<Vec<Box<str>>, Error>;

    /// What came for a run and is not taken up yet, in order.
    fn arrivals(&self, run: RunId) -> Result<Vec<(ArrivalId, Arrival)>, Error>;

    /// Runs for which something came.
    fn arrived(&self) -> Result<Vec<RunId>, Error>;

    /// A run that is asked for.
    fn asked(&self, run: RunId) -> Result<Option<Asked>, Error>;

    /// Runs that are asked for.
    fn asked_runs(&self) -> Result<Vec<RunId>, Error>;

    /// A value and what a commit compares.
    fn kv(&self, key: &KvKey) -> Result<(Seen, Option<Bytes>), Error>;

    /// What is known of a file, and what it holds. A store that keeps none has none.
    fn file(&self, _: &FileId) -> Result<Option<(FileFacts, Bytes)>, Error> {
        Ok(None)
    }

    /// Runs that wait for a message, `limit` at most.
    fn waiters(&self, name: &SignalName, limit: usize) -> Result<Vec<RunId>, Error>;

    /// Messages that nobody waited for, oldest first.
    fn kept_signals(&self, name: &SignalName) -> Result<Vec<(ArrivalId, KeptSignal)>, Error>;

    /// The timers of a workflow that are due first, in this order, so many at most. A store that keeps none, as of these four, has none.
    fn timers(&self, _: &Key, _: usize) -> Result<Vec<StoredTimer>, Error> {
        Ok(Vec::new())
    }

    /// How many timers a workflow has that a change leaves as they are.
    fn other_timers(&self, _: &TimerChange) -> Result<usize, Error> {
        Ok(0)
    }

    /// The workflows that have timers, and when the first of each is due.
    fn first_timers(&self) -> Result<Vec<(Key, u64)>, Error> {
        Ok(Vec::new())
    }

    /// How many events of a workflow were set aside. It counts no further than that.
    fn set_aside_count(&self, _: &Key, _: usize) -> Result<usize, Error> {
        Ok(0)
    }

    /// Events of a workflow that were set aside, oldest first, after one of them, so many at most.
    fn set_aside(&self, _: &Key, _: Option<u64>, _: usize) -> Result<Vec<(u64, SetAside)>, Error> {
        Ok(Vec::new())
    }
}

pub(super) fn is_false(value: &bool) -> bool {
    !value
}

pub(super) fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The number of a status in keys: never another.
pub(super) fn status_number(status: Status) -> u8 {
    match status {
        Status::Queued => 1,
        Status::Running => 2,
        Status::Waiting => 3,
        Status::Retrying => 4,
        Status::Unknown => 5,
        Status::Succeeded => 6,
        Status::Failed => 7,
        Status::Error => 8,
        Status::Aborted => 9,
        Status::Canceled => 10,
        Status::Rejected => 11,
    }
}

/// Every status that a run can have; a step may have others.
pub const RUN_STATUSES: [Status; 8] = [
    Status::Queued,
    Status::Running,
    Status::Succeeded,
    Status::Failed,
    Status::Error,
    Status::Aborted,
    Status::Canceled,
    Status::Rejected,
];
