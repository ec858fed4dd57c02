//! What a run costs: webhook → data → condition → response with durable history, beside a bare hyper handler that does the
//! same arithmetic and keeps nothing. Both are processes of their own; the client is this one. One run prints everything.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

const ROUND: Duration = Duration::from_secs(4);
const ROUNDS: usize = 3;
const BODY: &str = r#"{"price":150}"#;

fn main() {
    if std::env::args().any(|argument| argument == "--bare") {
        return bare();
    }
    let folder = tempfile::tempdir().expect("a folder");
    let weft = Server::weft(folder.path());
    weft.apply(folder.path());
    assert_eq!(once(&weft.address, "/hooks/bench"), r#"{"tier":"big"}"#);
    drop(weft);
    let began = Instant::now();
    let weft = Server::weft(folder.path());
    assert_eq!(once(&weft.address, "/hooks/bench"), r#"{"tier":"big"}"#);
    let start = began.elapsed();
    let idle_kib = weft.resident_kib();
    let bare = Server::bare();
    assert_eq!(once(&bare.address, "/"), r#"{"tier":"big"}"#);

    println!("webhook → data → condition → response, durable history, beside a bare hyper handler");
    println!(
        "{:>12} {:>12} {:>10} {:>9} {:>9} {:>14}",
        "connections", "server", "requests/s", "p50 ms", "p99 ms", "CPU ms/request"
    );
    for connections in [1, 32] {
        for (name, server, path) in [("weft", &weft, "/hooks/bench"), ("bare hyper", &bare, "/")] {
            let mut rounds: Vec<Measured> = (0..ROUNDS).map(|_| measure(server, path, connections)).collect();
            rounds.sort_by(|a, b| a.cpu_ms.total_cmp(&b.cpu_ms));
            let Measured { per_second, p50_ms, p99_ms, cpu_ms } = rounds[ROUNDS / 2];
            println!("{connections:>12} {name:>12} {per_second:>10.0} {p50_ms:>9.2} {p99_ms:>9.2} {cpu_ms:>14.4}");
        }
    }
    println!("start to the first right answer, plugins cached   {:7.0} ms", start.as_secs_f64() * 1e3);
    println!("resident when idle after that                     {:7.1} MiB", idle_kib as f64 / 1024.0);
    println!("resident after the load                           {:7.1} MiB", weft.resident_kib() as f64 / 1024.0);
}

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn weft(data: &std::path::Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data).stderr(Stdio::piped()).env("NO_COLOR", "1");
        let mut child = command.spawn().expect("weft starts");
        let log = std::io::BufReader::new(child.stderr.take().expect("piped"));
        let mut lines = std::io::BufRead::lines(log).map_while(Result::ok);
        let address = lines.find_map(|line| Some(line.split_once("listening at http://")?.1.split(' ').next()?.to_owned()));
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address: address.expect("weft listens") }
    }

    fn bare() -> Self {
        let this = std::env::current_exe().expect("this program");
        let mut child = Command::new(this).arg("--bare").stdout(Stdio::piped()).spawn().expect("this program starts");
        let mut line = String::new();
        let mut out = std::io::BufReader::new(child.stdout.take().expect("piped"));
        std::io::BufRead::read_line(&mut out, &mut line).expect("an address");
        Self { child, address: line.trim().to_owned() }
    }

    fn apply(&self, data: &std::path::Path) {
        let steps = json!([
            {"key": "total", "type": "data", "config": {"fields": {"total": "{{$context.data.price}}"}}},
            {"key": "big", "type": "condition", "config": {"left": "{{$steps.total.result.total}}", "operator": "gt", "right": 100},
             "branches": {"yes": [{"key": "answer", "type": "response", "config": {"body": {"tier": "big"}}}], "no": []}},
        ]);
        let definition =
            json!({"weft": 1, "key": "bench", "trigger": {"type": "webhook", "config": {"mode": "sync"}}, "steps": steps});
        let file = data.join("bench.json");
        std::fs::write(&file, definition.to_string()).expect("a file");
        let mut apply = Command::new(env!("CARGO_BIN_EXE_weft"));
        apply.args(["workflow", "apply", "--activate"]).arg(file).stdout(Stdio::null());
        apply.env("WEFT_URL", format!("http://{}", self.address)).env("WEFT_DATA", data);
        assert!(apply.status().expect("weft starts").success());
    }

    /// The process's CPU time so far.
    fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("a process");
        let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum();
        Duration::from_millis(ticks * 10)
    }

    fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        line.split_whitespace().next().expect("a number").parse().expect("a number")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

struct Measured {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    cpu_ms: f64,
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn measure(server: &Server, path: &str, connections: usize) -> Measured {
    let cpu = server.cpu();
    let mut times = runtime().block_on(async {
        let until = Instant::now() + ROUND;
        let clients = (0..connections).map(|_| tokio::spawn(client(server.address.clone(), path.to_owned(), until)));
        let mut all = Vec::new();
        for client in clients.collect::<Vec<_>>() {
            all.extend(client.await.expect("a client"));
        }
        all
    });
    let cpu = server.cpu() - cpu;
    times.sort();
    let at = |share: f64| times[(times.len() as f64 * share) as usize].as_secs_f64() * 1e3;
    let requests = times.len() as f64;
    Measured {
        per_second: requests / ROUND.as_secs_f64(),
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        cpu_ms: cpu.as_secs_f64() * 1e3 / requests,
    }
}

async fn client(address: String, path: String, until: Instant) -> Vec<Duration> {
    let stream = TcpStream::connect(&address).await.expect("a connection");
    stream.set_nodelay(true).expect("no delay");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    tokio::spawn(connection);
    let mut times = Vec::new();
    while Instant::now() < until {
        let request = Request::post(&path).header(header::HOST, &address).header(header::CONTENT_TYPE, "application/json");
        let began = Instant::now();
        let response =
            sender.send_request(request.body(Full::new(Bytes::from(BODY))).expect("a request")).await.expect("an answer");
        assert_eq!(response.status(), 200);
        response.into_body().collect().await.expect("a body");
        times.push(began.elapsed());
    }
    times
}

fn once(address: &str, path: &str) -> String {
    runtime().block_on(async {
        let stream = TcpStream::connect(address).await.expect("a connection");
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
        tokio::spawn(connection);
        let request = Request::post(path).header(header::HOST, address).header(header::CONTENT_TYPE, "application/json");
        let response =
            sender.send_request(request.body(Full::new(Bytes::from(BODY))).expect("a request")).await.expect("an answer");
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        String::from_utf8_lossy(&body).into_owned()
    })
}

/// The same arithmetic without Weft.
fn bare() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        println!("{}", listener.local_addr().expect("an address"));
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let _ = stream.set_nodelay(true);
            let serve = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
            tokio::spawn(serve);
        }
    });
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    let given: Value = serde_json::from_slice(&body).unwrap_or_default();
    let tier = if given["price"].as_f64() > Some(100.0) { json!({"tier": "big"}).to_string() } else { String::new() };
    let response = Response::builder().header(header::CONTENT_TYPE, "application/json");
    Ok(response.body(Full::new(Bytes::from(tier))).unwrap_or_default())
}
