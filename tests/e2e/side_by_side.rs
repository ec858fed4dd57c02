//! Branches side by side: `parallel`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::flow::{flow, has_step, step};
use crate::harness::{Host, eventually};

fn signal(host: &Host, id: &str, name: &str) -> u16 {
    let body = json!({"name": name, "payload": {"from": name}}).to_string();
    host.api("POST", &format!("/runs/{id}/signals"), body.as_bytes()).status
}

/// A branch that waits for a message, and another.
fn signal_or(mode: &str, other: &Value) -> Value {
    let config =
        json!({"mode": mode, "branches": [{"key": "person", "title": "A person"}, {"key": "other", "title": "Another"}]});
    flow(
        "decide",
        &json!([
        {"key": "both", "type": "parallel", "config": config, "branches": {
            "person": [{"key": "answer", "type": "wait-signal", "config": {"name": "answer"}}],
            "other": other}},
        {"key": "after", "type": "data", "config": {"fields": {"statuses": "{{$steps.both.result}}"}}}]),
    )
}

#[test]
fn what_a_failing_branch_means_depends_on_the_mode() {
    let host = Host::start();
    for (mode, status, result) in [
        ("all", "failed", json!([null, "failed"])),
        ("any", "running", json!(null)),
        ("race", "failed", json!([null, "failed"])),
        ("all-settled", "running", json!(null)),
    ] {
        let late = json!([{"key": "late", "type": "delay", "config": {"duration": 100, "unit": "ms", "end": "fail"}}]);
        host.apply(&signal_or(mode, &late));
        let id = host.start_run("decide", &json!({"context": {}}));
        eventually("the time has come", || host.run(&id)["steps"].to_string().contains("delay-ended"));
        if status == "running" {
            let run = host.step_is(&id, "both", "waiting");
            assert_eq!(step(&run, "both/person/answer")["status"], "waiting", "{mode}: {run:#}");
            assert_eq!(signal(&host, &id, "answer"), 202);
            let run = host.ended(&id);
            assert_eq!(
                (&run["status"], &step(&run, "after")["output"]["statuses"]),
                (&json!("succeeded"), &json!(["succeeded", "failed"]))
            );
            continue;
        }
        let run = host.ended(&id);
        assert_eq!((&run["status"], &step(&run, "both")["output"]), (&json!(status), &result), "{mode}: {run:#}");
        assert_eq!(step(&run, "both")["failure"]["code"], "delay-ended");
        assert_eq!(step(&run, "both/person/answer")["status"], "aborted");
        assert!(!has_step(&run, "after"));
        // The decision stands: what comes later changes nothing.
        assert_eq!(signal(&host, &id, "answer"), 409);
        assert_eq!(host.run(&id), run);
    }
}

#[test]
fn what_a_branch_that_succeeds_means_depends_on_the_mode() {
    let host = Host::start();
    for (mode, decides) in [("all", false), ("any", true), ("race", true), ("all-settled", false)] {
        // Fails after a message of its own.
        let told = json!([
            {"key": "late", "type": "wait-signal", "config": {"name": "late"}},
            {"key": "fail", "type": "condition", "config": {"mode": "reject", "left": 1, "operator": "equal", "right": 2}}]);
        host.apply(&signal_or(mode, &told));
        let id = host.start_run("decide", &json!({"context": {}}));
        host.step_is(&id, "both/person/answer", "waiting");
        assert_eq!(signal(&host, &id, "answer"), 202);
        if !decides {
            host.step_is(&id, "both/person/answer", "succeeded");
            assert_eq!(signal(&host, &id, "late"), 202);
        }
        let run = host.ended(&id);
        if decides {
            assert_eq!(
                (&run["status"], &step(&run, "both")["output"]),
                (&json!("succeeded"), &json!(["succeeded", null])),
                "{mode}"
            );
            assert_eq!(step(&run, "both/other/late")["status"], "aborted");
        } else {
            let want = if mode == "all" { "failed" } else { "succeeded" };
            assert_eq!(
                (&run["status"], &step(&run, "both")["output"]),
                (&json!(want), &json!(["succeeded", "failed"])),
                "{mode}"
            );
        }
    }
}

#[test]
fn any_fails_when_all_failed_and_late_answers_within_a_run_are_dropped() {
    let host = Host::start();
    let fails =
        |key: &str, ms: u32| json!([{"key": key, "type": "delay", "config": {"duration": ms, "unit": "ms", "end": "fail"}}]);
    let config = json!({"mode": "any", "branches": [{"key": "a"}, {"key": "b"}]});
    host.apply(&flow(
        "none",
        &json!([
        {"key": "both", "type": "parallel", "config": config, "branches": {"a": fails("a-late", 10), "b": fails("b-late", 50)}}]),
    ));
    let run = host.run_once("none", &json!({}));
    assert_eq!(
        (&step(&run, "both")["failure"]["code"], &step(&run, "both")["output"]),
        (&json!("all-failed"), &json!(["failed", "failed"]))
    );
    // The run goes on after the decision; the message for the branch that was stopped is kept and wakes nobody.
    host.apply(&flow(
        "goes-on",
        &json!([
        {"key": "both", "type": "parallel", "config": {"mode": "any", "branches": [{"key": "a"}, {"key": "b"}]}, "branches": {
            "a": [{"key": "hear-a", "type": "wait-signal", "config": {"name": "a"}}],
            "b": [{"key": "hear-b", "type": "wait-signal", "config": {"name": "b"}}]}},
        {"key": "hold", "type": "wait-signal", "config": {"name": "end"}}]),
    ));
    let id = host.start_run("goes-on", &json!({"context": {}}));
    host.step_is(&id, "both/a/hear-a", "waiting");
    signal(&host, &id, "b");
    let before = host.step_is(&id, "hold", "waiting");
    signal(&host, &id, "a");
    eventually("it has come", || host.run(&id)["arrivals"].to_string().contains("\"a\""));
    assert_eq!(host.run(&id)["steps"], before["steps"]);
    signal(&host, &id, "end");
    let run = host.ended(&id);
    assert_eq!(step(&run, "both")["output"], json!([null, "succeeded"]));
    assert_eq!(step(&run, "both/a/hear-a")["status"], "aborted");
}

#[test]
fn the_first_answer_of_the_example_counts() {
    let host = Host::start();
    host.apply_example("parallel");
    let id = host.start_run("parallel", &json!({"context": {"order": "7"}}));
    host.step_is(&id, "ask/stock/from-stock", "waiting");
    let said = host.cli(&["workflow", "signal", "parallel", "stock", "7", r#"{"ok": true}"#]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let run = host.ended(&id);
    assert_eq!(run["output"], json!({"sales": null, "stock": {"ok": true}, "ended": [null, "succeeded", null]}), "{run:#}");
    assert_eq!(step(&run, "ask/deadline/too-late")["status"], "aborted");
}

#[test]
fn a_hundred_branches_wait_at_the_same_time() {
    let host = Host::start();
    let branches: Vec<Value> = (0..100).map(|n| json!({"key": format!("b{n}"), "title": "One of many"})).collect();
    let steps = |n: u32| json!([{"key": format!("nap{n}"), "type": "delay", "config": {"duration": 200, "unit": "ms"}}]);
    let inside: serde_json::Map<String, Value> = (0..100).map(|n| (format!("b{n}"), steps(n))).collect();
    host.apply(&flow("wide", &json!([{"key": "all", "type": "parallel", "config": {"branches": branches}, "branches": inside}])));
    let began = Instant::now();
    let run = host.run_once("wide", &json!({}));
    let took = began.elapsed();
    println!("100 branches of 200 ms each took {} ms", took.as_millis());
    assert_eq!(step(&run, "all")["output"], json!(vec!["succeeded"; 100]), "{run:#}");
    // One after the other they would take twenty seconds.
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn parallel_stands_in_a_loop_and_a_loop_in_parallel() {
    let host = Host::start();
    let two = json!({"branches": [{"key": "left"}, {"key": "right"}]});
    let note = |key: &str| {
        json!({"key": key, "type": "data", "config": {"fields": {
        "outer": "{{$scopes.rounds.item}}", "inner": "{{$scopes.cells.item}}"}}})
    };
    let cells = |key: &str| {
        json!([
        {"key": "cells", "type": "loop", "config": {"target": 2}, "branches": {"do": [note(key)]}}])
    };
    let inner = json!({"key": "inner", "type": "parallel", "config": two, "branches": {"left": cells("in-left"), "right": [
        {"key": "nap", "type": "delay", "config": {"duration": 20, "unit": "ms"}}]}});
    let rounds = json!([{"key": "rounds", "type": "loop", "config": {"target": ["x", "y"]}, "branches": {"do": [inner]}}]);
    let other = json!([{"key": "other", "type": "data", "config": {"fields": {}}}]);
    host.apply(&flow(
        "nested",
        &json!([{"key": "outer", "type": "parallel", "config": two, "branches": {"left": rounds, "right": other}}]),
    ));
    let run = host.run_once("nested", &json!({}));
    assert_eq!(
        (&run["status"], &step(&run, "outer")["output"]),
        (&json!("succeeded"), &json!(["succeeded", "succeeded"])),
        "{run:#}"
    );
    for (round, item) in [(0, "x"), (1, "y")] {
        let inner = format!("outer/left/rounds/{round}/inner");
        assert_eq!(step(&run, &inner)["output"], json!(["succeeded", "succeeded"]));
        for cell in [0, 1] {
            let path = format!("{inner}/left/cells/{cell}/in-left");
            assert_eq!(step(&run, &path)["output"], json!({"outer": item, "inner": cell}));
        }
    }
}
