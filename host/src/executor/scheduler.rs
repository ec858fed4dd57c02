//! How many runs are carried out at one time, in all and of each queue, and which comes next.
//!
//! Every run is of one queue: its workflow's own, or a job queue that its trigger named. A run that is carried out holds a
//! [`Slot`]; one that waits holds none, and is not held up when it goes on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::limits::{QUEUE_CONCURRENCY_DEFAULT, RUNS_BACKGROUND_MAX, RUNS_LIVE_MAX};
use crate::store::RunHead;
use crate::workflow::Key;

/// How a queue is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Runs that are carried out at one time; none: as many as the host can.
    pub concurrency: Option<u32>,
    /// Of two queues with runs that could begin, the one with more goes first.
    pub priority: i32,
}

/// The queue of a workflow's own runs.
pub(super) fn workflow_queue(workflow: &Key) -> Arc<str> {
    format!("w/{workflow}").into()
}

/// A job queue.
pub fn job_queue(name: &str) -> Arc<str> {
    format!("j/{name}").into()
}

/// The queue of a stored run.
pub(super) fn queue_of_head(head: &RunHead) -> Arc<str> {
    head.queue.as_deref().map_or_else(|| workflow_queue(&head.workflow), job_queue)
}

/// Why a run cannot begin now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// As many runs of its queue are carried out as may be.
    Queue,
    /// As many runs are carried out as the host can.
    Host,
}

/// See the module.
pub(super) struct Scheduler {
    inner: Mutex<Inner>,
    /// Rung when a queue may have become able to begin a run.
    pub(super) changed: Notify,
}

#[derive(Default)]
struct Inner {
    live: u32,
    background: u32,
    queues: BTreeMap<Arc<str>, Queue>,
    /// Numbers the runs that began from a queue, so that queues of one priority take turns.
    turn: u64,
}

struct Queue {
    limits: QueueLimits,
    /// Whether somebody said how it is treated.
    is_set: bool,
    running: u32,
    /// Whether runs stand in it, as far as is known.
    has_more: bool,
    /// How often runs were put into it.
    puts: u64,
    last_turn: u64,
}

/// The right to carry out one run.
pub(super) struct Slot {
    scheduler: Arc<Scheduler>,
    queue: Arc<str>,
    is_background: bool,
}

impl Scheduler {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { inner: Mutex::default(), changed: Notify::new() })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How a queue is treated from now on.
    pub(super) fn set_limits(&self, queue: &str, limits: QueueLimits) {
        let mut inner = self.inner();
        let queue = inner.queue(queue);
        queue.is_set = true;
        if std::mem::replace(&mut queue.limits, limits) != limits {
            self.changed.notify_one();
        }
    }

    /// How a queue is treated of which nobody has said so since the start of the host.
    pub(super) fn set_first_limits(&self, queue: &str, limits: QueueLimits) {
        if !self.inner().queue(queue).is_set {
            self.set_limits(queue, limits);
        }
    }

    /// A slot for a run that somebody waits for.
    pub(super) fn for_caller(self: &Arc<Self>, queue: &Arc<str>) -> Result<Slot, Full> {
        let mut inner = self.inner();
        if inner.live >= RUNS_LIVE_MAX {
            return Err(Full::Host);
        }
        if !inner.queue(queue).has_room() {
            return Err(Full::Queue);
        }
        inner.take(queue, false);
        Ok(self.slot(queue, false))
    }

    /// A slot for a new run that nobody waits for. None: it stands in its queue, behind those that do.
    pub(super) fn for_start(self: &Arc<Self>, queue: &Arc<str>) -> Option<Slot> {
        let mut inner = self.inner();
        let queued = inner.queue(queue);
        if queued.has_more || !queued.has_room() || !inner.has_background_room() {
            return None;
        }
        inner.take(queue, true);
        Some(self.slot(queue, true))
    }

    /// A slot for a run that goes on after a wait: its queue does not hold it up. None: the host is busy.
    pub(super) fn for_resume(self: &Arc<Self>, queue: &Arc<str>) -> Option<Slot> {
        let mut inner = self.inner();
        if !inner.has_background_room() {
            return None;
        }
        inner.take(queue, true);
        Some(self.slot(queue, true))
    }

    /// Runs stand in a queue.
    pub(super) fn queued(&self, queue: &str) {
        let mut inner = self.inner();
        let queue = inner.queue(queue);
        (queue.has_more, queue.puts) = (true, queue.puts + 1);
        self.changed.notify_one();
    }

    /// How often runs were put into a queue: what [`Self::emptied`] wants of whoever looked into it after this.
    pub(super) fn puts(&self, queue: &str) -> u64 {
        self.inner().queue(queue).puts
    }

    /// No run stands in a queue any more, unless one was put into it since `puts`.
    pub(super) fn emptied(&self, queue: &str, puts: u64) {
        let mut inner = self.inner();
        let queue = inner.queue(queue);
        queue.has_more &= queue.puts != puts;
    }

    /// The queue whose next run may begin now, with a slot for it.
    pub(super) fn next(self: &Arc<Self>) -> Option<(Arc<str>, Slot)> {
        let mut inner = self.inner();
        if !inner.has_background_room() {
            return None;
        }
        let able = inner.queues.iter().filter(|(_, queue)| queue.has_more && queue.has_room());
        let (name, _) = able.max_by_key(|(_, queue)| (queue.limits.priority, std::cmp::Reverse(queue.last_turn)))?;
        let name = Arc::clone(name);
        inner.turn += 1;
        let turn = inner.turn;
        inner.queue(&name).last_turn = turn;
        inner.take(&name, true);
        let slot = self.slot(&name, true);
        Some((name, slot))
    }

    fn slot(self: &Arc<Self>, queue: &Arc<str>, is_background: bool) -> Slot {
        Slot { scheduler: self.clone(), queue: queue.clone(), is_background }
    }
}

impl Inner {
    fn queue(&mut self, name: &str) -> &mut Queue {
        if !self.queues.contains_key(name) {
            let concurrency = name.starts_with("j/").then_some(QUEUE_CONCURRENCY_DEFAULT);
            let limits = QueueLimits { concurrency, priority: 0 };
            self.queues.insert(name.into(), Queue { limits, is_set: false, running: 0, has_more: false, puts: 0, last_turn: 0 });
        }
        self.queues.get_mut(name).expect("just inserted")
    }

    fn has_background_room(&self) -> bool {
        self.live < RUNS_LIVE_MAX && self.background < RUNS_BACKGROUND_MAX
    }

    fn take(&mut self, queue: &str, is_background: bool) {
        self.live += 1;
        self.background += u32::from(is_background);
        self.queue(queue).running += 1;
    }
}

impl Queue {
    fn has_room(&self) -> bool {
        self.limits.concurrency.is_none_or(|concurrency| self.running < concurrency)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut inner = self.scheduler.inner();
        let was_full = inner.live >= RUNS_LIVE_MAX || inner.background >= RUNS_BACKGROUND_MAX;
        inner.live -= 1;
        inner.background -= u32::from(self.is_background);
        let queue = inner.queue(&self.queue);
        queue.running -= 1;
        if queue.has_more || was_full {
            self.scheduler.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(name: &str) -> Arc<str> {
        name.into()
    }

    fn limits(concurrency: u32, priority: i32) -> QueueLimits {
        QueueLimits { concurrency: Some(concurrency), priority }
    }

    #[test]
    fn a_queue_begins_as_many_as_it_may_and_new_ones_stand_behind() {
        let scheduler = Scheduler::new();
        scheduler.set_limits("w/a", limits(2, 0));
        let first = scheduler.for_start(&queue("w/a")).unwrap();
        let _second = scheduler.for_start(&queue("w/a")).unwrap();
        assert!(scheduler.for_start(&queue("w/a")).is_none());
        assert!(matches!(scheduler.for_caller(&queue("w/a")), Err(Full::Queue)));
        assert!(scheduler.for_start(&queue("w/b")).is_some(), "others are not held up");
        scheduler.queued("w/a");
        assert!(scheduler.next().is_none());
        drop(first);
        assert!(scheduler.for_start(&queue("w/a")).is_none(), "those in the queue go first");
        let (queue, _slot) = scheduler.next().unwrap();
        assert_eq!(&*queue, "w/a");
        assert!(scheduler.next().is_none());
    }

    #[test]
    fn a_run_that_is_put_into_a_queue_while_somebody_looks_is_not_forgotten() {
        let scheduler = Scheduler::new();
        scheduler.queued("w/a");
        let (queue, slot) = scheduler.next().unwrap();
        let puts = scheduler.puts(&queue);
        // Whoever looks finds none; then one comes, and only then is it said that there was none.
        scheduler.queued("w/a");
        scheduler.emptied("w/a", puts);
        drop(slot);
        let (queue, _slot) = scheduler.next().unwrap();
        scheduler.emptied("w/a", scheduler.puts(&queue));
        assert!(scheduler.next().is_none());
    }

    #[test]
    fn more_priority_goes_first_and_equals_take_turns() {
        let scheduler = Scheduler::new();
        for (queue, priority) in [("j/low", 0), ("j/one", 5), ("j/two", 5)] {
            scheduler.set_limits(queue, limits(2, priority));
            scheduler.queued(queue);
        }
        let (mut order, mut slots) = (Vec::new(), Vec::new());
        while let Some((queue, slot)) = scheduler.next() {
            order.push(queue);
            slots.push(slot);
        }
        let mut first = order[..4].to_vec();
        first.sort();
        assert_eq!(first.iter().map(|q| &**q).collect::<Vec<_>>(), ["j/one", "j/one", "j/two", "j/two"]);
        assert_ne!(order[0], order[1], "they take turns: {order:?}");
        assert_eq!(order[4..].iter().map(|q| &**q).collect::<Vec<_>>(), ["j/low", "j/low"]);
    }

    #[test]
    fn runs_in_the_background_leave_room_for_callers() {
        let scheduler = Scheduler::new();
        let slots: Vec<Slot> = std::iter::from_fn(|| scheduler.for_start(&queue("w/a"))).collect();
        assert_eq!(slots.len(), RUNS_BACKGROUND_MAX as usize);
        assert!(scheduler.for_resume(&queue("w/a")).is_none());
        let callers: Vec<Slot> = std::iter::from_fn(|| scheduler.for_caller(&queue("w/b")).ok()).collect();
        assert_eq!(slots.len() + callers.len(), RUNS_LIVE_MAX as usize);
        assert!(matches!(scheduler.for_caller(&queue("w/b")), Err(Full::Host)));
    }
}
