//! Every function that a plugin can import is called without a grant and with each: what is not granted answers `denied`. Which functions
//! there are is read from the contract, so that none is forgotten.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use wit_parser::{Resolve, WorldItem};

use crate::bombs::plugin;
use crate::harness::{Host, eventually, workflow};
use crate::server::Server;

/// What functions do only for the call and the run that imports them, and so need no grant.
const OWN: [&str; 8] = [
    "log.write",
    "progress.report",
    "variables.resolve",
    "variables.slice",
    "run.set-output",
    "run.set-result",
    "run.respond",
    "run.add-message",
];

/// Functions and the grant that each needs; those of `crypto` where the key is a secret.
const GRANTED: [(&str, &str); 10] = [
    ("http.send", "http"),
    ("kv.get", "kv"),
    ("kv.set", "kv"),
    ("kv.remove", "kv"),
    ("files.create", "files"),
    ("files.read", "files"),
    ("workflows.start", "workflows"),
    ("crypto.hmac", "secrets"),
    ("crypto.verify-hmac", "secrets"),
    ("crypto.verify-secret", "secrets"),
];

/// Interfaces of the contract that this host does not offer yet: a component that imports one is refused.
const NOT_OFFERED: [&str; 5] = ["records", "events", "sql", "mail", "people"];

fn wit() -> Resolve {
    let mut resolve = Resolve::default();
    resolve.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit")).unwrap();
    resolve
}

/// `interface.function` of everything that the contract lets a component import.
fn functions() -> Vec<String> {
    let resolve = wit();
    let (_, world) = resolve.worlds.iter().find(|(_, world)| world.name == "capabilities").unwrap();
    let mut functions = Vec::new();
    for import in world.imports.values() {
        let WorldItem::Interface { id, .. } = import else { panic!("the world imports more than interfaces") };
        let interface = &resolve.interfaces[*id];
        let name = interface.name.as_deref().unwrap();
        functions.extend(interface.functions.keys().map(|function| format!("{name}.{function}")));
    }
    functions
}

#[test]
fn every_import_needs_its_grant_and_no_other_opens_it() {
    for function in functions() {
        let interface = function.split('.').next().unwrap();
        let known = OWN.contains(&&*function)
            || NOT_OFFERED.contains(&interface)
            || GRANTED.iter().any(|(granted, _)| *granted == function);
        assert!(known, "`{function}` of the contract stands in no list of this test: does it need a grant?");
    }
    let (host, server) = (Host::start(), Server::start());
    host.set_secret("one", "s3cret-s3cret");
    host.apply(&workflow("other", &json!({"mode": "async"}), &json!([])));
    let caller = host.add_bare_plugin("caller");
    let grants = BTreeMap::from([
        ("http", json!({"http": [server.address()]})),
        ("kv", json!({"kv": true})),
        ("files", json!({"files": true})),
        ("workflows", json!({"workflows": ["other"]})),
        ("secrets", json!({"secrets": ["one"]})),
        // A way to a server by name, which needs no grant of `http`: nobody names one here.
        ("connections", json!({"connections": ["*"]})),
    ]);
    let mut uses: Vec<(&str, &str, &str)> = GRANTED.map(|(function, grant)| ("invoke", function, grant)).into();
    uses.push(("fetch", "wasi:http", "http"));
    let steps: Vec<Value> = (uses.iter().enumerate())
        .map(|(index, (node, function, _))| {
            let config = json!({"function": function, "url": server.url, "workflow": "other", "token": "{{$secrets.one}}"});
            json!({"key": format!("s{index}"), "type": format!("acme/caller/{node}"), "config": config, "on_failure": "continue"})
        })
        .collect();
    host.apply(&workflow("all", &json!({"mode": "async"}), &Value::Array(steps)));
    let none = json!({});
    for (granted, grant) in grants.iter().map(|(name, grant)| (*name, grant)).chain([("nothing", &none)]) {
        host.set_grants(&caller, grant);
        let run = host.run_once("all", &json!({}));
        for ((node, function, needed), step) in uses.iter().zip(run["steps"].as_array().unwrap()) {
            let told = format!("{function} with a grant of {granted}: {step:#}");
            match (*node, needed == &granted) {
                (_, true) => assert_eq!(step["status"], "succeeded", "{told}"),
                ("fetch", false) => {
                    // It is told in the words of WASI; why stands in the step's log.
                    assert!(
                        step["output"]["failed"][0].as_str().is_some_and(|error| error.contains("HttpRequestDenied")),
                        "{told}"
                    );
                    assert!(step["log"].to_string().contains("no grant lets this plugin send requests"), "{told}");
                }
                (_, false) => assert_eq!(step["failure"]["code"], "denied", "{told}"),
            }
        }
    }
    // What this host does not offer lets no component in that asks for it.
    for interface in NOT_OFFERED {
        let wasm = plugin(&format!("(import \"weft:plugin/{interface}@0.1.0\" (instance))"), "");
        let answer = host.api("POST", "/plugins", &wasm);
        answer.expect_problem(422, "plugin-refused");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(&format!("weft:plugin/{interface}")) && detail.contains("does not offer"), "{detail}");
    }
    assert_eq!(server.came().len(), 2, "http.send and wasi:http reached it where that was granted, and nobody else did");
}

#[test]
fn code_that_knows_only_wasi_sends_requests_the_way_of_http() {
    let (host, server) = (Host::start(), Server::start());
    server.echo();
    let caller = host.add_bare_plugin("caller");
    host.set_secret("api", "s3cret-s3cret");
    assert!(host.cli(&["secret", "allow", "api", server.address()]).status.success());
    let grants =
        json!({"http": [format!("GET,POST {}", server.address())], "secrets": ["send api"], "limits": {"http_calls": 6}});
    host.set_grants(&caller, &grants);
    let fetch = |config: Value| {
        host.apply(&workflow(
            "one",
            &json!({"mode": "async"}),
            &json!([{"key": "a", "type": "acme/caller/fetch", "config": config}]),
        ));
        host.run_once("one", &json!({}))["steps"][0].clone()
    };

    // Several at once: bodies in pieces, a secret filled in on the way, taken out of what comes back; one key each.
    let step = fetch(
        json!({"url": format!("{}/x", server.url), "times": 4, "method": "POST", "authorization": "Bearer {{$secrets.api}}",
        "body_bytes": 200_000}),
    );
    assert_eq!(step["output"]["sent"].as_array().unwrap().len(), 4, "{step:#}");
    assert!(!step.to_string().contains("s3cret"), "{step:#}");
    let came = server.came();
    assert!(came.iter().all(|came| came.head.contains("authorization: Bearer s3cret-s3cret") && came.body.len() == 200_000));
    let keys: std::collections::BTreeSet<&str> = came.iter().map(|came| came.key.as_str()).collect();
    assert_eq!(keys.len(), 4, "each request has an idempotency key of its own: {keys:?}");
    assert_eq!(step["used"]["http_calls"], 4, "{step:#}");
    assert!(
        step["used"]["bytes_out"].as_u64().unwrap() > 800_000 && step["used"]["bytes_in"].as_u64().unwrap() > 800_000,
        "{step:#}"
    );

    // Bounds and methods as for `http`.
    let step = fetch(json!({"url": server.url, "times": 9}));
    assert_eq!((step["output"]["sent"].as_array().unwrap().len(), step["output"]["failed"].as_array().unwrap().len()), (6, 3));
    let step = fetch(json!({"url": server.url, "method": "DELETE"}));
    assert!(step["log"].to_string().contains("send DELETE to"), "{step:#}");
    // Redirects are the client's own affair, which is checked again.
    server.redirect(302, "http://127.0.0.1:1/");
    let step = fetch(json!({"url": server.url}));
    assert_eq!(step["output"]["sent"][0]["status"], 302, "{step:#}");

    // What still goes on when the call answers is broken off.
    server.answer_with(200);
    server.hold(true);
    let step = fetch(json!({"url": server.url, "times": 3, "leaves": true}));
    assert_eq!(step["output"], json!({"waited": false}), "{step:#}");
    eventually("the requests end with their call", || server.under_way() == 0);
}
