//! How long a guest has computed, the host's part of its calls included.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The computing of one instance's call. Shared by who polls the call and by who looks at it on the way, on the same thread.
#[derive(Clone, Default)]
pub(super) struct CpuMeter(Arc<Counts>);

#[derive(Default)]
struct Counts {
    spent_ns: AtomicU64,
    /// The thread's time when it went on last.
    resumed_ns: AtomicU64,
}

impl CpuMeter {
    /// Counts from nothing.
    pub(super) fn reset(&self) {
        self.0.spent_ns.store(0, Ordering::Relaxed);
    }

    /// Counts what this thread computes for the call.
    pub(super) fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        self.0.resumed_ns.store(thread_ns(), Ordering::Relaxed);
        let done = work();
        self.0.spent_ns.fetch_add(self.since_resumed_ns(), Ordering::Relaxed);
        done
    }

    /// What was computed, up to now. Only to be asked from within [`Self::during`].
    pub(super) fn now(&self) -> Duration {
        Duration::from_nanos(self.0.spent_ns.load(Ordering::Relaxed) + self.since_resumed_ns())
    }

    /// What was computed.
    pub(super) fn spent(&self) -> Duration {
        Duration::from_nanos(self.0.spent_ns.load(Ordering::Relaxed))
    }

    fn since_resumed_ns(&self) -> u64 {
        thread_ns().saturating_sub(self.0.resumed_ns.load(Ordering::Relaxed))
    }
}

/// What this thread has computed.
pub(super) fn thread_time() -> Duration {
    Duration::from_nanos(thread_ns())
}

fn thread_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
    seconds * 1_000_000_000 + nanos
}
