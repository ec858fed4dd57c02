//! Nodes: the steps of a workflow.

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::answer::{Problem, to_json};
use crate::bindings::exports::weft::plugin::nodes;
use crate::bindings::weft::plugin::types::{Failure, HttpRequest, Status};
use crate::{schema, time};

pub use nodes::{
    BranchStart, Call, Child, Ended, Event, GoBack, Outcome, Repeat, Request, Responded, RunEnd, Signal, Signalled, Task,
    TaskActed, TaskAction, Timer, Wait,
};

/// What a call of a node comes to.
pub type Answer = Result<Outcome, Failure>;

/// A node type. The implementing struct is the config of a step, with its variables filled in.
pub trait Node: DeserializeOwned + JsonSchema {
    /// Kebab-case, unique among the plugin's nodes; what a workflow writes after `vendor/plugin/`.
    const NAME: &'static str;

    /// What the editor and the host need to know. By default made from the struct: its name as title, its doc comment as
    /// summary, its fields as config.
    fn node_type() -> NodeType {
        NodeType::of::<Self>()
    }

    /// Checks a config beyond its schema, when a workflow is published. The config is as written, with `{{…}}` in it.
    fn check(config: &Value) -> Vec<Problem> {
        let _ = config;
        Vec::new()
    }

    /// Begins a step.
    fn execute(self, call: &Call) -> Answer;

    /// Goes on with a step that answered [`Outcome::Pending`], when something happened that it waits for.
    fn resume(self, call: &Call, state: State, event: Event) -> Answer {
        let _ = (call, state, event);
        Err(Failure::new("unexpected-event", format!("a step of type `{}` waits for nothing", Self::NAME)))
    }
}

/// What the editor and the host need to know of a node type.
pub struct NodeType(pub(crate) nodes::NodeType);

/// A place for steps below a step.
pub type Branch = nodes::Branch;

impl NodeType {
    /// What a struct says of itself.
    pub fn of<N: Node>() -> Self {
        let described = schema::describe::<N>(N::NAME);
        Self(nodes::NodeType {
            name: N::NAME.into(),
            title: described.title,
            summary: described.summary,
            category: "other".into(),
            icon: None,
            config_schema: described.schema,
            result_schema: None,
            branches: Vec::new(),
            branches_from: None,
            waits: Vec::new(),
            repeat: Repeat::AtLeastOnce,
            more: None,
        })
    }

    /// The group in the palette.
    #[must_use]
    pub fn category(mut self, category: &str) -> Self {
        self.0.category = category.into();
        self
    }

    /// The shape of the result, so that later steps can pick from it.
    #[must_use]
    pub fn result<T: JsonSchema>(mut self) -> Self {
        self.0.result_schema = Some(schema::of::<T>());
        self
    }

    /// What a step of this type may wait for besides its branches: `timer`, `signal`, `task`, `child`, `request`.
    #[must_use]
    pub fn waits(mut self, kinds: &[&str]) -> Self {
        self.0.waits = kinds.iter().map(|kind| (*kind).into()).collect();
        self
    }

    /// After a crash that hid what came of a call which had reached outside, it is not made again: a person decides.
    #[must_use]
    pub fn at_most_once(mut self) -> Self {
        self.0.repeat = Repeat::AtMostOnce;
        self
    }

    /// Where the config lists further branches: the JSON Pointer of an array whose elements have a `key` and a `title`.
    #[must_use]
    pub fn branches_from(mut self, pointer: &str) -> Self {
        self.0.branches_from = Some(pointer.into());
        self
    }

    /// One way in which a step of this type can fail: the failure's code, what it means and what to do, and the part of the config that
    /// it is about (JSON Pointer; empty for none). The editor and `weft plugin docs` show it.
    #[must_use]
    pub fn fails(mut self, code: &str, message: &str, pointer: &str) -> Self {
        self.0.more = Some(schema::with_failure(self.0.more.as_deref(), code, message, pointer));
        self
    }

    /// A branch that every step of this type has.
    #[must_use]
    pub fn branch(mut self, key: &str, title: &str) -> Self {
        self.0.branches.push(Branch { key: key.into(), title: title.into(), scope_schema: None });
        self
    }

    /// A branch that every step of this type has, whose steps see a scope of this shape as `$scopes.<step>`.
    #[must_use]
    pub fn branch_with_scope<T: JsonSchema>(mut self, key: &str, title: &str) -> Self {
        self.0.branches.push(Branch { key: key.into(), title: title.into(), scope_schema: Some(schema::of::<T>()) });
        self
    }
}

/// The step is finished, with this result.
pub fn done(result: impl Serialize) -> Answer {
    Ok(Outcome::Done(to_json(&result)?))
}

/// The whole run ends here.
pub fn end_run(status: Status, message: Option<String>) -> Answer {
    Ok(Outcome::EndRun(RunEnd { status, message }))
}

/// How a step goes on: what to keep, what to start, what to wait for.
pub struct Pending(nodes::Pending);

impl Pending {
    /// Goes on with this state, which comes back at the next event. 64 KiB of JSON at most.
    pub fn with(state: impl Serialize) -> Result<Self, Failure> {
        let state = to_json(&state)?;
        Ok(Self(nodes::Pending { state, start: Vec::new(), stop: Vec::new(), wait: Vec::new(), more: None }))
    }

    /// Starts a branch. `id` is unique in this step, such as the number of a loop's round; `scope` is what the branch's
    /// steps see as `$scopes.<step>`.
    pub fn start(mut self, branch: &str, id: &str, scope: impl Serialize) -> Result<Self, Failure> {
        let scope = to_json(&scope)?;
        self.0.start.push(BranchStart { branch: branch.into(), id: id.into(), scope, atomic: false });
        Ok(self)
    }

    /// Starts a branch of which everything that its steps do inside the host is kept together when it succeeds, and dropped
    /// otherwise.
    pub fn start_atomic(mut self, branch: &str, id: &str, scope: impl Serialize) -> Result<Self, Failure> {
        self = self.start(branch, id, scope)?;
        self.0.start.iter_mut().filter(|start| start.id == id).for_each(|start| start.atomic = true);
        Ok(self)
    }

    /// Waits for a time, in milliseconds since 1970 ([`Call::now_ms`] and something).
    #[must_use]
    pub fn wait_until(self, id: &str, at_ms: u64) -> Self {
        self.wait(Wait::Timer(nodes::Timer { id: id.into(), at: time::rfc3339(at_ms) }))
    }

    /// Waits for a message by name: for this run, or with a key for whichever run waits for both.
    #[must_use]
    pub fn wait_signal(self, id: &str, name: &str, key: Option<&str>) -> Self {
        self.wait(Wait::Signal(nodes::Signal { id: id.into(), name: name.into(), key: key.map(Into::into) }))
    }

    /// Starts a run of a workflow and waits for its end.
    pub fn wait_child(self, id: &str, workflow: &str, context: impl Serialize) -> Result<Self, Failure> {
        let context = to_json(&context)?;
        Ok(self.wait(Wait::Child(nodes::Child { id: id.into(), workflow: workflow.into(), context })))
    }

    /// Sends a request and waits for its response, without holding an instance.
    #[must_use]
    pub fn wait_request(self, id: &str, request: HttpRequest) -> Self {
        self.wait(Wait::Request(nodes::Request { id: id.into(), request }))
    }

    /// Stops a running branch.
    #[must_use]
    pub fn stop(mut self, id: &str) -> Self {
        self.0.stop.push(id.into());
        self
    }

    /// Waits for something else. All waits are given each time.
    #[must_use]
    pub fn wait(mut self, wait: Wait) -> Self {
        self.0.wait.push(wait);
        self
    }

    /// The answer.
    pub fn answer(self) -> Answer {
        Ok(Outcome::Pending(self.0))
    }
}

impl Call {
    /// When this try began, in milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        time::parse(&self.now)
    }
}

/// What a step kept with [`Pending::with`].
pub struct State(pub(crate) String);

impl State {
    /// Reads it back.
    pub fn get<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_str(&self.0)
            .map_err(|error| Failure::new("invalid-state", format!("the step's state cannot be read: {error}")))
    }

    /// The JSON text.
    pub fn text(&self) -> &str {
        &self.0
    }
}
