//! What `acme/swap` comes to in its second version: a setting is required, a result has lost a member, a type and a branch are gone,
//! and it wants to keep values.

use weft_sdk::capability::kv;
use weft_sdk::prelude::*;

/// Says the plugin's version, in a style.
#[derive(Deserialize, JsonSchema)]
struct Version {
    /// How to say it.
    style: String,
}

/// What [`Version`] says.
#[derive(Serialize, JsonSchema)]
struct Said {
    version: String,
}

impl Node for Version {
    const NAME: &str = "version";

    fn node_type() -> NodeType {
        NodeType::of::<Self>().result::<Said>()
    }

    fn execute(self, _: &Call) -> Answer {
        kv::set("style", self.style.as_bytes())?;
        done(Said { version: env!("CARGO_PKG_VERSION").into() })
    }
}

/// Carries out its only branch.
#[derive(Deserialize, JsonSchema)]
struct Pick {
    /// Which.
    side: String,
}

impl Node for Pick {
    const NAME: &str = "pick";

    fn node_type() -> NodeType {
        NodeType::of::<Self>().branch("left", "Left")
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

weft_sdk::plugin! { name: "acme/swap", nodes: [Version, Pick] }
