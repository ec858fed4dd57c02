//! `webhook`: runs that begin with an HTTP request.

use weft_sdk::prelude::*;
use weft_sdk::{FinishedRun, HttpEvent};

use crate::access::{self, Admitted, Basic, Bearer, Refusal, admit_address};
use crate::body::{Fields, http_response};
use crate::content::{self, BodyKind};
use crate::context::{Context, Raw, Variables};
use crate::path;
use crate::route::{self, Method, half_a_minute, post};
use crate::settle;
use crate::signature::{Signature, dedup_key};

/// Starts a run for each HTTP request to the workflow's URL.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Whether the caller waits for the run (`sync`) or gets an answer at once (`async`).
    mode: Wait,
    /// Methods that start a run; all others are answered with 405.
    #[serde(default = "post")]
    #[schemars(length(min = 1))]
    methods: Vec<Method>,
    /// Path below `/hooks/`, with `{name}` for a segment that varies. By default the workflow's key.
    path: Option<String>,
    /// What bodies are read; all others are answered with 415.
    #[serde(default = "json_only")]
    #[schemars(length(min = 1))]
    bodies: Vec<BodyKind>,
    /// The longest body, in bytes. By default the host's limit.
    #[schemars(range(min = 1))]
    body_bytes_max: Option<u32>,
    /// Whether the body is also there as it came, as `$context.raw`, so that it can be echoed byte for byte.
    raw: Option<Raw>,
    /// Values that stand in `$context` under a name of their own.
    variables: Option<Variables>,
    /// Addresses and networks that requests may come from, such as `192.0.2.7` and `10.0.0.0/8`. By default all. Behind a proxy the host
    /// must know it (`weft serve --trusted-proxy`).
    #[serde(default)]
    allow_from: Vec<String>,
    /// User and password that the caller must give (HTTP Basic, RFC 7617).
    basic: Option<Basic>,
    /// The token that the caller must give (`Authorization: Bearer`, RFC 6750).
    bearer: Option<Bearer>,
    /// The signature that the body must have.
    signature: Option<Signature>,
    /// What tells deliveries apart: of two that are the same only the first makes a run, for a day at least, and who waits gets the
    /// first one's answer. By default the way of the signature's scheme, where that signs an id or a time, else nothing.
    dedup: Option<Dedup>,
    /// What the caller of the mode `async` gets.
    #[serde(default)]
    response: Reply,
    /// How long the caller of the mode `sync` waits for the run, in milliseconds. Then the answer is 504, and the run goes on.
    #[serde(default = "half_a_minute")]
    #[schemars(range(min = 1, max = 600_000))]
    timeout_ms: u32,
}

#[derive(Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Wait {
    /// The caller waits for the run.
    Sync,
    /// The caller gets an answer at once.
    Async,
}

/// What tells deliveries apart.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Dedup {
    /// Where it stands.
    by: DedupBy,
    /// The header's name, or the path in the body.
    name: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum DedupBy {
    /// Nothing: every delivery makes a run.
    Nothing,
    /// A header, such as `X-Delivery-Id`.
    Header,
    /// A place in the body, such as `event.id`.
    Body,
    /// As the signature's scheme has it: `X-GitHub-Delivery`, `X-Shopify-Webhook-Id` and `webhook-id`; the event's id in the bodies of
    /// Stripe and Slack; else the signature. Those of GitHub and Shopify are not signed.
    Scheme,
}

/// An answer.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Reply {
    /// The status code.
    #[schemars(range(min = 200, max = 599))]
    status: u16,
    /// Header fields by name.
    headers: Fields,
    /// The body: a text as it is, anything else as JSON, `null` for none.
    body: Value,
}

impl Default for Reply {
    fn default() -> Self {
        Self { status: 200, headers: Fields::default(), body: Value::from("ok") }
    }
}

fn json_only() -> Vec<BodyKind> {
    vec![BodyKind::Json]
}

impl Trigger for Webhook {
    const NAME: &str = "webhook";

    fn trigger_type() -> TriggerType {
        route::described(TriggerType::of::<Self>(Mode::ByConfig, &["http"]), "")
    }

    fn check(config: &Value) -> Vec<Problem> {
        let mut problems = access::check_addresses(config);
        let below = |place: &str, found: Vec<Problem>| -> Vec<Problem> {
            found.into_iter().map(|problem| Problem { pointer: format!("{place}{}", problem.pointer), ..problem }).collect()
        };
        problems.extend(below("/signature", Signature::check(&config["signature"])));
        problems.extend(below("/variables", Variables::check(&config["variables"])));
        if config["basic"].is_object() && config["bearer"].is_object() {
            problems.push(Problem::new("/bearer", "a caller sends one `Authorization`: choose either `basic` or `bearer`"));
        }
        problems.extend(check_dedup(&config["dedup"], config["signature"].is_object()));
        problems
    }

    fn subscribe(self, _: &TriggerCall) -> Result<Vec<Subscription>, Failure> {
        Ok(route::subscriptions(&self.methods, self.path, self.body_bytes_max))
    }

    fn fire(self, call: &TriggerCall, event: TriggerEvent) -> Result<Reaction, Failure> {
        let TriggerEvent::Http(request) = event else {
            return Err(Failure::unexpected_event("its HTTP request"));
        };
        match self.start(call, &request)? {
            Err(refusal) => Ok(refusal.reaction()),
            Ok(start) => Ok(match self.mode {
                Wait::Sync => Reaction::start(vec![start.wait(self.timeout_ms)]),
                Wait::Async => {
                    let reply = http_response(self.response.status, &self.response.headers, &self.response.body)?;
                    Reaction::start(vec![start]).respond(reply)
                }
            }),
        }
    }

    fn settle(self, _: &TriggerCall, run: FinishedRun) -> Result<Settlement, Failure> {
        settle::settle(&run)
    }
}

impl Webhook {
    /// The run that a request starts, if it is let in and can be read.
    fn start(&self, call: &TriggerCall, request: &HttpEvent) -> Admitted<Start> {
        if let Err(refusal) = admit_address(&self.allow_from, &request.remote_address)? {
            return Ok(Err(refusal));
        }
        if let Some(basic) = &self.basic
            && let Err(refusal) = basic.admit(request)?
        {
            return Ok(Err(refusal));
        }
        if let Some(bearer) = &self.bearer
            && let Err(refusal) = bearer.admit(request)?
        {
            return Ok(Err(refusal));
        }
        let delivery = match &self.signature {
            None => None,
            Some(signature) => match signature.admit(request, call.now_ms())? {
                Ok(delivery) => Some(delivery),
                Err(refusal) => return Ok(Err(refusal)),
            },
        };
        let read = content::read(request, &self.bodies).and_then(|data| {
            let dedup_key = self.delivery(request, delivery, data.get())?;
            let context = Context::of(request, &data, self.raw, self.variables.as_ref())?;
            Ok(Start::with(&context).map(|start| Start { dedup_key, ..start }))
        });
        read.map_or_else(|refusal| Ok(Err(refusal)), |start| Ok(Ok(start?)))
    }

    /// What the host knows this delivery by.
    fn delivery(&self, request: &HttpEvent, by_scheme: Option<String>, data: &str) -> Result<Option<String>, Refusal> {
        let missing = |what: &str| Refusal::new(400, "no-delivery-id", "Bad Request", &format!("{what} is missing"));
        let (by, name) = match &self.dedup {
            Some(dedup) => (dedup.by, dedup.name.as_deref().unwrap_or_default()),
            None if self.signature.as_ref().is_some_and(Signature::tells_replays) => (DedupBy::Scheme, ""),
            None => (DedupBy::Nothing, ""),
        };
        let delivery = match by {
            DedupBy::Nothing => return Ok(None),
            DedupBy::Scheme => by_scheme.ok_or_else(|| missing("the signature"))?,
            DedupBy::Header => {
                let header = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
                header.map(|header| header.value.clone()).ok_or_else(|| missing(&format!("the header `{name}`")))?
            }
            DedupBy::Body => {
                let body: Value = serde_json::from_str(data).unwrap_or_default();
                match path::at(&body, name) {
                    Value::String(text) => text,
                    Value::Number(number) => number.to_string(),
                    _ => return Err(missing(&format!("`{name}` in the body"))),
                }
            }
        };
        Ok(Some(dedup_key(&delivery)))
    }
}

fn check_dedup(dedup: &Value, is_signed: bool) -> Option<Problem> {
    let has_name = dedup["name"].as_str().is_some_and(|name| !name.is_empty());
    match dedup["by"].as_str()? {
        "header" | "body" if !has_name => Some(Problem::new("/dedup/name", "say which header, or where in the body")),
        "nothing" | "scheme" if has_name => Some(Problem::new("/dedup/name", "this is for `header` and `body` only")),
        "scheme" if !is_signed => Some(Problem::new("/dedup/by", "without a `signature` there is no scheme")),
        _ => None,
    }
}
