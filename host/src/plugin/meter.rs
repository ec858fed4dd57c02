//! What a plugin has taken, and what of its budgets is left.
//!
//! While the host runs, an hour is measured by a clock that nobody sets. Over a restart the wall clock says how long the host was away; if it
//! was set back meanwhile, that counts as no time at all: an hour is never given twice, and never lasts longer than an hour of running.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::limits::Limits;
use crate::run::{Failure, Usage};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// What one version of a plugin has taken since it was added: all its calls, and requests that its steps wait for. Over restarts too, but
/// for the last seconds before a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
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

/// What a meter says, in the form in which it is kept over restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reading {
    /// When it was read, in milliseconds since 1970.
    at_ms: u64,
    /// What was taken.
    pub totals: Totals,
    /// The hour that went on.
    #[serde(skip_serializing_if = "Option::is_none")]
    hour: Option<Rest>,
}

/// What was taken in an hour, and how long it still lasts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Rest {
    left_ms: u64,
    taken: Taken,
}

/// What budgets count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Taken {
    cpu_us: u64,
    http_calls: u64,
    http_bytes: u64,
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
    /// What it said when that was last kept.
    kept: Mutex<Reading>,
}

/// The hour of a budget.
struct Hour {
    ends: Instant,
    taken: Taken,
}

impl Meter {
    /// Whether the plugin may be called now.
    pub(super) fn admit(&self, limits: &Limits) -> Result<(), Failure> {
        if has_budget(limits) { self.admit_at(limits, Instant::now()) } else { Ok(()) }
    }

    fn admit_at(&self, limits: &Limits, now: Instant) -> Result<(), Failure> {
        let hour = self.hour();
        let Some(Hour { ends, taken }) = hour.as_ref().filter(|hour| now < hour.ends) else { return Ok(()) };
        let budgets = [
            ("ms of computing", limits.cpu_ms_per_hour, taken.cpu_us / 1_000),
            ("requests to servers outside", limits.http_calls_per_hour, taken.http_calls),
            ("KiB to and from servers outside", limits.http_kib_per_hour, taken.http_bytes / 1024),
        ];
        let spent =
            budgets.into_iter().find_map(|(what, budget, taken)| budget.filter(|max| taken >= u64::from(*max)).zip(Some(what)));
        let Some((max, what)) = spent else { return Ok(()) };
        let failure = Failure::error(
            "over-budget",
            format!("the plugin has had its {max} {what} of this hour; `weft plugin grant NAME --add --limit` gives more"),
        );
        let left = ends.saturating_duration_since(now).as_millis();
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
            self.spend(used, Instant::now());
        }
    }

    /// Counts what was taken in the hour that goes on, or begins one.
    fn spend(&self, used: &Usage, now: Instant) {
        let mut hour = self.hour();
        if hour.as_ref().is_some_and(|hour| now >= hour.ends) {
            *hour = None;
        }
        let Hour { taken, .. } = hour.get_or_insert_with(|| Hour { ends: now + HOUR, taken: Taken::default() });
        taken.cpu_us = taken.cpu_us.saturating_add(used.cpu_us.into());
        taken.http_calls = taken.http_calls.saturating_add(used.http_calls.into());
        taken.http_bytes = taken.http_bytes.saturating_add(used.bytes_in).saturating_add(used.bytes_out);
    }

    /// What is to be kept; none: nothing was taken since that was last done.
    pub(super) fn unkept(&self, now_ms: u64, now: Instant) -> Option<Reading> {
        let hour = self.hour().as_ref().filter(|hour| now < hour.ends).map(|hour| Rest {
            left_ms: u64::try_from(hour.ends.saturating_duration_since(now).as_millis()).unwrap_or(u64::MAX),
            taken: hour.taken,
        });
        let reading = Reading { at_ms: now_ms, totals: self.totals(), hour };
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // Time alone is no change: what is kept says when it was read.
        let taken = |reading: &Reading| reading.hour.as_ref().map(|rest| rest.taken);
        (reading.totals != kept.totals || taken(&reading) != taken(&kept)).then_some(reading)
    }

    /// That is kept from now on.
    pub(super) fn kept(&self, reading: Reading) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = reading;
    }

    /// Goes on from what was kept, before the plugin is called for the first time.
    pub(super) fn go_on(&self, kept: Reading, now_ms: u64, now: Instant) {
        let Totals { calls, broken, cpu_us, memory_bytes, host_calls, bytes_in, bytes_out } = kept.totals;
        self.memory_bytes.fetch_max(memory_bytes, Ordering::Relaxed);
        for (count, number) in [
            (&self.calls, calls),
            (&self.broken, broken),
            (&self.cpu_us, cpu_us),
            (&self.host_calls, host_calls),
            (&self.bytes_in, bytes_in),
            (&self.bytes_out, bytes_out),
        ] {
            count.fetch_add(number, Ordering::Relaxed);
        }
        if let Some(Rest { left_ms, taken }) = kept.hour {
            let away = Duration::from_millis(now_ms.saturating_sub(kept.at_ms));
            let left = Duration::from_millis(left_ms).min(HOUR).saturating_sub(away);
            *self.hour() = (!left.is_zero()).then(|| Hour { ends: now + left, taken });
        }
        // If the clock was set back, it is kept again at once: a host that starts again and again would else never come to the end of its hour.
        if kept.at_ms <= now_ms {
            self.kept(kept);
        }
    }

    fn hour(&self) -> MutexGuard<'_, Option<Hour>> {
        self.hour.lock().unwrap_or_else(PoisonError::into_inner)
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

    const MINUTE_MS: u64 = 60_000;

    /// A meter whose budget was spent at `now`, after what was taken in its calls.
    fn spent(now: Instant) -> Meter {
        let meter = Meter::default();
        for _ in 0..2 {
            meter.called(&used(3, 1), false, &Limits::default());
            meter.spend(&used(3, 1), now);
        }
        meter
    }

    /// A start of a host with what was kept, as the store gives it back.
    fn started(kept: &Reading, now_ms: u64, now: Instant) -> Meter {
        let meter = Meter::default();
        meter.go_on(serde_json::from_value(serde_json::to_value(kept).unwrap()).unwrap(), now_ms, now);
        meter
    }

    fn after(now: Instant, minutes: u64) -> Instant {
        now + Duration::from_millis(minutes * MINUTE_MS)
    }

    /// How many minutes of the hour are left; 0: the plugin may be called.
    fn minutes_left(meter: &Meter, now: Instant) -> u64 {
        let limits = Limits { http_calls_per_hour: Some(2), ..Limits::default() };
        meter.admit_at(&limits, now).err().map_or(0, |failure| u64::from(failure.retry_after_ms.unwrap()) / MINUTE_MS)
    }

    #[test]
    fn an_hour_ends() {
        let now = Instant::now();
        let meter = spent(now);
        assert_eq!(minutes_left(&meter, after(now, 59)), 1);
        assert_eq!(minutes_left(&meter, after(now, 60)), 0);
        assert_eq!(meter.unkept(0, after(now, 60)).unwrap().hour, None);
        meter.spend(&used(0, 1), after(now, 60));
        assert_eq!(minutes_left(&meter, after(now, 60)), 0, "one request of the next hour");
        meter.spend(&used(0, 1), after(now, 61));
        assert_eq!(minutes_left(&meter, after(now, 61)), 59);
    }

    #[test]
    fn only_what_was_taken_since_is_kept_again() {
        let now = Instant::now();
        assert_eq!(Meter::default().unkept(7, now), None, "nothing was taken");
        let meter = spent(now);
        let reading = meter.unkept(7, now).unwrap();
        assert_eq!(meter.unkept(7, now).as_ref(), Some(&reading), "it was not kept yet");
        meter.kept(reading.clone());
        assert_eq!(meter.unkept(8, after(now, 1)), None);
        assert_eq!(started(&reading, 7, now).unkept(7, now), None, "nor after a start");
        // A request of a step that waits is in no call, and in no total if it brought nothing.
        meter.spend(&Usage { http_calls: 1, ..Usage::default() }, now);
        assert!(meter.unkept(9, now).is_some());
    }

    #[test]
    fn totals_and_the_hour_go_on_over_restarts() {
        let (now, now_ms) = (Instant::now(), 1_000 * MINUTE_MS);
        let kept = spent(now).unkept(now_ms, after(now, 10)).unwrap();
        // Ten minutes ran, twenty the host was away.
        let meter = started(&kept, now_ms + 20 * MINUTE_MS, now);
        assert_eq!(minutes_left(&meter, now), 30);
        assert_eq!(minutes_left(&meter, after(now, 30)), 0);
        meter.called(&used(3, 1), true, &Limits::default());
        let totals = Totals { calls: 3, broken: 1, cpu_us: 9, bytes_in: 3 * 1024, ..Totals::default() };
        assert_eq!(meter.totals(), totals);
        assert_eq!(minutes_left(&started(&kept, now_ms + 50 * MINUTE_MS, now), now), 0, "the host was away until it ended");
        assert_eq!(started(&kept, u64::MAX, now).totals().calls, 2);
        assert_eq!(minutes_left(&started(&Reading::default(), now_ms, now), now), 0);
    }

    #[test]
    fn a_clock_that_is_set_back_neither_gives_an_hour_twice_nor_makes_it_longer() {
        let (now, now_ms) = (Instant::now(), 1_000 * MINUTE_MS);
        let mut kept = spent(now).unkept(now_ms, after(now, 10)).unwrap();
        // A day back, and a start every ten minutes.
        let mut back_ms = now_ms - 1_000 * MINUTE_MS;
        for left in [50, 40, 30, 20, 10] {
            let meter = started(&kept, back_ms, now);
            assert_eq!(minutes_left(&meter, now), left);
            // Also if it ends before anything more is taken.
            kept = meter.unkept(back_ms, now).unwrap_or(kept);
            back_ms += 10 * MINUTE_MS;
        }
        assert_eq!(minutes_left(&started(&kept, back_ms, now), now), 0);
        let wrong = Reading { hour: Some(Rest { left_ms: u64::MAX, ..kept.hour.clone().unwrap() }), ..kept };
        assert_eq!(minutes_left(&started(&wrong, 0, now), now), 60, "no longer than an hour, whatever is stored");
    }
}
