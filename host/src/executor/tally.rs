//! How runs of two revisions end, side by side, while one of them is on trial.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::run::Status;
use crate::store::RunEnds;
use crate::workflow::Key;

/// The workflows that have a revision on trial. Others cost a look.
#[derive(Default)]
pub struct Tallies {
    by_workflow: ArcSwap<HashMap<Key, Arc<Tally>>>,
    changed: Notify,
}

/// How the runs of a workflow ended since its trial began, or since the host started.
pub struct Tally {
    /// The revision on trial.
    pub canary: u32,
    of_canary: Counts,
    of_others: Counts,
}

#[derive(Default)]
struct Counts {
    ended: AtomicU64,
    failed: AtomicU64,
}

impl Counts {
    fn read(&self) -> RunEnds {
        // Failures first: there are never more of them than ends.
        let failed = self.failed.load(Ordering::Acquire);
        RunEnds { ended: self.ended.load(Ordering::Acquire), failed }
    }
}

impl Tally {
    /// How runs of the revision on trial ended, and how the others did.
    pub fn read(&self) -> (RunEnds, RunEnds) {
        (self.of_canary.read(), self.of_others.read())
    }
}

impl Tallies {
    /// Begins to count the runs of a workflow, or stops.
    pub fn set(&self, workflow: &Key, canary: Option<u32>) {
        self.by_workflow.rcu(|all| {
            let mut all = HashMap::clone(all);
            match canary {
                Some(canary) => {
                    let (of_canary, of_others) = Default::default();
                    all.insert(workflow.clone(), Arc::new(Tally { canary, of_canary, of_others }));
                }
                None => drop(all.remove(workflow)),
            }
            all
        });
    }

    /// The count of a workflow; none: it has no revision on trial.
    pub fn get(&self, workflow: &Key) -> Option<Arc<Tally>> {
        self.by_workflow.load().get(workflow).cloned()
    }

    /// Every count.
    pub fn all(&self) -> Vec<(Key, Arc<Tally>)> {
        self.by_workflow.load().iter().map(|(workflow, tally)| (workflow.clone(), tally.clone())).collect()
    }

    /// Waits until another run of a revision on trial has ended.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// A run has ended. One that was stopped from outside says nothing of its revision.
    pub(super) fn ended(&self, workflow: &Key, revision: u32, status: Status) {
        let all = self.by_workflow.load();
        if all.is_empty() {
            return;
        }
        let Some(tally) = all.get(workflow) else { return };
        let failed = match status {
            Status::Succeeded | Status::Rejected => false,
            Status::Failed | Status::Error => true,
            _ => return,
        };
        let is_canary = revision == tally.canary;
        let counts = if is_canary { &tally.of_canary } else { &tally.of_others };
        counts.ended.fetch_add(1, Ordering::Release);
        counts.failed.fetch_add(u64::from(failed), Ordering::Release);
        if is_canary {
            self.changed.notify_one();
        }
    }
}
