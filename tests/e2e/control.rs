//! What people do with runs, and what bounds them: cancel, retry, time out, carry out again, queue.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Host, eventually, lab, lab_with, workflow};
use crate::server::Server;

fn cancel(host: &Host, id: &str) {
    assert_eq!(host.api("POST", &format!("/runs/{id}/cancel"), b"").status, 202);
}

#[test]
fn a_run_is_cancelled_while_it_waits_computes_or_stands_in_a_queue() {
    let host = Host::with_lab();
    host.apply(&lab("naps", &json!([{"key": "nap", "type": "sleep", "config": {"ms": 3_600_000}}])));
    host.apply(&lab("spins", &json!([{"key": "spin", "type": "spin"}])));
    host.apply(&lab_with("one", &json!([{"key": "nap", "type": "spin"}]), &json!({"concurrency": 1})));

    let waits = host.start_run("naps", &json!({}));
    host.step_is(&waits, "nap", "waiting");
    cancel(&host, &waits);
    let run = host.ended(&waits);
    assert_eq!(
        (&run["status"], &run["reason"], &run["steps"][0]["status"]),
        (&json!("aborted"), &json!("manual-cancel"), &json!("aborted"))
    );

    let spins = host.start_run("spins", &json!({}));
    let began = Instant::now();
    cancel(&host, &spins);
    assert_eq!(host.ended(&spins)["reason"], "manual-cancel");
    assert!(began.elapsed() < Duration::from_secs(4), "a guest that computes is stopped before its own limit");

    let first = host.start_run("one", &json!({}));
    let second = host.start_run("one", &json!({}));
    assert_eq!(host.run(&second)["status"], "queued");
    cancel(&host, &second);
    assert_eq!(host.ended(&second)["reason"], "manual-cancel");
    assert!(host.cli(&["run", "cancel", &first]).status.success());
    assert_eq!(host.ended(&first)["status"], "aborted");
    host.api("POST", &format!("/runs/{first}/cancel"), b"").expect_problem(409, "run-ended");
}

#[test]
fn a_storm_of_cancels_ends_everything_once() {
    let host = Host::with_lab();
    host.apply(&lab("naps", &json!([{"key": "nap", "type": "sleep", "config": {"ms": 3_600_000}}])));
    let ids: Vec<String> = (0..100).map(|_| host.start_run("naps", &json!({}))).collect();
    std::thread::scope(|scope| {
        for part in ids.chunks(25) {
            // Each twice, from two sides.
            for _ in 0..2 {
                let host = &host;
                scope.spawn(move || {
                    part.iter().for_each(|id| {
                        assert!([202, 409].contains(&host.api("POST", &format!("/runs/{id}/cancel"), b"").status));
                    });
                });
            }
        }
    });
    for id in &ids {
        assert_eq!(host.ended(id)["reason"], "manual-cancel");
    }
    assert_eq!(host.get("/runs?status=running")["items"], json!([]));
    assert_eq!(host.get("/runs?status=aborted&limit=500")["items"].as_array().unwrap().len(), 100);
}

#[test]
fn who_is_stopped_stops_whom_it_waits_for() {
    let host = Host::with_lab();
    host.apply(&lab("inner", &json!([{"key": "nap", "type": "sleep", "config": {"ms": 3_600_000}}])));
    host.apply(&lab("middle", &json!([{"key": "sub", "type": "sub", "config": {"workflow": "inner"}}])));
    let outer = json!([{"key": "sub", "type": "sub", "config": {"workflow": "middle"}}]);
    host.apply(&lab_with("outer", &outer, &json!({"timeout_ms": 1_500})));
    let id = host.start_run("outer", &json!({}));
    eventually("all three go on", || host.get("/runs?status=running")["items"].as_array().unwrap().len() == 3);
    let run = host.ended(&id);
    assert_eq!((&run["status"], &run["reason"]), (&json!("aborted"), &json!("timeout")));
    eventually("the others are stopped", || host.get("/runs?status=running")["items"].as_array().unwrap().is_empty());
    // Runs of one millisecond are in no order.
    let mut reasons: Vec<String> = host.runs().iter().map(|run| run["reason"].as_str().unwrap().to_owned()).collect();
    reasons.sort();
    assert_eq!(reasons, ["parent-aborted", "parent-aborted", "timeout"]);
}

#[test]
fn a_failed_call_is_tried_again_and_what_fails_in_the_end_is_handled() {
    let host = Host::with_lab();
    let retry = json!({"attempts": 3, "backoff_ms": 20, "jitter": false});
    let steps = json!([
        {"key": "flaky", "type": "flaky", "config": {"failures": 2}, "retry": retry},
        {"key": "gone", "type": "flaky", "config": {"failures": 9}, "retry": retry, "on_failure": "continue"},
        {"key": "fail", "type": "fail", "branches": {"on_failure": [{"key": "mend", "type": "out",
            "config": {"value": {"code": "{{$scopes.fail.failure.code}}", "half": "{{$scopes.fail.failure.output.half}}"}}}]}},
        {"key": "last", "type": "out", "config": {"value": {"mended": "{{$steps.mend.result}}", "fail": "{{$steps.fail.result}}",
            "gone": "{{$steps.gone.result}}"}}}
    ]);
    host.apply(&lab("tries", &steps));
    let run = host.run_once("tries", &json!({}));
    assert_eq!(run["status"], "succeeded", "{run:#}");
    let steps = run["steps"].as_array().unwrap();
    assert_eq!((&steps[0]["calls"], &steps[0]["output"]["attempt"]), (&json!(3), &json!(3)));
    assert_eq!(
        (&steps[1]["calls"], &steps[1]["status"], &steps[1]["failure"]["code"]),
        (&json!(3), &json!("error"), &json!("flaky"))
    );
    assert_eq!(steps[3]["path"], "fail/on_failure/mend");
    let mended = json!({"code": "on-purpose", "half": "done"});
    assert_eq!(run["output"], json!({"mended": mended, "fail": {"half": "done"}, "gone": null}));
}

#[test]
fn a_wait_between_tries_survives_a_restart() {
    let host = Host::with_lab();
    let retry = json!({"attempts": 2, "backoff_ms": 1_500, "jitter": false});
    host.apply(&lab("flaky", &json!([{"key": "flaky", "type": "flaky", "config": {"failures": 1}, "retry": retry}])));
    let id = host.start_run("flaky", &json!({}));
    let run = host.step_is(&id, "flaky", "retrying");
    assert!(run["steps"][0]["retry_at"].is_string() && run["steps"][0]["failure"]["code"] == "flaky");
    let host = Host::start_in(host.kill(), &[]);
    let run = host.ended(&id);
    assert_eq!((&run["status"], &run["steps"][0]["output"]["attempt"]), (&json!("succeeded"), &json!(2)));
}

#[test]
fn steps_and_calls_have_their_time() {
    let (host, server) = (Host::with_lab(), Server::start());
    host.grant("acme/lab", &server.url);
    server.hold(true);
    let sent = json!({"url": server.url});
    let steps = json!([
        {"key": "call", "type": "send", "config": sent, "call_timeout_ms": 200, "retry": {"attempts": 2, "backoff_ms": 10},
            "on_failure": "continue"},
        {"key": "step", "type": "sleep", "config": {"ms": 3_600_000}, "timeout_ms": 300, "on_failure": "continue"},
        {"key": "spin", "type": "spin", "call_timeout_ms": 300}
    ]);
    host.apply(&lab("late", &steps));
    let run = host.run_once("late", &json!({}));
    let codes: Vec<&str> =
        run["steps"].as_array().unwrap().iter().map(|step| step["failure"]["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["timed-out", "timed-out", "timed-out"], "{run:#}");
    assert_eq!((&run["steps"][0]["calls"], &run["status"]), (&json!(2), &json!("aborted")));
    assert_eq!(server.came().len(), 2);
    server.hold(false);
}

#[test]
fn a_run_is_carried_out_again_whole_or_from_a_step() {
    let host = Host::with_lab();
    let count = |key: &str| json!({"key": key, "type": "count", "config": {"counter": key}});
    let steps = |last: &str| {
        json!([count("a"), {"key": "each", "type": "each", "config": {"rounds": 3}, "branches": {"do": [count("b")]}}, count("c"),
            {"key": "last", "type": last}])
    };
    host.apply(&lab("again", &steps("fail")));
    let first = host.run_once("again", &json!({"x": 1}));
    let id = first["id"].as_str().unwrap();
    assert_eq!(first["status"], "error");
    let rerun = |body: Value| {
        let answer = host.api("POST", &format!("/runs/{id}/rerun"), body.to_string().as_bytes());
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
        host.ended(answer.json()["id"].as_str().unwrap())
    };
    let outputs = |run: &Value| -> Vec<(String, Value)> {
        let steps = run["steps"].as_array().unwrap();
        steps.iter().map(|step| (step["path"].as_str().unwrap().to_owned(), step["output"].clone())).collect()
    };
    // From inside a loop: what was done before is kept, the rest done again.
    let from = rerun(json!({"from": "each/1/b"}));
    assert_eq!((&from["rerun_of"], &from["context"]), (&first["id"], &first["context"]));
    let shown = outputs(&from);
    assert_eq!(shown[0], ("a".to_owned(), json!(1)));
    assert_eq!((&shown[2], &shown[3]), (&("each/0/b".to_owned(), json!(1)), &("each/1/b".to_owned(), json!(4))));
    let whole = rerun(json!({}));
    assert_eq!(outputs(&whole)[0], ("a".to_owned(), json!(2)));
    // On the newest revision, where the last step is another.
    host.apply(&lab("again", &steps("first")));
    let newest = rerun(json!({"from": "last", "revision": "newest"}));
    assert_eq!((&newest["status"], &newest["revision"]), (&json!("succeeded"), &json!(2)), "{newest:#}");
    assert_eq!(outputs(&newest)[0], ("a".to_owned(), json!(1)), "what was done before is kept");
    // Where other steps come first, that is not possible.
    host.apply(&lab("again", &json!([count("new"), {"key": "last", "type": "first"}])));
    let refused = host.api("POST", &format!("/runs/{id}/rerun"), br#"{"from": "last", "revision": "newest"}"#);
    refused.expect_problem(409, "other-steps");
    host.api("POST", &format!("/runs/{id}/rerun"), br#"{"from": "nowhere"}"#).expect_problem(404, "step-not-found");
    let said = host.cli(&["run", "rerun", id, "--from", "last"]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}

#[test]
fn a_child_that_was_not_done_is_started_by_the_run_that_repeats() {
    let host = Host::with_lab();
    host.apply(&lab("inner", &json!([{"key": "nap", "type": "sleep", "config": {"ms": 200}}])));
    // The first branch waits for a run, and the second fails meanwhile.
    let steps = json!([{"key": "first", "type": "first", "branches": {"a": [{"key": "sub", "type": "sub", "config": {"workflow":
        "inner"}}], "b": [{"key": "nap", "type": "sleep", "config": {"ms": 30}}, {"key": "fail", "type": "fail"}]}}]);
    host.apply(&lab("outer", &steps));
    let run = host.run_once("outer", &json!({}));
    assert_eq!(run["status"], "error");
    let id = run["id"].as_str().unwrap();
    let again = host.api("POST", &format!("/runs/{id}/rerun"), br#"{"from": "first/b/fail"}"#);
    let again = host.ended(again.json()["id"].as_str().unwrap());
    assert_eq!(again["status"], "error");
    eventually("every run has ended", || host.get("/runs?status=running")["items"].as_array().unwrap().is_empty());
    let inner: Vec<Value> = host.runs().into_iter().filter(|run| run["workflow"] == "inner").collect();
    assert_eq!(inner.len(), 2);
    assert_ne!(inner[0]["parent"], inner[1]["parent"]);
}

#[test]
fn a_run_that_repeats_another_from_its_queue_starts_and_hears_what_that_waited_for() {
    let host = Host::with_lab();
    host.apply(&lab("inner", &json!([{"key": "nap", "type": "sleep", "config": {"ms": 3_000}}])));
    let steps = json!([{"key": "first", "type": "first", "branches": {"a": [{"key": "sub", "type": "sub", "config": {"workflow":
        "inner"}}], "b": [{"key": "nap", "type": "sleep", "config": {"ms": 50}}, {"key": "go", "type": "hear", "config": {"name":
        "go"}}, {"key": "spin", "type": "spin", "call_timeout_ms": 4_000}]}}]);
    host.apply(&lab_with("child", &steps, &json!({"concurrency": 1})));
    let steps = json!([{"key": "first", "type": "first", "branches": {"a": [{"key": "paid", "type": "hear", "config": {"name":
        "paid", "key": "7"}}], "b": [{"key": "nap", "type": "sleep", "config": {"ms": 50}}, {"key": "go", "type": "hear", "config":
        {"name": "go"}}, {"key": "spin", "type": "spin", "call_timeout_ms": 4_000}]}}]);
    host.apply(&lab_with("keyed", &steps, &json!({"concurrency": 1})));
    let repeated = |workflow: &str| {
        let first = host.start_run(workflow, &json!({}));
        host.step_is(&first, "first/b/go", "waiting");
        cancel(&host, &first);
        host.ended(&first);
        let busy = host.start_run(workflow, &json!({}));
        host.step_is(&busy, "first/b/go", "waiting");
        host.api("POST", &format!("/runs/{busy}/signals"), br#"{"name": "go"}"#);
        host.step_is(&busy, "first/b/go", "succeeded");
        let again = host.api("POST", &format!("/runs/{first}/rerun"), br#"{"from": "first/b/go"}"#).json();
        assert_eq!(again["status"], "queued", "{again:#}");
        again["id"].as_str().unwrap().to_owned()
    };
    let again = repeated("child");
    assert_eq!(host.ended(&again)["status"], "succeeded", "the run that it waits for was started");
    let again = repeated("keyed");
    host.step_is(&again, "first/b/go", "waiting");
    eventually("it has left its queue", || host.run(&again)["status"] == "running");
    host.api("POST", "/workflows/keyed/signals", br#"{"name": "paid", "key": "7"}"#);
    assert_eq!(host.ended(&again)["status"], "succeeded");
}

#[test]
fn drafts_run_marked_so_and_old_revisions_on_demand() {
    let host = Host::with_lab();
    let version = |value: u32| lab("v", &json!([{"key": "out", "type": "out", "config": {"value": value}}]));
    host.apply(&version(1));
    host.apply(&version(2));
    host.api("PUT", "/workflows/v/draft", version(3).to_string().as_bytes());
    let run = |body: Value| {
        let id = host.start_run("v", &body);
        let run = host.ended(&id);
        (run["output"].clone(), run["revision"].clone(), run["is_draft"].clone())
    };
    assert_eq!(run(json!({})), (json!(2), json!(2), json!(false)));
    assert_eq!(run(json!({"revision": 1})), (json!(1), json!(1), json!(false)));
    assert_eq!(run(json!({"draft": true})), (json!(3), json!(0), json!(true)));
    // A draft that is changed meanwhile does not change its runs.
    let naps = lab(
        "v",
        &json!([{"key": "nap", "type": "sleep", "config": {"ms": 600}}, {"key": "out", "type": "out", "config": {"value": 4}}]),
    );
    host.api("PUT", "/workflows/v/draft", naps.to_string().as_bytes());
    let id = host.start_run("v", &json!({"draft": true}));
    host.api("PUT", "/workflows/v/draft", version(5).to_string().as_bytes());
    let host = Host::start_in(host.kill(), &[]);
    assert_eq!(host.ended(&id)["output"], 4);
    let said = host.cli(&["run", "start", "v", "--context", r#"{"a": 1}"#, "--wait", "--json"]);
    let run: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!((&run["status"], &run["context"]["given"]), (&json!("succeeded"), &json!({"a": 1})));
    host.api("POST", "/workflows/v/runs", br#"{"revision": 9}"#).expect_problem(404, "not-found");
    host.api("POST", "/workflows/none/runs", b"{}").expect_problem(404, "not-found");
}

#[test]
fn a_workflow_runs_as_many_at_once_as_it_may_and_the_rest_in_order() {
    let host = Host::with_lab();
    let steps = json!([{"key": "busy", "type": "send", "config": {"url": "{{$context.given.url}}"}}]);
    host.apply(&lab_with("two", &steps, &json!({"concurrency": 2})));
    let server = Server::start();
    host.grant("acme/lab", &server.url);
    server.hold(true);
    let context = json!({"context": {"url": server.url}});
    // The order of runs is that of their milliseconds.
    let start = |_| {
        std::thread::sleep(Duration::from_millis(2));
        host.start_run("two", &context)
    };
    let ids: Vec<String> = (0..6).map(start).collect();
    eventually("two are under way", || server.came().len() == 2);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(server.came().len(), 2);
    let statuses: Vec<Value> = ids.iter().map(|id| host.run(id)["status"].clone()).collect();
    assert_eq!(statuses, ["running", "running", "queued", "queued", "queued", "queued"]);
    assert_eq!(host.get("/runs?status=queued")["items"].as_array().unwrap().len(), 4);
    // Also after a restart.
    let host = Host::start_in(host.kill(), &[]);
    server.hold(false);
    for id in &ids {
        assert_eq!(host.ended(id)["status"], "succeeded");
    }
    // When each left the queue; after that two of them go side by side.
    let begun = |id: &String| {
        let feed = String::from_utf8(host.api("GET", &format!("/runs/{id}/events"), b"").body).unwrap();
        let entries = feed.lines().filter_map(|line| line.strip_prefix("data: "));
        let mut entries = entries.map(|data| serde_json::from_str::<Value>(data).unwrap());
        entries.find(|entry| entry["kind"] == "started").unwrap()["at"].as_str().unwrap().to_owned()
    };
    let begun: Vec<String> = ids[2..].iter().map(begun).collect();
    let mut sorted = begun.clone();
    sorted.sort();
    assert_eq!(begun, sorted, "those in the queue begin in order");

    let quick = json!([{"key": "spin", "type": "acme/lab/spin", "call_timeout_ms": 1_500}]);
    let mut definition = workflow("alone", &json!({"mode": "sync"}), &quick);
    definition["options"] = json!({"concurrency": 1});
    host.apply(&definition);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| host.hook("alone", b"{}").status);
        eventually("it is under way", || host.get("/runs?workflow=alone&status=running")["items"].as_array().unwrap().len() == 1);
        let second = host.hook("alone", b"{}");
        second.expect_problem(429, "too-many-runs");
        assert_eq!(second.headers["retry-after"], "1");
        assert_eq!(first.join().unwrap(), 500);
    });
}

#[test]
fn a_restart_and_a_new_revision_keep_to_how_many_may_run() {
    let host = Host::with_lab();
    let steps = json!([{"key": "busy", "type": "send", "config": {"url": "{{$context.given.url}}"}}]);
    host.apply(&lab_with("one", &steps, &json!({"concurrency": 1})));
    let server = Server::start();
    host.grant("acme/lab", &server.url);
    server.hold(true);
    let context = json!({"context": {"url": server.url}});
    let ids: Vec<String> = (0..3).map(|_| host.start_run("one", &context)).collect();
    eventually("one is under way", || server.came().len() == 1);
    // The one that a crash broke off counts.
    let host = Host::start_in(host.kill(), &[]);
    eventually("it is under way again", || server.came().len() >= 2);
    std::thread::sleep(Duration::from_millis(300));
    let statuses: Vec<Value> = ids.iter().map(|id| host.run(id)["status"].clone()).collect();
    assert_eq!((statuses, server.came().len()), (vec![json!("running"), json!("queued"), json!("queued")], 2));
    // What the newest revision does not bound any more is not bounded.
    host.apply(&lab("one", &steps));
    let last = host.start_run("one", &context);
    eventually("all four are under way", || server.came().len() == 5);
    assert_eq!(host.run(&last)["status"], "running");
}

#[test]
fn a_message_does_not_let_a_run_jump_its_queue() {
    let host = Host::with_lab();
    let steps = json!([{"key": "hear", "type": "hear", "config": {"name": "go"}}, {"key": "spin", "type": "spin"}]);
    host.apply(&lab_with("one", &steps, &json!({"concurrency": 1})));
    let signal = |id: &str| host.api("POST", &format!("/runs/{id}/signals"), br#"{"name": "go"}"#).status;
    let first = host.start_run("one", &json!({}));
    assert_eq!(signal(&first), 202);
    host.step_is(&first, "hear", "succeeded");
    let second = host.start_run("one", &json!({}));
    assert_eq!((&host.run(&second)["status"], signal(&second)), (&json!("queued"), 202));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(host.run(&second)["status"], "queued");
    // It is kept for it.
    cancel(&host, &first);
    host.step_is(&second, "hear", "succeeded");
}

#[test]
fn job_queues_have_workers_and_priorities_of_their_own() {
    let host = Host::with_lab();
    let server = Server::start();
    host.grant("acme/lab", &server.url);
    let job = |key: &str, queue: &str| {
        let trigger = json!({"type": "acme/lab/callable", "config": {"mode": "async", "queue": queue}});
        let steps = json!([{"key": "send", "type": "acme/lab/send", "config": {"url": format!("{}/{key}", server.url)}}]);
        host.apply(&json!({"weft": 1, "key": key, "trigger": trigger, "steps": steps}));
    };
    job("heavy", "heavy");
    job("light", "light");
    server.hold(true);
    let heavy: Vec<String> = (0..3).map(|_| host.start_run("heavy", &json!({}))).collect();
    eventually("one is under way, which is the default", || server.came().len() == 1);
    assert_eq!(host.run(&heavy[2])["queue"], "heavy");
    let light = host.start_run("light", &json!({}));
    eventually("another queue is not held up", || server.came().len() == 2);
    assert!(host.cli(&["queue", "set", "heavy", "--concurrency", "3", "--priority", "5"]).status.success());
    eventually("more workers begin more", || server.came().len() == 4);
    assert_eq!(host.get("/queues")["items"], json!([{"name": "heavy", "concurrency": 3, "priority": 5}]));
    server.hold(false);
    for id in heavy.iter().chain([&light]) {
        assert_eq!(host.ended(id)["status"], "succeeded");
    }
    host.api("PUT", "/queues/heavy", br#"{"concurrency": 0}"#).expect_problem(400, "invalid-request");
    host.api("PUT", "/queues/heavy", b"[2, 1]").expect_problem(400, "invalid-request");
    let odd = host.cli(&["queue", "set", "a b/c", "--concurrency", "3"]);
    assert!(String::from_utf8_lossy(&odd.stderr).contains("`a b/c`"), "{}", String::from_utf8_lossy(&odd.stderr));
}

#[test]
fn runs_are_found_by_everything_and_deleted() {
    let host = Host::with_lab();
    host.apply(&lab("good", &json!([])));
    host.apply(&lab("bad", &json!([{"key": "x", "type": "fail"}])));
    let good: Vec<Value> = (0..3).map(|_| host.run_once("good", &json!({}))).collect();
    host.run_once("bad", &json!({}));
    host.apply(&lab("good", &json!([{"key": "out", "type": "out", "config": {"value": 1}}])));
    host.run_once("good", &json!({}));
    let count = |query: &str| host.get(&format!("/runs?{query}"))["items"].as_array().unwrap().len();
    assert_eq!((count("workflow=good"), count("workflow=good&revision=1"), count("status=error")), (4, 3, 1));
    assert_eq!((count("workflow=good&status=error"), count("workflow=bad&status=error")), (0, 1));
    let second = good[1]["accepted_at"].as_str().unwrap();
    assert!(count(&format!("workflow=good&from={second}")) >= 3 && count(&format!("workflow=good&before={second}")) >= 1);
    host.api("GET", "/runs?revision=1", b"").expect_problem(400, "invalid-request");
    host.api("GET", "/runs?from=yesterday", b"").expect_problem(400, "invalid-request");

    let id = good[0]["id"].as_str().unwrap();
    assert!(host.cli(&["run", "delete", id]).status.success());
    host.api("GET", &format!("/runs/{id}"), b"").expect_problem(404, "not-found");
    assert_eq!((count("workflow=good"), &host.get("/workflows/good")["runs_started"]), (3, &json!(4)));
    host.apply(&lab("naps", &json!([{"key": "nap", "type": "sleep", "config": {"ms": 60_000}}])));
    let waits = host.start_run("naps", &json!({}));
    host.api("DELETE", &format!("/runs/{waits}"), b"").expect_problem(409, "run-goes-on");

    // History that is not to be kept is not.
    let options = json!({"history": {"delete_on": ["succeeded"]}});
    host.apply(&lab_with(
        "brief",
        &json!([{"key": "nap", "type": "sleep", "config": {"ms": "{{$context.given.ms}}"}}]),
        &options,
    ));
    let id = host.start_run("brief", &json!({"context": {"ms": 50}}));
    eventually("it is gone", || host.api("GET", &format!("/runs/{id}"), b"").status == 404);
    assert_eq!((count("workflow=brief"), &host.get("/workflows/brief")["runs_started"]), (0, &json!(1)));
    // Who started one is told that it was, all the same.
    let answer = host.api("POST", "/workflows/brief/runs", br#"{"context": {"ms": 50}, "wait_ms": 10000}"#);
    assert_eq!((answer.status, &answer.json()["is_deleted"]), (201, &json!(true)));
    let said = host.cli(&["run", "start", "brief", "--context", r#"{"ms": 50}"#, "--wait"]);
    assert!(said.status.success() && String::from_utf8_lossy(&said.stdout).contains("was deleted when it ended"));
}

#[test]
fn a_page_has_as_many_runs_as_were_asked_for_also_of_those_that_are_not_stored() {
    let host = Host::with_lab();
    let out = json!([{"key": "out", "type": "out", "config": {"value": 1}}]);
    host.apply(&lab("out", &out));
    let stored: Vec<Value> = (0..2).map(|_| host.run_once("out", &json!({}))["id"].clone()).collect();
    host.apply(&workflow(
        "late",
        &json!({"mode": "sync"}),
        &json!([{"key": "spin", "type": "acme/lab/spin", "call_timeout_ms": 900}]),
    ));
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| host.hook("late", b"{}").status);
        eventually("it is under way", || host.get("/runs?workflow=late")["items"].as_array().unwrap().len() == 1);
        let page = host.get("/runs?limit=2");
        assert_eq!(page["items"].as_array().unwrap().len(), 2, "{page:#}");
        let rest = host.get(&format!("/runs?after={}", page["next"].as_str().unwrap()));
        assert_eq!(rest["items"][0]["id"], stored[0]);
        assert_eq!(waits.join().unwrap(), 500);
    });
}

#[test]
fn a_run_whose_documents_are_as_deep_as_can_be_read_is_shown_whole() {
    let host = Host::with_lab();
    host.apply(&lab("deep", &json!([{"key": "out", "type": "out", "config": {"value": {"deeper": "{{$context}}"}}}])));
    let body = format!(r#"{{"wait_ms": 10000, "context": {}{}}}"#, "[".repeat(126), "]".repeat(126));
    let answer = host.api("POST", "/workflows/deep/runs", body.as_bytes());
    let shown = String::from_utf8(answer.body).unwrap();
    assert_eq!(answer.status, 201, "{shown}");
    assert!(shown.contains(r#""path":"out""#) && shown.contains(r#""failure":{"#) && shown.contains("[[[[["), "{shown}");
}
