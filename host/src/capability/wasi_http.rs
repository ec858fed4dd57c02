//! `wasi:http`: requests to servers outside from code that was not written for Weft. Each goes the way of one of `http`, with the same
//! grants, secrets, intents and counts; none decides anything here.
//!
//! Unlike those of `http`, requests may go on side by side while the guest computes. They end with the call.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::future::{Abortable, Aborted};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use wasmtime_wasi_http::{Error, RequestOptions, Result, WasiBody, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

use super::outbound::with_key;
use super::{charge, services};
use crate::limits::{CALL_BYTES_MAX, WASI_HTTP_BYTES_MAX, WASI_HTTP_CHUNK_BYTES_MAX};
use crate::plugin::{CallContext, Guest, Sender, Services, SideRequests};
use crate::run::{Fault, Request};

type Exchange = Result<(http::Response<WasiBody>, Box<dyn Future<Output = Result<()>> + Send>)>;

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let (hooks, table, ctx) = self.wasi_http();
        WasiHttpCtxView { hooks, table, ctx }
    }
}

impl WasiHttpHooks for CallContext {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<()>> + Send>,
    ) -> Box<dyn Future<Output = Exchange> + Send> {
        self.used.host_calls += 1;
        let side = self.side_requests.get_or_insert_default().clone();
        let begun = services(self).and_then(|services| {
            charge(&mut self.used.http_calls, self.http_calls_max, "wasi:http")?;
            // It follows redirects itself, if it does.
            Ok(Outgoing {
                services,
                sender: self.sender(0),
                key: self.idempotency_key.clone(),
                name: self.used.http_calls.to_string(),
                side: side.clone(),
            })
        });
        let handle = side.begin();
        let sent = async move {
            let sent = match begun {
                Ok(outgoing) => outgoing.send(request, options).await,
                Err(fault) => Err(Fault { code: fault.code.into(), message: fault.message.into(), transient: fault.transient }),
            };
            sent.map_err(|fault| {
                let error = error_of(&fault);
                side.failed(fault);
                error
            })
        };
        Box::new(async move {
            match Abortable::new(sent, handle).await {
                Ok(Ok(response)) => Ok((response, Box::new(async { Ok(()) }) as _)),
                Ok(Err(error)) => Err(error),
                Err(Aborted) => Err(Error::ConnectionTerminated),
            }
        })
    }

    /// The host sets it itself.
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        WASI_HTTP_CHUNK_BYTES_MAX
    }
}

/// A request that is under way.
struct Outgoing {
    services: Arc<dyn Services>,
    sender: Sender,
    key: Box<str>,
    name: String,
    side: Arc<SideRequests>,
}

impl Outgoing {
    async fn send(
        self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Result<http::Response<WasiBody>, Fault> {
        let _turn = self.side.turn().await;
        let (parts, body) = request.into_parts();
        let body = Limited::new(body, CALL_BYTES_MAX).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Fault::new("too-large", format!("the request has more than {CALL_BYTES_MAX} bytes"))
            } else {
                Fault::new("invalid", format!("the request's body broke off: {error}"))
            }
        })?;
        let mut headers = Vec::new();
        for (name, value) in parts.headers.iter().filter(|(name, _)| **name != http::header::CONTENT_LENGTH) {
            let value = value.to_str().map_err(|_| Fault::new("invalid", format!("the header `{name}` is not text")))?;
            headers.push((name.as_str().into(), value.into()));
        }
        let limit = options.and_then(|options| options.first_byte_timeout);
        let request = Request {
            method: parts.method.as_str().into(),
            url: parts.uri.to_string().into(),
            headers,
            body: body.to_bytes(),
            timeout_ms: limit.map(|limit| u32::try_from(limit.as_millis()).unwrap_or(u32::MAX)),
            connection: None,
            response_bytes_max: None,
        };
        let request = with_key(request, &self.key, &self.name);
        self.side.bytes_out.fetch_add(request.bytes(), Ordering::Relaxed);
        let response = self.services.send(self.sender, request).await?;
        let received = self.side.bytes_in.fetch_add(response.bytes(), Ordering::Relaxed) + response.bytes();
        if received > WASI_HTTP_BYTES_MAX {
            return Err(Fault::new("over-limit", format!("a call receives at most {WASI_HTTP_BYTES_MAX} bytes by `wasi:http`")));
        }
        let mut answered = http::Response::builder().status(response.status);
        for (name, value) in &response.headers {
            answered = answered.header(&**name, &**value);
        }
        let body = Full::<Bytes>::new(response.body).map_err(|never| match never {}).boxed_unsync();
        answered.body(body).map_err(|error| Fault::passing("unavailable", format!("the response is malformed: {error}")))
    }
}

/// A fault in the words of `wasi:http`. What they leave out is in the step's log.
fn error_of(fault: &Fault) -> Error {
    match &*fault.code {
        "denied" => Error::HttpRequestDenied,
        "over-limit" => Error::ConnectionLimitReached,
        "timed-out" => Error::HttpResponseTimeout,
        "refused" => Error::ConnectionRefused,
        "unavailable" => Error::DestinationUnavailable,
        "dns" => Error::DnsError { rcode: None, info_code: None },
        "tls" => Error::TlsCertificateError,
        _ => Error::InternalError(Some(fault.message.to_string())),
    }
}
