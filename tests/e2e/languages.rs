//! Plugins that know nothing of the SDK: in C against wasi-libc and plain WASI 0.2, and in JavaScript.

use serde_json::{Value, json};

use crate::harness::{Host, guest_path, offline, repository, workflow};

/// A workflow that hands the text of a request to a step.
fn flow(kind: &str) -> Value {
    let step = json!({"key": "step", "type": kind, "config": {"text": "{{$context.data.text}}"}});
    // What it looks up itself it finds in the run's context.
    let answer = json!({"key": "answer", "type": "response", "config": {"body": {"got": "{{$steps.step.result}}"}}});
    workflow("flow", &json!({"mode": "sync"}), &json!([step, answer]))
}

fn carries_out_steps(guest: &str, kind: &str, text: &str, result: &Value, line: &str, failure: &str) {
    let host = Host::start();
    // It asks for nothing that needs a grant, and gets none.
    host.add_bare_plugin(guest);
    host.apply(&flow(kind));
    let answer = host.hook("flow", json!({"text": text}).to_string().as_bytes());
    assert_eq!(answer.json(), json!({"got": result}), "{}", host.newest_run());
    let run = host.run(host.newest_run()["id"].as_str().unwrap());
    assert!(run["steps"][0]["log"].to_string().contains(line), "{run:#}");
    // What it cannot use is a failure of its step, by its own word, and the next call is as good as any.
    let answer = host.hook("flow", br#"{"text": 7}"#);
    assert_eq!(answer.status, 500);
    assert_eq!(host.newest_run()["steps"][0]["failure"]["code"], failure);
    assert_eq!(host.hook("flow", json!({"text": text}).to_string().as_bytes()).status, 200);
}

#[test]
fn a_plugin_in_c_carries_out_steps() {
    carries_out_steps(
        "counter",
        "acme/counter/count",
        "hé",
        &json!({"letters": 2, "whom": null}),
        "counted 2 letters",
        "invalid-config",
    );
}

#[test]
fn a_plugin_in_javascript_carries_out_steps() {
    carries_out_steps(
        "shout",
        "acme/shout/shout",
        "hé",
        &json!({"text": "HÉ", "whom": null}),
        "shouting 1 times",
        "invalid-config",
    );
}

/// Odd inputs and golden cases, as their authors would check them.
#[test]
fn both_pass_the_check_for_authors() {
    for (guest, folder, name) in [("counter", "c", "acme/counter"), ("shout", "js", "acme/shout")] {
        let cases = repository().join("tests/guests").join(folder).join("cases");
        let checked = offline(&["plugin", "check", &guest_path(guest), "--golden", cases.to_str().unwrap(), "--json"]);
        let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
        assert!(checked.status.success() && report["passed"] == true, "{report:#}");
        assert_eq!(report["name"], name);
        let rows: Vec<&Value> = report["checks"].as_array().unwrap().iter().collect();
        let count = |prefix: &str| rows.iter().filter(|row| row["check"].as_str().unwrap().starts_with(prefix)).count();
        assert!(count("case: ") >= 3 && count("endures: ") == 1, "{report:#}");
    }
}
