//! Where calls go on that compute for long: on threads of their own, to which the system prefers all others.
//!
//! A call begins on the thread of whoever makes it, and most end there within microseconds. One that a tick finds to compute for long is
//! moved, so that those that are quick find their threads free, whatever else is called.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::future::BoxFuture;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::limits::BACKGROUND_NICENESS;

thread_local! {
    /// Whether the call that this thread carries out has computed for long.
    static COMPUTES: Cell<bool> = const { Cell::new(false) };
}

/// A tick found that the call computes for long that this thread carries out.
pub(super) fn computes_long() {
    COMPUTES.set(true);
}

/// Those threads.
pub(super) struct Background(Option<Runtime>);

impl Background {
    pub(super) fn start() -> std::io::Result<Self> {
        // A thread that the system refuses this goes on like the others.
        let give_way = || {
            let _ = rustix::process::nice(BACKGROUND_NICENESS);
        };
        let runtime =
            Builder::new_multi_thread().enable_all().thread_name("weft-background").on_thread_start(give_way).build()?;
        Ok(Self(Some(runtime)))
    }

    /// Carries out calls of components here until one computes for long, and then there. Whoever drops this stops it.
    pub(super) fn carry<T: Send + 'static>(&self, calls: impl Future<Output = T> + Send + 'static) -> Carried<'_, T> {
        Carried { background: self, at: At::Here(Box::pin(calls)) }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Waiting is not allowed where a runtime may be dropped.
            runtime.shutdown_background();
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
    There(JoinHandle<T>),
    Moving,
}

impl<T: Send + 'static> Future for Carried<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        if let At::Here(calls) = &mut self.at {
            COMPUTES.set(false);
            let polled = calls.as_mut().poll(context);
            match (polled, &self.background.0) {
                (Poll::Pending, Some(runtime)) if COMPUTES.get() => {
                    if let At::Here(calls) = std::mem::replace(&mut self.at, At::Moving) {
                        self.at = At::There(runtime.spawn(calls));
                    }
                }
                (polled, _) => return polled,
            }
        }
        let At::There(task) = &mut self.at else { return Poll::Pending };
        match ready!(Pin::new(task).poll(context)) {
            Ok(done) => Poll::Ready(done),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The host ends, and takes nothing up any more.
            Err(_) => Poll::Pending,
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
    use std::sync::Arc;

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
        let [before, after] = run(background.carry(call(true)));
        assert!(before != after && after == "weft-background", "{before} {after}");
        let [before, after] = run(background.carry(call(false)));
        assert_eq!(before, after);
        // What the one before found does not count for the next.
        computes_long();
        assert_eq!(run(background.carry(call(false)))[1], thread());
    }

    #[test]
    fn whoever_drops_a_call_stops_it_there_too() {
        let background = Background::start().unwrap();
        let alive = Arc::new(());
        let held = alive.clone();
        run(async {
            let calls = background.carry(async move {
                let _held = held;
                computes_long();
                loop {
                    tokio::task::yield_now().await;
                }
            });
            assert!(tokio::time::timeout(std::time::Duration::from_millis(50), calls).await.is_err());
            while Arc::strong_count(&alive) > 1 {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        });
    }
}
