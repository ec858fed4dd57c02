//! Runs: their heads, by which they are listed, and their journals.

use serde::{Deserialize, Serialize};

use super::kv::Order;
use super::record::Batch;
use super::{Error, Store, keys};
use crate::limits::RUN_SCAN_MAX;
use crate::run::{Entry, RunId, Status};
use crate::workflow::Key;

/// What lists of runs show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunHead {
    /// The run.
    pub id: RunId,
    /// Its workflow.
    pub workflow: Key,
    /// Its revision.
    pub revision: u32,
    /// How it stands or ended.
    pub status: Status,
    /// When it was accepted, in milliseconds since 1970.
    pub accepted_ms: u64,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// Why it ended so, where a step said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Box<str>>,
}

/// Two starts of a workflow with the same key make one run.
pub type DedupKey = Box<str>;

/// Entries to be added to a run's journal.
pub struct Segment<'a> {
    /// The run's head after these entries.
    pub head: &'a RunHead,
    /// The number of segments that were added before.
    pub number: u32,
    /// The entries.
    pub entries: &'a [Entry],
    /// The run's dedup key. Matters in the first segment only.
    pub dedup: Option<&'a DedupKey>,
}

/// What became of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is durable.
    Done,
    /// The dedup key already began this run; nothing was written.
    Duplicate(RunId),
}

/// Which runs to list.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Of this workflow.
    pub workflow: Option<Key>,
    /// With this status.
    pub status: Option<Status>,
    /// Older than this one.
    pub after: Option<RunId>,
    /// So many at most.
    pub limit: usize,
}

impl Segment<'_> {
    fn dedup_key(&self) -> Option<Vec<u8>> {
        self.dedup.filter(|_| self.number == 0).map(|key| keys::dedup(&self.head.workflow, key))
    }

    fn add_to(&self, batch: &mut Batch) -> Result<(), Error> {
        let RunHead { id, workflow, ended_ms, .. } = self.head;
        batch.put(&keys::segment(*id, self.number), &encode(&self.entries)?);
        batch.put(&keys::run(*id), &encode(self.head)?);
        if self.number == 0 {
            batch.put(&keys::run_of(workflow, *id), &[]);
            batch.add(keys::run_count(workflow), 1);
            if let Some(key) = self.dedup_key() {
                batch.expect_absent(&key);
                batch.put(&key, id.as_bytes());
            }
            if ended_ms.is_none() {
                batch.put(&keys::open_run(*id), &[]);
            }
        } else if ended_ms.is_some() {
            batch.remove(&keys::open_run(*id), None);
        }
        Ok(())
    }
}

impl Store {
    /// Adds entries to a run's journal, with its head and what lists and recovery need, in one batch.
    pub async fn append(&self, segment: Segment<'_>) -> Result<Appended, Error> {
        let appended = self.append_all(std::slice::from_ref(&segment)).await?;
        Ok(appended[0])
    }

    /// Adds entries to the journals of several runs: all of them in one batch, without those whose dedup key already
    /// began a run.
    pub async fn append_all(&self, segments: &[Segment<'_>]) -> Result<Vec<Appended>, Error> {
        let mut appended = vec![Appended::Done; segments.len()];
        loop {
            let mut batch = Batch::default();
            for (segment, appended) in segments.iter().zip(&appended) {
                if *appended == Appended::Done {
                    segment.add_to(&mut batch)?;
                }
            }
            match self.commit(batch).await {
                Ok(()) => return Ok(appended),
                Err(Error::Conflict) => {
                    let mut found = false;
                    for (segment, appended) in segments.iter().zip(&mut appended) {
                        if let (Appended::Done, Some(dedup)) = (&appended, segment.dedup_key())
                            && let Some(first) = self.read(&dedup)?.as_deref().and_then(keys::run_id)
                        {
                            *appended = Appended::Duplicate(first);
                            found = true;
                        }
                    }
                    if !found {
                        return Err(Error::Conflict);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// How many runs a workflow has had, deleted ones included.
    pub fn runs_started(&self, workflow: &Key) -> Result<u32, Error> {
        let key = keys::run_count(workflow);
        match self.writer.counter(&key) {
            Some(count) => Ok(count),
            None => self.read(&key)?.map_or(Ok(0), |content| super::record::count(&key, &content)),
        }
    }

    /// The run that a dedup key began.
    pub fn run_of_dedup(&self, workflow: &Key, key: &str) -> Result<Option<RunId>, Error> {
        Ok(self.read(&keys::dedup(workflow, key))?.as_deref().and_then(keys::run_id))
    }

    /// A run's head.
    pub fn run(&self, id: RunId) -> Result<Option<RunHead>, Error> {
        self.read(&keys::run(id))?.map(|bytes| decode(&bytes)).transpose()
    }

    /// A run's journal and the number of its segments.
    pub fn journal(&self, id: RunId) -> Result<(Vec<Entry>, u32), Error> {
        let segments = self.scan(&keys::journal(id), None, Order::Ascending, usize::MAX)?;
        let count = u32::try_from(segments.len()).map_err(|_| Error::Corrupt(format!("the journal of {id}")))?;
        let mut entries = Vec::new();
        for (_, bytes) in segments {
            entries.extend(decode::<Vec<Entry>>(&bytes)?);
        }
        Ok((entries, count))
    }

    /// Runs, newest first, and where the next page begins. A page may be short although there is a next one, where
    /// few of many runs match.
    pub fn runs(&self, filter: &RunFilter) -> Result<(Vec<RunHead>, Option<RunId>), Error> {
        let (prefix, after) = match &filter.workflow {
            Some(workflow) => (keys::runs_of(workflow), filter.after.map(|id| keys::run_of(workflow, id))),
            None => (keys::RUNS.to_vec(), filter.after.map(keys::run)),
        };
        let mut found = Vec::new();
        let mut after = after;
        let mut scanned = 0;
        loop {
            let page = self.scan(&prefix, after.as_deref(), Order::Descending, filter.limit + 1)?;
            let more = page.len() > filter.limit;
            for (key, _) in page.into_iter().take(filter.limit) {
                scanned += 1;
                let id = keys::run_id(&key).ok_or_else(|| Error::Corrupt("an index of runs".into()))?;
                if let Some(head) = self.run(id)?
                    && filter.status.is_none_or(|status| head.status == status)
                {
                    found.push(head);
                }
                after = Some(key);
                if found.len() == filter.limit {
                    break;
                }
            }
            if !more || found.len() == filter.limit || scanned >= RUN_SCAN_MAX {
                let next = more.then(|| after.as_deref().and_then(keys::run_id)).flatten();
                return Ok((found, next));
            }
        }
    }

    /// Runs that had not ended when the store was last written, oldest first.
    pub fn open_runs(&self) -> Result<Vec<RunId>, Error> {
        let pairs = self.scan(keys::OPEN_RUNS, None, Order::Ascending, usize::MAX)?;
        Ok(pairs.iter().filter_map(|(key, _)| keys::run_id(key)).collect())
    }
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    rmp_serde::to_vec_named(value).map_err(|error| Error::Engine(format!("encoding: {error}")))
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    rmp_serde::from_slice(bytes).map_err(|error| Error::Corrupt(format!("a record cannot be read: {error}")))
}
