//! Workflows that are started by name: `function`, `job`, `manual-start`.

use serde_json::json;

use crate::harness::Host;

#[test]
fn a_person_starts_a_run_and_what_is_given_is_checked() {
    let host = Host::start();
    host.apply_example("manual-start");
    let started = host.cli(&["run", "start", "manual-start", "--context", r#"{"order": "A-7", "amount": 12.5}"#, "--wait"]);
    assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
    let run = host.newest_run();
    assert_eq!(run["context"], json!({"order": "A-7", "reason": "other", "amount": 12.5}));
    assert_eq!((&run["steps"][0]["output"]["text"], &run["is_manual"]), (&json!("refund A-7: other"), &json!(true)));
    let wrong = json!({"context": {"reason": "bored", "colour": "red"}}).to_string();
    let refused = host.api("POST", "/workflows/manual-start/runs", wrong.as_bytes());
    refused.expect_problem(422, "not-started");
    let said = refused.json()["detail"].as_str().unwrap().to_owned();
    for part in ["`order` is missing", "`reason` is none of \"damaged\", \"late\", \"other\"", "no parameter `colour`"] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(host.runs().len(), 1);
}

#[test]
fn parameters_that_contradict_themselves_are_refused() {
    let host = Host::start();
    let parameters = json!([{"name": "a", "type": "boolean", "default": "yes"}, {"name": "a"}, {"name": "not good"}]);
    let publish = |parameters: &serde_json::Value| {
        let definition = json!({"weft": 1, "key": "p", "trigger": {"type": "manual-start", "config": {"parameters": parameters}}, "steps": []});
        host.api("PUT", "/workflows/p/draft", definition.to_string().as_bytes());
        let answer = host.api("POST", "/workflows/p/revisions", b"").json();
        let errors = answer["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(publish(&parameters), ["/trigger/config/parameters/2/name"], "its schema comes first");
    let parameters = json!([{"name": "a", "type": "boolean", "default": "yes"}, {"name": "a"}]);
    assert_eq!(publish(&parameters), ["/trigger/config/parameters/0/default", "/trigger/config/parameters/1/name"]);
}
