//! Runs that are being carried out in this process, and whoever waits for a run.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::{Error, Outcome};
use crate::run::RunId;
use crate::store::RunHead;

/// Who gets what becomes of a run.
pub(super) type Caller = oneshot::Sender<Result<Outcome, Error>>;

/// Every run that is being carried out in this process.
#[derive(Default)]
pub(super) struct LiveRuns {
    runs: Mutex<HashMap<RunId, Arc<LiveRun>>>,
    /// Callers of runs that are not being carried out at the moment.
    callers: Mutex<HashMap<RunId, Caller>>,
    /// Those who want to know when a run ends.
    watchers: Mutex<HashMap<RunId, Vec<oneshot::Sender<()>>>>,
}

/// A run that is being carried out.
pub(super) struct LiveRun {
    head: Mutex<RunHead>,
    has_mail: AtomicBool,
    /// Rung when something has come for it.
    pub(super) bell: Notify,
}

impl LiveRun {
    /// Whether something has come since the last time.
    pub(super) fn take_mail(&self) -> bool {
        self.has_mail.swap(false, Ordering::AcqRel)
    }

    pub(super) fn set_head(&self, head: &RunHead) {
        lock(&self.head).clone_from(head);
    }
}

impl LiveRuns {
    /// A run is carried out from now on. None: somebody does that already.
    pub(super) fn enter(&self, head: &RunHead, has_mail: bool) -> Option<Arc<LiveRun>> {
        let mut runs = lock(&self.runs);
        if runs.contains_key(&head.id) {
            return None;
        }
        let (head_of_run, id) = (Mutex::new(head.clone()), head.id);
        let live = Arc::new(LiveRun { head: head_of_run, has_mail: AtomicBool::new(has_mail), bell: Notify::new() });
        runs.insert(id, live.clone());
        Some(live)
    }

    pub(super) fn contains(&self, run: RunId) -> bool {
        lock(&self.runs).contains_key(&run)
    }

    /// Rings the bell of a run. False: nobody carries it out.
    pub(super) fn ring(&self, run: RunId) -> bool {
        // Under the lock, so that `leave` sees it or has left before.
        let runs = lock(&self.runs);
        let Some(live) = runs.get(&run) else { return false };
        live.has_mail.store(true, Ordering::Release);
        live.bell.notify_one();
        true
    }

    /// A run is not carried out any more, unless something came for it: then it stays, and this is false.
    pub(super) fn leave(&self, run: RunId) -> bool {
        let mut runs = lock(&self.runs);
        if runs.get(&run).is_some_and(|live| live.has_mail.load(Ordering::Acquire)) {
            return false;
        }
        runs.remove(&run);
        true
    }

    /// A run is not carried out any more, whatever came.
    pub(super) fn remove(&self, run: RunId) {
        lock(&self.runs).remove(&run);
    }

    /// Heads of runs that are carried out, newest first.
    pub(super) fn heads(&self) -> Vec<RunHead> {
        let mut heads: Vec<RunHead> = lock(&self.runs).values().map(|live| lock(&live.head).clone()).collect();
        heads.sort_by_key(|head| std::cmp::Reverse(head.id));
        heads
    }

    pub(super) fn count(&self) -> usize {
        lock(&self.runs).len()
    }

    /// Keeps a caller while its run waits.
    pub(super) fn keep_caller(&self, run: RunId, caller: Caller) {
        lock(&self.callers).insert(run, caller);
    }

    pub(super) fn take_caller(&self, run: RunId) -> Option<Caller> {
        lock(&self.callers).remove(&run)
    }

    /// Told when a run ends in this process. Look whether it has ended after asking for this.
    pub(super) fn watch(&self, run: RunId) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut watchers = lock(&self.watchers);
        let of_run = watchers.entry(run).or_default();
        of_run.retain(|watcher| !watcher.is_closed());
        of_run.push(sender);
        receiver
    }

    pub(super) fn ended(&self, run: RunId) {
        let mut watchers = lock(&self.watchers);
        if watchers.is_empty() {
            return;
        }
        for watcher in watchers.remove(&run).unwrap_or_default() {
            let _ = watcher.send(());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
