//! `webhook`: runs that begin with an HTTP request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use weft_sdk::capability::verify_secret;
use weft_sdk::prelude::*;
use weft_sdk::{FinishedRun, HttpEvent, HttpRoute};

use crate::body::{Headers, http_response};
use crate::signature::Signature;

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
    /// The longest body, in bytes. By default the host's limit.
    #[schemars(range(min = 1))]
    body_bytes_max: Option<u32>,
    /// User and password that the caller must give (HTTP Basic, RFC 7617).
    basic: Option<Basic>,
    /// The signature that the body must have.
    signature: Option<Signature>,
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

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

/// User and password.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Basic {
    /// The user's name.
    user: String,
    /// The password.
    #[schemars(extend("x-weft-secret" = true))]
    password: String,
}

/// An answer.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Reply {
    /// The status code.
    #[schemars(range(min = 200, max = 599))]
    status: u16,
    /// Header fields by name.
    headers: Headers,
    /// The body: a text as it is, anything else as JSON, `null` for none.
    body: Value,
}

impl Default for Reply {
    fn default() -> Self {
        Self { status: 200, headers: Headers::new(), body: Value::from("ok") }
    }
}

fn post() -> Vec<Method> {
    vec![Method::Post]
}

fn half_a_minute() -> u32 {
    30_000
}

/// What the run's steps see as `$context`.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Context<'a> {
    /// The request's method.
    method: &'a str,
    /// The path below `/hooks/`.
    path: &'a str,
    /// The segments of the path that vary, by name.
    params: serde_json::Map<String, Value>,
    /// What follows `?`, by name; a list where a name comes more than once.
    query: serde_json::Map<String, Value>,
    /// Header fields by lower-case name, without those that hold credentials.
    headers: serde_json::Map<String, Value>,
    /// The body.
    #[schemars(with = "Value")]
    data: &'a serde_json::value::RawValue,
}

/// Header fields that hold what must not be kept.
const CREDENTIALS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

impl Trigger for Webhook {
    const NAME: &str = "webhook";

    fn trigger_type() -> TriggerType {
        TriggerType::of::<Self>(Mode::ByConfig, &["http"]).category("http").context::<Context>()
    }

    fn subscribe(self, _: &TriggerCall) -> Result<Vec<Subscription>, Failure> {
        let methods = self.methods.iter().map(|method| method.name().into()).collect();
        Ok(vec![Subscription::Http(HttpRoute { methods, path: self.path, body_bytes_max: self.body_bytes_max })])
    }

    fn fire(self, _: &TriggerCall, event: TriggerEvent) -> Result<Reaction, Failure> {
        let TriggerEvent::Http(request) = event else {
            return Err(Failure::new("unexpected-event", "a webhook knows HTTP requests only"));
        };
        if let Some(basic) = &self.basic
            && let Err(refusal) = basic.verify(&request)?
        {
            return Ok(Reaction::nothing("the caller gave no valid user and password").respond(refusal));
        }
        if let Some(signature) = &self.signature
            && let Err(reason) = signature.verify(&request)?
        {
            return Ok(Reaction::nothing(reason).respond(problem_response(401, "invalid-signature", "Unauthorized", reason)));
        }
        let data = match read_body(&request) {
            Ok(data) => data,
            Err(refusal) => return Ok(Reaction::nothing("the body cannot be read").respond(refusal)),
        };
        let start = Start::with(&Context::of(&request, &data))?;
        Ok(match self.mode {
            Wait::Sync => Reaction::start(vec![start.wait(self.timeout_ms)]),
            Wait::Async => {
                let reply = http_response(self.response.status, &self.response.headers, &self.response.body)?;
                Reaction::start(vec![start]).respond(reply)
            }
        })
    }

    fn settle(self, _: &TriggerCall, run: FinishedRun) -> Result<Settlement, Failure> {
        let response = match run.output {
            Ok(output) => http_response(200, &Headers::new(), &serde_json::from_str(&output).unwrap_or_default())?,
            Err(failure) if failure.code == "still-running" => {
                problem_response(504, "timed-out", "Gateway Timeout", &format!("run {} did not end in time; it goes on", run.run))
            }
            Err(failure) => problem_response(
                500,
                "run-failed",
                "Internal Server Error",
                &format!("run {} ended with status {} ({})", run.run, status_name(failure.status), failure.code),
            ),
        };
        Ok(Settlement { proceed: true, response: Some(response) })
    }
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

impl Basic {
    /// The inner error is what a caller gets who is not let in.
    fn verify(&self, request: &HttpEvent) -> Result<Result<(), HttpResponse>, Failure> {
        let given = request.headers.iter().find(|header| header.name == "authorization").and_then(|header| {
            let (scheme, encoded) = header.value.split_once(' ')?;
            let decoded = STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
            let decoded = String::from_utf8(decoded).ok()?;
            decoded.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
        });
        let refuse = |detail| {
            let refusal = problem_response(401, "unauthorized", "Unauthorized", detail);
            Ok(Err(refusal.header("www-authenticate", "Basic realm=\"weft\", charset=\"UTF-8\"")))
        };
        let Some((user, password)) = given else {
            return refuse("this workflow wants a user and a password (HTTP Basic)");
        };
        // The password is compared even for a wrong user, so that time does not tell which of the two was wrong.
        match verify_secret(&self.password, &password) {
            Ok(true) if user == self.user => Ok(Ok(())),
            Ok(_) => refuse("the user or the password is wrong"),
            Err(fault) if fault.code == "over-limit" => {
                let refusal = problem_response(429, "too-many-guesses", "Too Many Requests", &fault.message);
                Ok(Err(refusal.header("retry-after", "60")))
            }
            Err(fault) => Err(fault.into()),
        }
    }
}

impl<'a> Context<'a> {
    fn of(request: &'a HttpEvent, data: &'a serde_json::value::RawValue) -> Self {
        let text = |pair: &weft_sdk::Pair| (pair.name.clone(), Value::from(pair.value.as_str()));
        let mut query = serde_json::Map::new();
        for (name, value) in form_urlencoded::parse(request.query.as_bytes()) {
            add(&mut query, &name, Value::from(value.as_ref()));
        }
        let mut headers = serde_json::Map::new();
        for header in request.headers.iter().filter(|header| !CREDENTIALS.contains(&header.name.as_str())) {
            add(&mut headers, &header.name, Value::from(header.value.as_str()));
        }
        let params = request.params.iter().map(text).collect();
        Self { method: &request.method, path: &request.path, params, query, headers, data }
    }
}

/// A second value under one name makes a list of both.
fn add(members: &mut serde_json::Map<String, Value>, name: &str, value: Value) {
    match members.get_mut(name) {
        None => {
            members.insert(name.to_owned(), value);
        }
        Some(Value::Array(items)) => items.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
    }
}

/// The body as JSON; `null` where there is none.
fn read_body(request: &HttpEvent) -> Result<Box<serde_json::value::RawValue>, HttpResponse> {
    if request.body.is_empty() {
        return Ok(serde_json::value::RawValue::NULL.to_owned());
    }
    let media_type = request.headers.iter().find(|header| header.name == "content-type").map_or("", |header| &header.value);
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence != "application/json" && !(essence.starts_with("application/") && essence.ends_with("+json")) {
        let detail = format!("this workflow reads application/json, not `{essence}`");
        return Err(problem_response(415, "unsupported-media-type", "Unsupported Media Type", &detail));
    }
    let invalid = |detail: &str| problem_response(400, "invalid-json", "Bad Request", detail);
    let body: Box<serde_json::value::RawValue> =
        serde_json::from_slice(&request.body).map_err(|error| invalid(&format!("the body is not JSON: {error}")))?;
    match levels(body.get()) {
        0..=LEVELS_MAX => Ok(body),
        levels => Err(invalid(&format!("the body nests {levels} levels deep; at most {LEVELS_MAX} are read"))),
    }
}

/// Levels of nesting in a body. Readers of JSON commonly stop at 128; steps put the body into documents of their own.
const LEVELS_MAX: usize = 100;

/// How deep the arrays and objects of a valid JSON document nest.
fn levels(document: &str) -> usize {
    let (mut level, mut deepest, mut is_string, mut is_escaped) = (0_usize, 0, false, false);
    for byte in document.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_string => is_escaped = true,
            b'"' => is_string = !is_string,
            b'[' | b'{' if !is_string => {
                level += 1;
                deepest = deepest.max(level);
            }
            b']' | b'}' if !is_string => level -= 1,
            _ => {}
        }
    }
    deepest
}

fn status_name(status: Status) -> &'static str {
    match status {
        Status::Succeeded => "succeeded",
        Status::Failed => "failed",
        Status::Error => "error",
        Status::Aborted => "aborted",
        Status::Canceled => "canceled",
        Status::Rejected => "rejected",
    }
}

#[cfg(test)]
mod tests {
    use super::levels;

    #[test]
    fn levels_are_those_outside_of_strings() {
        let all = ["1", "[]", r#"{"a": [[], {}], "b": []}"#, r#"["[[[", "\"[", "\\", [1]]"#];
        assert_eq!(all.map(levels), [0, 1, 3, 2]);
    }
}
