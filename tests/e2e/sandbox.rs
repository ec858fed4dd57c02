//! A plugin that misbehaves fails its own step, and nothing else.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Host, workflow};

fn rogue(host: &Host, way: &str) -> Value {
    let steps = json!([{"key": "a", "type": "acme/rogue/rogue", "config": {"way": way}}]);
    host.apply(&workflow(way, &json!({"mode": "sync"}), &steps));
    host.hook(way, b"{}");
    host.newest_run()
}

#[test]
fn each_way_to_misbehave_ends_the_step_with_its_code() {
    let host = Host::start();
    host.add_plugin("rogue");
    host.apply(&workflow("neighbour", &json!({"mode": "sync"}), &json!([])));
    let cases = [
        ("spin", "cpu-limit", "5000 ms"),
        ("grow", "memory-limit", "64 MiB"),
        ("recurse", "trapped", "wasm trap"),
        ("panic", "trapped", "unreachable"),
        ("output", "too-large", "at most 1048576"),
        ("no-json", "bad-answer", "not a JSON document"),
        ("deep", "bad-answer", "recursion limit"),
        ("unknown-branch", "bad-answer", "`other`"),
        ("wait-for-nothing", "bad-answer", "nothing runs"),
        ("go-nowhere", "bad-answer", "`nowhere`"),
        ("split-header", "invalid", "no header field"),
        ("fail-after-effects", "on-purpose", "on purpose"),
    ];
    for (way, code, part) in cases {
        let run = rogue(&host, way);
        let failure = &run["steps"][0]["failure"];
        assert_eq!((&run["status"], &failure["code"]), (&json!("error"), &json!(code)), "{way}: {run:#}");
        assert!(failure["message"].as_str().unwrap().contains(part), "{way}: {failure}");
        assert_eq!(host.hook("neighbour", b"{}").status, 200, "after {way}");
    }
}

#[test]
fn a_guest_that_waits_for_too_long_is_stopped() {
    let host = Host::start();
    host.add_plugin("rogue");
    let steps = json!([{"key": "a", "type": "acme/rogue/rogue", "config": {"way": "sleep"}}]);
    host.apply(&workflow("sleep", &json!({"mode": "async"}), &steps));
    host.hook("sleep", b"{}");
    let began = Instant::now();
    while host.newest_run()["status"] == "running" {
        assert!(began.elapsed() < Duration::from_secs(90), "a call takes a minute at most");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(host.newest_run()["steps"][0]["failure"]["code"], "timed-out");
}

#[test]
fn what_a_failed_call_did_is_gone_but_its_log_stays() {
    let host = Host::start();
    host.add_plugin("rogue");
    let run = rogue(&host, "fail-after-effects");
    assert_eq!(run["steps"][0]["log"], json!([{"level": "warn", "message": "kept"}]));
    let run = rogue(&host, "panic");
    let log = run["steps"][0]["log"].to_string();
    assert!(log.contains("on purpose"), "a panic says why: {log}");
}

#[test]
fn a_flood_of_log_lines_is_cut() {
    let host = Host::start();
    host.add_plugin("rogue");
    let step = rogue(&host, "flood")["steps"][0].clone();
    let lines = step["log"].as_array().unwrap();
    let bytes: usize = lines.iter().map(|line| line["message"].as_str().unwrap().len()).sum();
    assert!(lines.len() <= 200 && bytes <= 64 * 1024, "{} lines, {bytes} bytes", lines.len());
    assert_eq!(lines.len() as u64 + step["log_dropped"].as_u64().unwrap(), 100_000);
    assert!(!lines.iter().any(|line| line["message"].as_str().unwrap().contains('\u{1b}')), "no control characters");
    assert_eq!(step["status"], "succeeded");
}

#[test]
fn there_is_nothing_to_see_outside() {
    let host = Host::start();
    host.add_plugin("rogue");
    let run = rogue(&host, "look-around");
    let seen = &run["steps"][0]["output"];
    assert_eq!((&seen["environment"], &seen["arguments"]), (&json!(0), &json!(0)), "{seen}");
    assert!(seen["files"]["Err"].is_string() && seen["network"]["Err"].is_string(), "{seen}");
    let run = rogue(&host, "print");
    assert_eq!(run["steps"][0]["log"], json!([{"level": "info", "message": "printed"}]));
}

#[test]
fn computing_guests_do_not_hold_up_the_others() {
    let host = Host::start();
    host.add_plugin("rogue");
    let steps = json!([{"key": "a", "type": "acme/rogue/rogue", "config": {"way": "spin"}}]);
    host.apply(&workflow("spin", &json!({"mode": "async"}), &steps));
    for _ in 0..4 {
        assert_eq!(host.hook("spin", b"{}").status, 200);
    }
    let running = || host.runs().iter().filter(|run| run["status"] == "running").count();
    assert_eq!(running(), 4);
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let began = Instant::now();
        assert_eq!(host.request("GET", "/healthz", &[], b"").status, 200);
        slowest = slowest.max(began.elapsed());
    }
    assert!(running() > 0, "they still compute");
    // A wide margin: this machine has two cores, and other tests run beside this one.
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
}
