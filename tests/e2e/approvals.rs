//! A version that asks for more than those before it is not used until somebody approves of that.

use serde_json::{Value, json};

use crate::harness::{Host, eventually};
use crate::parcel::{asking, parcel, version_in_use, wrapping};

fn approve(host: &Host, version: &str) {
    let output = host.cli(&["plugin", "approve", "acme/parcel", version]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[track_caller]
fn add(host: &Host, component: &[u8], status: u16, standing: &str) -> Value {
    let answer = host.api("POST", "/plugins", component);
    assert_eq!(answer.status, status, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.json()["status"], standing);
    answer.json()
}

/// What a workflow lacks, and the code of that.
fn lacking(host: &Host, definition: &Value) -> (String, Value) {
    host.api("PUT", "/workflows/wrapping/draft", definition.to_string().as_bytes());
    let answer = host.api("POST", "/workflows/wrapping/revisions", b"");
    answer.expect_problem(422, "invalid-workflow");
    let error = answer.json()["errors"][0].clone();
    assert_eq!(error["pointer"], "/steps/0/type");
    (error["message"].as_str().unwrap().to_owned(), error["code"].clone())
}

#[test]
fn a_wider_request_blocks_a_version_until_it_is_approved() {
    let host = Host::start();
    add(&host, &parcel("1.0.0"), 201, "usable");
    host.set_grants("acme/parcel", &json!({"kv": true}));
    host.apply(&wrapping(""));
    assert_eq!(version_in_use(&host), "1.0.0");

    let wider = asking(&parcel("1.1.0"), "kv");
    let held = add(&host, &wider, 201, "held");
    assert_eq!((&held["version"], &held["wider"]), (&json!("1.1.0"), &json!(["kv"])));
    assert_eq!(add(&host, &wider, 200, "held")["wider"], json!(["kv"]), "the same file again is no mistake, and no approval");
    // What is not approved is not used: not by publishing, not over a restart.
    host.apply(&wrapping(""));
    let host = Host::start_in(host.stop(), &[]);
    host.apply(&wrapping(""));
    assert_eq!(version_in_use(&host), "1.0.0");
    let plugins = host.get("/plugins");
    assert_eq!(plugins["held"][0]["wider"], json!(["kv"]), "{plugins:#}");
    assert!(plugins["items"].as_array().unwrap().iter().all(|plugin| plugin["version"] != "1.1.0"));
    assert_eq!(host.get("/plugins/acme/parcel")["version"], "1.0.0");
    assert_eq!(host.get("/plugins/acme/parcel?version=1.1.0")["status"], "held");
    let listed = String::from_utf8(host.cli(&["plugin", "list"]).stdout).unwrap();
    assert!(listed.contains("held: acme/parcel 1.1.0 asks for kv"), "{listed}");
    let shown = String::from_utf8(host.cli(&["plugin", "inspect", "acme/parcel@1.1.0"]).stdout).unwrap();
    assert!(shown.contains("held     since no version before it asked for kv"), "{shown}");
    // A workflow that needs it says so.
    let (message, code) = lacking(&host, &wrapping("@^1.1"));
    assert_eq!(code, "plugin-held");
    assert!(message.contains("`weft plugin approve acme/parcel 1.1.0`"), "{message}");
    let (_, code) = lacking(&host, &wrapping("@^3"));
    assert_eq!(code, Value::Null, "no version, held or not");
    // Its version is taken.
    host.api("POST", "/plugins", &asking(&parcel("1.1.0"), "run")).expect_problem(409, "version-taken");

    approve(&host, "1.1.0");
    approve(&host, "1.1.0");
    assert_eq!(host.get("/plugins")["held"], json!([]));
    assert_eq!(host.get("/plugins/acme/parcel")["grants"], json!({"kv": true}));
    host.apply(&wrapping("@^1.1"));
    assert_eq!(version_in_use(&host), "1.1.0");
    // What was approved once is no wider request the next time.
    add(&host, &asking(&parcel("2.0.0"), "kv"), 201, "usable");
    let host = Host::start_in(host.stop(), &[]);
    host.apply(&wrapping("@^2"));
    assert_eq!(version_in_use(&host), "2.0.0");

    host.api("POST", "/plugins/acme/parcel/approve", br#"{"version": "9.0.0"}"#).expect_problem(404, "not-found");
    let told: Vec<Value> = host.get("/audit?limit=500")["items"].as_array().unwrap().clone();
    let told: Vec<_> =
        told.iter().filter(|entry| entry["what"] == "plugin-approved" || !entry["details"]["held"].is_null()).collect();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert_eq!((&told[0]["who"], &told[0]["details"]["wider"]), (&json!("command line"), &json!(["kv"])));
    assert_eq!((&told[1]["what"], &told[1]["details"]["held"]), (&json!("plugin-added"), &json!(["kv"])));
    host.stop().expect_whole();
}

#[test]
fn a_version_that_asks_for_no_more_needs_nobody() {
    let host = Host::start();
    // A first version gets nothing without a grant.
    add(&host, &asking(&asking(&parcel("1.0.0"), "kv"), "http"), 201, "usable");
    add(&host, &asking(&parcel("1.1.0"), "http"), 201, "usable");
    host.apply(&wrapping(""));
    assert_eq!(version_in_use(&host), "1.1.0");
    // From the folder a wider one is held too.
    let wider = asking(&parcel("2.0.0"), "workflows");
    std::fs::write(host.data.path().join("plugins/parcel.wasm"), wider).unwrap();
    eventually("it is held", || host.get("/plugins")["held"][0]["wider"] == json!(["workflows"]));
    assert_eq!(host.get("/plugins")["refused"], json!([]));
    host.apply(&wrapping(""));
    assert_eq!(version_in_use(&host), "1.1.0");
}
