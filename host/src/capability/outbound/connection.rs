//! A connection as it is used: below its base URL, with its credentials, on the first hop only.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Method};
use http_body_util::Full;
use percent_encoding::percent_decode;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use url::Url;
use zeroize::Zeroizing;

use super::address::is_public;
use super::secrets::Filled;
use super::target::Target;
use super::{HttpClient, Sent, client, exchange, public_only, trusting_system};
use crate::capability::connections::{Auth, Credentials, Settings};
use crate::limits::{HTTP_RESPONSE_BYTES_DEFAULT, SECRET_BYTES_MAX};
use crate::run::{Fault, Response};

/// How long before its end a token is not used any more: a request takes a while to arrive.
const TOKEN_MARGIN: Duration = Duration::from_secs(30);

/// How often a path is decoded in search of segments that lead upwards.
const DECODINGS_MAX: usize = 8;

/// How long a token is used whose server does not say.
const TOKEN_LIFE_DEFAULT: Duration = Duration::from_secs(300);

/// See the module.
pub(in crate::capability) struct Connection {
    name: Box<str>,
    settings: Settings,
    credentials: Credentials,
    /// Ends in `/`.
    base: Url,
    client: Sent,
    /// A token that was fetched, and until when it is used.
    token: tokio::sync::Mutex<Option<(Zeroizing<String>, Instant)>>,
}

impl Connection {
    /// Reads what was set. An error says what is wrong with it.
    pub(in crate::capability) fn open(name: &str, settings: Settings, credentials: Credentials) -> Result<Self, String> {
        let base = base_of(&settings.base_url, settings.allow_private)?;
        match &settings.auth {
            Auth::None if !credentials.secret.is_empty() => return Err("there is a secret, and nothing that uses it".into()),
            Auth::None => {}
            _ if credentials.secret.is_empty() => return Err("the secret is missing".into()),
            Auth::Header { name } => {
                let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is no name of a header"))?;
                if [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING].contains(&header) {
                    return Err(format!("the host sets the header `{name}` itself"));
                }
            }
            Auth::Oauth2ClientCredentials { token_url, .. } => drop(base_of(token_url, settings.allow_private)?),
            Auth::Basic { .. } | Auth::Bearer => {}
        }
        HeaderValue::from_str(&credentials.secret).map_err(|_| "the secret holds what no header may, such as a line break")?;
        let client = client(public_only(!settings.allow_private), tls(&settings, &credentials)?);
        Ok(Self { name: name.into(), settings, credentials, base, client, token: tokio::sync::Mutex::default() })
    }

    /// Where a path below the base URL leads.
    pub(super) fn target(&self, path: &str) -> Result<Target, Fault> {
        let invalid = |what: &str| {
            let shown: String = path.chars().take(200).collect();
            Fault::new("invalid", format!("`{}` is {what}", shown.escape_debug()))
        };
        let lower = path.trim_start().to_ascii_lowercase();
        if lower.starts_with("http:") || lower.starts_with("https:") || path.starts_with("//") || path.contains('\\') {
            return Err(invalid("no path: with a connection write what stands below its base URL"));
        }
        if path.bytes().any(|byte| byte.is_ascii_control()) || leaves(path) {
            return Err(invalid("no path below the connection's base URL"));
        }
        let target = Target::read(&format!("{}{}", self.base, path.trim_start_matches('/')))?;
        let is_below = target.url.origin() == self.base.origin() && target.url.path().starts_with(self.base.path());
        if is_below { Ok(target) } else { Err(invalid("no path below the connection's base URL")) }
    }

    /// Puts the credentials into a request.
    pub(super) async fn authorize(&self, filled: &mut Filled) -> Result<(), Fault> {
        if self.settings.auth == Auth::None {
            return Ok(());
        }
        let secret = &self.credentials.secret;
        let label = format!("[connection {}]", self.name);
        filled.hide(secret.as_bytes(), &label);
        let (header, value) = match &self.settings.auth {
            Auth::None => return Ok(()),
            Auth::Bearer => (AUTHORIZATION, Zeroizing::new(format!("Bearer {secret}"))),
            Auth::Basic { user } => {
                let pair = Zeroizing::new(BASE64_STANDARD.encode(&*Zeroizing::new(format!("{user}:{secret}"))));
                filled.hide(pair.as_bytes(), &label);
                (AUTHORIZATION, Zeroizing::new(format!("Basic {}", *pair)))
            }
            Auth::Header { name } => {
                let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| Fault::new("invalid", error.to_string()))?;
                (name, Zeroizing::new(secret.clone()))
            }
            Auth::Oauth2ClientCredentials { token_url, client_id, scope } => {
                let token = self.token(token_url, client_id, scope.as_deref()).await?;
                filled.hide(token.as_bytes(), &label);
                (AUTHORIZATION, Zeroizing::new(format!("Bearer {}", *token)))
            }
        };
        let mut value = HeaderValue::from_str(&value).map_err(|_| Fault::new("invalid", "the credentials fit in no header"))?;
        value.set_sensitive(true);
        filled.headers.insert(header, value);
        Ok(())
    }

    /// Sends a request by this connection's own TLS settings.
    pub(super) async fn exchange(&self, request: http::Request<Full<Bytes>>, bytes_max: usize) -> Result<Response, Fault> {
        let used = request.headers().get(AUTHORIZATION).cloned();
        let response = exchange(&self.client, request, bytes_max).await?;
        // The next request asks for another token than the one that was refused. Whoever holds the lock asks for one now.
        if response.status == 401
            && let Ok(mut kept) = self.token.try_lock()
            && let Some((token, _)) = &*kept
            && used.is_some_and(|used| used.as_bytes().strip_prefix(b"Bearer ") == Some(token.as_bytes()))
        {
            *kept = None;
        }
        Ok(response)
    }

    async fn token(&self, url: &str, client_id: &str, scope: Option<&str>) -> Result<Zeroizing<String>, Fault> {
        let mut kept = self.token.lock().await;
        if let Some((token, _)) = kept.as_ref().filter(|(_, until)| *until > Instant::now()) {
            return Ok(token.clone());
        }
        let asked = [("grant_type", "client_credentials")].into_iter().chain(scope.map(|scope| ("scope", scope)));
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(asked).finish();
        // RFC 6749, section 2.3.1: both are written as in a form before they become a pair.
        let in_form = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let pair = Zeroizing::new(format!("{}:{}", in_form(client_id), in_form(&self.credentials.secret)));
        let basic = Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(&*pair)));
        let invalid = |error: &dyn std::fmt::Display| Fault::new("invalid", error.to_string());
        let mut value = HeaderValue::from_str(&basic).map_err(|error| invalid(&error))?;
        value.set_sensitive(true);
        // As it was checked when it was set.
        let url = Target::read(url)?.url;
        let request = http::Request::builder().method(Method::POST).uri(url.as_str()).header(AUTHORIZATION, value);
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").header("accept", "application/json");
        let request = request.body(Full::new(Bytes::from(form))).map_err(|error| invalid(&error))?;
        let response = exchange(&self.client, request, HTTP_RESPONSE_BYTES_DEFAULT).await?;
        if response.status != 200 {
            let message = format!("the token server of the connection `{}` answered with status {}", self.name, response.status);
            let passes = response.status >= 500 || response.status == 429;
            return Err(if passes { Fault::passing("unavailable", message) } else { Fault::new("denied", message) });
        }
        let answer: Token = serde_json::from_slice(&response.body)
            .ok()
            .filter(|answer: &Token| (1..=SECRET_BYTES_MAX).contains(&answer.access_token.len()))
            .ok_or_else(|| Fault::new("denied", format!("the token server of the connection `{}` gave no token", self.name)))?;
        let life = answer.expires_in.map_or(TOKEN_LIFE_DEFAULT, |seconds| Duration::from_secs(seconds.min(86_400)));
        let token = Zeroizing::new(answer.access_token);
        *kept = Some((token.clone(), Instant::now() + life.saturating_sub(TOKEN_MARGIN)));
        Ok(token)
    }
}

/// A token server's answer (RFC 6749, section 5.1).
#[derive(serde::Deserialize)]
struct Token {
    access_token: String,
    expires_in: Option<u64>,
}

impl HttpClient {
    /// A connection that a request names.
    pub(super) fn connection(&self, name: &str) -> Result<Arc<Connection>, Fault> {
        let connections = self.connections.as_ref();
        connections.ok_or_else(|| Fault::new("not-found", "there are no connections here"))?.get(name)
    }
}

/// Reads a base URL; it ends in `/`.
fn base_of(text: &str, allow_private: bool) -> Result<Url, String> {
    let target = Target::read(text).map_err(|fault| fault.message.to_string())?;
    if target.credentials.is_some() || target.url.query().is_some() || text.contains('#') {
        return Err(format!("`{text}` has more than a path: user, password, query and fragment do not belong here"));
    }
    if target.address().is_some_and(|address| !is_public(address)) && !allow_private {
        return Err(format!("{} is a private address: say `--allow-private` if the connection may lead there", target.host));
    }
    let mut url = target.url;
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

/// Whether a path has segments that lead upwards, also for servers that decode more than once or cut segments off at `;`. What is encoded
/// very often leads nowhere good, either.
fn leaves(path: &str) -> bool {
    let mut text = path.split(['?', '#']).next().unwrap_or_default().as_bytes().to_vec();
    for _ in 0..DECODINGS_MAX {
        let name = |segment: &[u8]| segment.split(|byte| *byte == b';').next().is_some_and(|name| matches!(name, b"." | b".."));
        if text.split(|byte| b"/\\".contains(byte)).any(name) {
            return true;
        }
        let decoded = percent_decode(&text).collect::<Vec<u8>>();
        if decoded == text {
            return false;
        }
        text = decoded;
    }
    true
}

fn tls(settings: &Settings, credentials: &Credentials) -> Result<ClientConfig, String> {
    let certificates = |pem: &str, what: &str| {
        let all: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let all = all.map_err(|error| format!("{what} cannot be read: {error}"))?;
        if all.is_empty() { Err(format!("{what} is no certificate in PEM")) } else { Ok(all) }
    };
    let builder = match &settings.ca {
        None => trusting_system().map_err(|error| format!("the system's certificates: {error}"))?,
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(pem, "the CA")? {
                roots.add(certificate).map_err(|error| format!("the CA is no certificate that can be trusted: {error}"))?;
            }
            ClientConfig::builder().with_root_certificates(roots)
        }
    };
    let Some(pem) = &settings.client_cert else {
        let is_alone = !credentials.client_key.is_empty();
        return if is_alone {
            Err("there is a client's key, and no certificate".into())
        } else {
            Ok(builder.with_no_client_auth())
        };
    };
    let key = PrivateKeyDer::from_pem_slice(credentials.client_key.as_bytes())
        .map_err(|error| format!("the key of the client's certificate cannot be read: {error}"))?;
    let chain = certificates(pem, "the client's certificate")?;
    builder.with_client_auth_cert(chain, key).map_err(|error| format!("the client's certificate and key do not fit: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::connections::ConnectionKind;

    fn settings(base_url: &str) -> Settings {
        let (auth, ca, client_cert) = (Auth::None, None, None);
        Settings { kind: ConnectionKind::Http, base_url: base_url.into(), auth, ca, client_cert, allow_private: false }
    }

    #[test]
    fn paths_stay_below_the_base() {
        let connection = Connection::open("c", settings("https://api.example.org/v1"), Credentials::default()).unwrap();
        let leads = |path: &str| connection.target(path).map(|target| target.url.to_string()).map_err(|fault| fault.code);
        for (path, url) in [
            ("contacts/17?a=../b", "https://api.example.org/v1/contacts/17?a=../b"),
            ("/contacts", "https://api.example.org/v1/contacts"),
            ("", "https://api.example.org/v1/"),
            ("a:b", "https://api.example.org/v1/a:b"),
            ("a%20b/..c", "https://api.example.org/v1/a%20b/..c"),
            ("x@evil.example/", "https://api.example.org/v1/x@evil.example/"),
        ] {
            assert_eq!(leads(path).as_deref(), Ok(url), "{path}");
        }
        for path in [
            "../admin",
            "a/../../admin",
            "%2e%2e/admin",
            "..%2fadmin",
            "%252e%252e/admin",
            ".%2e/",
            "a/..;b=c/",
            "%2525252525252525252541/",
            "a/..",
            "..\\admin",
            "//evil.example/",
            "https://evil.example/",
            "HTTP://evil.example",
            " http://evil.example",
            "a\r\nb",
            "a\tb",
        ] {
            assert_eq!(leads(path).unwrap_err().as_ref(), "invalid", "{path}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_at_once() {
        for url in [
            "ftp://x",
            "https://a:b@x/",
            "https://x/?a",
            "https://x/#a",
            "http://127.0.0.1/",
            "http://[::1]/",
            "http://0x7f.1/",
            "x",
        ] {
            assert!(Connection::open("c", settings(url), Credentials::default()).is_err(), "{url}");
        }
        let private = Settings { allow_private: true, ..settings("http://10.0.0.1:8080/") };
        assert!(Connection::open("c", private, Credentials::default()).is_ok());
        let bearer = Settings { auth: Auth::Bearer, ..settings("https://x/") };
        assert!(Connection::open("c", bearer.clone(), Credentials::default()).is_err(), "no secret");
        let broken = Credentials { secret: "a\nb".into(), client_key: String::new() };
        assert!(Connection::open("c", bearer, broken).is_err());
        let ca = Settings { ca: Some("nonsense".into()), ..settings("https://x/") };
        assert!(Connection::open("c", ca, Credentials::default()).is_err());
    }
}
