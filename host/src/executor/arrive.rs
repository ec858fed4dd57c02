//! What people, programs and triggers bring for runs: messages, decisions, the wish to stop.
//!
//! It is durable when these functions return; the run takes it up when its turn comes.

use super::{Error, Executor};
use crate::limits::{ARRIVALS_KEPT_MAX, SIGNAL_KEPT_MS};
use crate::run::{Arrival, Decision, Phase, Reason, RunId, State, Task, WaitKind};
use crate::store::{ArrivalId, Change, CommitError, KeptSignal, Loaded, Place, RunHead, SignalName};
use crate::workflow::{Json, Key, Problem, Schema};

/// Why something could not be brought for a run.
#[derive(Debug, thiserror::Error)]
pub enum ArriveError {
    /// There is no such run.
    #[error("there is no run {0}")]
    NotFound(RunId),
    /// The run is over.
    #[error("run {0} has ended: {1}")]
    Ended(RunId, crate::run::Status),
    /// Too much has come for it already.
    #[error("{ARRIVALS_KEPT_MAX} messages wait for run {0} already; try again when it has taken some up")]
    TooMany(RunId),
    /// No step of the run is at this path.
    #[error("run {0} has no unfinished step at `{1}`")]
    NoStep(RunId, String),
    /// The step waits for no such task.
    #[error("the step `{0}` has no open task `{1}`")]
    NoTask(String, String),
    /// The task has no such button.
    #[error("the task has no action `{0}`: it has {1}")]
    NoAction(String, String),
    /// The task is somebody else's.
    #[error("the task is not assigned to `{0}`")]
    NotAssigned(String),
    /// The form is filled in wrongly.
    #[error("the form is filled in wrongly, in {} place(s)", .0.len())]
    Form(Vec<Problem>),
    /// The outcome of the step is known.
    #[error("nothing is to be decided of the step `{0}`: no crash has hidden what came of it")]
    NotUnknown(String),
    /// The executor failed.
    #[error(transparent)]
    Executor(#[from] Error),
}

impl From<crate::store::Error> for ArriveError {
    fn from(error: crate::store::Error) -> Self {
        Self::Executor(error.into())
    }
}

/// What comes of a message to one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A step waits for it now.
    Now,
    /// No step does, so that it is kept.
    Kept {
        /// The run's workflow.
        workflow: Key,
        /// With this key a step waits for a message of that name: one to the workflow, not to the run.
        with_key: Option<Box<str>>,
    },
}

/// What a person does with a task.
pub struct ActOn {
    /// The path of the step that waits.
    pub activation: Box<str>,
    /// The task.
    pub task: Box<str>,
    /// The person.
    pub user: Box<str>,
    /// The button.
    pub action: Box<str>,
    /// What the form holds.
    pub values: Json,
}

impl Executor {
    /// Stops a run. A run that ends by itself meanwhile stays as it is.
    pub async fn cancel(&self, run: RunId, by: Option<Box<str>>) -> Result<(), ArriveError> {
        self.open(run)?;
        self.bring(run, Arrival::Cancel { reason: Reason::ManualCancel, by }).await
    }

    /// Sends a message to one run by name. It is kept until a step waits for it, or the run ends. None: it is not known
    /// whether one does, as of a run that is not stored yet.
    pub async fn signal_run(&self, run: RunId, name: &str, payload: Json) -> Result<Option<Heard>, ArriveError> {
        let head = self.open(run)?;
        let waiting = self.store.arrivals(run)?.len() as u64;
        if head.as_ref().is_some_and(|head| head.kept_signals + waiting >= ARRIVALS_KEPT_MAX as u64) {
            return Err(ArriveError::TooMany(run));
        }
        // A message is kept all the same where that cannot be said.
        let heard = head.as_ref().and_then(|head| self.who_hears(head, name).ok());
        self.bring(run, Arrival::Signal { name: name.into(), key: None, payload }).await?;
        Ok(heard)
    }

    fn who_hears(&self, head: &RunHead, name: &str) -> Result<Heard, ArriveError> {
        let state = self.state_of(head.id)?;
        let waits = state.activations().flat_map(|(_, activation)| &activation.waits);
        let keys: Vec<Option<&Box<str>>> = waits
            .filter_map(|open| match &open.wait.kind {
                WaitKind::Signal { name: wanted, key } if **wanted == *name => Some(key.as_ref()),
                _ => None,
            })
            .collect();
        match keys.contains(&None) {
            true => Ok(Heard::Now),
            false => Ok(Heard::Kept { workflow: head.workflow.clone(), with_key: keys.into_iter().flatten().next().cloned() }),
        }
    }

    /// Sends a message by name and key to every run of a workflow that waits for both; if none does, it is kept for the first
    /// that will, for a day. Returns how many runs get it.
    pub async fn signal(&self, name: &SignalName, payload: Json) -> Result<usize, Error> {
        let changes = self.signal_changes(name, payload)?;
        let told = changes.iter().filter(|change| matches!(change, Change::Arrive(..))).count();
        self.store.commit(changes.clone()).await?;
        self.poke_after(&changes)?;
        Ok(told)
    }

    /// What sending a message by name and key changes. Whoever commits it then tells the runs that it is for.
    pub fn signal_changes(&self, name: &SignalName, payload: Json) -> Result<Vec<Change>, Error> {
        let waiters = self.store.waiters(name, usize::MAX)?;
        if waiters.is_empty() {
            let kept = KeptSignal { name: name.clone(), payload, sent_ms: self.clock.now_ms() };
            return Ok(vec![Change::KeepSignal(Box::new(kept))]);
        }
        let arrival = Arrival::Signal { name: name.name.clone(), key: Some(name.key.clone()), payload };
        Ok(waiters.into_iter().map(|run| Change::Arrive(run, arrival.clone())).collect())
    }

    /// What these changes bring for runs is committed: they are told.
    pub(super) fn poke_after(&self, changes: &[Change]) -> Result<(), crate::store::Error> {
        for change in changes {
            match change {
                Change::Arrive(run, _) => self.poke(*run),
                // Somebody may have begun to wait between the look and the commit.
                Change::KeepSignal(kept) => self.poke_waiters(&kept.name)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Messages that are kept and not too old.
    pub(super) fn kept_signals(&self, name: &SignalName) -> Result<Vec<(ArrivalId, KeptSignal)>, crate::store::Error> {
        let oldest_ms = self.clock.now_ms().saturating_sub(SIGNAL_KEPT_MS);
        let mut kept = self.store.kept_signals(name)?;
        kept.retain(|(_, kept)| kept.sent_ms >= oldest_ms);
        Ok(kept)
    }

    /// A person acts on a task. Who may, which buttons there are, and whether the form is filled in right is checked here.
    pub async fn act(&self, run: RunId, act: ActOn) -> Result<(), ArriveError> {
        let ActOn { activation, task: id, user, action, values } = act;
        let state = self.state_of(run)?;
        let path = activation.to_string();
        let open = state.find(&activation).and_then(|at| state.activation(at));
        let open = open.ok_or_else(|| ArriveError::NoStep(run, path.clone()))?;
        let task: &Task = match open.wait(&id).map(|open| &open.wait.kind) {
            Some(WaitKind::Task(task)) => task,
            _ => return Err(ArriveError::NoTask(path, id.into())),
        };
        if !task.assignees.contains(&user) {
            return Err(ArriveError::NotAssigned(user.into()));
        }
        let Some(button) = task.actions.iter().find(|button| button.key == action) else {
            let known = task.actions.iter().map(|button| format!("`{}`", button.key)).collect::<Vec<_>>().join(", ");
            return Err(ArriveError::NoAction(action.into(), known));
        };
        if !button.draft {
            let form = button.form_schema.as_ref().unwrap_or(&task.form_schema);
            let problems = match Schema::parse(form.value()) {
                Ok(schema) => schema.problems(values.value()),
                Err(error) => vec![Problem::new("", format!("the form of the task is {error}"))],
            };
            if !problems.is_empty() {
                return Err(ArriveError::Form(problems));
            }
        }
        self.bring(run, Arrival::TaskActed { activation, id, user, action, values }).await
    }

    /// A person says what came of a call whose outcome a crash has hidden.
    pub async fn decide(
        &self,
        run: RunId,
        activation: Box<str>,
        decision: Decision,
        by: Option<Box<str>>,
    ) -> Result<(), ArriveError> {
        let state = self.state_of(run)?;
        let open = state.find(&activation).and_then(|at| state.activation(at));
        match open.map(|open| &open.phase) {
            None => Err(ArriveError::NoStep(run, activation.into())),
            Some(Phase::Unknown) => self.bring(run, Arrival::Decided { activation, decision, by }).await,
            Some(_) => Err(ArriveError::NotUnknown(activation.into())),
        }
    }

    /// The head of a run that goes on; none: it goes on and is not stored yet.
    fn open(&self, run: RunId) -> Result<Option<RunHead>, ArriveError> {
        match self.store.run(run)? {
            Some(head) if head.place == Place::Ended => Err(ArriveError::Ended(run, head.status)),
            Some(head) => Ok(Some(head)),
            None if self.live.contains(run) => Ok(None),
            None => Err(ArriveError::NotFound(run)),
        }
    }

    /// The state of a run that goes on, as it is stored.
    fn state_of(&self, run: RunId) -> Result<State, ArriveError> {
        self.open(run)?;
        let Some(Loaded { head, snapshot, entries, .. }) = self.store.load(run)? else { return Err(ArriveError::NotFound(run)) };
        let program = self.plan_of(&head).map_err(Error::from)?;
        let state = match snapshot {
            Some(mut state) => {
                entries.iter().for_each(|entry| state.apply(&program.plan, entry));
                Some(state)
            }
            None => super::fold(&program, run, &entries),
        };
        state.ok_or_else(|| crate::store::Error::Corrupt(format!("the journal of {run}")).into())
    }

    async fn bring(&self, run: RunId, arrival: Arrival) -> Result<(), ArriveError> {
        match self.store.commit(vec![Change::Arrive(run, arrival)]).await {
            Ok(()) => {
                self.poke(run);
                Ok(())
            }
            Err(CommitError::Store(error)) => Err(error.into()),
            Err(error) => Err(Error::from(error).into()),
        }
    }
}
