//! Timers of triggers, and events that a trigger could not take.
//!
//! A workflow's timers stand under their ids, and once more in the order in which they are due, so that the next one is found without a
//! look at the others. A timer goes in the batch that makes what came of it durable.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::kv::Order;
use super::record::Raw;
use super::runs::{Meaning, Pending, decode, encode};
use super::{Error, Store, keys, record};
use crate::run::{Failure, Seen};
use crate::workflow::{Json, Key};

/// A timer of a workflow's trigger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timer {
    /// Chosen by the trigger.
    pub id: Box<str>,
    /// When it is due, in milliseconds since 1970.
    pub at_ms: u64,
    /// Handed back when it fires.
    pub payload: Json,
    /// The revision whose trigger set it.
    pub revision: u32,
}

/// A timer as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredTimer {
    /// The timer.
    pub timer: Timer,
    /// What a commit compares that spends it.
    pub seen: Seen,
}

/// What becomes of a workflow's timers, in this order. One batch has one at most for each workflow.
#[derive(Clone, Debug)]
pub struct TimerChange {
    /// The workflow.
    pub workflow: Key,
    /// What is committed with this came of it, and it goes. Refused if it is gone or another by now.
    pub spent: Option<Spent>,
    /// All that there are go.
    pub drop_all: bool,
    /// The ids of others that go, if they are there.
    pub clear: Vec<Box<str>>,
    /// Timers to set; one with an id that is there takes its place.
    pub set: Vec<Timer>,
    /// An event that waits for an operator from now on.
    pub set_aside: Option<SetAside>,
}

impl TimerChange {
    /// No change.
    pub fn none(workflow: &Key) -> Self {
        let (clear, set) = (Vec::new(), Vec::new());
        Self { workflow: workflow.clone(), spent: None, drop_all: false, clear, set, set_aside: None }
    }
}

/// An event that was delivered.
#[derive(Clone, Debug)]
pub enum Spent {
    /// The timer with this id, as it was read.
    Timer(Box<str>, Seen),
    /// An event that was set aside, by its number.
    SetAside(u64),
}

/// An event that a trigger could not take, kept for an operator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetAside {
    /// The timer that fired.
    pub timer: Timer,
    /// What the trigger said.
    pub failure: Failure,
    /// The revision that said so.
    pub revision: u32,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

impl Pending {
    pub(super) fn timers(&mut self, store: &Store, change: &TimerChange) -> Result<(), Error> {
        let workflow = &change.workflow;
        let mut becomes: BTreeMap<Vec<u8>, Option<&Timer>> = BTreeMap::new();
        match &change.spent {
            Some(Spent::Timer(id, seen)) => {
                let key = keys::timer(workflow, id);
                self.expect(Meaning::Gone, |batch| batch.expect(&key, seen.clone().map(Raw).as_ref()));
                becomes.insert(key, None);
            }
            Some(Spent::SetAside(number)) => self.take(store, &keys::set_aside(workflow, *number))?,
            None => {}
        }
        if change.drop_all {
            becomes.extend(store.scan_raw(&keys::timers(workflow))?.into_iter().map(|(key, _)| (key, None)));
        }
        becomes.extend(change.clear.iter().map(|id| (keys::timer(workflow, id), None)));
        becomes.extend(change.set.iter().map(|timer| (keys::timer(workflow, &timer.id), Some(timer))));
        for (key, timer) in becomes {
            let old = store.read_raw(&key)?;
            let raw = old.as_ref().map(|(raw, _)| raw);
            // Its place in the order goes with it, so it must still be this one.
            self.expect(Meaning::Kv, |batch| batch.expect(&key, raw));
            if let Some((raw, bytes)) = &old {
                self.batch.remove(&keys::due_timer(&key, decode::<Timer>(bytes)?.at_ms), None);
                if timer.is_none() {
                    self.batch.remove(&key, Some(raw));
                }
            }
            if let Some(timer) = timer {
                self.batch.replace(&key, &encode(timer)?, raw);
                self.batch.put(&keys::due_timer(&key, timer.at_ms), &[]);
            }
        }
        if let Some(event) = &change.set_aside {
            self.batch.put(&keys::set_aside(workflow, store.next_number()), &encode(event)?);
        }
        Ok(())
    }
}

impl Store {
    pub(super) fn first_timers_of(&self, workflow: &Key, limit: usize) -> Result<Vec<StoredTimer>, Error> {
        let mut timers = Vec::new();
        for (due, _) in self.kv.scan(&keys::due_timers(workflow), None, Order::Ascending, limit)? {
            let corrupt = || Error::Corrupt(format!("the timers of `{workflow}`"));
            let (_, _, key) = keys::of_due_timer(&due).ok_or_else(corrupt)?;
            // One that is spent at this moment is left out.
            if let Some((raw, bytes)) = record::read_raw(&*self.kv, &self.blobs, &key)? {
                timers.push(StoredTimer { timer: decode(&bytes)?, seen: Some(raw.0) });
            }
        }
        Ok(timers)
    }

    pub(super) fn count_other_timers(&self, change: &TimerChange) -> Result<usize, Error> {
        let spent = match &change.spent {
            Some(Spent::Timer(id, _)) => Some(id),
            _ => None,
        };
        let ids = change.set.iter().map(|timer| &timer.id).chain(&change.clear).chain(spent);
        let changed: BTreeSet<Vec<u8>> = ids.map(|id| keys::timer(&change.workflow, id)).collect();
        let due = self.kv.scan(&keys::due_timers(&change.workflow), None, Order::Ascending, usize::MAX)?;
        Ok(due.iter().filter(|(due, _)| keys::of_due_timer(due).is_none_or(|(_, _, key)| !changed.contains(&key))).count())
    }

    /// Looks at one timer of each workflow.
    pub(super) fn workflows_with_timers(&self) -> Result<Vec<(Key, u64)>, Error> {
        let mut first = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let Some((key, _)) = self.kv.scan(keys::DUE_TIMERS, after.as_deref(), Order::Ascending, 1)?.pop() else {
                return Ok(first);
            };
            let (workflow, at_ms, _) =
                keys::of_due_timer(&key).ok_or_else(|| Error::Corrupt("the order of timers".to_owned()))?;
            // Behind the last one that this workflow can have.
            after = Some([&keys::due_timers(&workflow)[..], &[0xff; 41]].concat());
            first.push((workflow, at_ms));
        }
    }

    pub(super) fn count_set_aside(&self, workflow: &Key, limit: usize) -> Result<usize, Error> {
        Ok(self.kv.scan(&keys::all_set_aside(workflow), None, Order::Ascending, limit)?.len())
    }

    pub(super) fn events_set_aside(
        &self,
        workflow: &Key,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, SetAside)>, Error> {
        let after = after.map(|after| keys::set_aside(workflow, after));
        let pairs = self.scan(&keys::all_set_aside(workflow), after.as_deref(), Order::Ascending, limit)?;
        let read = |(key, bytes): &(Vec<u8>, bytes::Bytes)| Ok((keys::number(key).unwrap_or_default(), decode(bytes)?));
        pairs.iter().map(read).collect()
    }
}
