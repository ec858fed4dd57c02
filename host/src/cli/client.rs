//! Requests to the API of a running host.

use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Which host to talk to.
#[derive(Args)]
pub(super) struct Target {
    /// Where the host is.
    #[arg(long, global = true, env = "WEFT_URL", default_value = "http://127.0.0.1:8420", value_name = "URL")]
    url: String,
    /// What the host knows you by. Without it the file `admin-token` of the data folder in WEFT_DATA is read.
    #[arg(long, global = true, env = "WEFT_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
}

/// Why a request brought nothing.
pub(super) enum ClientError {
    /// There is no host, or no answer.
    Unreachable(String),
    /// The host said what is wrong.
    Problem {
        /// The HTTP status.
        status: u16,
        /// The problem document's words, with every place.
        text: String,
    },
    /// What was given on the command line cannot be used.
    Usage(String),
}

/// A way to a host.
pub(super) struct Client {
    url: String,
    /// Or why there is none.
    token: Result<String, String>,
    http: hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// Whether JSON is to be printed.
    pub(super) json: bool,
}

impl Client {
    pub(super) fn new(target: &Target, json: bool) -> Result<Self, ClientError> {
        let url = target.url.trim_end_matches('/').to_owned();
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(ClientError::Usage(format!("`{url}` is no URL of a host: write http://… or https://…")));
        }
        let https = hyper_rustls::HttpsConnectorBuilder::new()
            .with_native_roots()
            .map_err(|error| ClientError::Usage(format!("the system's certificates cannot be read: {error}")))?
            .https_or_http()
            .enable_http1()
            .build();
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(https);
        Ok(Self { url, token: target.token.clone().map_or_else(token_of_data_folder, Ok), http, json })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.send(Method::GET, path, Bytes::new()).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.send(Method::POST, path, body.to_string().into()).await
    }

    /// Sends a request and reads the answer; `null` where there is none.
    pub(super) async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Value, ClientError> {
        let body = self.whole(method, path, body).await?;
        Ok(if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap_or_default() })
    }

    /// What a route answers, as it is.
    pub(super) async fn bytes(&self, path: &str) -> Result<Bytes, ClientError> {
        self.whole(Method::GET, path, Bytes::new()).await
    }

    async fn whole(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, ClientError> {
        let response = self.ask(method, path, body).await?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| ClientError::Unreachable(error.to_string()))?.to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        Err(self.problem(status, &body))
    }

    /// What a host says is wrong.
    fn problem(&self, status: StatusCode, body: &[u8]) -> ClientError {
        let mut text = words_of(&serde_json::from_slice(body).unwrap_or_default(), status);
        if let (StatusCode::UNAUTHORIZED, Err(why)) = (status, &self.token) {
            text.push_str(&format!(" ({why})"));
        }
        ClientError::Problem { status: status.as_u16(), text }
    }

    /// Follows server-sent events until the host ends them: each one's name and data.
    pub(super) async fn follow(&self, path: &str, mut each: impl FnMut(&str, &Value)) -> Result<(), ClientError> {
        let response = self.ask(Method::GET, path, Bytes::new()).await?;
        let status = response.status();
        let mut body = response.into_body();
        if !status.is_success() {
            let body = body.collect().await.map_err(|error| ClientError::Unreachable(error.to_string()))?.to_bytes();
            return Err(self.problem(status, &body));
        }
        let (mut pending, mut event) = (Vec::new(), String::new());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| ClientError::Unreachable(format!("the host broke off: {error}")))?;
            pending.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = pending.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                match line.trim_end().split_once(": ") {
                    Some(("event", name)) => name.clone_into(&mut event),
                    Some(("data", data)) => each(&event, &serde_json::from_str(data).unwrap_or_default()),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<http::Response<impl AnswerBody>, ClientError> {
        let mut request = Request::builder().method(method).uri(format!("{}/api/v1{path}", self.url));
        request = request.header(header::USER_AGENT, concat!("weft/", env!("CARGO_PKG_VERSION")));
        if let Ok(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::new(body)).map_err(|error| ClientError::Usage(error.to_string()))?;
        self.http.request(request).await.map_err(|error| {
            let why = format!("{error}{}", causes(&error));
            let what = "start one with `weft serve`, or say where it is with --url";
            ClientError::Unreachable(format!("no host answers at {} ({why}); {what}", self.url))
        })
    }
}

/// What is behind an error, each cause after a colon.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = String::new();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}

/// A text as a segment of a URL.
pub(super) fn segment(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
        .to_string()
        .replace("%2D", "-")
        .replace("%5F", "_")
}

/// The body of an answer while it arrives.
trait AnswerBody: http_body_util::BodyExt<Data = Bytes, Error: std::fmt::Display> + Unpin {}
impl<B: http_body_util::BodyExt<Data = Bytes, Error: std::fmt::Display> + Unpin> AnswerBody for B {}

/// A problem document in words.
fn words_of(document: &Value, status: StatusCode) -> String {
    let mut text = document["detail"].as_str().map_or_else(|| format!("the host answered {status}"), ToOwned::to_owned);
    for error in document["errors"].as_array().into_iter().flatten() {
        let pointer = error["pointer"].as_str().filter(|pointer| !pointer.is_empty()).unwrap_or("/");
        text.push_str(&format!("\n  {pointer}: {}", error["message"].as_str().unwrap_or_default()));
    }
    text
}

/// The token of the host whose data folder is in WEFT_DATA, or why there is none.
fn token_of_data_folder() -> Result<String, String> {
    let data = std::env::var_os("WEFT_DATA").ok_or("neither WEFT_TOKEN nor WEFT_DATA, the host's data folder, is set")?;
    let file = PathBuf::from(data).join("admin-token");
    let token = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(token.trim().to_owned())
}
