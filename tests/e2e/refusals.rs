//! What is wrong is answered with a problem document, and starts nothing.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use serde_json::json;

use crate::harness::{Host, connect, eventually, github_signature, lab, raw, workflow};
use crate::hooks::{payload, push, rename_types, sample};

const SECRET: &str = "It is a secret to everybody";

pub(crate) fn each_mistake_of_a_caller_has_its_answer(vendor: &str) {
    let host = Host::start();
    if !vendor.is_empty() {
        host.add_plugin("acme_http");
        host.add_plugin("acme_flow");
    }
    host.set_secret("github", SECRET);
    let mut definition = sample(vendor);
    definition["trigger"]["config"]["body_bytes_max"] = 10_000.into();
    host.apply(&definition);
    let body = payload();
    let good = github_signature(SECRET, &body);

    push(&host, &body, &github_signature("another secret", &body)).expect_problem(401, "invalid-signature");
    for broken in
        ["", "sha256=", "sha256=00", &good[..good.len() - 1], &format!("{good}0"), &good.replace("sha256=", "sha1="), &good[7..]]
    {
        push(&host, &body, broken).expect_problem(401, "invalid-signature");
    }
    host.hook("github-push", &body).expect_problem(401, "invalid-signature");
    let twice =
        [("content-type", "application/json"), ("x-hub-signature-256", good.as_str()), ("x-hub-signature-256", good.as_str())];
    host.request("POST", "/hooks/github-push", &twice, &body).expect_problem(401, "invalid-signature");
    let mut flipped = body.clone();
    flipped[100] ^= 1;
    push(&host, &flipped, &good).expect_problem(401, "invalid-signature");

    let answer = host.request("GET", "/hooks/github-push", &[], b"");
    answer.expect_problem(405, "method-not-allowed");
    assert_eq!(answer.headers["allow"], "POST");

    let long = vec![b' '; 10_001];
    push(&host, &long, &github_signature(SECRET, &long)).expect_problem(413, "body-too-large");
    for broken in [&b"{\"ref\":"[..], b"{} {}", b"\xff\xfe", b"nonsense"] {
        push(&host, broken, &github_signature(SECRET, broken)).expect_problem(400, "invalid-json");
    }
    let deep = "[".repeat(9_000).into_bytes();
    push(&host, &deep, &github_signature(SECRET, &deep)).expect_problem(400, "invalid-json");
    let headers = [("content-type", "text/plain"), ("x-hub-signature-256", good.as_str())];
    host.request("POST", "/hooks/github-push", &headers, &body).expect_problem(415, "unsupported-media-type");

    host.hook("nobody", b"{}").expect_problem(404, "not-found");
    host.api("POST", "/workflows/github-push/pause", b"");
    push(&host, &body, &good).expect_problem(404, "not-found");

    assert_eq!(host.runs().len(), 0, "no run");
    assert_eq!(host.get("/workflows/github-push")["runs_started"], 0);
}

#[test]
fn each_mistake_of_a_caller_has_its_answer_and_starts_no_run() {
    each_mistake_of_a_caller_has_its_answer("");
}

#[test]
fn a_body_that_grows_over_the_limit_is_cut_off_without_being_read() {
    let host = Host::start();
    host.apply(&workflow("small", &json!({"mode": "sync", "body_bytes_max": 1_000}), &json!([])));
    // Announced: refused before it comes.
    let head = "POST /hooks/small HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100000000\r\n\r\n";
    assert!(raw(&host.url, head.as_bytes(), |text| text.contains("body-too-large")).starts_with("HTTP/1.1 413"));
    // Chunked: refused as soon as it is too long.
    let mut stream = connect(&host.url);
    stream
        .write_all(
            b"POST /hooks/small HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n",
        )
        .unwrap();
    let chunk = format!("{:x}\r\n{}\r\n", 600, " ".repeat(600));
    stream.write_all(chunk.as_bytes()).unwrap();
    stream.write_all(chunk.as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    assert_eq!(host.runs().len(), 0);
}

#[test]
fn half_requests_hold_nobody_up() {
    let host = Host::start();
    host.apply(&workflow("quick", &json!({"mode": "sync"}), &json!([])));
    let stuck: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = connect(&host.url);
            stream.write_all(b"POST /hooks/quick HTTP/1.1\r\nhost: x\r\nx-half: ").unwrap();
            stream
        })
        .collect();
    assert_eq!(host.hook("quick", b"{}").status, 200);
    let mut first = &stuck[0];
    let (mut rest, began) = (Vec::new(), std::time::Instant::now());
    let _ = first.read_to_end(&mut rest);
    assert!(began.elapsed().as_secs() < 25, "closed after ten seconds or so");
}

#[test]
fn the_api_wants_its_token_and_says_what_is_wrong() {
    let host = Host::start();
    for path in ["/workflows", "/runs", "/plugins", "/secrets", "/nothing"] {
        host.request("GET", &format!("/api/v1{path}"), &[], b"").expect_problem(401, "unauthorized");
        host.request("GET", &format!("/api/v1{path}"), &[("authorization", "Bearer weft_0")], b"")
            .expect_problem(401, "unauthorized");
    }
    host.api("GET", "/nothing", b"").expect_problem(404, "not-found");
    host.api("DELETE", "/runs", b"").expect_problem(405, "method-not-allowed");
    host.api("GET", "/runs?limit=0", b"").expect_problem(400, "invalid-request");
    host.api("GET", "/runs?limit=501", b"").expect_problem(400, "invalid-request");
    host.api("GET", "/runs?workflov=x", b"").expect_problem(400, "invalid-request");
    host.api("GET", "/runs?status=done", b"").expect_problem(400, "invalid-request");
    host.api("GET", "/runs/0193a5c2-7b1e-7c3a-9f00-2a51c4d0b7e1", b"").expect_problem(404, "not-found");
    host.api("GET", "/runs/x", b"").expect_problem(404, "not-found");
    host.api("GET", "/workflows/none", b"").expect_problem(404, "not-found");
    host.api("PUT", "/workflows/a/draft", b"{").expect_problem(400, "invalid-request");
    host.api("PUT", "/secrets/1x", b"v").expect_problem(400, "invalid-request");
    host.api("PUT", "/secrets/x", b"").expect_problem(400, "invalid-request");
    host.api("DELETE", "/secrets/x", b"").expect_problem(404, "not-found");
    host.request("GET", "/elsewhere", &[], b"").expect_problem(404, "not-found");
    for path in ["/healthz", "/readyz", "/"] {
        assert_eq!(host.request("GET", path, &[], b"").status, 200);
    }
}

#[test]
fn everything_wrong_with_a_workflow_is_said_at_once() {
    let host = Host::start();
    let definition = json!({
        "weft": 1, "key": "bad",
        "trigger": {"type": "webhook", "config": {"mode": "sometimes", "signature": {"scheme": "github", "secret": "literal"}}},
        "steps": [
            {"key": "a", "type": "nothing"},
            {"key": "b", "type": "condition", "config": {"left": 1, "operator": "is", "right": 2}},
            {"key": "c", "type": "condition", "config": {"left": 1}},
            {"key": "d", "type": "data", "config": {"fields": {
                "later": "{{$steps.e.result}}", "scope": "{{$scopes.b.item}}", "context": "{{$context.body.x}}", "secret": "{{$secrets.none}}",
                "shape": "{{$context.a[0]}}"}}, "branches": {"yes": []}},
            {"key": "e", "type": "acme/crm/contact@^2"},
            {"key": "f", "type": "webhook"},
        ]
    });
    let answer = host.api("PUT", "/workflows/bad/draft", definition.to_string().as_bytes());
    assert_eq!(answer.status, 201, "a draft may be wrong");
    let answer = host.api("POST", "/workflows/bad/revisions", b"");
    answer.expect_problem(422, "invalid-workflow");
    let document = answer.json();
    let mut found: Vec<(&str, &str)> = document["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (e["pointer"].as_str().unwrap(), e["message"].as_str().unwrap()))
        .collect();
    found.sort_unstable();
    let wanted = [
        ("/steps/0/type", "no node type `nothing`"),
        ("/steps/1/config/operator", "\"is\" is none of \"equal\", \"notEqual\""),
        ("/steps/2/config", "give `left`, `operator` and `right`"),
        ("/steps/3/branches", "has no branches"),
        ("/steps/3/config/fields/context", "the trigger gives data, headers"),
        ("/steps/3/config/fields/later", "no step `e` is finished before"),
        ("/steps/3/config/fields/scope", "in no branch of a step `b`"),
        ("/steps/3/config/fields/secret", "weft secret set none"),
        ("/steps/3/config/fields/shape", "joined by dots"),
        ("/steps/4/type", "no plugin `acme/crm` is installed"),
        ("/steps/5/type", "there is a trigger type of that name"),
        ("/trigger/config/mode", "\"sometimes\" is none of \"sync\", \"async\""),
        ("/trigger/config/signature/secret", "weft secret set"),
    ];
    for (pointer, part) in wanted {
        assert!(found.iter().any(|(at, message)| *at == pointer && message.contains(part)), "{pointer}: {part}\n{found:#?}");
    }
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
    let checked = host.api("POST", "/workflows/bad/check", definition.to_string().as_bytes()).json();
    assert_eq!(checked["problems"].as_array().unwrap().len(), wanted.len());

    let mut typo = sample("");
    rename_types(&mut typo, "");
    typo["steps"][0]["confg"] = json!({});
    let answer = host.api("PUT", "/workflows/github-push/draft", typo.to_string().as_bytes());
    answer.expect_problem(422, "invalid-workflow");
    assert_eq!(answer.json()["errors"][0]["pointer"], "/steps/0/confg");
}

/// Sends a request and is gone before the answer can be there.
fn leave_early(host: &Host, path: &str, headers: &str, after: Duration) {
    let mut stream = connect(&host.url);
    let request =
        format!("POST {path} HTTP/1.1\r\nhost: weft\r\ncontent-length: 2\r\ncontent-type: application/json\r\n{headers}\r\n{{}}");
    stream.write_all(request.as_bytes()).unwrap();
    std::thread::sleep(after);
}

#[test]
fn whoever_leaves_before_the_answer_leaves_nothing_half_done() {
    let host = Host::start();
    host.add_plugin("lab");
    let trigger = json!({"type": "acme/lab/hook", "config": {"mode": "async"}});
    let steps = json!([{"key": "note", "type": "data", "config": {"fields": {}}}]);
    host.apply(&json!({"weft": 1, "key": "hooked", "trigger": trigger, "steps": steps}));
    host.apply(&lab("asked", &steps));
    let token = format!("authorization: Bearer {}\r\n", host.data.token());
    for round in 0..300 {
        let after = Duration::from_micros(round * 10);
        leave_early(&host, "/hooks/hooked", "", after);
        leave_early(&host, "/api/v1/workflows/asked/runs", &token, after);
    }
    eventually("all that began has ended", || host.get("/runs?status=running")["items"] == json!([]));
    assert!(host.runs().len() > 100, "some were accepted");
    // Also what comes for a run that waits: once the host has it, the run gets it.
    host.apply(&lab("hears", &json!([{"key": "hear", "type": "hear", "config": {"name": "go"}}])));
    let ids: Vec<String> = (0..100).map(|_| host.start_run("hears", &json!({}))).collect();
    for (round, id) in ids.iter().enumerate() {
        host.step_is(id, "hear", "waiting");
        leave_early(&host, &format!("/api/v1/runs/{id}/cancel"), &token, Duration::from_micros(round as u64 * 30));
    }
    let open = |host: &Host| host.get("/runs?status=running&limit=500")["items"].as_array().unwrap().len();
    std::thread::sleep(Duration::from_secs(1));
    let before = open(&host);
    println!("{} runs, {} of 100 cancels came", host.runs().len(), 100 - before);
    let host = Host::start_in(host.kill(), &[]);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(open(&host), before, "a restart finds what nobody was told of");
}
