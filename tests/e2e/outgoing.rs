//! The step that sends requests, against servers of the test's own.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Host, workflow};
use crate::web::{Reply, Web};

/// Lets the built-in plugin reach a server at a private address, as an operator does.
pub(crate) fn let_out(host: &Host, server: &Web) {
    let granted = host.cli(&["plugin", "grant", "weft/http", "--add", "--http", &server.address]);
    assert!(granted.status.success(), "{}", String::from_utf8_lossy(&granted.stderr));
}

/// Runs one step in an asynchronous workflow; the step as it came out.
#[track_caller]
fn step(host: &Host, config: &Value) -> Value {
    step_with(host, config, &json!({}))
}

#[track_caller]
fn step_with(host: &Host, config: &Value, more: &Value) -> Value {
    let mut step = json!({"key": "a", "type": "request", "config": config});
    step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    host.apply(&workflow("one", &json!({"mode": "async"}), &json!([step])));
    host.run_once("one", &json!({}))["steps"][0].clone()
}

#[test]
fn each_kind_of_body_is_sent_and_each_kind_of_answer_read() {
    let host = Host::start();
    let server = Web::start(|asked, _| match asked.path.as_str() {
        "/text" => Reply::new(200, "text/plain; charset=utf-8", "hellö"),
        "/bytes" => Reply::new(200, "image/png", vec![0, 255]),
        "/nothing" => Reply::new(204, "text/plain", ""),
        "/exact" => Reply::new(200, "application/json", r#"{"n":12345678901234567890,"d":1.50}"#),
        path => Reply::json(&json!({"path": path})).header("x-many", "1").header("x-many", "2"),
    });
    let_out(&host, &server);
    let url = |path: &str| format!("{}/{path}", server.url());

    let config = json!({"url": url("a?x=1#f"), "query": {"q": "a b", "many": [1, true], "none": null}, "headers": {"X-Own": "two\r\nlines"},
        "body": {"json": {"n": 1}}});
    let done = step(&host, &config);
    assert_eq!(done["failure"]["code"], "invalid", "{done:#}");
    assert_eq!(server.asked().len(), 0);
    let mut config = config;
    config["headers"] = json!([{"name": "X-Own", "value": 7}, {"name": "Content-Type", "value": "application/vnd.own+json"}]);
    let done = step(&host, &config);
    assert_eq!(done["output"]["status"], 200, "{done:#}");
    assert_eq!(done["output"]["status_text"], "OK");
    assert_eq!(done["output"]["headers"]["x-many"], json!(["1", "2"]));
    assert_eq!(done["output"]["data"], json!({"path": "/a?x=1&q=a+b&many=1&many=true"}));
    let asked = server.asked();
    assert_eq!((asked[0].method.as_str(), asked[0].header("x-own"), asked[0].text().as_str()), ("POST", "7", r#"{"n":1}"#));
    assert_eq!(asked[0].header("content-type"), "application/vnd.own+json");
    assert_eq!(asked[0].header("idempotency-key").len(), 32);

    let file = json!({"name": "a \"b\".bin", "media_type": "image/png", "content": "AP8=", "field": "f", "size": 2});
    for (body, media_type, sent) in [
        (json!({"form": {"a": "x y", "b": [1, 2]}}), "application/x-www-form-urlencoded", "a=x+y&b=1&b=2"),
        (json!({"text": "hello"}), "text/plain; charset=utf-8", "hello"),
        (json!({"xml": "<a/>"}), "application/xml; charset=utf-8", "<a/>"),
        (json!({"base64": "aGk="}), "application/octet-stream", "hi"),
    ] {
        let done = step(&host, &json!({"method": "PUT", "url": url("b"), "body": body}));
        assert_eq!(done["status"], "succeeded", "{done:#}");
        let asked = server.asked().pop().unwrap();
        assert_eq!((asked.method.as_str(), asked.header("content-type"), asked.text().as_str()), ("PUT", media_type, sent));
    }
    step(&host, &json!({"url": url("b"), "body": {"multipart": [{"name": "t", "text": 5}, {"name": "f", "file": file}]}}));
    let asked = server.asked().pop().unwrap();
    let boundary = asked.header("content-type").strip_prefix("multipart/form-data; boundary=").unwrap().to_owned();
    let field = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"t\"\r\n\r\n5\r\n");
    let disposition = "Content-Disposition: form-data; name=\"f\"; filename=\"a %22b%22.bin\"\r\nContent-Type: image/png";
    let (file, end) = (format!("--{boundary}\r\n{disposition}\r\n\r\n"), format!("--{boundary}--\r\n"));
    assert_eq!(asked.body, [field.as_bytes(), file.as_bytes(), b"\x00\xff\r\n", end.as_bytes()].concat());

    for (path, data) in [("text", json!("hellö")), ("bytes", json!("AP8=")), ("nothing", Value::Null)] {
        let done = step(&host, &json!({"method": "GET", "url": url(path), "only_data": true}));
        assert_eq!(done["output"], data, "{path}");
    }
    step(&host, &json!({"method": "GET", "url": url("exact"), "only_data": true}));
    let run = host.api("GET", &format!("/runs/{}", host.runs()[0]["id"].as_str().unwrap()), b"");
    assert!(
        String::from_utf8_lossy(&run.body).contains(r#"{"n":12345678901234567890,"d":1.50}"#),
        "numbers stay as they were written"
    );
}

#[test]
fn what_goes_wrong_is_told_and_may_be_ignored() {
    let host = Host::start();
    let server = Web::start(|asked, _| match asked.path.as_str() {
        "/slow" => Reply::json(&json!(1)).after(Duration::from_secs(20)),
        "/large" => Reply::new(200, "text/plain", vec![b'x'; 2 << 20]),
        "/some" => Reply::new(200, "text/plain", "0123456789"),
        _ => Reply::new(404, "application/json", r#"{"why": "gone"}"#),
    });
    let_out(&host, &server);
    let url = |path: &str| format!("{}/{path}", server.url());
    let done = step(&host, &json!({"url": url("none")}));
    assert_eq!((&done["status"], &done["failure"]["code"]), (&json!("failed"), &json!("http-status")));
    let trouble = json!({"message": "the server answered 404 Not Found", "status": 404, "data": {"why": "gone"}});
    assert_eq!(done["output"], trouble, "{done:#}");
    let done = step(&host, &json!({"url": url("none"), "ignore_failure": true}));
    assert_eq!((&done["status"], &done["output"]), (&json!("succeeded"), &trouble));

    let done = step(&host, &json!({"url": url("slow"), "timeout_ms": 200}));
    assert_eq!((&done["status"], &done["failure"]["code"]), (&json!("aborted"), &json!("timed-out")), "{done:#}");
    let done = step(&host, &json!({"url": url("slow"), "timeout_ms": 200, "ignore_failure": true}));
    assert_eq!((&done["status"], &done["output"]["code"]), (&json!("succeeded"), &json!("timed-out")));
    for (path, max) in [("large", Value::Null), ("some", json!(9))] {
        let mut config = json!({"url": url(path)});
        if !max.is_null() {
            config["response_bytes_max"] = max;
        }
        let done = step(&host, &config);
        assert_eq!((&done["status"], &done["failure"]["code"]), (&json!("failed"), &json!("too-large")), "{path}: {done:#}");
    }
    let done = step(&host, &json!({"url": "http://127.0.0.1:9/"}));
    assert_eq!(done["failure"]["code"], "denied", "no grant names it: {done:#}");
    host.cli(&["plugin", "grant", "weft/http", "--add", "--http", "127.0.0.1:9"]);
    let done = step(&host, &json!({"url": "http://127.0.0.1:9/"}));
    assert_eq!((&done["status"], &done["failure"]["code"]), (&json!("failed"), &json!("refused")), "{done:#}");
    let done = step(&host, &json!({"url": "{{$context.data.nothing:no url}}"}));
    assert_eq!(done["failure"]["code"], "invalid", "{done:#}");
}

#[test]
fn a_busy_server_is_asked_again_as_the_step_says() {
    let host = Host::start();
    let server = Web::start(|asked, nth| match (asked.path.as_str(), nth) {
        ("/busy", 0) => Reply::new(503, "text/plain", "busy").header("retry-after", "1"),
        ("/busy", 1) => Reply::new(429, "text/plain", "busy"),
        ("/broken", _) => Reply::new(500, "text/plain", "broken"),
        (_, nth) => Reply::json(&json!({"nth": nth})),
    });
    let_out(&host, &server);
    let retry = json!({"retry": {"attempts": 5, "backoff_ms": 1}});
    let began = std::time::Instant::now();
    let done = step_with(&host, &json!({"url": format!("{}/busy", server.url())}), &retry);
    assert_eq!((&done["status"], &done["output"]["data"]["nth"]), (&json!("succeeded"), &json!(2)), "{done:#}");
    assert!(began.elapsed() >= Duration::from_secs(1), "it waited as long as the server said");
    let keys: Vec<String> = server.asked().iter().map(|asked| asked.header("idempotency-key").to_owned()).collect();
    assert!(keys.iter().all(|key| *key == keys[0]), "one request, however often it is sent: {keys:?}");
    let done = step_with(&host, &json!({"url": format!("{}/broken", server.url())}), &retry);
    assert_eq!(done["failure"]["code"], "http-status");
    assert_eq!(server.asked().len(), 4, "what does not pass is not tried again");
}

#[test]
fn redirects_are_followed_where_a_grant_leads_and_a_caller_may_wait() {
    let host = Host::start();
    let canary = Web::start(|_, _| Reply::json(&json!("canary")));
    let elsewhere = format!("{}/secret", canary.url());
    let server = Web::start(move |asked, _| match asked.path.as_str() {
        "/from" => Reply::new(302, "text/plain", "").header("location", "/to"),
        "/out" => Reply::new(302, "text/plain", "").header("location", &elsewhere),
        _ => Reply::json(&json!({"method": asked.method})),
    });
    let_out(&host, &server);
    let done = step(&host, &json!({"url": format!("{}/from", server.url()), "body": {"text": "x"}}));
    assert_eq!(done["output"]["data"], json!({"method": "GET"}), "{done:#}");
    let done = step(&host, &json!({"url": format!("{}/out", server.url())}));
    assert_eq!((&done["failure"]["code"], canary.asked().len()), (&json!("denied"), 0), "{done:#}");

    let steps = json!([
        {"key": "ask", "type": "request", "config": {"method": "GET", "url": format!("{}/to", server.url())}},
        {"key": "answer", "type": "response", "config": {"body": "{{$steps.ask.result.data.method}}"}},
    ]);
    host.apply(&workflow("waits", &json!({"mode": "sync"}), &steps));
    assert_eq!(host.hook("waits", b"{}").body, b"GET");
}

#[test]
fn a_run_that_waits_for_an_answer_goes_on_after_a_crash() {
    let host = Host::start();
    let server = Web::start(|_, nth| match nth {
        0 => Reply::json(&json!("late")).after(Duration::from_secs(60)),
        _ => Reply::json(&json!("again")),
    });
    let_out(&host, &server);
    let steps = json!([{"key": "a", "type": "request", "config": {"url": server.url(), "timeout_ms": 60_000}}]);
    host.apply(&workflow("crash", &json!({"mode": "async"}), &steps));
    let id = host.start_run("crash", &json!({"context": {}}));
    crate::harness::eventually("the server was asked", || server.asked().len() == 1);
    let host = Host::start_in(host.kill(), &[]);
    let run = host.ended(&id);
    assert_eq!(run["steps"][0]["output"]["data"], "again", "{run:#}");
    let keys: Vec<String> = server.asked().iter().map(|asked| asked.header("idempotency-key").to_owned()).collect();
    assert_eq!((keys.len(), &keys[0]), (2, &keys[1]));
}

#[test]
fn mistakes_are_said_when_a_workflow_is_published() {
    let host = Host::start();
    for (config, pointer) in [
        (json!({"method": "GET", "url": "https://example.org", "body": {"text": "x"}}), "/body"),
        (json!({"url": "example.org"}), "/url"),
        (json!({"url": "a", "connection": "nobody"}), "/connection"),
        (json!({"url": "https://example.org", "body": {"json": 1, "text": "x"}}), "/body"),
        (json!({"url": "https://example.org", "timeout_ms": 0}), "/timeout_ms"),
    ] {
        let definition = workflow("wrong", &json!({"mode": "sync"}), &json!([{"key": "a", "type": "request", "config": config}]));
        host.api("PUT", "/workflows/wrong/draft", definition.to_string().as_bytes());
        let answer = host.api("POST", "/workflows/wrong/revisions", b"");
        answer.expect_problem(422, "invalid-workflow");
        assert_eq!(answer.json()["errors"][0]["pointer"], format!("/steps/0/config{pointer}"), "{config}");
    }
}
