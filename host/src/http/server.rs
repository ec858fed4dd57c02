//! Connections: how many, how long, and where each request goes.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderValue, Method, Request, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use super::auth::AdminToken;
use super::error::Problem;
use super::proxy::TrustedProxies;
use super::request::{Reply, Served, json_reply, whole_reply};
use super::{api, hooks};
use crate::admin::Admin;
use crate::limits::{CONNECTIONS_MAX, HEAD_BYTES_MAX, HEAD_READ_MS_MAX, HEADERS_MAX, SHUTDOWN_MS_MAX};

/// What requests are served from, once the host has started.
pub struct App {
    /// The host's business.
    pub admin: Arc<Admin>,
    /// Who may use the API.
    pub token: AdminToken,
    /// Whose word is taken for where requests come from.
    pub proxies: TrustedProxies,
}

/// Says when the host is told to stop, to responses that would go on for ever.
#[derive(Clone)]
pub(super) struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// Ends when the host is told to stop.
    pub(super) async fn wait(&mut self) {
        let _ = self.0.wait_for(|stops| *stops).await;
    }
}

/// A listener. Until the host has started, everything is answered with 503.
pub struct Server {
    listener: TcpListener,
    app: Arc<OnceLock<App>>,
}

impl Server {
    /// Listens at an address.
    pub async fn bind(address: SocketAddr) -> std::io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, app: Arc::default() })
    }

    /// The address, with the port that was given out.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// What says that the host has started.
    pub fn starter(&self) -> impl FnOnce(App) + use<> {
        let app = self.app.clone();
        move |started| {
            let _ = app.set(started);
        }
    }

    /// Serves until `stop`; then finishes what is under way, but not for long.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let graceful = GracefulShutdown::new();
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let builder = builder();
        let mut stop = std::pin::pin!(stop);
        let (stop_streams, stopping) = watch::channel(false);
        let stopping = Stopping(stopping);
        loop {
            let accepted = async {
                // Whoever comes beyond the limit waits in the system's queue.
                let permit = connections.clone().acquire_owned().await;
                (self.listener.accept().await, permit)
            };
            tokio::select! {
                (accepted, permit) = accepted => {
                    let (stream, peer) = match accepted {
                        Ok(accepted) => accepted,
                        Err(error) => {
                            // Too many open files, say: others must go first.
                            tracing::warn!(%error, "a connection could not be accepted");
                            tokio::time::sleep(Duration::from_millis(50)).await;
                            continue;
                        }
                    };
                    let _ = stream.set_nodelay(true);
                    let app = self.app.clone();
                    let stopping = stopping.clone();
                    let service = service_fn(move |request| serve(app.clone(), stopping.clone(), request, peer));
                    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
                    let connection = graceful.watch(connection);
                    tokio::spawn(async move {
                        let _permit = permit;
                        if let Err(error) = connection.await {
                            tracing::debug!(%peer, error, "a connection broke");
                        }
                    });
                }
                () = &mut stop => break,
            }
        }
        drop(self.listener);
        stop_streams.send_replace(true);
        let _ = tokio::time::timeout(Duration::from_millis(SHUTDOWN_MS_MAX), graceful.shutdown()).await;
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        // The timeout works only with a timer.
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(HEAD_READ_MS_MAX))
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(16 * 1024)
        .max_concurrent_streams(100)
        .keep_alive_interval(Duration::from_secs(20));
    builder
}

async fn serve(app: Arc<OnceLock<App>>, stopping: Stopping, request: Request<Incoming>, peer: SocketAddr) -> Served {
    let reply = match route(&app, &stopping, request, peer).await {
        Ok(reply) => reply,
        Err(problem) => problem.into_reply(),
    };
    Ok(reply)
}

async fn route(app: &OnceLock<App>, stopping: &Stopping, request: Request<Incoming>, peer: SocketAddr) -> Result<Reply, Problem> {
    let path = request.uri().path().to_owned();
    let is_get = request.method() == Method::GET;
    if path == "/healthz" && is_get {
        return Ok(json_reply(StatusCode::OK, &serde_json::json!({ "status": "alive" })));
    }
    let Some(app) = app.get() else {
        let detail = "the host is starting; try again in a moment";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "starting", detail).with_header(header::RETRY_AFTER, "1"));
    };
    if let Some(path) = path.strip_prefix("/hooks/") {
        let from = app.proxies.client(peer.ip(), request.headers());
        return hooks::serve(&app.admin, path, request, from).await;
    }
    if let Some(path) = path.strip_prefix("/api/v1") {
        app.token.check(request.headers())?;
        return api::serve(&app.admin, stopping, path, request).await;
    }
    match path.as_str() {
        "/readyz" if is_get => Ok(json_reply(StatusCode::OK, &serde_json::json!({ "status": "ready" }))),
        "/" if is_get => {
            let text = concat!(
                "Weft ",
                env!("CARGO_PKG_VERSION"),
                "\n\nThe API is at /api/v1, workflows listen below /hooks/. `weft --help` shows what to do.\n"
            );
            let mut reply = whole_reply(StatusCode::OK, text.into());
            reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            Ok(reply)
        }
        _ => Err(Problem::not_found(format!("there is nothing at `{path}`"))),
    }
}
