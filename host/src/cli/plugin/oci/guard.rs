//! The way to a registry: each connection is made here, also those to which the registry sends us on (redirects, its token server,
//! where it wants an upload). None of them leads to a private address that nobody named, or goes without TLS unless that was asked for.
//!
//! The library makes its own connections and knows no such rule. It is given a SOCKS proxy (RFC 1928), which lives as long as this does.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use crate::capability::is_public;
use crate::limits::{REGISTRY_BYTES_MAX, REGISTRY_SILENCE_MAX};

/// What it lets through.
pub(super) struct Rules {
    /// Servers that are reached wherever they are: `host:port`.
    pub(super) named: Vec<String>,
    /// Whether requests without TLS are.
    pub(super) plain_http: bool,
}

/// How everything begins that is sent by TLS (RFC 8446, 5.1: the content type of a record).
const TLS_HANDSHAKE: [u8; 1] = [22];

pub(super) struct Guard {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

struct Shared {
    rules: Rules,
    /// How much may still come.
    room: Mutex<u64>,
    /// Why something was not done.
    refused: Mutex<Option<Refusal>>,
}

/// Why something was not done; in words that go on from the registry's name.
pub(super) enum Refusal {
    /// It could not be.
    Failed(String),
    /// It may not be.
    Denied(String),
}

impl Guard {
    pub(super) async fn start(rules: Rules) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { rules, room: Mutex::new(REGISTRY_BYTES_MAX), refused: Mutex::default() });
        let accepting = {
            let shared = shared.clone();
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let shared = shared.clone();
                    tokio::spawn(async move {
                        // Whoever asked sees that it ended, and `refused` says why.
                        let _ = shared.serve(stream).await;
                    });
                }
            })
        };
        Ok(Self { address, shared, accepting: accepting.abort_handle() })
    }

    /// What the library is given as its proxy.
    pub(super) fn url(&self) -> String {
        format!("socks5h://{}", self.address)
    }

    /// Why something was not done: the first reason, from which all others follow. It is told once.
    pub(super) fn refused(&self) -> Option<Refusal> {
        self.shared.refused.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    async fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let (host, port) = asked(&mut client).await?;
        // 0: connected, 1: failed. Where it is bound is nobody's business.
        let answer = |code: u8| [5, code, 0, 1, 0, 0, 0, 0, 0, 0];
        let mut server = match self.connect(&host, port).await {
            Ok(server) => server,
            Err(refusal) => {
                self.refuse(refusal);
                return client.write_all(&answer(1)).await;
            }
        };
        client.write_all(&answer(0)).await?;
        let mut first = [0];
        if client.peek(&mut first).await? == 0 {
            return Ok(());
        }
        if !self.rules.plain_http && first != TLS_HANDSHAKE {
            self.refuse(Refusal::Denied(format!("it sends us to {host}:{port} without TLS")));
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let up = async {
            tokio::io::copy(&mut from_client, &mut to_server).await?;
            to_server.shutdown().await
        };
        let down = async {
            let mut piece = vec![0; 16 * 1024];
            loop {
                let count = from_server.read(&mut piece).await?;
                if count == 0 {
                    return to_client.shutdown().await;
                }
                self.take(count)?;
                to_client.write_all(&piece[..count]).await?;
            }
        };
        tokio::try_join!(up, down).map(|_| ())
    }

    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, Refusal> {
        let place = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let failed = |error: io::Error| Refusal::Failed(format!("{place}: {error}"));
        let mut addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await.map_err(failed)?.collect();
        if !self.rules.named.iter().any(|named| named.eq_ignore_ascii_case(&place)) {
            addresses.retain(|address| is_public(address.ip()));
            if addresses.is_empty() {
                return Err(Refusal::Denied(format!(
                    "it sends us to {place}, which is a private address; if that is right, name it: --private {place}"
                )));
            }
        }
        match tokio::time::timeout(REGISTRY_SILENCE_MAX, TcpStream::connect(&*addresses)).await {
            Ok(connected) => connected.map_err(failed),
            Err(_) => Err(failed(io::ErrorKind::TimedOut.into())),
        }
    }

    /// Counts what came.
    fn take(&self, bytes: usize) -> io::Result<()> {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        let left = room.checked_sub(bytes as u64);
        *room = left.unwrap_or(0);
        if left.is_none() {
            let why = format!("it sends more than the {REGISTRY_BYTES_MAX} bytes that a plugin and all around it may have");
            self.refuse(Refusal::Denied(why));
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(())
    }

    fn refuse(&self, refusal: Refusal) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(refusal);
    }
}

/// Where somebody who speaks SOCKS 5 wants to be connected to.
async fn asked(client: &mut TcpStream) -> io::Result<(String, u16)> {
    let bad = || io::Error::from(io::ErrorKind::InvalidData);
    let [version, methods] = read(client).await?;
    let mut offered = vec![0; methods.into()];
    client.read_exact(&mut offered).await?;
    if version != 5 || !offered.contains(&0) {
        return Err(bad());
    }
    client.write_all(&[5, 0]).await?;
    let [version, command, _, kind] = read(client).await?;
    if version != 5 || command != 1 {
        return Err(bad());
    }
    let host = match kind {
        1 => Ipv4Addr::from(read::<4>(client).await?).to_string(),
        4 => Ipv6Addr::from(read::<16>(client).await?).to_string(),
        3 => {
            let [length] = read(client).await?;
            let mut name = vec![0; length.into()];
            client.read_exact(&mut name).await?;
            String::from_utf8(name).map_err(|_| bad())?
        }
        _ => return Err(bad()),
    };
    Ok((host, u16::from_be_bytes(read(client).await?)))
}

async fn read<const N: usize>(client: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// `HOST:PORT`, or `HOST` for port 443, as the guard compares it.
pub(super) fn place(text: &str) -> Option<String> {
    let with_port = |port: u16| match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => format!("[{address}]:{port}"),
        _ => format!("{text}:{port}"),
    };
    if text.is_empty() || text.contains(['/', '@', ' ']) {
        None
    } else if let Ok(address) = text.parse::<SocketAddr>() {
        Some(address.to_string())
    } else {
        match text.rsplit_once(':').filter(|_| text.parse::<IpAddr>().is_err()) {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Some(text.to_owned()),
            Some(_) => None,
            None => Some(with_port(443)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes back from a server behind the guard that is sent this, and what the guard says.
    fn through(first: &[u8], plain_http: bool) -> (Vec<u8>, bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let place = server.local_addr().unwrap();
            tokio::spawn(async move {
                while let Ok((mut stream, _)) = server.accept().await {
                    let _ = stream.write_all(b"secret").await;
                }
            });
            let guard = Guard::start(Rules { named: vec![place.to_string()], plain_http }).await.unwrap();
            let mut stream = TcpStream::connect(guard.address).await.unwrap();
            let [high, low] = place.port().to_be_bytes();
            stream.write_all(&[&[5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, high, low][..], first].concat()).await.unwrap();
            let mut came = Vec::new();
            let _ = stream.read_to_end(&mut came).await;
            (came, matches!(guard.refused(), Some(Refusal::Denied(why)) if why.contains("without TLS")))
        })
    }

    #[test]
    fn without_tls_nothing_goes_through() {
        for (first, plain_http, passes) in [(&b"GET"[..], false, false), (&[22, 3, 1], false, true), (b"GET", true, true)] {
            let (came, is_denied) = through(first, plain_http);
            assert_eq!((came.ends_with(b"secret"), is_denied), (passes, !passes), "{first:?}: {came:?}");
        }
    }

    #[test]
    fn a_place_has_a_port() {
        for (text, expected) in [
            ("store.example", Some("store.example:443")),
            ("store.example:9000", Some("store.example:9000")),
            ("10.0.0.1", Some("10.0.0.1:443")),
            ("fd00::1", Some("[fd00::1]:443")),
            ("[fd00::1]:9000", Some("[fd00::1]:9000")),
            ("store.example:", None),
            ("store.example:99999", None),
            (":443", None),
            ("https://store.example", None),
            ("", None),
        ] {
            assert_eq!(place(text).as_deref(), expected, "{text}");
        }
    }
}
