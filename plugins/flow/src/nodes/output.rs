//! `output`: what a run gives its caller.

use weft_sdk::capability::run;
use weft_sdk::prelude::*;

/// Sets the run's output, which its caller gets. It does not end the run; the last one counts.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Output {
    /// The output.
    #[serde(default)]
    value: Value,
}

impl Node for Output {
    const NAME: &str = "output";

    fn node_type() -> NodeType {
        NodeType::of::<Self>().category("flow").fails(
            "too-large",
            "The output is longer than one may be: give less, or where it is found.",
            "/value",
        )
    }

    fn execute(self, _: &Call) -> Answer {
        run::set_output(&self.value.to_string())?;
        done(self.value)
    }
}
