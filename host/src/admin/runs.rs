//! What people do with runs: look at them, start them, stop them, bring them what they wait for.

use std::sync::Arc;

use bytes::Bytes;

use super::publish::{Choice, Pins};
use super::{Admin, Error};
use crate::executor::{ActOn, Begun, Called, Heard, Program, ProgramError, Start, rfc3339};
use crate::plugin::Plugin;
use crate::run::{Decision, FileFacts, FileId, RunId, Shown, Staged, Teller, View};
use crate::store::{Place, Revision, RunFilter, RunHead, RunStore as _, SignalName};
use crate::workflow::{Definition, Json, Key};

/// Which definition of a workflow a run is to carry out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The active revision, else the newest.
    Current,
    /// The newest revision.
    Newest,
    /// This revision.
    Revision(u32),
    /// The draft as it is now.
    Draft,
}

/// A run that a person starts.
pub struct StartRun {
    /// What it carries out.
    pub which: Which,
    /// What the trigger would give it.
    pub context: Json,
}

impl Admin {
    /// Runs, newest first, those that are not stored yet among them; and where the next page begins.
    pub async fn runs(&self, filter: RunFilter) -> Result<(Vec<RunHead>, Option<RunId>), Error> {
        let live = if filter.after.is_none() { self.executor().live() } else { Vec::new() };
        let wanted = filter.clone();
        let (mut runs, mut next) = self.read(move |store| store.runs(&filter)).await?;
        let unstored = live.into_iter().filter(|head| {
            wanted.workflow.as_ref().is_none_or(|workflow| *workflow == head.workflow)
                && wanted.revision.is_none_or(|revision| revision == head.revision)
                && wanted.status.is_none_or(|status| status == head.status)
                && wanted.from_ms.is_none_or(|from_ms| head.accepted_ms >= from_ms)
                && wanted.before_ms.is_none_or(|before_ms| head.accepted_ms < before_ms)
                && !runs.iter().any(|run| run.id == head.id)
        });
        let unstored: Vec<RunHead> = unstored.take(wanted.limit).collect();
        runs.extend(unstored);
        runs.sort_by_key(|head| std::cmp::Reverse(head.id));
        if runs.len() > wanted.limit {
            runs.truncate(wanted.limit);
            next = runs.last().map(|head| head.id);
        }
        Ok((runs, next))
    }

    /// A run's head.
    pub async fn run(&self, id: RunId) -> Result<RunHead, Error> {
        let stored = self.read(move |store| store.run(id)).await?;
        let live = || self.executor().live().into_iter().find(|head| head.id == id);
        stored.or_else(live).ok_or_else(|| run_not_found(id))
    }

    /// A run's head, and what its journal tells.
    pub async fn history(&self, id: RunId, shown: Shown) -> Result<(RunHead, View), Error> {
        let head = self.run(id).await?;
        // A part at a time: a journal may be larger than the memory.
        let told = self.read(move |store| {
            let mut teller = Teller::new(id, shown, &rfc3339);
            let mut number = 0;
            while let Some(entries) = store.segment(id, number)? {
                entries.iter().for_each(|entry| teller.add(entry));
                number += 1;
            }
            Ok(teller.finish())
        });
        Ok((head, told.await?))
    }

    /// A file that a run made, and what it holds.
    pub async fn file(&self, id: FileId) -> Result<(FileFacts, Bytes), Error> {
        let found = self.read(move |store| store.file(&id)).await?;
        found.ok_or_else(|| Error::NotFound { what: "file", name: id.to_string(), hint: "; files go with their runs" })
    }

    /// The plugins in quarantine that hold up a run.
    pub fn held_up_by(&self, run: RunId) -> Vec<Arc<Plugin>> {
        self.executor().held_up_by(run).iter().filter_map(|digest| self.registry.get(digest)).collect()
    }

    /// Starts a run by hand, also of a workflow that is paused. Its trigger is asked if it wants to be. Returns the run; one that the
    /// dedup key of the trigger began before is returned as it is.
    pub async fn start_run(&self, key: &Key, start: StartRun) -> Result<RunId, Error> {
        self.executor().check_space()?;
        let program = self.program_of(key, start.which).await?;
        loop {
            let called = self.executor().called(&program, start.context.clone(), Some("admin")).await;
            let Called { context, dedup, queue, staged } = called.map_err(Error::NotStarted)?;
            match self.begin(Start { dedup, queue, ..Start::new(program.clone(), context) }, staged).await {
                Err(error) if error.is_changed() => {}
                begun => return Ok(begun?),
            }
        }
    }

    /// Begins a run by hand.
    pub(super) async fn begin(&self, start: Start, staged: Staged) -> Result<RunId, crate::executor::Error> {
        let (begun, _) = self.executor().begin(vec![Start { manual: true, ..start }], None, staged, Vec::new()).await?;
        match begun.into_iter().next() {
            Some(Begun::New(run) | Begun::Duplicate(run)) => Ok(run),
            None => Err(crate::executor::Error::Overloaded),
        }
    }

    /// What a run of a workflow would carry out.
    async fn program_of(&self, key: &Key, which: Which) -> Result<Arc<Program>, Error> {
        let head = self.head(key).await?;
        let number = match which {
            Which::Current => head.active_revision.unwrap_or(head.latest_revision),
            Which::Newest => head.latest_revision,
            Which::Revision(number) => number,
            Which::Draft => return self.draft_program(key).await,
        };
        if number == 0 {
            return Err(Error::not_found("revision", key, ": publish the draft first, or run the draft"));
        }
        let program = self.executor().programs().program(key, number, None);
        program.map_err(|error| match error {
            ProgramError::Missing(..) => {
                Error::not_found("revision", format!("{key}-{number:05}"), "; `weft workflow revisions` shows what there is")
            }
            error => Error::Unrunnable(number, error.to_string()),
        })
    }

    /// The draft as it is now.
    async fn draft_program(&self, key: &Key) -> Result<Arc<Program>, Error> {
        let (draft, _) = self.draft(key).await?;
        let pins = self.resolve(&draft.definition, Choice::Newest).await?;
        self.unpublished_program(draft.definition, pins).await
    }

    /// A definition that is no revision, kept for the runs that carry it out.
    pub(super) async fn unpublished_program(&self, definition: Definition, pins: Pins) -> Result<Arc<Program>, Error> {
        let key = definition.key.clone();
        let (trigger_pin, node_pins) = pins;
        let kept = Revision {
            workflow: key.clone(),
            number: 0,
            definition,
            trigger_pin,
            node_pins,
            author: String::new(),
            message: None,
            published_ms: 0,
        };
        let digest = self.store.keep_draft_of_run(&kept).await?;
        let program = self.executor().programs().program(&key, 0, Some(&digest));
        program.map_err(|error| Error::Unrunnable(0, error.to_string()))
    }

    /// Waits until a run has ended, but not longer than this.
    pub async fn wait_for_run(&self, id: RunId, patience: std::time::Duration) -> Result<(), Error> {
        match tokio::time::timeout(patience, self.executor().wait_for_end(id)).await {
            Ok(ended) => Ok(ended?),
            Err(_) => Ok(()),
        }
    }

    /// Stops a run.
    pub async fn cancel_run(&self, id: RunId) -> Result<(), Error> {
        Ok(self.executor().cancel(id, Some("admin".into())).await?)
    }

    /// Carries a run out again, from the step at `from` on or whole, on its own revision or another. Returns the new run.
    pub async fn rerun(&self, id: RunId, from: Option<Box<str>>, which: Option<Which>) -> Result<RunId, Error> {
        self.executor().check_space()?;
        let program = match which {
            None => None,
            Some(which) => {
                let head = self.run(id).await?;
                Some(self.program_of(&head.workflow, which).await?)
            }
        };
        Ok(self.executor().rerun(id, from, program).await?)
    }

    /// Sends a message to a run by name, and says whether a step waits for it.
    pub async fn signal_run(&self, id: RunId, name: &str, payload: Json) -> Result<Option<Heard>, Error> {
        Ok(self.executor().signal_run(id, name, payload).await?)
    }

    /// Sends a message to the runs of a workflow that wait for this name and key. Returns how many do.
    pub async fn signal_workflow(&self, workflow: &Key, name: &str, key: &str, payload: Json) -> Result<usize, Error> {
        self.head(workflow).await?;
        let name = SignalName { workflow: workflow.clone(), name: name.into(), key: key.into() };
        Ok(self.executor().signal(&name, payload).await?)
    }

    /// Acts on a task for a user.
    pub async fn act(&self, id: RunId, act: ActOn) -> Result<(), Error> {
        Ok(self.executor().act(id, act).await?)
    }

    /// Says what came of a call whose outcome a crash has hidden.
    pub async fn decide(&self, id: RunId, step: Box<str>, decision: Decision) -> Result<(), Error> {
        Ok(self.executor().decide(id, step, decision, Some("admin".into())).await?)
    }

    /// Deletes a run that has ended, with its history. The number of its workflow's runs stays.
    pub async fn delete_run(&self, id: RunId) -> Result<(), Error> {
        let head = self.read(move |store| store.run(id)).await?;
        match head {
            None if self.executor().live().iter().any(|head| head.id == id) => Err(Error::GoesOn(id)),
            None => Err(run_not_found(id)),
            Some(head) if head.place != Place::Ended => Err(Error::GoesOn(id)),
            Some(_) => {
                self.store.delete_run(id).await?;
                Ok(())
            }
        }
    }
}

fn run_not_found(id: RunId) -> Error {
    Error::not_found("run", id, "; `weft run list` shows the newest")
}
