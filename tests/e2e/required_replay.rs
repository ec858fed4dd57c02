//! Where that is required of a plugin, another version of it takes over only when the last calls come out the same.

use serde_json::{Value, json};

use crate::harness::{Answer, Data, Host, eventually, workflow};
use crate::replay::later_version;

const GREET: &str = "/plugins/acme/greet/required-replay";

fn greeting(key: &str, requirement: &str) -> Value {
    let greet =
        json!({"key": "greet", "type": format!("acme/greet/greet{requirement}"), "config": {"name": "{{$context.data.name}}"}});
    let answer = json!({"key": "answer", "type": "response", "config": {"status": 200, "body": "{{$steps.greet.result}}"}});
    workflow(key, &json!({"mode": "sync"}), &json!([greet, answer]))
}

/// A host with `acme/greet` 0.1.0, of which a replay of two calls is required, and an active workflow.
fn host() -> Host {
    let host = Host::start();
    host.add_plugin("greet");
    require(&host, GREET, 2);
    host.apply(&greeting("w", ""));
    host
}

#[track_caller]
fn require(host: &Host, path: &str, last: u32) {
    let answer = host.api("PUT", path, json!({"last": last}).to_string().as_bytes());
    assert_eq!((answer.status, answer.json()), (200, json!({"last": last})));
}

/// Adds a version that says this in place of `Hello, `, and publishes the workflow with it.
#[track_caller]
fn add(host: &Host, version: &str, says: &str) {
    let added = host.api("POST", "/plugins", &later_version("greet", version, "Hello, ", says));
    assert_eq!((added.status, &added.json()["version"]), (201, &json!(version)));
    assert_eq!(host.publish(&greeting("w", "")).status, 201);
}

fn ask(host: &Host, times: usize) -> String {
    let mut said = String::new();
    for _ in 0..times {
        let answer = host.hook("w", br#"{"name": "Ada"}"#);
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        said = String::from_utf8(answer.body).unwrap();
    }
    said
}

fn activate(host: &Host, revision: u32) -> Answer {
    host.api("POST", "/workflows/w/activate", json!({"revision": revision}).to_string().as_bytes())
}

/// What was refused, and where the active revision stands as it did.
#[track_caller]
fn refused(host: &Host, answer: &Answer, code: &str, words: &[&str]) {
    answer.expect_problem(409, code);
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(words.iter().all(|words| detail.contains(words)), "{detail}");
    let shown = host.get("/workflows/w");
    assert_eq!((&shown["active_revision"], &shown["canary"]), (&json!(1), &Value::Null));
}

fn cli(host: &Host, arguments: &[&str]) -> String {
    let output = host.cli(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn upgrade(host: &Host, arguments: &[&str]) -> Value {
    let said = cli(host, &[&["--json", "plugin", "upgrade", "acme/greet"], arguments].concat());
    serde_json::from_str::<Value>(&said).unwrap()["workflows"][0].clone()
}

#[test]
fn a_version_that_answers_otherwise_does_not_take_over_and_the_way_back_is_open() {
    let host = host();
    ask(&host, 3);
    add(&host, "0.1.1", "Howdy, ");
    let before = host.get("/audit")["items"].clone();
    let look = "`weft plugin replay acme/greet@0.1.1 --against 0.1.0 --last 2`";
    let words = ["acme/greet 0.1.1", "2 of 2 calls of 0.1.0", look, "--stop"];
    refused(&host, &activate(&host, 2), "replay-differs", &words);
    refused(&host, &host.api("POST", "/workflows/w/restore", br#"{"revision": 2}"#), "replay-differs", &words);
    let moved = upgrade(&host, &[]);
    assert!(moved["verdict"] == "stays" && moved["reason"].as_str().unwrap().contains(look), "{moved}");
    // What is granted and taken back has nothing to do with it, and fewer calls do not get past it.
    assert!(cli(&host, &["plugin", "revoke", "acme/greet"]).contains("may"));
    let moved = upgrade(&host, &["--replay-last", "1"]);
    assert!(moved["reason"].as_str().unwrap().contains("2 of 2 calls"), "{moved}");
    assert_eq!(host.cli(&["workflow", "activate", "w"]).status.code(), Some(5), "a conflict");
    // Nor is a pause a way round.
    host.api("POST", "/workflows/w/pause", b"");
    activate(&host, 2).expect_problem(409, "replay-differs");
    assert_eq!(activate(&host, 1).status, 200);
    assert_eq!(ask(&host, 1), "Hello, Ada!");
    let told = host.get("/audit")["items"].clone();
    let told: Vec<&Value> =
        told.as_array().unwrap().iter().filter(|entry| entry["number"].as_u64() > before[0]["number"].as_u64()).collect();
    assert_eq!(told.len(), 3, "taken back, paused, activated again, and nothing of what was refused: {told:#?}");

    // Whoever lifts it may; required anew, it holds nobody from going back, nor from coming again.
    assert!(cli(&host, &["plugin", "inspect", "acme/greet"]).contains("only if the last 2 calls come out the same"));
    cli(&host, &["plugin", "require-replay", "acme/greet", "--stop"]);
    assert_eq!(host.get("/plugins/acme/greet")["required_replay"], Value::Null);
    assert_eq!(activate(&host, 2).status, 200);
    assert!(cli(&host, &["plugin", "require-replay", "acme/greet", "--last", "2"]).contains("last 2 calls"));
    assert_eq!(ask(&host, 1), "Howdy, Ada!");
    assert_eq!(host.api("POST", "/workflows/w/restore", br#"{"revision": 1}"#).status, 200);
    assert_eq!(ask(&host, 1), "Hello, Ada!");
    assert_eq!(activate(&host, 2).status, 200);
    let moved = upgrade(&host, &["--to", "0.1.0"]);
    assert_eq!(moved["moved_to"], 3, "{moved}");
    assert_eq!(ask(&host, 1), "Hello, Ada!");
    let told = host.get("/audit")["items"].clone();
    let told = told.as_array().unwrap().iter().rev().filter(|entry| entry["what"].as_str().unwrap().starts_with("replay-"));
    let told: Vec<[&Value; 4]> = told.map(|entry| [&entry["who"], &entry["what"], &entry["on"], &entry["details"]]).collect();
    let entry = |who: &str, what: &str, details: Value| [json!(who), json!(what), json!("acme/greet"), details];
    let expected = [
        entry("admin token", "replay-required", json!({"last": 2, "before": null})),
        entry("command line", "replay-not-required", json!({"before": 2})),
        entry("command line", "replay-required", json!({"last": 2, "before": null})),
    ];
    assert_eq!(told, expected.each_ref().map(<[Value; 4]>::each_ref));
}

#[test]
fn a_version_that_does_the_same_takes_over_once_there_are_calls_to_show_it() {
    let host = host();
    add(&host, "0.1.1", "Hello, ");
    refused(&host, &activate(&host, 2), "replay-required", &["acme/greet 0.1.1: there are no calls of 0.1.0"]);
    // It outlives the host, and goes where the store goes.
    let host = Host::start_in(host.kill(), &[]);
    refused(&host, &activate(&host, 2), "replay-required", &["no calls of 0.1.0"]);
    let data = host.stop();
    let file = data.path().join("store.jsonl");
    assert!(data.care(&["export", file.to_str().unwrap()]).status.success());
    let other = Data::new();
    assert!(other.care(&["import", file.to_str().unwrap()]).status.success());
    std::fs::copy(data.path().join("master.key"), other.path().join("master.key")).unwrap();
    other.expect_whole();
    let host = Host::start_in(other, &[]);
    assert_eq!(host.get("/plugins/acme/greet?version=0.1.1")["required_replay"], json!({"last": 2}));
    // Whoever has nothing to compare with goes on: a first activation.
    host.apply(&greeting("first", ""));
    ask(&host, 1);
    assert_eq!(activate(&host, 2).status, 200);
    assert_eq!(ask(&host, 2), "Hello, Ada!");
    // An upgrade looks by itself.
    add(&host, "0.1.2", "Hello, ");
    let moved = upgrade(&host, &["--to", "0.1.2"]);
    assert_eq!((&moved["workflow"], &moved["moved_to"]), (&json!("first"), &json!(2)), "calls of any workflow will do: {moved}");
}

#[test]
fn what_the_host_answers_is_kept_as_soon_as_a_replay_is_required() {
    let host = Host::start();
    let lab = host.add_bare_plugin("lab");
    host.set_grants(&lab, &json!({"kv": true}));
    let count = json!([{"key": "count", "type": "acme/lab/count", "config": {"counter": "c"}}]);
    let definition = workflow("w", &json!({"mode": "async"}), &count);
    host.apply(&definition);
    host.run_once("w", &json!({}));
    require(&host, "/plugins/acme/lab/required-replay", 1);
    assert_eq!(host.api("POST", "/plugins", &later_version("lab", "0.1.1", "retryable", "retryable")).status, 201);
    assert_eq!(host.publish(&definition).status, 201);
    let words = ["what the host answered to 1 of 1 calls of 0.1.0 is not kept: that of newer ones is"];
    refused(&host, &activate(&host, 2), "replay-required", &words);
    // Nor do new grants end it.
    host.set_grants(&lab, &json!({"kv": true}));
    host.run_once("w", &json!({}));
    assert_eq!(activate(&host, 2).status, 200);
    assert_eq!(host.run_once("w", &json!({}))["steps"][0]["output"], 3, "a replay counts nothing");
}

#[test]
fn a_trial_is_held_to_it_when_it_begins_and_when_it_ends() {
    let host = host();
    ask(&host, 2);
    add(&host, "0.1.1", "Howdy, ");
    let begin = |body: Value| host.api("PUT", "/workflows/w/canary", body.to_string().as_bytes());
    refused(&host, &begin(json!({"share_percent": 50})), "replay-differs", &["2 of 2 calls of 0.1.0"]);
    // Required only after it has begun: it does well, and does not take over.
    assert_eq!(host.api("DELETE", GREET, b"").status, 200);
    assert_eq!(begin(json!({"share_percent": 50, "runs_min": 2, "promote_after_runs": 4})).status, 200);
    require(&host, GREET, 2);
    ask(&host, 10);
    eventually("it is taken back", || host.get("/workflows/w")["last_canary"].is_object());
    let shown = host.get("/workflows/w");
    let why = shown["last_canary"]["why"].as_str().unwrap();
    assert!(why.contains("2 of 2 calls of 0.1.0 come out differently"), "{why}");
    assert_eq!((&shown["active_revision"], &shown["canary"]), (&json!(1), &Value::Null));
    // One that does the same begins, and becomes the active one.
    add(&host, "0.1.2", "Hello, ");
    assert_eq!(begin(json!({"share_percent": 50, "runs_min": 2, "promote_after_runs": 4})).status, 200);
    ask(&host, 10);
    eventually("it is the active one", || host.get("/workflows/w")["active_revision"] == 3);
}

#[test]
fn of_several_at_once_each_is_held_to_what_is_active_then() {
    let host = host();
    ask(&host, 2);
    add(&host, "0.1.1", "Hello, ");
    add(&host, "0.1.2", "Howdy, ");
    let answers: Vec<(u32, Answer)> = std::thread::scope(|scope| {
        let host = &host;
        let revisions = [3, 2, 3, 2, 3, 2];
        let asked = revisions.map(|revision| scope.spawn(move || (revision, activate(host, revision))));
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    for (revision, answer) in &answers {
        // Without calls of 0.1.1 nothing is known, once that is active.
        let expected: &[u16] = if *revision == 2 { &[200] } else { &[409] };
        assert!(expected.contains(&answer.status), "{revision}: {}", String::from_utf8_lossy(&answer.body));
    }
    assert_eq!(host.get("/workflows/w")["active_revision"], 2);
    activate(&host, 3).expect_problem(409, "replay-required");
    ask(&host, 2);
    activate(&host, 3).expect_problem(409, "replay-differs");
    let told = host.get("/audit?limit=500")["items"].clone();
    let told = told.as_array().unwrap().iter().filter(|entry| entry["what"] == "workflow-activated");
    assert!(told.map(|entry| &entry["details"]["revision"]).all(|revision| *revision != 3));
}

#[test]
fn what_cannot_be_required_is_refused() {
    let host = host();
    for last in [0, 10_001] {
        host.api("PUT", GREET, json!({"last": last}).to_string().as_bytes()).expect_problem(400, "invalid-request");
    }
    host.api("PUT", "/plugins/acme/nothing/required-replay", br#"{"last": 1}"#).expect_problem(404, "not-found");
    // Calls of triggers are not recorded.
    host.api("PUT", "/plugins/weft/schedule/required-replay", br#"{"last": 1}"#).expect_problem(400, "invalid-request");
    assert_eq!(host.api("DELETE", GREET, b"").status, 200);
    host.api("DELETE", GREET, b"").expect_problem(404, "not-found");
    // With its last version it goes.
    require(&host, GREET, 2);
    host.apply(&workflow("w", &json!({"mode": "sync"}), &json!([])));
    assert_eq!(host.api("DELETE", "/plugins/acme/greet?version=0.1.0&inactive=true", b"").status, 200);
    assert_eq!(host.add_bare_plugin("greet"), "acme/greet");
    assert_eq!(host.get("/plugins/acme/greet")["required_replay"], Value::Null);
}
