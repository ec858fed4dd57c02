//! Runs in the embedded engine.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::history::Totals;
use super::kv::Order;
use super::record::{Batch, Raw};
use super::run_store::{
    ArrivalId, Asked, Change, CommitError, KeptSignal, Loaded, Place, RUN_STATUSES, RunChange, RunFilter, RunHead, RunStore,
    SignalName, status_number,
};
use super::timers::{SetAside, StoredTimer, TimerChange};
use super::{Error, Store, keys};
use crate::digest::Digest;
use crate::limits::DEDUP_MS_MIN;
use crate::run::{Arrival, Entry, FileFacts, FileId, KvKey, RunId, Seen, State};
use crate::workflow::{Json, Key};

/// What is refused when a precondition of a batch does not hold.
pub(super) enum Meaning {
    /// The dedup key of the change with this place.
    Dedup(usize, Vec<u8>),
    Segment(RunId),
    Kv,
    Gone,
}

/// A state with the number of segments that fold to it, and the form that it is written in: another form is not read, and the
/// journal is folded instead.
#[derive(Serialize, Deserialize)]
struct Snapshot<S> {
    form: u32,
    segments: u32,
    state: S,
}

/// Raised whenever [`State`] changes.
const SNAPSHOT_FORM: u32 = 2;

#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    payload: Json,
    sent_ms: u64,
}

/// A batch that is being put together, and what each of its preconditions means.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) batch: Batch,
    meanings: Vec<Meaning>,
}

impl Pending {
    pub(super) fn expect(&mut self, meaning: Meaning, expect: impl FnOnce(&mut Batch)) {
        expect(&mut self.batch);
        self.meanings.push(meaning);
        debug_assert_eq!(self.meanings.len(), self.batch.preconditions());
    }

    fn run(&mut self, store: &Store, place: usize, change: &RunChange) -> Result<(), Error> {
        let RunChange { head, before, segments, entries, snapshot, dedup, waits, waits_no_more, files, forget } = change;
        let id = head.id;
        if before.is_none() {
            self.batch.add(keys::run_count(&head.workflow), 1);
            if let Some(key) = dedup {
                let key = keys::dedup(&head.workflow, key);
                self.expect(Meaning::Dedup(place, key.clone()), |batch| batch.expect_absent(&key));
                self.batch.put(&key, id.as_bytes());
            }
        }
        for name in waits_no_more {
            self.batch.remove(&keys::of_run(&waits_of(name), id), None);
        }
        for name in waits {
            self.batch.put(&keys::of_run(&waits_of(name), id), &[]);
        }
        if *forget {
            if let Some(before) = before {
                self.forget(store, before)?;
            }
            self.keep_dedup(head);
            return Ok(());
        }
        // Who carries a run out does not count its bytes.
        let stored = if before.is_some() { store.run(id)? } else { None };
        let mut head = RunHead { bytes: stored.as_ref().map_or(0, |stored| stored.bytes), ..head.clone() };
        let mut segments = *segments;
        if !entries.is_empty() {
            let encoded = encode(&**entries)?;
            let key = keys::segment(id, segments);
            self.expect(Meaning::Segment(id), |batch| batch.expect_absent(&key));
            self.batch.put(&key, &encoded);
            self.batch.announce(id, segments);
            head.bytes += encoded.len() as u64;
            segments += 1;
        }
        head.bytes += self.files(files)?;
        self.index(&head, before.as_ref());
        let totals = stored.as_ref().map(Totals::of).unwrap_or_default();
        self.batch.add_totals(&head.workflow, totals.to(Totals::of(&head)));
        self.batch.put(&keys::run(id), &encode(&head)?);
        if let Some(state) = snapshot {
            let key = keys::snapshot(id);
            let old = store.read_raw(&key)?.map(|(raw, _)| raw);
            self.batch.replace(&key, &encode(&Snapshot { form: SNAPSHOT_FORM, segments, state })?, old.as_ref());
        }
        Ok(())
    }

    fn kv(&mut self, store: &Store, key: &KvKey, value: Option<&Bytes>) -> Result<(), Error> {
        let key = keys::kv(key);
        let old = store.read_raw(&key)?.map(|(raw, _)| raw);
        if old.as_ref().is_some_and(Raw::is_split) {
            // Its pieces go with it, so it must still be this one.
            self.expect(Meaning::Kv, |batch| batch.expect(&key, old.as_ref()));
        }
        match value {
            Some(value) => self.batch.replace(&key, value, old.as_ref()),
            None => self.batch.remove(&key, old.as_ref()),
        }
        Ok(())
    }

    /// Removes a value that must be there.
    pub(super) fn take(&mut self, store: &Store, key: &[u8]) -> Result<(), Error> {
        self.expect(Meaning::Gone, |batch| batch.expect_present(key));
        self.batch.remove(key, store.read_raw(key)?.map(|(raw, _)| raw).as_ref());
        Ok(())
    }

    /// Writes the indexes of a run that differ from those that are stored.
    fn index(&mut self, head: &RunHead, before: Option<&RunHead>) {
        let (old, new) = (before.map(index_keys).unwrap_or_default(), index_keys(head));
        for key in old.iter().filter(|key| !new.contains(key)) {
            self.batch.remove(key, None);
        }
        for key in new.iter().filter(|key| !old.contains(key)) {
            self.batch.put(key, &[]);
        }
    }

    /// Removes everything of a run but its count and its dedup key.
    pub(super) fn forget(&mut self, store: &Store, head: &RunHead) -> Result<(), Error> {
        for key in index_keys(head) {
            self.batch.remove(&key, None);
        }
        let totals = store.run(head.id)?.as_ref().map(Totals::of).unwrap_or_default();
        self.batch.add_totals(&head.workflow, totals.to(Totals::default()));
        self.batch.remove(&keys::run(head.id), None);
        for (key, raw) in store.scan_raw(&keys::journal(head.id))? {
            self.batch.remove(&key, Some(&raw));
        }
        if let Some((raw, _)) = store.read_raw(&keys::snapshot(head.id))? {
            self.batch.remove(&keys::snapshot(head.id), Some(&raw));
        }
        self.forget_files(store, head.id)?;
        Ok(())
    }

    /// A run goes, and its dedup key stays for as long as was promised.
    pub(super) fn keep_dedup(&mut self, head: &RunHead) {
        if let Some(digest) = &head.dedup {
            let key = keys::dedup_digest(&head.workflow, digest);
            self.batch.put(&keys::dedup_end(head.accepted_ms + DEDUP_MS_MIN, &key), &[]);
        }
    }
}

/// A snapshot's state, and how many segments fold to it; none: it has another form.
pub(super) fn read_snapshot(bytes: &[u8]) -> Result<Option<(u32, State)>, Error> {
    if decode::<Snapshot<serde::de::IgnoredAny>>(bytes)?.form != SNAPSHOT_FORM {
        return Ok(None);
    }
    let Snapshot { segments, state, .. } = decode::<Snapshot<State>>(bytes)?;
    Ok(Some((segments, state)))
}

/// Every index in which a run stands.
pub(super) fn index_keys(head: &RunHead) -> Vec<Vec<u8>> {
    let status = status_number(head.status);
    let mut all = vec![
        keys::of_run(&keys::by_status(status), head.id),
        keys::of_run(&keys::by_workflow(&head.workflow, status), head.id),
        keys::of_run(&keys::by_revision(&head.workflow, head.revision, status), head.id),
    ];
    match &head.place {
        Place::Active => all.push(keys::of_run(keys::ACTIVE_RUNS, head.id)),
        Place::Queued(queue) => all.push(keys::of_run(&keys::queue(queue), head.id)),
        Place::Parked(Some(wake_ms)) => all.push(keys::wake(*wake_ms, head.id)),
        Place::Parked(None) | Place::Ended => {}
    }
    all
}

fn waits_of(name: &SignalName) -> Vec<u8> {
    keys::signal_waits(&name.workflow, &name.name, &name.key)
}

fn kept_of(name: &SignalName) -> Vec<u8> {
    keys::kept_signals(&name.workflow, &name.name, &name.key)
}

impl Store {
    pub(super) fn prepare(&self, changes: &[Change]) -> Result<Pending, CommitError> {
        let mut pending = Pending::default();
        let mut dedup = BTreeMap::new();
        for (place, change) in changes.iter().enumerate() {
            match change {
                Change::Run(change) => {
                    if let Some(key) = &change.dedup
                        && change.before.is_none()
                        && let Some(first) = dedup.insert((&change.head.workflow, key), change.head.id)
                    {
                        return Err(CommitError::Duplicate(place, first));
                    }
                    pending.run(self, place, change)?;
                }
                Change::Arrive(run, arrival) => {
                    pending.batch.put(&keys::arrival(*run, self.numbers.next()), &encode(arrival)?);
                }
                Change::TakeUp(run, number) => pending.take(self, &keys::arrival(*run, *number))?,
                Change::Ask(asked) => pending.batch.put(&keys::start(asked.run), &encode(asked)?),
                Change::Answer(run) => pending.take(self, &keys::start(*run))?,
                Change::KvSeen(key, seen) => {
                    let key = keys::kv(key);
                    pending.expect(Meaning::Kv, |batch| batch.expect(&key, seen.clone().map(Raw).as_ref()));
                }
                Change::Kv(key, value) => pending.kv(self, key, value.as_ref())?,
                Change::KeepSignal(kept) => {
                    let key = [&kept_of(&kept.name)[..], &self.numbers.next().to_be_bytes()].concat();
                    let value = Kept { payload: kept.payload.clone(), sent_ms: kept.sent_ms };
                    pending.batch.put(&key, &encode(&value)?);
                }
                Change::TakeSignal(name, number) => {
                    pending.take(self, &[&kept_of(name)[..], &number.to_be_bytes()].concat())?;
                }
                Change::Timers(change) => pending.timers(self, change)?,
                Change::Audit(entry) => pending.batch.audit(entry)?,
            }
        }
        Ok(pending)
    }

    fn refused(&self, meaning: Option<&Meaning>) -> CommitError {
        match meaning {
            Some(Meaning::Dedup(place, key)) => match self.read(key) {
                Ok(Some(bytes)) => match keys::run_id(&bytes) {
                    Some(first) => CommitError::Duplicate(*place, first),
                    None => Error::Corrupt("a dedup key".into()).into(),
                },
                // It is gone again: whoever asks once more finds it free.
                Ok(None) => Error::Conflict.into(),
                Err(error) => error.into(),
            },
            Some(Meaning::Segment(run)) => CommitError::Fenced(*run),
            Some(Meaning::Kv) => CommitError::Changed,
            Some(Meaning::Gone) => CommitError::Gone,
            None => Error::Conflict.into(),
        }
    }

    /// The entries of one segment of a journal; none: there is no such segment.
    pub fn segment(&self, id: RunId, number: u32) -> Result<Option<Vec<Entry>>, Error> {
        self.read(&keys::segment(id, number))?.map(|bytes| decode(&bytes)).transpose()
    }

    fn run_ids(&self, prefix: &[u8]) -> Result<Vec<RunId>, Error> {
        let pairs = self.scan(prefix, None, Order::Ascending, usize::MAX)?;
        Ok(pairs.iter().filter_map(|(key, _)| keys::run_id(key)).collect())
    }
}

impl RunStore for Store {
    fn commit(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<(), CommitError>> {
        Box::pin(async move {
            let Pending { batch, meanings } = self.prepare(&changes)?;
            if batch.is_empty() {
                return Ok(());
            }
            match self.commit_raw(batch).await {
                Ok(()) => Ok(()),
                Err(Error::Refused(place)) => Err(self.refused(meanings.get(place))),
                Err(error) => Err(error.into()),
            }
        })
    }

    fn check_space(&self) -> Result<(), Error> {
        if self.place.as_ref().is_none_or(|place| place.space.is_enough()) { Ok(()) } else { Err(Error::NoSpace) }
    }

    fn run(&self, id: RunId) -> Result<Option<RunHead>, Error> {
        self.read(&keys::run(id))?.map(|bytes| decode(&bytes)).transpose()
    }

    fn journal(&self, id: RunId) -> Result<Vec<Entry>, Error> {
        let segments = self.scan(&keys::journal(id), None, Order::Ascending, usize::MAX)?;
        let mut entries = Vec::new();
        for (_, bytes) in segments {
            entries.extend(decode::<Vec<Entry>>(&bytes)?);
        }
        Ok(entries)
    }

    fn first_entry(&self, id: RunId) -> Result<Option<Entry>, Error> {
        Ok(self.segment(id, 0)?.and_then(|entries| entries.into_iter().next()))
    }

    fn load(&self, id: RunId) -> Result<Option<Loaded>, Error> {
        let Some(head) = self.run(id)? else { return Ok(None) };
        let snapshot = match self.read(&keys::snapshot(id))? {
            // What cannot be read is not needed either.
            Some(bytes) => read_snapshot(&bytes).unwrap_or(None),
            None => None,
        };
        let covered = snapshot.as_ref().map_or(0, |(segments, _)| *segments);
        let after = covered.checked_sub(1).map(|last| keys::segment(id, last));
        let segments = self.scan(&keys::journal(id), after.as_deref(), Order::Ascending, usize::MAX)?;
        let tail = u32::try_from(segments.len()).map_err(|_| Error::Corrupt(format!("the journal of {id}")))?;
        let mut entries = Vec::new();
        for (_, bytes) in segments {
            entries.extend(decode::<Vec<Entry>>(&bytes)?);
        }
        let snapshot = snapshot.map(|(_, state)| state);
        Ok(Some(Loaded { head, snapshot, entries, segments: covered + tail, tail }))
    }

    fn runs(&self, filter: &RunFilter) -> Result<(Vec<RunHead>, Option<RunId>), Error> {
        let statuses: Vec<u8> = match filter.status {
            Some(status) => vec![status_number(status)],
            None => RUN_STATUSES.into_iter().map(status_number).collect(),
        };
        let prefixes: Vec<Vec<u8>> = match (&filter.workflow, filter.revision) {
            (Some(workflow), Some(revision)) => {
                statuses.iter().map(|status| keys::by_revision(workflow, revision, *status)).collect()
            }
            (Some(workflow), None) => statuses.iter().map(|status| keys::by_workflow(workflow, *status)).collect(),
            (None, _) if filter.status.is_some() => statuses.iter().map(|status| keys::by_status(*status)).collect(),
            (None, _) => vec![keys::RUNS.to_vec()],
        };
        // Ids sort by the time of acceptance: a run is older than the smallest id of a later time.
        let newest = filter.before_ms.map(|before_ms| RunId::new(before_ms, [0; 10]));
        let before = match (filter.after, newest) {
            (Some(after), Some(newest)) => Some(after.min(newest)),
            (after, newest) => after.or(newest),
        };
        let mut ids = Vec::new();
        for prefix in &prefixes {
            let after = before.map(|id| keys::of_run(prefix, id));
            let keys_only = self.kv.scan(prefix, after.as_deref(), Order::Descending, filter.limit + 1)?;
            ids.extend(keys_only.iter().filter_map(|(key, _)| keys::run_id(key)));
        }
        ids.sort_unstable_by(|a, b| b.cmp(a));
        if let Some(from_ms) = filter.from_ms {
            ids.retain(|id| id.accepted_ms() >= from_ms);
        }
        let more = ids.len() > filter.limit;
        ids.truncate(filter.limit);
        let next = ids.last().copied().filter(|_| more);
        let heads = ids.into_iter().filter_map(|id| self.run(id).transpose()).collect::<Result<_, _>>()?;
        Ok((heads, next))
    }

    fn runs_started(&self, workflow: &Key) -> Result<u32, Error> {
        let key = keys::run_count(workflow);
        match self.writer.counter(&key) {
            Some(count) => Ok(count),
            None => self.read(&key)?.map_or(Ok(0), |content| super::record::count(&key, &content)),
        }
    }

    fn run_of_dedup(&self, workflow: &Key, key: &str) -> Result<Option<RunId>, Error> {
        Ok(self.read(&keys::dedup(workflow, key))?.as_deref().and_then(keys::run_id))
    }

    fn active_runs(&self) -> Result<Vec<RunId>, Error> {
        self.run_ids(keys::ACTIVE_RUNS)
    }

    fn wakes(&self, after: Option<(u64, RunId)>, limit: usize) -> Result<Vec<(u64, RunId)>, Error> {
        let after = after.map(|(at_ms, id)| keys::wake(at_ms, id));
        let pairs = self.kv.scan(keys::WAKES, after.as_deref(), Order::Ascending, limit)?;
        Ok(pairs.iter().filter_map(|(key, _)| Some((keys::time_of(key)?, keys::run_id(key)?))).collect())
    }

    fn queued(&self, queue: &str, after: Option<RunId>, limit: usize) -> Result<Vec<RunId>, Error> {
        let prefix = keys::queue(queue);
        let after = after.map(|id| keys::of_run(&prefix, id));
        let pairs = self.kv.scan(&prefix, after.as_deref(), Order::Ascending, limit)?;
        Ok(pairs.iter().filter_map(|(key, _)| keys::run_id(key)).collect())
    }

    fn queues(&self) -> Result<Vec<Box<str>>, Error> {
        let mut found: Vec<Box<str>> = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        // From one queue the scan jumps behind it: as many steps as there are queues.
        while let Some((key, _)) = self.kv.scan(keys::QUEUES, after.as_deref(), Order::Ascending, 1)?.pop() {
            let name = keys::queue_of(&key).ok_or_else(|| Error::Corrupt("a queue".into()))?;
            after = Some(keys::of_run(&keys::queue(name), RunId::from_bytes([0xff; 16])));
            found.push(name.into());
        }
        Ok(found)
    }

    fn arrivals(&self, run: RunId) -> Result<Vec<(ArrivalId, Arrival)>, Error> {
        let pairs = self.scan(&keys::arrivals(run), None, Order::Ascending, usize::MAX)?;
        pairs
            .iter()
            .map(|(key, bytes)| {
                let number = keys::number(key).ok_or_else(|| Error::Corrupt("an arrival".into()))?;
                Ok((number, decode(bytes)?))
            })
            .collect()
    }

    fn arrived(&self) -> Result<Vec<RunId>, Error> {
        let pairs = self.kv.scan(keys::ARRIVALS, None, Order::Ascending, usize::MAX)?;
        let mut runs: Vec<RunId> = pairs.iter().filter_map(|(key, _)| keys::run_of_arrival(key)).collect();
        runs.dedup();
        Ok(runs)
    }

    fn asked(&self, run: RunId) -> Result<Option<Asked>, Error> {
        self.read(&keys::start(run))?.map(|bytes| decode(&bytes)).transpose()
    }

    fn asked_runs(&self) -> Result<Vec<RunId>, Error> {
        self.run_ids(keys::STARTS)
    }

    fn kv(&self, key: &KvKey) -> Result<(Seen, Option<Bytes>), Error> {
        Ok(match self.read_raw(&keys::kv(key))? {
            Some((raw, bytes)) => (Some(raw.0), Some(bytes)),
            None => (None, None),
        })
    }

    fn file(&self, id: &FileId) -> Result<Option<(FileFacts, Bytes)>, Error> {
        self.read_file(id)
    }

    fn waiters(&self, name: &SignalName, limit: usize) -> Result<Vec<RunId>, Error> {
        let pairs = self.kv.scan(&waits_of(name), None, Order::Ascending, limit)?;
        Ok(pairs.iter().filter_map(|(key, _)| keys::run_id(key)).collect())
    }

    fn timers(&self, workflow: &Key, limit: usize) -> Result<Vec<StoredTimer>, Error> {
        self.first_timers_of(workflow, limit)
    }

    fn other_timers(&self, change: &TimerChange) -> Result<usize, Error> {
        self.count_other_timers(change)
    }

    fn first_timers(&self) -> Result<Vec<(Key, u64)>, Error> {
        self.workflows_with_timers()
    }

    fn set_aside_count(&self, workflow: &Key, limit: usize) -> Result<usize, Error> {
        self.count_set_aside(workflow, limit)
    }

    fn set_aside(&self, workflow: &Key, after: Option<u64>, limit: usize) -> Result<Vec<(u64, SetAside)>, Error> {
        self.events_set_aside(workflow, after, limit)
    }

    fn kept_signals(&self, name: &SignalName) -> Result<Vec<(ArrivalId, KeptSignal)>, Error> {
        let pairs = self.scan(&kept_of(name), None, Order::Ascending, usize::MAX)?;
        pairs
            .iter()
            .map(|(key, bytes)| {
                let number = keys::number(key).ok_or_else(|| Error::Corrupt("a kept message".into()))?;
                let Kept { payload, sent_ms } = decode(bytes)?;
                Ok((number, KeptSignal { name: name.clone(), payload, sent_ms }))
            })
            .collect()
    }
}

/// The digest of a dedup key, as heads keep it.
pub(crate) fn dedup_digest(key: &str) -> Digest {
    Digest::of(key.as_bytes())
}

pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    rmp_serde::to_vec_named(value).map_err(|error| Error::Engine(format!("encoding: {error}")))
}

pub(super) fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    rmp_serde::from_slice(bytes).map_err(|error| Error::Corrupt(format!("a record cannot be read: {error}")))
}
