//! A run at one moment: what its journal folds to, and what is to be done next.

mod check;
mod fold;
mod waits;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::called::{Failure, Response, SecretUse, Status};
use super::entry::{Entry, Reason};
use super::id::RunId;
use super::staged::Staged;
use super::wait::{Fault, Request, Wait, WaitKind};
use crate::workflow::{Json, Key, ListId, Plan, StepId};

pub use check::check;
#[cfg(test)]
pub(crate) use waits::set_fire_timers_twice;

/// A run at one moment. Folding the same entries with the same plan always gives the same state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    run: RunId,
    context: Json,
    /// Shared with calls that look at it.
    results: Arc<BTreeMap<StepId, Json>>,
    activations: BTreeMap<ActivationId, Activation>,
    lists: BTreeMap<ListRunId, ListRun>,
    ready: BTreeSet<ActivationId>,
    next_activation: u32,
    next_list: u32,
    calls: u32,
    output: Option<Json>,
    response: Option<Response>,
    messages: Vec<Box<str>>,
    /// Messages by name that no step waits for yet.
    signals: VecDeque<(Box<str>, Json)>,
    /// When it began, and when it must have ended; none: it stands in a queue.
    began: Option<Began>,
    end: Option<End>,
    #[serde(skip)]
    outgoing: Outgoing,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Began {
    /// What it repeats of another run began earlier, and has its time from here on.
    at_ms: u64,
    deadline_ms: Option<u64>,
}

/// Tells an open activation from all others of its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ActivationId(u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct ListRunId(u32);

/// One carrying-out of a step that is not finished.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Activation {
    /// The step.
    pub step: StepId,
    /// Step keys and branch ids from the top: `loop/3/mail`. A step that is carried out again after going back in
    /// the same list gets `~2`, `~3` and so on.
    pub path: Arc<str>,
    /// The config of the first call, and its tokens; none before it.
    pub config: Option<(Json, Vec<SecretUse>)>,
    /// What the component asked to be handed back.
    pub state: Json,
    /// How many of its calls have come back, tries that are made again not counted: the number of the event.
    pub calls: u32,
    /// How it stands.
    pub phase: Phase,
    /// What it waits for besides its branches.
    pub waits: Vec<OpenWait>,
    /// How many tries of the present call came to nothing.
    tries: u32,
    /// The present call is about to reach outside, or has.
    intended: bool,
    /// When its first call began.
    began_ms: Option<u64>,
    list: ListRunId,
    events: VecDeque<Event>,
    branches: Vec<(Box<str>, ListRunId)>,
    /// Hashes of the ids that it must not use again.
    spent: BTreeSet<u64>,
}

/// How an activation stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Phase {
    /// It goes on: its component is called when there is something to tell.
    Open,
    /// Its last call failed and is made again at this time.
    Retrying(u64),
    /// A crash hid what came of its last call; a person decides.
    Unknown,
    /// It failed in the end, and the steps for that are carried out.
    Failed(Box<Failure>),
}

/// Something that an activation waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenWait {
    /// What it is.
    pub wait: Wait,
    /// Its one event has come and is not yet answered.
    fired: bool,
}

/// A list of steps that is being carried out.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct ListRun {
    list: ListId,
    /// The activation whose branch this is; none for the workflow's own list.
    owner: Option<Owner>,
    current: Option<ActivationId>,
    visits: BTreeMap<StepId, u32>,
    /// What its steps did, kept apart until it succeeds.
    atomic: Option<Box<Overlay>>,
}

/// Whose branch a list is.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Owner {
    activation: ActivationId,
    /// The branch's id.
    branch: Box<str>,
    scope: Json,
}

/// What steps of an atomic branch did.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Overlay {
    results: BTreeMap<StepId, Json>,
    output: Option<Json>,
    response: Option<Response>,
    messages: Vec<Box<str>>,
    /// Not in a snapshot: after a crash the branch begins again.
    #[serde(skip)]
    staged: Staged,
    restarts: u32,
}

/// What an activation's component is to be told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// A branch that it started came to its end.
    BranchEnded(Ended),
    /// A time came.
    Woke(Box<str>),
    /// A message came.
    Signalled {
        /// The wait.
        id: Box<str>,
        /// What the sender gave.
        payload: Json,
    },
    /// A person acted on a task.
    TaskActed {
        /// The wait.
        id: Box<str>,
        /// The person.
        user: Box<str>,
        /// What the person chose.
        action: Box<str>,
        /// What the person filled in.
        values: Json,
    },
    /// Another run came to its end.
    ChildEnded(Ended),
    /// A request was answered, or could not be.
    Responded {
        /// The wait.
        id: Box<str>,
        /// The response, or why there is none.
        response: Result<Response, Fault>,
    },
}

/// The end of a branch or of another run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// The id of the branch or of the wait.
    pub id: Box<str>,
    /// The last result, or the run's output; or why it failed.
    pub output: Result<Json, Failure>,
}

/// The end of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// How it ended.
    pub status: Status,
    /// A step ended it; it did not come to its last step.
    pub early: bool,
    /// Why it was stopped.
    pub reason: Option<Reason>,
    /// What the step that ended it said, or what failed.
    pub message: Option<Box<str>>,
    /// What failed, and the path of the activation that did.
    pub failure: Option<(Failure, Arc<str>)>,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Call the component of an activation: to begin it, or to tell it of an event.
    Call(ActivationId, Option<Event>),
    /// Send the request that an activation waits for under this id.
    Send(ActivationId, Box<str>, Box<Request>),
}

/// What the entries since it was last taken do to others: to be committed with them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outgoing {
    /// What calls did inside the host.
    pub staged: Staged,
    /// Runs to start, whose end is waited for.
    pub children: Vec<Child>,
    /// Runs to stop, because nobody waits for them any more.
    pub abandoned: Vec<RunId>,
}

/// A run to start.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// Its id.
    pub run: RunId,
    /// Its workflow.
    pub workflow: Key,
    /// What it is given.
    pub context: Json,
    /// The activation that waits.
    pub activation: Arc<str>,
    /// The wait.
    pub id: Box<str>,
}

impl State {
    /// The state after the first entry of a journal; none when that does not say that a run was accepted.
    pub fn begin(plan: &Plan, run: RunId, first: &Entry) -> Option<Self> {
        let Entry::Accepted(accepted) = first else { return None };
        let mut state = Self {
            run,
            context: accepted.context.clone(),
            results: Arc::default(),
            activations: BTreeMap::new(),
            lists: BTreeMap::new(),
            ready: BTreeSet::new(),
            next_activation: 0,
            next_list: 0,
            calls: 0,
            output: None,
            response: None,
            messages: Vec::new(),
            signals: VecDeque::new(),
            began: None,
            end: None,
            outgoing: Outgoing::default(),
        };
        if !accepted.queued {
            state.start(plan, accepted.at_ms);
        }
        state.start_list(plan, plan.root(), None, None);
        Some(state)
    }

    /// What is to be done at this time, in order; the same answer until an entry or time changes it.
    pub fn commands(&self, now_ms: u64) -> impl Iterator<Item = Command> {
        let is_begun = self.began.is_some();
        let calls = self.ready.iter().filter_map(move |id| {
            let activation = self.activations.get(id).filter(|_| is_begun)?;
            match activation.phase {
                Phase::Open => {}
                Phase::Retrying(at_ms) if at_ms <= now_ms => {}
                Phase::Retrying(_) | Phase::Unknown | Phase::Failed(_) => return None,
            }
            Some(Command::Call(*id, activation.events.front().cloned()))
        });
        let sends = self.activations.iter().filter(move |(_, activation)| match activation.phase {
            Phase::Open => true,
            Phase::Retrying(at_ms) => at_ms <= now_ms,
            Phase::Unknown | Phase::Failed(_) => false,
        });
        let sends = sends.flat_map(|(id, activation)| {
            activation.waits.iter().filter(|open| !open.fired).filter_map(|open| match &open.wait.kind {
                WaitKind::Request(request) => Some(Command::Send(*id, open.wait.id.clone(), request.clone())),
                _ => None,
            })
        });
        calls.chain(sends)
    }

    /// The first thing that time alone has brought about by now, as an entry; none: nothing has.
    pub fn due(&self, plan: &Plan, now_ms: u64) -> Option<Entry> {
        let at_ms = now_ms;
        if self.deadline_ms().is_some_and(|deadline| deadline <= now_ms) {
            return Some(Entry::TimedOut { at_ms, activation: None });
        }
        let mut timed_out = self.activations.values().filter(|a| a.deadline_ms(plan).is_some_and(|deadline| deadline <= now_ms));
        if let Some(activation) = timed_out.next() {
            return Some(Entry::TimedOut { at_ms, activation: Some((*activation.path).into()) });
        }
        let (_, activation, id) = self.timers().min_by_key(|(at_ms, ..)| *at_ms).filter(|(at_ms, ..)| *at_ms <= now_ms)?;
        Some(Entry::Woke { at_ms, activation: (*activation.path).into(), id: id.into() })
    }

    /// When time alone brings something about next; none: never.
    pub fn wake_ms(&self, plan: &Plan) -> Option<u64> {
        let timers = self.timers().map(|(at_ms, ..)| at_ms);
        let steps = self.activations.values().flat_map(|activation| [activation.deadline_ms(plan), activation.retry_ms()]);
        timers.chain(steps.flatten()).chain(self.deadline_ms()).min()
    }

    fn deadline_ms(&self) -> Option<u64> {
        self.began.as_ref()?.deadline_ms.filter(|_| self.end.is_none())
    }

    /// Timers that have not fired, with whose they are.
    fn timers(&self) -> impl Iterator<Item = (u64, &Activation, &str)> {
        self.activations.values().flat_map(|activation| {
            activation.waits.iter().filter(|open| !open.fired).filter_map(move |open| match open.wait.kind {
                WaitKind::Timer(at_ms) => Some((at_ms, activation, &*open.wait.id)),
                _ => None,
            })
        })
    }

    /// How the run ended; none while it goes on.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Whether it has left its queue, or stood in none.
    pub fn is_begun(&self) -> bool {
        self.began.is_some()
    }

    /// An activation that is not finished.
    pub fn activation(&self, id: ActivationId) -> Option<&Activation> {
        self.activations.get(&id)
    }

    /// Every activation that is not finished, those around others first.
    pub fn activations(&self) -> impl Iterator<Item = (ActivationId, &Activation)> {
        self.activations.iter().map(|(id, activation)| (*id, activation))
    }

    /// The activation with a path that is not finished.
    pub fn find(&self, path: &str) -> Option<ActivationId> {
        // Activations are few at a time; the newest are asked first.
        self.activations.iter().rev().find(|(_, activation)| &*activation.path == path).map(|(id, _)| *id)
    }

    /// What the trigger gave the run.
    pub fn context(&self) -> &Json {
        &self.context
    }

    /// The newest result of a step as an activation sees it: what an atomic branch around it changed is seen inside only.
    pub fn result(&self, from: ActivationId, step: StepId) -> Option<&Json> {
        let overlays = self.overlays(from);
        let inner = overlays.iter().find_map(|overlay| overlay.results.get(&step));
        inner.or_else(|| self.results.get(&step))
    }

    /// The newest result of every step, as an activation sees them.
    pub fn results(&self, from: ActivationId) -> Arc<BTreeMap<StepId, Json>> {
        let mut results = self.results.clone();
        for overlay in self.overlays(from).iter().rev() {
            Arc::make_mut(&mut results).extend(overlay.results.iter().map(|(step, result)| (*step, result.clone())));
        }
        results
    }

    /// What calls staged in the atomic branches around an activation: it sees that.
    pub fn staged(&self, from: ActivationId) -> Staged {
        let mut staged = Staged::default();
        self.overlays(from).iter().rev().for_each(|overlay| staged.add(overlay.staged.clone()));
        staged
    }

    /// Whether an activation is in an atomic branch.
    pub fn is_atomic(&self, from: ActivationId) -> bool {
        !self.overlays(from).is_empty()
    }

    /// The outermost atomic branch around an activation: whose it is, and its id.
    pub fn atomic_branch(&self, around: ActivationId) -> Option<(Box<str>, Box<str>)> {
        let list = self.lists_around(around).filter(|list| list.atomic.is_some()).last()?;
        self.name_of(list)
    }

    /// Every atomic branch that is open and in no other: whose it is, and its id.
    pub fn outermost_atomic_branches(&self) -> Vec<(Box<str>, Box<str>)> {
        let atomic = self.lists.values().filter(|list| list.atomic.is_some());
        let outermost = atomic.filter(|list| list.owner.as_ref().is_some_and(|owner| !self.is_atomic(owner.activation)));
        outermost.filter_map(|list| self.name_of(list)).collect()
    }

    /// Whether an atomic branch is open.
    pub fn has_atomic_branch(&self) -> bool {
        self.lists.values().any(|list| list.atomic.is_some())
    }

    /// Whether calls did something inside the host that is now to be committed.
    pub fn has_staged(&self) -> bool {
        !self.outgoing.staged.is_empty()
    }

    fn name_of(&self, list: &ListRun) -> Option<(Box<str>, Box<str>)> {
        let owner = list.owner.as_ref()?;
        Some(((*self.activations.get(&owner.activation)?.path).into(), owner.branch.clone()))
    }

    /// The lists that an activation is in, the innermost first.
    fn lists_around(&self, from: ActivationId) -> impl Iterator<Item = &ListRun> {
        let list_of = |id: ActivationId| self.activations.get(&id).and_then(|activation| self.lists.get(&activation.list));
        std::iter::successors(list_of(from), move |list| list_of(list.owner.as_ref()?.activation))
    }

    fn overlays(&self, from: ActivationId) -> Vec<&Overlay> {
        self.lists_around(from).filter_map(|list| list.atomic.as_deref()).collect()
    }

    /// What the steps around an activation gave the branches that it is in, innermost first.
    pub fn scopes(&self, from: ActivationId) -> Vec<(StepId, Json)> {
        let owners = self.lists_around(from).filter_map(|list| list.owner.as_ref());
        let scopes = owners.filter_map(|owner| Some((self.activations.get(&owner.activation)?.step, owner.scope.clone())));
        scopes.collect()
    }

    /// What a step gave the branch that an activation is in, at any depth: `$scopes.<step>`.
    pub fn scope(&self, plan: &Plan, from: ActivationId, step: &str) -> Option<&Json> {
        let mut owners = self.lists_around(from).filter_map(|list| list.owner.as_ref());
        let owner = owners.find(|owner| {
            let activation = self.activations.get(&owner.activation);
            activation.is_some_and(|activation| plan.step(activation.step).key.as_str() == step)
        });
        owner.map(|owner| &owner.scope)
    }

    /// The output that a step set last.
    pub fn output(&self) -> Option<&Json> {
        self.output.as_ref()
    }

    /// The first HTTP answer that a step gave.
    pub fn response(&self) -> Option<&Response> {
        self.response.as_ref()
    }

    /// How many messages by name no step waits for yet.
    pub fn kept_signals(&self) -> usize {
        self.signals.len()
    }

    /// The messages that steps added.
    pub fn messages(&self) -> &[Box<str>] {
        &self.messages
    }

    /// How many calls have come back.
    pub fn calls(&self) -> u32 {
        self.calls
    }

    /// What steps wait for by name and key.
    pub fn keyed_signals(&self) -> BTreeSet<(Box<str>, Box<str>)> {
        let waits = self.activations.values().flat_map(|activation| &activation.waits);
        let keyed = waits.filter_map(|open| match &open.wait.kind {
            WaitKind::Signal { name, key: Some(key) } => Some((name.clone(), key.clone())),
            _ => None,
        });
        keyed.collect()
    }

    /// A run that repeats the entries of another does to others only what its own waits need: it starts the runs that it waits for.
    pub fn repeat_outgoing(&mut self) {
        let mut children = std::mem::take(&mut self.outgoing).children;
        children.retain(|child| {
            let activation = self.find(&child.activation).and_then(|id| self.activations.get(&id));
            activation.and_then(|activation| activation.wait(&child.id)).is_some_and(|open| !open.fired)
        });
        self.outgoing.children = children;
    }

    /// What the entries since the last time do to others.
    pub fn take_outgoing(&mut self) -> Outgoing {
        std::mem::take(&mut self.outgoing)
    }

    /// A call of an activation begins, or its request is sent. What comes of it is an entry with the same time.
    pub fn calling(&mut self, id: ActivationId, at_ms: u64) {
        if let Some(activation) = self.activations.get_mut(&id) {
            activation.began_ms.get_or_insert(at_ms);
            if activation.retry_ms().is_some() {
                activation.phase = Phase::Open;
            }
        }
    }
}

impl Activation {
    /// The number of the next try of the present call, from 1.
    pub fn attempt(&self) -> u32 {
        self.tries + 1
    }

    /// Whether the present call has reached outside, and nothing is known of what came of it.
    pub fn is_intended(&self) -> bool {
        self.intended
    }

    /// The contract's view of how it stands.
    pub fn status(&self) -> Status {
        match self.phase {
            Phase::Open => Status::Waiting,
            Phase::Retrying(_) => Status::Retrying,
            Phase::Unknown => Status::Unknown,
            Phase::Failed(ref failure) => failure.status,
        }
    }

    /// When it must have ended.
    pub fn deadline_ms(&self, plan: &Plan) -> Option<u64> {
        if matches!(self.phase, Phase::Failed(_)) {
            return None;
        }
        Some(self.began_ms?.saturating_add(plan.step(self.step).timeout_ms?))
    }

    fn retry_ms(&self) -> Option<u64> {
        match self.phase {
            Phase::Retrying(at_ms) => Some(at_ms),
            _ => None,
        }
    }

    /// A wait by its id.
    pub fn wait(&self, id: &str) -> Option<&OpenWait> {
        self.waits.iter().find(|open| &*open.wait.id == id)
    }
}

impl OpenWait {
    /// Whether its one event has come.
    pub fn is_fired(&self) -> bool {
        self.fired
    }
}

#[cfg(test)]
mod tests;
