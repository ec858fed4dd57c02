//! What steps do to the host and to the world.

use weft_sdk::HttpRequest;
use weft_sdk::capability::{http, kv, workflows};
use weft_sdk::prelude::*;

/// Adds one to a counter of the workflow.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Count {
    /// Which counter.
    counter: String,
}

impl Node for Count {
    const NAME: &str = "count";

    fn execute(self, _: &Call) -> Answer {
        done(count(&self.counter)?)
    }
}

/// Adds one to a counter and tells what it is now.
pub(crate) fn count(counter: &str) -> Result<u64, Failure> {
    let count = read(counter)? + 1;
    kv::set(counter, count.to_string().as_bytes())?;
    Ok(count)
}

fn read(counter: &str) -> Result<u64, Failure> {
    let text = kv::get(counter)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// Tells what a counter is.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Read {
    /// Which counter.
    counter: String,
}

impl Node for Read {
    const NAME: &str = "read";

    fn execute(self, _: &Call) -> Answer {
        done(read(&self.counter)?)
    }
}

/// Sends requests, one after the other, and counts in between.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Send {
    /// Where to.
    url: String,
    /// How many.
    #[serde(default = "one")]
    times: u32,
}

fn one() -> u32 {
    1
}

impl Node for Send {
    const NAME: &str = "send";

    fn execute(self, call: &Call) -> Answer {
        send(&self.url, self.times, call)
    }
}

/// The same; after a crash it is not known whether it was done.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Once {
    /// Where to.
    url: String,
}

impl Node for Once {
    const NAME: &str = "once";

    fn node_type() -> NodeType {
        NodeType::of::<Self>().at_most_once()
    }

    fn execute(self, call: &Call) -> Answer {
        send(&self.url, 1, call)
    }
}

fn send(url: &str, times: u32, call: &Call) -> Answer {
    let mut statuses = Vec::new();
    for _ in 0..times {
        let mut request = HttpRequest::new("POST", url);
        request.body = format!("{} {}", call.step, call.attempt).into_bytes();
        let response = http::send(&request)?;
        if response.status_code >= 500 {
            return Err(Failure::new("http-status", format!("status {}", response.status_code)).transient());
        }
        statuses.push(response.status_code);
    }
    done(statuses)
}

/// Sends a request and tells the response.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Exchange {
    /// Where to.
    url: String,
    /// How.
    #[serde(default = "get")]
    method: String,
    /// Header fields.
    #[serde(default)]
    headers: std::collections::BTreeMap<String, String>,
    /// What is sent.
    #[serde(default)]
    body: String,
}

fn get() -> String {
    "GET".into()
}

impl Node for Exchange {
    const NAME: &str = "exchange";

    fn execute(self, _: &Call) -> Answer {
        let mut request = HttpRequest::new(&self.method, &self.url);
        request.headers = self.headers.iter().map(|(name, value)| weft_sdk::Pair::new(name, value)).collect();
        request.body = self.body.into_bytes();
        let response = http::send(&request)?;
        done(json!({ "status": response.status_code, "body": String::from_utf8_lossy(&response.body) }))
    }
}

/// Starts a run and does not wait for it.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Launch {
    /// Which workflow.
    workflow: String,
    /// What it is given.
    #[serde(default)]
    context: Value,
}

impl Node for Launch {
    const NAME: &str = "launch";

    fn execute(self, _: &Call) -> Answer {
        done(workflows::start(&self.workflow, &self.context.to_string())?)
    }
}
