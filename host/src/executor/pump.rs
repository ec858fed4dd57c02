//! What makes runs go on that are not in memory: time, what came for them, and room in their queue.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::scheduler::{Slot, queue_of_head};
use super::{Error, Executor};
use crate::digest::Digest;
use crate::limits::{PUMP_BATCH, QUARANTINE_LOOK_MS};
use crate::run::{Arrival, RunId};
use crate::store::{ArrivalId, Change, CommitError, Place, SignalName};

/// See the module.
#[derive(Default)]
pub(super) struct Pump {
    woken: Mutex<Woken>,
    /// The earliest time that the pump was told of since it last looked.
    alarm_ms: Mutex<Option<u64>>,
    /// Runs that cannot go on.
    stuck: Mutex<BTreeSet<RunId>>,
    /// Runs that plugins in quarantine hold up, as far as this process has met them.
    held_up: Mutex<HashMap<Digest, BTreeSet<RunId>>>,
    bell: Notify,
}

/// Runs for which something came.
#[derive(Default)]
struct Woken {
    queue: VecDeque<RunId>,
    all: BTreeSet<RunId>,
}

impl Pump {
    fn woken(&self) -> MutexGuard<'_, Woken> {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stuck(&self, run: RunId) -> bool {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner).contains(&run)
    }

    fn pop(&self) -> Option<RunId> {
        let mut woken = self.woken();
        let run = woken.queue.pop_front()?;
        woken.all.remove(&run);
        Some(run)
    }

    fn push(&self, run: RunId) {
        let mut woken = self.woken();
        if woken.all.insert(run) {
            woken.queue.push_back(run);
        }
    }
}

impl Executor {
    /// Something came for a run: whoever carries it out is told, or it goes on.
    pub(super) fn poke(&self, run: RunId) {
        if !self.live.ring(run) {
            self.pump.push(run);
            self.pump.bell.notify_one();
        }
    }

    /// Runs that wait for a message are to look whether one is kept.
    pub(super) fn poke_waiters(&self, name: &SignalName) -> Result<(), crate::store::Error> {
        for run in self.store.waiters(name, usize::MAX)? {
            self.poke(run);
        }
        Ok(())
    }

    /// A run waits until this time.
    pub(super) fn alarm(&self, at_ms: u64) {
        let mut alarm = self.pump.alarm_ms.lock().unwrap_or_else(PoisonError::into_inner);
        if alarm.is_none_or(|earliest| at_ms < earliest) {
            *alarm = Some(at_ms);
            self.pump.bell.notify_one();
        }
    }

    /// Makes runs go on, for ever. What was left behind by an earlier process goes on first.
    pub async fn run_pump(self: Arc<Self>) {
        loop {
            match self.recover() {
                Ok(()) => break,
                Err(error) => {
                    tracing::error!(%error, "runs could not be gone on with; trying again");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
        let mut is_recovering = true;
        loop {
            let rung = self.pump.bell.notified();
            let changed = self.scheduler.changed.notified();
            *self.pump.alarm_ms.lock().unwrap_or_else(PoisonError::into_inner) = None;
            let arrived = self.wake_arrived();
            is_recovering &= arrived.as_ref().is_ok_and(|went| went.more);
            // Runs that were interrupted have their slots back before others begin.
            let queued = if is_recovering { Ok(Went::default()) } else { self.begin_queued() };
            let turn = [arrived, self.wake_due(), queued];
            let mut next_ms = None;
            let mut has_more = false;
            for went in turn {
                match went {
                    Ok(Went { more, at_ms }) => {
                        has_more |= more;
                        next_ms = next_ms.into_iter().chain(at_ms).min();
                    }
                    Err(error) => {
                        tracing::error!(%error, "runs could not be gone on with; trying again");
                        next_ms = Some(self.clock.now_ms() + 1_000);
                    }
                }
            }
            if has_more {
                // Whoever begins now has the threads first.
                tokio::task::yield_now().await;
                continue;
            }
            if let Some(alarm) = *self.pump.alarm_ms.lock().unwrap_or_else(PoisonError::into_inner) {
                next_ms = Some(next_ms.map_or(alarm, |next| next.min(alarm)));
            }
            // The clock is looked at again from time to time, since it may be set.
            let wait = next_ms.map_or(60_000, |at_ms| at_ms.saturating_sub(self.clock.now_ms()).min(60_000));
            tokio::select! {
                () = rung => {}
                () = changed => {}
                () = tokio::time::sleep(Duration::from_millis(wait)) => {}
            }
        }
    }

    /// Finds what an earlier process left behind.
    fn recover(&self) -> Result<(), Error> {
        for run in self.store.active_runs()?.into_iter().chain(self.store.arrived()?).chain(self.store.asked_runs()?) {
            self.pump.push(run);
        }
        for queue in self.store.queues()? {
            self.scheduler.queued(&queue);
        }
        Ok(())
    }

    /// How many runs an earlier process left behind, queued and waiting ones not counted.
    pub fn interrupted_runs(&self) -> Result<usize, Error> {
        Ok(self.store.active_runs()?.len())
    }

    fn wake_arrived(self: &Arc<Self>) -> Result<Went, Error> {
        for _ in 0..PUMP_BATCH {
            let Some(run) = self.pump.pop() else { return Ok(Went::default()) };
            if self.live.ring(run) {
                continue;
            }
            if !self.go_on(run) {
                self.pump.push(run);
                return Ok(Went::default());
            }
        }
        Ok(Went { more: true, at_ms: None })
    }

    /// Goes on with a run that is asked for, waits, or was interrupted. False: there is no room now, and the pump is told when
    /// there is. One that cannot be read holds up no other.
    fn go_on(self: &Arc<Self>, run: RunId) -> bool {
        self.try_go_on(run).unwrap_or_else(|error| self.give_up(run, &error))
    }

    fn try_go_on(self: &Arc<Self>, run: RunId) -> Result<bool, Error> {
        if let Some(asked) = self.store.asked(run)? {
            tokio::spawn(self.clone().answer(asked));
            return Ok(true);
        }
        let Some(head) = self.store.run(run)? else { return self.throw_away(run) };
        if matches!(head.place, Place::Queued(_)) && !self.is_cancelled(run)? {
            // What came for it is kept until it is its turn.
            return Ok(true);
        }
        let queue = queue_of_head(&head);
        let Some(slot) = self.scheduler.for_resume(&queue) else { return Ok(false) };
        if self.resume_or_give_up(run, slot) { Ok(true) } else { self.throw_away(run) }
    }

    /// Whether somebody has stopped a run that does not know of it yet.
    pub(super) fn is_cancelled(&self, run: RunId) -> Result<bool, Error> {
        let cancels = |(_, arrival): &(ArrivalId, Arrival)| matches!(arrival, Arrival::Cancel { .. });
        Ok(self.store.arrivals(run)?.iter().any(cancels))
    }

    /// Throws away what came for a run that is over. True, as there is nothing more to do.
    fn throw_away(self: &Arc<Self>, run: RunId) -> Result<bool, Error> {
        let gone: Vec<Change> = self.store.arrivals(run)?.into_iter().map(|(number, _)| Change::TakeUp(run, number)).collect();
        if !gone.is_empty() {
            let executor = self.clone();
            tokio::spawn(async move {
                match executor.store.commit(gone).await {
                    Ok(()) => {}
                    // Some of it was taken up meanwhile: the rest is looked at again.
                    Err(CommitError::Gone) => executor.poke(run),
                    Err(error) => tracing::error!(%run, %error, "what came too late could not be thrown away"),
                }
            });
        }
        Ok(true)
    }

    /// Goes on with runs whose time has come.
    fn wake_due(self: &Arc<Self>) -> Result<Went, Error> {
        let now_ms = self.clock.now_ms();
        let (mut after, mut woken) = (None, 0);
        loop {
            let page = self.store.wakes(after, PUMP_BATCH)?;
            let is_last = page.len() < PUMP_BATCH;
            for (at_ms, run) in page {
                if at_ms > now_ms {
                    return Ok(Went { more: false, at_ms: Some(at_ms) });
                }
                after = Some((at_ms, run));
                // Whoever carries it out looks at the clock itself, and the list changes with the next commit.
                if self.live.contains(run) || self.pump.is_stuck(run) {
                    continue;
                }
                if woken == PUMP_BATCH {
                    return Ok(Went { more: true, at_ms: None });
                }
                if !self.go_on(run) {
                    // The pump is told when there is room.
                    return Ok(Went::default());
                }
                woken += 1;
            }
            if is_last {
                return Ok(Went::default());
            }
        }
    }

    /// Begins runs that stand in queues.
    fn begin_queued(self: &Arc<Self>) -> Result<Went, Error> {
        for _ in 0..PUMP_BATCH {
            let Some((queue, slot)) = self.scheduler.next() else { return Ok(Went::default()) };
            let puts = self.scheduler.puts(&queue);
            let Some(run) = self.next_in(&queue)? else {
                self.scheduler.emptied(&queue, puts);
                continue;
            };
            self.resume_or_give_up(run, slot);
        }
        Ok(Went { more: true, at_ms: None })
    }

    /// The first run in a queue that has not begun: those that have stand there until their next commit.
    fn next_in(&self, queue: &str) -> Result<Option<RunId>, Error> {
        let mut after = None;
        loop {
            let page = self.store.queued(queue, after, PUMP_BATCH)?;
            let waits = |run: &&RunId| !self.live.contains(**run) && !self.pump.is_stuck(**run);
            match page.iter().find(waits) {
                Some(run) => return Ok(Some(*run)),
                None if page.len() < PUMP_BATCH => return Ok(None),
                None => after = page.last().copied(),
            }
        }
    }

    fn resume_or_give_up(self: &Arc<Self>, run: RunId, slot: Slot) -> bool {
        self.resume(run, slot).unwrap_or_else(|error| self.give_up(run, &error))
    }

    /// A run that cannot go on, since its plugin is missing, say, is left alone until plugins change. True, as there is nothing
    /// more to do.
    fn give_up(&self, run: RunId, error: &Error) -> bool {
        tracing::error!(%run, %error, "a run cannot go on; it is tried again when plugins change, and at the next start");
        self.pump.stuck.lock().unwrap_or_else(PoisonError::into_inner).insert(run);
        true
    }

    fn all_held_up(&self) -> MutexGuard<'_, HashMap<Digest, BTreeSet<RunId>>> {
        self.pump.held_up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A plugin in quarantine holds up a run.
    pub(super) fn hold_up(&self, run: RunId, plugin: Digest) {
        self.all_held_up().entry(plugin).or_default().insert(run);
        if !self.components.is_quarantined(&plugin) {
            // It was released meanwhile, and those that it held up were told already.
            self.poke(run);
        }
    }

    /// A run has ended: nothing holds it up.
    pub(super) fn forget_held_up(&self, run: RunId) {
        for runs in self.all_held_up().values_mut() {
            runs.remove(&run);
        }
    }

    /// The plugins in quarantine that hold up a run, as far as this process has met it.
    pub fn held_up_by(&self, run: RunId) -> Vec<Digest> {
        let all = self.all_held_up();
        all.iter().filter(|(_, runs)| runs.contains(&run)).map(|(plugin, _)| *plugin).collect()
    }

    /// A plugin is in quarantine no more: runs that it held up go on.
    pub fn released(&self, plugin: &Digest) -> Result<(), Error> {
        let runs = self.all_held_up().remove(plugin).unwrap_or_default();
        runs.iter().for_each(|run| self.poke(*run));
        // Those of an earlier process, among all that would look by themselves in a while.
        let until_ms = self.clock.now_ms() + QUARANTINE_LOOK_MS;
        let mut after = None;
        loop {
            let page = self.store.wakes(after, PUMP_BATCH)?;
            for (_, run) in page.iter().filter(|(at_ms, _)| *at_ms <= until_ms) {
                self.poke(*run);
            }
            after = page.last().copied();
            if page.len() < PUMP_BATCH || after.is_none_or(|(at_ms, _)| at_ms > until_ms) {
                return Ok(());
            }
        }
    }

    /// Plugins have changed: runs that could not go on are tried again.
    pub fn try_stuck_runs(&self) {
        let stuck = std::mem::take(&mut *self.pump.stuck.lock().unwrap_or_else(PoisonError::into_inner));
        if !stuck.is_empty() {
            stuck.into_iter().for_each(|run| self.pump.push(run));
            self.pump.bell.notify_one();
        }
    }
}

/// What one look came to.
#[derive(Default)]
struct Went {
    /// Whether to look again at once.
    more: bool,
    /// When to look again at the latest.
    at_ms: Option<u64>,
}
