//! A host in a process of its own, and the load that is put on it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// A body that the sample flow answers with [`ANSWER`].
pub(crate) const BODY: &str = r#"{"price":150}"#;

/// See [`BODY`].
pub(crate) const ANSWER: &str = r#"{"tier":"big"}"#;

/// webhook → data → condition → response, with the key `bench`.
pub(crate) fn sample() -> Value {
    let steps = json!([
        {"key": "total", "type": "data", "config": {"fields": {"total": "{{$context.data.price}}"}}},
        {"key": "big", "type": "condition", "config": {"left": "{{$steps.total.result.total}}", "operator": "gt", "right": 100},
         "branches": {"yes": [{"key": "answer", "type": "response", "config": {"body": {"tier": "big"}}}], "no": []}},
    ]);
    json!({"weft": 1, "key": "bench", "trigger": {"type": "webhook", "config": {"mode": "sync"}}, "steps": steps})
}

/// A process that answers requests.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) address: String,
    pub(crate) data: PathBuf,
}

impl Server {
    /// A host over a data folder.
    pub(crate) fn weft(data: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data).stderr(Stdio::piped()).env("NO_COLOR", "1");
        let mut child = command.spawn().expect("weft starts");
        let log = std::io::BufReader::new(child.stderr.take().expect("piped"));
        let mut lines = std::io::BufRead::lines(log).map_while(Result::ok);
        let address = lines.find_map(|line| Some(line.split_once("listening at http://")?.1.split(' ').next()?.to_owned()));
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address: address.expect("weft listens"), data: data.to_owned() }
    }

    /// A verb of the command line against this host.
    pub(crate) fn cli(&self, arguments: &[&str], file: &Path) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
        command.args(arguments).arg(file).stdout(Stdio::null());
        command.env("WEFT_URL", format!("http://{}", self.address)).env("WEFT_DATA", &self.data);
        assert!(command.status().expect("weft starts").success());
    }

    /// Publishes a workflow and makes it listen.
    pub(crate) fn apply(&self, definition: &Value) {
        let file = self.data.join("applied.json");
        std::fs::write(&file, definition.to_string()).expect("a file");
        self.cli(&["workflow", "apply", "--activate"], &file);
    }

    /// The process's CPU time so far.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("a process");
        let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Its memory.
    pub(crate) fn resident_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        line.split_whitespace().next().expect("a number").parse::<f64>().expect("a number") / 1024.0
    }

    /// Sends requests over so many connections as long as `goes_on` says so: how long each took.
    pub(crate) fn load(&self, path: &str, body: &str, connections: usize, goes_on: GoesOn) -> Vec<Duration> {
        runtime().block_on(async {
            let client = |_| tokio::spawn(client(self.address.clone(), path.to_owned(), body.to_owned(), goes_on.clone()));
            let mut times = Vec::new();
            for client in (0..connections).map(client).collect::<Vec<_>>() {
                times.extend(client.await.expect("a client"));
            }
            times
        })
    }

    /// One request, and the body of its response.
    pub(crate) fn once(&self, path: &str, body: &str) -> String {
        runtime().block_on(async {
            let body = send(&mut connect(&self.address).await, &self.address, path, body).await;
            String::from_utf8_lossy(&body).into_owned()
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = Command::new("kill").arg(self.child.id().to_string()).status();
            let _ = self.child.wait();
        }
    }
}

/// Asked before each request of a load.
pub(crate) type GoesOn = Arc<dyn Fn() -> bool + Send + Sync>;

/// A load for a time from now on.
pub(crate) fn for_time(time: Duration) -> GoesOn {
    let until = Instant::now() + time;
    Arc::new(move || Instant::now() < until)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

async fn client(address: String, path: String, body: String, goes_on: GoesOn) -> Vec<Duration> {
    let mut sender = connect(&address).await;
    let mut times = Vec::new();
    while goes_on() {
        let began = Instant::now();
        send(&mut sender, &address, &path, &body).await;
        times.push(began.elapsed());
    }
    times
}

async fn connect(address: &str) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("no delay");
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    tokio::spawn(connection);
    sender
}

async fn send(sender: &mut SendRequest<Full<Bytes>>, address: &str, path: &str, body: &str) -> Bytes {
    let request = Request::post(path).header(header::HOST, address).header(header::CONTENT_TYPE, "application/json");
    let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).expect("a request");
    let response = sender.send_request(request).await.expect("an answer");
    assert!(response.status().is_success(), "{}", response.status());
    response.into_body().collect().await.expect("a body").to_bytes()
}
