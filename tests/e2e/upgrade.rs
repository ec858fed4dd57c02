//! What a version of a plugin would change, told before it does; and moving to it, as far as it fits.

use serde_json::{Value, json};

use crate::harness::{Host, guest, workflow};
use crate::versions::{add, component, hold, version_of, versioned};

/// Of each workflow in a plan, by its key: the verdict and the pointers of its problems.
fn verdicts(plan: &Value) -> Vec<(String, String, Vec<String>)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let of = |moved: &Value| {
        let problems = moved["problems"].as_array().cloned().unwrap_or_default();
        (text(&moved["workflow"]), text(&moved["verdict"]), problems.iter().map(|problem| text(&problem["pointer"])).collect())
    };
    plan["workflows"].as_array().unwrap().iter().map(of).collect()
}

fn row(workflow: &str, verdict: &str, problems: &[&str]) -> (String, String, Vec<String>) {
    (workflow.into(), verdict.into(), problems.iter().map(|problem| (*problem).into()).collect())
}

/// A workflow with both branches of a step.
fn picks(key: &str, requirement: &str) -> Value {
    let step = |key: &str| json!([{"key": key, "type": "data", "config": {"fields": {"x": 1}}}]);
    let pick = json!({"key": "pick", "type": format!("acme/swap/pick@{requirement}"), "config": {"side": "left"},
        "branches": {"left": step("l"), "right": step("r")}});
    workflow(key, &json!({"mode": "sync"}), &json!([pick]))
}

#[test]
fn what_breaks_is_said_before_it_does() {
    let host = Host::start();
    add(&host, 1000);
    let greet = host.add_bare_plugin("greet");
    host.apply(&versioned("bound", "^1"));
    host.apply(&versioned("open", "*"));
    host.apply(&picks("picks", ">=1"));
    host.apply(&hold("holds"));
    let other = json!([{"key": "g", "type": format!("{greet}/greet"), "config": {"name": "x"}}]);
    host.apply(&workflow("other", &json!({"mode": "sync"}), &other));

    // A newer version of the same: everybody moves.
    let plan = host.api("POST", "/plugins/plan", &component(1001)).json();
    assert_eq!(
        (&plan["plugin"]["version"], &plan["is_installed"], &plan["not_granted"]),
        (&json!(version_of(1001)), &json!(false), &json!([]))
    );
    let all = ["bound", "holds", "open", "picks"];
    assert_eq!(verdicts(&plan), all.map(|key| row(key, "moves", &[])));
    // The next major version, as a file: a setting is required, a result has lost a member, a branch and a type are gone.
    let compiled = || std::fs::read_dir(host.data.path().join("cache")).unwrap().count();
    let before = compiled();
    let plan = host.api("POST", "/plugins/plan", &guest("swap_next")).json();
    let result_gone = "/steps/1/config/body/note";
    let broken = [
        row("bound", "stays", &["/steps/0/config", result_gone]),
        row("holds", "breaks", &["/steps/0/type"]),
        row("open", "breaks", &["/steps/0/config", result_gone]),
        row("picks", "breaks", &["/steps/0/branches"]),
    ];
    assert_eq!(verdicts(&plan), broken);
    assert_eq!(plan["workflows"][0]["reason"], "`acme/swap/version@^1` takes ^1, which 2.0.0 is not");
    assert_eq!(plan["not_granted"], json!(["kv"]));
    // Nothing of it is kept.
    assert_eq!(compiled(), before);
    host.api("GET", "/plugins/acme/swap?version=2.0.0", b"").expect_problem(404, "not-found");
    assert_eq!(host.api("GET", "/plugins/acme/swap/plan?version=2.0.0", b"").status, 404);

    // Installed, it says the same; granted, it lacks nothing.
    assert_eq!(host.api("POST", "/plugins", &guest("swap_next")).status, 201);
    assert_eq!(host.api("POST", "/plugins/acme/swap/approve", br#"{"version": "2.0.0"}"#).status, 200);
    let plan = host.get("/plugins/acme/swap/plan");
    assert_eq!((verdicts(&plan), &plan["is_installed"]), (broken.to_vec(), &json!(true)));
    host.set_grants("acme/swap", &json!({"kv": true}));
    assert_eq!(host.get("/plugins/acme/swap/plan")["not_granted"], json!([]));
    // What is there already is where it leads only while nothing newer is.
    let plan = host.get(&format!("/plugins/acme/swap/plan?version={}", version_of(1000).replace('+', "%2B")));
    assert!(verdicts(&plan).iter().all(|(_, verdict, problems)| verdict == "current" && problems.is_empty()), "{plan:#}");

    let file = host.data.path().join("next.wasm");
    std::fs::write(&file, guest("swap_next")).unwrap();
    for plugin in [file.to_str().unwrap(), "acme/swap@2.0.0"] {
        let printed = host.cli(&["plugin", "plan", plugin]);
        let printed = String::from_utf8(printed.stdout).unwrap();
        for words in [
            "acme/swap 2.0.0",
            "bound",
            "takes ^1, which 2.0.0 is not",
            "holds /steps/0/type:",
            "has no node type `hold` any more",
        ] {
            assert!(printed.contains(words), "{words}: {printed}");
        }
    }
    host.api("POST", "/plugins/plan", b"no plugin").expect_problem(422, "plugin-refused");
}

#[test]
fn active_workflows_move_as_far_as_they_fit() {
    let host = Host::start();
    add(&host, 1000);
    host.apply(&versioned("bound", "^1"));
    host.apply(&versioned("exact", "=1.0.1000"));
    host.apply(&hold("holds"));
    host.apply(&versioned("paused", "^1"));
    host.api("POST", "/workflows/paused/pause", b"");
    let run = host.start_run("holds", &json!({"context": {}}));
    host.step_is(&run, "hold", "waiting");
    // A draft that somebody works on is left alone.
    let draft = workflow("bound", &json!({"mode": "sync"}), &json!([])).to_string();
    host.api("PUT", "/workflows/bound/draft", draft.as_bytes());
    add(&host, 1001);
    let upgrade = |arguments: &[&str]| -> Value {
        let done = host.cli(&[&["--json", "plugin", "upgrade", "acme/swap"], arguments].concat());
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice(&done.stdout).unwrap()
    };
    let said = || host.hook("bound", b"{}").json()["version"].clone();
    let moves = [row("bound", "moves", &[]), row("exact", "stays", &[]), row("holds", "moves", &[])];
    assert_eq!(verdicts(&upgrade(&["--dry-run"])), moves);
    assert_eq!(said(), json!(version_of(1000)));
    let moved = upgrade(&[]);
    assert_eq!(verdicts(&moved), moves);
    assert_eq!((&moved["workflows"][0]["moved_to"], &moved["workflows"][1].get("moved_to")), (&json!(2), &None));
    assert_eq!(said(), json!(version_of(1001)));
    assert_eq!(host.hook("exact", b"{}").json()["version"], json!(version_of(1000)));
    let revision = host.get("/workflows/bound/revisions")["items"][0].clone();
    assert_eq!(revision["message"], format!("acme/swap {} → {}", version_of(1000), version_of(1001)));
    assert_eq!(host.get("/workflows/paused")["latest_revision"], 1);
    assert_eq!(host.get("/workflows/bound/export")["steps"], json!([]), "the draft is as it was");
    // Again, there is nothing to do; and back to the older one is a move like another.
    let again: Vec<String> = verdicts(&upgrade(&[])).into_iter().map(|(_, verdict, _)| verdict).collect();
    assert_eq!(again, ["current", "stays", "current"]);
    upgrade(&["--to", &version_of(1000)]);
    assert_eq!(said(), json!(version_of(1000)));
    // A version that does not fit moves nobody, and says why.
    assert_eq!(host.api("POST", "/plugins", &guest("swap_next")).status, 201);
    assert_eq!(host.api("POST", "/plugins/acme/swap/approve", br#"{"version": "2.0.0"}"#).status, 200);
    host.apply(&versioned("open", ">=1.0.1000, <2.0.0"));
    host.api("PUT", "/workflows/bound/draft", versioned("bound", "*").to_string().as_bytes());
    host.api("POST", "/workflows/bound/revisions", b"").expect_problem(422, "invalid-workflow");
    let moved = upgrade(&[]);
    assert!(moved["workflows"].as_array().unwrap().iter().all(|moved| moved.get("moved_to").is_none()), "{moved:#}");
    // What was under way has not noticed.
    host.api("POST", &format!("/runs/{run}/signals"), br#"{"name": "go", "payload": 1}"#);
    let said = json!({"before": version_of(1000), "after": version_of(1000)});
    assert_eq!(host.ended(&run)["steps"][0]["output"], said);
    let unknown = host.cli(&["plugin", "upgrade", "acme/nothing"]);
    assert_eq!(unknown.status.code(), Some(4));
}
