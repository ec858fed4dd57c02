//! The last requests to a workflow: what came, what became of it, and no secrets.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Host, connect, eventually, github_signature, workflow};
use crate::outgoing::let_out;
use crate::web::{Reply, Web};

const SECRET: &str = "a \"secret\" to everybody";

fn requests(host: &Host, key: &str) -> Vec<Value> {
    host.get(&format!("/workflows/{key}/requests"))["items"].as_array().unwrap().clone()
}

#[test]
fn what_was_refused_is_there_with_its_reason() {
    let host = Host::start();
    host.set_secret("github", SECRET);
    let signature = json!({"scheme": "github", "secret": "{{$secrets.github}}"});
    let trigger = json!({"mode": "sync", "body_bytes_max": 10_000, "signature": signature});
    let steps = json!([{"key": "a", "type": "response", "config": {"status": 201, "body": "{{$context.data}}"}}]);
    host.apply(&workflow("seen", &trigger, &steps));
    let send = |method: &str, media_type: &str, body: &[u8], signature: &str| {
        let headers =
            [("content-type", media_type), ("x-hub-signature-256", signature), ("cookie", "c00kie"), ("x-api-key", "k3y")];
        host.request(method, &format!("/hooks/seen?note=x&again={}", "a%20%22secret%22+to%20everybody"), &headers, body).status
    };
    let body = json!({"mine": SECRET}).to_string().into_bytes();
    let good = github_signature(SECRET, &body);
    let statuses = [
        send("POST", "application/json", &body, &good),
        send("POST", "application/json", b"{}", &good),
        send("GET", "application/json", b"", &good),
        send("POST", "text/plain", &body, &good),
        send("POST", "application/json", &[b'x'; 20_000], &good),
        send("POST", "application/json", &[b'x'; 9_000], &github_signature(SECRET, &[b'x'; 9_000])),
    ];
    assert_eq!(statuses, [201, 401, 405, 415, 413, 400]);
    host.api("POST", "/workflows/seen/pause", b"");
    assert_eq!(send("POST", "application/json", &body, &good), 404);
    assert_eq!(host.request("POST", "/hooks/nobody", &[], b"").status, 404);

    let mut seen = requests(&host, "seen");
    seen.reverse();
    let of = |member: &str| -> Vec<Value> { seen.iter().map(|asked| asked[member].clone()).collect() };
    assert_eq!(of("status"), [201, 401, 405, 415, 413, 400, 404].map(Value::from), "{seen:#?}");
    assert_eq!(seen[0]["run"], host.newest_run()["id"]);
    assert!(seen[0]["took_us"].as_u64().unwrap() > 0 && seen[0]["remote_address"] == "127.0.0.1");
    for (nth, words) in [
        (1, "invalid-signature: the signature does not belong"),
        (2, "this URL takes POST"),
        (3, "unsupported-media-type"),
        (4, "more than 10000 bytes"),
        (5, "invalid-json"),
        (6, "no active workflow listens here"),
    ] {
        assert!(seen[nth]["note"].as_str().unwrap().contains(words), "{words}: {:#}", seen[nth]);
        assert!(seen[nth]["run"].is_null());
    }
    assert_eq!((seen[5]["body"].as_str().unwrap().len(), &seen[5]["body_bytes"]), (2048, &json!(9_000)), "the beginning is kept");
    let all = json!(seen).to_string();
    for hidden in ["c00kie", "k3y", "secret\\\\\\\" to", "secret\\\" to", "%22secret%22"] {
        assert!(!all.contains(hidden), "{hidden}: {all}");
    }
    assert!(all.contains("[secret github]") && all.contains("[hidden]"), "{all}");
    // Also when it is no secret any more.
    assert_eq!(host.api("DELETE", "/secrets/github?force=true", b"").status, 204);
    assert!(!json!(requests(&host, "seen")).to_string().contains("to everybody"));

    let shown = host.cli(&["workflow", "requests", "seen"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("invalid-signature") && shown.contains("/hooks/seen?note=x"), "{shown}");
    assert_eq!(host.cli(&["workflow", "requests", "nobody"]).status.code(), Some(4));
}

#[test]
fn only_the_last_ones_are_kept() {
    let host = Host::start();
    host.apply(&workflow("many", &json!({"mode": "async"}), &json!([])));
    for n in 0..30 {
        assert_eq!(host.hook("many", json!({"n": n}).to_string().as_bytes()).status, 200);
    }
    let seen = requests(&host, "many");
    assert_eq!((seen.len(), &seen[0]["body"], &seen[19]["body"]), (20, &json!("{\"n\":29}"), &json!("{\"n\":10}")));
    assert!(seen.iter().all(|asked| asked["run"].is_string()));
}

#[test]
fn a_sample_becomes_paths() {
    let host = Host::start();
    let answer = host.api("POST", "/samples", br#"{"body": {"a": 1, "b": {"c": 2}}, "query": "query[0][a]=x"}"#);
    let paths =
        |part: &str| -> Vec<Value> { answer.json()[part].as_array().unwrap().iter().map(|p| p["path"].clone()).collect() };
    assert_eq!((paths("body"), paths("query")), (vec![json!("a"), json!("b"), json!("b.c")], vec![json!("query[0].a")]));
    let shown = host.cli_with(&["workflow", "sample", "-", "--query", "q=1"], br#"{"items": [{"sku": "x"}]}"#);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("items[0].sku") && shown.contains("items_0_sku"), "{shown}");
}

#[test]
fn what_a_config_names_as_a_signature_is_hidden_also_in_the_url() {
    let host = Host::start();
    host.set_secret("key", SECRET);
    let generic = json!({"header": "X-Proof", "algorithm": "sha256", "encoding": "hex"});
    let signature = json!({"scheme": "generic", "secret": "{{$secrets.key}}", "generic": generic});
    host.apply(&workflow("signed", &json!({"mode": "async", "signature": signature}), &json!([])));
    let headers = [("content-type", "application/json"), ("x-proof", "c0ffee"), ("x-plain", "seen")];
    let answer = host.request("POST", "/hooks/signed?access_token=t0ken&page=2", &headers, b"{}");
    assert_eq!(answer.status, 401);
    let seen = requests(&host, "signed").remove(0);
    assert_eq!(seen["target"], "/hooks/signed?access_token=[hidden]&page=2");
    let header = |name: &str| {
        let all = seen["headers"].as_array().unwrap();
        all.iter().find(|header| header["name"] == name).map(|header| header["value"].clone())
    };
    assert_eq!((header("x-proof"), header("x-plain")), (Some(json!("[hidden]")), Some(json!("seen"))), "{seen:#}");
    assert!(seen["note"].as_str().unwrap().contains("invalid-signature"), "{seen:#}");
}

#[test]
fn a_sender_who_goes_away_is_there_too() {
    let host = Host::start();
    let is_over = Arc::new(AtomicBool::new(false));
    let over = is_over.clone();
    let server = Web::start(move |_, _| {
        while !over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20));
        }
        Reply::json(&json!("late"))
    });
    let_out(&host, &server);
    let steps = json!([{"key": "ask", "type": "request", "config": {"url": server.url(), "timeout_ms": 60_000}}]);
    host.apply(&workflow("slow", &json!({"mode": "sync"}), &steps));
    let mut sender = connect(&host.url);
    let request = "POST /hooks/slow HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    sender.write_all(request.as_bytes()).unwrap();
    eventually("the run asks", || server.asked().len() == 1);
    assert!(requests(&host, "slow").is_empty());
    drop(sender);
    eventually("the request is kept", || requests(&host, "slow").len() == 1);
    let seen = requests(&host, "slow").remove(0);
    assert!(seen["status"].is_null() && seen["note"].as_str().unwrap().contains("went away"), "{seen:#}");
    is_over.store(true, Ordering::Relaxed);
}
