//! Load on a host that is about to die, a ledger of what its clients were told, and the audit that compares.
//!
//! The ledger is kept here, outside the process that dies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Data, Headers, Host, eventually, try_send, workflow};

/// What clients were told: the number that each sent, and whether the answer said that the run was done.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) sync: BTreeSet<u64>,
    pub(crate) asynchronous: BTreeSet<u64>,
}

/// The workflows that are loaded: one whose callers wait, one whose callers do not.
pub(crate) fn definitions() -> [Value; 2] {
    let steps = json!([
        {"key": "note", "type": "data", "config": {"fields": {"n": "{{$context.data.n}}"}}},
        {"key": "odd", "type": "condition", "config": {"left": "{{$context.data.odd}}", "operator": "equal", "right": true},
         "branches": {"yes": [{"key": "answer", "type": "response", "config": {"body": {"n": "{{$steps.note.result.n}}"}}}], "no": []}},
    ]);
    [workflow("now", &json!({"mode": "sync"}), &steps), workflow("later", &json!({"mode": "async"}), &steps)]
}

/// What a client sends. Most of it fits into a few values of the engine, some into a file only.
pub(crate) fn body(number: u64) -> String {
    let padding = if number % 97 == 96 { 300_000 } else { number % 40 * 500 };
    json!({"n": number, "odd": number % 2 == 1, "padding": "x".repeat(padding as usize)}).to_string()
}

/// One life of a host: clients send numbered requests, each one after the other, until they are cut off by kill -9.
/// `before_kill` looks around at that moment.
pub(crate) fn under_load(
    host: Host,
    next: &AtomicU64,
    life: Duration,
    send: impl Fn(&Host, u64) -> Result<(), ureq::Error> + Sync,
    before_kill: impl FnOnce(),
) -> Data {
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| while send(&host, next.fetch_add(1, Ordering::Relaxed)).is_ok() {});
        }
        std::thread::sleep(life);
        before_kill();
        host.signal("KILL");
    });
    host.kill()
}

/// A POST of JSON to a hook of a host that may die. An answer must have this status.
pub(crate) fn hook(host: &Host, path: &str, body: &str, status: u16) -> Result<(), ureq::Error> {
    let headers = [("content-type", "application/json")];
    let answer = try_send(&host.agent, "POST", &format!("{}/hooks/{path}", host.url), &headers, body.as_bytes())?;
    assert_eq!(answer.status, status, "{path}: {}\n{}", String::from_utf8_lossy(&answer.body), host.log());
    Ok(())
}

/// One life under load of the workflows above.
pub(crate) fn live_and_die(
    data: Data,
    environment: Headers<'_>,
    ledger: &Mutex<Ledger>,
    next: &AtomicU64,
    life: Duration,
) -> Data {
    let send = |host: &Host, number: u64| {
        let is_sync = !number.is_multiple_of(3);
        hook(host, if is_sync { "now" } else { "later" }, &body(number), 200)?;
        let mut ledger = ledger.lock().unwrap();
        let told = if is_sync { &mut ledger.sync } else { &mut ledger.asynchronous };
        told.insert(number);
        Ok(())
    };
    under_load(Host::start_in(data, environment), next, life, send, || {})
}

/// The numbers of stored runs by workflow, with how often each is there and its status.
pub(crate) fn stored(host: &Host, workflow: &str) -> BTreeMap<u64, Vec<String>> {
    let mut found: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for run in host.all_runs(&format!("workflow={workflow}")) {
        let whole = host.run(run["id"].as_str().unwrap());
        let number = whole["context"]["data"]["n"].as_u64().unwrap();
        found.entry(number).or_default().push(whole["status"].as_str().unwrap().to_owned());
    }
    found
}

/// What is missing or there twice, of what the ledger knows, when everything has ended.
pub(crate) fn audit(host: &Host, ledger: &Ledger) -> Vec<String> {
    eventually("every accepted run has ended", || {
        host.get("/runs?status=running&limit=1")["items"].as_array().unwrap().is_empty()
    });
    let mut wrong = Vec::new();
    for (workflow, told) in [("now", &ledger.sync), ("later", &ledger.asynchronous)] {
        let stored = stored(host, workflow);
        for number in told {
            match stored.get(number).map(Vec::as_slice) {
                None => wrong.push(format!("{workflow} {number} was answered and is lost")),
                Some([status]) if status == "succeeded" => {}
                Some(statuses) => wrong.push(format!("{workflow} {number}: {statuses:?}")),
            }
        }
        wrong.extend(
            stored.iter().filter(|(_, runs)| runs.len() > 1).map(|(number, _)| format!("{workflow} {number} is there twice")),
        );
    }
    wrong
}

/// A number in the environment.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

/// A small generator (xorshift64*), so that a seed gives the same moments again.
pub(crate) fn random(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d)
}
