//! What most plugins need.

pub use schemars::JsonSchema;
pub use serde::{Deserialize, Serialize};
pub use serde_json::{self, Value, json};

pub use crate::node::{Answer, Call, Event, Node, NodeType, Outcome, Pending, State, done, end_run};
pub use crate::trigger::{Mode, Reaction, Settlement, Start, Subscription, Trigger, TriggerCall, TriggerEvent, TriggerType};
pub use crate::{Failure, HttpResponse, Problem, Status, problem_response};
