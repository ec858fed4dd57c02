//! `response-message`: a message for whoever caused the run.

use weft_sdk::capability::run;
use weft_sdk::prelude::*;

/// Adds a message for whoever waits for the run. All of a run are told together, with its output or its failure.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResponseMessage {
    /// The message.
    message: Value,
}

impl Node for ResponseMessage {
    const NAME: &str = "response-message";

    fn node_type() -> NodeType {
        NodeType::of::<Self>().category("http").result::<String>().fails(
            "too-large",
            "The message is too long, or there are too many; the message of the failure says how long and how many there may be.",
            "/message",
        )
    }

    fn execute(self, _: &Call) -> Answer {
        let message = match self.message {
            Value::String(text) => text,
            Value::Null => String::new(),
            other => other.to_string(),
        };
        run::add_message(&message)?;
        done(message)
    }
}
