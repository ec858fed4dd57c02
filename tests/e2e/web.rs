//! A server outside that answers as a test says, with or without TLS. It remembers what it was asked.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// With its query.
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What it is answered.
pub(crate) struct Reply {
    status: u16,
    headers: String,
    body: Vec<u8>,
    delay: Duration,
}

impl Reply {
    pub(crate) fn new(status: u16, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: format!("content-type: {media_type}\r\n"), body: body.into(), delay: Duration::ZERO }
    }

    pub(crate) fn json(body: &serde_json::Value) -> Self {
        Self::new(200, "application/json", body.to_string())
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    pub(crate) fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

/// See the module. It ends with the process.
pub(crate) struct Web {
    /// Host and port.
    pub(crate) address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// What it answers the nth request, from 0.
type Answer = dyn Fn(&Asked, usize) -> Reply + Send + Sync;

impl Web {
    pub(crate) fn start(answer: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(None, Arc::new(answer))
    }

    pub(crate) fn with_tls(
        tls: Arc<rustls::ServerConfig>,
        answer: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::with(Some(tls), Arc::new(answer))
    }

    fn with(tls: Option<Arc<rustls::ServerConfig>>, answer: Arc<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let kept = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, tls, answer, kept) = (stream.unwrap(), tls.clone(), answer.clone(), kept.clone());
                std::thread::spawn(move || match tls {
                    None => serve(&mut stream, &answer, &kept),
                    Some(tls) => {
                        serve(&mut rustls::StreamOwned::new(rustls::ServerConnection::new(tls).unwrap(), stream), &answer, &kept);
                    }
                });
            }
        });
        Self { address, asked }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn port(&self) -> &str {
        self.address.rsplit(':').next().unwrap()
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// One request a connection.
fn serve(stream: &mut (impl Read + Write), answer: &Arc<Answer>, kept: &Mutex<Vec<Asked>>) {
    let Some(asked) = read(stream) else { return };
    let nth = {
        let mut kept = kept.lock().unwrap();
        kept.push(asked.clone());
        kept.len() - 1
    };
    let Reply { status, headers, body, delay } = answer(&asked, nth);
    std::thread::sleep(delay);
    let head = format!("HTTP/1.1 {status} x\r\n{headers}connection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    // Who asked may be gone.
    let _ = stream.write_all(&[head.as_bytes(), &body].concat()).and_then(|()| stream.flush());
}

fn read(stream: &mut impl Read) -> Option<Asked> {
    let (mut all, mut bytes) = (Vec::new(), [0; 16 * 1024]);
    let end = loop {
        match stream.read(&mut bytes) {
            Ok(count @ 1..) => all.extend_from_slice(&bytes[..count]),
            _ => return None,
        }
        if let Some(at) = all.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
    };
    let head = String::from_utf8_lossy(&all[..end]).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = all.split_off(end + 4);
    while body.len() < length {
        match stream.read(&mut bytes) {
            Ok(count @ 1..) => body.extend_from_slice(&bytes[..count]),
            _ => return None,
        }
    }
    Some(Asked { method, path, headers, body })
}
