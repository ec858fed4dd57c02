//! `response`: answers the caller and ends the run.

use weft_sdk::capability::run;
use weft_sdk::prelude::*;

use crate::body::{Headers, http_response};

/// Answers the HTTP caller who waits, and ends the run.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Response {
    /// The status code.
    #[serde(default = "ok")]
    #[schemars(range(min = 200, max = 599))]
    status: u16,
    /// Header fields by name.
    #[serde(default)]
    headers: Headers,
    /// The body: a text as it is, anything else as JSON, `null` for none.
    #[serde(default)]
    body: Value,
}

fn ok() -> u16 {
    200
}

impl Node for Response {
    const NAME: &str = "response";

    fn node_type() -> NodeType {
        NodeType::of::<Self>().category("http")
    }

    fn execute(self, _: &Call) -> Answer {
        run::respond(&http_response(self.status, &self.headers, &self.body)?)?;
        end_run(Status::Succeeded, None)
    }
}
