//! Requests read within their bounds, and responses.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::channel::{Channel, Sender};
use http_body_util::{BodyExt as _, Either, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use serde::Serialize;

use super::error::Problem;
use crate::limits::BODY_READ_MS_MAX;

/// A response, whole or as a stream.
pub(super) type Reply = http::Response<Body>;

/// Its body.
pub(super) type Body = Either<Full<Bytes>, Channel<Bytes, Infallible>>;

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
    let mut reply = whole_reply(status, body.into());
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

/// A response without a body.
pub(super) fn empty_reply(status: StatusCode) -> Reply {
    whole_reply(status, Bytes::new())
}

/// A response with these bytes as its body.
pub(super) fn whole_reply(status: StatusCode, body: Bytes) -> Reply {
    let mut reply = http::Response::new(Either::Left(Full::new(body)));
    *reply.status_mut() = status;
    reply
}

/// A response whose body is written bit by bit.
pub(super) fn stream_reply(media_type: &'static str) -> (Sender<Bytes, Infallible>, Reply) {
    let (sender, body) = Channel::new(16);
    let mut reply = http::Response::new(Either::Right(body));
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    (sender, reply)
}

/// The value of a header field, if it is text.
pub(super) fn header_text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}
