//! Publishing, restoring, comparing: what is active changes at once and nobody notices.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::harness::{Host, workflow};

fn versioned(version: u32) -> Value {
    workflow("v", &json!({"mode": "sync"}), &json!([{"key": "a", "type": "response", "config": {"body": {"version": version}}}]))
}

#[test]
fn the_answer_changes_at_once_and_no_request_fails() {
    let host = Host::start();
    host.apply(&versioned(1));
    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let answer = host.hook("v", b"{}");
                    assert_eq!(answer.status, 200);
                    assert!([json!(1), json!(2)].contains(&answer.json()["version"]));
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..5 {
            host.apply(&versioned(2));
            assert_eq!(host.hook("v", b"{}").json(), json!({"version": 2}), "the next request sees it");
            let answer = host.api("POST", "/workflows/v/restore", br#"{"revision": 1}"#);
            assert_eq!(answer.json()["active_revision"], 1);
            assert_eq!(host.hook("v", b"{}").json(), json!({"version": 1}), "the next request sees it");
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(asked.load(Ordering::Relaxed) > 50, "{asked:?}");

    let revisions = host.get("/workflows/v/revisions");
    let ids: Vec<&str> = revisions["items"].as_array().unwrap().iter().map(|r| r["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["v-00002", "v-00001"], "publishing what is published makes no revision");
    assert_eq!(revisions["items"][1]["is_active"], true);
}

#[test]
fn differences_are_told_by_steps() {
    let host = Host::start();
    host.apply(&versioned(1));
    host.apply(&versioned(2));
    let diff = host.get("/workflows/v/diff?from=1&to=2");
    assert_eq!(diff["changes"], json!([{"path": "/steps/a/config/body/version", "kind": "changed", "from": 1, "to": 2}]));
    assert_eq!(host.get("/workflows/v/diff")["changes"], json!([]), "the draft is what is active");
    let printed = String::from_utf8(host.cli(&["workflow", "diff", "v", "1", "2"]).stdout).unwrap();
    assert!(printed.contains("~ /steps/a/config/body/version  1 → 2"), "{printed}");
    host.api("GET", "/workflows/v/diff?from=1&to=9", b"").expect_problem(404, "not-found");
}

#[test]
fn a_draft_is_only_overwritten_by_whoever_has_read_it() {
    let host = Host::start();
    host.apply(&versioned(1));
    let etag = host.api("GET", "/workflows/v/draft", b"").headers["etag"].to_str().unwrap().to_owned();
    let token = format!("Bearer {}", host.data.token());
    let put = |version: u32, etag: &str| {
        let headers = [("authorization", token.as_str()), ("if-match", etag)];
        host.request("PUT", "/api/v1/workflows/v/draft", &headers, versioned(version).to_string().as_bytes())
    };
    let answer = put(2, &etag);
    assert_eq!(answer.status, 200);
    assert_ne!(answer.headers["etag"], etag.as_str());
    put(3, &etag).expect_problem(412, "stale-draft");
    assert_eq!(host.get("/workflows/v/export")["steps"][0]["config"]["body"]["version"], 2);
    assert_eq!(host.hook("v", b"{}").json(), json!({"version": 1}), "a draft changes nothing that is active");
}

#[test]
fn a_paused_workflow_does_not_listen_and_its_state_survives_a_restart() {
    let host = Host::start();
    host.apply(&versioned(1));
    host.apply(&versioned(2));
    host.api("POST", "/workflows/v/restore", br#"{"revision": 1}"#);
    let host = Host::start_in(host.stop(), &[]);
    assert_eq!(host.hook("v", b"{}").json(), json!({"version": 1}));
    assert_eq!(host.api("POST", "/workflows/v/pause", b"").json()["status"], "paused");
    host.hook("v", b"{}").expect_problem(404, "not-found");
    let host = Host::start_in(host.kill(), &[]);
    host.hook("v", b"{}").expect_problem(404, "not-found");
    host.api("POST", "/workflows/v/activate", b"");
    assert_eq!(host.hook("v", b"{}").json(), json!({"version": 2}));
}

#[test]
fn two_workflows_cannot_have_one_path() {
    let host = Host::start();
    let at = |key: &str, path: &str| workflow(key, &json!({"mode": "sync", "path": path}), &json!([]));
    host.apply(&at("first", "a/{x}"));
    let second = at("second", "a/{y}").to_string();
    for (method, path, body) in [("PUT", "draft", second.as_str()), ("POST", "revisions", "")] {
        assert!(host.api(method, &format!("/workflows/second/{path}"), body.as_bytes()).status < 300);
    }
    host.api("POST", "/workflows/second/activate", b"").expect_problem(409, "route-conflict");
    assert_eq!(host.get("/workflows/second")["status"], "paused");
    assert_eq!(host.hook("a/1", b"").status, 200, "the first one goes on");
    for bad in ["/a", "a b", "a//{*all}", "é"] {
        let definition = at("third", bad).to_string();
        host.api("PUT", "/workflows/third/draft", definition.as_bytes());
        host.api("POST", "/workflows/third/revisions", b"");
        let answer = host.api("POST", "/workflows/third/activate", b"");
        assert!([409, 422].contains(&answer.status), "{bad}: {}", String::from_utf8_lossy(&answer.body));
    }
}
