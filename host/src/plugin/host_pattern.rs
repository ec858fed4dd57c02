//! Which servers outside: names and addresses with their ports.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which servers: `api.example.org`, `*.example.org`, `*`, `10.0.0.7`, each with `:8080` or `:*` behind it. Without a port it
/// is the default one of `http` and `https`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPattern {
    host: Host,
    port: Port,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Any,
    Name(String),
    Below(String),
    Address(IpAddr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    Default,
    Any,
    Number(u16),
}

/// Why a text does not say which servers.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is not the name of a host: write `api.example.org`, `*.example.org`, `*` or an address, and perhaps `:8080` or `:*`"
)]
pub struct HostPatternError(String);

impl HostPattern {
    /// Every server.
    pub fn any() -> Self {
        Self { host: Host::Any, port: Port::Any }
    }

    /// Whether it names one address: only then may the address be a private one.
    pub fn names_address(&self) -> bool {
        matches!(self.host, Host::Address(_))
    }

    /// Whether it names this server. A host in brackets is an IPv6 address.
    pub fn matches(&self, host: &str, port: u16, is_default_port: bool) -> bool {
        let port_fits = match self.port {
            Port::Default => is_default_port,
            Port::Any => true,
            Port::Number(number) => number == port,
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        port_fits
            && match &self.host {
                Host::Any => true,
                Host::Name(name) => name.eq_ignore_ascii_case(host),
                Host::Below(name) => {
                    let host = host.to_ascii_lowercase();
                    host.strip_suffix(name.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
                }
                Host::Address(address) => host.parse::<IpAddr>().is_ok_and(|host| host.to_canonical() == *address),
            }
    }
}

impl FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<Self, HostPatternError> {
        let fail = || HostPatternError(text.to_owned());
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or_else(fail)?)),
            None => match text.rsplit_once(':') {
                // An IPv6 address without a port has several colons.
                Some((host, port)) if !host.contains(':') => (host, Some(port)),
                _ => (text, None),
            },
        };
        let port = match port {
            None => Port::Default,
            Some("*") => Port::Any,
            Some(number) => Port::Number(number.parse().map_err(|_| fail())?),
        };
        let is_name = |name: &str| {
            let label = |label: &str| {
                !label.is_empty() && label.len() <= 63 && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            };
            name.len() <= 253 && name.split('.').all(label)
        };
        let host = match (host, host.parse::<IpAddr>()) {
            (_, Ok(address)) => Host::Address(address.to_canonical()),
            ("*", _) => Host::Any,
            (host, _) => match host.strip_prefix("*.") {
                Some(name) if is_name(name) => Host::Below(name.to_ascii_lowercase()),
                None if is_name(host) => Host::Name(host.to_ascii_lowercase()),
                _ => return Err(fail()),
            },
        };
        Ok(Self { host, port })
    }
}

impl TryFrom<String> for HostPattern {
    type Error = HostPatternError;

    fn try_from(text: String) -> Result<Self, HostPatternError> {
        text.parse()
    }
}

impl From<HostPattern> for String {
    fn from(pattern: HostPattern) -> Self {
        pattern.to_string()
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Any => f.write_str("*")?,
            Host::Name(name) => f.write_str(name)?,
            Host::Below(name) => write!(f, "*.{name}")?,
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
            Host::Address(address) => write!(f, "{address}")?,
        }
        match self.port {
            Port::Default => Ok(()),
            Port::Any => f.write_str(":*"),
            Port::Number(number) => write!(f, ":{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(patterns: &[&str], host: &str, port: u16, is_default_port: bool) -> bool {
        patterns.iter().any(|pattern| pattern.parse::<HostPattern>().unwrap().matches(host, port, is_default_port))
    }

    #[test]
    fn nothing_is_granted_by_default() {
        assert!(!granted(&[], "example.org", 443, true));
    }

    #[test]
    fn names_and_ports_are_matched_exactly() {
        assert!(granted(&["Example.org"], "example.ORG", 443, true));
        assert!(!granted(&["example.org"], "example.org", 8443, false));
        assert!(granted(&["example.org:8443"], "example.org", 8443, false));
        assert!(granted(&["example.org:*"], "example.org", 1, false));
        assert!(!granted(&["example.org"], "evil-example.org", 443, true));
        assert!(!granted(&["example.org"], "example.org.evil", 443, true));
    }

    #[test]
    fn a_star_stands_for_names_below() {
        assert!(granted(&["*.example.org"], "a.b.example.org", 80, true));
        for other in ["example.org", ".example.org", "badexample.org", "example.org.evil"] {
            assert!(!granted(&["*.example.org"], other, 80, true), "{other}");
        }
    }

    #[test]
    fn an_address_is_one_address_however_it_is_written() {
        assert!(granted(&["127.0.0.1:80"], "127.0.0.1", 80, true));
        assert!(granted(&["[::1]"], "[::1]", 80, true));
        assert!(granted(&["127.0.0.1"], "[::ffff:127.0.0.1]", 80, true));
        assert!(!granted(&["127.0.0.1"], "127.0.0.2", 80, true));
    }

    #[test]
    fn patterns_read_back_and_others_are_refused() {
        for text in ["*", "*:*", "*.example.org", "example.org:8080", "10.0.0.7", "[::1]:8080", "[fd00::1]"] {
            assert_eq!(text.parse::<HostPattern>().unwrap().to_string(), text);
        }
        for text in ["", "a b", "http://x", "x/y", "x:port", "*.", "a.*.b", "x..y", "[::1]x"] {
            assert!(text.parse::<HostPattern>().is_err(), "{text}");
        }
    }
}
