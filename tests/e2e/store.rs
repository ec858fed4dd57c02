//! What a run costs on disk, counted by an outsider.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use crate::harness::{Data, Host, github_signature, shim};
use crate::hooks::{payload, push, sample};

const SECRET: &str = "It is a secret to everybody";

/// A number in a file, which another process counts.
struct Counter(std::path::PathBuf);

impl Counter {
    fn get(&self) -> u64 {
        let bytes = std::fs::read(&self.0).unwrap();
        let number = AtomicU64::new(u64::from_ne_bytes(bytes[..8].try_into().unwrap()));
        number.load(Ordering::Relaxed)
    }
}

#[test]
fn the_sample_flow_costs_one_durable_commit_a_run() {
    let data = Data::new();
    let counter = Counter(data.path().join("fdatasync-count"));
    let (shim, count) = (shim(), counter.0.clone());
    let environment = [("LD_PRELOAD", shim.to_str().unwrap()), ("WEFT_SHIM_COUNT", count.to_str().unwrap())];
    let host = Host::start_in(data, &environment);
    host.set_secret("github", SECRET);
    host.apply(&sample(""));
    let body = payload();
    let signature = github_signature(SECRET, &body);
    let send = |runs: u64| {
        let before = counter.get();
        for _ in 0..runs {
            assert_eq!(push(&host, &body, &signature).status, 200);
        }
        counter.get() - before
    };
    assert_eq!(send(100), 100, "one after the other: one flush each");

    let before = counter.get();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| (0..25).for_each(|_| assert_eq!(push(&host, &body, &signature).status, 200)));
        }
    });
    let flushes = counter.get() - before;
    assert!(flushes > 0 && flushes < 400, "many at once share flushes: {flushes} for 400");
    assert_eq!(host.get("/workflows/github-push")["runs_started"], 500);
    println!("100 runs one after the other: 100 fdatasync; 400 runs of 16 clients: {flushes}");
}

#[test]
fn refusals_and_reads_cost_nothing() {
    let data = Data::new();
    let counter = Counter(data.path().join("fdatasync-count"));
    let (shim, count) = (shim(), counter.0.clone());
    let environment = [("LD_PRELOAD", shim.to_str().unwrap()), ("WEFT_SHIM_COUNT", count.to_str().unwrap())];
    let host = Host::start_in(data, &environment);
    host.set_secret("github", SECRET);
    host.apply(&sample(""));
    let before = counter.get();
    assert!(before > 0, "the counter counts");
    push(&host, &payload(), "sha256=00").expect_problem(401, "invalid-signature");
    assert_eq!(host.get("/runs"), json!({"items": [], "next": null}));
    assert_eq!(counter.get(), before);
}
