//! Who sent a request that came through proxies.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use http::HeaderMap;
use http::header::FORWARDED;
use ipnet::IpNet;

/// What proxies add to requests, unless they write `Forwarded` (RFC 7239).
const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// The proxies whose word for it is taken.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(pub Vec<Network>);

/// `10.0.0.0/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let network = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        network.map(Self).ok_or_else(|| "write an address or a network, such as `10.0.0.0/8` or `2001:db8::7`".to_owned())
    }
}

impl TrustedProxies {
    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.0.contains(&address))
    }

    /// The address that a request came from. Each proxy adds whom it heard it from at the right, so the right-most one that is no
    /// trusted proxy is whom a trusted one heard; what stands left of it is that one's word. None: both headers are there
    /// and do not agree, so one of them came from outside, and nobody knows which.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
        let peer = peer.to_canonical();
        if self.0.is_empty() || !self.trusts(peer) {
            return Some(peer);
        }
        let listed = self.right_most(peer, headers, X_FORWARDED_FOR, address);
        let forwarded = self.right_most(peer, headers, FORWARDED.as_str(), |entry| {
            let pairs = entry.split(';').filter_map(|pair| pair.trim().split_once('='));
            let found = pairs.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("for"));
            address(found?.1.trim_matches('"'))
        });
        match (listed, forwarded) {
            (Some(one), Some(other)) if one != other => None,
            (one, other) => Some(one.or(other).unwrap_or(peer)),
        }
    }

    /// None: there is no such header. An entry that cannot be read ends the way back at the proxy that added it.
    fn right_most(&self, peer: IpAddr, headers: &HeaderMap, name: &str, read: impl Fn(&str) -> Option<IpAddr>) -> Option<IpAddr> {
        let mut last = None;
        let values: Vec<&str> = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default()).collect();
        for entry in values.iter().rev().flat_map(|value| value.rsplit(',')) {
            match read(entry.trim()) {
                Some(address) if self.trusts(address) => last = Some(address),
                Some(address) => return Some(address),
                None => return Some(last.unwrap_or(peer)),
            }
        }
        last
    }
}

/// `192.0.2.7`, `192.0.2.7:80`, `2001:db8::7`, `[2001:db8::7]`, `[2001:db8::7]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.parse().ok().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, headers: &[(&'static str, &str)]) -> String {
        let proxies = TrustedProxies(["10.0.0.0/8", "::1"].map(|network| network.parse().unwrap()).to_vec());
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        proxies.client(peer.parse().unwrap(), &map).map(|address| address.to_string()).unwrap_or_default()
    }

    #[test]
    fn the_right_most_address_that_is_no_proxy_counts() {
        let xff = "x-forwarded-for";
        for (peer, headers, expected) in [
            ("192.0.2.1", &[(xff, "198.51.100.1")][..], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[(xff, "198.51.100.1")], "198.51.100.1"),
            ("::ffff:10.0.0.1", &[(xff, "203.0.113.9, 198.51.100.1, 10.0.0.2")], "198.51.100.1"),
            ("10.0.0.1", &[(xff, "203.0.113.9"), (xff, "198.51.100.1")], "198.51.100.1"),
            ("10.0.0.1", &[(xff, "198.51.100.1:4711")], "198.51.100.1"),
            ("10.0.0.1", &[(xff, "203.0.113.9, unknown")], "10.0.0.1"),
            ("10.0.0.1", &[(xff, "203.0.113.9, unknown, 10.0.0.7")], "10.0.0.7"),
            ("10.0.0.1", &[(xff, "10.0.0.3")], "10.0.0.3"),
            ("::1", &[("forwarded", r#"for=203.0.113.9, for="[2001:db8::7]:80";proto=https"#)], "2001:db8::7"),
            ("::1", &[("forwarded", "For=198.51.100.1"), (xff, "198.51.100.1")], "198.51.100.1"),
            ("::1", &[("forwarded", "for=198.51.100.1"), (xff, "203.0.113.9")], ""),
            ("::1", &[("forwarded", "proto=https")], "::1"),
        ] {
            assert_eq!(client(peer, headers), expected, "{peer} {headers:?}");
        }
    }
}
