//! Files of runs: made by steps, read by those that know them, downloaded by people, gone with their runs.

use serde_json::{Value, json};

use crate::harness::{Data, Host, example, workflow};
use crate::outgoing::let_out;
use crate::web::{Reply, Web};

/// The longest file.
const FILE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes that are no text, more than stand in the engine itself.
fn scan() -> Vec<u8> {
    (0..600_000_u32).map(|number| (number % 251) as u8 | 0x80).collect()
}

/// Servers that give and take documents.
fn office() -> Web {
    Web::start(|asked, _| match asked.path.as_str() {
        "/invoices/7.pdf" => Reply::new(200, "application/pdf", scan()),
        "/invoices/8.pdf" => Reply::new(404, "text/plain", "no such invoice"),
        "/large" => Reply::new(200, "application/zip", vec![0xff; FILE_BYTES_MAX]),
        "/larger" => Reply::new(200, "application/zip", vec![0xff; FILE_BYTES_MAX + 1]),
        "/page" => Reply::new(200, "text/html", "<script>alert(1)</script>"),
        "/empty" => Reply::new(204, "text/plain", ""),
        _ => Reply::json(&json!({"id": "d-1"})),
    })
}

fn request(server: &Web, path: &str, more: &Value) -> Value {
    let mut config = json!({"method": "GET", "url": format!("{}{path}", server.url())});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

fn step(key: &str, config: &Value) -> Value {
    json!({"key": key, "type": "request", "config": config})
}

#[test]
fn the_example_keeps_what_it_fetched_and_sends_it_on() {
    let host = Host::start();
    let server = office();
    let_out(&host, &server);
    let here = [("https://shop.example.org", server.url()), ("https://books.example.org", server.url())];
    host.apply(&example("send-invoice", &here.each_ref().map(|(there, here)| (*there, here.as_str()))));

    let answer = host.hook("send-invoice", br#"{"number": 7}"#);
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    let id = answer.json()["file"].as_str().unwrap().to_owned();
    let sent = server.asked().into_iter().find(|asked| asked.path == "/v1/documents").unwrap();
    let content = scan();
    assert!(sent.body.windows(content.len()).any(|part| part == content), "the bytes arrive as they were");
    assert!(sent.text().contains("filename=\"invoice-7.pdf\"\r\nContent-Type: application/pdf\r\n"));

    // People see it with its step, and download it.
    let run = host.newest_run();
    let run = host.run(run["id"].as_str().unwrap());
    let facts = json!({"id": id, "name": "invoice-7.pdf", "media_type": "application/pdf", "size": content.len()});
    assert_eq!(run["steps"][0]["files"], json!([facts]), "{run:#}");
    assert_eq!(run["steps"][0]["output"]["data"], facts);
    let shown = host.cli(&["run", "show", run["id"].as_str().unwrap()]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains(&format!("invoice-7.pdf (application/pdf, 600000 bytes): {id}")));
    let loaded = host.api("GET", &format!("/files/{id}"), b"");
    assert_eq!((loaded.status, loaded.headers["content-type"].as_bytes()), (200, &b"application/pdf"[..]));
    assert_eq!(loaded.headers["content-disposition"].as_bytes(), b"attachment; filename*=UTF-8''invoice%2D7%2Epdf");
    assert_eq!(
        (loaded.headers["x-content-type-options"].as_bytes(), loaded.headers["content-security-policy"].as_bytes()),
        (&b"nosniff"[..], &b"sandbox"[..])
    );
    assert_eq!(loaded.body, content);
    let file = tempfile::NamedTempFile::new().unwrap();
    let saved = file.path().to_str().unwrap();
    assert!(host.cli(&["run", "file", &id, "--output", saved]).status.success());
    assert_eq!(std::fs::read(saved).unwrap(), content);
    assert_eq!(host.cli(&["run", "file", &id]).stdout, content);

    // A server that says no gives no file.
    assert_ne!(host.hook("send-invoice", br#"{"number": 8}"#).status, 201);
    let refused = host.newest_run();
    assert!(host.run(refused["id"].as_str().unwrap())["steps"][0]["files"].is_null());

    // It survives kill -9 and a copy of the store, and goes with its run.
    let data = host.kill();
    data.expect_whole();
    let (export, copy) = (data.path().join("store.jsonl"), Data::new());
    assert!(data.care(&["export", export.to_str().unwrap()]).status.success());
    assert!(copy.care(&["import", export.to_str().unwrap()]).status.success());
    copy.expect_whole();
    let host = Host::start_in(copy, &[]);
    assert_eq!(host.api("GET", &format!("/files/{id}"), b"").body, content);
    assert_eq!(host.api("DELETE", &format!("/runs/{}", run["id"].as_str().unwrap()), b"").status, 204);
    host.api("GET", &format!("/files/{id}"), b"").expect_problem(404, "not-found");
    host.stop().expect_whole();
}

#[test]
fn a_run_reads_the_files_that_it_was_told_of_and_no_others() {
    let host = Host::start();
    let server = office();
    let_out(&host, &server);
    let send = |file: &str| json!({"method": "POST", "body": {"file": file}});
    host.apply(&workflow(
        "makes",
        &json!({"mode": "sync"}),
        &json!([step("fetch", &request(&server, "/invoices/7.pdf", &json!({"save_as": "a.pdf", "only_data": true}))),
            {"key": "child", "type": "call-workflow", "config": {"workflow": "told", "context": {"data": {"file": "{{$steps.fetch.result}}"}}}}]),
    ));
    host.apply(&workflow(
        "told",
        &json!({"mode": "sync"}),
        &json!([step("send", &request(&server, "/take", &send("{{$context.data.file}}")))]),
    ));
    let run = host.run_once("makes", &json!({}));
    assert_eq!(run["status"], "succeeded", "{run:#}");
    let taken = server.asked().into_iter().find(|asked| asked.path == "/take").unwrap();
    assert_eq!((taken.header("content-type"), taken.body == scan()), ("application/pdf", true));

    // A plugin that makes ids up reads nothing, also where the id is right: here its run was never told.
    let caller = host.add_bare_plugin("caller");
    host.set_grants(&caller, &json!({"files": true}));
    let id = run["steps"][0]["output"]["id"].as_str().unwrap();
    let (half, rest) = id.split_at(id.len() / 2);
    let guess = json!({"halves": [half, rest]});
    host.apply(&workflow(
        "guesses",
        &json!({"mode": "sync"}),
        &json!([{"key": "a", "type": "acme/caller/guess", "config": guess}]),
    ));
    let guessed = &host.run_once("guesses", &json!({}))["steps"][0];
    assert_eq!(guessed["failure"]["code"], "not-found", "{guessed:#}");
    let told = json!({"halves": [half, rest], "told": id});
    host.apply(&workflow(
        "guesses",
        &json!({"mode": "sync"}),
        &json!([{"key": "a", "type": "acme/caller/guess", "config": told}]),
    ));
    assert_eq!(host.run_once("guesses", &json!({}))["steps"][0]["output"], 600_000);
}

#[test]
fn what_cannot_be_a_file_is_refused_with_a_word() {
    let host = Host::start();
    let server = office();
    let_out(&host, &server);
    let of = |config: &Value| {
        host.apply(&workflow("one", &json!({"mode": "async"}), &json!([step("a", config)])));
        host.run_once("one", &json!({}))["steps"][0].clone()
    };
    for name in ["", "../etc/passwd", "a\nb", &"x".repeat(300)] {
        let done = of(&request(&server, "/page", &json!({"save_as": name})));
        assert_eq!(done["failure"]["code"], "invalid", "{name}: {done:#}");
        assert!(done["files"].is_null());
    }
    let page = of(&request(&server, "/page", &json!({"save_as": "page.html"})));
    let loaded = host.api("GET", &format!("/files/{}", page["output"]["data"]["id"].as_str().unwrap()), b"");
    assert_eq!(
        loaded.headers["content-security-policy"].as_bytes(),
        b"sandbox",
        "a page does nothing in the name of who looks at it"
    );
    // What is longer than a response usually may be is fetched by who says so, up to the longest file, and sent on whole.
    let fetch = |path: &str| of(&request(&server, path, &json!({"save_as": "a.zip", "response_bytes_max": FILE_BYTES_MAX})));
    assert_eq!(of(&request(&server, "/large", &json!({"save_as": "a.zip"})))["failure"]["code"], "too-large");
    assert_eq!(fetch("/larger")["failure"]["code"], "too-large");
    let large = fetch("/large");
    assert_eq!(large["output"]["data"]["size"], FILE_BYTES_MAX, "{large:#}");
    let multipart = json!([{"name": "a", "file": large["output"]["data"]}]);
    let sent = of(&request(&server, "/take", &json!({"method": "POST", "body": {"multipart": multipart}, "timeout_ms": 60_000})));
    assert_eq!(sent["status"], "succeeded", "{sent:#}");
    assert!(server.asked().last().unwrap().body.len() > FILE_BYTES_MAX);
    let empty = of(&request(&server, "/empty", &json!({"save_as": "empty.txt"})));
    assert_eq!(empty["output"]["data"]["size"], 0);
    let gone = "0193a5c2-7b1e-7c3a-9f00-2a51c4d0b7e1.00112233445566778899";
    let missing = of(&request(&server, "/take", &json!({"method": "POST", "body": {"file": {"id": gone}}})));
    assert_eq!(missing["failure"]["code"], "not-found", "{missing:#}");
    host.api("GET", &format!("/files/{gone}"), b"").expect_problem(404, "not-found");
    host.api("GET", "/files/nonsense", b"").expect_problem(404, "not-found");
    assert_eq!(host.cli(&["run", "file", gone]).status.code(), Some(4));
}
