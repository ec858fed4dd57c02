//! Where a request goes, and whether it may.

use std::net::IpAddr;

use percent_encoding::percent_decode_str;
use url::{Host, Url};

use super::address::is_public;
use crate::plugin::Grants;
use crate::run::Fault;

/// Where a request goes: a URL that was read once, by the rules that browsers read by (WHATWG URL), so that what is checked
/// and what is connected to are the same.
pub(super) struct Target {
    /// Without user and password.
    pub(super) url: Url,
    /// A name in lower case, or an address; one of IPv6 in brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) is_default_port: bool,
    /// User and password, decoded.
    pub(super) credentials: Option<(String, String)>,
}

impl Target {
    /// Reads a URL from a guest.
    pub(super) fn read(text: &str) -> Result<Self, Fault> {
        let is_absolute = ["http://", "https://"].iter().any(|scheme| {
            let start = text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
            start && !text[scheme.len()..].starts_with(['/', '\\'])
        });
        let has_control = text.bytes().any(|byte| byte.is_ascii_control());
        if !is_absolute || has_control {
            let shown: String = text.chars().take(200).collect();
            return Err(Fault::new("invalid", format!("`{}` is no absolute URL of http or https", shown.escape_debug())));
        }
        let url: Url = text.parse().map_err(|error| Fault::new("invalid", format!("the URL cannot be read: {error}")))?;
        Self::of(url)
    }

    /// Where a redirect leads.
    pub(super) fn redirected(&self, location: &str) -> Result<Self, Fault> {
        let url = self.url.join(location);
        let url = url.map_err(|error| Fault::new("invalid", format!("the redirect's URL cannot be read: {error}")))?;
        Self::of(url)
    }

    fn of(mut url: Url) -> Result<Self, Fault> {
        let default_port = match url.scheme() {
            "http" => 80,
            "https" => 443,
            scheme => return Err(Fault::new("invalid", format!("`{scheme}` is neither http nor https"))),
        };
        let Some(host) = url.host_str().filter(|host| !host.is_empty()).map(ToOwned::to_owned) else {
            return Err(Fault::new("invalid", "the URL names no host"));
        };
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let has_credentials = !url.username().is_empty() || url.password().is_some();
        let credentials = has_credentials.then(|| (decoded(url.username()), decoded(url.password().unwrap_or_default())));
        // Neither can fail: the URL has a host and is no `file:`.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        url.set_fragment(None);
        let port = url.port().unwrap_or(default_port);
        Ok(Self { host, port, is_default_port: port == default_port, credentials, url })
    }

    /// Whether a request with this method may go there.
    pub(super) fn admit(&self, grants: &Grants, method: &str) -> Result<(), Fault> {
        let grant = grants.check_http(method, &self.host, self.port, self.is_default_port)?;
        if self.address().is_some_and(|address| !is_public(address)) && !grant.names_address() {
            let message = format!("{} is a private address; a grant must name the address itself", self.host);
            return Err(Fault::new("denied", message));
        }
        Ok(())
    }

    /// Its address, if the URL names one: that is connected to as it stands. Names are checked when they are resolved.
    pub(super) fn address(&self) -> Option<IpAddr> {
        match self.url.host() {
            Some(Host::Ipv4(address)) => Some(address.into()),
            Some(Host::Ipv6(address)) => Some(address.into()),
            _ => None,
        }
    }

    pub(super) fn is_same_origin(&self, other: &Self) -> bool {
        self.url.origin() == other.url.origin()
    }
}
