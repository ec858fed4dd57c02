//! `data`: puts fields together.

use weft_sdk::prelude::*;

/// Makes an object of fields, whose values may be variables.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Data {
    /// The fields by name: the step's result.
    fields: serde_json::Map<String, Value>,
}

/// The fields by name.
#[derive(JsonSchema)]
#[schemars(extend("x-weft-members-from" = "/fields"))]
#[expect(dead_code, reason = "it is there for its schema")]
struct Fields(serde_json::Map<String, Value>);

impl Node for Data {
    const NAME: &str = "data";

    fn node_type() -> NodeType {
        NodeType::of::<Self>().category("flow").result::<Fields>()
    }

    fn execute(self, _: &Call) -> Answer {
        done(self.fields)
    }
}
