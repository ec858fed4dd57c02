//! Runs that are carried out again: a new run that repeats the first entries of another.

use std::sync::Arc;

use super::commit::Unstored;
use super::program::{Program, ProgramError};
use super::start::{Origin, Start};
use super::{Error, Executor, fold};
use crate::run::{Entry, Rerun, RunId};
use crate::store::Change;
use crate::workflow::Json;

/// Why a run cannot be carried out again.
#[derive(Debug, thiserror::Error)]
pub enum RerunError {
    /// There is no such run.
    #[error("there is no run {0}")]
    NotFound(RunId),
    /// It never came to this step.
    #[error("run {0} never came to a step at `{1}`")]
    NoStep(RunId, String),
    /// The newest revision has other steps before that one.
    #[error(
        "in revision {1} a run does not come to `{0}` by what was done before; carry it out from the start, or on its own revision"
    )]
    OtherSteps(String, u32),
    /// The revision cannot be run.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The executor failed.
    #[error(transparent)]
    Executor(#[from] Error),
}

impl From<crate::store::Error> for RerunError {
    fn from(error: crate::store::Error) -> Self {
        Self::Executor(error.into())
    }
}

impl Executor {
    /// Carries a run out again: whole, or from the activation with this path on, so that what was done before is kept. On its own
    /// revision, or on another. Nobody waits for it. Returns the new run.
    pub async fn rerun(
        self: &Arc<Self>,
        of: RunId,
        from: Option<Box<str>>,
        program: Option<Arc<Program>>,
    ) -> Result<RunId, RerunError> {
        let head = self.store.run(of)?.ok_or(RerunError::NotFound(of))?;
        let program = match program {
            Some(program) => program,
            None => self.programs.program(&head.workflow, head.revision, head.draft.as_ref())?,
        };
        let journal = self.store.journal(of)?;
        let Some(Entry::Accepted(first)) = journal.first() else { return Err(RerunError::NotFound(of)) };
        let context: Json = first.context.clone();
        let repeated = match &from {
            None => &[],
            Some(path) => {
                let is_of = |entry: &Entry| entry.activation() == Some(&**path);
                let at = journal.iter().position(is_of).ok_or_else(|| RerunError::NoStep(of, path.to_string()))?;
                &journal[1..at]
            }
        };
        let start = Start { manual: true, ..Start::new(program.clone(), context) };
        let rerun = Rerun { of, from: from.clone() };
        let origin = Origin { rerun: Some(rerun), ..Origin::default() };
        let slot = self.slot_for(&start);
        let (mut unstored, stack) = self.accept_into(&start, origin, slot.is_none());
        let run = unstored.head.id;
        // What came for the whole run ended it; what it did outside of itself it has done.
        Arc::make_mut(&mut unstored.entries).extend(repeated.iter().filter(|entry| is_repeatable(entry)).cloned());
        if let Some(path) = &from {
            let state = fold(&program, run, &unstored.entries);
            if state.is_none_or(|state| state.find(path).is_none()) {
                return Err(RerunError::OtherSteps(path.to_string(), program.plan.revision));
            }
        }
        self.begin_prepared(start, unstored, stack, slot).await?;
        Ok(run)
    }

    /// Stores a run with its first entries, and begins it if there is room.
    async fn begin_prepared(
        self: &Arc<Self>,
        start: Start,
        unstored: Unstored,
        stack: Arc<[crate::workflow::Key]>,
        slot: Option<super::scheduler::Slot>,
    ) -> Result<(), Error> {
        match slot {
            Some(slot) => {
                let Some(mut running) = self.running(start.program, unstored, stack, slot)? else { return Ok(()) };
                running.state.repeat_outgoing();
                running.store().await?;
                running.begin_again(true);
                tokio::spawn(running.drive());
            }
            None => {
                let first: Change = super::start::first_change(&unstored);
                self.store.commit(vec![first]).await?;
                self.scheduler.queued(&super::start::queue_of(&start));
            }
        }
        Ok(())
    }
}

fn is_repeatable(entry: &Entry) -> bool {
    // What another run was about to do outside, this one has not begun to do.
    let is_of_the_other = matches!(entry, Entry::Accepted(_) | Entry::Started { .. } | Entry::Intended { .. });
    !is_of_the_other && !matches!(entry, Entry::TimedOut { activation: None, .. })
}
