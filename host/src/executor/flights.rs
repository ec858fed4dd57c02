//! What goes on outside of a run's own thread of control: calls of components, and requests that activations wait for.

use std::collections::BTreeMap;
use std::future::Future;

use futures_util::StreamExt as _;
use futures_util::future::{AbortHandle, Abortable, Aborted, BoxFuture};
use futures_util::stream::FuturesUnordered;

use super::call::Answered;
use super::done;
use crate::run::{Activation, ActivationId, Fault, Response, State};

/// Something that goes on outside of the run's own thread of control.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Flight {
    Call(ActivationId),
    Request(ActivationId, Box<str>),
}

/// What came of it.
pub(super) enum Landed {
    Call(Box<Answered>),
    Request(ActivationId, Box<str>, Result<Response, Fault>),
}

/// Everything that goes on at the moment.
#[derive(Default)]
pub(super) struct Flights {
    all: FuturesUnordered<Abortable<BoxFuture<'static, Landed>>>,
    handles: BTreeMap<Flight, AbortHandle>,
}

impl Flights {
    /// Whether nothing goes on.
    pub(super) fn is_empty(&self) -> bool {
        self.handles.is_empty()
    }

    /// Whether this goes on.
    pub(super) fn contains(&self, flight: &Flight) -> bool {
        self.handles.contains_key(flight)
    }

    /// Lets this go on beside the others.
    pub(super) fn start(&mut self, flight: Flight, future: BoxFuture<'static, Landed>) {
        let (handle, registration) = AbortHandle::new_pair();
        self.all.push(Abortable::new(future, registration));
        self.handles.insert(flight, handle);
    }

    /// Stops what the run does not wait for any more.
    pub(super) fn keep(&mut self, state: &State) {
        self.handles.retain(|flight, handle| {
            let is_wanted = match flight {
                Flight::Call(id) => state.activation(*id).is_some_and(Activation::is_callable),
                Flight::Request(id, wait) => {
                    state.activation(*id).and_then(|activation| activation.wait(wait)).is_some_and(|open| !open.is_fired())
                }
            };
            if !is_wanted {
                handle.abort();
            }
            is_wanted
        });
    }

    /// What lands next; none: it was stopped.
    pub(super) async fn next(&mut self) -> Option<Landed> {
        let landed = match self.all.next().await {
            Some(Ok(landed)) => landed,
            Some(Err(Aborted)) => return None,
            // Nothing goes on: whoever asks waits for something else.
            None => std::future::pending().await,
        };
        let flight = match &landed {
            Landed::Call(answered) => Flight::Call(answered.activation),
            Landed::Request(id, wait, _) => Flight::Request(*id, wait.clone()),
        };
        self.handles.remove(&flight).map(|_| landed)
    }
}

impl Activation {
    /// Whether its component may be called, now or later.
    pub(super) fn is_callable(&self) -> bool {
        use crate::run::Phase;
        matches!(self.phase, Phase::Open | Phase::Retrying(_))
    }
}

/// Runs a call on a thread of its own choosing, since others go on beside it.
pub(super) fn side_by_side<T: Send + 'static>(call: impl Future<Output = T> + Send + 'static) -> BoxFuture<'static, T> {
    struct Stop(tokio::task::AbortHandle);
    impl Drop for Stop {
        fn drop(&mut self) {
            self.0.abort();
        }
    }
    let task = tokio::spawn(call);
    let stop = Stop(task.abort_handle());
    Box::pin(async move {
        let _stop = stop;
        done(task).await
    })
}
