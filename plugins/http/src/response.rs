//! `response`: answers the caller and ends the run.

use weft_sdk::capability::run;
use weft_sdk::prelude::*;

use crate::body::{Fields, base64_bytes, http_response};

/// Answers the HTTP caller who waits, and ends the run.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Response {
    /// The status code.
    #[serde(default = "ok")]
    #[schemars(range(min = 200, max = 599))]
    status: u16,
    /// Header fields by name, or as a list of `name` and `value`.
    #[serde(default)]
    headers: Fields,
    /// The body: a text as it is, anything else as JSON, `null` for none.
    #[serde(default)]
    body: Value,
    /// Whether `body` is a text in Base64, whose bytes are sent.
    #[serde(default)]
    base64: bool,
}

fn ok() -> u16 {
    200
}

impl Node for Response {
    const NAME: &str = "response";

    fn node_type() -> NodeType {
        NodeType::of::<Self>()
            .category("http")
            .fails("invalid-config", "A variable gave what cannot be used; the message names the place.", "")
            .fails("invalid", "A header field cannot be sent, such as one with a line break; the message says which.", "/headers")
            .fails("too-large", "The response is longer than the host's limit: answer with less, or in pages.", "/body")
    }

    fn execute(self, _: &Call) -> Answer {
        let response = match self.base64 && !self.body.is_null() {
            false => http_response(self.status, &self.headers, &self.body)?,
            true => {
                let mut response = http_response(self.status, &self.headers, &Value::Null)?;
                response.body = base64_bytes(&self.body, "/body")?;
                if !response.headers.iter().any(|header| header.name == "content-type") {
                    response = response.header("content-type", "application/octet-stream");
                }
                response
            }
        };
        run::respond(&response)?;
        end_run(Status::Succeeded, None)
    }
}
