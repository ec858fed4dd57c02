//! What a plugin has taken, and what of its budgets is left.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::limits::Limits;
use crate::run::{Failure, Usage};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// What one version of a plugin has taken since this host started: all its calls, and requests that its steps wait for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Calls.
    pub calls: u64,
    /// Of these, those that broke off or were stopped.
    pub broken: u64,
    /// Computing, in microseconds.
    pub cpu_us: u64,
    /// The most memory that one instance had, in bytes.
    pub memory_bytes: u64,
    /// Requests to the host.
    pub host_calls: u64,
    /// Bytes received from servers outside.
    pub bytes_in: u64,
    /// Bytes that were given to be sent to servers outside, also where that was denied.
    pub bytes_out: u64,
}

/// Counts what one version of a plugin takes.
#[derive(Default)]
pub(super) struct Meter {
    calls: AtomicU64,
    broken: AtomicU64,
    cpu_us: AtomicU64,
    memory_bytes: AtomicU64,
    host_calls: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// The hour that goes on; none before the first call that a budget counts.
    hour: Mutex<Option<Hour>>,
}

/// What was taken in an hour.
struct Hour {
    began: Instant,
    cpu_us: u64,
    http_calls: u64,
    http_bytes: u64,
}

impl Meter {
    /// Whether the plugin may be called now.
    pub(super) fn admit(&self, limits: &Limits) -> Result<(), Failure> {
        if !has_budget(limits) {
            return Ok(());
        }
        let hour = self.hour.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(hour) = hour.as_ref().filter(|hour| hour.began.elapsed() < HOUR) else { return Ok(()) };
        let budgets = [
            ("ms of computing", limits.cpu_ms_per_hour, hour.cpu_us / 1_000),
            ("requests to servers outside", limits.http_calls_per_hour, hour.http_calls),
            ("KiB to and from servers outside", limits.http_kib_per_hour, hour.http_bytes / 1024),
        ];
        let spent =
            budgets.into_iter().find_map(|(what, budget, taken)| budget.filter(|max| taken >= u64::from(*max)).zip(Some(what)));
        let Some((max, what)) = spent else { return Ok(()) };
        let left = HOUR.saturating_sub(hour.began.elapsed()).as_millis();
        let failure = Failure::error(
            "over-budget",
            format!("the plugin has had its {max} {what} of this hour; `weft plugin grant NAME --add --limit` gives more"),
        );
        let retry_after_ms = Some(u32::try_from(left).unwrap_or(u32::MAX));
        Err(Failure { transient: true, retry_after_ms, ..failure })
    }

    /// Counts a call, with what it took.
    pub(super) fn called(&self, used: &Usage, is_broken: bool, limits: &Limits) {
        self.broken.fetch_add(u64::from(is_broken), Ordering::Relaxed);
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.took(used, limits);
    }

    /// Counts what was taken in a call, or outside of any.
    pub(super) fn took(&self, used: &Usage, limits: &Limits) {
        self.cpu_us.fetch_add(used.cpu_us.into(), Ordering::Relaxed);
        self.memory_bytes.fetch_max(used.memory_bytes, Ordering::Relaxed);
        self.host_calls.fetch_add(used.host_calls.into(), Ordering::Relaxed);
        self.bytes_in.fetch_add(used.bytes_in, Ordering::Relaxed);
        self.bytes_out.fetch_add(used.bytes_out, Ordering::Relaxed);
        if has_budget(limits) {
            let mut hour = self.hour.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || Hour { began: Instant::now(), cpu_us: 0, http_calls: 0, http_bytes: 0 };
            if hour.as_ref().is_some_and(|hour| hour.began.elapsed() >= HOUR) {
                *hour = None;
            }
            let hour = hour.get_or_insert_with(new);
            hour.cpu_us += u64::from(used.cpu_us);
            hour.http_calls += u64::from(used.http_calls);
            hour.http_bytes += used.bytes_in + used.bytes_out;
        }
    }

    /// What was taken.
    pub(super) fn totals(&self) -> Totals {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Totals {
            calls: read(&self.calls),
            broken: read(&self.broken),
            cpu_us: read(&self.cpu_us),
            memory_bytes: read(&self.memory_bytes),
            host_calls: read(&self.host_calls),
            bytes_in: read(&self.bytes_in),
            bytes_out: read(&self.bytes_out),
        }
    }
}

fn has_budget(limits: &Limits) -> bool {
    limits.cpu_ms_per_hour.is_some() || limits.http_calls_per_hour.is_some() || limits.http_kib_per_hour.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(cpu_us: u32, http_calls: u32) -> Usage {
        Usage { cpu_us, http_calls, bytes_in: 1024, ..Usage::default() }
    }

    #[test]
    fn a_budget_lasts_an_hour() {
        let meter = Meter::default();
        let limits = Limits { cpu_ms_per_hour: Some(5), http_calls_per_hour: Some(3), ..Limits::default() };
        assert!(meter.admit(&limits).is_ok());
        meter.called(&used(4_000, 1), false, &limits);
        assert!(meter.admit(&limits).is_ok());
        meter.called(&used(1_000, 1), false, &limits);
        let failure = meter.admit(&limits).expect_err("5 ms are spent");
        assert!(
            failure.transient && failure.retry_after_ms.unwrap() > 3_500_000 && failure.message.contains("5 ms of computing")
        );
        let more = Limits { cpu_ms_per_hour: None, ..limits };
        assert!(meter.admit(&more).is_ok());
        meter.called(&used(0, 1), false, &more);
        assert_eq!(&*meter.admit(&more).unwrap_err().code, "over-budget");
        assert_eq!(meter.totals().calls, 3);
        assert_eq!(meter.totals().bytes_in, 3 * 1024);
    }
}
