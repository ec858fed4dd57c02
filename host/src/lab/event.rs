//! What happens while a step waits: what the case says, and otherwise the next thing that would.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Deserialize;
use serde_json::{Value, json};

use super::case::HttpAnswer;
use super::trial::response_of;
use super::world::World;
use crate::plugin::{NodeType, Sender};
use crate::run::{BranchStart, Ended, Event, Failure, Outcome, Status, Wait, WaitKind};
use crate::workflow::{Json, ON_FAILURE};

/// Something that happens while a step waits, by the contract's names: `{"signalled": {"id": "paid", "payload": {"amount": 3}}}`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum GivenEvent {
    /// A timer fires, by its id.
    Woke(String),
    /// A message comes.
    Signalled {
        /// The wait.
        id: String,
        /// What the sender gives.
        #[serde(default)]
        payload: Value,
    },
    /// A person acts.
    TaskActed {
        /// The wait.
        id: String,
        /// The person.
        user: String,
        /// The action's key.
        action: String,
        /// What was filled in.
        #[serde(default)]
        values: Value,
    },
    /// A branch ends.
    BranchEnded(GivenEnd),
    /// A child run ends.
    ChildEnded(GivenEnd),
    /// A server answers a request that is waited for.
    Responded {
        /// The wait.
        id: String,
        /// What it answers.
        #[serde(flatten)]
        answer: HttpAnswer,
    },
}

/// How a branch or a child run ends.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenEnd {
    /// The branch's or the wait's id.
    id: String,
    /// What it gives.
    #[serde(default)]
    output: Value,
    /// Or the code of its failure.
    #[serde(default)]
    failure: Option<String>,
}

impl GivenEvent {
    /// A child run ends with an output.
    pub(super) fn child_ended(id: String, output: Value) -> Self {
        Self::ChildEnded(GivenEnd { id, output, failure: None })
    }
}

impl GivenEnd {
    fn read(self) -> Ended {
        let output = match self.failure {
            Some(code) => Err(Failure { status: Status::Failed, ..Failure::error(&code, "the case says so") }),
            None => Ok(Json::from(self.output)),
        };
        Ended { id: self.id.into(), output }
    }
}

impl From<GivenEvent> for Event {
    fn from(event: GivenEvent) -> Self {
        match event {
            GivenEvent::Woke(id) => Self::Woke(id.into()),
            GivenEvent::Signalled { id, payload } => Self::Signalled { id: id.into(), payload: Json::from(payload) },
            GivenEvent::TaskActed { id, user, action, values } => Self::TaskActed {
                id: id.into(),
                user: user.into(),
                action: action.into(),
                values: Json::from(if values.is_null() { json!({}) } else { values }),
            },
            GivenEvent::BranchEnded(end) => Self::BranchEnded(end.read()),
            GivenEvent::ChildEnded(end) => Self::ChildEnded(end.read()),
            GivenEvent::Responded { id, answer } => Self::Responded { id: id.into(), response: response_of(&answer) },
        }
    }
}

/// What a step waits for.
#[derive(Default)]
pub(super) struct Open {
    /// Ids, and the keys of their branches.
    branches: Vec<(Box<str>, Box<str>)>,
    pub(super) waits: Vec<Wait>,
    /// Ids that must not come again.
    spent: BTreeSet<Box<str>>,
}

impl Open {
    /// Takes an answer in. An error: the host would not.
    pub(super) fn update(&mut self, kind: &NodeType, config: &Value, outcome: &Outcome) -> Result<(), Failure> {
        let Outcome::Pending { start, stop, wait, .. } = outcome else { return Ok(()) };
        let bad = |what: String| Err(Failure::bad_answer(what));
        for BranchStart { branch, id, .. } in start {
            if **branch == *ON_FAILURE || kind.branch_keys(config).all(|key| *key != **branch) {
                return bad(format!("it starts a branch `{branch}`, which its type does not have"));
            }
            if !self.spent.insert(format!("branch {id}").into()) {
                return bad(format!("it starts a second branch with the id `{id}`"));
            }
        }
        for (index, Wait { id, kind: wanted }) in wait.iter().enumerate() {
            let name = wanted.name();
            if kind.waits.iter().all(|declared| declared != name) {
                return bad(format!("it waits for a {name}, which its type does not declare in `waits`"));
            }
            if wait[..index].iter().any(|other| other.id == *id) {
                return bad(format!("it waits for two things with the id `{id}`"));
            }
            if self.spent.contains(id) {
                return bad(format!("it waits again with the id `{id}`, whose event it has had: choose a new id"));
            }
        }
        self.branches.retain(|(id, _)| !stop.contains(id));
        self.branches.extend(start.iter().map(|start| (start.id.clone(), start.branch.clone())));
        self.waits.clone_from(wait);
        if self.branches.is_empty() && self.waits.is_empty() {
            return bad("it goes on later, but nothing runs and nothing is waited for".into());
        }
        Ok(())
    }

    /// The next event: the next one of the case if it is waited for, else the end of the branch that began first, else the answer to a
    /// request, else the timer that fires first, to whose time the clock moves. None: somebody outside must do something.
    pub(super) async fn next(
        &mut self,
        given: &mut VecDeque<GivenEvent>,
        branches: &BTreeMap<String, Value>,
        world: &World,
        sender: &Sender,
        now_ms: &mut u64,
    ) -> Option<Event> {
        let event = match given.front().cloned().map(Event::from).filter(|event| self.is_open(event)) {
            Some(event) => {
                given.pop_front();
                event
            }
            None => self.follow(branches, world, sender).await?,
        };
        if let Event::Woke(id) = &event {
            let at = self.waits.iter().find(|wait| wait.id == *id).map(|wait| &wait.kind);
            if let Some(WaitKind::Timer(at_ms)) = at {
                *now_ms = (*now_ms).max(*at_ms);
            }
        }
        self.take(&event);
        Some(event)
    }

    async fn follow(&self, branches: &BTreeMap<String, Value>, world: &World, sender: &Sender) -> Option<Event> {
        if let Some((id, key)) = self.branches.first() {
            let output = Ok(Json::from(branches.get(&**key).cloned().unwrap_or_default()));
            return Some(Event::BranchEnded(Ended { id: id.clone(), output }));
        }
        for Wait { id, kind } in &self.waits {
            if let WaitKind::Request(request) = kind {
                let response = world.exchange(sender, (**request).clone()).await;
                return Some(Event::Responded { id: id.clone(), response });
            }
        }
        let timers = self.waits.iter().filter_map(|wait| match wait.kind {
            WaitKind::Timer(at_ms) => Some((at_ms, &wait.id)),
            _ => None,
        });
        timers.min().map(|(_, id)| Event::Woke(id.clone()))
    }

    fn is_open(&self, event: &Event) -> bool {
        let waits =
            |id: &str, is_kind: fn(&WaitKind) -> bool| self.waits.iter().any(|wait| *wait.id == *id && is_kind(&wait.kind));
        match event {
            Event::BranchEnded(end) => self.branches.iter().any(|(id, _)| *id == end.id),
            Event::Woke(id) => waits(id, |kind| matches!(kind, WaitKind::Timer(_))),
            Event::Signalled { id, .. } => waits(id, |kind| matches!(kind, WaitKind::Signal { .. })),
            Event::TaskActed { id, .. } => waits(id, |kind| matches!(kind, WaitKind::Task(_))),
            Event::ChildEnded(end) => waits(&end.id, |kind| matches!(kind, WaitKind::Child { .. })),
            Event::Responded { id, .. } => waits(id, |kind| matches!(kind, WaitKind::Request(_))),
        }
    }

    fn take(&mut self, event: &Event) {
        match event {
            Event::BranchEnded(end) => self.branches.retain(|(id, _)| *id != end.id),
            Event::Woke(id) | Event::Responded { id, .. } => self.spend(id),
            Event::ChildEnded(end) => self.spend(&end.id),
            Event::Signalled { .. } | Event::TaskActed { .. } => {}
        }
    }

    fn spend(&mut self, id: &str) {
        self.waits.retain(|wait| *wait.id != *id);
        self.spent.insert(id.into());
    }
}

/// An event as a report shows it, by the contract's names.
pub(super) fn shown(event: &Event) -> Value {
    let ended = |end: &Ended| match &end.output {
        Ok(output) => json!({"id": end.id, "output": output.value()}),
        Err(failure) => json!({"id": end.id, "failure": failure.code}),
    };
    match event {
        Event::BranchEnded(end) => json!({"branch-ended": ended(end)}),
        Event::ChildEnded(end) => json!({"child-ended": ended(end)}),
        Event::Woke(id) => json!({"woke": id}),
        Event::Signalled { id, payload } => json!({"signalled": {"id": id, "payload": payload.value()}}),
        Event::TaskActed { id, user, action, values } => {
            json!({"task-acted": {"id": id, "user": user, "action": action, "values": values.value()}})
        }
        Event::Responded { id, response: Ok(response) } => json!({"responded": {"id": id, "status": response.status}}),
        Event::Responded { id, response: Err(fault) } => json!({"responded": {"id": id, "fault": fault.code}}),
    }
}
