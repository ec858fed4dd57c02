//! Signatures over the raw bytes of a body, as senders make them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use weft_sdk::HttpEvent;
use weft_sdk::capability::{Encoding, Hash, Key, SecretKey, verify_hmac};
use weft_sdk::prelude::*;

use crate::access::{Admitted, Refusal, Secret};

/// How the sender signs, and with what.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signature {
    /// Whose way of signing.
    scheme: Scheme,
    /// The secret that the sender signs with.
    secret: Secret,
    /// Secrets that are still good while the sender changes to the new one.
    #[serde(default)]
    #[schemars(length(max = 10))]
    old_secrets: Vec<Secret>,
    /// How far the time that was signed may be from now, in milliseconds; for the schemes that sign one.
    #[serde(default = "five_minutes")]
    #[schemars(range(min = 1, max = 86_400_000))]
    tolerance_ms: u32,
    /// The way of signing, for the scheme `generic`.
    generic: Option<Generic>,
}

fn five_minutes() -> u32 {
    300_000
}

/// A way of signing.
#[derive(Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Scheme {
    /// GitHub: HMAC-SHA256 of the body, in hexadecimal after `sha256=`, in the header `X-Hub-Signature-256`.
    Github,
    /// Stripe: HMAC-SHA256 of time, `.` and body, in hexadecimal, in the header `Stripe-Signature: t=…,v1=…`.
    Stripe,
    /// Slack: HMAC-SHA256 of `v0:`, time, `:` and body, in hexadecimal after `v0=`, in the header `X-Slack-Signature`.
    Slack,
    /// Shopify: HMAC-SHA256 of the body, in Base64, in the header `X-Shopify-Hmac-Sha256`.
    Shopify,
    /// Standard Webhooks: HMAC-SHA256 of id, time and body with `.` between, in Base64 after `v1,`, in the header `webhook-signature`.
    StandardWebhooks,
    /// Any other: an HMAC of the body, as the member `generic` says.
    Generic,
}

/// Another way of signing.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Generic {
    /// The header that holds the signature.
    #[schemars(extend("x-weft-hidden-header" = true))]
    header: String,
    /// The hash function of the HMAC.
    #[serde(default)]
    algorithm: Algorithm,
    /// How the signature is written.
    #[serde(default)]
    encoding: Written,
    /// What stands before the signature in its header, such as `sha256=`.
    #[serde(default)]
    prefix: String,
    /// The header that holds the time, in seconds since 1970. Then time, `.` and body are signed, else the body alone.
    timestamp_header: Option<String>,
}

#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Algorithm {
    /// For senders that still sign with it.
    Sha1,
    /// The usual one.
    #[default]
    Sha256,
    /// The longer one.
    Sha512,
}

#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Written {
    /// Hexadecimal digits.
    #[default]
    Hex,
    /// Base64 (RFC 4648).
    Base64,
}

/// Signatures of one request: two while the sender changes keys.
const SIGNATURES_MAX: usize = 10;

/// What a sender says that it signed.
struct Claim {
    macs: Vec<Vec<u8>>,
    hash: Hash,
    /// What is signed before the body.
    before: String,
    /// When, in seconds since 1970.
    at: Option<u64>,
    /// The id of the delivery, where that is signed too.
    id: Option<String>,
}

impl Signature {
    /// What is wrong with it as written.
    pub(crate) fn check(config: &Value) -> Vec<Problem> {
        let is_generic = config["scheme"] == "generic";
        match (is_generic, config.get("generic").is_some_and(|generic| !generic.is_null())) {
            (true, false) => vec![Problem::new("/generic", "the scheme `generic` wants to know the header, at least")],
            (false, true) => vec![Problem::new("/generic", "this is for the scheme `generic` only")],
            _ => Vec::new(),
        }
    }

    /// Whether the scheme signs what tells a replay from a new delivery.
    pub(crate) fn tells_replays(&self) -> bool {
        match self.scheme {
            Scheme::Stripe | Scheme::Slack | Scheme::StandardWebhooks => true,
            Scheme::Github | Scheme::Shopify => false,
            Scheme::Generic => self.generic.as_ref().is_some_and(|generic| generic.timestamp_header.is_some()),
        }
    }

    /// Whether the request is signed with one of the secrets. Gives what the scheme tells deliveries apart by.
    pub(crate) fn admit(&self, request: &HttpEvent, now_ms: u64) -> Admitted<String> {
        let refuse = |detail: &str| Ok(Err(Refusal::unauthorized("invalid-signature", detail)));
        let claim = match self.claim(request)? {
            Ok(claim) => claim,
            Err(reason) => return refuse(&reason),
        };
        if let Some(at) = claim.at {
            let off_ms = at.saturating_mul(1000).abs_diff(now_ms);
            if off_ms > self.tolerance_ms.into() {
                return refuse(&format!("the time that was signed is {} s from now", off_ms / 1000));
            }
        }
        let signed = if claim.before.is_empty() { None } else { Some([claim.before.as_bytes(), &request.body].concat()) };
        let signed = signed.as_deref().unwrap_or(&request.body);
        for (nth, secret) in std::iter::once(&self.secret).chain(&self.old_secrets).enumerate() {
            for mac in &claim.macs {
                match verify_hmac(claim.hash, &Key::Secret(self.key(secret)), signed, mac) {
                    Ok(true) => return Ok(Ok(self.delivery(request, &claim, mac))),
                    Ok(false) => {}
                    // An old one may have been removed meanwhile.
                    Err(fault) if nth > 0 && fault.code == "not-found" => {}
                    Err(fault) => return Err(fault.into()),
                }
            }
        }
        refuse("the signature does not belong to this body and secret")
    }

    fn key(&self, secret: &Secret) -> SecretKey {
        let (strip, encoding) = match self.scheme {
            Scheme::StandardWebhooks => ("whsec_".into(), Encoding::Base64),
            _ => (String::new(), Encoding::Utf8),
        };
        SecretKey { token: secret.0.clone(), strip, encoding, prefix: String::new() }
    }

    /// What the header fields say. The inner error says what the sender did wrong.
    fn claim(&self, request: &HttpEvent) -> Result<Result<Claim, String>, Failure> {
        Ok(match self.scheme {
            Scheme::Github => marked(request, "x-hub-signature-256", "sha256=", Written::Hex).map(Claim::of_body),
            Scheme::Shopify => marked(request, "x-shopify-hmac-sha256", "", Written::Base64).map(Claim::of_body),
            Scheme::Stripe => stripe(request),
            Scheme::Slack => slack(request),
            Scheme::StandardWebhooks => standard(request),
            Scheme::Generic => {
                let generic = self.generic.as_ref();
                let missing = "the signature's scheme is `generic`: say in `generic` which header it stands in";
                generic.ok_or_else(|| Failure::invalid_config("", missing))?.claim(request)
            }
        })
    }

    /// What tells this delivery from others, in the scheme's own way.
    fn delivery(&self, request: &HttpEvent, claim: &Claim, mac: &[u8]) -> String {
        let event = || serde_json::from_slice::<EventId>(&request.body).unwrap_or_default();
        let id = match self.scheme {
            Scheme::Github => one(request, "x-github-delivery").ok().map(Into::into),
            Scheme::Shopify => one(request, "x-shopify-webhook-id").ok().map(Into::into),
            Scheme::Stripe => event().id,
            Scheme::Slack => event().event_id,
            Scheme::StandardWebhooks => claim.id.clone(),
            Scheme::Generic => None,
        };
        // Without an id two deliveries of the same second and content are one.
        id.filter(|id| !id.is_empty()).unwrap_or_else(|| hex::encode(mac))
    }
}

/// The id of an event, as Stripe and Slack put it into the body.
#[derive(Default, Deserialize)]
struct EventId {
    id: Option<String>,
    event_id: Option<String>,
}

impl Claim {
    fn of_body(mac: Vec<u8>) -> Self {
        Self { macs: vec![mac], hash: Hash::Sha256, before: String::new(), at: None, id: None }
    }

    fn timed(macs: Vec<Vec<u8>>, before: String, at: u64) -> Self {
        Self { macs, hash: Hash::Sha256, before, at: Some(at), id: None }
    }
}

impl Generic {
    fn claim(&self, request: &HttpEvent) -> Result<Claim, String> {
        let mac = marked(request, &self.header.to_ascii_lowercase(), &self.prefix, self.encoding)?;
        let hash = match self.algorithm {
            Algorithm::Sha1 => Hash::Sha1,
            Algorithm::Sha256 => Hash::Sha256,
            Algorithm::Sha512 => Hash::Sha512,
        };
        let Some(header) = &self.timestamp_header else { return Ok(Claim { hash, ..Claim::of_body(mac) }) };
        let text = one(request, &header.to_ascii_lowercase())?;
        Ok(Claim { hash, ..Claim::timed(vec![mac], format!("{text}."), seconds(text)?) })
    }
}

fn stripe(request: &HttpEvent) -> Result<Claim, String> {
    let header = one(request, "stripe-signature")?;
    let (mut at, mut macs) = (None, Vec::new());
    for (name, value) in header.split(',').filter_map(|part| part.trim().split_once('=')) {
        match name {
            "t" => at = Some(value),
            "v1" if macs.len() < SIGNATURES_MAX => macs.extend(decoded(value, Written::Hex)),
            _ => {}
        }
    }
    let at = at.ok_or("Stripe-Signature names no time (`t=`)")?;
    Ok(Claim::timed(macs, format!("{at}."), seconds(at)?))
}

fn slack(request: &HttpEvent) -> Result<Claim, String> {
    let at = one(request, "x-slack-request-timestamp")?;
    let mac = marked(request, "x-slack-signature", "v0=", Written::Hex)?;
    Ok(Claim::timed(vec![mac], format!("v0:{at}:"), seconds(at)?))
}

fn standard(request: &HttpEvent) -> Result<Claim, String> {
    let [id, at, signatures] = ["webhook-id", "webhook-timestamp", "webhook-signature"].map(|name| one(request, name));
    let (id, at) = (id?, at?);
    let own = signatures?.split(' ').filter_map(|signature| signature.strip_prefix("v1,"));
    let macs = own.take(SIGNATURES_MAX).filter_map(|mac| decoded(mac, Written::Base64)).collect();
    Ok(Claim { id: Some(id.to_owned()), ..Claim::timed(macs, format!("{id}.{at}."), seconds(at)?) })
}

/// The value of a header that must be there once.
fn one<'a>(request: &'a HttpEvent, name: &str) -> Result<&'a str, String> {
    let mut found = request.headers.iter().filter(|header| header.name == name);
    match (found.next(), found.next()) {
        (Some(header), None) => Ok(&header.value),
        _ => Err(format!("the header {name} is missing, or there are several")),
    }
}

/// The bytes behind a mark in a header.
fn marked(request: &HttpEvent, name: &str, mark: &str, written: Written) -> Result<Vec<u8>, String> {
    let value = one(request, name)?;
    let mac = value.strip_prefix(mark).and_then(|value| decoded(value, written));
    let form = match written {
        Written::Hex => "hexadecimal digits",
        Written::Base64 => "Base64",
    };
    mac.ok_or_else(|| format!("{name} is not `{mark}` and {form}"))
}

fn decoded(text: &str, written: Written) -> Option<Vec<u8>> {
    match written {
        Written::Hex => hex::decode(text).ok(),
        Written::Base64 => STANDARD.decode(text).ok(),
    }
}

fn seconds(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "the time that was signed is no number of seconds since 1970".to_owned())
}

/// The key under which a delivery is known again; long ones become a hash, since the host bounds keys.
pub(crate) fn dedup_key(delivery: &str) -> String {
    const LONGEST: usize = 200;
    if delivery.len() <= LONGEST { format!("id:{delivery}") } else { format!("sha256:{}", hex::encode(Sha256::digest(delivery))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weft_sdk::Pair;

    fn request(headers: &[(&str, &str)]) -> HttpEvent {
        HttpEvent {
            method: "POST".into(),
            path: String::new(),
            params: Vec::new(),
            query: String::new(),
            headers: headers.iter().map(|(name, value)| Pair::new(name, value)).collect(),
            body: b"{}".to_vec(),
            remote_address: String::new(),
        }
    }

    #[test]
    fn a_claim_is_read_by_its_scheme() {
        let claim = stripe(&request(&[("stripe-signature", "t=12, v1=00ff,v1=01,v0=02")])).unwrap();
        assert_eq!((claim.before.as_str(), claim.at, claim.macs), ("12.", Some(12), vec![vec![0, 255], vec![1]]));
        let claim = slack(&request(&[("x-slack-request-timestamp", "12"), ("x-slack-signature", "v0=0a")])).unwrap();
        assert_eq!((claim.before.as_str(), claim.at, claim.macs), ("v0:12:", Some(12), vec![vec![10]]));
        let headers = [("webhook-id", "msg_1"), ("webhook-timestamp", "12"), ("webhook-signature", "v1a,AA== v1,AQ== v1,Ag==")];
        let claim = standard(&request(&headers)).unwrap();
        assert_eq!(
            (claim.before.as_str(), claim.id.as_deref(), claim.macs),
            ("msg_1.12.", Some("msg_1"), vec![vec![1], vec![2]])
        );
    }

    #[test]
    fn what_is_no_claim_is_said() {
        for headers in [&[][..], &[("stripe-signature", "v1=00")], &[("stripe-signature", "t=x,v1=00")]] {
            assert!(stripe(&request(headers)).is_err());
        }
        let twice = [("x-slack-signature", "v0=0a"), ("x-slack-signature", "v0=0a"), ("x-slack-request-timestamp", "1")];
        assert!(slack(&request(&twice)).is_err());
        assert!(marked(&request(&[("a", "sha256=zz")]), "a", "sha256=", Written::Hex).is_err());
    }

    #[test]
    fn long_ids_become_a_hash() {
        assert_eq!(dedup_key("a"), "id:a");
        let long = dedup_key(&"a".repeat(300));
        assert!(long.starts_with("sha256:") && long.len() < 100);
    }
}
