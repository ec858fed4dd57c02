//! What runs do: inside the host exactly once, outside with a key that stays the same.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Host, eventually, lab};
use crate::server::Server;

fn counter(host: &Host, workflow: &str, name: &str) -> u64 {
    // The same workflow reads its own state.
    let steps = json!([{"key": "read", "type": "read", "config": {"counter": name}}]);
    host.apply(&lab(workflow, &steps));
    host.run_once(workflow, &json!({}))["steps"][0]["output"].as_u64().unwrap()
}

#[test]
fn many_runs_count_at_once_and_none_is_lost() {
    let host = Host::with_lab();
    let steps = json!([{"key": "each", "type": "each", "config": {"rounds": 5}, "branches": {"do": [{"key": "count", "type": "count",
        "config": {"counter": "all"}}]}}]);
    host.apply(&lab("counts", &steps));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..5).for_each(|_| assert_eq!(host.run_once("counts", &json!({}))["status"], "succeeded")));
        }
    });
    assert_eq!(counter(&host, "counts", "all"), 200);
}

#[test]
fn branches_of_one_run_count_side_by_side() {
    let host = Host::with_lab();
    let count = json!([{"key": "count", "type": "count", "config": {"counter": "all"}}]);
    let side = json!({"key": "side", "type": "side", "config": {"branches": 20}, "branches": {"do": count}});
    host.apply(&lab("side", &json!([side])));
    assert_eq!(host.run_once("side", &json!({}))["status"], "succeeded");
    assert_eq!(counter(&host, "side", "all"), 20);
    let whole = json!([{"key": "whole", "type": "whole", "branches": {"do": [side]}}]);
    host.apply(&lab("whole", &whole));
    assert_eq!(host.run_once("whole", &json!({}))["status"], "succeeded");
    assert_eq!(counter(&host, "whole", "all"), 20, "in an atomic branch too");
}

#[test]
fn an_atomic_branch_is_kept_as_a_whole_or_not_at_all() {
    let host = Host::with_lab();
    let count = |key: &str| json!({"key": key, "type": "count", "config": {"counter": "all"}});
    let inside =
        |last: Value| json!([count("one"), count("two"), {"key": "out", "type": "out", "config": {"value": "kept"}}, last]);
    let whole = |last: Value| {
        json!([{"key": "whole", "type": "whole", "branches": {"do": inside(last), "on_failure": []}},
            {"key": "after", "type": "count", "config": {"counter": "after"}}])
    };
    host.apply(&lab("whole", &whole(json!({"key": "fail", "type": "fail"}))));
    let run = host.run_once("whole", &json!({}));
    assert_eq!((&run["status"], &run["steps"][1]["output"]), (&json!("succeeded"), &json!(1)), "inside it is seen: {run:#}");
    assert_eq!(run["steps"][2]["output"], 2);
    assert_eq!((counter(&host, "whole", "all"), counter(&host, "whole", "after")), (0, 1));
    host.apply(&lab("whole", &whole(count("three"))));
    assert_eq!(host.run_once("whole", &json!({}))["status"], "succeeded");
    assert_eq!(counter(&host, "whole", "all"), 3);
    // Waiting for a time in it is an answer that breaks the contract.
    host.apply(&lab("whole", &whole(json!({"key": "nap", "type": "sleep", "config": {"ms": 5}}))));
    let run = host.run_once("whole", &json!({}));
    let nap = run["steps"].as_array().unwrap().iter().find(|step| step["step"] == "nap").unwrap();
    assert_eq!(nap["failure"]["code"], "bad-answer");
    assert_eq!(counter(&host, "whole", "all"), 3);
}

#[test]
fn a_call_that_was_cut_off_comes_again_with_the_same_key() {
    let (host, server) = (Host::with_lab(), Server::start());
    host.grant("acme/lab", &server.url);
    let steps = json!([{"key": "send", "type": "send", "config": {"url": format!("{}/x", server.url), "times": 2}},
        {"key": "count", "type": "count", "config": {"counter": "sent"}}]);
    host.apply(&lab("sends", &steps));
    server.hold(true);
    let id = host.start_run("sends", &json!({}));
    eventually("the first request came", || server.came().len() == 1);
    let host = Host::start_in(host.kill(), &[]);
    eventually("it came again", || server.came().len() == 2);
    server.hold(false);
    let run = host.ended(&id);
    assert_eq!(run["status"], "succeeded");
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for came in server.came() {
        assert_eq!(came.path, "/x");
        keys.entry(came.key).or_default().push(came.body);
    }
    let mut bodies: Vec<Vec<String>> = keys.into_values().collect();
    bodies.sort_by_key(Vec::len);
    assert_eq!(bodies, [vec!["send 2"], vec!["send 1", "send 2"]], "two requests, the first of them twice, with one key each");
    assert_eq!(counter(&host, "sends", "sent"), 1);
}

#[test]
fn of_what_must_not_happen_twice_a_person_decides() {
    let server = Server::start();
    let host = Host::with_lab();
    host.grant("acme/lab", &server.url);
    let steps = json!([{"key": "pay", "type": "once", "config": {"url": format!("{}/pay", server.url)}},
        {"key": "out", "type": "out", "config": {"value": "{{$steps.pay.result}}"}}]);
    host.apply(&lab("pays", &steps));
    server.hold(true);
    let ids: Vec<String> = (0..3).map(|_| host.start_run("pays", &json!({}))).collect();
    eventually("all requests came", || server.came().len() == 3);
    let host = Host::start_in(host.kill(), &[]);
    server.hold(false);
    for id in &ids {
        let run = host.step_is(id, "pay", "unknown");
        assert!(run["ended_at"].is_null());
    }
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(server.came().len(), 3, "nothing was sent again");
    let decide = |id: &str, body: Value| host.api("POST", &format!("/runs/{id}/decide"), body.to_string().as_bytes());
    decide(&ids[0], json!({"step": "out", "decision": "retry"})).expect_problem(404, "step-not-found");
    assert_eq!(decide(&ids[0], json!({"step": "pay", "decision": "succeed", "output": {"paid": true}})).status, 202);
    assert_eq!(host.ended(&ids[0])["output"], json!({"paid": true}));
    let said = host.cli(&["run", "decide", &ids[1], "pay", "fail", "--message", "the bank says no"]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!(host.ended(&ids[1])["steps"][0]["failure"]["code"], "outcome-unknown");
    assert_eq!(decide(&ids[2], json!({"step": "pay", "decision": "retry"})).status, 202);
    assert_eq!(host.ended(&ids[2])["output"], json!([200]));
    assert_eq!(server.came().len(), 4);
    decide(&ids[2], json!({"step": "pay", "decision": "retry"})).expect_problem(409, "run-ended");
}

#[test]
fn a_run_that_repeats_another_has_sent_nothing_itself() {
    let (host, server) = (Host::with_lab(), Server::start());
    host.grant("acme/lab", &server.url);
    let steps = json!([{"key": "first", "type": "first", "branches": {
        "a": [{"key": "pay", "type": "once", "config": {"url": format!("{}/pay", server.url)}}],
        "b": [{"key": "nap", "type": "sleep", "config": {"ms": 500}}, {"key": "hear", "type": "hear", "config": {"name": "go"}}]}}]);
    host.apply(&lab("pays", &steps));
    server.hold(true);
    let id = host.start_run("pays", &json!({}));
    host.step_is(&id, "first/b/hear", "waiting");
    assert_eq!(server.came().len(), 1);
    let again = host.api("POST", &format!("/runs/{id}/rerun"), br#"{"from": "first/b/hear"}"#).json();
    eventually("it pays too", || server.came().len() == 2);
    let (before, itself) = (server.came()[0].key.clone(), server.came()[1].key.clone());
    assert_ne!(before, itself);
    let again = host.run(again["id"].as_str().unwrap());
    assert!(again["steps"].as_array().unwrap().iter().all(|step| step["status"] != "unknown"), "{again:#}");
}

#[test]
fn grants_say_where_requests_may_go() {
    let (host, server) = (Host::with_lab(), Server::start());
    let other = Server::start();
    host.apply(&lab("sends", &json!([{"key": "send", "type": "send", "config": {"url": "{{$context.given.url}}"}}])));
    let send = |url: &str| {
        let run = host.run_once("sends", &json!({"url": url}));
        run["steps"][0]["failure"]["code"].as_str().unwrap_or("ok").to_owned()
    };
    assert_eq!(send(&server.url), "denied");
    let said = host.cli(&["plugin", "grant", "acme/lab", "--http", server.url.trim_start_matches("http://")]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!((send(&server.url).as_str(), send(&other.url).as_str()), ("ok", "denied"));
    assert_eq!(send("http://user:pw@127.0.0.1/"), "denied");
    let host = Host::start_in(host.kill(), &[]);
    let send = |url: &str| host.run_once("sends", &json!({"url": url}))["status"].as_str().unwrap().to_owned();
    assert_eq!(send(&server.url), "succeeded", "grants are kept");
    assert!(host.cli(&["plugin", "revoke", "acme/lab"]).status.success());
    assert_eq!(send(&server.url), "error");
    assert_eq!(other.came().len(), 0);
    let wrong = host.api("PUT", "/plugins/acme/lab/grants", br#"{"http": ["http://x/y"]}"#);
    wrong.expect_problem(400, "invalid-request");
}
