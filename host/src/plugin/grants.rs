//! What an operator lets a plugin do with what it imports. The one place where that is decided.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::host_pattern::{HostPattern, HostPatternError};
use super::limits::Limits;
use crate::run::Fault;

/// What a plugin may do. Without a grant it may do nothing outside its run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grants {
    /// Requests that it may send, by `http` and by `wasi:http`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub http: Vec<HttpGrant>,
    /// Secrets that it may use, where a config names them for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretGrant>,
    /// Connections that its requests may use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub connections: Vec<NamePattern>,
    /// Workflows that it may start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workflows: Vec<NamePattern>,
    /// Whether it may keep values of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kv: bool,
    /// Whether it may make files in its runs and read those that they know.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub files: bool,
    /// Whether what the host answers its calls is kept with its runs, so that another version can be tried on that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub record: bool,
    /// What it may take, where that differs from what every plugin may.
    #[serde(default, skip_serializing_if = "Limits::is_nothing")]
    pub limits: Limits,
}

/// What a secret is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretVerb {
    /// To make a signature (`crypto.hmac`).
    Sign,
    /// To check a signature or what somebody claims to be the secret.
    Verify,
    /// To be sent to a server outside.
    Send,
}

/// Requests to servers: `api.example.org`, or for some methods only, `GET,HEAD api.example.org`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HttpGrant {
    /// In upper case; empty: all.
    methods: Vec<String>,
    /// Where to.
    pub to: HostPattern,
}

/// Uses of secrets: `github`, or for some uses only, `verify github`, `sign,send acme-*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretGrant {
    /// Empty: all.
    verbs: Vec<SecretVerb>,
    name: NamePattern,
}

/// Names: `orders`, `orders-*`, `*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NamePattern(String);

/// Why a text grants nothing.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// See there.
    #[error(transparent)]
    Host(#[from] HostPatternError),
    /// It begins with what are no methods.
    #[error("`{0}` is no list of HTTP methods: write `GET,POST api.example.org`, or only the host for all methods")]
    Methods(String),
    /// It begins with what are no uses.
    #[error(
        "`{0}` is no list of uses of a secret: write `sign`, `verify`, `send` with commas between, or only the name for all uses"
    )]
    Verbs(String),
    /// Not a name.
    #[error("`{0}` is no name: write letters, digits, `-` and `_`, and perhaps `*` at the end; `*` alone stands for all")]
    Name(String),
}

impl Grants {
    /// What a built-in plugin may do: whatever there is, but to private addresses only where that is granted.
    pub fn everything() -> Self {
        let any = NamePattern::any;
        Self {
            http: vec![HttpGrant { methods: Vec::new(), to: HostPattern::any() }],
            secrets: vec![SecretGrant { verbs: Vec::new(), name: any() }],
            connections: vec![any()],
            workflows: vec![any()],
            kv: true,
            files: true,
            record: false,
            // What a built-in plugin is given to compute is its users', who must not take it from each other.
            limits: Limits { breaks_in_a_row: Some(0), ..Limits::default() },
        }
    }

    /// The servers that a request may go to if it goes to this one; a fault: it may not be sent.
    pub fn check_http(&self, method: &str, host: &str, port: u16, is_default_port: bool) -> Result<&HostPattern, Fault> {
        let to_host: Vec<&HttpGrant> = self.http.iter().filter(|grant| grant.to.matches(host, port, is_default_port)).collect();
        if to_host.is_empty() {
            return Err(denied(format_args!("send requests to {host}:{port}"), format_args!("--http {host}:{port}")));
        }
        // Only one that names the address itself is enough for a private one.
        let found = to_host.into_iter().filter(|grant| grant.allows(method)).max_by_key(|grant| grant.to.names_address());
        let missing = || denied(format_args!("send {method} to {host}:{port}"), format_args!("--http '{method} {host}:{port}'"));
        found.map(|grant| &grant.to).ok_or_else(missing)
    }

    /// Whether a secret may be used so, where a config names it.
    pub fn check_secret(&self, name: &str, verb: SecretVerb) -> Result<(), Fault> {
        let fits = |grant: &SecretGrant| grant.name.matches(name) && (grant.verbs.is_empty() || grant.verbs.contains(&verb));
        let verb = verb.as_str();
        let missing = || denied(format_args!("{verb} with the secret `{name}`"), format_args!("--secret '{verb} {name}'"));
        if self.secrets.iter().any(fits) { Ok(()) } else { Err(missing()) }
    }

    /// Whether a connection may be used. Whoever may use it reaches what it leads to, and nothing else by it.
    pub fn check_connection(&self, name: &str) -> Result<(), Fault> {
        let missing = || denied(format_args!("use the connection `{name}`"), format_args!("--connection {name}"));
        if self.connections.iter().any(|pattern| pattern.matches(name)) { Ok(()) } else { Err(missing()) }
    }

    /// Whether a workflow may be started.
    pub fn check_start(&self, workflow: &str) -> Result<(), Fault> {
        let missing = || denied(format_args!("start the workflow `{workflow}`"), format_args!("--workflow {workflow}"));
        if self.workflows.iter().any(|pattern| pattern.matches(workflow)) { Ok(()) } else { Err(missing()) }
    }

    /// Whether values of the plugin's own may be read and written.
    pub fn check_kv(&self) -> Result<(), Fault> {
        if self.kv { Ok(()) } else { Err(denied(format_args!("keep values of its own"), format_args!("--kv"))) }
    }

    /// Whether files may be made and read.
    pub fn check_files(&self) -> Result<(), Fault> {
        if self.files { Ok(()) } else { Err(denied(format_args!("make and read files"), format_args!("--files"))) }
    }
}

fn denied(what: fmt::Arguments<'_>, how: fmt::Arguments<'_>) -> Fault {
    Fault::new("denied", format!("no grant lets this plugin {what}: `weft plugin grant NAME --add {how}` gives one"))
}

impl SecretVerb {
    const ALL: [Self; 3] = [Self::Sign, Self::Verify, Self::Send];

    fn as_str(self) -> &'static str {
        match self {
            Self::Sign => "sign",
            Self::Verify => "verify",
            Self::Send => "send",
        }
    }
}

impl HttpGrant {
    fn allows(&self, method: &str) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|allowed| allowed == method)
    }
}

impl NamePattern {
    fn any() -> Self {
        Self("*".into())
    }

    fn matches(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => self.0 == name,
        }
    }
}

/// What stands before the last space, and what behind it.
fn restricted(text: &str) -> (Option<&str>, &str) {
    match text.trim().rsplit_once(char::is_whitespace) {
        Some((only, rest)) => (Some(only.trim()), rest),
        None => (None, text.trim()),
    }
}

impl FromStr for HttpGrant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let (only, host) = restricted(text);
        let is_method = |method: &&str| !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
        let methods: Vec<&str> = only.into_iter().flat_map(|only| only.split(',').map(str::trim)).collect();
        if !methods.iter().all(is_method) {
            return Err(GrantError::Methods(only.unwrap_or_default().into()));
        }
        Ok(Self { methods: methods.into_iter().map(Into::into).collect(), to: host.parse()? })
    }
}

impl FromStr for SecretGrant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let (only, name) = restricted(text);
        let read = |word: &str| SecretVerb::ALL.into_iter().find(|verb| verb.as_str() == word.trim());
        let verbs: Option<Vec<SecretVerb>> = only.into_iter().flat_map(|only| only.split(',')).map(read).collect();
        let verbs = verbs.ok_or_else(|| GrantError::Verbs(only.unwrap_or_default().into()))?;
        Ok(Self { verbs, name: name.parse()? })
    }
}

impl FromStr for NamePattern {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let name = text.strip_suffix('*').unwrap_or(text);
        let good = !text.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if good { Ok(Self(text.into())) } else { Err(GrantError::Name(text.into())) }
    }
}

impl fmt::Display for HttpGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.methods.is_empty() {
            write!(f, "{} ", self.methods.join(","))?;
        }
        self.to.fmt(f)
    }
}

impl fmt::Display for SecretGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.verbs.is_empty() {
            write!(f, "{} ", self.verbs.iter().map(|verb| verb.as_str()).collect::<Vec<_>>().join(","))?;
        }
        f.write_str(&self.name.0)
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// These stand as texts in JSON and on the command line.
macro_rules! as_text {
    ($($name:ty),*) => {$(
        impl TryFrom<String> for $name {
            type Error = GrantError;

            fn try_from(text: String) -> Result<Self, GrantError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(grant: $name) -> Self {
                grant.to_string()
            }
        }
    )*};
}

as_text!(HttpGrant, SecretGrant, NamePattern);

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(json: &str) -> Grants {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn nothing_is_granted_by_default() {
        let none = grants("{}");
        for denied in [
            none.check_http("GET", "example.org", 443, true).err(),
            none.check_secret("a", SecretVerb::Sign).err(),
            none.check_start("a").err(),
            none.check_connection("a").err(),
            none.check_kv().err(),
            none.check_files().err(),
        ] {
            assert_eq!(&*denied.unwrap().code, "denied");
        }
    }

    #[test]
    fn methods_narrow_a_grant_of_requests() {
        let some = grants(r#"{"http": ["GET,HEAD example.org", "other.example:8080"]}"#);
        let allowed = |method, host, port| some.check_http(method, host, port, port == 443).is_ok();
        assert!(allowed("GET", "example.org", 443) && allowed("HEAD", "example.org", 443));
        assert!(!allowed("POST", "example.org", 443) && !allowed("GET", "example.org", 8080));
        assert!(allowed("DELETE", "other.example", 8080));
        let said = some.check_http("POST", "example.org", 443, true).unwrap_err().message;
        assert!(said.contains("--http 'POST example.org:443'"), "{said}");
    }

    #[test]
    fn uses_narrow_a_grant_of_secrets() {
        let some = grants(r#"{"secrets": ["verify github", "sign,send acme-*"]}"#);
        let allowed = |name, verb| some.check_secret(name, verb).is_ok();
        assert!(allowed("github", SecretVerb::Verify) && !allowed("github", SecretVerb::Send));
        assert!(allowed("acme-key", SecretVerb::Send) && !allowed("acme-key", SecretVerb::Verify));
        assert!(!allowed("other", SecretVerb::Sign));
    }

    #[test]
    fn names_are_exact_or_begin_so() {
        let some = grants(r#"{"workflows": ["orders", "mail-*"]}"#);
        for (name, allowed) in
            [("orders", true), ("orders-2", false), ("order", false), ("mail-", true), ("mail-a", true), ("mai", false)]
        {
            assert_eq!(some.check_start(name).is_ok(), allowed, "{name}");
        }
    }

    #[test]
    fn texts_read_back_and_others_are_refused() {
        for text in ["example.org", "GET,POST *.example.org:8443", "PATCH *:*"] {
            assert_eq!(text.parse::<HttpGrant>().unwrap().to_string(), text);
        }
        for text in ["get example.org", "GET, example.org", "", "GET http://x"] {
            assert!(text.parse::<HttpGrant>().is_err(), "{text}");
        }
        assert_eq!("GET POST".parse::<HttpGrant>().unwrap().to_string(), "GET post", "a host may have the name of a method");
        for text in ["github", "verify github", "sign,verify,send *"] {
            assert_eq!(text.parse::<SecretGrant>().unwrap().to_string(), text);
        }
        for text in ["read github", "", "a*b", "a b c"] {
            assert!(text.parse::<SecretGrant>().is_err(), "{text}");
        }
    }
}
