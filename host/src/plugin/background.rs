//! Where calls go on that compute for long: on threads of their own, to which the system prefers all others.
//!
//! A call begins on the thread of whoever makes it, and most end there within microseconds. One that a tick finds to compute for long is
//! moved, so that those that are quick find their threads free, whatever else is called. One of a step or trigger that computed for
//! long of late begins there, so that nobody meets even its first milliseconds.
//!
//! The system lets a thread of the class `idle` run when no other wants to, and takes its core from it at once when one does: beside
//! threads that are merely nicer than it, others wait for up to a tick of the system's, 4 ms, each time they wake up. On a machine
//! that is never idle such a thread stands still, though: a call that waits there for too long goes on on threads that are nice,
//! and so do all that come within the next second.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use thread_priority::{NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use super::cpu::thread_time;
use crate::limits::{BACKGROUND_CPU_MIN, BACKGROUND_NICENESS, BUSY_FOR, LONG_CALLS_REMEMBERED, STARVED_FACTOR, STARVED_MIN};

thread_local! {
    /// Whether the call that this thread carries out has computed for long.
    static COMPUTES: Cell<bool> = const { Cell::new(false) };
}

/// A tick found that the call computes for long that this thread carries out.
pub(super) fn computes_long() {
    COMPUTES.set(true);
}

/// How long the calls of one step or of one trigger computed of late.
#[derive(Clone, Default)]
pub struct Pace(Arc<AtomicU8>);

impl Pace {
    /// A call came to its end that computed for so many microseconds.
    pub fn took(&self, cpu_us: u32) {
        let calls = if Duration::from_micros(cpu_us.into()) > BACKGROUND_CPU_MIN {
            LONG_CALLS_REMEMBERED
        } else {
            match self.0.load(Ordering::Relaxed) {
                0 => return,
                calls => calls - 1,
            }
        };
        self.0.store(calls, Ordering::Relaxed);
    }

    fn is_slow(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }
}

/// Those threads.
pub(super) struct Background(Option<Threads>);

struct Threads {
    idle: Runtime,
    nice: Runtime,
    busy: Busy,
}

/// Whether the machine is busy: when a call last waited too long on threads that are idle.
#[derive(Clone, Default)]
struct Busy(Arc<Mutex<Option<Instant>>>);

impl Busy {
    fn is_so(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|at| at.elapsed() < BUSY_FOR)
    }

    fn set(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

impl Threads {
    fn spawn<T: Send + 'static>(&self, calls: BoxFuture<'static, T>) -> JoinHandle<Result<T, BoxFuture<'static, T>>> {
        if self.busy.is_so() {
            return self.nice.spawn(async { Ok(calls.await) });
        }
        let busy = self.busy.clone();
        self.idle.spawn(Patient { calls: Some(calls), busy, waited: Duration::ZERO, computed: Duration::ZERO })
    }
}

impl Background {
    pub(super) fn start() -> std::io::Result<Self> {
        // A thread that the system refuses this goes on like the others.
        let be_idle = || {
            let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
            let thread = thread_priority::thread_native_id();
            let _ = thread_priority::set_thread_priority_and_policy(thread, ThreadPriority::Min, policy);
        };
        let be_nice = || {
            let _ = rustix::process::nice(BACKGROUND_NICENESS);
        };
        let threads = |name| {
            let mut builder = Builder::new_multi_thread();
            builder.enable_all().thread_name(name);
            builder
        };
        let idle = threads("weft-idle").on_thread_start(be_idle).build()?;
        let nice = threads("weft-nice").on_thread_start(be_nice).build()?;
        Ok(Self(Some(Threads { idle, nice, busy: Busy::default() })))
    }

    /// Carries out calls of components here until one computes for long, and then there; at once there if they are slow. Whoever drops
    /// this stops it.
    pub(super) fn carry<T: Send + 'static>(
        &self,
        pace: &Pace,
        calls: impl Future<Output = T> + Send + 'static,
    ) -> Carried<'_, T> {
        let calls: BoxFuture<'static, T> = Box::pin(calls);
        let at = match &self.0 {
            Some(threads) if pace.is_slow() => At::There(threads.spawn(calls)),
            _ => At::Here(calls),
        };
        Carried { background: self, at }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(Threads { idle, nice, .. }) = self.0.take() {
            // Waiting is not allowed where a runtime may be dropped.
            idle.shutdown_background();
            nice.shutdown_background();
        }
    }
}

/// Calls on threads that may stand still: given back when they do.
struct Patient<T> {
    /// None: given back.
    calls: Option<BoxFuture<'static, T>>,
    busy: Busy,
    /// For the thread to get on.
    waited: Duration,
    computed: Duration,
}

impl<T> Future for Patient<T> {
    type Output = Result<T, BoxFuture<'static, T>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.busy.is_so() {
            // Another one stood still meanwhile.
            return self.calls.take().map_or(Poll::Pending, |calls| Poll::Ready(Err(calls)));
        }
        let Some(calls) = &mut self.calls else { return Poll::Pending };
        let (began, before) = (Instant::now(), thread_time());
        let polled = calls.as_mut().poll(context);
        let computed = thread_time().saturating_sub(before);
        self.computed += computed;
        self.waited += began.elapsed().saturating_sub(computed);
        match polled {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending if self.waited > STARVED_MIN.max(self.computed * STARVED_FACTOR) => {
                self.busy.set();
                self.calls.take().map_or(Poll::Pending, |calls| Poll::Ready(Err(calls)))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// See [`Background::carry`].
pub(super) struct Carried<'a, T> {
    background: &'a Background,
    at: At<T>,
}

enum At<T> {
    Here(BoxFuture<'static, T>),
    There(JoinHandle<Result<T, BoxFuture<'static, T>>>),
    Moving,
}

impl<T: Send + 'static> Future for Carried<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        if let At::Here(calls) = &mut self.at {
            COMPUTES.set(false);
            let polled = calls.as_mut().poll(context);
            match (polled, &self.background.0) {
                (Poll::Pending, Some(threads)) if COMPUTES.get() => {
                    if let At::Here(calls) = std::mem::replace(&mut self.at, At::Moving) {
                        self.at = At::There(threads.spawn(calls));
                    }
                }
                (polled, _) => return polled,
            }
        }
        loop {
            let At::There(task) = &mut self.at else { return Poll::Pending };
            match ready!(Pin::new(task).poll(context)) {
                Ok(Ok(done)) => return Poll::Ready(done),
                Ok(Err(calls)) => {
                    let Some(threads) = &self.background.0 else { return Poll::Pending };
                    self.at = At::There(threads.spawn(calls));
                }
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // The host ends, and takes nothing up any more.
                Err(_) => return Poll::Pending,
            }
        }
    }
}

impl<T> Drop for Carried<'_, T> {
    fn drop(&mut self) {
        if let At::There(task) = &self.at {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn thread() -> String {
        std::thread::current().name().unwrap_or_default().to_owned()
    }

    fn run<T>(work: impl Future<Output = T>) -> T {
        Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    /// Where a call is before and after it yields, as a tick has it do.
    async fn call(computes: bool) -> [String; 2] {
        let before = thread();
        if computes {
            computes_long();
        }
        tokio::task::yield_now().await;
        [before, thread()]
    }

    #[test]
    fn who_computes_long_goes_on_in_the_background() {
        let background = Background::start().unwrap();
        let quick = Pace::default();
        let [before, after] = run(background.carry(&quick, call(true)));
        assert!(before == thread() && after == "weft-idle", "{before} {after}");
        let [before, after] = run(background.carry(&quick, call(false)));
        assert_eq!(before, after);
        // What the one before found does not count for the next.
        computes_long();
        assert_eq!(run(background.carry(&quick, call(false)))[1], thread());
    }

    #[test]
    fn who_computed_long_of_late_begins_in_the_background() {
        let background = Background::start().unwrap();
        let (pace, long) = (Pace::default(), u32::try_from(BACKGROUND_CPU_MIN.as_micros()).unwrap() + 1);
        let begins = || run(background.carry(&pace, call(false)))[0].clone();
        assert_eq!(begins(), thread());
        pace.took(long);
        for _ in 0..LONG_CALLS_REMEMBERED {
            assert_ne!(begins(), thread());
            pace.took(long - 1);
        }
        assert_eq!(begins(), thread(), "it has been quick again");
    }

    /// Ends all threads that compute here.
    struct Stop<'a>(&'a AtomicBool);

    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Computes on this thread for so long.
    fn compute(time: Duration) {
        let began = thread_time();
        while thread_time() - began < time {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn who_stands_still_there_goes_on_among_others() {
        let background = Background::start().unwrap();
        let stop = AtomicBool::new(false);
        let ended = std::thread::scope(|scope| {
            let _stop = Stop(&stop);
            for _ in 0..2 * std::thread::available_parallelism().unwrap().get() {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            }
            let computing = async {
                let began = Instant::now();
                while thread() != "weft-nice" && began.elapsed() < Duration::from_secs(60) {
                    computes_long();
                    compute(Duration::from_millis(2));
                    tokio::task::yield_now().await;
                }
                thread()
            };
            run(background.carry(&Pace::default(), computing))
        });
        assert_eq!(ended, "weft-nice");
        // The machine is known to be busy: the next does not try.
        assert_eq!(run(background.carry(&Pace::default(), call(true)))[1], "weft-nice");
    }

    #[test]
    fn whoever_drops_a_call_stops_it_there_too() {
        let background = Background::start().unwrap();
        let alive = Arc::new(());
        let held = alive.clone();
        run(async {
            let calls = background.carry(&Pace::default(), async move {
                let _held = held;
                computes_long();
                loop {
                    tokio::task::yield_now().await;
                }
            });
            assert!(tokio::time::timeout(Duration::from_millis(50), calls).await.is_err());
            while Arc::strong_count(&alive) > 1 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }
}
