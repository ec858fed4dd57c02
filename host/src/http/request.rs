//! Requests read within their bounds, and responses.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use serde::Serialize;

use super::error::Problem;
use crate::limits::BODY_READ_MS_MAX;

/// A response with its whole body.
pub(super) type Reply = http::Response<Full<Bytes>>;

/// What every service here returns.
pub(super) type Served = Result<Reply, Infallible>;

/// The members of a query.
pub(super) struct Query(HashMap<String, String>);

impl Query {
    pub(super) fn of(uri: &http::Uri) -> Self {
        let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        Self(pairs.into_owned().collect())
    }

    /// A member, read from its text; an error names it.
    pub(super) fn get<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Problem>
    where
        T::Err: std::fmt::Display,
    {
        let parse = |text: &String| text.parse().map_err(|error| Problem::bad_request(format!("?{name}={text}: {error}")));
        self.0.get(name).map(parse).transpose()
    }

    /// The members that a handler does not know are mistakes of the caller.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Problem> {
        match self.0.keys().find(|name| !known.contains(&name.as_str())) {
            Some(unknown) if known.is_empty() => Err(Problem::bad_request(format!("?{unknown}: this URL takes no query"))),
            Some(unknown) => Err(Problem::bad_request(format!("?{unknown}: this URL takes {}", known.join(", ")))),
            None => Ok(()),
        }
    }
}

/// Reads a body, but neither more of it nor for longer than allowed.
pub(super) async fn read_body(body: Incoming, bytes_max: usize) -> Result<Bytes, Problem> {
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(Problem::too_large(bytes_max));
    }
    let read = Limited::new(body, bytes_max).collect();
    match tokio::time::timeout(Duration::from_millis(BODY_READ_MS_MAX), read).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::too_large(bytes_max)),
        Ok(Err(error)) => Err(Problem::bad_request(format!("the body could not be read: {error}"))),
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body-timeout", "the body did not come in time")),
    }
}

/// A JSON response.
pub(super) fn json_reply(status: StatusCode, body: &impl Serialize) -> Reply {
    let body = serde_json::to_vec(body).unwrap_or_default();
    let mut reply = http::Response::new(Full::new(Bytes::from(body)));
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

/// A response without a body.
pub(super) fn empty_reply(status: StatusCode) -> Reply {
    let mut reply = http::Response::new(Full::default());
    *reply.status_mut() = status;
    reply
}

/// The value of a header field, if it is text.
pub(super) fn header_text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}
