//! What a run costs: webhook → data → condition → response with durable history, beside a bare hyper handler that does the
//! same arithmetic and keeps nothing. Both are processes of their own; the client is this one. One run prints everything.

mod server;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use server::{ANSWER, BODY, Server, for_time, sample};
use tokio::net::TcpListener;

const ROUND: Duration = Duration::from_secs(4);
const ROUNDS: usize = 3;

fn main() {
    if std::env::args().any(|argument| argument == "--bare") {
        return bare();
    }
    let folder = tempfile::tempdir().expect("a folder");
    let weft = Server::weft(folder.path());
    weft.apply(&sample());
    assert_eq!(weft.once("/hooks/bench", BODY), ANSWER);
    drop(weft);
    let began = Instant::now();
    let weft = Server::weft(folder.path());
    assert_eq!(weft.once("/hooks/bench", BODY), ANSWER);
    let start = began.elapsed();
    let idle_mib = weft.resident_mib();
    let bare = bare_server();
    assert_eq!(bare.once("/", BODY), ANSWER);

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
    println!("resident when idle after that                     {idle_mib:7.1} MiB");
    println!("resident after the load                           {:7.1} MiB", weft.resident_mib());
}

struct Measured {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    cpu_ms: f64,
}

fn measure(server: &Server, path: &str, connections: usize) -> Measured {
    let cpu = server.cpu();
    let mut times = server.load(path, BODY, connections, for_time(ROUND));
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

fn bare_server() -> Server {
    let this = std::env::current_exe().expect("this program");
    let mut child = Command::new(this).arg("--bare").stdout(Stdio::piped()).spawn().expect("this program starts");
    let mut line = String::new();
    let mut out = std::io::BufReader::new(child.stdout.take().expect("piped"));
    std::io::BufRead::read_line(&mut out, &mut line).expect("an address");
    Server { child, address: line.trim().to_owned(), data: PathBuf::new() }
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
