//! What webhooks read, from whom, and how often.

use serde_json::{Value, json};

use crate::harness::{Data, Host, workflow};

/// A workflow that answers with a part of its context.
fn shows(key: &str, trigger: &Value, part: &str) -> Value {
    let config = json!({"body": {"it": format!("{{{{$context.{part}}}}}")}});
    workflow(key, trigger, &json!([{"key": "a", "type": "response", "config": config}]))
}

#[test]
fn bodies_are_read_only_as_a_workflow_says() {
    let host = Host::start();
    host.apply(&shows("json", &json!({"mode": "sync"}), "data"));
    host.apply(&shows("all", &json!({"mode": "sync", "bodies": ["json", "form", "multipart", "text", "xml"]}), "data"));
    let ask = |path: &str, media_type: &str, body: &[u8]| {
        host.request("POST", &format!("/hooks/{path}"), &[("content-type", media_type)], body)
    };
    let multipart = b"--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x\r\n\
        Content-Disposition: form-data; name=\"f\"; filename=\"a.bin\"\r\nContent-Type: image/png\r\n\r\n\x00\xff\r\n--x--\r\n";
    let file = json!({"field": "f", "name": "a.bin", "media_type": "image/png", "size": 2, "content": "AP8="});
    for (media_type, body, read) in [
        ("application/json", &br#"{"a": [1]}"#[..], json!({"a": [1]})),
        ("application/x-www-form-urlencoded", b"a=1&a=2&b=%C3%A4", json!({"a": ["1", "2"], "b": "ä"})),
        ("multipart/form-data; boundary=x", multipart, json!({"fields": {"a": "1"}, "files": [file]})),
        ("text/plain", b"hello", json!("hello")),
        ("application/soap+xml", b"<a/>", json!("<a/>")),
    ] {
        let answer = ask("all", media_type, body);
        assert_eq!((answer.status, answer.json()["it"].clone()), (200, read), "{media_type}");
        if media_type != "application/json" {
            ask("json", media_type, body).expect_problem(415, "unsupported-media-type");
        }
    }
    ask("all", "application/octet-stream", b"x").expect_problem(415, "unsupported-media-type");
    ask("all", "application/json", b"{").expect_problem(400, "invalid-json");
    ask("all", "multipart/form-data; boundary=x", b"--x\r\n").expect_problem(400, "invalid-body");
    ask("all", "text/plain", b"\xff").expect_problem(400, "invalid-body");
    let zipped = [("content-type", "application/json"), ("content-encoding", "gzip")];
    host.request("POST", "/hooks/all", &zipped, b"x").expect_problem(415, "unsupported-media-type");
}

#[test]
fn the_example_of_a_response_echoes_any_bytes() {
    let host = Host::start();
    host.apply_example("response");
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let answer = host.request("PUT", "/hooks/echo", &[("content-type", "image/x-any")], &bytes);
    assert_eq!((answer.status, answer.body == bytes), (200, true));
    assert_eq!(answer.headers["content-type"], "image/x-any");
    assert_eq!(answer.headers.get_all("x-seen").iter().collect::<Vec<_>>(), ["first", "second"]);
}

#[test]
fn the_example_of_messages_tells_all_of_them() {
    let host = Host::start();
    host.apply_example("response-message");
    let ask =
        |body: &[u8]| host.request("POST", "/hooks/check-form", &[("content-type", "application/x-www-form-urlencoded")], body);
    let answer = ask(b"mail=a%40example.org");
    let told = json!({"messages": ["Please give a name.", "Your mail address is a@example.org."]});
    assert_eq!((answer.status, answer.json()), (200, told));
    assert_eq!(ask(b"mail=a&name=b").json(), json!({"messages": ["Your mail address is a."]}));
    let parts = b"--x\r\ncontent-disposition: form-data; name=mail\r\n\r\na\r\n--x--\r\n";
    let parts = host.request("POST", "/hooks/check-form", &[("content-type", "multipart/form-data; boundary=x")], parts);
    assert_eq!(parts.status, 415, "it takes forms only");

    let steps = json!([
        {"key": "a", "type": "response-message", "config": {"message": "too late"}},
        {"key": "b", "type": "condition", "config": {"mode": "reject", "left": 1, "operator": "gt", "right": 2}},
    ]);
    host.apply(&workflow("late", &json!({"mode": "sync"}), &steps));
    let answer = host.hook("late", b"{}");
    answer.expect_problem(500, "run-failed");
    assert_eq!(answer.json()["messages"], json!(["too late"]));
}

#[test]
fn variables_stand_under_their_aliases() {
    let host = Host::start();
    let variables = json!({"headers": ["X-Kind"], "query": [{"path": "filter[0].a", "alias": "first"}],
        "body": [{"path": "b.c"}, {"path": "items.sku", "alias": "skus"}, {"path": "none", "alias": "none"}]});
    let trigger = json!({"mode": "sync", "variables": variables});
    let body = json!({"kind": "{{$context.x-kind}}", "first": "{{$context.first}}", "c": "{{$context.b_c}}",
        "skus": "{{$context.skus}}", "none": "{{$context.none}}"});
    host.apply(&workflow("picks", &trigger, &json!([{"key": "a", "type": "response", "config": {"body": body}}])));
    let headers = [("content-type", "application/json"), ("x-kind", "k")];
    let sent = br#"{"a": 1, "b": {"c": 2}, "items": [{"sku": "x"}, {"sku": "y"}]}"#;
    let answer = host.request("POST", "/hooks/picks?filter[0][a]=q", &headers, sent);
    assert_eq!(answer.json(), json!({"kind": "k", "first": "q", "c": 2, "skus": ["x", "y"], "none": null}));

    // Without variables of its own a context has its members, and no others.
    let wrong = shows("wrong", &json!({"mode": "sync"}), "dta");
    let answer = host.publish(&wrong);
    answer.expect_problem(422, "invalid-workflow");
    let wrong = shows("wrong", &json!({"mode": "sync", "variables": {"body": [{"path": "x", "alias": "data"}]}}), "data");
    let answer = host.publish(&wrong);
    assert_eq!(answer.json()["errors"][0]["pointer"], "/trigger/config/variables/body/0/alias");
}

#[test]
fn a_bearer_shows_one_of_the_tokens() {
    let host = Host::start();
    host.set_secret("token", "new-token");
    host.set_secret("token-before", "old-token");
    let bearer = json!({"token": "{{$secrets.token}}", "old_tokens": ["{{$secrets.token-before}}"]});
    host.apply(&workflow("held", &json!({"mode": "sync", "bearer": bearer}), &json!([])));
    let ask = |authorization: &str| {
        host.request("POST", "/hooks/held", &[("content-type", "application/json"), ("authorization", authorization)], b"{}")
    };
    assert_eq!(ask("Bearer new-token").status, 200);
    for wrong in ["Bearer other", "Basic new-token", "Bearer", "new-token"] {
        let answer = ask(wrong);
        answer.expect_problem(401, "unauthorized");
        assert!(answer.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    }
    // Whoever has not changed yet is let in however often.
    assert!((0..50).all(|_| ask("bearer old-token").status == 200));
    let statuses: Vec<u16> = (0..25).map(|_| ask("Bearer guess").status).collect();
    assert_eq!(statuses[24], 429, "{statuses:?}");
}

#[test]
fn addresses_are_those_that_trusted_proxies_tell() {
    let trigger = json!({"mode": "sync", "allow_from": ["198.51.100.0/24", "2001:db8::/32"]});
    let ask = |host: &Host, headers: &[(&str, &str)]| {
        let headers: Vec<(&str, &str)> = [("content-type", "application/json")].iter().chain(headers).copied().collect();
        host.request("POST", "/hooks/near", &headers, b"{}")
    };
    let host = Host::start();
    host.apply(&workflow("near", &trigger, &json!([])));
    ask(&host, &[]).expect_problem(403, "address-not-allowed");
    ask(&host, &[("x-forwarded-for", "198.51.100.7")]).expect_problem(403, "address-not-allowed");

    let host = Host::start_in(Data::compiled(), &[("WEFT_TRUSTED_PROXIES", "127.0.0.0/8,10.0.0.0/8")]);
    host.apply(&workflow("near", &trigger, &json!([])));
    ask(&host, &[]).expect_problem(403, "address-not-allowed");
    for (name, value, status) in [
        ("x-forwarded-for", "198.51.100.7", 200),
        ("x-forwarded-for", "203.0.113.9, 198.51.100.7, 10.1.2.3", 200),
        ("x-forwarded-for", "198.51.100.7, 203.0.113.9", 403),
        ("x-forwarded-for", "198.51.100.7, nonsense", 403),
        ("forwarded", "for=\"[2001:db8::7]:443\";proto=https", 200),
        ("forwarded", "for=_hidden", 403),
    ] {
        assert_eq!(ask(&host, &[(name, value)]).status, status, "{name}: {value}");
    }
    let wrong = workflow("wrong", &json!({"mode": "sync", "allow_from": ["10.0.0.0/33"]}), &json!([]));
    let answer = host.publish(&wrong);
    assert_eq!(answer.json()["errors"][0]["pointer"], "/trigger/config/allow_from/0");
}

#[test]
fn a_delivery_that_comes_again_makes_no_second_run() {
    let host = Host::start();
    host.apply(&workflow("by-header", &json!({"mode": "async", "dedup": {"by": "header", "name": "X-Delivery"}}), &json!([])));
    let ask = |path: &str, id: &str, body: &[u8]| {
        host.request("POST", &format!("/hooks/{path}"), &[("content-type", "application/json"), ("x-delivery", id)], body)
    };
    let long = "a".repeat(5_000);
    for id in ["1", "1", "2", &long, &long] {
        assert_eq!(ask("by-header", id, b"{}").status, 200);
    }
    assert_eq!(host.get("/workflows/by-header")["runs_started"], 3);
    host.hook("by-header", b"{}").expect_problem(400, "no-delivery-id");

    host.apply(&workflow("by-body", &json!({"mode": "async", "dedup": {"by": "body", "name": "event.id"}}), &json!([])));
    for body in [br#"{"event": {"id": 7}}"#, br#"{"event": {"id": 7}}"#, br#"{"event": {"id": 8}}"#] {
        assert_eq!(ask("by-body", "x", body).status, 200);
    }
    assert_eq!(host.get("/workflows/by-body")["runs_started"], 2);
}
