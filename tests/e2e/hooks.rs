//! Webhooks: the sample, both modes, and the contract with whoever waits.

use serde_json::{Value, json};

use crate::harness::{Host, eventually, github_signature, repository, workflow};

const SECRET: &str = "It is a secret to everybody";

/// The sample workflow, with types of some vendor.
pub(crate) fn sample(vendor: &str) -> Value {
    let file = repository().join("tests/workflows/github-push.yaml");
    let mut sample: Value = serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    rename_types(&mut sample, vendor);
    sample
}

/// Names each type by its vendor: `condition` becomes `acme/flow/condition`.
pub(crate) fn rename_types(value: &mut Value, vendor: &str) {
    match value {
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                match member {
                    Value::String(kind) if name == "type" && !vendor.is_empty() => {
                        let plugin = if ["condition", "data"].contains(&kind.as_str()) { "flow" } else { "http" };
                        *kind = format!("{vendor}/{plugin}/{kind}");
                    }
                    member => rename_types(member, vendor),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename_types(item, vendor)),
        _ => {}
    }
}

pub(crate) fn payload() -> Vec<u8> {
    std::fs::read(repository().join("tests/payloads/github-push.json")).unwrap()
}

pub(crate) fn push(host: &Host, body: &[u8], signature: &str) -> crate::harness::Answer {
    let headers = [("content-type", "application/json"), ("x-github-event", "push"), ("x-hub-signature-256", signature)];
    host.request("POST", "/hooks/github-push", &headers, body)
}

pub(crate) fn a_signed_push_is_answered_and_kept(vendor: &str) {
    let host = Host::start();
    if !vendor.is_empty() {
        host.add_plugin("acme_http");
        host.add_plugin("acme_flow");
    }
    host.set_secret("github", SECRET);
    host.apply(&sample(vendor));
    let body = payload();
    let answer = push(&host, &body, &github_signature(SECRET, &body));
    assert_eq!(answer.status, 200, "{}", host.log());
    assert_eq!(answer.json(), json!({"repository": "Codertocat/Hello-World", "pusher": "Codertocat", "commits": 1}));
    assert_eq!(answer.headers["content-type"], "application/json");

    let other = String::from_utf8(body.clone()).unwrap().replace("refs/heads/main", "refs/heads/other").into_bytes();
    let answer = push(&host, &other, &github_signature(SECRET, &other));
    assert_eq!((answer.status, answer.body.len()), (204, 0));

    let run = host.newest_run();
    assert_eq!(run["status"], "succeeded");
    assert_eq!(run["context"]["data"], serde_json::from_slice::<Value>(&other).unwrap());
    assert_eq!(run["context"]["headers"]["x-github-event"], "push");
    let steps: Vec<(&str, &str)> =
        run["steps"].as_array().unwrap().iter().map(|s| (s["path"].as_str().unwrap(), s["status"].as_str().unwrap())).collect();
    assert_eq!(steps, [("is-main", "succeeded"), ("is-main/no/ignore", "succeeded")]);
    let condition = &run["steps"][0];
    assert_eq!(condition["input"], json!({"left": "refs/heads/other", "operator": "equal", "right": "refs/heads/main"}));
    assert!(condition["took_us"].as_u64().unwrap() > 0);

    let shown = host.cli(&["run", "show", host.runs()[1]["id"].as_str().unwrap()]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    for part in ["is-main/yes/answer", "answer  200", "succeeded", " ms", "input", "output", "Codertocat/Hello-World"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn a_signed_push_runs_through_the_built_in_components() {
    a_signed_push_is_answered_and_kept("");
}

pub(crate) fn a_synchronous_webhook_without_a_response_step(vendor: &str) {
    let host = Host::start();
    if !vendor.is_empty() {
        host.add_plugin("acme_http");
        host.add_plugin("acme_flow");
    }
    let steps = json!([{"key": "a", "type": "data", "config": {"fields": {"x": "{{$context.data.x}}"}}}]);
    let mut definition = workflow("plain", &json!({"mode": "sync"}), &steps);
    rename_types(&mut definition, vendor);
    host.apply(&definition);
    let answer = host.hook("plain", br#"{"x": [1, {"y": null}]}"#);
    assert_eq!((answer.status, answer.body.len()), (200, 0), "no step gave an output");
    assert_eq!(host.newest_run()["steps"][0]["output"], json!({"x": [1, {"y": null}]}));

    let steps = json!([{"key": "a", "type": "condition", "config": {"mode": "reject", "left": 1, "operator": "gt", "right": 2}}]);
    let mut definition = workflow("fails", &json!({"mode": "sync"}), &steps);
    rename_types(&mut definition, vendor);
    host.apply(&definition);
    host.hook("fails", b"{}").expect_problem(500, "run-failed");
    let run = host.newest_run();
    assert_eq!((&run["status"], &run["steps"][0]["failure"]["code"]), (&json!("failed"), &json!("condition-false")));
}

#[test]
fn a_run_without_a_response_step_is_settled_by_its_trigger() {
    a_synchronous_webhook_without_a_response_step("");
}

#[test]
fn an_asynchronous_webhook_answers_at_once_and_runs_after() {
    let host = Host::start();
    let steps = json!([{"key": "a", "type": "data", "config": {"fields": {"n": "{{$context.data.n}}"}}}]);
    let trigger = json!({"mode": "async", "response": {"status": 202, "headers": {"x-kind": "later"}, "body": {"queued": true}}});
    host.apply(&workflow("later", &trigger, &steps));
    let answer = host.hook("later", br#"{"n": 7}"#);
    assert_eq!(
        (answer.status, answer.json(), &answer.headers["x-kind"]),
        (202, json!({"queued": true}), &"later".parse().unwrap())
    );
    eventually("the run has ended", || host.newest_run()["status"] == "succeeded");
    assert_eq!(host.newest_run()["steps"][0]["output"], json!({"n": 7}));

    host.apply(&workflow("default", &json!({"mode": "async"}), &json!([])));
    let answer = host.hook("default", b"");
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"ok".as_slice()));
}

#[test]
fn methods_paths_queries_and_headers_reach_the_run() {
    let host = Host::start();
    let trigger = json!({"mode": "sync", "methods": ["GET", "PUT"], "path": "shop/{id}/orders/{order}"});
    let body = json!({"id": "{{$context.params.id}}", "order": "{{$context.params.order}}", "q": "{{$context.query}}",
        "m": "{{$context.method}}", "p": "{{$context.path}}", "x": "{{$context.headers.x-one}}", "auth": "{{$context.headers.authorization}}"});
    let steps = json!([{"key": "a", "type": "response", "config": {"status": 201, "headers": {"X-Two": "2", "connection": "x"}, "body": body}}]);
    host.apply(&workflow("shop", &trigger, &steps));
    let headers = [("x-one", "eins"), ("authorization", "Bearer s3cr3t")];
    let answer = host.request("GET", "/hooks/shop/a%2Fb%20c/orders/17?a=1&b=x%20y&a=2&c", &headers, b"");
    assert_eq!(answer.status, 201);
    assert_eq!(
        answer.json(),
        json!({"id": "a/b c", "order": "17", "q": {"a": ["1", "2"], "b": "x y", "c": ""}, "m": "GET",
            "p": "shop/a%2Fb%20c/orders/17", "x": "eins", "auth": null})
    );
    assert_eq!(answer.headers["x-two"], "2");
    assert!(answer.headers.get("connection").is_none_or(|value| value != "x"), "a step sets no connection's header");
    let answer = host.request("POST", "/hooks/shop/1/orders/2", &[], b"");
    answer.expect_problem(405, "method-not-allowed");
    assert_eq!(answer.headers["allow"], "GET, PUT");
    host.request("GET", "/hooks/shop/1/orders", &[], b"").expect_problem(404, "not-found");
}

#[test]
fn a_page_from_a_workflow_is_in_a_sandbox() {
    let host = Host::start();
    let config = json!({"headers": {"content-type": "text/html; charset=utf-8"}, "body": "<script>alert(1)</script>"});
    host.apply(&workflow(
        "page",
        &json!({"mode": "sync", "methods": ["GET"]}),
        &json!([{"key": "a", "type": "response", "config": config}]),
    ));
    let answer = host.request("GET", "/hooks/page", &[], b"");
    assert_eq!(answer.body, b"<script>alert(1)</script>");
    let policy = answer.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("sandbox") && !policy.contains("allow-same-origin"), "{policy}");
}

#[test]
fn basic_authentication_wants_user_and_password() {
    let host = Host::start();
    host.set_secret("hook-password", "pass:wörd");
    let trigger = json!({"mode": "sync", "basic": {"user": "shop", "password": "{{$secrets.hook-password}}"}});
    host.apply(&workflow("basic", &trigger, &json!([])));
    let encode = |text: &str| format!("Basic {}", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text));
    let ask = |authorization: Option<String>| {
        let mut headers = vec![("content-type", "application/json")];
        if let Some(value) = &authorization {
            headers.push(("authorization", value));
        }
        host.request("POST", "/hooks/basic", &headers, b"{}")
    };
    assert_eq!(ask(Some(encode("shop:pass:wörd"))).status, 200);
    for wrong in
        [None, Some(encode("shop:pass")), Some(encode("other:pass:wörd")), Some("Basic !".into()), Some("Bearer x".into())]
    {
        let answer = ask(wrong);
        answer.expect_problem(401, "unauthorized");
        assert!(answer.headers["www-authenticate"].to_str().unwrap().starts_with("Basic"));
    }
    assert_eq!(host.runs().len(), 1);
    // Nobody guesses for long, and whoever knows the password is not let in by the same address meanwhile.
    let statuses: Vec<u16> = (0..25).map(|n| ask(Some(encode(&format!("shop:{n}")))).status).collect();
    assert_eq!((statuses[0], statuses[24]), (401, 429), "{statuses:?}");
}

#[test]
fn who_waits_too_long_is_told_and_the_run_goes_on() {
    let host = Host::start();
    host.add_plugin("rogue");
    let steps = json!([{"key": "slow", "type": "acme/rogue/rogue", "config": {"way": "busy"}}]);
    host.apply(&workflow("slow", &json!({"mode": "sync", "timeout_ms": 100}), &steps));
    host.hook("slow", b"{}").expect_problem(504, "timed-out");
    eventually("the run has ended", || host.runs().first().is_some_and(|run| run["status"] == "succeeded"));
}

#[test]
fn one_key_makes_one_run_however_many_ask_at_once() {
    let host = Host::start();
    host.add_plugin("probe");
    let steps = json!([{"key": "a", "type": "response", "config": {"body": {"n": "{{$context.n}}"}}}]);
    let definition =
        json!({"weft": 1, "key": "once", "trigger": {"type": "acme/probe/probe", "config": {"mode": "sync"}}, "steps": steps});
    host.apply(&definition);
    let answers: Vec<String> = std::thread::scope(|scope| {
        let ask = || String::from_utf8(host.hook("once?key=a", b"").body).unwrap();
        let asked: Vec<_> = (0..40).map(|_| scope.spawn(ask)).collect();
        asked.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(host.runs().len(), 1);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "all get the first one's answer: {answers:#?}");
    // Also after a restart, and when the run had ended long ago.
    let host = Host::start_in(host.kill(), &[]);
    assert_eq!(host.hook("once?key=a", b"").body, answers[0].as_bytes());
    assert_eq!(host.runs().len(), 1);
    assert_ne!(host.hook("once?key=b", b"").body, answers[0].as_bytes());
    assert_eq!(host.runs().len(), 2);
}

#[test]
fn several_starts_of_one_event_are_stored_together() {
    let host = Host::start();
    host.add_plugin("probe");
    let definition = json!({"weft": 1, "key": "many", "trigger": {"type": "acme/probe/probe", "config": {"mode": "async"}}});
    host.apply(&definition);
    assert_eq!(host.hook("many?starts=5", b"").status, 202);
    eventually("the runs have ended", || host.runs().iter().filter(|run| run["status"] == "succeeded").count() == 5);
    assert_eq!(host.get("/workflows/many")["runs_started"], 5);
    assert_eq!(host.hook("many?starts=0", b"").status, 204);
    assert_eq!(host.hook("many?starts=1000", b"").status, 500, "more than one event may start");
    assert_eq!(host.runs().len(), 5);
}
