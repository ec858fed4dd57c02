//! `end`: the run is over.

use weft_sdk::prelude::*;

use super::text;

/// Ends the whole run at once, also from inside branches and loops.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct End {
    /// How the run ends.
    #[serde(default)]
    status: Ending,
    /// Why, for people.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    message: Value,
}

/// How a run ends.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Ending {
    /// It did what it was to do.
    #[default]
    Succeeded,
    /// It did not.
    Failed,
}

impl Node for End {
    const NAME: &str = "end";

    fn node_type() -> NodeType {
        NodeType::of::<Self>().category("flow")
    }

    fn execute(self, _: &Call) -> Answer {
        let status = match self.status {
            Ending::Succeeded => Status::Succeeded,
            Ending::Failed => Status::Failed,
        };
        end_run(status, Some(text(&self.message)).filter(|message| !message.is_empty()))
    }
}
