//! Requests to servers outside: the one place where it is decided whether one may be sent, where, and with which secrets.
//!
//! A request is sent if a grant names its host. The host's name is resolved once, and a connection is made only to an address that was
//! checked: no private one, unless the grant names the address itself, or a connection is used that its operator lets lead there. A
//! redirect is checked like a first request, and gets nothing of a connection. Proxies of the environment are not used.

mod address;
mod connection;
mod secrets;
mod target;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::GaiResolver;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::client::WantsClientCert;
use rustls::{ClientConfig, ConfigBuilder};
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use tower_service::Service as _;

use super::connections::Connections;
use crate::limits::{HTTP_CONNECT_MS_MAX, HTTP_MS_DEFAULT, HTTP_MS_MAX};
use crate::plugin::Sender;
use crate::run::{Fault, Request, Response};
pub use address::is_public;
use address::{NotPublic, Resolve, Resolver, Unresolved};
pub(super) use connection::Connection;
use target::Target;

/// Sends requests to servers outside, within what is granted.
pub trait Outbound: Send + Sync {
    /// Whether a request may be sent. Costs nothing, and reaches nobody.
    fn permit(&self, sender: &Sender, request: &Request) -> Result<(), Fault>;

    /// Sends a request and reads the response.
    fn send<'a>(&'a self, sender: &'a Sender, request: Request) -> BoxFuture<'a, Result<Response, Fault>>;
}

/// The header by which a server knows a request again (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A request with the key by which the server outside knows it again: the same each time that the call is made, and another for each
/// `name` within the call. A key that the guest gave stays.
pub fn with_key(mut request: Request, call_key: &str, name: &str) -> Request {
    if !request.headers.iter().any(|(header, _)| header.eq_ignore_ascii_case(IDEMPOTENCY_KEY)) {
        let key = Sha256::new().chain_update(call_key).chain_update([0]).chain_update(name).finalize();
        request.headers.push((IDEMPOTENCY_KEY.into(), hex::encode(&key[..16]).into()));
    }
    request
}

/// Sends requests for real.
pub struct HttpClient {
    /// Connects to public addresses only, except where a URL names another one and a grant does.
    client: Sent,
    connections: Option<Arc<Connections>>,
    /// Where connections live. They serve all calls: those that are made by one that computes for long must not live with it in the background.
    runtime: Option<Handle>,
}

/// What requests are sent with.
type Sent = Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>;

/// Resolves names as the system does.
fn public_only(public_only: bool) -> Resolver {
    let resolve: Resolve = Arc::new(|name| {
        let mut system = GaiResolver::new();
        Box::pin(async move { Ok(system.call(name).await?.collect::<Vec<SocketAddr>>()) })
    });
    Resolver { resolve, public_only }
}

fn client(resolver: Resolver, tls: ClientConfig) -> Sent {
    let mut connector = HttpConnector::new_with_resolver(resolver);
    connector.enforce_http(false);
    connector.set_connect_timeout(Some(Duration::from_millis(HTTP_CONNECT_MS_MAX)));
    connector.set_nodelay(true);
    let https = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new()).pool_idle_timeout(Duration::from_secs(30)).pool_max_idle_per_host(32);
    builder.build(https.wrap_connector(connector))
}

/// TLS that trusts the certificates that the system trusts. They are read once: there are many, and each connection wants them.
fn trusting_system() -> io::Result<ConfigBuilder<ClientConfig, WantsClientCert>> {
    static READ: OnceLock<ConfigBuilder<ClientConfig, WantsClientCert>> = OnceLock::new();
    if let Some(tls) = READ.get() {
        return Ok(tls.clone());
    }
    let tls = ClientConfig::builder().with_native_roots()?;
    Ok(READ.get_or_init(|| tls).clone())
}

impl HttpClient {
    /// A client that trusts the certificates that the system trusts, and uses these connections where a request names one.
    pub fn new(connections: Option<Arc<Connections>>) -> io::Result<Self> {
        let runtime = Handle::try_current().ok();
        Ok(Self { client: client(public_only(true), trusting_system()?.with_no_client_auth()), connections, runtime })
    }

    /// Where a request goes first if it may be sent, and the connection whose settings apply there.
    fn first(&self, sender: &Sender, request: &Request) -> Result<(Target, Option<Arc<Connection>>), Fault> {
        let Some(name) = &request.connection else {
            let target = Target::read(&request.url)?;
            target.admit(&sender.grants, &request.method)?;
            return Ok((target, None));
        };
        sender.grants.check_connection(name)?;
        let connection = self.connection(name)?;
        Ok((connection.target(&request.url)?, Some(connection)))
    }
}

impl Outbound for HttpClient {
    fn permit(&self, sender: &Sender, request: &Request) -> Result<(), Fault> {
        let (target, _) = self.first(sender, request)?;
        secrets::check(sender, &target, request)
    }

    fn send<'a>(&'a self, sender: &'a Sender, request: Request) -> BoxFuture<'a, Result<Response, Fault>> {
        Box::pin(async move {
            let limit_ms = request.timeout_ms.unwrap_or(HTTP_MS_DEFAULT).clamp(1, HTTP_MS_MAX);
            let mut follow = std::pin::pin!(self.follow(sender, request));
            let follow = std::future::poll_fn(|context| {
                let _entered = self.runtime.as_ref().map(Handle::enter);
                follow.as_mut().poll(context)
            });
            match tokio::time::timeout(Duration::from_millis(limit_ms.into()), follow).await {
                Ok(answered) => answered,
                Err(_) => Err(Fault::passing("timed-out", format!("no response within {limit_ms} ms"))),
            }
        })
    }
}

impl HttpClient {
    /// Sends a request, and again to where it is redirected.
    async fn follow(&self, sender: &Sender, request: Request) -> Result<Response, Fault> {
        let invalid = |error: &dyn std::fmt::Display| Fault::new("invalid", error.to_string());
        let mut method = Method::from_bytes(request.method.as_bytes()).map_err(|error| invalid(&error))?;
        let (mut target, mut connection) = self.first(sender, &request)?;
        let mut filled = secrets::fill(sender, &target, &request)?;
        if let Some(connection) = &connection {
            connection.authorize(&mut filled).await?;
        }
        let bytes_max = request.response_bytes_max();
        let mut redirects = 0;
        loop {
            let mut sent = http::Request::new(Full::new(filled.body.clone()));
            let uri = target.url.as_str().parse().map_err(|error| invalid(&error))?;
            (*sent.method_mut(), *sent.uri_mut(), *sent.headers_mut()) = (method.clone(), uri, filled.headers.clone());
            // The connection is for the first server only.
            let response = match connection.take() {
                Some(connection) => connection.exchange(sent, bytes_max).await?,
                None => exchange(&self.client, sent, bytes_max).await?,
            };
            let location = response.headers.iter().find(|(name, _)| &**name == "location").map(|(_, location)| location);
            let followed = next_method(&method, response.status).zip(location);
            let Some((next, location)) = followed.filter(|_| redirects < sender.redirects_max) else {
                return Ok(filled.mask(response));
            };
            let keeps_body = next == method;
            if keeps_body && filled.is_body_secret {
                // A secret goes to the server that it was allowed for, and no further.
                return Ok(filled.mask(response));
            }
            let to = target.redirected(location)?;
            to.admit(&sender.grants, next.as_str())?;
            filled.for_next_hop(to.is_same_origin(&target));
            if !keeps_body {
                filled.body = Bytes::new();
                for name in [http::header::CONTENT_TYPE, http::header::CONTENT_ENCODING, http::header::CONTENT_LANGUAGE] {
                    filled.headers.remove(name);
                }
            }
            (method, target) = (next, to);
            redirects += 1;
        }
    }
}

/// Sends one request and reads its response, whose body has `bytes_max` bytes at most.
async fn exchange(client: &Sent, request: http::Request<Full<Bytes>>, bytes_max: usize) -> Result<Response, Fault> {
    let response = client.request(request).await.map_err(|error| fault_of(&error))?;
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, bytes_max).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            Fault::new("too-large", format!("the response has more than {bytes_max} bytes"))
        } else {
            Fault::passing("unavailable", format!("the response broke off: {error}"))
        }
    })?;
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into();
    Ok(Response {
        status: parts.status.as_u16(),
        headers: parts.headers.iter().map(|(name, value)| (name.as_str().into(), text(value))).collect(),
        body: body.to_bytes(),
    })
}

/// The method with which a redirect is followed (the Fetch standard, section 4.4); none: the status is no redirect.
fn next_method(method: &Method, status: u16) -> Option<Method> {
    match StatusCode::from_u16(status).ok()? {
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND if *method == Method::POST => Some(Method::GET),
        StatusCode::SEE_OTHER if *method != Method::HEAD => Some(Method::GET),
        StatusCode::MOVED_PERMANENTLY
        | StatusCode::FOUND
        | StatusCode::SEE_OTHER
        | StatusCode::TEMPORARY_REDIRECT
        | StatusCode::PERMANENT_REDIRECT => Some(method.clone()),
        _ => None,
    }
}

/// What went wrong, in the contract's words.
fn fault_of(error: &hyper_util::client::legacy::Error) -> Fault {
    let mut text = error.to_string();
    let mut code = "unavailable";
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        if inner.is::<NotPublic>() {
            return Fault::new("denied", inner.to_string());
        }
        if inner.is::<Unresolved>() {
            code = "dns";
        }
        if let Some(error) = inner.downcast_ref::<io::Error>() {
            match error.kind() {
                io::ErrorKind::ConnectionRefused => code = "refused",
                io::ErrorKind::TimedOut => code = "timed-out",
                _ => {}
            }
            if let Some(inner) = error.get_ref().filter(|inner| inner.to_string().contains("certificate")) {
                return Fault::new("tls", inner.to_string());
            }
        }
        cause = inner.source();
    }
    Fault::passing(code, text)
}

#[cfg(test)]
mod tests;
