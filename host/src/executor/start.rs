//! How runs begin, and how they go on after a wait or a crash.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::commit::{Unstored, staged_changes};
use super::drive::Running;
use super::scheduler::{Full, QueueLimits, Slot};
use super::{Error, Executor, Outcome, Program, ProgramError, fold, to_its_end};
use crate::plugin::Instance;
use crate::run::{Accepted, Entry, Parent, RunId, Staged, State, Status, WaitKind};
use crate::store::{self, Change, CommitError, DedupKey, Loaded, Place, RunChange, RunHead, dedup_digest};
use crate::workflow::{Json, Key};

/// A run to begin.
pub struct Start {
    /// What it carries out.
    pub program: Arc<Program>,
    /// What the trigger gave.
    pub context: Json,
    /// Two starts of a workflow with the same key make one run.
    pub dedup: Option<DedupKey>,
    /// A job queue; none: the workflow's own.
    pub queue: Option<Box<str>>,
    /// Whether a person starts it.
    pub manual: bool,
}

impl Start {
    /// A run with this context.
    pub fn new(program: Arc<Program>, context: Json) -> Self {
        Self { program, context, dedup: None, queue: None, manual: false }
    }
}

/// A run that somebody waits for.
pub struct Waiting {
    /// The run.
    pub run: RunId,
    /// Dropping it gives up waiting; the run goes on.
    pub outcome: oneshot::Receiver<Result<Outcome, Error>>,
}

/// What became of a start.
pub enum Begun<T> {
    /// The run began.
    New(T),
    /// The dedup key already began this one.
    Duplicate(RunId),
}

/// A run that is accepted, and not yet stored.
enum AcceptedStart {
    /// It goes on when it is stored. Whoever finds it in the store before that finds it under way.
    Now(Box<Running>),
    /// It stands in this queue.
    Queued(Box<Unstored>, Arc<str>),
}

impl AcceptedStart {
    fn unstored(&self) -> &Unstored {
        match self {
            Self::Now(running) => &running.unstored,
            Self::Queued(unstored, _) => unstored,
        }
    }
}

/// What is known of a run when it is accepted, beside its start.
#[derive(Default)]
pub(super) struct Origin {
    pub(super) id: Option<RunId>,
    pub(super) synchronous: bool,
    pub(super) stack: Vec<Key>,
    pub(super) parent: Option<Parent>,
    pub(super) rerun: Option<crate::run::Rerun>,
}

impl Executor {
    /// Begins a run that somebody waits for. Nothing is stored before it ends, unless it takes long or does what must be.
    /// `instances` were made for this run's event and serve its steps too.
    pub fn begin_waiting(self: &Arc<Self>, start: Start, instances: Vec<Instance>) -> Result<Begun<Waiting>, Error> {
        let (unstored, stack) = self.accept(&start, Origin { synchronous: true, ..Origin::default() });
        let (run, workflow) = (unstored.head.id, unstored.head.workflow.clone());
        let slot = self.slot_for_caller(&start)?;
        // Whoever learns of it by its dedup key finds it under way.
        let Some(mut running) = self.running(start.program, unstored, stack, slot)? else { return Err(Error::Overloaded) };
        if let Some(key) = &start.dedup
            && let Some(first) = self.reserve(&workflow, key, run)?
        {
            return Ok(Begun::Duplicate(first));
        }
        let (sender, outcome) = oneshot::channel();
        running.caller = Some(sender);
        running.idle = instances;
        tokio::spawn(running.drive());
        Ok(Begun::New(Waiting { run, outcome }))
    }

    /// Begins runs, with what their trigger staged and other changes. When it returns they are durable, all of them or none.
    /// Where too many are under way they stand in a queue, except `waiting`, which somebody waits for. An error that
    /// [`Error::is_changed`]: what the trigger read was changed by others.
    pub async fn begin(
        self: &Arc<Self>,
        starts: Vec<Start>,
        waiting: Option<Start>,
        staged: Staged,
        beside: Vec<Change>,
    ) -> Result<(Vec<Begun<RunId>>, Option<Begun<Waiting>>), Error> {
        // Also when whoever asks for it goes away: what is stored must go on.
        let executor = self.clone();
        to_its_end(async move { executor.begin_all(starts, waiting, staged, beside).await }).await
    }

    async fn begin_all(
        self: &Arc<Self>,
        starts: Vec<Start>,
        waiting: Option<Start>,
        staged: Staged,
        beside: Vec<Change>,
    ) -> Result<(Vec<Begun<RunId>>, Option<Begun<Waiting>>), Error> {
        let mut accepted = starts.into_iter().map(|start| self.accepted(start)).collect::<Result<Vec<_>, _>>()?;
        let has_waiting = waiting.is_some();
        if let Some(start) = waiting {
            let slot = self.slot_for_caller(&start)?;
            let (unstored, stack) = self.accept(&start, Origin { synchronous: true, ..Origin::default() });
            accepted.push(self.accepted_now(start, unstored, stack, slot)?);
        }
        let mut duplicates: Vec<Option<RunId>> = vec![None; accepted.len()];
        loop {
            let wanted: Vec<usize> = (0..accepted.len()).filter(|index| duplicates[*index].is_none()).collect();
            let mut changes: Vec<Change> = wanted.iter().map(|index| first_change(accepted[*index].unstored())).collect();
            staged_changes(staged.clone(), &[], &mut changes);
            changes.extend(beside.iter().cloned());
            match self.store.commit(changes).await {
                Ok(()) => break,
                // It is left out, and the rest is kept.
                Err(CommitError::Duplicate(place, first)) if place < wanted.len() => duplicates[wanted[place]] = Some(first),
                Err(error) => return Err(error.into()),
            }
        }
        let mut begun = Vec::with_capacity(accepted.len());
        let mut receiver = None;
        let last = accepted.len().saturating_sub(1);
        for (index, (accepted, duplicate)) in accepted.into_iter().zip(duplicates).enumerate() {
            let run = accepted.unstored().head.id;
            match duplicate {
                Some(first) => begun.push(Begun::Duplicate(first)),
                None if has_waiting && index == last => {
                    let (sender, outcome) = oneshot::channel();
                    self.go(accepted, Some(sender));
                    receiver = Some(outcome);
                    begun.push(Begun::New(run));
                }
                None => {
                    self.go(accepted, None);
                    begun.push(Begun::New(run));
                }
            }
        }
        self.poke_after(&beside)?;
        let waiting = has_waiting.then(|| begun.pop()).flatten().map(|begun| match (begun, receiver) {
            (Begun::New(run), Some(outcome)) => Begun::New(Waiting { run, outcome }),
            (Begun::New(first) | Begun::Duplicate(first), _) => Begun::Duplicate(first),
        });
        Ok((begun, waiting))
    }

    fn accepted(self: &Arc<Self>, start: Start) -> Result<AcceptedStart, Error> {
        let slot = self.slot_for(&start);
        let (unstored, stack) = self.accept_into(&start, Origin::default(), slot.is_none());
        match slot {
            Some(slot) => self.accepted_now(start, unstored, stack, slot),
            None => Ok(AcceptedStart::Queued(Box::new(unstored), queue_of(&start))),
        }
    }

    fn accepted_now(
        self: &Arc<Self>,
        start: Start,
        unstored: Unstored,
        stack: Arc<[Key]>,
        slot: Slot,
    ) -> Result<AcceptedStart, Error> {
        let running = self.running(start.program, unstored, stack, slot)?.ok_or(Error::Overloaded)?;
        Ok(AcceptedStart::Now(Box::new(running)))
    }

    /// Carries out a run whose first entry is stored, or leaves it in its queue.
    fn go(&self, accepted: AcceptedStart, caller: Option<super::live::Caller>) {
        match accepted {
            AcceptedStart::Queued(_, queue) => self.scheduler.queued(&queue),
            AcceptedStart::Now(mut running) => {
                let unstored = &mut running.unstored;
                unstored.dedup = None;
                unstored.before = Some(unstored.head.clone());
                unstored.segments = 1;
                unstored.tail_entries = std::mem::take(&mut unstored.entries).len();
                running.caller = caller;
                tokio::spawn(running.drive());
            }
        }
    }

    fn slot_for_caller(self: &Arc<Self>, start: &Start) -> Result<Slot, Error> {
        self.know_limits(&start.program);
        self.scheduler.for_caller(&start.program.queue).map_err(|full| match full {
            Full::Queue => Error::TooManyRuns(start.program.plan.workflow.clone()),
            Full::Host => Error::Overloaded,
        })
    }

    pub(super) fn slot_for(self: &Arc<Self>, start: &Start) -> Option<Slot> {
        if start.queue.is_none() {
            self.know_limits(&start.program);
        }
        self.scheduler.for_start(&queue_of(start))
    }

    /// The scheduler learns what a workflow allows: what the revision says that was started last.
    fn know_limits(&self, program: &Program) {
        self.scheduler.set_limits(&program.queue, limits_of(program));
    }

    /// The same from a stored run, which counts where none has begun since the start of the host.
    pub(super) fn know_first_limits(&self, head: &RunHead, program: &Program) {
        if head.queue.is_none() {
            self.scheduler.set_first_limits(&program.queue, limits_of(program));
        }
    }

    /// Accepts a run that begins at once.
    pub(super) fn accept(&self, start: &Start, origin: Origin) -> (Unstored, Arc<[Key]>) {
        self.accept_into(start, origin, false)
    }

    /// Accepts a run, into its queue or not.
    pub(super) fn accept_into(&self, start: &Start, origin: Origin, queued: bool) -> (Unstored, Arc<[Key]>) {
        let at_ms = self.clock.now_ms();
        let plan = &start.program.plan;
        let Origin { id, synchronous, stack, parent, rerun } = origin;
        let head = RunHead {
            id: id.unwrap_or_else(|| self.new_id()),
            workflow: plan.workflow.clone(),
            revision: plan.revision,
            draft: start.program.draft,
            status: if queued { Status::Queued } else { Status::Running },
            accepted_ms: at_ms,
            ended_ms: None,
            reason: None,
            message: None,
            synchronous,
            manual: start.manual,
            parent: parent.as_ref().map(|parent| parent.run),
            rerun_of: rerun.as_ref().map(|rerun| rerun.of),
            queue: start.queue.clone(),
            dedup: start.dedup.as_deref().map(dedup_digest),
            place: if queued { Place::Queued((*queue_of(start)).into()) } else { Place::Active },
            bytes: 0,
            kept_signals: 0,
        };
        let accepted = Entry::Accepted(Accepted {
            at_ms,
            workflow: plan.workflow.clone(),
            revision: plan.revision,
            context: start.context.clone(),
            synchronous,
            queued,
            stack: stack.clone(),
            parent: parent.clone(),
            rerun,
        });
        let mut unstored = Unstored::new(head, vec![accepted], parent);
        unstored.dedup.clone_from(&start.dedup);
        (unstored, stack.into())
    }

    /// A run that is new, ready to be carried out. None: somebody carries it out.
    pub(super) fn running(
        self: &Arc<Self>,
        program: Arc<Program>,
        unstored: Unstored,
        stack: Arc<[Key]>,
        slot: Slot,
    ) -> Result<Option<Running>, store::Error> {
        let state = fold(&program, unstored.head.id, &unstored.entries);
        let state = state.ok_or_else(|| store::Error::Corrupt(format!("the journal of {}", unstored.head.id)))?;
        let has_mail = unstored.is_asked;
        Ok(self.running_with(program, unstored, state, stack, slot, has_mail))
    }

    fn running_with(
        self: &Arc<Self>,
        program: Arc<Program>,
        unstored: Unstored,
        state: State,
        stack: Arc<[Key]>,
        slot: Slot,
        has_mail: bool,
    ) -> Option<Running> {
        let live = self.live.enter(&unstored.head, has_mail)?;
        let caller = self.live.take_caller(unstored.head.id);
        let executor = self.clone();
        Some(Running {
            executor,
            program,
            state,
            unstored,
            stack,
            live,
            slot: Some(slot),
            caller,
            idle: Vec::new(),
            has_left: false,
            held_up_by: BTreeSet::new(),
        })
    }

    /// Goes on with a stored run. False: there is nothing to go on with here.
    pub(super) fn resume(self: &Arc<Self>, run: RunId, slot: Slot) -> Result<bool, Error> {
        if self.live.contains(run) {
            return Ok(self.live.ring(run));
        }
        let Some(Loaded { mut head, snapshot, entries, segments, .. }) = self.store.load(run)? else { return Ok(false) };
        if head.place == Place::Ended {
            return Ok(false);
        }
        let program = match self.programs.program(&head.workflow, head.revision, head.draft.as_ref()) {
            // Ending it takes no plugin.
            Err(ProgramError::MissingPlugin(..)) if self.is_cancelled(run)? => self.plan_of(&head)?,
            found => found?,
        };
        self.know_first_limits(&head, &program);
        let corrupt = || store::Error::Corrupt(format!("the journal of {run}"));
        let state = match snapshot {
            Some(mut state) => {
                entries.iter().for_each(|entry| state.apply(&program.plan, entry));
                state
            }
            None => fold(&program, run, &entries).ok_or_else(corrupt)?,
        };
        let first = match self.store.first_entry(run)? {
            Some(Entry::Accepted(accepted)) => accepted,
            _ => return Err(corrupt().into()),
        };
        let before = Some(head.clone());
        (head.place, head.status) = (Place::Active, Status::Running);
        let mut unstored = Unstored::new(head, Vec::new(), first.parent);
        (unstored.before, unstored.segments, unstored.tail_entries) = (before, segments, entries.len());
        // Of a run that repeats another and stood in a queue, the store knows only its entries.
        let is_begun = state.is_begun();
        if is_begun {
            unstored.waits = state.keyed_signals();
        }
        let has_mail = true;
        let Some(mut running) = self.running_with(program, unstored, state, first.stack.into(), slot, has_mail) else {
            return Ok(self.live.ring(run));
        };
        if is_begun {
            running.state.take_outgoing();
        } else {
            running.state.repeat_outgoing();
        }
        running.begin_again(!is_begun);
        tokio::spawn(running.drive());
        Ok(true)
    }
}

impl Running {
    /// What follows from going on at all: a run leaves its queue, and what a crash cut off is found. A run that is new has only
    /// what it repeats of another: it has sent nothing itself.
    pub(super) fn begin_again(&mut self, is_new: bool) {
        let at_ms = self.executor.clock.now_ms();
        if !self.state.is_begun() {
            self.note(Entry::Started { at_ms });
        }
        for (activation, branch) in self.state.outermost_atomic_branches() {
            self.note(Entry::Restarted { at_ms, activation, branch });
        }
        let is_hidden = |activation: &crate::run::Activation| {
            let asks = |open: &crate::run::OpenWait| !open.is_fired() && matches!(open.wait.kind, WaitKind::Request(_));
            let reached_outside = activation.is_intended() || activation.waits.iter().any(asks);
            !is_new && reached_outside && activation.is_callable() && self.program.node(activation.step).at_most_once
        };
        let hidden = self.state.activations().filter(|(_, activation)| is_hidden(activation));
        let hidden: Vec<Box<str>> = hidden.map(|(_, activation)| (*activation.path).into()).collect();
        hidden.into_iter().for_each(|activation| self.note(Entry::Lost { at_ms, activation }));
    }
}

fn limits_of(program: &Program) -> QueueLimits {
    QueueLimits { concurrency: program.plan.options.concurrency, priority: 0 }
}

pub(super) fn queue_of(start: &Start) -> Arc<str> {
    start.queue.as_deref().map_or_else(|| start.program.queue.clone(), super::scheduler::job_queue)
}

pub(super) fn first_change(unstored: &Unstored) -> Change {
    Change::Run(Box::new(RunChange {
        head: unstored.head.clone(),
        before: None,
        segments: 0,
        entries: unstored.entries.clone(),
        snapshot: None,
        dedup: unstored.dedup.clone(),
        waits: Vec::new(),
        waits_no_more: Vec::new(),
        files: Vec::new(),
        forget: false,
    }))
}
