//! Says its version, and says it again after a wait.

use weft_sdk::prelude::*;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Says the plugin's version.
#[derive(Deserialize, JsonSchema)]
struct Version {
    /// Said with it.
    #[serde(default)]
    note: String,
}

/// What [`Version`] says.
#[derive(Serialize, JsonSchema)]
struct Said {
    version: String,
    note: String,
}

impl Node for Version {
    const NAME: &str = "version";

    fn node_type() -> NodeType {
        NodeType::of::<Self>().result::<Said>()
    }

    fn execute(self, _: &Call) -> Answer {
        done(Said { version: VERSION.into(), note: self.note })
    }
}

/// Waits for a message, and says the version before and after.
#[derive(Deserialize, JsonSchema)]
struct Hold {}

impl Node for Hold {
    const NAME: &str = "hold";

    fn node_type() -> NodeType {
        NodeType::of::<Self>().waits(&["signal"])
    }

    fn execute(self, _: &Call) -> Answer {
        Pending::with(VERSION)?.wait_signal("message", "go", None).answer()
    }

    fn resume(self, _: &Call, state: State, _: Event) -> Answer {
        done(json!({ "before": state.get::<String>()?, "after": VERSION }))
    }
}

/// Carries out one of its branches.
#[derive(Deserialize, JsonSchema)]
struct Pick {
    /// Which.
    side: String,
}

impl Node for Pick {
    const NAME: &str = "pick";

    fn node_type() -> NodeType {
        NodeType::of::<Self>().branch("left", "Left").branch("right", "Right")
    }

    fn execute(self, _: &Call) -> Answer {
        Pending::with(0)?.start(&self.side, "it", Value::Null)?.answer()
    }

    fn resume(self, _: &Call, _: State, event: Event) -> Answer {
        match event {
            Event::BranchEnded(ended) => Ok(Outcome::Done(ended.output?)),
            _ => Err(Failure::new("unexpected-event", "only branches end")),
        }
    }
}

weft_sdk::plugin! { name: "acme/swap", nodes: [Version, Hold, Pick] }
