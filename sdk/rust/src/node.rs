//! Nodes: the steps of a workflow.

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::answer::{Problem, to_json};
use crate::bindings::exports::weft::plugin::nodes;
use crate::bindings::weft::plugin::types::{Failure, Status};
use crate::schema;

pub use nodes::{BranchStart, Call, Ended, Event, GoBack, Outcome, Repeat, RunEnd, Wait};

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

    /// A branch that every step of this type has.
    #[must_use]
    pub fn branch(mut self, key: &str, title: &str) -> Self {
        self.0.branches.push(Branch { key: key.into(), title: title.into(), scope_schema: None });
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
