//! What a call of a plugin sees, and what is left of one that failed. Attacks are in `hostile.rs`.

use serde_json::{Value, json};

use crate::harness::{Host, workflow};

fn rogue(host: &Host, way: &str) -> Value {
    let steps = json!([{"key": "a", "type": "acme/rogue/rogue", "config": {"way": way}}]);
    host.apply(&workflow(way, &json!({"mode": "sync"}), &steps));
    host.hook(way, b"{}");
    host.newest_run()
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
fn there_is_nothing_to_see_outside() {
    let host = Host::start();
    host.add_plugin("rogue");
    let run = rogue(&host, "look-around");
    let seen = &run["steps"][0]["output"];
    assert_eq!((&seen["environment"], &seen["arguments"]), (&json!(0), &json!(0)), "{seen}");
    assert!(seen["files"]["Err"].is_string() && seen["network"]["Err"].is_string(), "{seen}");
    assert!(seen["threads"]["Err"].is_string(), "{seen}");
    let run = rogue(&host, "print");
    assert_eq!(run["steps"][0]["log"], json!([{"level": "info", "message": "printed"}]));
}
