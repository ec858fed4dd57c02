//! kill -9 at any moment under load: every run that was answered is there.
//!
//! The ledger of answers is kept here, outside the process that is killed. `WEFT_KILL_ROUNDS` asks for more rounds than the
//! short form, `WEFT_KILL_SEED` for the same moments again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Data, Headers, Host, eventually, shim, try_send, workflow};

/// What clients were told: the number that each sent, and whether the answer said that the run was done.
#[derive(Default)]
struct Ledger {
    sync: BTreeSet<u64>,
    asynchronous: BTreeSet<u64>,
}

fn definitions() -> [Value; 2] {
    let steps = json!([
        {"key": "note", "type": "data", "config": {"fields": {"n": "{{$context.data.n}}"}}},
        {"key": "odd", "type": "condition", "config": {"left": "{{$context.data.odd}}", "operator": "equal", "right": true},
         "branches": {"yes": [{"key": "answer", "type": "response", "config": {"body": {"n": "{{$steps.note.result.n}}"}}}], "no": []}},
    ]);
    [workflow("now", &json!({"mode": "sync"}), &steps), workflow("later", &json!({"mode": "async"}), &steps)]
}

/// One life of a host: load from several clients, then kill -9 after a while.
fn live_and_die(data: Data, environment: Headers<'_>, ledger: &Mutex<Ledger>, next: &AtomicU64, life: Duration) -> Data {
    let host = Host::start_in(data, environment);
    let (url, agent) = (host.url.clone(), host.agent.clone());
    std::thread::scope(|scope| {
        for client in 0..6 {
            let (url, agent) = (&url, &agent);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let (path, is_sync) = if client % 3 == 0 { ("later", false) } else { ("now", true) };
                    let body = json!({"n": number, "odd": number % 2 == 1, "padding": "x".repeat((number % 40 * 500) as usize)});
                    let headers = [("content-type", "application/json")];
                    match try_send(agent, "POST", &format!("{url}/hooks/{path}"), &headers, body.to_string().as_bytes()) {
                        Ok(answer) if answer.status == 200 => {
                            let mut ledger = ledger.lock().unwrap();
                            let told = if is_sync { &mut ledger.sync } else { &mut ledger.asynchronous };
                            told.insert(number);
                        }
                        Ok(answer) => panic!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body)),
                        Err(_) => return,
                    }
                }
            });
        }
        std::thread::sleep(life);
        host.kill()
    })
}

/// The numbers of stored runs by workflow, with how often each is there and its status.
fn stored(host: &Host, workflow: &str) -> BTreeMap<u64, Vec<String>> {
    let mut found: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    let mut after = String::new();
    loop {
        let page = host.get(&format!("/runs?workflow={workflow}&limit=500{after}"));
        for run in page["items"].as_array().unwrap() {
            let whole = host.get(&format!("/runs/{}", run["id"].as_str().unwrap()));
            let number = whole["context"]["data"]["n"].as_u64().unwrap();
            found.entry(number).or_default().push(whole["status"].as_str().unwrap().to_owned());
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return found,
        }
    }
}

/// What is missing or there twice, of what the ledger knows.
fn audit(host: &Host, ledger: &Ledger) -> Vec<String> {
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

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

/// A small generator (xorshift64*), so that a seed gives the same moments again.
fn random(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

#[test]
fn every_answered_run_survives_kill_9() {
    let rounds = setting("WEFT_KILL_ROUNDS", 50);
    let seed = setting("WEFT_KILL_SEED", u64::from(std::process::id()) | 1);
    println!("{rounds} rounds, WEFT_KILL_SEED={seed}");
    let host = Host::start();
    definitions().iter().for_each(|definition| host.apply(definition));
    let mut data = host.kill();
    let (ledger, next, mut state) = (Mutex::default(), AtomicU64::new(0), seed);
    for _ in 0..rounds {
        let life = Duration::from_millis(20 + random(&mut state) % 180);
        data = live_and_die(data, &[], &ledger, &next, life);
    }
    let host = Host::start_in(data, &[]);
    let ledger = ledger.into_inner().unwrap();
    eventually("every accepted run has ended", || {
        host.get("/runs?status=running&limit=1")["items"].as_array().unwrap().is_empty()
    });
    let wrong = audit(&host, &ledger);
    println!("{} synchronous and {} asynchronous runs were answered", ledger.sync.len(), ledger.asynchronous.len());
    assert!(ledger.sync.len() > 100 && ledger.asynchronous.len() > 50, "there was load");
    assert_eq!(wrong, Vec::<String>::new());
}

/// The control: where nothing reaches the disk before it is acknowledged, the audit above must find it.
#[test]
fn without_flushing_the_audit_finds_losses() {
    let shim = shim();
    let environment = [("LD_PRELOAD", shim.to_str().unwrap()), ("WEFT_SHIM_HOLD", "1")];
    let host = Host::start();
    definitions().iter().for_each(|definition| host.apply(definition));
    let data = host.stop();
    let ledger = Mutex::default();
    let data = live_and_die(data, &environment, &ledger, &AtomicU64::new(0), Duration::from_millis(500));
    let host = Host::start_in(data, &[]);
    let ledger = ledger.into_inner().unwrap();
    assert!(ledger.sync.len() > 10);
    let wrong = audit(&host, &ledger);
    assert!(wrong.iter().any(|line| line.contains("is lost")), "{} answered, nothing lost", ledger.sync.len());
}
