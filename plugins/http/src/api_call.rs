//! `api-call`: other systems call a workflow and get its answer.

use weft_sdk::FinishedRun;
use weft_sdk::prelude::*;

use crate::access::{self, Admitted, Basic, Bearer, admit_address};
use crate::content::{self, BodyKind};
use crate::context::Context;
use crate::input::Input;
use crate::route::{self, Method, half_a_minute, post};
use crate::settle;
use crate::signature::Signature;

/// Lets other systems call the workflow by HTTP: each call is a run, and its output or the answer of a `response` step is what they get.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiCall {
    /// Who may call: `none` for everybody, or what callers must show.
    authentication: Authentication,
    /// Methods that are taken; all others are answered with 405.
    #[serde(default = "post")]
    #[schemars(length(min = 1))]
    methods: Vec<Method>,
    /// Path below `/hooks/`, with `{name}` for a segment that varies. By default the workflow's key.
    path: Option<String>,
    /// What is taken, as JSON Schemas; a call that does not fit is answered with 400 and every mistake in it.
    #[serde(default)]
    input: Input,
    /// The longest body, in bytes. By default the host's limit.
    #[schemars(range(min = 1))]
    body_bytes_max: Option<u32>,
    /// Addresses and networks that calls may come from. By default all.
    #[serde(default)]
    allow_from: Vec<String>,
    /// How long the caller waits for the run, in milliseconds. Then the answer is 504, and the run goes on.
    #[serde(default = "half_a_minute")]
    #[schemars(range(min = 1, max = 600_000))]
    timeout_ms: u32,
}

/// What callers must show.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Authentication {
    /// Nothing: everybody may call.
    None,
    /// A token in `Authorization: Bearer` (RFC 6750).
    Bearer(Bearer),
    /// User and password (HTTP Basic, RFC 7617).
    Basic(Basic),
    /// A signature over the body.
    Signature(Signature),
}

impl Trigger for ApiCall {
    const NAME: &str = "api-call";

    fn trigger_type() -> TriggerType {
        route::described(TriggerType::of::<Self>(Mode::Synchronous, &["http"]), "/authentication")
    }

    fn check(config: &Value) -> Vec<Problem> {
        let below = |place: &str, problem: Problem| Problem { pointer: format!("{place}{}", problem.pointer), ..problem };
        let signature = Signature::check(&config["authentication"]["signature"]).into_iter();
        let mut problems = access::check_addresses(config);
        problems.extend(signature.map(|problem| below("/authentication/signature", problem)));
        problems.extend(Input::check(&config["input"]).into_iter().map(|problem| below("/input", problem)));
        problems
    }

    fn subscribe(self, _: &TriggerCall) -> Result<Vec<Subscription>, Failure> {
        Ok(route::subscriptions(&self.methods, self.path, self.body_bytes_max))
    }

    fn fire(self, call: &TriggerCall, event: TriggerEvent) -> Result<Reaction, Failure> {
        let TriggerEvent::Http(request) = event else {
            return Err(Failure::unexpected_event("its HTTP request"));
        };
        let admitted: Admitted<()> = match admit_address(&self.allow_from, &request.remote_address)? {
            Err(refusal) => Ok(Err(refusal)),
            Ok(()) => match &self.authentication {
                Authentication::None => Ok(Ok(())),
                Authentication::Bearer(bearer) => bearer.admit(&request),
                Authentication::Basic(basic) => basic.admit(&request),
                Authentication::Signature(signature) => {
                    signature.admit(&request, call.now_ms()).map(|admitted| admitted.map(drop))
                }
            },
        };
        if let Err(refusal) = admitted? {
            return Ok(refusal.reaction());
        }
        let data = match content::read(&request, &[BodyKind::Json]) {
            Ok(data) => data,
            Err(refusal) => return Ok(refusal.reaction()),
        };
        let context = match Context::of(&request, &data, None, None) {
            Ok(context) => context,
            Err(refusal) => return Ok(refusal.reaction()),
        };
        match self.input.admit(&context)? {
            Ok(()) => Ok(Reaction::start(vec![Start::with(&context)?.wait(self.timeout_ms)])),
            Err(refusal) => Ok(refusal.reaction()),
        }
    }

    fn settle(self, _: &TriggerCall, run: FinishedRun) -> Result<Settlement, Failure> {
        settle::settle_call(&run)
    }
}
