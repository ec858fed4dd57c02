//! Whether a version of a plugin may go on being called: one that breaks again and again is put in quarantine.
//!
//! What breaks is the component, not its answer: a failure that it tells is its work. One answer between breaks begins the count anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;

use super::instance::CallError;

/// How a version of a plugin does.
pub(super) struct Health {
    breaks_in_a_row: AtomicU32,
    quarantined: ArcSwapOption<String>,
    changed: Arc<Notify>,
}

impl Health {
    /// `changed` is told when one is put in quarantine.
    pub(super) fn new(changed: Arc<Notify>) -> Self {
        Self { breaks_in_a_row: AtomicU32::new(0), quarantined: ArcSwapOption::empty(), changed }
    }

    /// It answered.
    pub(super) fn answered(&self) {
        // Most have never broken: they only read.
        if self.breaks_in_a_row.load(Ordering::Relaxed) != 0 {
            self.breaks_in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// It brought no answer. `breaks_max` in a row are too many; 0: none are.
    pub(super) fn broke(&self, error: &CallError, breaks_max: u32) {
        let breaks = self.breaks_in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if breaks_max != 0 && breaks >= breaks_max && !self.is_quarantined() {
            self.quarantine(format!("it broke {breaks} times in a row, the last time so: {error}"));
            self.changed.notify_one();
        }
    }

    /// Puts it in quarantine, for this reason.
    pub(super) fn quarantine(&self, reason: String) {
        self.quarantined.store(Some(Arc::new(reason)));
    }

    /// Lets it out, and begins to count anew.
    pub(super) fn release(&self) {
        self.breaks_in_a_row.store(0, Ordering::Relaxed);
        self.quarantined.store(None);
    }

    pub(super) fn is_quarantined(&self) -> bool {
        self.quarantined.load().is_some()
    }

    /// Why it is in quarantine; none: it is not.
    pub(super) fn reason(&self) -> Option<Arc<String>> {
        self.quarantined.load_full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaks_in_a_row_are_too_many_and_others_are_not() {
        let health = Health::new(Arc::default());
        let breaks = |times| (0..times).for_each(|_| health.broke(&CallError::OutOfCpu(10), 3));
        breaks(2);
        health.answered();
        breaks(2);
        assert!(!health.is_quarantined());
        breaks(1);
        assert!(health.reason().unwrap().contains("3 times in a row"), "{:?}", health.reason());
        health.release();
        breaks(2);
        assert!(!health.is_quarantined(), "after a release it is counted anew");
        (0..100).for_each(|_| health.broke(&CallError::OutOfCpu(10), 0));
        assert!(!health.is_quarantined(), "none are too many where that is so granted");
    }
}
