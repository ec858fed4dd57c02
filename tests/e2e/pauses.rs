//! Steps that wait for a time or a message, over restarts: `delay`, `wait-signal`, and what goes on around them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::flow::{flow, has_step, step};
use crate::harness::{Host, eventually};

#[test]
fn a_delay_survives_a_restart_and_ends_once_and_on_time() {
    let host = Host::with_lab();
    let steps = json!([
        {"key": "nap", "type": "delay", "config": {"duration": "{{$context.ms}}", "unit": "ms"}},
        {"key": "count", "type": "acme/lab/count", "config": {"counter": "woke"}}]);
    host.apply(&flow("naps", &steps));
    let began = Instant::now();
    let (soon, later) =
        (host.start_run("naps", &json!({"context": {"ms": 500}})), host.start_run("naps", &json!({"context": {"ms": 4_000}})));
    host.step_is(&later, "nap", "waiting");
    let data = host.kill();
    std::thread::sleep(Duration::from_millis(700));
    let host = Host::start_in(data, &[]);
    // The one that is overdue goes on at once; of the other it is known that it waits for its own time.
    let run = host.ended(&soon);
    assert_eq!((&run["status"], &step(&run, "nap")["output"]), (&json!("succeeded"), &json!(500)));
    let run = host.ended(&later);
    assert!(began.elapsed() >= Duration::from_millis(4_000), "it was early");
    assert_eq!((&step(&run, "nap")["output"], &step(&run, "nap")["calls"]), (&json!(4_000), &json!(2)));
    let mut counts: Vec<Value> = [soon, later].iter().map(|id| step(&host.run(id), "count")["output"].clone()).collect();
    counts.sort_by_key(Value::as_u64);
    assert_eq!(counts, [json!(1), json!(2)], "each went on once");
}

#[test]
fn a_delay_waits_until_a_time_fails_where_it_is_to_and_refuses_what_is_no_time() {
    let host = Host::start();
    let go = |config: Value, context: Value| {
        host.apply(&flow("delays", &json!([{"key": "nap", "type": "delay", "config": config}])));
        let run = host.run_once("delays", &context);
        (run["status"].clone(), step(&run, "nap")["output"].clone(), step(&run, "nap")["failure"].clone())
    };
    let (status, _, failure) = go(json!({"duration": 1, "unit": "ms", "end": "fail"}), json!({}));
    assert_eq!((status, &failure["code"]), (json!("failed"), &json!("delay-ended")));
    assert_eq!(go(json!({"until": "2020-01-01T00:00:00+07:00"}), json!({})).1, 0);
    assert_eq!(go(json!({"until": "{{$system.now}}"}), json!({})).0, "succeeded");
    for (config, at) in [(json!({"until": "{{$context.x}}"}), "/until"), (json!({"duration": "{{$context.x}}"}), "/duration")] {
        let (status, _, failure) = go(config, json!({"x": ["soon"]}));
        assert_eq!((status, &failure["code"]), (json!("error"), &json!("invalid-config")));
        assert!(failure["message"].as_str().unwrap().contains(at), "{failure}");
    }
    for wrong in [
        json!({}),
        json!({"duration": 1, "until": "2030-01-01T00:00:00Z"}),
        json!({"until": "tomorrow"}),
        json!({"duration": -1}),
    ] {
        let definition = flow("bad", &json!([{"key": "nap", "type": "delay", "config": wrong}]));
        host.api("PUT", "/workflows/bad/draft", definition.to_string().as_bytes());
        host.api("POST", "/workflows/bad/revisions", b"").expect_problem(422, "invalid-workflow");
    }
    host.apply_example("delay");
    assert_eq!(host.run_once("delay", &json!({"invoice": "I-7", "hours": 0.00001}))["output"], "reminder for I-7");
}

#[test]
fn a_message_goes_to_whoever_waits_or_the_time_for_it_ends() {
    let host = Host::start();
    host.apply_example("wait-signal");
    let id = host.start_run("wait-signal", &json!({"context": {"order": "4711"}}));
    let run = host.step_is(&id, "payment", "waiting");
    let mut kinds: Vec<&str> =
        run["steps"][0]["waits"].as_array().unwrap().iter().map(|wait| wait["kind"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["signal", "timer"]);
    host.cli(&["workflow", "signal", "wait-signal", "paid", "4711", r#"{"amount": 12}"#]);
    assert_eq!(host.ended(&id)["output"], json!({"ship": "4711", "paid": 12}));
    let late = |on_timeout: &str| {
        let config = json!({"name": "paid", "timeout_ms": 50, "on_timeout": on_timeout});
        host.apply(&flow(
            "late",
            &json!([{"key": "hear", "type": "wait-signal", "config": config}, {"key": "after", "type": "data",
            "config": {"fields": {}}}]),
        ));
        host.run_once("late", &json!({}))
    };
    let run = late("fail");
    assert_eq!((&run["status"], &step(&run, "hear")["failure"]["code"]), (&json!("failed"), &json!("no-signal")));
    assert!(!has_step(&run, "after"));
    let run = late("continue");
    assert_eq!((&run["status"], &step(&run, "hear")["output"]), (&json!("succeeded"), &json!(null)));
    // A variable without a value is no key.
    host.apply(&flow(
        "keyless",
        &json!([{"key": "hear", "type": "wait-signal", "config": {"name": "x", "key": "{{$context.missing}}"}}]),
    ));
    assert_eq!(step(&host.run_once("keyless", &json!({})), "hear")["failure"]["code"], "invalid-config");
}

#[test]
fn a_loop_with_waits_goes_on_after_kill_9() {
    let mut host = Host::with_lab();
    let steps = json!([
        {"key": "each", "type": "loop", "config": {"target": "{{$context.list}}"}, "branches": {"do": [
            {"key": "nap", "type": "delay", "config": {"duration": 30, "unit": "ms"}},
            {"key": "count", "type": "acme/lab/count", "config": {"counter": "{{$scopes.each.item}}"}}]}},
        {"key": "out", "type": "output", "config": {"value": "{{$steps.each.result}}"}}]);
    host.apply(&flow("long", &steps));
    let list: Vec<String> = (0..60).map(|n| format!("item{n}")).collect();
    let id = host.start_run("long", &json!({"context": {"list": list}}));
    for round in [8, 25, 40] {
        eventually("some rounds have passed", || has_step(&host.run(&id), &format!("each/{round}/count")));
        host = Host::start_in(host.kill(), &[]);
    }
    let run = host.ended(&id);
    assert_eq!((&run["status"], &run["output"]), (&json!("succeeded"), &json!({"looped": 60, "done": true})));
    for round in 0..60 {
        assert_eq!(step(&run, &format!("each/{round}/count"))["output"], 1, "round {round} was done once");
    }
}

#[test]
fn a_run_whose_time_is_over_takes_its_children_with_it() {
    let host = Host::start();
    let nap = json!([{"key": "nap", "type": "delay", "config": {"duration": 1, "unit": "h"}}]);
    host.apply(&flow("inner", &nap));
    let mut outer = flow("outer", &json!([{"key": "call", "type": "call-workflow", "config": {"workflow": "inner"}}]));
    outer["options"] = json!({"timeout_ms": 3_000});
    host.apply(&outer);
    let id = host.start_run("outer", &json!({}));
    let run = host.step_is(&id, "call", "waiting");
    let child = run["steps"][0]["runs"][0].as_str().unwrap().to_owned();
    host.is_there(&child);
    let run = host.ended(&id);
    assert_eq!(
        (&run["status"], &run["reason"], &run["steps"][0]["status"]),
        (&json!("aborted"), &json!("timeout"), &json!("aborted"))
    );
    let child = host.ended(&child);
    assert_eq!((&child["status"], &child["reason"]), (&json!("aborted"), &json!("parent-aborted")), "{child:#}");
    assert_eq!(child["steps"][0]["status"], "aborted");
}

#[test]
fn what_is_assigned_in_a_loop_is_there_after_it() {
    let host = Host::start();
    host.apply_example("variable");
    let line = |sku: &str, total: u32| json!({"sku": sku, "total": total});
    let run = host.run_once("variable", &json!({"lines": [line("a", 3), line("b", 9), line("c", 5)]}));
    assert_eq!(run["output"], line("b", 9), "{run:#}");
    assert_eq!(step(&run, "each/1/is-larger/yes/take")["output"], line("b", 9));
    let steps = json!([
        {"key": "sum", "type": "variable", "config": {"value": ""}},
        {"key": "each", "type": "loop", "config": {"target": ["a", "b", "c"]}, "branches": {"do": [
            {"key": "add", "type": "variable", "config": {"target": "sum", "value": "{{$steps.sum.result}}{{$scopes.each.item}}"}}]}},
        {"key": "out", "type": "output", "config": {"value": "{{$steps.sum.result}}"}}]);
    host.apply(&flow("sums", &steps));
    assert_eq!(host.run_once("sums", &json!({}))["output"], "abc");
    let steps = json!([{"key": "note", "type": "data", "config": {"fields": {}}}, {"key": "set", "type": "variable", "config":
        {"target": "note", "value": 1}}]);
    host.apply(&flow("wrong", &steps));
    assert_eq!(step(&host.run_once("wrong", &json!({})), "set")["failure"]["code"], "not-found", "that is no variable");
}

#[test]
fn an_end_ends_the_run_from_inside_a_loop() {
    let host = Host::start();
    host.apply_example("end");
    let line = |sku: &str, stock: u32| json!({"sku": sku, "quantity": 2, "stock": stock});
    let run = host.run_once("end", &json!({"lines": [line("a", 2), line("b", 1), line("c", 5)]}));
    assert_eq!(
        (&run["status"], &run["message"], &run["output"]),
        (&json!("failed"), &json!("b is out of stock"), &json!(null)),
        "{run:#}"
    );
    assert!(!has_step(&run, "each/2/in-stock") && !has_step(&run, "all-there"));
    let run = host.run_once("end", &json!({"lines": [line("a", 2)]}));
    assert_eq!((&run["status"], &run["output"]), (&json!("succeeded"), &json!("1 lines can be delivered")));
    host.apply(&flow(
        "good",
        &json!([{"key": "stop", "type": "end"}, {"key": "after", "type": "data", "config": {"fields": {}}}]),
    ));
    let run = host.run_once("good", &json!({}));
    assert_eq!((&run["status"], has_step(&run, "after")), (&json!("succeeded"), false));
}
