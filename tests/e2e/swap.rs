//! A plugin's version is changed again and again under load: nobody notices but by the version in the answer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Host, eventually, send};
use crate::versions::{add, hold, version_of, versioned};

/// Connections that ask all the time.
const CLIENTS: u32 = 4;

/// What the host's process has of what must not grow.
#[derive(Clone, Copy, Debug)]
struct Has {
    threads: usize,
    files: usize,
    /// Mappings of code that is in no file: compiled components.
    components: usize,
    resident_kib: usize,
}

impl Has {
    fn of(host: &Host) -> Self {
        let read = |what: &str| std::fs::read_to_string(format!("/proc/{}/{what}", host.pid())).unwrap();
        let status = read("status");
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim_start_matches(':').split_whitespace().next().unwrap().parse().unwrap()
        };
        let is_code = |line: &&str| line.contains(" r-xp ") && !line.contains('/') && !line.contains('[');
        Self {
            threads: number("Threads"),
            files: std::fs::read_dir(format!("/proc/{}/fd", host.pid())).unwrap().count(),
            components: read("maps").lines().filter(is_code).count(),
            resident_kib: number("VmRSS"),
        }
    }
}

fn patch(version: &str) -> u32 {
    version.split(['.', '+']).nth(2).unwrap().parse().unwrap()
}

fn prune(host: &Host) -> usize {
    let pruned = host.api("POST", "/plugins/prune", br#"{"inactive": true}"#);
    assert_eq!(pruned.status, 200, "{}", String::from_utf8_lossy(&pruned.body));
    pruned.json()["removed"].as_array().unwrap().len()
}

/// Asks until it is told to stop; each answer is good, and its version is none that is older than the last one's. How many.
fn ask(host: &Host, stop: &AtomicBool) -> u32 {
    let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(60)));
    let agent: ureq::Agent = config.build().into();
    let (mut last, mut asked) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let answer = send(&agent, "POST", &format!("{}/hooks/v", host.url), &[("content-type", "application/json")], b"{}");
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        let version = patch(answer.json()["version"].as_str().unwrap());
        assert!(version >= last, "{version} after {last}");
        (last, asked) = (version, asked + 1);
        std::thread::sleep(Duration::from_millis(1));
    }
    asked
}

/// `WEFT_SWAPS` says how often.
#[test]
fn a_swap_is_noticed_by_nobody() {
    let swaps: u32 = std::env::var("WEFT_SWAPS").map_or(16, |text| text.parse().unwrap());
    let host = Host::start();
    add(&host, 1000);
    let mut definition = versioned("v", "^1");
    definition["options"] = json!({"history": {"delete_on": ["succeeded"]}});
    host.apply(&definition);
    host.apply(&hold("wait"));
    let (stop, asked) = (AtomicBool::new(false), AtomicU32::new(0));
    let mut held = BTreeMap::new();
    let mut seen = Vec::new();
    std::thread::scope(|scope| {
        // However this ends, the clients do.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _stop = Stop(&stop);
        for _ in 0..CLIENTS {
            scope.spawn(|| asked.fetch_add(ask(&host, &stop), Ordering::Relaxed));
        }
        for swap in 1..=swaps {
            let version = 1000 + swap;
            if swap % swaps.div_ceil(4) == 1 {
                held.insert(host.start_run("wait", &json!({"context": {}})), version - 1);
            }
            add(&host, version);
            let moved = host.api("POST", "/plugins/acme/swap/upgrade", b"{}").json();
            let moved: Vec<bool> = moved["workflows"].as_array().unwrap().iter().map(|w| w["moved_to"].is_u64()).collect();
            assert_eq!(moved, [true, true]);
            assert_eq!(host.hook("v", b"{}").json()["version"], json!(version_of(version)), "the next request sees it");
            let before = Has::of(&host);
            let gone = prune(&host);
            let after = Has::of(&host);
            assert!(gone == 0 || after.components < before.components, "{gone} are removed and mapped: {before:?}, {after:?}");
            seen.push(after);
        }
    });
    let asked = asked.into_inner();
    assert!(asked > swaps * CLIENTS, "{asked} requests");
    // What began on an older version waits on it, and ends on it.
    for (run, version) in &held {
        host.step_is(run, "hold", "waiting");
        host.api("POST", &format!("/runs/{run}/signals"), br#"{"name": "go", "payload": 1}"#);
        let said = json!({"before": version_of(*version), "after": version_of(*version)});
        assert_eq!(host.ended(run)["steps"][0]["output"], said);
    }
    let versions = |host: &Host| -> Vec<Value> {
        let plugins = host.get("/plugins");
        let of = plugins["items"].as_array().unwrap().iter().filter(|plugin| plugin["name"] == "acme/swap");
        of.map(|plugin| plugin["version"].clone()).collect()
    };
    eventually("only the newest version is left", || {
        prune(&host);
        versions(&host) == [json!(version_of(1000 + swaps))]
    });
    let (early, late) = (seen[seen.len() / 4], Has::of(&host));
    println!("{swaps} swaps, {asked} requests: after a quarter {early:?}, at the end {late:?}");
    // The first one after a quarter of the swaps has as much as the last one. Held runs keep up to four components mapped.
    assert!(late.threads <= early.threads + 4, "{early:?}, {late:?}");
    assert!(late.files <= early.files + 8, "{early:?}, {late:?}");
    assert!(late.components <= early.components + 2, "{early:?}, {late:?}");
    assert!(late.resident_kib <= early.resident_kib + 64 * 1024, "{early:?}, {late:?}");
    host.stop().expect_whole();
}
