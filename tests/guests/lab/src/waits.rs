//! Steps that wait.

use weft_sdk::prelude::*;
use weft_sdk::{HttpRequest, Task, TaskAction, Wait};

/// Waits for a while.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Sleep {
    /// How long.
    ms: u64,
}

impl Node for Sleep {
    const NAME: &str = "sleep";

    fn node_type() -> NodeType {
        NodeType::of::<Self>().waits(&["timer"])
    }

    fn execute(self, call: &Call) -> Answer {
        Pending::with(0)?.wait_until("due", call.now_ms() + self.ms).answer()
    }

    fn resume(self, _: &Call, _: State, _: Event) -> Answer {
        done(self.ms)
    }
}

/// Waits for messages.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Hear {
    /// What the sender calls them.
    name: String,
    /// What tells runs apart.
    key: Option<String>,
    /// How many.
    #[serde(default = "one")]
    times: usize,
}

fn one() -> usize {
    1
}

impl Node for Hear {
    const NAME: &str = "hear";

    fn node_type() -> NodeType {
        NodeType::of::<Self>().waits(&["signal"])
    }

    fn execute(self, _: &Call) -> Answer {
        self.wait(Vec::new())
    }

    fn resume(self, _: &Call, state: State, event: Event) -> Answer {
        let mut heard = state.get::<Vec<Value>>()?;
        if let Event::Signalled(signalled) = event {
            heard.push(serde_json::from_str(&signalled.payload).unwrap_or_default());
        }
        if heard.len() == self.times { done(heard) } else { self.wait(heard) }
    }
}

impl Hear {
    fn wait(self, heard: Vec<Value>) -> Answer {
        Pending::with(heard)?.wait_signal("message", &self.name, self.key.as_deref()).answer()
    }
}

/// Asks a person.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Ask {
    /// Who may answer.
    users: Vec<String>,
}

impl Node for Ask {
    const NAME: &str = "ask";

    fn node_type() -> NodeType {
        NodeType::of::<Self>().waits(&["task"])
    }

    fn execute(self, call: &Call) -> Answer {
        let button = |key: &str, draft| TaskAction { key: key.into(), title: key.into(), form_schema: None, draft };
        let form = json!({"type": "object", "properties": {"amount": {"type": "number", "minimum": 1}}, "required": ["amount"]});
        let task = Task {
            id: "question".into(),
            title: format!("Answer {}", call.step),
            assignees: self.users,
            form_schema: form.to_string(),
            values: "{}".into(),
            actions: vec![button("yes", false), button("save", true)],
            more: None,
        };
        Pending::with(0)?.wait(Wait::Task(task)).answer()
    }

    fn resume(self, _: &Call, _: State, event: Event) -> Answer {
        match event {
            Event::TaskActed(acted) => {
                let values: Value = serde_json::from_str(&acted.values).unwrap_or_default();
                done(json!({ "user": acted.user, "action": acted.action, "values": values }))
            }
            _ => Err(Failure::new("unexpected-event", "only people answer")),
        }
    }
}

/// Runs another workflow and gives its output.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Sub {
    /// Which.
    workflow: String,
    /// What it is given.
    #[serde(default)]
    context: Value,
}

impl Node for Sub {
    const NAME: &str = "sub";

    fn node_type() -> NodeType {
        NodeType::of::<Self>().waits(&["child"])
    }

    fn execute(self, _: &Call) -> Answer {
        Pending::with(0)?.wait_child("run", &self.workflow, self.context)?.answer()
    }

    fn resume(self, _: &Call, _: State, event: Event) -> Answer {
        match event {
            Event::ChildEnded(ended) => Ok(Outcome::Done(ended.output?)),
            _ => Err(Failure::new("unexpected-event", "only the run ends")),
        }
    }
}

/// Sends a request and waits for its response without holding an instance.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Fetch {
    /// Where to.
    url: String,
}

impl Node for Fetch {
    const NAME: &str = "fetch";

    fn node_type() -> NodeType {
        NodeType::of::<Self>().waits(&["request"])
    }

    fn execute(self, _: &Call) -> Answer {
        Pending::with(0)?.wait_request("answer", HttpRequest::new("GET", &self.url)).answer()
    }

    fn resume(self, _: &Call, _: State, event: Event) -> Answer {
        match event {
            Event::Responded(responded) => {
                let response = responded.response?;
                if response.status_code >= 500 {
                    return Err(Failure::new("http-status", format!("status {}", response.status_code)).transient());
                }
                done(json!({ "status": response.status_code, "body": String::from_utf8_lossy(&response.body) }))
            }
            _ => Err(Failure::new("unexpected-event", "only a response comes")),
        }
    }
}
