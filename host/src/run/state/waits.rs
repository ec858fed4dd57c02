//! What activations wait for, and what they are told of it.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::{Activation, ActivationId, Child, Ended, Event, OpenWait, Phase, State};
use crate::run::called::Failure;
use crate::run::entry::{Arrival, Decision};
use crate::run::id::RunId;
use crate::run::wait::{Wait, WaitKind};
use crate::workflow::{Json, Plan};

#[cfg(test)]
thread_local! {
    static FIRE_TIMERS_TWICE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Makes a mistake on this thread, so that the simulator shows that it finds it.
#[cfg(test)]
pub(crate) fn set_fire_timers_twice(on: bool) {
    FIRE_TIMERS_TWICE.set(on);
}

impl State {
    pub(super) fn arrived(&mut self, plan: &Plan, arrival: &Arrival) {
        match arrival {
            Arrival::Signal { name, key, payload } => self.signal(name, key.as_deref(), payload),
            Arrival::TaskActed { activation, id, user, action, values } => {
                self.task_acted(activation, id, user, action, values);
            }
            Arrival::ChildEnded { activation, id, output } => {
                self.fire(activation, Event::ChildEnded(Ended { id: id.clone(), output: output.clone() }));
            }
            Arrival::Cancel { reason, .. } => self.abort(*reason),
            Arrival::Decided { activation, decision, .. } => self.decided(plan, activation, decision),
        }
    }

    /// Tells every activation that waits for a message of it; else one for this run is kept.
    fn signal(&mut self, name: &str, key: Option<&str>, payload: &Json) {
        let mut told = Vec::new();
        for (id, activation) in &mut self.activations {
            for open in &activation.waits {
                if let WaitKind::Signal { name: wanted, key: wanted_key } = &open.wait.kind
                    && (&**wanted, wanted_key.as_deref()) == (name, key)
                {
                    activation.events.push_back(Event::Signalled { id: open.wait.id.clone(), payload: payload.clone() });
                    told.push(*id);
                }
            }
        }
        if told.is_empty() && key.is_none() {
            self.signals.push_back((name.into(), payload.clone()));
        }
        told.into_iter().for_each(|id| self.rouse(id));
    }

    fn task_acted(&mut self, path: &str, id: &str, user: &str, action: &str, values: &Json) {
        let Some(activation) = self.find(path).and_then(|id| self.activations.get_mut(&id)) else { return };
        let Some(open) = activation.waits.iter_mut().find(|open| &*open.wait.id == id) else { return };
        let WaitKind::Task(task) = &mut open.wait.kind else { return };
        if task.actions.iter().any(|known| &*known.key == action && known.draft) {
            task.drafts.retain(|(of, _)| &**of != user);
            task.drafts.push((user.into(), values.clone()));
            return;
        }
        let (id, user, action) = (id.into(), user.into(), action.into());
        activation.events.push_back(Event::TaskActed { id, user, action, values: values.clone() });
        if let Some(id) = self.find(path) {
            self.rouse(id);
        }
    }

    fn decided(&mut self, plan: &Plan, path: &str, decision: &Decision) {
        let Some(id) = self.find(path) else { return };
        let Some(activation) = self.activations.get_mut(&id).filter(|a| a.phase == Phase::Unknown) else { return };
        activation.phase = Phase::Open;
        activation.intended = false;
        match decision {
            Decision::Retry => {}
            Decision::Succeed(output) => self.done(plan, id, output.clone()),
            Decision::Fail(message) => self.failed(plan, id, Failure::error("outcome-unknown", message.clone())),
        }
    }

    /// Tells an activation of the one event of a wait.
    pub(super) fn fire(&mut self, path: &str, event: Event) {
        let Some(id) = self.find(path) else { return };
        let Some(activation) = self.activations.get_mut(&id) else { return };
        let open = activation.waits.iter_mut().find(|open| !open.fired && event.is_of(&open.wait));
        let Some(open) = open else { return };
        open.fired = true;
        #[cfg(test)]
        if FIRE_TIMERS_TWICE.get() && matches!(event, Event::Woke(_)) {
            activation.events.push_back(event.clone());
        }
        activation.events.push_back(event);
        self.rouse(id);
    }

    /// Replaces what an activation waits for: known ids stay, new ones begin, missing ones are withdrawn.
    pub(super) fn set_waits(&mut self, id: ActivationId, waits: &[Wait], at_ms: u64) {
        let Some(activation) = self.activations.get_mut(&id) else { return };
        let mut old = std::mem::take(&mut activation.waits);
        let path = activation.path.clone();
        for wait in waits {
            let open = match old.iter().position(|open| open.wait.id == wait.id) {
                Some(at) => {
                    let open = old.swap_remove(at).renewed(wait);
                    if !open.fired {
                        activation.events.retain(|event| event.spends() != Some(&*wait.id));
                    }
                    open
                }
                None => {
                    let mut open = OpenWait { wait: wait.clone(), fired: false };
                    match &mut open.wait.kind {
                        WaitKind::Child { run, workflow, context } => {
                            let child = RunId::derived(at_ms, self.run, &path, &wait.id);
                            *run = Some(child);
                            let (workflow, context) = (workflow.clone(), context.clone());
                            let (activation, id) = (path.clone(), wait.id.clone());
                            self.outgoing.children.push(Child { run: child, workflow, context, activation, id });
                        }
                        WaitKind::Signal { name, key: None } => {
                            let kept = std::mem::take(&mut self.signals);
                            let (wanted, others) = kept.into_iter().partition(|(kept, _)| kept == name);
                            self.signals = others;
                            let wanted: VecDeque<(Box<str>, Json)> = wanted;
                            let events = wanted.into_iter().map(|(_, payload)| (wait.id.clone(), payload));
                            activation.events.extend(events.map(|(id, payload)| Event::Signalled { id, payload }));
                        }
                        _ => {}
                    }
                    open
                }
            };
            activation.waits.push(open);
        }
        for withdrawn in old {
            activation.events.retain(|event| event.wait_id() != Some(&*withdrawn.wait.id));
            abandon(&mut self.outgoing.abandoned, &withdrawn);
            if withdrawn.wait.kind.is_spent_by_event() {
                activation.spent.insert(spent(WAIT, &withdrawn.wait.id));
            }
        }
    }
}

impl Activation {
    /// The call that told of the first event was answered.
    pub(super) fn answered(&mut self) {
        self.calls += 1;
        if self.calls == 1 {
            return;
        }
        if let Some(id) = self.events.pop_front().as_ref().and_then(Event::spends)
            && let Some(at) = self.waits.iter().position(|open| *open.wait.id == *id)
        {
            self.waits.remove(at);
            self.spent.insert(spent(WAIT, id));
        }
    }

    /// The call that is to be made again told of a response: its request is sent again first. False: it told of something else.
    pub(super) fn ask_again(&mut self) -> bool {
        let Some(Event::Responded { id, .. }) = self.events.front().filter(|_| self.calls > 0) else { return false };
        let open = self.waits.iter_mut().find(|open| open.wait.id == *id);
        open.into_iter().for_each(|open| open.fired = false);
        self.events.pop_front();
        true
    }

    /// Whether an id was used before for something that ends with its one event.
    pub(super) fn is_spent(&self, tag: u8, id: &str) -> bool {
        self.spent.contains(&spent(tag, id))
    }

    /// The event that the present call is about; none: it begins the activation.
    pub(super) fn event(&self) -> Option<&Event> {
        self.events.front().filter(|_| self.calls > 0)
    }
}

impl OpenWait {
    /// The same wait, as it is given again.
    fn renewed(mut self, again: &Wait) -> Self {
        match (&mut self.wait.kind, &again.kind) {
            (WaitKind::Timer(at_ms), WaitKind::Timer(again_ms)) => {
                self.fired &= at_ms == again_ms;
                *at_ms = *again_ms;
            }
            (WaitKind::Task(task), WaitKind::Task(again)) => {
                let drafts = std::mem::take(&mut task.drafts);
                task.clone_from(again);
                task.drafts = drafts;
            }
            _ => {}
        }
        self
    }
}

impl Event {
    /// The wait that it is about.
    fn wait_id(&self) -> Option<&str> {
        match self {
            Self::BranchEnded(_) => None,
            Self::Woke(id) | Self::Signalled { id, .. } | Self::TaskActed { id, .. } | Self::Responded { id, .. } => Some(id),
            Self::ChildEnded(ended) => Some(&ended.id),
        }
    }

    /// The wait that ends with it.
    pub(super) fn spends(&self) -> Option<&str> {
        match self {
            Self::Woke(id) | Self::Responded { id, .. } => Some(id),
            Self::ChildEnded(ended) => Some(&ended.id),
            Self::BranchEnded(_) | Self::Signalled { .. } | Self::TaskActed { .. } => None,
        }
    }

    fn is_of(&self, wait: &Wait) -> bool {
        let kind = match self {
            Self::Woke(_) => matches!(wait.kind, WaitKind::Timer(_)),
            Self::ChildEnded(_) => matches!(wait.kind, WaitKind::Child { .. }),
            Self::Responded { .. } => matches!(wait.kind, WaitKind::Request(_)),
            Self::BranchEnded(_) | Self::Signalled { .. } | Self::TaskActed { .. } => false,
        };
        kind && self.wait_id() == Some(&*wait.id)
    }
}

/// What ids belong to: branches and waits have names of their own.
pub(super) const BRANCH: u8 = b'b';
pub(super) const WAIT: u8 = b'w';

/// A hash of an id: a loop of many rounds has many, and two that collide are rarer than a disk that lies.
pub(super) fn spent(tag: u8, id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (tag, id).hash(&mut hasher);
    hasher.finish()
}

pub(super) fn abandon(abandoned: &mut Vec<RunId>, open: &OpenWait) {
    if let WaitKind::Child { run: Some(run), .. } = open.wait.kind
        && !open.fired
    {
        abandoned.push(run);
    }
}
