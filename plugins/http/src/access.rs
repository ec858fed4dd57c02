//! Who may call: what the caller shows, and where the request comes from.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use weft_sdk::HttpEvent;
use weft_sdk::capability::verify_secret;
use weft_sdk::prelude::*;

/// A secret of the host.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("x-weft-secret" = true))]
pub(crate) struct Secret(pub(crate) String);

/// User and password.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Basic {
    /// The user's name.
    user: String,
    /// The password.
    password: Secret,
}

/// A token that callers show in `Authorization: Bearer` (RFC 6750).
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bearer {
    /// The token.
    token: Secret,
    /// Tokens that are still good while callers change to the new one.
    #[serde(default)]
    #[schemars(length(max = 10))]
    old_tokens: Vec<Secret>,
}

/// A caller who is not let in: the response, and the reason for the log.
pub(crate) struct Refusal {
    pub(crate) note: String,
    pub(crate) response: HttpResponse,
}

/// A failure is the host's or the config's fault; a refusal the caller's.
pub(crate) type Admitted<T> = Result<Result<T, Refusal>, Failure>;

impl Refusal {
    pub(crate) fn new(status: u16, code: &str, title: &str, detail: &str) -> Self {
        Self { note: format!("{code}: {detail}"), response: problem_response(status, code, title, detail) }
    }

    pub(crate) fn unauthorized(code: &str, detail: &str) -> Self {
        Self::new(401, code, "Unauthorized", detail)
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        self.response = self.response.header(name, value);
        self
    }

    /// As what a trigger does: nothing starts.
    pub(crate) fn reaction(self) -> Reaction {
        Reaction::nothing(&self.note).respond(self.response)
    }
}

impl Basic {
    pub(crate) fn admit(&self, request: &HttpEvent) -> Admitted<()> {
        let refuse = |detail| {
            let refusal = Refusal::unauthorized("unauthorized", detail);
            Ok(Err(refusal.header("www-authenticate", "Basic realm=\"weft\", charset=\"UTF-8\"")))
        };
        let Some((user, password)) = credentials(request, "basic").and_then(|encoded| {
            let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
            decoded.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
        }) else {
            return refuse("this workflow wants a user and a password (HTTP Basic)");
        };
        // The password is compared even for a wrong user, so that time does not tell which of the two was wrong.
        match is_one_of([&self.password], &password)? {
            Guess::Right if user == self.user => Ok(Ok(())),
            Guess::TooMany => Ok(Err(too_many())),
            Guess::Right | Guess::Wrong => refuse("the user or the password is wrong"),
        }
    }
}

impl Bearer {
    pub(crate) fn admit(&self, request: &HttpEvent) -> Admitted<()> {
        let Some(token) = credentials(request, "bearer") else {
            let refusal = Refusal::unauthorized("unauthorized", "this workflow wants a token (`Authorization: Bearer …`)");
            return Ok(Err(refusal.header("www-authenticate", "Bearer realm=\"weft\"")));
        };
        match is_one_of(std::iter::once(&self.token).chain(&self.old_tokens), token)? {
            Guess::Right => Ok(Ok(())),
            Guess::TooMany => Ok(Err(too_many())),
            Guess::Wrong => {
                let refusal = Refusal::unauthorized("unauthorized", "the token is wrong");
                Ok(Err(refusal.header("www-authenticate", "Bearer realm=\"weft\", error=\"invalid_token\"")))
            }
        }
    }
}

/// What stands behind the scheme in the one `Authorization` header.
fn credentials<'a>(request: &'a HttpEvent, scheme: &str) -> Option<&'a str> {
    let mut found = request.headers.iter().filter(|header| header.name == "authorization");
    let (Some(header), None) = (found.next(), found.next()) else { return None };
    let (given, credentials) = header.value.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then(|| credentials.trim())
}

enum Guess {
    Right,
    Wrong,
    /// This address guessed too often.
    TooMany,
}

/// Whoever still shows an old secret is let in however often: a secret that is not the one counts as a guess only at itself.
fn is_one_of<'a>(secrets: impl IntoIterator<Item = &'a Secret>, given: &str) -> Result<Guess, Failure> {
    let mut guess = Guess::Wrong;
    for (nth, secret) in secrets.into_iter().enumerate() {
        match verify_secret(&secret.0, given) {
            Ok(true) => return Ok(Guess::Right),
            Ok(false) => {}
            Err(fault) if fault.code == "over-limit" => guess = Guess::TooMany,
            // An old one may have been removed meanwhile.
            Err(fault) if nth > 0 && fault.code == "not-found" => {}
            Err(fault) => return Err(fault.into()),
        }
    }
    Ok(guess)
}

fn too_many() -> Refusal {
    let detail = "too many wrong guesses from this address; wait a minute";
    Refusal::new(429, "too-many-guesses", "Too Many Requests", detail).header("retry-after", "60")
}

/// Refuses whoever does not come from these addresses and networks; from everywhere, if there are none.
pub(crate) fn admit_address(allowed: &[String], remote_address: &str) -> Admitted<()> {
    if allowed.is_empty() {
        return Ok(Ok(()));
    }
    let address: Option<IpAddr> = remote_address.parse().ok();
    for (nth, network) in allowed.iter().enumerate() {
        let network =
            network_of(network).ok_or_else(|| Failure::invalid_config(&format!("/allow_from/{nth}"), no_network(network)))?;
        if address.is_some_and(|address| network.contains(&address.to_canonical())) {
            return Ok(Ok(()));
        }
    }
    Ok(Err(Refusal::new(403, "address-not-allowed", "Forbidden", "this workflow takes no requests from your address")))
}

/// `192.0.2.0/24`, or one address.
fn network_of(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

fn no_network(text: &str) -> String {
    format!("`{text}` is neither an address nor a network: write `192.0.2.7`, `10.0.0.0/8` or `2001:db8::/32`")
}

/// What is wrong with `allow_from` of a config as written.
pub(crate) fn check_addresses(config: &Value) -> Vec<Problem> {
    let allowed = config["allow_from"].as_array().into_iter().flatten().enumerate();
    let texts = allowed.filter_map(|(nth, network)| Some((nth, network.as_str()?)));
    let wrong = texts.filter(|(_, text)| !text.contains("{{") && network_of(text).is_none());
    let say = |(nth, text)| Problem::new(&format!("/allow_from/{nth}"), no_network(text));
    wrong.map(say).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_addresses_of_their_kind() {
        let allowed = ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"].map(String::from);
        let is_in = |address| matches!(admit_address(&allowed, address), Ok(Ok(())));
        for (address, good) in [
            ("10.255.0.1", true),
            ("11.0.0.1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8:1::1", true),
            ("2001:db9::1", false),
            ("::ffff:10.0.0.1", true),
            ("", false),
        ] {
            assert_eq!(is_in(address), good, "{address}");
        }
        assert!(matches!(admit_address(&[], "anything"), Ok(Ok(()))));
        assert!(admit_address(&["10.0.0.0/33".into()], "10.0.0.1").is_err());
    }
}
