//! What a run costs on disk, counted by an outsider.

use serde_json::json;

use crate::harness::{Data, Host, github_signature, shim};
use crate::hooks::{payload, push, sample};

const SECRET: &str = "It is a secret to everybody";

/// The flushes of a host, which a shim in it counts.
pub(crate) struct Flushes(std::path::PathBuf);

impl Flushes {
    /// A host, and its flushes.
    pub(crate) fn of_host() -> (Host, Self) {
        let data = Data::new();
        let flushes = Self(data.path().join("fdatasync-count"));
        let (shim, count) = (shim(), flushes.0.clone());
        let environment = [("LD_PRELOAD", shim.to_str().unwrap()), ("WEFT_SHIM_COUNT", count.to_str().unwrap())];
        (Host::start_in(data, &environment), flushes)
    }

    pub(crate) fn get(&self) -> u64 {
        let bytes = std::fs::read(&self.0).unwrap();
        u64::from_ne_bytes(bytes[..8].try_into().unwrap())
    }

    /// How many something costs: the least of three times, since what plugins have taken is written beside it every few seconds.
    pub(crate) fn of(&self, mut work: impl FnMut()) -> u64 {
        let cost = |_| {
            let before = self.get();
            work();
            self.get() - before
        };
        (0..3).map(cost).min().unwrap()
    }
}

#[test]
fn the_sample_flow_costs_one_durable_commit_a_run() {
    let (host, flushed) = Flushes::of_host();
    host.set_secret("github", SECRET);
    host.apply(&sample(""));
    let body = payload();
    let signature = github_signature(SECRET, &body);
    let send = || (0..100).for_each(|_| assert_eq!(push(&host, &body, &signature).status, 200));
    assert_eq!(flushed.of(send), 100, "one after the other: one flush each");

    let before = flushed.get();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| (0..25).for_each(|_| assert_eq!(push(&host, &body, &signature).status, 200)));
        }
    });
    let flushes = flushed.get() - before;
    assert!(flushes > 0 && flushes < 400, "many at once share flushes: {flushes} for 400");
    assert_eq!(host.get("/workflows/github-push")["runs_started"], 700);
    println!("100 runs one after the other: 100 fdatasync; 400 runs of 16 clients: {flushes}");
}

#[test]
fn refusals_and_reads_cost_nothing() {
    let (host, flushed) = Flushes::of_host();
    host.set_secret("github", SECRET);
    host.apply(&sample(""));
    assert!(flushed.get() > 0, "the counter counts");
    let cost = flushed.of(|| {
        push(&host, &payload(), "sha256=00").expect_problem(401, "invalid-signature");
        assert_eq!(host.get("/runs"), json!({"items": [], "next": null}));
    });
    assert_eq!(cost, 0);
}
