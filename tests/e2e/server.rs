//! A server outside: it remembers what came, and answers as it is told.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    pub(crate) path: String,
    pub(crate) key: String,
    /// Its header fields, `name: value` in lines.
    pub(crate) head: String,
    pub(crate) body: String,
}

#[derive(Default)]
struct State {
    came: Mutex<Vec<Came>>,
    connections: AtomicU64,
    status: AtomicU16,
    location: Mutex<Option<String>>,
    echoes: AtomicBool,
    holds: AtomicBool,
    delay_ms: AtomicU64,
    under_way: AtomicU64,
}

/// See the module. It ends with the process.
pub(crate) struct Server {
    pub(crate) url: String,
    state: Arc<State>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let state = Arc::new(State { status: AtomicU16::new(200), ..State::default() });
        let (sender, address) = std::sync::mpsc::channel();
        let served = state.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(serve(served, |address| sender.send(address).unwrap()));
        });
        Self { url: format!("http://{}", address.recv().unwrap()), state }
    }

    pub(crate) fn came(&self) -> Vec<Came> {
        self.state.came.lock().unwrap().clone()
    }

    /// How many connections were made, also those on which no request came.
    pub(crate) fn connections(&self) -> u64 {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// Redirects from now on.
    pub(crate) fn redirect(&self, status: u16, location: &str) {
        *self.state.location.lock().unwrap() = Some(location.to_owned());
        self.answer_with(status);
    }

    /// Sends back what it is sent, from now on.
    pub(crate) fn echo(&self) {
        self.state.echoes.store(true, Ordering::Relaxed);
    }

    /// Answers with this status from now on.
    pub(crate) fn answer_with(&self, status: u16) {
        self.state.status.store(status, Ordering::Relaxed);
    }

    /// Whether it keeps requests without an answer.
    pub(crate) fn hold(&self, holds: bool) {
        self.state.holds.store(holds, Ordering::Relaxed);
    }

    /// Answers after a while.
    pub(crate) fn answer_after(&self, delay: Duration) {
        self.state.delay_ms.store(delay.as_millis() as u64, Ordering::Relaxed);
    }

    /// How many requests have come and are not answered.
    pub(crate) fn under_way(&self) -> u64 {
        self.state.under_way.load(Ordering::Relaxed)
    }
}

/// Counts one request that is under way, until it is dropped: also when whoever sent it is gone.
struct UnderWay(Arc<State>);

impl UnderWay {
    fn new(state: &Arc<State>) -> Self {
        state.under_way.fetch_add(1, Ordering::Relaxed);
        Self(state.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn serve(state: Arc<State>, tell: impl FnOnce(SocketAddr)) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    tell(listener.local_addr().unwrap());
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        state.connections.fetch_add(1, Ordering::Relaxed);
        let state = state.clone();
        let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let state = state.clone();
            async move {
                let _under_way = UnderWay::new(&state);
                let (parts, body) = request.into_parts();
                let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
                let key = parts.headers.get("idempotency-key").map(|value| value.to_str().unwrap().to_owned());
                let (path, body) = (parts.uri.path().to_owned(), String::from_utf8_lossy(&body).into_owned());
                let fields = parts.headers.iter();
                let head: String =
                    fields.map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()))).collect();
                let status = state.status.load(Ordering::Relaxed);
                let echoed = state.echoes.load(Ordering::Relaxed).then(|| Bytes::from(format!("{head}\n{body}")));
                state.came.lock().unwrap().push(Came { path, key: key.unwrap_or_default(), head, body });
                tokio::time::sleep(Duration::from_millis(state.delay_ms.load(Ordering::Relaxed))).await;
                while state.holds.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                let body = echoed.unwrap_or(Bytes::from_static(b"hello"));
                let mut response = http::Response::new(Full::new(body));
                if let Some(location) = &*state.location.lock().unwrap() {
                    response.headers_mut().insert("location", location.parse().unwrap());
                }
                *response.status_mut() = status.try_into().unwrap();
                Ok::<_, Infallible>(response)
            }
        });
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}
