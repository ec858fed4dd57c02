//! Workflows that are started by name: `function`, `job`, `manual-start`.

use serde_json::json;

use crate::flow::{flow, step};
use crate::harness::{Host, eventually, workflow};
use crate::server::Server;

#[test]
fn a_person_starts_a_run_and_what_is_given_is_checked() {
    let host = Host::start();
    host.apply_example("manual-start");
    let started = host.cli(&["run", "start", "manual-start", "--context", r#"{"order": "A-7", "amount": 12.5}"#, "--wait"]);
    assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
    let run = host.newest_run();
    assert_eq!(run["context"], json!({"order": "A-7", "reason": "other", "amount": 12.5}));
    assert_eq!((&run["steps"][0]["output"]["text"], &run["is_manual"]), (&json!("refund A-7: other"), &json!(true)));
    let wrong = json!({"context": {"reason": "bored", "colour": "red"}}).to_string();
    let refused = host.api("POST", "/workflows/manual-start/runs", wrong.as_bytes());
    refused.expect_problem(422, "not-started");
    let said = refused.json()["detail"].as_str().unwrap().to_owned();
    for part in ["`order` is missing", "`reason` is none of \"damaged\", \"late\", \"other\"", "no parameter `colour`"] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(host.runs().len(), 1);
}

#[test]
fn parameters_that_contradict_themselves_are_refused() {
    let host = Host::start();
    let parameters = json!([{"name": "a", "type": "boolean", "default": "yes"}, {"name": "a"}, {"name": "not good"}]);
    let publish = |parameters: &serde_json::Value| {
        let definition = json!({"weft": 1, "key": "p", "trigger": {"type": "manual-start", "config": {"parameters": parameters}}, "steps": []});
        host.api("PUT", "/workflows/p/draft", definition.to_string().as_bytes());
        let answer = host.api("POST", "/workflows/p/revisions", b"").json();
        let errors = answer["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(publish(&parameters), ["/trigger/config/parameters/2/name"], "its schema comes first");
    let parameters = json!([{"name": "a", "type": "boolean", "default": "yes"}, {"name": "a"}]);
    assert_eq!(publish(&parameters), ["/trigger/config/parameters/0/default", "/trigger/config/parameters/1/name"]);
}

#[test]
fn a_function_checks_its_arguments_and_returns_a_value() {
    let host = Host::start();
    host.apply_example("function");
    host.apply_example("call-function");
    let run = host.run_once("call-function", &json!({"first": "Ada", "last": "Lovelace"}));
    assert_eq!(run["output"], "Good morning, Dr. Ada Lovelace!", "{run:#}");
    let called = host.run(step(&run, "name")["runs"][0].as_str().unwrap());
    assert_eq!(called["context"], json!({"first": "Ada", "last": "Lovelace", "title": "Dr. "}));
    let run = host.run_once("call-function", &json!({"first": "Ada"}));
    let failure = &step(&run, "name")["failure"];
    assert_eq!((&run["status"], &failure["code"]), (&json!("error"), &json!("not-started")));
    assert!(failure["message"].as_str().unwrap().contains("`last` is missing"), "{failure}");
}

#[test]
fn the_last_output_of_a_workflow_that_is_called_is_its_result() {
    let host = Host::with_lab();
    host.apply_example("output");
    host.apply_example("call-workflow");
    let run = host.run_once("call-workflow", &json!({"sku": "A1", "tier": "none"}));
    assert_eq!(
        (&step(&run, "price")["output"], &run["output"]),
        (&json!({"sku": "A1", "price": 100}), &json!({"price": 100})),
        "{run:#}"
    );
    let run = host.run_once("call-workflow", &json!({"sku": "A1", "tier": "gold"}));
    assert_eq!(step(&run, "price")["output"]["price"], 80, "the last one counts");
    // What its trigger refuses fails the step, which may go on. A default in a template is a text.
    let run = host.run_once("call-workflow", &json!({"sku": "A1", "tier": "silver"}));
    assert_eq!(
        (&step(&run, "price")["failure"]["code"], &run["output"]),
        (&json!("not-started"), &json!({"price": "100"})),
        "{run:#}"
    );
    let call = |inner: serde_json::Value| {
        host.apply(&flow("inner", &inner));
        host.apply(&flow("outer", &json!([{"key": "call", "type": "call-workflow", "config": {"workflow": "inner"}}])));
        host.run_once("outer", &json!({}))
    };
    let run = call(json!([{"key": "note", "type": "data", "config": {"fields": {"x": 1}}}]));
    assert_eq!(
        (&run["status"], &step(&run, "call")["output"]),
        (&json!("succeeded"), &json!(null)),
        "without an output it is null"
    );
    let run = call(
        json!([{"key": "stop", "type": "condition", "config": {"mode": "reject", "left": 1, "operator": "equal", "right": 2}}]),
    );
    assert_eq!((&run["status"], &step(&run, "call")["failure"]["code"]), (&json!("failed"), &json!("condition-false")));
    let run = call(json!([{"key": "stop", "type": "acme/lab/fail", "config": {"code": "out-of-stock"}}]));
    assert_eq!((&run["status"], &step(&run, "call")["failure"]["code"]), (&json!("error"), &json!("out-of-stock")));
    let run = call(json!([{"key": "stop", "type": "end", "config": {"status": "failed", "message": "no"}}]));
    assert_eq!(run["status"], "failed");
}

#[test]
fn a_caller_who_waits_for_an_answer_gets_what_a_function_returns() {
    let host = Host::start();
    host.apply_example("function");
    let steps = json!([
        {"key": "name", "type": "call-function", "config": {"workflow": "function", "arguments": "{{$context.data}}"}},
        {"key": "answer", "type": "response", "config": {"body": {"name": "{{$steps.name.result}}"}}}]);
    host.apply(&workflow("front", &json!({"mode": "sync"}), &steps));
    assert_eq!(host.hook("front", br#"{"first": "Ada", "last": "Lovelace"}"#).json(), json!({"name": "Ada Lovelace"}));
    assert_eq!(host.hook("front", b"{}").status, 500);
    let run = host.newest_run();
    assert!(
        step(&run, "name")["failure"]["message"].as_str().unwrap().contains("`first` is missing; `last` is missing"),
        "{run:#}"
    );
    // One that takes its time has steps that wait, and cannot be waited for there.
    let nap = json!([{"key": "nap", "type": "delay", "config": {"duration": 1, "unit": "ms"}}]);
    let slow = |mode: &str| json!({"weft": 1, "key": "function", "trigger": {"type": "function", "config": {"mode": mode}}, "steps": nap});
    host.apply(&slow("async"));
    assert_eq!(host.hook("front", b"{}").status, 500);
    assert_eq!(step(&host.newest_run(), "name")["failure"]["code"], "not-synchronous");
    host.api("PUT", "/workflows/function/draft", slow("sync").to_string().as_bytes());
    host.api("POST", "/workflows/function/revisions", b"").expect_problem(422, "invalid-workflow");
}

#[test]
fn workflows_that_call_each_other_are_stopped_by_the_stack_limit() {
    let host = Host::start();
    let call =
        |key: &str, node: &str, target: &str| flow(key, &json!([{"key": "call", "type": node, "config": {"workflow": target}}]));
    let mut ping = call("ping", "call-workflow", "pong");
    ping["options"] = json!({"stack_limit": 3});
    let mut pong = call("pong", "call-function", "ping");
    pong["options"] = json!({"stack_limit": 3});
    host.apply(&ping);
    host.apply(&pong);
    let run = host.run_once("ping", &json!({}));
    assert_eq!((&run["status"], &step(&run, "call")["failure"]["code"]), (&json!("error"), &json!("stack-limit")), "{run:#}");
    assert_eq!((host.all_runs("workflow=ping").len(), host.all_runs("workflow=pong").len()), (3, 3));
    // Who does not wait is stopped as well.
    host.apply(&call("again", "call-job", "again"));
    let run = host.run_once("again", &json!({}));
    assert_eq!(step(&run, "call")["failure"]["code"], "stack-limit");
    assert_eq!(host.all_runs("workflow=again").len(), 1);
}

#[test]
fn a_job_is_started_by_a_step_that_does_not_wait() {
    let host = Host::start();
    host.apply_example("job");
    host.apply_example("call-job");
    let run = host.run_once("call-job", &json!({"parts": 4}));
    let job = step(&run, "rebuild")["output"]["run"].as_str().unwrap().to_owned();
    assert_eq!(run["output"], format!("the index is rebuilt by run {job}"));
    host.is_there(&job);
    assert_eq!(host.ended(&job)["output"], json!({"parts": 4}));
}

/// A queue with one worker holds up its own jobs, and nobody else.
#[test]
fn jobs_of_one_queue_come_one_after_the_other_and_hold_up_no_other_run() {
    let (host, server) = (Host::with_lab(), Server::start());
    host.grant("acme/lab", &server.url);
    server.hold(true);
    let steps = json!([{"key": "work", "type": "acme/lab/send", "config": {"url": server.url}}]);
    for key in ["heavy", "heavier"] {
        let trigger = json!({"type": "job", "config": {"queue": "heavy"}});
        host.apply(&json!({"weft": 1, "key": key, "trigger": trigger, "steps": steps}));
    }
    let set = host.cli(&["queue", "set", "heavy", "--concurrency", "1", "--priority", "5"]);
    assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
    let first = host.start_run("heavy", &json!({}));
    eventually("it is at work", || server.came().len() == 1);
    let second = host.start_run("heavier", &json!({}));
    assert_eq!(host.run(&second)["status"], "queued");
    host.apply_example("function");
    host.apply_example("call-function");
    let run = host.run_once("call-function", &json!({"first": "Ada", "last": "Lovelace"}));
    assert_eq!(run["status"], "succeeded", "others are not held up");
    assert_eq!((&host.run(&second)["status"], server.came().len()), (&json!("queued"), 1));
    server.hold(false);
    for id in [first, second] {
        assert_eq!(host.ended(&id)["status"], "succeeded");
    }
    assert_eq!(server.came().len(), 2);
    // Without a name the queue is the workflow's own.
    host.apply(&json!({"weft": 1, "key": "own", "trigger": {"type": "job"}, "steps": []}));
    assert_eq!(host.run_once("own", &json!({}))["queue"], "own");
}
