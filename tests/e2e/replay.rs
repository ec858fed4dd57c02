//! Another version of a plugin is tried on calls that were made, without any effect.

use serde_json::{Value, json};

use crate::harness::{Host, guest, workflow};
use crate::server::Server;

/// A component as its version 0.1.1, with one text in the place of another of the same length.
fn next_version(name: &str, was: &str, is: &str) -> Vec<u8> {
    later_version(name, "0.1.1", was, is)
}

/// The same as another version.
pub(crate) fn later_version(name: &str, version: &str, was: &str, is: &str) -> Vec<u8> {
    let mut bytes = guest(name);
    let mut replace = |was: &str, is: &str| {
        assert_eq!(was.len(), is.len());
        // The versions of interfaces stand behind an `@`.
        let found = memchr::memmem::find_iter(&bytes, was.as_bytes()).filter(|at| bytes[at - 1] != b'@');
        for at in found.collect::<Vec<usize>>() {
            bytes[at..at + is.len()].copy_from_slice(is.as_bytes());
        }
    };
    replace("0.1.0", version);
    replace(was, is);
    bytes
}

fn add(host: &Host, bytes: &[u8]) {
    let answer = host.api("POST", "/plugins", bytes);
    assert_eq!((answer.status, &answer.json()["version"]), (201, &json!("0.1.1")), "{:#}", answer.json());
}

fn replay(host: &Host, plugin: &str, last: u32) -> Value {
    let given = json!({"version": "0.1.1", "against": "0.1.0", "last": last});
    let answer = host.api("POST", &format!("/plugins/{plugin}/replay"), given.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{:#}", answer.json());
    answer.json()
}

#[test]
fn a_version_that_answers_otherwise_is_found_out_before_it_is_used() {
    let host = Host::start();
    host.add_plugin("greet");
    let steps = json!([{"key": "greet", "type": "acme/greet/greet", "config": {"name": "{{$context.data.name}}"}}]);
    host.apply(&workflow("greeting", &json!({"mode": "async"}), &steps));
    for name in ["Ada", "Bob", "Cem"] {
        host.run_once("greeting", &json!({"data": {"name": name}}));
    }
    add(&host, &next_version("greet", "Hello, ", "Howdy, "));
    let replayed = replay(&host, "acme/greet", 2);
    assert_eq!(
        (&replayed["calls"], &replayed["same"], &replayed["is_cut"]),
        (&json!(2), &json!(0), &json!(false)),
        "{replayed:#}"
    );
    let first = &replayed["differences"][0];
    assert_eq!((&first["what"], &first["activation"]), (&json!("outcome"), &json!("greet")));
    assert!(
        first["old"].as_str().unwrap().contains("Hello, Cem!") && first["new"].as_str().unwrap().contains("Howdy, Cem!"),
        "{first}"
    );
    assert!(replayed["new"]["memory_bytes"].as_u64() > Some(0) && replayed["old"]["p99_us"].as_u64() > Some(0), "{replayed:#}");
    let told = host.cli(&["plugin", "replay", "acme/greet@0.1.1", "--against", "0.1.0"]);
    let text = String::from_utf8(told.stdout).unwrap();
    assert!(
        told.status.code() == Some(1) && text.contains("3 calls of 0.1.0 made again with 0.1.1: 0 the same, 3 differently"),
        "{text}"
    );
    host.api("POST", "/plugins/acme/greet/replay", br#"{"version": "0.1.1", "against": "7.0.0"}"#)
        .expect_problem(404, "not-found");
    host.api("POST", "/plugins/acme/greet/replay", br#"{"version": "0.1.1", "against": "0.1.0", "last": 0}"#)
        .expect_problem(400, "invalid-request");
}

#[test]
fn a_replay_gives_the_answers_that_were_recorded_and_does_nothing() {
    let (host, server) = (Host::start(), Server::start());
    let lab = host.add_bare_plugin("lab");
    let grants = json!({"kv": true, "workflows": ["other"], "http": [server.address()], "record": true});
    host.set_grants(&lab, &grants);
    host.apply(&workflow("other", &json!({"mode": "async"}), &json!([])));
    let steps = json!([
        {"key": "count", "type": "acme/lab/count", "config": {"counter": "c"}},
        {"key": "ask", "type": "acme/lab/exchange", "config": {"url": server.url}},
        {"key": "launch", "type": "acme/lab/launch", "config": {"workflow": "other", "context": 1}},
        {"key": "each", "type": "acme/lab/sleep", "config": {"ms": 1}},
        {"key": "fail", "type": "acme/lab/count", "config": {"counter": ""}, "on_failure": "continue"}
    ]);
    host.apply(&workflow("w", &json!({"mode": "async"}), &steps));
    for _ in 0..3 {
        assert_eq!(host.run_once("w", &json!({}))["status"], "succeeded");
    }
    let runs = || host.runs().len();
    let before = (server.came().len(), runs());
    add(&host, &next_version("lab", "retryable", "retryable"));
    let replayed = replay(&host, "acme/lab", 1_000);
    // The sleep is called twice: it begins, and its time comes.
    assert_eq!((&replayed["calls"], &replayed["same"]), (&json!(18), &json!(18)), "{replayed:#}");
    assert_eq!((server.came().len(), runs()), before, "nobody is asked, and nothing begins");
    assert_eq!(host.run_once("w", &json!({}))["steps"][0]["output"], 4, "nothing is counted");

    // Where nothing is recorded, that is said.
    host.set_grants(&lab, &json!({"kv": true, "workflows": ["other"], "http": [server.address()]}));
    host.run_once("w", &json!({}));
    let replayed = replay(&host, "acme/lab", 6);
    assert_eq!(
        (&replayed["calls"], &replayed["unrecorded"], &replayed["differences"]),
        (&json!(6), &json!(3), &json!([])),
        "{replayed:#}"
    );
}

#[test]
fn an_upgrade_may_require_that_calls_come_out_the_same() {
    for (word, moves, reason) in [("Howdy, ", false, "2 of 2 calls of 0.1.0 come out differently"), ("Hello, ", true, "")] {
        let host = Host::start();
        host.add_plugin("greet");
        let steps = json!([{"key": "greet", "type": "acme/greet/greet", "config": {"name": "{{$context.data.name}}"}}]);
        host.apply(&workflow("greeting", &json!({"mode": "async"}), &steps));
        add(&host, &next_version("greet", "Hello, ", word));
        let upgrade = || {
            let output = host.cli(&["--json", "plugin", "upgrade", "acme/greet", "--replay-last", "2"]);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            serde_json::from_slice::<Value>(&output.stdout).unwrap()["workflows"][0].clone()
        };
        let untried = upgrade();
        assert!(untried["verdict"] == "stays" && untried["reason"].as_str().unwrap().contains("no calls of 0.1.0"), "{untried}");
        for name in ["Ada", "Bob", "Cem"] {
            host.run_once("greeting", &json!({"data": {"name": name}}));
        }
        let moved = upgrade();
        assert_eq!(moved["moved_to"], if moves { json!(2) } else { Value::Null }, "{moved}");
        assert!(moves || moved["reason"].as_str().unwrap().contains(reason), "{moved}");
    }
}
