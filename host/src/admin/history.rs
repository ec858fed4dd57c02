//! How long runs are kept that have ended: as their workflow's options say, and as the host's settings say of all together. The
//! oldest go first. Never deletes a run that goes on, nor what a workflow's number of runs and its dedup keys say.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;

use crate::executor::Clock;
use crate::limits::{HISTORY_BATCH_RUNS, HISTORY_LOOK_MS, HISTORY_PAUSE_MS, HISTORY_SIGNAL_PARTS};
use crate::run::RunId;
use crate::store::{Error, RunHead, Store, Totals, WorkflowHead};
use crate::workflow::{History, Key};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// Which runs are kept that have ended. What is not set has no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Those that ended in the last so many days.
    pub days: Option<u32>,
    /// The newest so many.
    pub runs: Option<u64>,
    /// The newest ones, whose journals have so many bytes together.
    pub bytes: Option<u64>,
}

/// Deletes runs that are not to be kept.
pub struct Janitor {
    store: Store,
    clock: Arc<dyn Clock>,
    /// What the host keeps of all workflows together.
    keep: Keep,
    /// What workflows keep, by the revision that says so.
    by_workflow: HashMap<Key, (u32, Keep)>,
    /// Kept messages are looked at a part at a time: the last one that was.
    signals_after: Option<Vec<u8>>,
}

/// What is left to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Due {
    /// Runs that are too many.
    runs: u64,
    /// Bytes that are too many.
    bytes: u64,
    /// Those that ended before this time are too old.
    ended_before_ms: u64,
}

impl Keep {
    fn of(history: Option<&History>) -> Self {
        let Some(History { days, runs, .. }) = history else { return Self::default() };
        Self { days: *days, runs: runs.map(u64::from), bytes: None }
    }

    /// What is to be deleted of runs with these totals.
    fn due(self, totals: Totals, now_ms: u64) -> Due {
        Due {
            runs: self.runs.map_or(0, |keep| totals.runs.saturating_sub(keep)),
            bytes: self.bytes.map_or(0, |keep| totals.bytes.saturating_sub(keep)),
            ended_before_ms: self.days.map_or(0, |days| now_ms.saturating_sub(u64::from(days) * DAY_MS)),
        }
    }
}

impl Due {
    fn is_nothing(self) -> bool {
        self.runs == 0 && self.bytes == 0 && self.ended_before_ms == 0
    }

    /// Which of these runs, the oldest there are, in order, are to be deleted; and whether there may be more to delete among those
    /// after them.
    fn take(&mut self, oldest: &[RunHead]) -> (Vec<RunId>, bool) {
        let mut taken = Vec::new();
        for head in oldest {
            if self.runs > 0 || self.bytes > 0 {
                self.runs = self.runs.saturating_sub(1);
                self.bytes = self.bytes.saturating_sub(head.bytes);
                taken.push(head.id);
            } else if head.accepted_ms >= self.ended_before_ms {
                // Those after it were accepted later, and so they ended later too.
                return (taken, false);
            } else if head.ended_ms.unwrap_or(head.accepted_ms) < self.ended_before_ms {
                taken.push(head.id);
            }
        }
        (taken, true)
    }
}

impl Janitor {
    /// One who keeps this much, beside what workflows say.
    pub fn new(store: Store, clock: Arc<dyn Clock>, keep: Keep) -> Self {
        Self { store, clock, keep, by_workflow: HashMap::new(), signals_after: None }
    }

    /// Looks now and then, for ever.
    pub async fn run(mut self) {
        loop {
            match self.look().await {
                Ok(0) => {}
                Ok(deleted) => tracing::info!("deleted {deleted} runs that were not to be kept any longer"),
                Err(Error::Closed) => return,
                Err(error) => tracing::error!(%error, "runs that were to be deleted could not be; trying again"),
            }
            tokio::time::sleep(Duration::from_millis(HISTORY_LOOK_MS)).await;
        }
    }

    /// Deletes everything that is to be deleted now. Returns how many runs it was.
    pub async fn look(&mut self) -> Result<u64, Error> {
        let now_ms = self.clock.now_ms();
        self.store.end_dedup_keys(now_ms).await?;
        for _ in 0..HISTORY_SIGNAL_PARTS {
            (_, self.signals_after) = self.store.end_kept_signals(now_ms, self.signals_after.take()).await?;
            if self.signals_after.is_none() {
                break;
            }
        }
        let mut deleted = 0;
        for workflow in self.read(|store| store.workflows(None, usize::MAX)).await? {
            let keep = self.keep_of(&workflow).await?;
            deleted += self.delete(Some(&workflow.key), keep, now_ms).await?;
        }
        Ok(deleted + self.delete(None, self.keep, now_ms).await?)
    }

    /// What a workflow keeps: as its active revision says, else its newest.
    async fn keep_of(&mut self, workflow: &WorkflowHead) -> Result<Keep, Error> {
        let number = workflow.active_revision.unwrap_or(workflow.latest_revision);
        if let Some((known, keep)) = self.by_workflow.get(&workflow.key)
            && *known == number
        {
            return Ok(*keep);
        }
        let key = workflow.key.clone();
        let revision = self.read(move |store| store.revision(&key, number)).await?;
        let keep = Keep::of(revision.as_ref().and_then(|revision| revision.definition.options.history.as_ref()));
        self.by_workflow.insert(workflow.key.clone(), (number, keep));
        Ok(keep)
    }

    /// Deletes runs of a workflow, or of all.
    async fn delete(&self, workflow: Option<&Key>, keep: Keep, now_ms: u64) -> Result<u64, Error> {
        if keep == Keep::default() {
            return Ok(0);
        }
        let of = workflow.cloned();
        let mut due = keep.due(self.read(move |store| totals(store, of.as_ref())).await?, now_ms);
        let (mut deleted, mut after, mut has_more) = (0, None, !due.is_nothing());
        while has_more {
            let of = workflow.cloned();
            let oldest = self.read(move |store| store.ended_runs(of.as_ref(), after, HISTORY_BATCH_RUNS)).await?;
            let (runs, more) = due.take(&oldest);
            let gone = try_join_all(runs.into_iter().map(|run| self.store.delete_run(run))).await?;
            deleted += gone.into_iter().filter(|gone| *gone).count() as u64;
            after = oldest.last().map(|head| head.id);
            has_more = more && oldest.len() == HISTORY_BATCH_RUNS;
            if has_more {
                tokio::time::sleep(Duration::from_millis(HISTORY_PAUSE_MS)).await;
            }
        }
        Ok(deleted)
    }

    /// Reads the store on a thread where that may block.
    async fn read<T: Send + 'static>(&self, read: impl FnOnce(&Store) -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || read(&store)).await.unwrap_or(Err(Error::Closed))
    }
}

/// The totals of a workflow, or of all together.
fn totals(store: &Store, workflow: Option<&Key>) -> Result<Totals, Error> {
    let all = store.totals()?;
    let wanted = all.into_iter().filter(|(key, _)| workflow.is_none_or(|workflow| workflow == key));
    Ok(wanted
        .fold(Totals::default(), |sum, (_, totals)| Totals { runs: sum.runs + totals.runs, bytes: sum.bytes + totals.bytes }))
}

#[cfg(test)]
mod tests;
