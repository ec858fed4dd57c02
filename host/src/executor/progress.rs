//! How far steps are that take long: in memory only, for whoever looks while they run.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use crate::limits::{PROGRESS_EVENT_MS, PROGRESS_FOLLOWED_MAX, PROGRESS_KEPT_MAX, PROGRESS_MESSAGE_BYTES_MAX};
use crate::run::RunId;

/// How far a step is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Its run.
    pub run: RunId,
    /// The path of its activation.
    pub step: Arc<str>,
    /// Pieces that are done.
    pub done: u32,
    /// Pieces that there are; none: nobody knows.
    pub total: Option<u32>,
    /// One line for a person.
    pub message: Box<str>,
    /// When it was said, in milliseconds since 1970.
    pub at_ms: u64,
}

/// What steps said last, and whoever follows that.
pub(super) struct ProgressBoard {
    last: Mutex<BTreeMap<(RunId, Arc<str>), Said>>,
    /// How many of them there are.
    kept: AtomicUsize,
    told: broadcast::Sender<Progress>,
}

struct Said {
    progress: Progress,
    /// When followers were told of it, or of what was said before.
    told_ms: u64,
}

impl ProgressBoard {
    pub(super) fn new() -> Self {
        Self { last: Mutex::default(), kept: AtomicUsize::new(0), told: broadcast::channel(PROGRESS_FOLLOWED_MAX).0 }
    }

    fn last(&self) -> MutexGuard<'_, BTreeMap<(RunId, Arc<str>), Said>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A step says how far it is. Followers are told now and then, and of the end.
    pub(super) fn report(&self, mut progress: Progress) {
        let line = progress.message.lines().next().unwrap_or_default();
        let line = &line[..line.floor_char_boundary(PROGRESS_MESSAGE_BYTES_MAX)];
        progress.message = line.chars().filter(|c| !c.is_control()).collect::<String>().into();
        let mut last = self.last();
        if last.len() >= PROGRESS_KEPT_MAX && !last.contains_key(&(progress.run, progress.step.clone())) {
            // Ids sort by time: a step of the oldest run goes.
            last.pop_first();
        }
        let is_told = match last.entry((progress.run, progress.step.clone())) {
            Entry::Vacant(entry) => {
                entry.insert(Said { progress: progress.clone(), told_ms: progress.at_ms });
                true
            }
            Entry::Occupied(mut entry) => {
                let said = entry.get_mut();
                let is_at_end = |progress: &Progress| progress.total == Some(progress.done);
                let is_due = progress.at_ms.saturating_sub(said.told_ms) >= PROGRESS_EVENT_MS
                    || is_at_end(&progress) && !is_at_end(&said.progress);
                said.progress = progress.clone();
                if is_due {
                    said.told_ms = progress.at_ms;
                }
                is_due
            }
        };
        self.kept.store(last.len(), Ordering::Relaxed);
        drop(last);
        if is_told {
            // Nobody need follow.
            let _ = self.told.send(progress);
        }
    }

    /// What the steps of a run said last, by their paths.
    pub(super) fn of(&self, run: RunId) -> Vec<Progress> {
        let first: (RunId, Arc<str>) = (run, "".into());
        let last = self.last();
        last.range(first..).take_while(|((of, _), _)| *of == run).map(|(_, said)| said.progress.clone()).collect()
    }

    /// Everything that steps say from now on.
    pub(super) fn follow(&self) -> broadcast::Receiver<Progress> {
        self.told.subscribe()
    }

    /// Steps of a run go on; what others of it said counts no more.
    pub(super) fn keep(&self, run: RunId, goes_on: impl Fn(&str) -> bool) {
        // Runs come here at each step, and hardly any says how far it is.
        if self.kept.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut last = self.last();
        let first: (RunId, Arc<str>) = (run, "".into());
        let of_run = last.range(first..).take_while(|((of, _), _)| *of == run);
        let over: Vec<_> = of_run.filter(|((_, step), _)| !goes_on(step)).map(|(key, _)| key.clone()).collect();
        for key in over {
            last.remove(&key);
        }
        self.kept.store(last.len(), Ordering::Relaxed);
    }

    /// A run has ended.
    pub(super) fn forget(&self, run: RunId) {
        self.keep(run, |_| false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(run: u8, step: &str, done: u32, at_ms: u64) -> Progress {
        let message = format!("part {done}\nmore\u{7}").into();
        Progress { run: RunId::new(u64::from(run), [run; 10]), step: step.into(), done, total: Some(10), message, at_ms }
    }

    #[test]
    fn what_is_said_last_counts_until_the_run_ends() {
        let board = ProgressBoard::new();
        let mut followed = board.follow();
        board.report(said(1, "a", 1, 0));
        board.report(said(1, "a", 2, PROGRESS_EVENT_MS - 1));
        board.report(said(1, "b", 1, 0));
        board.report(said(2, "a", 1, 0));
        let run = said(1, "a", 0, 0).run;
        let known: Vec<(Arc<str>, u32)> = board.of(run).into_iter().map(|progress| (progress.step, progress.done)).collect();
        assert_eq!(known, [("a".into(), 2), ("b".into(), 1)]);
        assert_eq!(&*board.of(run)[0].message, "part 2");
        board.report(said(1, "a", 3, PROGRESS_EVENT_MS));
        board.report(said(1, "a", 10, PROGRESS_EVENT_MS + 1));
        let told: Vec<u32> = std::iter::from_fn(|| followed.try_recv().ok()).map(|progress| progress.done).collect();
        assert_eq!(told, [1, 1, 1, 3, 10], "not too often, and the end in any case");
        board.keep(run, |step| step == "b");
        assert_eq!(board.of(run).iter().map(|progress| &*progress.step).collect::<Vec<_>>(), ["b"], "a has ended");
        assert_eq!(board.of(said(2, "a", 0, 0).run).len(), 1, "of another run");
        board.forget(run);
        assert_eq!((board.of(run).len(), board.of(said(2, "a", 0, 0).run).len()), (0, 1));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let board = ProgressBoard::new();
        for step in 0..u32::try_from(PROGRESS_KEPT_MAX).unwrap() + 5 {
            board.report(said(1, &format!("loop/{step}/x"), step, 0));
        }
        assert_eq!(board.last().len(), PROGRESS_KEPT_MAX);
    }
}
