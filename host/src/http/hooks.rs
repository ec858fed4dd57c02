//! `/hooks/…`: requests for workflows.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;

use super::error::Problem;
use super::request::{Reply, empty_reply, read_body, whole_reply};
use crate::plugin::contract::types::Pair;
use crate::plugin::exports::triggers::HttpEvent;
use crate::run::Response;
use crate::trigger::{Matched, Triggers};

/// Header fields that belong to one connection, or that the host sets itself.
const NOT_FOR_GUESTS: [HeaderName; 7] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
];

pub(super) async fn serve(
    triggers: &Arc<Triggers>,
    path: &str,
    request: Request<Incoming>,
    from: Option<IpAddr>,
) -> Result<Reply, Problem> {
    let Some(Matched { route, params }) = triggers.routes().find(path) else {
        return Err(Problem::not_found("no active workflow listens here"));
    };
    if !route.methods.contains(request.method()) {
        let allowed: Vec<&str> = route.methods.iter().map(http::Method::as_str).collect();
        return Err(Problem::method_not_allowed(&allowed.join(", ")));
    }
    let (parts, body) = request.into_parts();
    let body = read_body(body, route.body_bytes_max).await?;
    let decode =
        |(name, value): (String, String)| Pair { name, value: percent_decode_str(&value).decode_utf8_lossy().into_owned() };
    let event = HttpEvent {
        method: parts.method.as_str().to_owned(),
        path: path.to_owned(),
        params: params.into_iter().map(decode).collect(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts
            .headers
            .iter()
            .map(|(name, value)| Pair {
                name: name.as_str().to_owned(),
                value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
            })
            .collect(),
        body: body.into(),
        remote_address: from.map(|address| address.to_string()).unwrap_or_default(),
    };
    Ok(reply(triggers.fire(route.program(), event).await?))
}

fn reply(response: Response) -> Reply {
    let Ok(status) = StatusCode::from_u16(response.status) else { return empty_reply(StatusCode::INTERNAL_SERVER_ERROR) };
    let mut reply = whole_reply(status, if status == StatusCode::NO_CONTENT { Bytes::new() } else { response.body });
    for (name, value) in &response.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
            && !NOT_FOR_GUESTS.contains(&name)
        {
            reply.headers_mut().append(name, value);
        }
    }
    if may_run_scripts(&reply) {
        // A workflow's page shares its origin with the API: without this its scripts could act as whoever looks at it.
        let sandbox = HeaderValue::from_static("sandbox allow-forms allow-popups allow-scripts");
        reply.headers_mut().append(header::CONTENT_SECURITY_POLICY, sandbox);
    }
    reply.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

fn may_run_scripts(reply: &Reply) -> bool {
    let media_type = reply.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.to_ascii_lowercase();
    ["html", "xml", "svg"].iter().any(|kind| media_type.contains(kind))
}
