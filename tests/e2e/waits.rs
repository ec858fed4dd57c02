//! Runs that wait: for times, messages, people, other runs, servers.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Host, eventually, lab, workflow};
use crate::server::Server;

#[test]
fn a_run_waits_for_a_time_and_shows_what_for() {
    let host = Host::with_lab();
    host.apply(&lab(
        "naps",
        &json!([{"key": "nap", "type": "sleep", "config": {"ms": 1_500}}, {"key": "out", "type": "out",
        "config": {"value": "{{$steps.nap.result}}"}}]),
    ));
    let id = host.start_run("naps", &json!({}));
    let run = host.step_is(&id, "nap", "waiting");
    assert_eq!((&run["status"], run["wakes_at"].is_string()), (&json!("running"), true));
    let wait = &run["steps"][0]["waits"][0];
    assert_eq!((&wait["kind"], &wait["id"], &wait["at"]), (&json!("timer"), &json!("due"), &run["wakes_at"]));
    let run = host.ended(&id);
    assert_eq!((&run["status"], &run["output"], &run["is_manual"]), (&json!("succeeded"), &json!(1_500), &json!(true)));
    assert_eq!(run["steps"][0]["calls"], 2);
    let shown = String::from_utf8(host.cli(&["run", "show", &id]).stdout).unwrap();
    assert!(shown.contains("nap  succeeded") && shown.contains("output"), "{shown}");
}

#[test]
fn times_pass_while_the_host_is_down_and_runs_go_on_once() {
    let host = Host::with_lab();
    let steps = json!([{"key": "nap", "type": "sleep", "config": {"ms": "{{$context.given.ms}}"}}, {"key": "count", "type": "count",
        "config": {"counter": "woke"}}]);
    host.apply(&lab("naps", &steps));
    let soon: Vec<String> = (0..20).map(|_| host.start_run("naps", &json!({"context": {"ms": 300}}))).collect();
    let later: Vec<String> = (0..5).map(|_| host.start_run("naps", &json!({"context": {"ms": 6_000}}))).collect();
    for id in soon.iter().chain(&later) {
        // On a busy machine its time may have come.
        eventually("the run has begun", || host.run(id)["steps"][0]["step"] == "nap");
    }
    let data = host.kill();
    std::thread::sleep(Duration::from_millis(500));
    let host = Host::start_in(data, &[]);
    for id in &soon {
        assert_eq!(host.ended(id)["status"], "succeeded");
    }
    for id in &later {
        let run = host.run(id);
        assert!(run["ended_at"].is_null() || run["steps"][1]["output"].as_u64() > Some(20), "it is not due yet: {run:#}");
        assert_eq!(host.ended(id)["status"], "succeeded");
    }
    // Each run counted once.
    host.apply(&lab("naps", &json!([{"key": "read", "type": "read", "config": {"counter": "woke"}}])));
    assert_eq!(host.run_once("naps", &json!({}))["steps"][0]["output"], 25);
}

#[test]
fn messages_to_a_run_come_in_order_also_early_ones() {
    let host = Host::with_lab();
    let steps = json!([{"key": "nap", "type": "sleep", "config": {"ms": 400}}, {"key": "hear", "type": "hear", "config":
        {"name": "go", "times": 3}}]);
    host.apply(&lab("hears", &steps));
    let id = host.start_run("hears", &json!({}));
    let send = |payload: Value| {
        let body = json!({"name": "go", "payload": payload}).to_string();
        assert_eq!(host.api("POST", &format!("/runs/{id}/signals"), body.as_bytes()).status, 202);
    };
    send(json!(1));
    send(json!({"second": true}));
    host.step_is(&id, "hear", "waiting");
    let said = host.cli(&["run", "signal", &id, "stop", "3"]);
    assert_eq!(String::from_utf8_lossy(&said.stdout), "kept: no step of the run waits for `stop` now\n");
    let said = host.cli(&["run", "signal", &id, "go", "3"]);
    assert_eq!(String::from_utf8_lossy(&said.stdout), "the run gets the message\n", "{}", String::from_utf8_lossy(&said.stderr));
    let run = host.ended(&id);
    assert_eq!(run["steps"][1]["output"], json!([1, {"second": true}, 3]));
    assert_eq!(run["arrivals"].as_array().unwrap().len(), 4);
    let late = host.api("POST", &format!("/runs/{id}/signals"), br#"{"name": "go"}"#);
    late.expect_problem(409, "run-ended");
    host.api("POST", "/runs/0193a5c2-7b1e-7c3a-9f00-2a51c4d0b7e1/signals", br#"{"name": "go"}"#).expect_problem(404, "not-found");
}

#[test]
fn messages_by_key_reach_whoever_waits_and_wait_for_whoever_will() {
    let host = Host::with_lab();
    let steps = json!([{"key": "hear", "type": "hear", "config": {"name": "paid", "key": "{{$context.given.order}}"}}]);
    host.apply(&lab("orders", &steps));
    let send = |key: &str, payload: u32| {
        let body = json!({"name": "paid", "key": key, "payload": payload}).to_string();
        host.api("POST", "/workflows/orders/signals", body.as_bytes()).json()["runs"].as_u64().unwrap()
    };
    let both: Vec<String> = (0..2).map(|_| host.start_run("orders", &json!({"context": {"order": "7"}}))).collect();
    let other = host.start_run("orders", &json!({"context": {"order": "8"}}));
    both.iter().chain([&other]).for_each(|id| drop(host.step_is(id, "hear", "waiting")));
    assert_eq!(send("7", 70), 2);
    for id in &both {
        assert_eq!(host.ended(id)["steps"][0]["output"], json!([70]));
    }
    assert!(host.run(&other)["ended_at"].is_null());
    // One to a run does not reach a step that waits with a key.
    let heard = host.api("POST", &format!("/runs/{other}/signals"), br#"{"name": "paid"}"#);
    assert_eq!((heard.status, heard.json()), (202, json!({"waits": false, "workflow": "orders", "with_key": "8"})));
    let told = String::from_utf8(host.cli(&["run", "signal", &other, "paid"]).stdout).unwrap();
    assert!(told.starts_with("kept: ") && told.contains("weft workflow signal orders paid 8"), "{told}");
    assert!(host.run(&other)["ended_at"].is_null());
    // Nobody waits: it is kept, over a restart too, for the first that will.
    assert_eq!(send("9", 90), 0);
    let host = Host::start_in(host.kill(), &[]);
    let early = host.start_run("orders", &json!({"context": {"order": "9"}}));
    assert_eq!(host.ended(&early)["steps"][0]["output"], json!([90]));
    let second = host.start_run("orders", &json!({"context": {"order": "9"}}));
    host.step_is(&second, "hear", "waiting");
    assert!(host.run(&second)["ended_at"].is_null(), "it was for one");
}

#[test]
fn a_trigger_sends_messages_to_runs_that_wait() {
    let host = Host::with_lab();
    let steps = json!([{"key": "hear", "type": "acme/lab/hear", "config": {"name": "paid", "key": "{{$context.data.order}}"}}]);
    let definition =
        json!({"weft": 1, "key": "shop", "trigger": {"type": "acme/lab/hook", "config": {"mode": "async"}}, "steps": steps});
    host.apply(&definition);
    assert_eq!(host.hook("shop", br#"{"order": "7"}"#).status, 202);
    eventually("the run waits", || host.runs().len() == 1 && host.newest_run()["steps"][0]["status"] == "waiting");
    assert_eq!(host.hook("shop?signal=7", br#"{"amount": 3}"#).status, 202);
    eventually("the run has ended", || host.newest_run()["status"] == "succeeded");
    let run = host.newest_run();
    assert_eq!(run["steps"][0]["output"], json!([{"amount": 3}]));
    assert_eq!(run["context"]["number"], 1, "the trigger counts in its own state");
    // What the trigger read is checked when its reaction is committed.
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..5).for_each(|_| assert_eq!(host.hook("shop", b"{}").status, 202)));
        }
    });
    let mut numbers: Vec<u64> =
        host.runs().iter().map(|run| host.run(run["id"].as_str().unwrap())["context"]["number"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    let want: Vec<u64> = (1..=42).filter(|number| *number != 2).collect();
    assert_eq!(numbers, want, "each request has a number of its own, and the message was the second");
}

#[test]
fn runs_start_runs_and_wait_for_their_output() {
    let host = Host::with_lab();
    host.apply(&lab(
        "inner",
        &json!([{"key": "nap", "type": "sleep", "config": {"ms": 100}}, {"key": "out", "type": "out", "config":
        {"value": {"from": "{{$context.given.x}}"}}}]),
    ));
    host.apply(&lab(
        "outer",
        &json!([{"key": "sub", "type": "sub", "config": {"workflow": "inner", "context": {"x": 7}}}, {"key":
        "launch", "type": "launch", "config": {"workflow": "inner", "context": {"x": 8}}}]),
    ));
    let run = host.run_once("outer", &json!({}));
    assert_eq!((&run["status"], &run["steps"][0]["output"]), (&json!("succeeded"), &json!({"from": 7})), "{run:#}");
    let child = host.run(run["steps"][0]["runs"][0].as_str().unwrap());
    assert_eq!((&child["parent"], &child["workflow"]), (&run["id"], &json!("inner")));
    let launched = run["steps"][1]["output"].as_str().unwrap();
    assert_eq!(host.ended(launched)["output"], json!({"from": 8}));
    assert_eq!(host.run(launched)["parent"], Value::Null);
}

#[test]
fn a_child_that_cannot_start_or_fails_says_why() {
    let host = Host::with_lab();
    host.apply(&lab("fails", &json!([{"key": "x", "type": "fail", "config": {"code": "out-of-stock"}}])));
    let picky =
        json!({"weft": 1, "key": "picky", "trigger": {"type": "acme/lab/callable", "config": {"mode": "async", "wants": "sku"}}});
    host.apply(&picky);
    host.apply(&workflow("hook", &json!({"mode": "async"}), &json!([])));
    host.apply(&lab("self", &json!([{"key": "sub", "type": "sub", "config": {"workflow": "self"}}])));
    let call = |target: &str, mode: &str| {
        let trigger = json!({"type": "acme/lab/callable", "config": {"mode": mode}});
        let steps = json!([{"key": "sub", "type": "acme/lab/sub", "config": {"workflow": target, "context": {"y": 1}}}]);
        host.apply(&json!({"weft": 1, "key": "caller", "trigger": trigger, "steps": steps}));
        let run = host.run_once("caller", &json!({}));
        run["steps"][0]["failure"]["code"].as_str().unwrap_or_else(|| panic!("{run:#}")).to_owned()
    };
    assert_eq!(call("fails", "async"), "out-of-stock");
    assert_eq!(call("nowhere", "async"), "not-found");
    assert_eq!(call("picky", "async"), "not-started");
    assert_eq!(call("self", "async"), "stack-limit");
    let body = json!({"context": {}}).to_string();
    host.api("POST", "/workflows/picky/runs", body.as_bytes()).expect_problem(422, "not-started");
    // A paused workflow can be called.
    host.api("POST", "/workflows/fails/pause", b"");
    assert_eq!(call("fails", "async"), "out-of-stock");
}

#[test]
fn a_synchronous_run_waits_for_synchronous_runs_only() {
    let host = Host::with_lab();
    let sync = |key: &str, steps: Value| {
        let trigger = json!({"type": "acme/lab/callable", "config": {"mode": "sync"}});
        json!({"weft": 1, "key": key, "trigger": trigger, "steps": steps})
    };
    host.apply(&sync("quick", json!([{"key": "out", "type": "acme/lab/out", "config": {"value": 5}}])));
    host.apply(&lab("slow", &json!([])));
    let front = |target: &str| {
        let steps = json!([
            {"key": "sub", "type": "acme/lab/sub", "config": {"workflow": target}},
            {"key": "answer", "type": "response", "config": {"body": {"got": "{{$steps.sub.result}}"}}}
        ]);
        host.apply(&workflow("front", &json!({"mode": "sync"}), &steps));
        host.hook("front", b"{}")
    };
    assert_eq!(front("quick").json(), json!({"got": 5}));
    assert_eq!(front("slow").status, 500);
    assert_eq!(host.newest_run()["steps"][0]["failure"]["code"], "not-synchronous");
    // What waits for times or people is refused when it is published.
    let steps = json!([{"key": "nap", "type": "acme/lab/sleep", "config": {"ms": 5}}]);
    let definition = workflow("naps", &json!({"mode": "sync"}), &steps);
    host.api("PUT", "/workflows/naps/draft", definition.to_string().as_bytes());
    let refused = host.api("POST", "/workflows/naps/revisions", b"");
    refused.expect_problem(422, "invalid-workflow");
    assert_eq!(refused.json()["errors"][0]["pointer"], "/steps/0/type");
}

#[test]
fn people_answer_and_the_host_checks_who_and_how() {
    let host = Host::with_lab();
    host.apply(&lab("asks", &json!([{"key": "ask", "type": "ask", "config": {"users": ["ada", "bob"]}}])));
    let id = host.start_run("asks", &json!({}));
    let run = host.step_is(&id, "ask", "waiting");
    let task = &run["steps"][0]["waits"][0]["task"];
    assert_eq!((&task["title"], &task["assignees"]), (&json!("Answer ask"), &json!(["ada", "bob"])));
    let act = |user: &str, action: &str, task: &str, values: Value| {
        let body = json!({"step": "ask", "task": task, "user": user, "action": action, "values": values}).to_string();
        host.api("POST", &format!("/runs/{id}/tasks"), body.as_bytes())
    };
    act("eve", "yes", "question", json!({"amount": 1})).expect_problem(403, "not-assigned");
    act("ada", "no", "question", json!({"amount": 1})).expect_problem(400, "unknown-action");
    act("ada", "yes", "other", json!({"amount": 1})).expect_problem(404, "task-not-found");
    let wrong = act("ada", "yes", "question", json!({"amount": 0}));
    wrong.expect_problem(422, "invalid-form");
    assert_eq!(wrong.json()["errors"][0]["pointer"], "/amount");
    assert_eq!(act("ada", "save", "question", json!({})).status, 202, "a draft is not checked");
    assert!(host.run(&id)["ended_at"].is_null());
    assert_eq!(act("bob", "yes", "question", json!({"amount": 5})).status, 202);
    let run = host.ended(&id);
    assert_eq!(run["steps"][0]["output"], json!({"user": "bob", "action": "yes", "values": {"amount": 5}}));
    act("ada", "yes", "question", json!({"amount": 5})).expect_problem(409, "run-ended");
}

#[test]
fn a_response_is_waited_for_without_an_instance() {
    let (host, server) = (Host::with_lab(), Server::start());
    host.apply(&lab(
        "fetches",
        &json!([{"key": "get", "type": "fetch", "config": {"url": format!("{}/a", server.url)},
        "retry": {"attempts": 3, "backoff_ms": 50}}]),
    ));
    let denied = host.run_once("fetches", &json!({}));
    assert_eq!(denied["steps"][0]["failure"]["code"], "denied", "nothing is granted by default");
    assert_eq!(server.came().len(), 0);
    host.grant("acme/lab", &server.url);
    server.answer_with(503);
    let id = host.start_run("fetches", &json!({}));
    eventually("the request came", || !server.came().is_empty());
    server.answer_with(200);
    let run = host.ended(&id);
    assert_eq!(run["steps"][0]["output"], json!({"status": 200, "body": "hello"}), "{run:#}");
    let came = server.came();
    assert!(came.len() >= 2 && came.iter().all(|again| again.key == came[0].key), "sent again with the same key: {came:?}");
}

#[test]
fn many_branches_wait_side_by_side() {
    let host = Host::with_lab();
    let steps = json!([{"key": "side", "type": "side", "config": {"branches": 100}, "branches": {"do": [
        {"key": "nap", "type": "sleep", "config": {"ms": 300}}]}}]);
    host.apply(&lab("wide", &steps));
    let run = host.run_once("wide", &json!({}));
    assert_eq!((&run["status"], &run["steps"][0]["output"]), (&json!("succeeded"), &json!(100)));
    assert_eq!(run["steps"].as_array().unwrap().len(), 101);
}
