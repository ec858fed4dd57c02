//! One run from its beginning, or from where a crash left it, to its end.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{oneshot, watch};

use super::call::Answered;
use super::program::Program;
use super::{Error, Executor, Finished, Live, Outcome, fold};
use crate::limits::{RUN_UNSTORED_ENTRIES_MAX, RUN_UNSTORED_MS_MAX};
use crate::plugin::Instance;
use crate::run::{Command, Effects, Entry, State, check};
use crate::store::{Appended, DedupKey, RunHead, Segment};

type Caller = oneshot::Sender<Result<Outcome, Error>>;

/// A run that is being carried out.
pub(super) struct Running {
    executor: Arc<Executor>,
    program: Arc<Program>,
    head: RunHead,
    dedup: Option<DedupKey>,
    /// Entries that are folded into the state.
    entries: Vec<Entry>,
    /// How many of them are stored, and dropped from memory.
    segments: u32,
    state: Option<State>,
    caller: Option<Caller>,
    /// Instances of this run that wait for its next call, so that one serves several steps of a component.
    idle: Vec<Instance>,
    ended: watch::Sender<bool>,
}

impl Running {
    pub(super) fn new(
        executor: Arc<Executor>,
        program: Arc<Program>,
        head: RunHead,
        dedup: Option<DedupKey>,
        entries: Vec<Entry>,
    ) -> Self {
        let (ended, watch) = watch::channel(false);
        let live = Live { head: head.clone(), ended: watch };
        executor.live.lock().unwrap_or_else(PoisonError::into_inner).insert(head.id, live);
        let state = fold(&program, &entries);
        Self { executor, program, head, dedup, entries, segments: 0, state, caller: None, idle: Vec::new(), ended }
    }

    /// Somebody waits for this run.
    pub(super) fn wait_for_caller(&mut self, caller: Caller, instances: Vec<Instance>) {
        self.caller = Some(caller);
        self.idle = instances;
    }

    /// All entries so far are stored, in so many segments.
    pub(super) fn entries_are_stored(&mut self, segments: u32) {
        self.entries.clear();
        self.segments = segments;
    }

    /// Carries out the run.
    pub(super) async fn drive(mut self) {
        let result = self.steps().await;
        self.release();
        let caller = self.caller.take();
        match (result, caller) {
            (Ok(finished), Some(caller)) => {
                let _ = caller.send(Ok(Outcome::Ended(Box::new(finished), std::mem::take(&mut self.idle))));
            }
            (Err(error), Some(caller)) => {
                let _ = caller.send(Err(error));
            }
            (Err(error), None) => tracing::error!(run = %self.head.id, %error, "a run stopped; it goes on at the next start"),
            (Ok(_), None) => {}
        }
    }

    async fn steps(&mut self) -> Result<Finished, Error> {
        let mut calls = FuturesUnordered::new();
        let mut in_flight = BTreeSet::new();
        let mut unstored = std::pin::pin!(tokio::time::sleep(RUN_UNSTORED_MS_MAX));
        loop {
            let Some(state) = &self.state else {
                return Err(crate::store::Error::Corrupt(format!("the journal of {}", self.head.id)).into());
            };
            if state.end().is_some() {
                return self.finish().await;
            }
            let ready: Vec<_> = state.commands().filter(|Command::Call(id, _)| !in_flight.contains(id)).collect();
            for Command::Call(id, event) in ready {
                let Some(prepared) = self.executor.prepare(&self.program, state, self.head.id, id, event) else { continue };
                let digest = self.program.node(prepared.step).plugin.digest;
                let at = self.idle.iter().position(|instance| *instance.digest() == digest);
                let instance = at.map(|at| self.idle.swap_remove(at));
                if instance.is_none() && self.executor.registry.is_crowded() {
                    // Whoever waits for an instance must hold none.
                    self.idle.clear();
                }
                in_flight.insert(id);
                calls.push(self.executor.clone().call(self.program.clone(), prepared, instance));
            }
            tokio::select! {
                biased;
                Some(answered) = calls.next() => {
                    in_flight.remove(&answered.activation);
                    self.answered(answered).await?;
                }
                () = given_up(self.caller.as_mut()), if self.caller.is_some() => {
                    self.caller = None;
                    self.store().await?;
                }
                () = &mut unstored, if !self.entries.is_empty() => {
                    self.store().await?;
                    unstored.as_mut().reset(tokio::time::Instant::now() + RUN_UNSTORED_MS_MAX);
                }
            }
        }
    }

    async fn answered(&mut self, answered: Answered) -> Result<(), Error> {
        let Answered { activation, mut entry, instance } = answered;
        self.idle.extend(instance);
        let Some(state) = &mut self.state else { return Ok(()) };
        if state.activation(activation).is_none() {
            // It was stopped meanwhile.
            return Ok(());
        }
        if let Err(failure) = check(&self.program.plan, state, activation, &entry.outcome) {
            entry.outcome = crate::run::Outcome::Failed(failure);
            entry.effects = Effects::default();
        }
        let entry = Entry::Called(Box::new(entry));
        state.apply(&self.program.plan, &entry);
        self.entries.push(entry);
        if state.end().is_none() {
            if let Some(response) = state.response().cloned()
                && self.caller.is_some()
            {
                self.store().await?;
                if let Some(caller) = self.caller.take() {
                    let _ = caller.send(Ok(Outcome::Responded(response)));
                }
            } else if self.entries.len() >= RUN_UNSTORED_ENTRIES_MAX {
                self.store().await?;
            }
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<Finished, Error> {
        let finished = self.state.as_ref().and_then(Finished::of);
        let Some(finished) = finished else { unreachable!("called when the state has an end") };
        self.head.status = finished.end.status;
        self.head.message.clone_from(&finished.end.message);
        self.head.ended_ms = Some(self.executor.clock.now_ms());
        self.store().await?;
        Ok(finished)
    }

    /// Makes everything that happened durable.
    async fn store(&mut self) -> Result<(), Error> {
        let segment = Segment { head: &self.head, number: self.segments, entries: &self.entries, dedup: self.dedup.as_ref() };
        match self.executor.store.append(segment).await? {
            Appended::Done => {
                self.entries.clear();
                self.segments += 1;
                self.unreserve();
                Ok(())
            }
            // The key was reserved, so this is another process on the same store.
            Appended::Duplicate(_) => Err(crate::store::Error::Conflict.into()),
        }
    }

    fn unreserve(&mut self) {
        if let Some(key) = self.dedup.take() {
            let reservation = (self.head.workflow.clone(), key);
            self.executor.reserved.lock().unwrap_or_else(PoisonError::into_inner).remove(&reservation);
        }
    }

    fn release(&mut self) {
        self.unreserve();
        self.executor.live.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.head.id);
        self.ended.send_replace(true);
    }
}

async fn given_up(caller: Option<&mut Caller>) {
    if let Some(caller) = caller {
        caller.closed().await;
    }
}
