//! `request`: sends an HTTP request and waits for the response.

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::value::{RawValue, to_raw_value};
use weft_sdk::capability::files;
use weft_sdk::prelude::*;
use weft_sdk::{Fault, HttpRequest, Pair, Responded};

use crate::body::Fields;
use crate::content::{LEVELS_MAX, add, levels};
use crate::outgoing::{Body, OCTETS};

/// Sends an HTTP request to a server and waits for its response. Redirects are followed, five at most.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The method.
    #[serde(default = "post")]
    method: Method,
    /// Where to: an `http` or `https` URL; with a connection a path below its base URL.
    url: String,
    /// What is added to the URL behind `?`.
    #[serde(default)]
    query: Fields,
    /// Header fields. A `content-type` goes before the body's own, except for `multipart`.
    #[serde(default)]
    headers: Fields,
    /// The body. `GET` and `HEAD` have none.
    body: Option<Body>,
    /// How long to wait for the response, in milliseconds.
    #[serde(default = "five_seconds")]
    #[schemars(range(min = 1, max = 900_000))]
    timeout_ms: u32,
    /// The longest response, in bytes; a longer one fails the step. By default 1 MiB.
    #[schemars(range(min = 1, max = 8_388_608))]
    response_bytes_max: Option<u32>,
    /// The stored connection whose base URL and credentials are used.
    #[schemars(extend("x-weft-connection" = "http"))]
    connection: Option<String>,
    /// Keep what the response holds as a file of the run, under this name; `data` is then the file: `{id, name, media_type, size}`. Whoever
    /// looks at the run can download it, and later steps can send it on.
    save_as: Option<String>,
    /// Whether the result is only what the response holds, without status and header fields.
    #[serde(default)]
    only_data: bool,
    /// Whether the step succeeds although the request failed; nothing is then tried again, and its result says what was wrong. For both
    /// tries and going on see the step's `retry` and `on_failure`.
    #[serde(default)]
    ignore_failure: bool,
}

#[derive(Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

fn post() -> Method {
    Method::Post
}

fn five_seconds() -> u32 {
    5_000
}

/// What came back.
#[derive(Serialize, JsonSchema)]
struct Reply {
    /// The status code.
    status: u16,
    /// What the status code means.
    status_text: &'static str,
    /// Header fields by lower-case name; a list where one came more than once.
    headers: serde_json::Map<String, Value>,
    /// The body: JSON as its value, a text as it is, anything else in Base64, `null` for none; a file for `save_as`.
    #[schemars(with = "Value")]
    data: Box<RawValue>,
}

/// What a request came to that failed.
#[derive(Serialize)]
struct Trouble<'a> {
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
}

impl Node for Request {
    const NAME: &str = "request";

    fn node_type() -> NodeType {
        NodeType::of::<Self>()
            .category("http")
            .result::<Reply>()
            .waits(&["request"])
            .fails("http-status", "The server answered with another status than 2xx: its answer is in the step's output. The step's `retry` tries again when it is busy (429, 502, 503, 504).", "/url")
            .fails("timed-out", "No response came in time: status `aborted`. A longer `timeout_ms` or the step's `retry` may help.", "/timeout_ms")
            .fails("dns", "The server's name could not be resolved: is it right?", "/url")
            .fails("refused", "The server takes no connections: does it run, and is the port right?", "/url")
            .fails("tls", "The server's certificate is not one that is trusted, or the connection could not be secured; the message says why.", "/url")
            .fails("unavailable", "The connection broke off: the step's `retry` tries again.", "/url")
            .fails("denied", "No grant lets the request go there (`weft plugin grant weft/http --http HOST`), a secret or the connection may not be used there, or the address is private; the message says which.", "/url")
            .fails("not-found", "There is no connection of this name (`weft connection set`), or a secret (`weft secret set`) or a file that the config names is gone; the message says which.", "")
            .fails("invalid", "The URL is none, a header field is none, or `save_as` is no name of a file; the message says which.", "/url")
            .fails("too-large", "The response is longer than `response_bytes_max` (1 MiB where that is left out): allow more, 8 MiB at most, or ask for less.", "/response_bytes_max")
            .fails("over-limit", "The files that the step sends or keeps are too many or too long in all.", "/body")
            .fails("invalid-config", "A variable gave what cannot be used; the message names the place.", "")
    }

    fn check(config: &Value) -> Vec<Problem> {
        let mut problems = Vec::new();
        let method = config["method"].as_str().unwrap_or("POST");
        if ["GET", "HEAD"].contains(&method) && !config["body"].is_null() {
            problems.push(Problem::new("/body", format!("a {method} request has no body")));
        }
        let has_connection = config["connection"].as_str().is_some();
        let Some(url) = config["url"].as_str() else { return problems };
        let lower = url.to_ascii_lowercase();
        let is_absolute = ["http://", "https://"].iter().any(|scheme| lower.starts_with(scheme));
        if has_connection && is_absolute {
            problems.push(Problem::new("/url", "with a connection this is a path below its base URL, such as `contacts/17`"));
        } else if !has_connection && !is_absolute && !url.starts_with("{{") {
            problems.push(Problem::new(
                "/url",
                "write an absolute URL that begins with `http://` or `https://`, or name a connection",
            ));
        }
        problems
    }

    fn execute(self, call: &Call) -> Answer {
        Pending::with(())?.wait_request("response", self.request(&call.idempotency_key)?).answer()
    }

    fn resume(self, call: &Call, _: State, event: Event) -> Answer {
        let Event::Responded(Responded { response, .. }) = event else {
            return Err(Failure::unexpected_event("its response"));
        };
        let failure = match response {
            Err(fault) => failed(fault),
            Ok(response) if (200..300).contains(&response.status_code) => return self.result(&response),
            Ok(response) => refused(&response, call.now_ms())?,
        };
        let failure = self.give_up(failure)?;
        done(serde_json::from_str::<Box<RawValue>>(failure.output.as_deref().unwrap_or("null")).ok())
    }
}

impl Request {
    fn request(&self, key: &str) -> Result<HttpRequest, Failure> {
        let query = self.query.pairs("/query")?;
        let url = with_query(&self.url, &query);
        let mut headers = self.headers.headers()?;
        let mut request = HttpRequest::new(self.method.name(), &url);
        if let Some(body) = self.body.as_ref().filter(|_| ![Method::Get, Method::Head].contains(&self.method)) {
            let (media_type, content) = body.encode(key)?;
            if matches!(body, Body::Multipart(_)) {
                headers.retain(|header| header.name != "content-type");
            }
            if !headers.iter().any(|header| header.name == "content-type") {
                headers.push(Pair::new("content-type", &media_type));
            }
            request.body = content;
        }
        let more = self.response_bytes_max.map(|max| json!({ "response-bytes-max": max }).to_string());
        Ok(HttpRequest { headers, timeout_ms: Some(self.timeout_ms), connection: self.connection.clone(), more, ..request })
    }

    fn result(&self, response: &HttpResponse) -> Answer {
        let data = match &self.save_as {
            Some(name) => saved(name, response)?,
            None => data_of(response)?,
        };
        if self.only_data {
            return done(data);
        }
        let mut headers = serde_json::Map::new();
        for header in &response.headers {
            add(&mut headers, &header.name, Value::from(header.value.as_str()));
        }
        let status = response.status_code;
        done(Reply { status, status_text: status_text(status), headers, data })
    }

    /// The failure itself, unless the step goes on after it.
    fn give_up(&self, failure: Failure) -> Result<Failure, Failure> {
        if self.ignore_failure { Ok(failure) } else { Err(failure) }
    }
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        }
    }
}

fn with_query(url: &str, query: &[Pair]) -> String {
    let (url, _) = url.split_once('#').unwrap_or((url, ""));
    if query.is_empty() {
        return url.to_owned();
    }
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    pairs.extend_pairs(query.iter().map(|pair| (&pair.name, &pair.value)));
    let between = match url.split_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some(_) => "&",
    };
    format!("{url}{between}{}", pairs.finish())
}

/// A file of the run that holds what the response holds.
fn saved(name: &str, response: &HttpResponse) -> Result<Box<RawValue>, Failure> {
    let media_type = match media_type_of(response) {
        "" => OCTETS,
        media_type => media_type,
    };
    let file = files::create(name, media_type, &response.body)?;
    let shown = json!({ "id": file.id, "name": file.name, "media_type": file.media_type, "size": file.size });
    to_raw_value(&shown).map_err(invalid_json)
}

fn media_type_of(response: &HttpResponse) -> &str {
    response.headers.iter().find(|header| header.name == "content-type").map_or("", |header| &header.value)
}

fn invalid_json(error: serde_json::Error) -> Failure {
    Failure::new("invalid-json", error.to_string())
}

/// What the response holds.
fn data_of(response: &HttpResponse) -> Result<Box<RawValue>, Failure> {
    if response.body.is_empty() {
        return Ok(RawValue::NULL.to_owned());
    }
    let media_type = media_type_of(response);
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = essence == "application/json" || essence.ends_with("+json");
    if is_json
        && let Ok(value) = serde_json::from_slice::<Box<RawValue>>(&response.body)
        && levels(value.get()) <= LEVELS_MAX
    {
        return Ok(value);
    }
    let is_text = is_json
        || essence.is_empty()
        || essence.starts_with("text/")
        || essence.ends_with("xml")
        || ["application/x-www-form-urlencoded", "application/javascript", "application/yaml"].contains(&essence.as_str());
    match std::str::from_utf8(&response.body) {
        Ok(text) if is_text => to_raw_value(text).map_err(invalid_json),
        _ => to_raw_value(&STANDARD.encode(&response.body)).map_err(invalid_json),
    }
}

fn status_text(status: u16) -> &'static str {
    StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default()
}

/// An answer with another status than 2xx. Those of servers that are busy are tried again, as the step's `retry` says.
fn refused(response: &HttpResponse, now_ms: u64) -> Result<Failure, Failure> {
    let status = response.status_code;
    let message = format!("the server answered {status} {}", status_text(status)).trim_end().to_owned();
    let trouble = Trouble { message: &message, code: None, status: Some(status), data: Some(data_of(response)?) };
    let failure = Failure::new("http-status", message.as_str()).status(Status::Failed).output(&trouble);
    if ![429, 502, 503, 504].contains(&status) {
        return Ok(failure);
    }
    let retry_after = response.headers.iter().find(|header| header.name == "retry-after");
    Ok(Failure { retry_after_ms: retry_after.and_then(|header| retry_after_ms(&header.value, now_ms)), ..failure.transient() })
}

/// `Retry-After` (RFC 9110): seconds, or a date.
fn retry_after_ms(text: &str, now_ms: u64) -> Option<u32> {
    if let Ok(seconds) = text.trim().parse::<u32>() {
        return Some(seconds.saturating_mul(1000));
    }
    let at = httpdate::parse_http_date(text.trim()).ok()?;
    let wait = at.duration_since(UNIX_EPOCH + Duration::from_millis(now_ms)).unwrap_or_default();
    u32::try_from(wait.as_millis()).ok()
}

/// Why there is no response.
fn failed(fault: Fault) -> Failure {
    let status = match fault.code.as_str() {
        "timed-out" => Status::Aborted,
        "dns" | "refused" | "tls" | "unavailable" | "too-large" => Status::Failed,
        _ => Status::Error,
    };
    let trouble = Trouble { message: &fault.message, code: Some(&fault.code), status: None, data: None };
    let output = serde_json::to_string(&trouble).ok();
    Failure { status, output, ..Failure::from(fault.clone()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_added_to_what_is_there() {
        let query = [Pair::new("a", "x y"), Pair::new("b", "&")];
        for (url, expected) in [
            ("http://h/p", "http://h/p?a=x+y&b=%26"),
            ("http://h/p?", "http://h/p?a=x+y&b=%26"),
            ("http://h/p?c=1#f", "http://h/p?c=1&a=x+y&b=%26"),
        ] {
            assert_eq!(with_query(url, &query), expected);
        }
        assert_eq!(with_query("p#f", &[]), "p");
    }

    #[test]
    fn data_is_what_the_media_type_says() {
        let data = |media_type: &str, body: &[u8]| {
            let response = HttpResponse::new(200, media_type, body);
            data_of(&response).unwrap_or_else(|failure| panic!("{}", failure.message)).get().to_owned()
        };
        assert_eq!(data("application/json", br#"{"n": 12345678901234567890}"#), r#"{"n": 12345678901234567890}"#);
        assert_eq!(data("application/problem+json", b"{"), r#""{""#);
        assert_eq!(data("text/html", b"<a>"), r#""<a>""#);
        assert_eq!(data("text/html", b"\xff"), r#""/w==""#);
        assert_eq!(data("image/png", b"ab"), r#""YWI=""#);
        assert_eq!(data("image/png", b""), "null");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let at = |text| retry_after_ms(text, 784_111_770_000);
        assert_eq!(at(" 2 "), Some(2_000));
        assert_eq!(at("Sun, 06 Nov 1994 08:49:37 GMT"), Some(7_000));
        assert_eq!(at("Sun, 06 Nov 1994 08:49:20 GMT"), Some(0));
        assert_eq!(at("soon"), None);
    }
}
