//! A plugin with one node.
use weft_sdk::prelude::*;

/// Greets somebody.
#[derive(Deserialize, JsonSchema)]
struct Greet {
    name: String,
}

impl Node for Greet {
    const NAME: &str = "greet";
    fn execute(self, _: &Call) -> Answer {
        done(format!("Hello, {}!", self.name))
    }
}

weft_sdk::plugin! { name: "acme/greet", nodes: [Greet] }
