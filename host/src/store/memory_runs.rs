//! Runs in memory: for tests of what carries them out, and as the model that the embedded engine is compared with.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::Error;
use super::run_store::{
    ArrivalId, Asked, Change, CommitError, DedupKey, KeptSignal, Loaded, Place, RunChange, RunFilter, RunHead, RunStore,
    SignalName,
};
use crate::run::{Arrival, Entry, FileFacts, FileId, KvKey, RunId, Seen, State};
use crate::workflow::Key;

/// A store of runs that is gone with the process.
#[derive(Default)]
pub struct MemoryRunStore(Mutex<Tables>);

#[derive(Clone, Default)]
struct Tables {
    runs: BTreeMap<RunId, Run>,
    counts: BTreeMap<Key, u32>,
    dedup: BTreeMap<(Key, DedupKey), RunId>,
    arrivals: BTreeMap<(RunId, ArrivalId), Arrival>,
    asked: BTreeMap<RunId, Asked>,
    /// With a number that every writing raises: what a commit compares.
    kv: BTreeMap<KvKey, (u64, Bytes)>,
    waits: BTreeMap<(SignalName, RunId), ()>,
    kept: BTreeMap<(SignalName, ArrivalId), KeptSignal>,
    last_number: u64,
}

#[derive(Clone)]
struct Run {
    head: RunHead,
    segments: Vec<Vec<Entry>>,
    snapshot: Option<(State, usize)>,
    files: BTreeMap<FileId, (FileFacts, Bytes)>,
}

impl Tables {
    fn next(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Whether a batch may be made, by what is stored before it.
    fn check(&self, changes: &[Change]) -> Result<(), CommitError> {
        let gone = |there: bool| if there { Ok(()) } else { Err(CommitError::Gone) };
        let mut dedup = BTreeMap::new();
        for (place, change) in changes.iter().enumerate() {
            match change {
                Change::Run(change) => {
                    let (id, workflow) = (change.head.id, &change.head.workflow);
                    if let Some(key) = change.dedup.as_ref().filter(|_| change.before.is_none()) {
                        let first = self.dedup.get(&(workflow.clone(), key.clone())).copied();
                        if let Some(first) = first.or(dedup.insert((workflow, key), id)) {
                            return Err(CommitError::Duplicate(place, first));
                        }
                    }
                    let segments = self.runs.get(&id).map_or(0, |run| run.segments.len());
                    if !change.forget && !change.entries.is_empty() && segments != change.segments as usize {
                        return Err(CommitError::Fenced(id));
                    }
                }
                Change::TakeUp(run, number) => gone(self.arrivals.contains_key(&(*run, *number)))?,
                Change::Answer(run) => gone(self.asked.contains_key(run))?,
                Change::TakeSignal(name, number) => gone(self.kept.contains_key(&(name.clone(), *number)))?,
                Change::KvSeen(key, seen) => {
                    if self.kv.get(key).map(|(number, _)| number.to_be_bytes().to_vec()) != *seen {
                        return Err(CommitError::Changed);
                    }
                }
                // Timers and the audit log are kept by the embedded store only: no test of runs asks for them.
                Change::Timers(_) | Change::Audit(_) => {}
                Change::Arrive(..) | Change::Ask(_) | Change::Kv(..) | Change::KeepSignal(_) => {}
            }
        }
        Ok(())
    }

    /// Makes a change that was checked.
    fn make(&mut self, change: &Change) {
        match change {
            Change::Run(change) => self.run(change),
            Change::Arrive(run, arrival) => {
                let number = self.next();
                self.arrivals.insert((*run, number), arrival.clone());
            }
            Change::TakeUp(run, number) => {
                self.arrivals.remove(&(*run, *number));
            }
            Change::Ask(asked) => {
                self.asked.insert(asked.run, (**asked).clone());
            }
            Change::Answer(run) => {
                self.asked.remove(run);
            }
            Change::KvSeen(..) | Change::Timers(_) | Change::Audit(_) => {}
            Change::Kv(key, value) => {
                let number = self.next();
                match value {
                    Some(value) => self.kv.insert(key.clone(), (number, value.clone())),
                    None => self.kv.remove(key),
                };
            }
            Change::KeepSignal(kept) => {
                let number = self.next();
                self.kept.insert((kept.name.clone(), number), (**kept).clone());
            }
            Change::TakeSignal(name, number) => {
                self.kept.remove(&(name.clone(), *number));
            }
        }
    }

    fn run(&mut self, change: &RunChange) {
        let (id, workflow) = (change.head.id, &change.head.workflow);
        if change.before.is_none() {
            if let Some(key) = &change.dedup {
                self.dedup.insert((workflow.clone(), key.clone()), id);
            }
            *self.counts.entry(workflow.clone()).or_default() += 1;
        }
        for name in &change.waits_no_more {
            self.waits.remove(&(name.clone(), id));
        }
        for name in &change.waits {
            self.waits.insert((name.clone(), id), ());
        }
        if change.forget {
            self.runs.remove(&id);
            return;
        }
        let run = self.runs.entry(id);
        let run = run.or_insert_with(|| Run {
            head: change.head.clone(),
            segments: Vec::new(),
            snapshot: None,
            files: BTreeMap::new(),
        });
        if !change.entries.is_empty() {
            run.segments.push(change.entries.to_vec());
        }
        run.files.extend(change.files.iter().map(|file| (file.id, (file.facts.clone(), file.content.clone()))));
        run.head = change.head.clone();
        if let Some(state) = &change.snapshot {
            run.snapshot = Some((state.clone(), run.segments.len()));
        }
    }
}

impl MemoryRunStore {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn select<T>(&self, mut select: impl FnMut(&RunHead) -> Option<T>) -> Vec<T> {
        self.tables().runs.values().filter_map(|run| select(&run.head)).collect()
    }

    /// Makes changes at once: what [`RunStore::commit`] does.
    pub fn make(&self, changes: &[Change]) -> Result<(), CommitError> {
        let mut tables = self.tables();
        tables.check(changes)?;
        changes.iter().for_each(|change| tables.make(change));
        Ok(())
    }
}

impl RunStore for MemoryRunStore {
    fn commit(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<(), CommitError>> {
        Box::pin(std::future::ready(self.make(&changes)))
    }

    fn run(&self, id: RunId) -> Result<Option<RunHead>, Error> {
        Ok(self.tables().runs.get(&id).map(|run| run.head.clone()))
    }

    fn journal(&self, id: RunId) -> Result<Vec<Entry>, Error> {
        Ok(self.tables().runs.get(&id).map(|run| run.segments.concat()).unwrap_or_default())
    }

    fn first_entry(&self, id: RunId) -> Result<Option<Entry>, Error> {
        Ok(self.tables().runs.get(&id).and_then(|run| run.segments.first()?.first().cloned()))
    }

    fn load(&self, id: RunId) -> Result<Option<Loaded>, Error> {
        Ok(self.tables().runs.get(&id).map(|run| {
            let (snapshot, covered) = match &run.snapshot {
                Some((state, covered)) => (Some(state.clone()), *covered),
                None => (None, 0),
            };
            let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
            let (segments, tail) = (number(run.segments.len()), number(run.segments.len() - covered));
            Loaded { head: run.head.clone(), snapshot, entries: run.segments[covered..].concat(), segments, tail }
        }))
    }

    fn runs(&self, filter: &RunFilter) -> Result<(Vec<RunHead>, Option<RunId>), Error> {
        let fits = |head: &RunHead| {
            filter.workflow.as_ref().is_none_or(|workflow| *workflow == head.workflow)
                && filter.revision.is_none_or(|revision| revision == head.revision)
                && filter.status.is_none_or(|status| status == head.status)
                && filter.from_ms.is_none_or(|from_ms| from_ms <= head.id.accepted_ms())
                && filter.before_ms.is_none_or(|before_ms| head.id.accepted_ms() < before_ms)
                && filter.after.is_none_or(|after| head.id < after)
        };
        let mut found = self.select(|head| fits(head).then(|| head.clone()));
        found.reverse();
        let more = found.len() > filter.limit;
        found.truncate(filter.limit);
        let next = found.last().map(|head| head.id).filter(|_| more);
        Ok((found, next))
    }

    fn runs_started(&self, workflow: &Key) -> Result<u32, Error> {
        Ok(self.tables().counts.get(workflow).copied().unwrap_or(0))
    }

    fn run_of_dedup(&self, workflow: &Key, key: &str) -> Result<Option<RunId>, Error> {
        Ok(self.tables().dedup.get(&(workflow.clone(), key.into())).copied())
    }

    fn active_runs(&self) -> Result<Vec<RunId>, Error> {
        Ok(self.select(|head| (head.place == Place::Active).then_some(head.id)))
    }

    fn wakes(&self, after: Option<(u64, RunId)>, limit: usize) -> Result<Vec<(u64, RunId)>, Error> {
        let mut wakes = self.select(|head| Some((head.place.wake_ms()?, head.id)));
        wakes.sort_unstable();
        Ok(wakes.into_iter().filter(|wake| after.is_none_or(|after| *wake > after)).take(limit).collect())
    }

    fn queued(&self, queue: &str, after: Option<RunId>, limit: usize) -> Result<Vec<RunId>, Error> {
        let stands = |head: &RunHead| matches!(&head.place, Place::Queued(name) if &**name == queue);
        let queued = self.select(|head| stands(head).then_some(head.id));
        Ok(queued.into_iter().filter(|id| after.is_none_or(|after| *id > after)).take(limit).collect())
    }

    fn queues(&self) -> Result<Vec<Box<str>>, Error> {
        let mut queues = self.select(|head| match &head.place {
            Place::Queued(name) => Some(name.clone()),
            _ => None,
        });
        queues.sort_unstable();
        queues.dedup();
        Ok(queues)
    }

    fn arrivals(&self, run: RunId) -> Result<Vec<(ArrivalId, Arrival)>, Error> {
        let tables = self.tables();
        let of_run = tables.arrivals.range((run, 0)..=(run, u64::MAX));
        Ok(of_run.map(|((_, number), arrival)| (*number, arrival.clone())).collect())
    }

    fn arrived(&self) -> Result<Vec<RunId>, Error> {
        let mut runs: Vec<RunId> = self.tables().arrivals.keys().map(|(run, _)| *run).collect();
        runs.dedup();
        Ok(runs)
    }

    fn asked(&self, run: RunId) -> Result<Option<Asked>, Error> {
        Ok(self.tables().asked.get(&run).cloned())
    }

    fn asked_runs(&self) -> Result<Vec<RunId>, Error> {
        Ok(self.tables().asked.keys().copied().collect())
    }

    fn kv(&self, key: &KvKey) -> Result<(Seen, Option<Bytes>), Error> {
        let found = self.tables().kv.get(key).cloned();
        Ok(found.map_or((None, None), |(number, value)| (Some(number.to_be_bytes().to_vec()), Some(value))))
    }

    fn file(&self, id: &FileId) -> Result<Option<(FileFacts, Bytes)>, Error> {
        Ok(self.tables().runs.get(&id.run).and_then(|run| run.files.get(id).cloned()))
    }

    fn waiters(&self, name: &SignalName, limit: usize) -> Result<Vec<RunId>, Error> {
        let tables = self.tables();
        let waiters = tables.waits.keys().filter(|(waited, _)| waited == name).map(|(_, run)| *run);
        Ok(waiters.take(limit).collect())
    }

    fn kept_signals(&self, name: &SignalName) -> Result<Vec<(ArrivalId, KeptSignal)>, Error> {
        let tables = self.tables();
        let kept = tables.kept.iter().filter(|((of, _), _)| of == name);
        Ok(kept.map(|((_, number), kept)| (*number, kept.clone())).collect())
    }
}
