//! Which addresses are connected to: those of the public internet.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

/// The addresses of a name, when they are known.
pub(super) type Resolved = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// What resolves names, once for each connection; tests give their own.
pub(super) type Resolve = Arc<dyn Fn(Name) -> Resolved + Send + Sync>;

/// Resolves names, and leaves out addresses that are not public, unless private ones are allowed. What it gives is what is connected to.
#[derive(Clone)]
pub(super) struct Resolver {
    pub(super) resolve: Resolve,
    pub(super) public_only: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("`{0}` is the name of a private address, which is not connected to by name")]
pub(super) struct NotPublic(String);

#[derive(Debug, thiserror::Error)]
#[error("`{0}` cannot be resolved: {1}")]
pub(super) struct Unresolved(String, io::Error);

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let host = name.as_str().to_owned();
        let (resolving, public_only) = ((self.resolve)(name), self.public_only);
        Box::pin(async move {
            let all = resolving.await.map_err(|error| Unresolved(host.clone(), error))?;
            let public: Vec<SocketAddr> = all.into_iter().filter(|address| !public_only || is_public(address.ip())).collect();
            if public.is_empty() { Err(NotPublic(host).into()) } else { Ok(public.into_iter()) }
        })
    }
}

/// Whether an address belongs to the public internet (IANA's registries of special-purpose addresses), also where it stands for an
/// IPv4 address.
pub fn is_public(address: IpAddr) -> bool {
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

    fn resolved(addresses: &'static [&'static str]) -> Result<Vec<String>, String> {
        let resolve: Resolve = Arc::new(move |_| {
            let all = addresses.iter().map(|address| SocketAddr::new(address.parse().unwrap(), 0)).collect();
            Box::pin(async move { Ok(all) })
        });
        let resolving = Resolver { resolve, public_only: true }.call("name.example".parse().unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let resolved = runtime.block_on(resolving).map_err(|error| error.to_string())?;
        Ok(resolved.map(|address| address.ip().to_string()).collect())
    }

    #[test]
    fn a_name_leads_to_its_public_addresses_only() {
        assert_eq!(resolved(&["8.8.8.8", "127.0.0.1", "10.0.0.1", "::1"]).unwrap(), ["8.8.8.8"]);
        assert!(resolved(&["127.0.0.1", "169.254.169.254"]).unwrap_err().contains("private address"));
        assert!(resolved(&[]).is_err());
    }
}
