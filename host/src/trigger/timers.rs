//! Timers of triggers: fires each when it is due, those of one workflow one after the other, and keeps what a trigger cannot take.
//!
//! In memory there is one time for each workflow, when to look at it next. A timer is spent in the batch that makes what came of it durable,
//! so that it fires once, whatever happens between.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore};

use super::fire::{Asked, FireError, read_start};
use super::room::{Count, Counted, Room};
use super::{Triggers, rfc3339};
use crate::digest::Digest;
use crate::executor::{Error, Program};
use crate::limits::{
    QUARANTINE_LOOK_MS, SET_ASIDE_MAX, TIMER_BACKOFF_MS, TIMER_BACKOFF_MS_MAX, TIMER_FIRES_AT_ONCE_MAX, TIMER_FIRES_IN_A_ROW_MAX,
    TIMERS_MAX, TIMERS_SET_MAX,
};
use crate::plugin::exports::triggers::{self, Event};
use crate::run::Failure;
use crate::store::{AuditEntry, Change, SetAside, Spent, StoredTimer, Timer, TimerChange, What, Who};
use crate::workflow::Key;

/// When to look at which workflow.
pub(super) struct Timers {
    inner: Mutex<Inner>,
    bell: Notify,
    /// How many workflows' timers fire at one time.
    permits: Arc<Semaphore>,
    /// Whoever makes a revision the active one writes; whoever commits timers of one that must be it reads.
    switching: RwLock<()>,
}

#[derive(Default)]
struct Inner {
    /// Those that nobody looks at now.
    due: BTreeSet<(u64, Key)>,
    of: HashMap<Key, Entry>,
}

/// What is known of a workflow that has timers.
#[derive(Default)]
struct Entry {
    next_ms: Option<u64>,
    /// Whether somebody fires its timers now.
    is_busy: bool,
    /// Whether its timers were changed meanwhile.
    is_changed: bool,
    held: Option<Held>,
    count: Count,
    /// Whoever fires an event of it.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// Why the next timer of a workflow is not delivered yet, although it is due.
#[derive(Clone, Debug)]
pub struct Held {
    /// A stable code.
    pub code: String,
    /// For people.
    pub message: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried again, in milliseconds since 1970.
    pub until_ms: u64,
}

/// What became of a timer.
enum Went {
    /// The next one may be looked at.
    On,
    /// It stays, and those behind it, for so many milliseconds.
    Held(u64, String, String),
}

impl Default for Timers {
    fn default() -> Self {
        let permits = Arc::new(Semaphore::new(TIMER_FIRES_AT_ONCE_MAX));
        Self { inner: Mutex::default(), bell: Notify::new(), permits, switching: RwLock::default() }
    }
}

impl Timers {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first workflow that is due, to be looked at now; or how long there is none, in milliseconds.
    fn take_due(&self, now_ms: u64) -> Result<Key, Option<u64>> {
        let mut inner = self.inner();
        match inner.due.first() {
            None => Err(None),
            Some((at_ms, _)) if *at_ms > now_ms => Err(Some(at_ms - now_ms)),
            Some(_) => {
                let (_, key) = inner.due.pop_first().ok_or(None)?;
                let entry = inner.of.entry(key.clone()).or_default();
                (entry.next_ms, entry.is_busy, entry.is_changed) = (None, true, false);
                Ok(key)
            }
        }
    }

    fn turn(&self, workflow: &Key) -> Arc<tokio::sync::Mutex<()>> {
        self.inner().of.entry(workflow.clone()).or_default().turn.clone()
    }

    /// Nobody looks at a workflow any more; it is to be looked at then.
    fn leave(&self, workflow: &Key, next_ms: Option<u64>, held: Option<Held>, now_ms: u64) {
        let mut inner = self.inner();
        let Some(entry) = inner.of.get_mut(workflow) else { return };
        entry.is_busy = false;
        entry.held = held;
        let next_ms = if std::mem::take(&mut entry.is_changed) { Some(now_ms) } else { next_ms };
        inner.set(workflow, next_ms);
        drop(inner);
        self.bell.notify_one();
    }
}

impl Inner {
    fn set(&mut self, workflow: &Key, next_ms: Option<u64>) {
        let entry = self.of.entry(workflow.clone()).or_default();
        if let Some(before) = std::mem::replace(&mut entry.next_ms, next_ms) {
            self.due.remove(&(before, workflow.clone()));
        }
        match next_ms {
            Some(at_ms) => drop(self.due.insert((at_ms, workflow.clone()))),
            None if Arc::strong_count(&entry.turn) == 1 && !entry.count.is_held() => drop(self.of.remove(workflow)),
            None => {}
        }
    }
}

impl Triggers {
    /// Whoever makes a revision the active one, or none, holds this over the commit and [`Triggers::listen`].
    pub async fn switching(&self) -> RwLockWriteGuard<'_, ()> {
        self.timers.switching.write().await
    }

    /// While this is held, events start this revision. None: they do not.
    pub(super) async fn while_current(&self, program: &Program) -> Option<RwLockReadGuard<'_, ()>> {
        let guard = self.timers.switching.read().await;
        let plan = &program.plan;
        self.routes().of(&plan.workflow).is_some_and(|active| active.has(plan.revision)).then_some(guard)
    }

    /// Another revision's timers are there from now on.
    pub fn timers_switched(&self, workflow: &Key) {
        if let Some(entry) = self.timers.inner().of.get_mut(workflow) {
            entry.count.forget();
        }
        self.look_at_timers(workflow);
    }

    /// Timers of a workflow were changed by somebody else than whoever fires them. Where the first one is held up it stays so.
    pub(super) fn look_at_timers(&self, workflow: &Key) {
        let now_ms = self.executor.clock().now_ms();
        let mut inner = self.timers.inner();
        let entry = inner.of.entry(workflow.clone()).or_default();
        if entry.is_busy {
            entry.is_changed = true;
        } else if entry.held.is_none() || entry.next_ms.is_none() {
            inner.set(workflow, Some(now_ms));
            drop(inner);
            self.timers.bell.notify_one();
        }
    }

    /// What held timers up may be over: they are tried at once.
    pub fn try_held_timers(&self) {
        let now_ms = self.executor.clock().now_ms();
        let mut inner = self.timers.inner();
        let held: Vec<Key> = inner.of.iter().filter(|(_, entry)| entry.held.is_some()).map(|(key, _)| key.clone()).collect();
        for workflow in &held {
            match inner.of.get_mut(workflow) {
                Some(entry) if entry.is_busy => entry.is_changed = true,
                _ => inner.set(workflow, Some(now_ms)),
            }
        }
        drop(inner);
        self.timers.bell.notify_one();
    }

    /// Why the next timer of a workflow is not delivered although it is due.
    pub fn held_timers(&self, workflow: &Key) -> Option<Held> {
        self.timers.inner().of.get(workflow)?.held.clone()
    }

    /// Fires timers, for ever. Those that came due while no host was there come first.
    pub async fn run_timers(self: Arc<Self>) {
        loop {
            match self.executor.store().first_timers() {
                Ok(first) => {
                    let mut inner = self.timers.inner();
                    first.iter().for_each(|(workflow, at_ms)| inner.set(workflow, Some(*at_ms)));
                    break;
                }
                Err(error) => {
                    tracing::error!(%error, "timers could not be read; trying again");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
        loop {
            let rung = self.timers.bell.notified();
            // The clock is looked at again from time to time, since it may be set.
            let mut wait_ms = 60_000;
            while let Ok(permit) = self.timers.permits.clone().try_acquire_owned() {
                match self.timers.take_due(self.executor.clock().now_ms()) {
                    Ok(workflow) => drop(tokio::spawn(self.clone().fire_due(workflow, permit))),
                    Err(next_ms) => {
                        wait_ms = next_ms.unwrap_or(wait_ms).min(wait_ms);
                        break;
                    }
                }
            }
            tokio::select! {
                () = rung => {}
                () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {}
            }
        }
    }

    /// Fires what is due of a workflow.
    async fn fire_due(self: Arc<Self>, workflow: Key, permit: OwnedSemaphorePermit) {
        let turn = self.timers.turn(&workflow);
        let guard = turn.lock().await;
        let mut held = self.held_timers(&workflow);
        let mut fired = 0;
        let next_ms = loop {
            let now_ms = self.executor.clock().now_ms();
            let first = match self.executor.store().timers(&workflow, 1) {
                Ok(mut first) => first.pop(),
                Err(error) => {
                    tracing::error!(%workflow, %error, "timers could not be read; trying again");
                    break Some(now_ms + TIMER_BACKOFF_MS);
                }
            };
            let Some(first) = first else { break None };
            if first.timer.at_ms > now_ms {
                held = None;
                break Some(first.timer.at_ms);
            }
            if fired == TIMER_FIRES_IN_A_ROW_MAX {
                // Others go first.
                break Some(now_ms);
            }
            let attempts = held.as_ref().map_or(0, |held| held.attempts);
            match self.fire_timer(&workflow, &first, attempts).await {
                Went::On => (held, fired) = (None, fired + 1),
                Went::Held(ms, code, message) => {
                    tracing::warn!(%workflow, timer = %first.timer.id, code, message, "a timer is due and cannot be delivered yet");
                    let until_ms = now_ms + ms;
                    held = Some(Held { code, message, attempts: attempts.saturating_add(1), until_ms });
                    break Some(until_ms);
                }
            }
        };
        drop(guard);
        drop(turn);
        drop(permit);
        self.timers.leave(&workflow, next_ms, held, self.executor.clock().now_ms());
    }

    async fn fire_timer(&self, workflow: &Key, stored: &StoredTimer, attempts: u32) -> Went {
        let spent = || Spent::Timer(stored.timer.id.clone(), stored.seen.clone());
        loop {
            let error = match self.deliver(workflow, &stored.timer, spent(), None).await {
                Ok(_) => return Went::On,
                Err(FireError::Executor(error)) if error.is_changed() => {
                    tokio::task::yield_now().await;
                    continue;
                }
                // It was moved or dropped meanwhile, perhaps with its revision.
                Err(FireError::Executor(error)) if error.is_gone() => return Went::On,
                Err(FireError::Superseded) => return Went::On,
                Err(FireError::Failed(failure)) if !failure.transient => match self.set_aside(workflow, stored, failure).await {
                    Ok(true) => return Went::On,
                    Ok(false) => {
                        let message = format!("{SET_ASIDE_MAX} events of this workflow are set aside: retry them, or drop them");
                        return Went::Held(TIMER_BACKOFF_MS_MAX, "too-many-set-aside".into(), message);
                    }
                    Err(error) => FireError::Executor(error),
                },
                Err(error) => error,
            };
            let backoff_ms = TIMER_BACKOFF_MS.saturating_mul(1 << attempts.min(20)).min(TIMER_BACKOFF_MS_MAX);
            let (ms, code) = match &error {
                FireError::Paused(_) => (QUARANTINE_LOOK_MS, "not-listening"),
                FireError::Quarantined(..) => (QUARANTINE_LOOK_MS, "plugin-quarantined"),
                FireError::Failed(failure) => (backoff_ms.max(failure.retry_after_ms.unwrap_or(0).into()), &*failure.code),
                FireError::Executor(error) if error.is_no_space() => (backoff_ms.min(10_000), "no-space"),
                FireError::Executor(_) | FireError::Superseded | FireError::HeldUp(..) => (backoff_ms, "unavailable"),
                FireError::Call(_) => (backoff_ms, "trigger-broke"),
            };
            return Went::Held(ms, code.to_owned(), error.to_string());
        }
    }

    /// Tells the workflow's trigger of a timer, and makes durable what it answers: how many runs it starts. `audited`: what the audit log
    /// says of it.
    async fn deliver(
        &self,
        workflow: &Key,
        timer: &Timer,
        spent: Spent,
        audited: Option<AuditEntry>,
    ) -> Result<usize, FireError> {
        self.executor.check_space()?;
        let active = self.routes().of(workflow).cloned().ok_or_else(|| FireError::Paused(workflow.clone()))?;
        let program = active.next();
        let event = Arc::new(event(timer));
        let Asked { reaction, staged, .. } = self.ask(program, &event, None, Some(idempotency_key(workflow, timer))).await?;
        if reaction.response.is_some() || reaction.start.iter().any(|start| start.wait_ms.is_some()) {
            return Err(Failure::bad_answer("nobody waits for what comes of a timer").into());
        }
        let starts = reaction.start.into_iter().map(|start| read_start(program, start)).collect::<Result<Vec<_>, _>>()?;
        let mut beside = self.signals(program, reaction.signals)?;
        let timers = timer_change(program, reaction.set_timers, reaction.clear_timers)?;
        let timers = TimerChange { spent: Some(spent), ..timers.unwrap_or_else(|| TimerChange::none(workflow)) };
        let _room = self.room_for(Some(&timers))?;
        beside.push(Change::Timers(Box::new(timers)));
        beside.extend(audited.map(|entry| Change::Audit(Box::new(entry))));
        let _current = self.while_current(program).await.ok_or(FireError::Superseded)?;
        let (begun, _) = self.executor.begin(starts, None, staged, beside).await?;
        Ok(begun.iter().filter(|begun| matches!(begun, crate::executor::Begun::New(_))).count())
    }

    /// Room for the timers that are to be set.
    pub(super) fn room_for(&self, change: Option<&TimerChange>) -> Result<Option<Room>, FireError> {
        let Some(change) = change.filter(|change| !change.set.is_empty()) else { return Ok(None) };
        let TimerChange { workflow, set, .. } = change;
        loop {
            let known = self.timers.inner().of.entry(workflow.clone()).or_default().count.room(set.len());
            let before = match known {
                Ok(room) => return Ok(Some(room)),
                Err(before) => before,
            };
            let others = self.executor.store().other_timers(change).map_err(Error::from)?;
            let mut inner = self.timers.inner();
            match inner.of.entry(workflow.clone()).or_default().count.counted(before, others, set.len()) {
                Counted::Room(room) => return Ok(Some(room)),
                Counted::Full(count) => {
                    let what = format_args!("the workflow has {count} other timers and sets {}; at most {TIMERS_MAX}", set.len());
                    return Err(Failure::bad_answer(what).into());
                }
                Counted::Again => {}
            }
        }
    }

    /// Keeps an event for an operator, in the place of its timer. False: too many are kept already.
    async fn set_aside(&self, workflow: &Key, stored: &StoredTimer, failure: Failure) -> Result<bool, Error> {
        let store = self.executor.store();
        if store.set_aside_count(workflow, SET_ASIDE_MAX)? >= SET_ASIDE_MAX {
            return Ok(false);
        }
        let timer = stored.timer.clone();
        tracing::error!(%workflow, timer = %timer.id, code = %failure.code, message = %failure.message, "an event was set aside: `weft workflow set-aside` shows it");
        let at_ms = self.executor.clock().now_ms();
        let revision = self.routes().of(workflow).map_or(timer.revision, |active| active.program().plan.revision);
        let details = serde_json::json!({ "timer": timer.id, "at": rfc3339(timer.at_ms), "code": failure.code, "message": failure.message });
        let entry = AuditEntry { at_ms, who: Who::Host, what: What::EventSetAside, on: workflow.to_string(), details };
        let change = TimerChange {
            spent: Some(Spent::Timer(timer.id.clone(), stored.seen.clone())),
            set_aside: Some(SetAside { timer, failure, revision, at_ms }),
            ..TimerChange::none(workflow)
        };
        // Whoever switches revisions counts on the timers that it saw.
        let _switching = self.timers.switching.read().await;
        match store.commit(vec![Change::Timers(Box::new(change)), Change::Audit(Box::new(entry))]).await.map_err(Error::from) {
            // It was moved or dropped meanwhile.
            Err(error) if error.is_gone() || error.is_changed() => Ok(true),
            done => done.map(|()| true),
        }
    }

    /// Delivers an event once more that was set aside; none: there is no such event. How many runs it starts.
    pub async fn retry_set_aside(&self, workflow: &Key, number: u64, audited: AuditEntry) -> Result<Option<usize>, FireError> {
        let turn = self.timers.turn(workflow);
        let _turn = turn.lock().await;
        loop {
            let Some(event) = self.event_set_aside(workflow, number)? else { return Ok(None) };
            match self.deliver(workflow, &event.timer, Spent::SetAside(number), Some(audited.clone())).await {
                Err(FireError::Executor(error)) if error.is_changed() => {}
                Err(FireError::Executor(error)) if error.is_gone() => return Ok(None),
                done => {
                    self.look_at_timers(workflow);
                    return done.map(Some);
                }
            }
        }
    }

    /// Drops an event that was set aside. False: there is no such event.
    pub async fn drop_set_aside(&self, workflow: &Key, number: u64, audited: AuditEntry) -> Result<bool, Error> {
        if self.event_set_aside(workflow, number)?.is_none() {
            return Ok(false);
        }
        let change = TimerChange { spent: Some(Spent::SetAside(number)), ..TimerChange::none(workflow) };
        let changes = vec![Change::Timers(Box::new(change)), Change::Audit(Box::new(audited))];
        match self.executor.store().commit(changes).await.map_err(Error::from) {
            Err(error) if error.is_gone() => Ok(false),
            done => done.map(|()| true),
        }
    }

    fn event_set_aside(&self, workflow: &Key, number: u64) -> Result<Option<SetAside>, Error> {
        let after = number.checked_sub(1);
        let found = self.executor.store().set_aside(workflow, after, 1)?.pop();
        Ok(found.filter(|(known, _)| *known == number).map(|(_, event)| event))
    }
}

/// What a reaction makes of the workflow's timers; none: nothing.
pub(super) fn timer_change(
    program: &Program,
    set: Vec<triggers::Timer>,
    clear: Vec<String>,
) -> Result<Option<TimerChange>, Failure> {
    if set.is_empty() && clear.is_empty() {
        return Ok(None);
    }
    let (workflow, revision) = (&program.plan.workflow, program.plan.revision);
    let count = set.len().max(clear.len());
    if count > TIMERS_SET_MAX {
        return Err(Failure::bad_answer(format_args!("{count} timers in one reaction; at most {TIMERS_SET_MAX}")));
    }
    let read = |timer| {
        let (id, at_ms, payload) = crate::plugin::timer(timer)?;
        Ok(Timer { id, at_ms, payload, revision })
    };
    let set = set.into_iter().map(read).collect::<Result<Vec<_>, Failure>>()?;
    let clear = clear.into_iter().map(Into::into).collect();
    Ok(Some(TimerChange { clear, set, ..TimerChange::none(workflow) }))
}

pub(super) fn event(timer: &Timer) -> Event {
    let payload = timer.payload.text().to_owned();
    Event::Timer(triggers::Timer { id: timer.id.to_string(), at: rfc3339(timer.at_ms), payload })
}

/// The same for every try of a timer's event.
fn idempotency_key(workflow: &Key, timer: &Timer) -> String {
    let parts = [workflow.as_str(), &timer.id, &timer.at_ms.to_string(), timer.payload.text()];
    Digest::of(parts.join("\0").as_bytes()).hex()[..32].to_owned()
}
