//! Requests to servers outside: the one place where it is decided whether one may be sent, and where.
//!
//! A request is sent if a grant names its host. The host's name is resolved once, and a connection is made only to an address that was
//! checked: no private one, unless the grant names the address itself. Redirects are not followed, and proxies of
//! the environment not used.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue, Method, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use sha2::{Digest as _, Sha256};
use tower_service::Service;

use crate::limits::{HTTP_CONNECT_MS_MAX, HTTP_MS_DEFAULT, HTTP_MS_MAX, HTTP_RESPONSE_BYTES_MAX};
use crate::plugin::Grants;
use crate::run::{Fault, Request, Response, SecretUse};

/// Sends requests to servers outside, within what is granted.
pub trait Outbound: Send + Sync {
    /// Whether a request may be sent. Costs nothing, and reaches nobody.
    fn permit(&self, grants: &Grants, request: &Request) -> Result<(), Fault>;

    /// Sends a request and reads the response.
    fn send<'a>(&'a self, grants: &'a Grants, request: Request) -> BoxFuture<'a, Result<Response, Fault>>;
}

/// The header by which a server knows a request again (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A request with the key by which the server outside knows it again: the same each time that the call is made, and another for each
/// `name` within the call. A key that the guest gave stays. A text that stands for a secret is not sent.
pub fn with_key(mut request: Request, call_key: &str, name: &str, secrets: &[SecretUse]) -> Result<Request, Fault> {
    let holds = |text: &[u8]| {
        let token = |used: &&SecretUse| text.windows(used.token.len()).any(|window| window == used.token.as_bytes());
        secrets.iter().find(token)
    };
    let values = request.headers.iter().map(|(_, value)| value.as_bytes());
    if let Some(used) = [request.url.as_bytes(), &request.body].into_iter().chain(values).find_map(holds) {
        let message = format!("the request holds the secret `{}`, which this host cannot send yet", used.name);
        return Err(Fault::new("denied", message));
    }
    if !request.headers.iter().any(|(header, _)| header.eq_ignore_ascii_case(IDEMPOTENCY_KEY)) {
        let key = Sha256::new().chain_update(call_key).chain_update([0]).chain_update(name).finalize();
        request.headers.push((IDEMPOTENCY_KEY.into(), hex::encode(&key[..16]).into()));
    }
    Ok(request)
}

/// Sends requests for real.
pub struct HttpClient {
    /// Connects to public addresses only.
    public: Client<HttpsConnector<HttpConnector<PublicResolver>>, Full<Bytes>>,
}

impl HttpClient {
    /// A client that trusts the certificates that the system trusts.
    pub fn new() -> io::Result<Self> {
        let mut connector = HttpConnector::new_with_resolver(PublicResolver(GaiResolver::new()));
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(Duration::from_millis(HTTP_CONNECT_MS_MAX)));
        connector.set_nodelay(true);
        let https = hyper_rustls::HttpsConnectorBuilder::new().with_native_roots()?.https_or_http().enable_http1();
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(Duration::from_secs(30)).pool_max_idle_per_host(32);
        Ok(Self { public: builder.build(https.wrap_connector(connector)) })
    }
}

/// Where a request goes, and whether it may.
fn admit(grants: &Grants, request: &Request) -> Result<Uri, Fault> {
    let uri: Uri = request.url.parse().map_err(|error| Fault::new("invalid", format!("`{}`: {error}", request.url)))?;
    let default_port = match uri.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        _ => return Err(Fault::new("invalid", format!("`{}` is no absolute URL of http or https", request.url))),
    };
    let Some(host) = uri.host().filter(|host| !host.is_empty()) else {
        return Err(Fault::new("invalid", format!("`{}` names no host", request.url)));
    };
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(Fault::new("invalid", "give credentials in the header `authorization`, not in the URL"));
    }
    let port = uri.port_u16().unwrap_or(default_port);
    let Some(grant) = grants.for_host(host, port, port == default_port) else {
        let message = format!("no grant lets this plugin send requests to {host}:{port}: `weft plugin grant` gives one");
        return Err(Fault::new("denied", message));
    };
    // Names are checked when they are resolved; an address is connected to as it stands.
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    if address.is_ok_and(|address| !is_public(address)) && !grant.names_address() {
        return Err(Fault::new("denied", format!("{host} is a private address; a grant must name the address itself")));
    }
    Ok(uri)
}

impl Outbound for HttpClient {
    fn permit(&self, grants: &Grants, request: &Request) -> Result<(), Fault> {
        admit(grants, request).map(|_| ())
    }

    fn send<'a>(&'a self, grants: &'a Grants, request: Request) -> BoxFuture<'a, Result<Response, Fault>> {
        Box::pin(async move {
            let uri = admit(grants, &request)?;
            let limit_ms = request.timeout_ms.unwrap_or(HTTP_MS_DEFAULT).clamp(1, HTTP_MS_MAX);
            match tokio::time::timeout(Duration::from_millis(limit_ms.into()), self.exchange(uri, request)).await {
                Ok(answered) => answered,
                Err(_) => Err(Fault::passing("timed-out", format!("no response within {limit_ms} ms"))),
            }
        })
    }
}

impl HttpClient {
    async fn exchange(&self, uri: Uri, request: Request) -> Result<Response, Fault> {
        let invalid = |error: &dyn std::fmt::Display| Fault::new("invalid", error.to_string());
        let method = Method::from_bytes(request.method.as_bytes()).map_err(|error| invalid(&error))?;
        let mut sent = http::Request::new(Full::new(request.body));
        (*sent.method_mut(), *sent.uri_mut()) = (method, uri);
        for (name, value) in &request.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| invalid(&error))?;
            if [http::header::HOST, http::header::CONTENT_LENGTH, http::header::TRANSFER_ENCODING].contains(&name) {
                return Err(Fault::new("invalid", format!("the host sets the header `{name}` itself")));
            }
            sent.headers_mut().append(name, HeaderValue::from_str(value).map_err(|error| invalid(&error))?);
        }
        let response = self.public.request(sent).await.map_err(|error| fault_of(&error))?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, HTTP_RESPONSE_BYTES_MAX).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Fault::new("too-large", format!("the response has more than {HTTP_RESPONSE_BYTES_MAX} bytes"))
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

/// Resolves names, and leaves out addresses that are not public.
#[derive(Clone)]
struct PublicResolver(GaiResolver);

#[derive(Debug, thiserror::Error)]
#[error("`{0}` is the name of a private address, which is not connected to by name")]
struct NotPublic(String);

#[derive(Debug, thiserror::Error)]
#[error("`{0}` cannot be resolved: {1}")]
struct Unresolved(String, io::Error);

impl Service<Name> for PublicResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let host = name.as_str().to_owned();
        let resolving = self.0.call(name);
        Box::pin(async move {
            let all = resolving.await.map_err(|error| Unresolved(host.clone(), error))?;
            let public: Vec<SocketAddr> = all.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() { Err(NotPublic(host).into()) } else { Ok(public.into_iter()) }
        })
    }
}

/// Whether an address belongs to the public internet (IANA's registries of special-purpose addresses), also where it stands for an
/// IPv4 address.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (b & 0xc0) == 64)
        || (a, b, c) == (192, 0, 0)
        || (a, b, c) == (192, 88, 99)
        || (a == 198 && (b & 0xfe) == 18))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        // NAT64 and 6to4 lead to an IPv4 address.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        // Teredo, benchmarking, ORCHID, documentation; the rest of 2000::/3 is public.
        [0x2001, second, ..] => second >= 0x0200 && second != 0x0db8,
        [0x3fff, second, ..] => second > 0x0fff,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(url: &str) -> Request {
        Request { method: "GET".into(), url: url.into(), headers: Vec::new(), body: Bytes::new(), timeout_ms: None }
    }

    fn verdict(patterns: &[&str], url: &str) -> &'static str {
        let grants = Grants { http: patterns.iter().map(|pattern| pattern.parse().unwrap()).collect() };
        match admit(&grants, &request(url)) {
            Ok(_) => "ok",
            Err(fault) if &*fault.code == "denied" => "denied",
            Err(fault) if &*fault.code == "invalid" => "invalid",
            Err(fault) => panic!("{fault:?}"),
        }
    }

    #[test]
    fn only_what_is_granted_is_sent() {
        assert_eq!(verdict(&[], "https://example.org/"), "denied");
        assert_eq!(verdict(&["example.org"], "https://example.org/a?b=c"), "ok");
        assert_eq!(verdict(&["example.org"], "https://example.com/"), "denied");
        for url in ["ftp://example.org/", "/path", "example.org", "file:///etc/passwd", "http:///x", "https://u:p@example.org/"] {
            assert_eq!(verdict(&["*:*"], url), "invalid", "{url}");
        }
    }

    #[test]
    fn a_private_address_must_be_named_itself() {
        assert_eq!(verdict(&["*:*"], "http://127.0.0.1:8080/"), "denied");
        assert_eq!(verdict(&["127.0.0.1:8080"], "http://127.0.0.1:8080/"), "ok");
        assert_eq!(verdict(&["*:*"], "http://[::1]/"), "denied");
        assert_eq!(verdict(&["*:*"], "http://8.8.8.8/"), "ok");
    }

    #[test]
    fn private_addresses_are_known_in_every_form() {
        let private = [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a00:1::",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "100::1",
            "::7f00:1",
        ];
        for address in private {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "8.8.8.8",
            "100.63.0.1",
            "100.128.0.1",
            "172.32.0.1",
            "198.20.0.1",
            "2606:4700::1111",
            "2001:4860::8888",
            "64:ff9b::808:808",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn a_call_s_requests_have_keys_that_stay() {
        let key = |call: &str, name: &str| {
            let request = with_key(request("https://example.org"), call, name, &[]).unwrap();
            request.headers.iter().find(|(name, _)| &**name == IDEMPOTENCY_KEY).unwrap().1.clone()
        };
        assert_eq!(key("a", "1"), key("a", "1"));
        assert_ne!(key("a", "1"), key("a", "2"));
        assert_ne!(key("a", "1"), key("b", "1"));
        let mut own = request("https://example.org");
        own.headers.push(("Idempotency-Key".into(), "mine".into()));
        assert_eq!(with_key(own, "a", "1", &[]).unwrap().headers, [("Idempotency-Key".into(), "mine".into())]);
    }

    #[test]
    fn a_secret_s_token_does_not_leave() {
        let secrets = [SecretUse { token: "weft-secret-1".into(), name: "api".into() }];
        let mut with_header = request("https://example.org");
        with_header.headers.push(("authorization".into(), "Bearer weft-secret-1".into()));
        for request in [with_header, request("https://example.org/?t=weft-secret-1")] {
            assert_eq!(&*with_key(request, "a", "1", &secrets).unwrap_err().code, "denied");
        }
    }
}
