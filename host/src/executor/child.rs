//! Runs that other runs ask for: as part of a step, or without waiting.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::program::Program;
use super::services::check_stack;
use super::start::{Origin, Start};
use super::{Error, Executor};
use crate::run::{Arrival, Failure, Fault, Parent, RunId, Staged};
use crate::store::{Asked, Change, CommitError, Place};
use crate::workflow::{Json, Key};

/// What a trigger makes of a start by name.
pub struct Called {
    /// What the run is given.
    pub context: Json,
    /// Two starts of a workflow with the same key make one run.
    pub dedup: Option<Box<str>>,
    /// A job queue.
    pub queue: Option<Box<str>>,
    /// What the trigger did inside the host.
    pub staged: Staged,
}

/// What starts by name go through: the trigger of the workflow, if it wants that.
pub trait Callee: Send + Sync {
    /// What the trigger of a revision makes of a context that somebody gives (`user`: a person). The failure says why
    /// it refuses.
    fn called<'a>(
        &'a self,
        program: &'a Arc<Program>,
        context: Json,
        user: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Called, Failure>>;
}

impl Executor {
    /// Begins a run that is asked for, or tells whoever waits for it that it cannot.
    pub(super) async fn answer(self: Arc<Self>, asked: Asked) {
        let run = asked.run;
        if let Err(error) = self.try_answer(&asked).await {
            tracing::error!(%run, %error, "a run that was asked for could not begin; it is tried again at the next start");
        }
    }

    async fn try_answer(self: &Arc<Self>, asked: &Asked) -> Result<(), Error> {
        loop {
            let answered = match self.startable(asked).await {
                Ok((program, called)) => self.begin_asked(asked, program, called).await,
                Err(failure) => self.refuse(asked, failure).await,
            };
            match answered {
                // Somebody else has answered.
                Ok(()) | Err(CommitError::Gone | CommitError::Fenced(_)) => return Ok(()),
                Err(CommitError::Duplicate(_, first)) => return self.share(asked, first).await,
                // What the trigger read was changed by others: it is asked again.
                Err(CommitError::Changed) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What the run would carry out, and with what.
    async fn startable(&self, asked: &Asked) -> Result<(Arc<Program>, Called), Failure> {
        let program = self.program_by_name(&asked.workflow)?;
        if asked.synchronous && !program.synchronous {
            let message = format!("somebody waits for this run, and `{}` is not synchronous", asked.workflow);
            return Err(Failure::error("not-synchronous", message));
        }
        if let Some((last, before)) = asked.stack.split_last() {
            check_stack(before, last, &program).map_err(failure_of)?;
        }
        let called = self.called(&program, asked.context.clone(), None).await?;
        Ok((program, called))
    }

    /// The revision that a start by name runs.
    pub(super) fn program_by_name(&self, workflow: &Key) -> Result<Arc<Program>, Failure> {
        let unusable = |error: &dyn std::fmt::Display| Failure::error("not-started", error.to_string());
        let revision = self.programs.startable(workflow).map_err(|error| unusable(&error))?;
        let missing = || Failure::error("not-found", format!("there is no published workflow `{workflow}`"));
        self.programs.program(workflow, revision.ok_or_else(missing)?, None).map_err(|error| unusable(&error))
    }

    /// What a start by name is given: through the workflow's trigger, if that wants to be asked.
    pub async fn called(&self, program: &Arc<Program>, context: Json, user: Option<&str>) -> Result<Called, Failure> {
        match self.callee.get().filter(|_| program.trigger.is_callable) {
            Some(callee) => callee.called(program, context, user).await,
            None => Ok(Called { context, dedup: None, queue: None, staged: Staged::default() }),
        }
    }

    async fn begin_asked(self: &Arc<Self>, asked: &Asked, program: Arc<Program>, called: Called) -> Result<(), CommitError> {
        let Called { context, dedup, queue, staged } = called;
        // A wait that is begun again, because an atomic branch around it was, gets the run that it had.
        let of_wait = asked.parent.as_ref().map(|Parent { run, activation, id }| format!("child/{run}/{activation}/{id}").into());
        let start = Start { program: program.clone(), context, dedup: of_wait.or(dedup), queue, manual: false };
        let origin = Origin {
            id: Some(asked.run),
            synchronous: asked.synchronous,
            stack: asked.stack.clone(),
            parent: asked.parent.clone(),
            rerun: None,
        };
        let slot = self.slot_for(&start);
        let (mut unstored, stack) = self.accept_into(&start, origin, slot.is_none());
        match slot {
            Some(slot) => {
                // It is stored with its first commit, which is the answer too. Until then it is asked for.
                (unstored.is_asked, unstored.staged) = (true, staged);
                if let Some(mut running) = self.running(program, unstored, stack, slot)? {
                    running.try_store().await?;
                    tokio::spawn(running.drive());
                }
                Ok(())
            }
            None => {
                let mut changes = vec![super::start::first_change(&unstored), Change::Answer(asked.run)];
                super::commit::staged_changes(staged, &[], &mut changes);
                self.store.commit(changes).await?;
                self.scheduler.queued(&super::start::queue_of(&start));
                Ok(())
            }
        }
    }

    /// The run that is asked for exists already: whoever waits gets its end, from itself if it goes on.
    async fn share(&self, asked: &Asked, first: RunId) -> Result<(), Error> {
        let mut changes = vec![Change::Answer(asked.run)];
        if let Some(parent) = &asked.parent {
            let ended = self.store.run(first)?.is_none_or(|head| head.place == Place::Ended);
            if ended {
                let output = match self.finished(first)? {
                    Some(finished) => finished.output(),
                    None => Err(Failure::error("run-deleted", "the run that this key began has been deleted")),
                };
                changes.push(child_ended(parent, output));
            }
        }
        match self.store.commit(changes).await {
            Ok(()) | Err(CommitError::Gone) => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(parent) = &asked.parent {
            self.poke(parent.run);
        }
        Ok(())
    }

    async fn refuse(&self, asked: &Asked, failure: Failure) -> Result<(), CommitError> {
        let mut changes = vec![Change::Answer(asked.run)];
        match &asked.parent {
            Some(parent) => changes.push(child_ended(parent, Err(failure))),
            None => {
                let Failure { code, message, .. } = &failure;
                tracing::warn!(run = %asked.run, workflow = %asked.workflow, %code, "a run did not start: {message}");
            }
        }
        self.store.commit(changes).await?;
        if let Some(parent) = &asked.parent {
            self.poke(parent.run);
        }
        Ok(())
    }
}

fn child_ended(parent: &Parent, output: Result<Json, Failure>) -> Change {
    let (activation, id) = (parent.activation.clone(), parent.id.clone());
    Change::Arrive(parent.run, Arrival::ChildEnded { activation, id, output })
}

fn failure_of(fault: Fault) -> Failure {
    Failure { transient: fault.transient, ..Failure::error(&fault.code, fault.message) }
}
