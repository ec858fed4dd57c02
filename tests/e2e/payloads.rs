//! Every example of a webhook that GitHub publishes, signed and sent.

use serde_json::{Value, json};

use crate::harness::{Host, github_signature, repository, workflow};

const SECRET: &str = "It is a secret to everybody";

fn examples() -> Vec<(String, Value)> {
    let file = repository().join("tests/node_modules/@octokit/webhooks-examples/api.github.com/index.json");
    let text =
        std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask test`", file.display()));
    let events: Vec<Value> = serde_json::from_str(&text).unwrap();
    let examples = events.iter().flat_map(|event| {
        let name = event["name"].as_str().unwrap();
        event["examples"].as_array().unwrap().iter().map(move |example| (name.to_owned(), example.clone()))
    });
    examples.collect()
}

#[test]
fn each_passes_when_signed_and_is_refused_with_one_byte_flipped() {
    let host = Host::start();
    host.set_secret("github", SECRET);
    let trigger = json!({"mode": "sync", "signature": {"scheme": "github", "secret": "{{$secrets.github}}"}});
    let body = json!({"event": "{{$context.headers.x-github-event}}", "echo": "{{$context.data}}"});
    host.apply(&workflow("echo", &trigger, &json!([{"key": "a", "type": "response", "config": {"body": body}}])));
    let examples = examples();
    assert!(examples.len() >= 300, "{}", examples.len());
    for (number, (event, example)) in examples.iter().enumerate() {
        let body = example.to_string().into_bytes();
        let signature = github_signature(SECRET, &body);
        let headers =
            [("content-type", "application/json"), ("x-github-event", event.as_str()), ("x-hub-signature-256", &signature)];
        let answer = host.request("POST", "/hooks/echo", &headers, &body);
        assert_eq!(answer.status, 200, "{event} {number}: {}", String::from_utf8_lossy(&answer.body));
        assert_eq!(answer.json(), json!({"event": event, "echo": example}), "{event} {number}");

        let mut flipped = body.clone();
        let at = number * 7919 % flipped.len();
        flipped[at] ^= 1 << (number % 8);
        host.request("POST", "/hooks/echo", &headers, &flipped).expect_problem(401, "invalid-signature");
    }
    assert_eq!(host.get("/workflows/echo")["runs_started"], examples.len());
    println!("{} examples passed, and as many with one byte flipped were refused", examples.len());
}
