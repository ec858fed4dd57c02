//! `/hooks/…`: requests for workflows.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::request::Parts;
use http::{HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;

use super::error::Problem;
use super::request::{Reply, empty_reply, read_body, whole_reply};
use crate::admin::Admin;
use crate::plugin::contract::types::Pair;
use crate::plugin::exports::triggers::HttpEvent;
use crate::run::Response;
use crate::trigger::{Became, FireError, Fired, LastRequests, Matched, Received, Triggers};
use crate::workflow::Key;

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

/// Serves a request, and keeps what came and what became of it for whoever asks.
pub(super) async fn serve(admin: &Admin, path: &str, request: Request<Incoming>, from: Option<IpAddr>) -> Result<Reply, Problem> {
    let (began, triggers) = (Instant::now(), admin.triggers());
    let from = from.map(|address| address.to_string()).unwrap_or_default();
    let (parts, body) = request.into_parts();
    let found = triggers.routes().find(path);
    let workflow = match &found {
        Some(found) => Some(found.route.workflow().clone()),
        // It would listen here by default, if it were active.
        None => path.parse().ok().and_then(|key| admin.store().workflow(&key).ok()?).map(|head| head.key),
    };
    let is_hidden = |name: &str| found.as_ref().is_some_and(|found| found.route.hides(name));
    let now_ms = triggers.executor().clock().now_ms();
    let received = Received::of(now_ms, &parts.method, &parts.uri, &parts.headers, is_hidden, &from);
    let mut kept = Kept { requests: triggers.requests(), workflow, received, began };
    let answered = match found {
        Some(found) => answer(triggers, found, path, parts, body, from, &mut kept.received).await,
        None => Err(Problem::not_found("no active workflow listens here")),
    };
    if let Err(problem) = &answered {
        let became = &mut kept.received.became;
        became.status = Some(problem.status().as_u16());
        became.code = Some(problem.code().into());
        became.note.get_or_insert_with(|| problem.detail().into());
    }
    answered
}

/// A request that is kept when it has been answered, or when its sender has gone away before.
struct Kept<'a> {
    requests: &'a LastRequests,
    /// None: it is nobody's.
    workflow: Option<Key>,
    received: Received,
    began: Instant,
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        let Some(workflow) = &self.workflow else { return };
        let mut received = std::mem::take(&mut self.received);
        if received.became.status.is_none() {
            received.became.note = Some("its sender went away before there was an answer".into());
        }
        received.took_us = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.requests.keep(workflow, received);
    }
}

async fn answer(
    triggers: &Arc<Triggers>,
    found: Matched,
    path: &str,
    parts: Parts,
    body: Incoming,
    from: String,
    received: &mut Received,
) -> Result<Reply, Problem> {
    let Matched { route, params } = found;
    if !route.methods.contains(&parts.method) {
        let allowed: Vec<&str> = route.methods.iter().map(http::Method::as_str).collect();
        return Err(Problem::method_not_allowed(&allowed.join(", ")));
    }
    let body = read_body(body, route.body_bytes_max).await?;
    received.with_body(&body);
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
        remote_address: from,
    };
    match triggers.fire(route.program(), event).await {
        Ok(Fired { response, note, run }) => {
            received.became = Became { status: Some(response.status), code: None, note: note.map(Into::into), run };
            Ok(reply(response))
        }
        Err(error) => {
            if let FireError::HeldUp(run, _) = &error {
                received.became.run = Some(*run);
            }
            received.became.note = Some(error.to_string().into());
            Err(error.into())
        }
    }
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
