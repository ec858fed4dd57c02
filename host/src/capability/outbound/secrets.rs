//! Secrets in requests: filled in on the way out, taken out of what comes back.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION};
use http::{HeaderMap, HeaderName, HeaderValue};
use memchr::memmem;
use zeroize::Zeroizing;

use super::target::Target;
use crate::capability::forms::{forms, in_form, in_json, replaced};
use crate::plugin::{SecretVerb, Sender, masked};
use crate::run::{Fault, Request, Response};

/// A request as it leaves.
pub(super) struct Filled {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Whether the body holds a secret.
    pub(super) is_body_secret: bool,
    /// What is taken out of the response, with what stands there instead.
    masks: Vec<(Zeroizing<Vec<u8>>, String)>,
}

/// A secret that stands in a request.
struct Found {
    token: Box<str>,
    name: Box<str>,
    value: Zeroizing<Vec<u8>>,
}

/// Whether the secrets in a request may be sent to where it goes.
pub(super) fn check(sender: &Sender, target: &Target, request: &Request) -> Result<(), Fault> {
    find(sender, target, request).map(|_| ())
}

/// Puts secrets in the place of their tokens: in header fields, in the body, and in the password of the URL.
pub(super) fn fill(sender: &Sender, target: &Target, request: &Request) -> Result<Filled, Fault> {
    let found = find(sender, target, request)?;
    let mut filled = Filled { headers: HeaderMap::new(), body: request.body.clone(), is_body_secret: false, masks: Vec::new() };
    for (name, value) in &request.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| Fault::new("invalid", error.to_string()))?;
        if [http::header::HOST, http::header::CONTENT_LENGTH, http::header::TRANSFER_ENCODING].contains(&name) {
            return Err(Fault::new("invalid", format!("the host sets the header `{name}` itself")));
        }
        let value = header_value(&name, value, &found)?;
        filled.headers.append(name, value);
    }
    if let Some((user, password)) = &target.credentials
        && !filled.headers.contains_key(AUTHORIZATION)
    {
        let mut pair = Zeroizing::new(format!("{user}:").into_bytes());
        pair.extend_from_slice(&filled_in(password.as_bytes(), &found, <[u8]>::to_vec));
        let value = Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(&*pair)));
        let mut value = HeaderValue::from_str(&value).map_err(|error| Fault::new("invalid", error.to_string()))?;
        value.set_sensitive(true);
        for secret in found.iter().filter(|secret| memmem::find(password.as_bytes(), secret.token.as_bytes()).is_some()) {
            filled.masks.push((Zeroizing::new(BASE64_STANDARD.encode(&*pair).into_bytes()), masked(&secret.name)));
        }
        filled.headers.insert(AUTHORIZATION, value);
    }
    let kind = filled.headers.get(http::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let escape = escape_for(kind);
    if found.iter().any(|secret| memmem::find(&request.body, secret.token.as_bytes()).is_some()) {
        filled.is_body_secret = true;
        filled.body = filled_in(&request.body, &found, escape).into();
    }
    for secret in &found {
        filled.hide(&secret.value, &masked(&secret.name));
    }
    Ok(filled)
}

impl Filled {
    /// Takes a value out of the response, in whatever form.
    pub(super) fn hide(&mut self, value: &[u8], instead: &str) {
        self.masks.extend(forms(value).into_iter().map(|form| (form, instead.to_owned())));
        // In a compressed response it would not be found.
        self.headers.remove(ACCEPT_ENCODING);
    }

    /// A response without the secrets of its request, which a server may have sent back.
    pub(super) fn mask(&self, mut response: Response) -> Response {
        for (value, instead) in &self.masks {
            if let Some(body) = replaced(&response.body, value, instead.as_bytes()) {
                response.body = body.into();
            }
            for (_, header) in &mut response.headers {
                if let Some(text) = replaced(header.as_bytes(), value, instead.as_bytes()) {
                    *header = String::from_utf8_lossy(&text).into();
                }
            }
        }
        response
    }

    /// Takes out what was meant for the first server only.
    pub(super) fn for_next_hop(&mut self, is_same_origin: bool) {
        let is_secret: Vec<HeaderName> =
            self.headers.iter().filter(|(_, value)| value.is_sensitive()).map(|(name, _)| name.clone()).collect();
        for name in is_secret {
            self.headers.remove(name);
        }
        if !is_same_origin {
            for name in [AUTHORIZATION, http::header::COOKIE, http::header::PROXY_AUTHORIZATION] {
                self.headers.remove(name);
            }
        }
    }
}

/// The secrets whose tokens stand in a request, each allowed to go where it goes.
fn find(sender: &Sender, target: &Target, request: &Request) -> Result<Vec<Found>, Fault> {
    let mut found = Vec::new();
    for used in &sender.secrets {
        let token = memmem::Finder::new(used.token.as_bytes());
        if token.find(target.url.as_str().as_bytes()).is_some() {
            let message = format!(
                "the secret `{}` stands in the URL, where it would be logged; put it in a header, the body, or the password of the URL",
                used.name
            );
            return Err(Fault::new("denied", message));
        }
        let password = target.credentials.as_ref().map(|(_, password)| password.as_bytes());
        let headers = request.headers.iter().map(|(_, value)| value.as_bytes());
        if !headers.chain(password).chain([&request.body[..]]).any(|text| token.find(text).is_some()) {
            continue;
        }
        sender.grants.check_secret(&used.name, SecretVerb::Send)?;
        let Some(vault) = &sender.vault else { return Err(Fault::new("denied", "nothing is granted here")) };
        let value = vault.reveal(&used.name)?;
        if !vault.destinations(&used.name).iter().any(|host| host.matches(&target.host, target.port, target.is_default_port)) {
            let (name, host, port) = (&used.name, &target.host, target.port);
            let message =
                format!("the secret `{name}` is not sent to {host}:{port}: `weft secret allow {name} {host}:{port}` lets it");
            return Err(Fault::new("denied", message));
        }
        found.push(Found { token: used.token.clone(), name: used.name.clone(), value });
    }
    Ok(found)
}

fn header_value(name: &HeaderName, value: &str, found: &[Found]) -> Result<HeaderValue, Fault> {
    let invalid = |what: &str| Fault::new("invalid", format!("the header `{name}` cannot be sent: {what}"));
    let is_secret = found.iter().any(|secret| value.contains(&*secret.token));
    if !is_secret {
        return HeaderValue::from_str(value).map_err(|error| invalid(&error.to_string()));
    }
    let bytes = Zeroizing::new(filled_in(value.as_bytes(), found, <[u8]>::to_vec));
    let mut value = HeaderValue::from_bytes(&bytes).map_err(|_| invalid("the secret holds what no header may"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// How a secret is written into a body of this type.
fn escape_for(content_type: &str) -> fn(&[u8]) -> Vec<u8> {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/json" => in_json,
        "application/x-www-form-urlencoded" => in_form,
        kind if kind.ends_with("+json") => in_json,
        _ => <[u8]>::to_vec,
    }
}

fn filled_in(text: &[u8], found: &[Found], escape: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    found.iter().fold(text.to_vec(), |text, secret| {
        let value = Zeroizing::new(escape(&secret.value));
        replaced(&text, secret.token.as_bytes(), &value).unwrap_or(text)
    })
}
