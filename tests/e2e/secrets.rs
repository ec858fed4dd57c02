//! Secrets go in and never come out.

use serde_json::json;

use crate::harness::{Data, Host, workflow};

const CANARY: &str = "canary-5f0c3a7e-not-to-be-found";

#[test]
fn a_secret_is_nowhere_to_be_found() {
    let host = Host::start();
    host.set_secret("one", CANARY);
    let basic = json!({"mode": "sync", "basic": {"user": "u", "password": "{{$secrets.one}}"}});
    // A step that is given the token shows a name, not a value.
    let steps = json!([{"key": "a", "type": "data", "config": {"fields": {"secret": "{{$secrets.one}}", "text": "x {{$secrets.one}} y"}}},
        {"key": "b", "type": "response", "config": {"body": "{{$steps.a.result}}"}}]);
    host.apply(&workflow("w", &basic, &steps));
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("u:{CANARY}"));
    let headers = [("content-type", "application/json"), ("authorization", &*format!("Basic {encoded}"))];
    let answer = host.request("POST", "/hooks/w", &headers, b"{}");
    assert_eq!(answer.status, 200);
    let given = answer.json();
    let token = given["secret"].as_str().unwrap();
    assert!(token.starts_with("weft-secret-") && given["text"] == format!("x {token} y"), "{given}");
    let run = host.newest_run();
    assert_eq!(run["steps"][0]["input"]["fields"], json!({"secret": "{{$secrets.one}}", "text": "x {{$secrets.one}} y"}));

    let mut said = host.get("/secrets").to_string() + &run.to_string() + &host.get("/workflows/w/revisions/1").to_string();
    said += &String::from_utf8_lossy(&host.cli(&["secret", "list"]).stdout);
    said += &host.log();
    let data = host.stop();
    said += &String::from_utf8_lossy(&data.bytes());
    assert!(!said.contains(CANARY) && !said.contains(&encoded));
    assert!(said.contains("\"one\""), "the search sees what is there");
}

#[test]
fn a_token_is_worth_something_in_its_own_call_only() {
    let host = Host::start();
    host.set_secret("one", CANARY);
    let steps = json!([{"key": "a", "type": "response", "config": {"body": {"token": "{{$secrets.one}}"}}}]);
    host.apply(&workflow("leak", &json!({"mode": "sync"}), &steps));
    let token = host.hook("leak", b"{}").json()["token"].as_str().unwrap().to_owned();
    assert_ne!(host.hook("leak", b"{}").json()["token"], token.as_str(), "each call has its own");
    host.add_plugin("probe");
    let probe = |token: &str| {
        let steps = json!([{"key": "a", "type": "acme/probe/verify", "config": {"token": token, "candidate": CANARY}},
            {"key": "b", "type": "response", "config": {"body": {"result": "{{$steps.a.result}}"}}}]);
        host.apply(&workflow("verify", &json!({"mode": "sync"}), &steps));
        host.hook("verify", b"{}")
    };
    assert_eq!(probe("{{$secrets.one}}").json(), json!({"result": true}));
    probe(&token).expect_problem(500, "run-failed");
    let failure = host.newest_run()["steps"][0]["failure"].clone();
    assert_eq!(failure["code"], "denied");
    probe("{{$context.data.x:weft-secret-0}}").expect_problem(500, "run-failed");
}

#[test]
fn a_secret_can_be_changed_and_removed_while_it_is_used() {
    let host = Host::start();
    host.set_secret("one", "first");
    let basic = json!({"mode": "sync", "basic": {"user": "u", "password": "{{$secrets.one}}"}});
    host.apply(&workflow("w", &basic, &json!([])));
    let ask = |password: &str| {
        let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("u:{password}"));
        host.request("POST", "/hooks/w", &[("authorization", &format!("Basic {encoded}"))], b"").status
    };
    assert_eq!((ask("first"), ask("second")), (200, 401));
    let set = host.cli_with(&["secret", "set", "one"], b"second\n");
    assert_eq!(String::from_utf8_lossy(&set.stdout), "one: version 2\n");
    assert_eq!((ask("first"), ask("second")), (401, 200));
    // What an active revision names is taken away from it only by somebody who says so.
    host.api("DELETE", "/secrets/one", b"").expect_problem(409, "secret-in-use");
    let refused = host.cli(&["secret", "remove", "one"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("w-00001 at /trigger/config/basic/password") && said.contains("--force"), "{said}");
    assert_eq!(ask("second"), 200);
    host.set_secret("other", "nobody's");
    assert!(host.cli(&["secret", "remove", "other"]).status.success());
    assert!(host.cli(&["secret", "remove", "one", "--force"]).status.success());
    assert_eq!(ask("second"), 500, "the trigger cannot check what is not there");
}

#[test]
fn a_lost_master_key_is_not_replaced() {
    let host = Host::start();
    host.set_secret("one", CANARY);
    let put = json!({"kind": "http", "base_url": "https://erp.example", "auth": {"type": "bearer"}, "secret": CANARY});
    assert_eq!(host.api("PUT", "/connections/erp", put.to_string().as_bytes()).status, 200);
    let basic = json!({"mode": "sync", "basic": {"user": "u", "password": "{{$secrets.one}}"}});
    host.apply(&workflow("w", &basic, &json!([])));
    let ask = |host: &Host| {
        let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("u:{CANARY}"));
        host.request("POST", "/hooks/w", &[("authorization", &format!("Basic {encoded}"))], b"").status
    };
    assert_eq!(ask(&host), 200);
    let mut data: Data = host.stop();
    let (file, aside) = (data.path().join("master.key"), data.path().join("aside"));
    let exported = data.path().join("store.jsonl");
    let exported = exported.to_str().unwrap();
    assert!(data.care(&["export", exported]).status.success());
    let imported = Data::new();
    assert!(imported.care(&["import", exported]).status.success());

    let refused = |data: Data, environment: &[(&str, &str)], why: &str| {
        let Err(refused) = Host::try_start(data, environment) else { panic!("it started: {why}") };
        assert_eq!(refused.code, Some(1), "{}", refused.log);
        for said in [why, "master.key", "WEFT_MASTER_KEY", "--remove-lost-secrets"] {
            assert!(refused.log.contains(said), "{said}: {}", refused.log);
        }
        refused.data
    };
    std::fs::rename(&file, &aside).unwrap();
    data = refused(data, &[], "is not there");
    assert!(!file.exists(), "no other key is made");
    let imported = refused(imported, &[], "is not there");
    let other = "00".repeat(32);
    data = refused(data, &[("WEFT_MASTER_KEY", &other)], "is another one");
    std::fs::write(&file, &other).unwrap();
    data = refused(data, &[], "is another one");

    // The key is found again.
    std::fs::rename(&aside, &file).unwrap();
    let host = Host::start_in(data, &[]);
    assert_eq!(ask(&host), 200);
    drop(host);

    // It is lost for good.
    let host =
        Host::try_start_with(imported, &["--remove-lost-secrets"], &[]).unwrap_or_else(|refused| panic!("{}", refused.log));
    assert_eq!((host.get("/secrets")["items"].clone(), host.get("/connections")["items"].clone()), (json!([]), json!([])));
    let log = host.get("/audit")["items"].to_string();
    assert!(log.contains("secret-removed") && log.contains("connection-removed"), "{log}");
    host.set_secret("one", CANARY);
    let host = Host::start_in(host.stop(), &[]);
    assert_eq!(ask(&host), 200, "what is set anew is sealed with a key that stays");
}

#[test]
fn the_files_with_keys_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let host = Host::start();
    for name in ["admin-token", "master.key"] {
        let mode = std::fs::metadata(host.data.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let first = host.data.token();
    assert!(first.starts_with("weft_") && first.len() > 60);
    let host = Host::start_in(host.stop(), &[]);
    assert_eq!(host.data.token(), first);
}
