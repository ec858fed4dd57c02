//! `variable`: a value that changes while the run goes on.

use weft_sdk::capability::run;
use weft_sdk::prelude::*;

/// Declares a variable, or gives one that was declared before another value: whoever reads `$steps.<declaring step>.result` from then on
/// gets that, inside a loop and after it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Variable {
    /// The key of the step that declares the variable; without it this step does.
    target: Option<String>,
    /// The value.
    #[serde(default)]
    value: Value,
}

impl Node for Variable {
    const NAME: &str = "variable";

    fn node_type() -> NodeType {
        let message = "No earlier step of this type that this step can see has the key: name the one that declares the variable.";
        NodeType::of::<Self>().category("flow").fails("not-found", message, "/target").fails(
            "too-large",
            "The value is longer than one may be: keep less of it, or in parts.",
            "/value",
        )
    }

    fn execute(self, _: &Call) -> Answer {
        if let Some(target) = &self.target {
            run::set_result(target, &self.value.to_string())?;
        }
        done(self.value)
    }
}
