//! What each entry changes.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::json;

use super::waits::{BRANCH, abandon, spent};
use super::{Activation, ActivationId, Began, End, Ended, Event, ListRun, ListRunId, Overlay, Owner, Phase, State};
use crate::limits::{ATOMIC_RESTARTS_MAX, RUN_CALLS_MAX};
use crate::run::called::{BranchStart, Called, Failure, Outcome, Status};
use crate::run::entry::{Entry, Reason};
use crate::workflow::{Json, Key, ListId, ON_FAILURE, OnFailure, Plan, StepId};

impl State {
    /// The state after one more entry. Entries about what is no longer open change nothing.
    pub fn apply(&mut self, plan: &Plan, entry: &Entry) {
        if self.end.is_some() {
            return;
        }
        match entry {
            Entry::Accepted(_) => {}
            Entry::Started { at_ms } => self.start(plan, *at_ms),
            Entry::Intended { at_ms, activation, attempt } => self.intended(activation, *at_ms, *attempt),
            Entry::Called(called) => self.called(plan, called),
            Entry::Woke { activation, id, .. } => self.fire(activation, Event::Woke(id.clone())),
            Entry::Responded { activation, id, response, .. } => {
                self.fire(activation, Event::Responded { id: id.clone(), response: response.clone() });
            }
            Entry::Arrived { arrival, .. } => self.arrived(plan, arrival),
            Entry::TimedOut { activation: None, .. } => self.abort(Reason::Timeout),
            Entry::TimedOut { activation: Some(path), .. } => self.timed_out(plan, path),
            Entry::Lost { activation, .. } => self.lost(activation),
            Entry::Restarted { activation, branch, .. } => self.restart(plan, activation, branch),
        }
    }

    pub(super) fn start(&mut self, plan: &Plan, at_ms: u64) {
        let deadline_ms = plan.options.timeout_ms.map(|timeout_ms| at_ms.saturating_add(timeout_ms));
        let Began { at_ms, .. } = *self.began.get_or_insert(Began { at_ms, deadline_ms });
        for began_ms in self.activations.values_mut().filter_map(|activation| activation.began_ms.as_mut()) {
            *began_ms = at_ms.max(*began_ms);
        }
    }

    /// When an activation begins in this run whose first call began at this time, here or in the run that this one repeats.
    fn begins_ms(&self, at_ms: u64) -> u64 {
        self.began.map_or(at_ms, |began| began.at_ms.max(at_ms))
    }

    fn intended(&mut self, path: &str, at_ms: u64, attempt: u32) {
        let begins_ms = self.begins_ms(at_ms);
        let Some(activation) = self.find(path).and_then(|id| self.activations.get_mut(&id)) else { return };
        activation.began_ms.get_or_insert(begins_ms);
        activation.tries = attempt;
        activation.intended = true;
    }

    fn called(&mut self, plan: &Plan, called: &Called) {
        let Some(id) = self.find(&called.activation) else { return };
        let begins_ms = self.begins_ms(called.at_ms);
        let Some(activation) = self.activations.get_mut(&id).filter(|a| !matches!(a.phase, Phase::Failed(_))) else { return };
        self.calls += 1;
        activation.began_ms.get_or_insert(begins_ms);
        if let Some(config) = &called.config {
            activation.config = Some((config.clone(), called.secrets.clone()));
        }
        activation.intended = false;
        if let Some(at_ms) = called.retry_at_ms {
            activation.tries = called.attempt;
            activation.phase = Phase::Retrying(at_ms);
            if activation.ask_again() {
                self.ready.remove(&id);
            }
        } else {
            activation.tries = 0;
            activation.phase = Phase::Open;
            activation.answered();
            self.ready.remove(&id);
            self.apply_effects(plan, id, called);
            self.outcome(plan, id, called);
        }
        if self.end.is_none() && self.calls >= RUN_CALLS_MAX {
            let message = format!("the run made {RUN_CALLS_MAX} calls, which is the most; does it go in circles?");
            self.fail_run(Failure::error("too-many-calls", message), called.activation.as_ref().into());
        }
    }

    fn outcome(&mut self, plan: &Plan, id: ActivationId, called: &Called) {
        match &called.outcome {
            Outcome::Done(output) => self.done(plan, id, output.clone()),
            Outcome::Failed(failure) => self.failed(plan, id, failure.clone()),
            Outcome::EndRun { status, message } => {
                if *status == Status::Succeeded {
                    self.keep_overlays(id);
                }
                self.finish(End { status: *status, early: true, reason: None, message: message.clone(), failure: None });
            }
            Outcome::GoBack { step, output } => self.go_back(plan, id, step, output.clone()),
            Outcome::Pending { state, start, stop, wait } => {
                if let Some(activation) = self.activations.get_mut(&id) {
                    activation.state = state.clone();
                }
                stop.iter().for_each(|branch| self.stop_branch(id, branch));
                self.set_waits(id, wait, called.at_ms);
                start.iter().for_each(|branch| self.start_branch(plan, id, branch));
                self.rouse(id);
            }
        }
    }

    fn apply_effects(&mut self, plan: &Plan, id: ActivationId, called: &Called) {
        let mut effects = called.effects.clone();
        let results = std::mem::take(&mut effects.results);
        let results = results.into_iter().filter_map(|(key, result)| Some((plan.find(key.as_str())?, result)));
        let overlay = Overlay {
            results: results.collect(),
            output: effects.output,
            response: effects.response,
            messages: effects.messages,
            staged: effects.staged,
            restarts: 0,
        };
        if let Some(list) = self.activations.get(&id).map(|activation| activation.list) {
            self.keep(list, overlay);
        }
    }

    /// Adds what was done in a list to the atomic branch around it, or, where there is none, to the run.
    fn keep(&mut self, mut list: ListRunId, later: Overlay) {
        while let Some(run) = self.lists.get_mut(&list) {
            if let Some(overlay) = &mut run.atomic {
                return overlay.add(later);
            }
            let Some(owner) = run.owner.as_ref().and_then(|owner| self.activations.get(&owner.activation)) else { break };
            list = owner.list;
        }
        if !later.results.is_empty() {
            Arc::make_mut(&mut self.results).extend(later.results);
        }
        self.output = later.output.or(self.output.take());
        self.response = self.response.take().or(later.response);
        self.messages.extend(later.messages);
        self.outgoing.staged.add(later.staged);
    }

    /// The run ends well from inside atomic branches: what they did is kept.
    fn keep_overlays(&mut self, from: ActivationId) {
        let mut at = self.activations.get(&from).map(|activation| activation.list);
        while let Some(list) = at {
            let Some(run) = self.lists.get_mut(&list) else { return };
            let outer = run.owner.as_ref().and_then(|owner| self.activations.get(&owner.activation)).map(|owner| owner.list);
            if let Some(overlay) = run.atomic.take() {
                self.keep(list, *overlay);
            }
            at = outer;
        }
    }

    fn set_result(&mut self, list: ListRunId, step: StepId, result: Json) {
        self.keep(list, Overlay { results: [(step, result)].into(), ..Overlay::default() });
    }

    fn start_branch(&mut self, plan: &Plan, id: ActivationId, branch: &BranchStart) {
        let Some(activation) = self.activations.get_mut(&id) else { return };
        activation.spent.insert(spent(BRANCH, &branch.id));
        match plan.branch(activation.step, &branch.branch) {
            Some(list) => {
                let owner = Owner { activation: id, branch: branch.id.clone(), scope: branch.scope.clone() };
                self.start_list(plan, list, Some(owner), branch.atomic.then(Box::default));
            }
            None => self.tell(id, succeeded(branch.id.clone(), Json::null())),
        }
    }

    pub(super) fn start_list(&mut self, plan: &Plan, list: ListId, owner: Option<Owner>, atomic: Option<Box<Overlay>>) {
        let id = ListRunId(self.next_list);
        self.next_list += 1;
        if let Some(owner) = &owner
            && let Some(activation) = self.activations.get_mut(&owner.activation)
        {
            activation.branches.push((owner.branch.clone(), id));
        }
        self.lists.insert(id, ListRun { list, owner, current: None, visits: Default::default(), atomic });
        match plan.step_at(list, 0) {
            Some(step) => self.enter(plan, id, step),
            None => self.list_succeeded(plan, id, Json::null()),
        }
    }

    fn enter(&mut self, plan: &Plan, list: ListRunId, step: StepId) {
        let Some(run) = self.lists.get_mut(&list) else { return };
        let visit = run.visits.entry(step).or_insert(0);
        *visit += 1;
        let (visit, key) = (*visit, &plan.step(step).key);
        let id = ActivationId(self.next_activation);
        self.next_activation += 1;
        run.current = Some(id);
        let owner = run.owner.as_ref().and_then(|owner| Some((&self.activations.get(&owner.activation)?.path, &owner.branch)));
        let path = match (owner, visit) {
            (None, 1) => key.as_str().into(),
            (None, _) => format!("{key}~{visit}").into(),
            (Some((owner, branch)), 1) => format!("{owner}/{branch}/{key}").into(),
            (Some((owner, branch)), _) => format!("{owner}/{branch}/{key}~{visit}").into(),
        };
        let activation = Activation {
            step,
            path,
            config: None,
            state: Json::null(),
            calls: 0,
            phase: Phase::Open,
            waits: Vec::new(),
            tries: 0,
            intended: false,
            began_ms: None,
            list,
            events: VecDeque::new(),
            branches: Vec::new(),
            spent: Default::default(),
        };
        self.activations.insert(id, activation);
        self.ready.insert(id);
    }

    pub(super) fn done(&mut self, plan: &Plan, id: ActivationId, output: Json) {
        let Some(Activation { step, list, .. }) = self.close(id) else { return };
        self.set_result(list, step, output.clone());
        let Some(run) = self.lists.get(&list) else { return };
        match plan.step_at(run.list, plan.step(step).position + 1) {
            Some(next) => self.enter(plan, list, next),
            None => self.list_succeeded(plan, list, output),
        }
    }

    /// A step failed in the end: what its definition says comes of that.
    pub(super) fn failed(&mut self, plan: &Plan, id: ActivationId, failure: Failure) {
        let Some(activation) = self.activations.get_mut(&id) else { return };
        match (plan.failure_branch(activation.step), plan.step(activation.step).on_failure) {
            (Some(list), _) => {
                let output = failure.output.as_ref().map_or(&serde_json::Value::Null, Json::value);
                let told =
                    json!({ "status": failure.status, "code": failure.code, "message": failure.message, "output": output });
                let owner = Owner { activation: id, branch: ON_FAILURE.into(), scope: json!({ "failure": told }).into() };
                activation.phase = Phase::Failed(Box::new(failure));
                activation.events.clear();
                self.ready.remove(&id);
                self.stop_all(id);
                self.start_list(plan, list, Some(owner), None);
            }
            (None, OnFailure::Continue) => self.done(plan, id, failure.output.unwrap_or_else(Json::null)),
            (None, OnFailure::Fail) => {
                let path = activation.path.clone();
                self.failed_for_good(id, failure, path);
            }
        }
    }

    /// What an activation is in fails with it; `path` names what failed first.
    fn failed_for_good(&mut self, id: ActivationId, failure: Failure, path: Arc<str>) {
        let Some(activation) = self.close(id) else { return };
        self.set_result(activation.list, activation.step, failure.output.clone().unwrap_or_else(Json::null));
        self.list_failed(activation.list, failure, path);
    }

    fn list_failed(&mut self, list: ListRunId, failure: Failure, path: Arc<str>) {
        let owner = self.lists.get(&list).and_then(|run| run.owner.clone());
        self.drop_list(list);
        let Some(Owner { activation: owner, branch, .. }) = owner else { return self.fail_run(failure, path) };
        if self.activations.get(&owner).is_some_and(|activation| matches!(activation.phase, Phase::Failed(_))) {
            // The steps for a failure failed themselves: theirs is the failure that counts.
            return self.failed_for_good(owner, failure, path);
        }
        self.tell(owner, Event::BranchEnded(Ended { id: branch, output: Err(failure) }));
        self.rouse(owner);
    }

    fn list_succeeded(&mut self, plan: &Plan, list: ListRunId, output: Json) {
        let Some(run) = self.lists.remove(&list) else { return };
        let Some(Owner { activation: owner, branch, .. }) = run.owner else {
            return self.finish(End { status: Status::Succeeded, early: false, reason: None, message: None, failure: None });
        };
        let Some(activation) = self.activations.get_mut(&owner) else { return };
        activation.branches.retain(|(_, open)| *open != list);
        let (outer, handled) = match &activation.phase {
            Phase::Failed(failure) => (activation.list, Some(failure.output.clone().unwrap_or_else(Json::null))),
            _ => (activation.list, None),
        };
        if let Some(overlay) = run.atomic {
            self.keep(outer, *overlay);
        }
        match handled {
            Some(output) => self.done(plan, owner, output),
            None => {
                self.tell(owner, succeeded(branch, output));
                self.rouse(owner);
            }
        }
    }

    fn go_back(&mut self, plan: &Plan, id: ActivationId, target: &Key, output: Json) {
        let Some(target) = plan.find(target.as_str()) else { return };
        let Some(Activation { step, list, .. }) = self.activations.get(&id) else { return };
        self.set_result(*list, *step, output);
        let mut at = id;
        while let Some(activation) = self.close(at) {
            let Some(run) = self.lists.get(&activation.list) else { return };
            if run.list == plan.step(target).list {
                return self.enter(plan, activation.list, target);
            }
            let Some(owner) = &run.owner else { return };
            at = owner.activation;
        }
    }

    fn timed_out(&mut self, plan: &Plan, path: &str) {
        let Some(id) = self.find(path) else { return };
        let Some(activation) = self.activations.get(&id).filter(|a| !matches!(a.phase, Phase::Failed(_))) else { return };
        let limit_ms = plan.step(activation.step).timeout_ms.unwrap_or_default();
        self.failed(plan, id, Failure::timed_out(format!("the step did not end within {limit_ms} ms")));
    }

    fn lost(&mut self, path: &str) {
        let Some(id) = self.find(path) else { return };
        if let Some(activation) = self.activations.get_mut(&id) {
            activation.phase = Phase::Unknown;
        }
    }

    pub(super) fn abort(&mut self, reason: Reason) {
        let message = match reason {
            Reason::Timeout => "the run took longer than its workflow allows",
            Reason::ManualCancel => "the run was cancelled",
            Reason::ParentAborted => "the run that waited for this one was stopped",
        };
        let message = Some(message.into());
        self.finish(End { status: Status::Aborted, early: false, reason: Some(reason), message, failure: None });
    }

    fn fail_run(&mut self, failure: Failure, path: Arc<str>) {
        let (status, message) = (failure.status, Some(failure.message.clone()));
        self.finish(End { status, early: false, reason: None, message, failure: Some((failure, path)) });
    }

    fn finish(&mut self, end: End) {
        self.end = Some(end);
        for activation in std::mem::take(&mut self.activations).values() {
            activation.waits.iter().for_each(|open| abandon(&mut self.outgoing.abandoned, open));
        }
        self.lists.clear();
        self.ready.clear();
        self.signals.clear();
    }

    pub(super) fn tell(&mut self, id: ActivationId, event: Event) {
        if let Some(activation) = self.activations.get_mut(&id) {
            activation.events.push_back(event);
        }
    }

    /// Makes an activation ready if it has been told something.
    pub(super) fn rouse(&mut self, id: ActivationId) {
        if self.activations.get(&id).is_some_and(|activation| !activation.events.is_empty()) {
            self.ready.insert(id);
        }
    }

    /// Takes an activation out, with everything that it runs or waits for.
    fn close(&mut self, id: ActivationId) -> Option<Activation> {
        self.stop_all(id);
        self.ready.remove(&id);
        self.activations.remove(&id)
    }

    /// Stops everything that an activation runs or waits for.
    fn stop_all(&mut self, id: ActivationId) {
        let Some(activation) = self.activations.get_mut(&id) else { return };
        let waits = std::mem::take(&mut activation.waits);
        let branches = std::mem::take(&mut activation.branches);
        waits.iter().for_each(|open| abandon(&mut self.outgoing.abandoned, open));
        branches.into_iter().for_each(|(_, list)| self.drop_list(list));
    }

    fn stop_branch(&mut self, id: ActivationId, branch: &str) {
        let Some(activation) = self.activations.get_mut(&id) else { return };
        activation.events.retain(|event| !matches!(event, Event::BranchEnded(ended) if &*ended.id == branch));
        if let Some(at) = activation.branches.iter().position(|(open, _)| &**open == branch) {
            let (_, list) = activation.branches.swap_remove(at);
            self.drop_list(list);
        }
    }

    fn drop_list(&mut self, list: ListRunId) {
        let Some(run) = self.lists.remove(&list) else { return };
        if let Some(owner) = run.owner.and_then(|owner| self.activations.get_mut(&owner.activation)) {
            owner.branches.retain(|(_, open)| *open != list);
        }
        if let Some(current) = run.current {
            self.close(current);
        }
    }

    /// Begins an atomic branch again, as if its steps had never been called.
    fn restart(&mut self, plan: &Plan, path: &str, branch: &str) {
        let Some(activation) = self.find(path).and_then(|id| self.activations.get(&id)) else { return };
        let Some((_, list)) = activation.branches.iter().find(|(id, _)| &**id == branch) else { return };
        let list = *list;
        let Some(run) = self.lists.get_mut(&list) else { return };
        let Some(overlay) = &mut run.atomic else { return };
        let restarts = overlay.restarts + 1;
        **overlay = Overlay { restarts, ..Overlay::default() };
        run.visits.clear();
        let (first, current) = (plan.step_at(run.list, 0), run.current.take());
        if let Some(current) = current {
            self.close(current);
        }
        if restarts > ATOMIC_RESTARTS_MAX {
            let message = "what the atomic branch read was changed by others each time, or it broke off; try again later";
            let failure = Failure { transient: true, ..Failure::error("conflict", message) };
            self.list_failed(list, failure, path.into());
        } else if let Some(first) = first {
            self.enter(plan, list, first);
        }
    }
}

impl Overlay {
    fn add(&mut self, later: Self) {
        self.results.extend(later.results);
        self.output = later.output.or(self.output.take());
        self.response = self.response.take().or(later.response);
        self.messages.extend(later.messages);
        self.staged.add(later.staged);
    }
}

fn succeeded(id: Box<str>, output: Json) -> Event {
    Event::BranchEnded(Ended { id, output: Ok(output) })
}
