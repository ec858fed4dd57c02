//! What the engine bears: durable accepts beside a bare group commit, long runs, a long history, runs that wait, and a restart
//! with many of them due. Everything is against the real binary, whose client this process is. One run prints everything.
//!
//! `WEFT_BENCH_STORED` and `WEFT_BENCH_WAITING` are how many runs are stored and how many wait.

mod server;

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use server::{ANSWER, BODY, GoesOn, Server, for_time, sample};
use tempfile::TempDir;

const ROUND: Duration = Duration::from_secs(3);
const ROUNDS: usize = 3;
const CLIENTS: [usize; 3] = [1, 8, 64];
const LONG_RUNS: usize = 10;
const LONG_RUN_STEPS: usize = 1_000;
const LISTS: usize = 100;
const RESUMED: usize = 10_000;
const RESUMED_SLEEP: Duration = Duration::from_secs(30);

fn main() {
    accepts();
    steps();
    history(number("WEFT_BENCH_STORED", 200_000));
    waiting(number("WEFT_BENCH_WAITING", 100_000));
    resume();
}

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}: {text} is no number")))
}

fn accepts() {
    let folder = tempfile::tempdir().expect("a folder");
    let weft = Server::weft(folder.path());
    let steps = json!([{"key": "total", "type": "data", "config": {"fields": {"total": "{{$context.data.price}}"}}}]);
    weft.apply(&asynchronous("accepts", &steps));
    // As many bytes as the journal of such a run.
    weft.load("/hooks/accepts", BODY, 1, for_count(100));
    eventually(|| count(&weft, "succeeded", |_| true) == 100);
    drop(weft);
    let totals = weft::store::Store::open(folder.path(), |_| {}).expect("a store").totals().expect("totals");
    let (runs, bytes) = totals.values().fold((0, 0), |(runs, bytes), totals| (runs + totals.runs, bytes + totals.bytes));
    let bytes = (bytes / runs) as usize;

    println!("durable accepts a second, the runs carried out beside them, and a bare group commit of {bytes} bytes each");
    println!("{:>12} {:>10} {:>10} {:>8}", "clients", "weft", "bare", "ratio");
    let weft = Server::weft(folder.path());
    for clients in CLIENTS {
        let mut rounds: Vec<(f64, f64)> = (0..ROUNDS)
            .map(|_| {
                let accepted = weft.load("/hooks/accepts", BODY, clients, for_time(ROUND)).len();
                eventually(|| is_idle(&weft));
                (accepted as f64 / ROUND.as_secs_f64(), bare_commits(folder.path(), bytes, clients))
            })
            .collect();
        rounds.sort_by(|a, b| (a.0 / a.1).total_cmp(&(b.0 / b.1)));
        let (accepted, bare) = rounds[ROUNDS / 2];
        println!("{clients:>12} {accepted:>10.0} {bare:>10.0} {:>8.2}", accepted / bare);
    }
}

/// A thread that appends what was handed in meanwhile to a file and flushes it once: how many commits a second.
fn bare_commits(folder: &Path, bytes: usize, clients: usize) -> f64 {
    let mut file = tempfile::tempfile_in(folder).expect("a file");
    let (sender, receiver) = channel::<SyncSender<()>>();
    let until = Instant::now() + ROUND;
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..clients {
            let (sender, done) = (sender.clone(), &done);
            scope.spawn(move || {
                let (tell, told) = sync_channel(1);
                while Instant::now() < until {
                    sender.send(tell.clone()).expect("a writer");
                    told.recv().expect("a commit");
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        drop(sender);
        while let Ok(first) = receiver.recv() {
            let group: Vec<SyncSender<()>> = std::iter::once(first).chain(receiver.try_iter()).collect();
            file.write_all(&vec![1; bytes * group.len()]).and_then(|()| file.sync_data()).expect("a disk");
            group.iter().for_each(|client| client.send(()).expect("a client"));
        }
    });
    done.into_inner() as f64 / ROUND.as_secs_f64()
}

fn steps() {
    let folder = tempfile::tempdir().expect("a folder");
    let weft = Server::weft(folder.path());
    let step = |number| json!({"key": format!("s{number}"), "type": "data", "config": {"fields": {"total": 1}}});
    let steps: Vec<Value> = (0..LONG_RUN_STEPS).map(step).collect();
    weft.apply(&json!({"weft": 1, "key": "long", "trigger": {"type": "webhook", "config": {"mode": "sync"}}, "steps": steps}));
    weft.once("/hooks/long", BODY);
    let times = weft.load("/hooks/long", BODY, 1, for_count(LONG_RUNS));
    let per_second = (LONG_RUNS * LONG_RUN_STEPS) as f64 / times.iter().sum::<Duration>().as_secs_f64();
    println!("steps a second, {LONG_RUNS} runs of {LONG_RUN_STEPS}, one after the other  {per_second:7.0}");
}

fn history(stored: usize) {
    let start = |folder: &TempDir| {
        let weft = Server::weft(folder.path());
        weft.apply(&sample());
        assert_eq!(weft.once("/hooks/bench", BODY), ANSWER);
        weft
    };
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let [few, many] = folders.each_ref().map(start);
    many.load("/hooks/bench", BODY, 64, for_count(stored));
    println!("runs a second at 32 connections (webhook → data → condition → response), and a list of 50 by workflow and status");
    println!("{:>12} {:>10} {:>12} {:>9} {:>9}", "stored runs", "runs/s", "CPU ms/run", "list ms", "MiB");
    let servers = [(&few, 0), (&many, stored)];
    let mut rounds = servers.map(|_| Vec::new());
    let lists = servers.map(|(server, _)| list(server));
    for _ in 0..ROUNDS {
        for ((server, _), rounds) in servers.iter().zip(&mut rounds) {
            let cpu = server.cpu();
            let runs = server.load("/hooks/bench", BODY, 32, for_time(ROUND)).len() as f64;
            rounds.push((runs / ROUND.as_secs_f64(), (server.cpu() - cpu).as_secs_f64() * 1e3 / runs));
        }
    }
    for (((server, before), list), mut rounds) in servers.into_iter().zip(lists).zip(rounds) {
        rounds.sort_by(|a, b| a.1.total_cmp(&b.1));
        let (per_second, cpu_ms) = rounds[ROUNDS / 2];
        let (list_ms, mib) = (list.as_secs_f64() * 1e3, server.resident_mib());
        println!("{before:>12} {per_second:>10.0} {cpu_ms:>12.4} {list_ms:>9.2} {mib:>9.1}");
    }
}

/// The median time of a list.
fn list(weft: &Server) -> Duration {
    let mut times: Vec<Duration> = (0..LISTS)
        .map(|_| {
            let began = Instant::now();
            get(weft, "/runs?workflow=bench&status=succeeded&limit=50");
            began.elapsed()
        })
        .collect();
    times.sort();
    times[LISTS / 2]
}

fn waiting(runs: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    with_naps(folder.path());
    let weft = Server::weft(folder.path());
    let without = weft.resident_mib();
    start_naps(&weft, runs, Duration::from_hours(24));
    let after_load = weft.resident_mib();
    drop(weft);
    let weft = Server::weft(folder.path());
    assert_eq!(count(&weft, "running", is_waiting), runs);
    let after_start = weft.resident_mib();
    println!("resident memory, {runs} runs wait              MiB   bytes/run");
    println!("without them                             {without:8.1}");
    for (when, with) in [("when they have come", after_load), ("after a restart", after_start)] {
        println!("{when:<40} {with:8.1} {:11.0}", (with - without) * 1024.0 * 1024.0 / runs as f64);
    }
}

fn resume() {
    let folder = tempfile::tempdir().expect("a folder");
    with_naps(folder.path());
    let mut weft = Server::weft(folder.path());
    let began = Instant::now();
    start_naps(&weft, RESUMED, RESUMED_SLEEP);
    let due = Instant::now() + RESUMED_SLEEP;
    weft.child.kill().and_then(|()| weft.child.wait()).expect("kill -9");
    assert!(began.elapsed() < RESUMED_SLEEP, "some went on before the host was killed");
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
    let began = Instant::now();
    let weft = Server::weft(folder.path());
    let started = began.elapsed();
    eventually(|| is_idle(&weft));
    let ended = began.elapsed();
    assert_eq!(count(&weft, "succeeded", |_| true), RESUMED);
    println!("start with {RESUMED} runs that are due, after kill -9    {:7.2} s", started.as_secs_f64());
    println!("until all of them have ended, start included        {:7.2} s", ended.as_secs_f64());
}

/// Makes a data folder with a workflow that sleeps as long as its caller says.
fn with_naps(folder: &Path) {
    let weft = Server::weft(folder);
    let target = Path::new(env!("CARGO_BIN_EXE_weft")).ancestors().nth(2).expect("a target folder");
    weft.cli(&["plugin", "add"], &target.join("test-guests/lab.wasm"));
    let steps = json!([{"key": "nap", "type": "acme/lab/sleep", "config": {"ms": "{{$context.data.ms}}"}}]);
    weft.apply(&asynchronous("naps", &steps));
}

/// Starts runs that sleep, and waits until all do.
fn start_naps(weft: &Server, runs: usize, sleep: Duration) {
    let body = json!({"ms": u64::try_from(sleep.as_millis()).expect("a time")}).to_string();
    weft.load("/hooks/naps", &body, 64, for_count(runs));
    eventually(|| get(weft, "/runs?status=queued&limit=1")["items"] == json!([]));
    eventually(|| count(weft, "running", is_waiting) == runs);
}

fn is_waiting(run: &Value) -> bool {
    run["wakes_at"].is_string()
}

/// A workflow that answers when a run is stored.
fn asynchronous(key: &str, steps: &Value) -> Value {
    json!({"weft": 1, "key": key, "trigger": {"type": "webhook", "config": {"mode": "async"}}, "steps": steps})
}

fn for_count(requests: usize) -> GoesOn {
    let begun = Arc::new(AtomicUsize::new(0));
    Arc::new(move || begun.fetch_add(1, Ordering::Relaxed) < requests)
}

fn get(weft: &Server, path: &str) -> Value {
    let token = std::fs::read_to_string(weft.data.join("admin-token")).expect("a token");
    let request = ureq::get(format!("http://{}/api/v1{path}", weft.address)).header("authorization", format!("Bearer {token}"));
    let body = request.call().expect("an answer").body_mut().read_to_vec().expect("a body");
    serde_json::from_slice(&body).expect("JSON")
}

/// How many runs with a status there are of which something holds.
fn count(weft: &Server, status: &str, holds: impl Fn(&Value) -> bool) -> usize {
    let (mut count, mut after) = (0, String::new());
    loop {
        let page = get(weft, &format!("/runs?status={status}&limit=500{after}"));
        count += page["items"].as_array().into_iter().flatten().filter(|run| holds(run)).count();
        let Some(next) = page["next"].as_str() else { return count };
        after = format!("&after={next}");
    }
}

/// Whether every run has ended.
fn is_idle(weft: &Server) -> bool {
    ["queued", "running"].iter().all(|status| get(weft, &format!("/runs?status={status}&limit=1"))["items"] == json!([]))
}

fn eventually(is_so: impl Fn() -> bool) {
    while !is_so() {
        std::thread::sleep(Duration::from_millis(20));
    }
}
