//! Folds journal entries into a run's state, and says what is to be done next.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::entry::{Called, Entry, Failure, Outcome, Response, SecretUse, Status};
use crate::limits::RUN_CALLS_MAX;
use crate::workflow::{Json, Key, ListId, Plan, StepId};

/// A run at one moment. Folding the same entries with the same plan always gives the same state.
#[derive(Debug)]
pub struct State {
    context: Json,
    results: HashMap<StepId, Json>,
    activations: BTreeMap<ActivationId, Activation>,
    lists: BTreeMap<ListRunId, ListRun>,
    ready: BTreeSet<ActivationId>,
    next_activation: u32,
    next_list: u32,
    calls: u32,
    output: Option<Json>,
    response: Option<Response>,
    messages: Vec<Box<str>>,
    end: Option<End>,
}

/// Tells an open activation from all others of its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActivationId(u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct ListRunId(u32);

/// One carrying-out of a step that is not finished.
#[derive(Debug)]
pub struct Activation {
    /// The step.
    pub step: StepId,
    /// Step keys and branch ids from the top: `loop/3/mail`. A step that is carried out again after going back in
    /// the same list gets `~2`, `~3` and so on.
    pub path: Arc<str>,
    /// The result of the step before, or the run's context.
    pub input: Json,
    /// The config of the first call, and its tokens; none before it.
    pub config: Option<(Json, Vec<SecretUse>)>,
    /// What the component asked to be handed back.
    pub state: Json,
    /// How many of its calls have come back.
    pub calls: u32,
    list: ListRunId,
    events: VecDeque<Event>,
    branches: Vec<(Box<str>, ListRunId)>,
}

/// A list of steps that is being carried out.
#[derive(Debug)]
struct ListRun {
    list: ListId,
    /// The activation whose branch this is, with the branch's id and scope.
    owner: Option<(ActivationId, Box<str>, Json)>,
    current: Option<ActivationId>,
    visits: HashMap<StepId, u32>,
}

/// What an activation's component is to be told.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A branch that it started came to its end.
    BranchEnded(BranchEnd),
}

/// The end of a branch.
#[derive(Clone, Debug, PartialEq)]
pub struct BranchEnd {
    /// The id under which it was started.
    pub id: Box<str>,
    /// Its last step's result, or why it failed.
    pub output: Result<Json, Failure>,
}

/// The end of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// How it ended.
    pub status: Status,
    /// A step ended it; it did not come to its last step.
    pub early: bool,
    /// What that step said, or what failed.
    pub message: Option<Box<str>>,
    /// What failed, and the path of the activation that did.
    pub failure: Option<(Failure, Arc<str>)>,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Call the component of an activation: to begin it, or to tell it of an event.
    Call(ActivationId, Option<Event>),
}

impl State {
    /// The state after the first entry of a journal; none when that does not say that a run was accepted.
    pub fn begin(plan: &Plan, first: &Entry) -> Option<Self> {
        let Entry::Accepted(accepted) = first else { return None };
        let mut state = Self {
            context: accepted.context.clone(),
            results: HashMap::new(),
            activations: BTreeMap::new(),
            lists: BTreeMap::new(),
            ready: BTreeSet::new(),
            next_activation: 0,
            next_list: 0,
            calls: 0,
            output: None,
            response: None,
            messages: Vec::new(),
            end: None,
        };
        state.start_list(plan, plan.root(), None, accepted.context.clone());
        Some(state)
    }

    /// The state after one more entry. Entries about activations that are no longer open change nothing.
    pub fn apply(&mut self, plan: &Plan, entry: &Entry) {
        match entry {
            Entry::Accepted(_) => {}
            Entry::Called(called) => self.called(plan, called),
        }
    }

    /// What is to be done next, in order; the same answer until an entry changes it.
    pub fn commands(&self) -> impl Iterator<Item = Command> {
        self.ready.iter().filter_map(|id| {
            let activation = self.activations.get(id)?;
            Some(Command::Call(*id, activation.events.front().cloned()))
        })
    }

    /// How the run ended; none while it goes on.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// An activation that is not finished.
    pub fn activation(&self, id: ActivationId) -> Option<&Activation> {
        self.activations.get(&id)
    }

    /// What the trigger gave the run.
    pub fn context(&self) -> &Json {
        &self.context
    }

    /// The newest result of a step.
    pub fn result(&self, step: StepId) -> Option<&Json> {
        self.results.get(&step)
    }

    /// The newest result of every step.
    pub fn results(&self) -> &HashMap<StepId, Json> {
        &self.results
    }

    /// What the steps around an activation gave the branches that it is in, innermost first.
    pub fn scopes(&self, from: ActivationId) -> Vec<(StepId, Json)> {
        let mut scopes = Vec::new();
        let mut at = self.activations.get(&from);
        while let Some(activation) = at {
            let owner = self.lists.get(&activation.list).and_then(|run| run.owner.as_ref());
            at = owner.and_then(|(owner, ..)| self.activations.get(owner));
            if let (Some((_, _, scope)), Some(owner)) = (owner, at) {
                scopes.push((owner.step, scope.clone()));
            }
        }
        scopes
    }

    /// What a step gave the branch that an activation is in, at any depth: `$scopes.<step>`.
    pub fn scope(&self, plan: &Plan, from: ActivationId, step: &str) -> Option<&Json> {
        let mut list = self.activations.get(&from)?.list;
        loop {
            let (owner, _, scope) = self.lists.get(&list)?.owner.as_ref()?;
            let owner = self.activations.get(owner)?;
            if plan.step(owner.step).key.as_str() == step {
                return Some(scope);
            }
            list = owner.list;
        }
    }

    /// The output that a step set last.
    pub fn output(&self) -> Option<&Json> {
        self.output.as_ref()
    }

    /// The first HTTP answer that a step gave.
    pub fn response(&self) -> Option<&Response> {
        self.response.as_ref()
    }

    /// The messages that steps added.
    pub fn messages(&self) -> &[Box<str>] {
        &self.messages
    }

    /// How many calls have come back.
    pub fn calls(&self) -> u32 {
        self.calls
    }

    fn called(&mut self, plan: &Plan, called: &Called) {
        let Some(id) = self.find_open(&called.activation) else { return };
        self.calls += 1;
        self.ready.remove(&id);
        if let Some(activation) = self.activations.get_mut(&id) {
            activation.calls += 1;
            activation.events.pop_front();
            if let Some(config) = &called.config {
                activation.config = Some((config.clone(), called.secrets.clone()));
            }
        }
        self.apply_effects(plan, called);
        match &called.outcome {
            Outcome::Done(output) => self.done(plan, id, output.clone()),
            Outcome::Failed(failure) => self.failed(id, failure.clone()),
            Outcome::EndRun { status, message } => {
                self.finish(End { status: *status, early: true, message: message.clone(), failure: None });
            }
            Outcome::GoBack { step, output } => self.go_back(plan, id, step, output.clone()),
            Outcome::Pending { state, start, stop } => {
                if let Some(activation) = self.activations.get_mut(&id) {
                    activation.state = state.clone();
                }
                for branch in stop {
                    self.stop_branch(id, branch);
                }
                let Some(step) = self.activations.get(&id).map(|activation| activation.step) else { return };
                for branch in start {
                    match plan.branch(step, &branch.branch) {
                        Some(list) => {
                            let owner = (id, branch.id.clone(), branch.scope.clone());
                            let input = self.activations.get(&id).map_or_else(Json::null, |a| a.input.clone());
                            self.start_list(plan, list, Some(owner), input);
                        }
                        None => self.tell(id, succeeded(branch.id.clone(), Json::null())),
                    }
                }
                self.rouse(id);
            }
        }
        if self.end.is_none() && self.calls >= RUN_CALLS_MAX {
            let message = format!("the run made {RUN_CALLS_MAX} calls, which is the most; does it go in circles?");
            self.fail_run(Failure::error("too-many-calls", message), called.activation.as_ref().into());
        }
    }

    /// Activations are few at a time; the newest are asked first.
    fn find_open(&self, path: &str) -> Option<ActivationId> {
        self.activations.iter().rev().find(|(_, activation)| &*activation.path == path).map(|(id, _)| *id)
    }

    fn apply_effects(&mut self, plan: &Plan, called: &Called) {
        let effects = &called.effects;
        if let Some(output) = &effects.output {
            self.output = Some(output.clone());
        }
        for (key, result) in &effects.results {
            if let Some(step) = plan.find(key.as_str()) {
                self.results.insert(step, result.clone());
            }
        }
        if self.response.is_none() {
            self.response.clone_from(&effects.response);
        }
        self.messages.extend(effects.messages.iter().cloned());
    }

    fn start_list(&mut self, plan: &Plan, list: ListId, owner: Option<(ActivationId, Box<str>, Json)>, input: Json) {
        let id = ListRunId(self.next_list);
        self.next_list += 1;
        if let Some((activation, branch, _)) = &owner
            && let Some(activation) = self.activations.get_mut(activation)
        {
            activation.branches.push((branch.clone(), id));
        }
        self.lists.insert(id, ListRun { list, owner, current: None, visits: HashMap::new() });
        match plan.step_at(list, 0) {
            Some(step) => self.enter(plan, id, step, input),
            None => self.list_succeeded(id, Json::null()),
        }
    }

    fn enter(&mut self, plan: &Plan, list: ListRunId, step: StepId, input: Json) {
        let Some(run) = self.lists.get_mut(&list) else { return };
        let visit = run.visits.entry(step).or_insert(0);
        *visit += 1;
        let (visit, key) = (*visit, &plan.step(step).key);
        let id = ActivationId(self.next_activation);
        self.next_activation += 1;
        run.current = Some(id);
        let owner = run.owner.as_ref().and_then(|(owner, branch, _)| Some((&self.activations.get(owner)?.path, branch)));
        let path = match (owner, visit) {
            (None, 1) => key.as_str().into(),
            (None, _) => format!("{key}~{visit}").into(),
            (Some((owner, branch)), 1) => format!("{owner}/{branch}/{key}").into(),
            (Some((owner, branch)), _) => format!("{owner}/{branch}/{key}~{visit}").into(),
        };
        let activation = Activation {
            step,
            path,
            input,
            config: None,
            state: Json::null(),
            calls: 0,
            list,
            events: VecDeque::new(),
            branches: Vec::new(),
        };
        self.activations.insert(id, activation);
        self.ready.insert(id);
    }

    fn done(&mut self, plan: &Plan, id: ActivationId, output: Json) {
        let Some(activation) = self.close(id) else { return };
        self.results.insert(activation.step, output.clone());
        let Some(run) = self.lists.get(&activation.list) else { return };
        match plan.step_at(run.list, plan.step(activation.step).position + 1) {
            Some(next) => self.enter(plan, activation.list, next, output),
            None => self.list_succeeded(activation.list, output),
        }
    }

    fn failed(&mut self, id: ActivationId, failure: Failure) {
        let Some(activation) = self.close(id) else { return };
        self.results.insert(activation.step, failure.output.clone().unwrap_or_else(Json::null));
        let owner = self.lists.get(&activation.list).and_then(|run| run.owner.clone());
        match owner {
            Some((owner, branch, _)) => {
                self.drop_list(activation.list);
                self.tell(owner, Event::BranchEnded(BranchEnd { id: branch, output: Err(failure) }));
                self.rouse(owner);
            }
            None => self.fail_run(failure, activation.path),
        }
    }

    fn go_back(&mut self, plan: &Plan, id: ActivationId, target: &Key, output: Json) {
        let Some(target) = plan.find(target.as_str()) else { return };
        let Some(step) = self.activations.get(&id).map(|activation| activation.step) else { return };
        self.results.insert(step, output.clone());
        let mut at = id;
        while let Some(activation) = self.close(at) {
            let Some(run) = self.lists.get(&activation.list) else { return };
            if run.list == plan.step(target).list {
                return self.enter(plan, activation.list, target, output);
            }
            let Some((owner, ..)) = run.owner else { return };
            at = owner;
        }
    }

    fn list_succeeded(&mut self, list: ListRunId, output: Json) {
        let Some(run) = self.lists.remove(&list) else { return };
        match run.owner {
            Some((owner, branch, _)) => {
                if let Some(activation) = self.activations.get_mut(&owner) {
                    activation.branches.retain(|(_, open)| *open != list);
                }
                self.tell(owner, succeeded(branch, output));
                self.rouse(owner);
            }
            None => self.finish(End { status: Status::Succeeded, early: false, message: None, failure: None }),
        }
    }

    fn fail_run(&mut self, failure: Failure, path: Arc<str>) {
        let (status, message) = (failure.status, Some(failure.message.clone()));
        self.finish(End { status, early: false, message, failure: Some((failure, path)) });
    }

    fn finish(&mut self, end: End) {
        self.end = Some(end);
        self.activations.clear();
        self.lists.clear();
        self.ready.clear();
    }

    fn tell(&mut self, id: ActivationId, event: Event) {
        if let Some(activation) = self.activations.get_mut(&id) {
            activation.events.push_back(event);
        }
    }

    /// Makes an activation ready if it has been told something.
    fn rouse(&mut self, id: ActivationId) {
        if self.activations.get(&id).is_some_and(|activation| !activation.events.is_empty()) {
            self.ready.insert(id);
        }
    }

    /// Takes an activation out, with everything that runs in its branches.
    fn close(&mut self, id: ActivationId) -> Option<Activation> {
        let activation = self.activations.remove(&id)?;
        self.ready.remove(&id);
        for (_, list) in &activation.branches {
            self.drop_list(*list);
        }
        Some(activation)
    }

    fn stop_branch(&mut self, id: ActivationId, branch: &str) {
        let Some(activation) = self.activations.get_mut(&id) else { return };
        if let Some(at) = activation.branches.iter().position(|(open, _)| &**open == branch) {
            let (_, list) = activation.branches.swap_remove(at);
            self.drop_list(list);
        }
    }

    fn drop_list(&mut self, list: ListRunId) {
        let Some(run) = self.lists.remove(&list) else { return };
        if let Some((owner, ..)) = run.owner
            && let Some(owner) = self.activations.get_mut(&owner)
        {
            owner.branches.retain(|(_, open)| *open != list);
        }
        if let Some(current) = run.current {
            self.close(current);
        }
    }
}

fn succeeded(id: Box<str>, output: Json) -> Event {
    Event::BranchEnded(BranchEnd { id, output: Ok(output) })
}

/// Whether an outcome can be carried out; if not, the failure that the step ends with instead.
///
/// Only outcomes that passed are journaled, so that folding needs no answer for the others.
pub fn check(plan: &Plan, state: &State, id: ActivationId, outcome: &Outcome) -> Result<(), Failure> {
    let Some(activation) = state.activations.get(&id) else { return Ok(()) };
    match outcome {
        Outcome::Pending { start, stop, .. } => {
            let mut open: BTreeSet<&str> =
                activation.branches.iter().map(|(id, _)| &**id).filter(|id| !stop.iter().any(|stop| &**stop == *id)).collect();
            for branch in start {
                let good = !branch.id.is_empty()
                    && branch.id.len() <= crate::limits::BRANCH_ID_BYTES_MAX
                    && branch.id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b'~');
                if !good {
                    return Err(Failure::bad_answer(format_args!(
                        "the branch id `{}` is not visible ASCII without `/` and `~`",
                        branch.id
                    )));
                }
                if !open.insert(&branch.id) {
                    return Err(Failure::bad_answer(format_args!("a branch with the id `{}` runs already", branch.id)));
                }
            }
            // The event that the call answered is still the first of the queue.
            let answered = usize::from(activation.calls > 0);
            if open.is_empty() && activation.events.len() <= answered {
                return Err(Failure::bad_answer("it goes on later, but nothing runs and nothing is waited for"));
            }
            Ok(())
        }
        Outcome::GoBack { step, .. } => {
            let target = plan.find(step.as_str());
            let mut at = Some(activation);
            while let (Some(target), Some(activation)) = (target, at) {
                let (target, here) = (plan.step(target), plan.step(activation.step));
                if target.list == here.list && target.position <= here.position {
                    return Ok(());
                }
                let owner = state.lists.get(&activation.list).and_then(|run| run.owner.as_ref());
                at = owner.and_then(|(owner, ..)| state.activations.get(owner));
            }
            Err(Failure::bad_answer(format_args!("it goes back to `{step}`, which is no step before this one")))
        }
        Outcome::EndRun { status: Status::Running | Status::Waiting, .. } => {
            Err(Failure::bad_answer("it ends the run with a status that is no end"))
        }
        Outcome::Done(_) | Outcome::EndRun { .. } | Outcome::Failed(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
