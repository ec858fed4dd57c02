//! One plugin in several versions: the folders beside this one have its source.
use weft_sdk::prelude::*;

/// Says which version it is.
#[derive(Deserialize, JsonSchema)]
struct Wrap {}

impl Node for Wrap {
    const NAME: &str = "wrap";
    fn execute(self, _: &Call) -> Answer {
        done(env!("CARGO_PKG_VERSION"))
    }
}

weft_sdk::plugin! { name: "acme/parcel", nodes: [Wrap] }
