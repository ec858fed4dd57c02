//! Requests that go on while the guest computes (`wasi:http`): how many at once, and what they came to when their call ends.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use futures_util::future::{AbortHandle, AbortRegistration};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::limits::{LOG_LINES_MAX, WASI_HTTP_AT_ONCE_MAX};
use crate::run::Fault;

/// The requests of one call.
pub struct SideRequests {
    /// Bytes that were given to be sent.
    pub bytes_out: AtomicU64,
    /// Bytes received.
    pub bytes_in: AtomicU64,
    turns: Semaphore,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    under_way: Vec<AbortHandle>,
    faults: Vec<Fault>,
}

/// What they came to.
pub(super) struct Ended {
    pub(super) bytes_out: u64,
    pub(super) bytes_in: u64,
    pub(super) faults: Vec<Fault>,
}

impl Default for SideRequests {
    fn default() -> Self {
        let (bytes_out, bytes_in) = Default::default();
        Self { bytes_out, bytes_in, turns: Semaphore::new(WASI_HTTP_AT_ONCE_MAX), open: Mutex::default() }
    }
}

impl SideRequests {
    /// Begins a request, which is aborted if its call ends first.
    pub fn begin(&self) -> AbortRegistration {
        let (handle, registration) = AbortHandle::new_pair();
        self.open.lock().unwrap_or_else(PoisonError::into_inner).under_way.push(handle);
        registration
    }

    /// Waits until one more may be sent. None: never, and nothing is waited for.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.acquire().await.ok()
    }

    /// Remembers why one failed, for the step's log.
    pub fn failed(&self, fault: Fault) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.faults.len() < LOG_LINES_MAX {
            open.faults.push(fault);
        }
    }

    /// Ends those that go on.
    pub(super) fn end(&self) -> Ended {
        let open = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        open.under_way.iter().for_each(AbortHandle::abort);
        let counted = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Ended { bytes_out: counted(&self.bytes_out), bytes_in: counted(&self.bytes_in), faults: open.faults }
    }
}
