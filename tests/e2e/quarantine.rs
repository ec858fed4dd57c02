//! A plugin version that breaks again and again is called no more: its runs wait instead of failing, until somebody releases it.

use serde_json::{Value, json};

use crate::harness::{Host, eventually, workflow};

/// A host whose workflow `w` misbehaves as each run says, and whose plugin may break so often.
fn host_with_rogue(mode: &str, limits: &Value) -> Host {
    let host = Host::start();
    let rogue = host.add_bare_plugin("rogue");
    host.set_grants(&rogue, &json!({ "limits": limits }));
    let steps = json!([{"key": "a", "type": "acme/rogue/rogue", "config": {"way": "{{$context.data.way}}"}}]);
    host.apply(&workflow("w", &json!({ "mode": mode }), &steps));
    host
}

fn way(way: &str) -> Vec<u8> {
    json!({ "way": way }).to_string().into_bytes()
}

fn quarantine(host: &Host) -> Value {
    host.get("/plugins/acme/rogue")["quarantine"].clone()
}

#[test]
fn runs_of_a_plugin_that_breaks_again_and_again_wait_until_it_is_released() {
    let host = host_with_rogue("async", &json!({}));
    let run = |how: &str| host.start_run("w", &json!({"context": {"data": {"way": how}}}));
    let breaks = |times: usize| {
        for _ in 0..times {
            assert_eq!(host.ended(&run("panic"))["steps"][0]["failure"]["code"], "trapped");
        }
    };
    breaks(4);
    assert_eq!(host.ended(&run("print"))["status"], "succeeded");
    breaks(4);
    assert_eq!(quarantine(&host), Value::Null, "an answer begins the count anew");
    breaks(1);
    assert!(quarantine(&host).as_str().unwrap().contains("5 times in a row, the last time so: the plugin broke off"));

    // What would call it waits, is shown so, can be cancelled, and survives a crash.
    let waiting: Vec<String> = (0..3).map(|_| run("print")).collect();
    for id in &waiting {
        eventually("the run is held up", || host.run(id)["held_up_by"][0]["plugin"] == "acme/rogue");
        assert_eq!(host.run(id)["status"], "running");
    }
    let shown = String::from_utf8(host.cli(&["run", "show", &waiting[0]]).stdout).unwrap();
    assert!(shown.contains("held up   by acme/rogue 0.1.0, which is in quarantine"), "{shown}");
    let listed = String::from_utf8(host.cli(&["plugin", "list"]).stdout).unwrap();
    assert!(listed.contains("in quarantine: acme/rogue 0.1.0: it broke 5 times"), "{listed}");
    host.cli(&["run", "cancel", &waiting[2]]);
    assert_eq!(host.ended(&waiting[2])["status"], "aborted");
    eventually("it is stored", || {
        let log = host.log();
        log.contains("a plugin is in quarantine")
    });
    let host = Host::start_in(host.kill(), &[]);
    assert!(quarantine(&host).is_string(), "over a restart, too");
    let after = host.start_run("w", &json!({"context": {"data": {"way": "print"}}}));
    eventually("the run is held up", || host.run(&after)["held_up_by"][0]["plugin"] == "acme/rogue");
    assert!(host.run(&waiting[0])["ended_at"].is_null());
    host.api("POST", "/plugins/acme/rogue/release?version=9.9.9", b"").expect_problem(404, "not-found");

    let released = host.cli(&["plugin", "release", "acme/rogue"]);
    assert!(released.status.success(), "{}", String::from_utf8_lossy(&released.stderr));
    assert_eq!(host.ended(&after)["status"], "succeeded");
    host.api("POST", "/plugins/acme/rogue/release", b"").expect_problem(404, "not-found");
    let told = host.get("/audit?limit=2")["items"].clone();
    let told =
        [0, 1].map(|index| [&told[index]["who"], &told[index]["what"], &told[index]["on"]].map(|text| text.as_str().unwrap()));
    assert_eq!(told, [["command line", "plugin-released", "acme/rogue"], ["host", "plugin-quarantined", "acme/rogue"]]);
    let host = Host::start_in(host.kill(), &[]);
    assert_eq!(quarantine(&host), Value::Null);
}

#[test]
fn runs_that_were_held_up_before_a_restart_go_on_after_a_release() {
    let host = host_with_rogue("async", &json!({"breaks_in_a_row": 1}));
    let run = |host: &Host, how: &str| host.start_run("w", &json!({"context": {"data": {"way": how}}}));
    host.ended(&run(&host, "panic"));
    eventually("it is in quarantine", || quarantine(&host).is_string());
    let held = run(&host, "print");
    eventually("the run is held up", || host.run(&held)["held_up_by"].is_array());
    eventually("it is stored", || host.log().contains("a plugin is in quarantine"));
    let host = Host::start_in(host.kill(), &[]);
    host.api("POST", "/plugins/acme/rogue/release", b"");
    // It is parked until it looks by itself, in minutes: a release looks for it.
    assert_eq!(host.ended(&held)["status"], "succeeded");
}

#[test]
fn callers_hear_at_once_that_a_run_is_held_up_and_others_are_not_disturbed() {
    let host = host_with_rogue("sync", &json!({"breaks_in_a_row": 2}));
    host.apply(&workflow("neighbour", &json!({"mode": "sync"}), &json!([])));
    for _ in 0..2 {
        assert_eq!(host.hook("w", &way("panic")).status, 500);
    }
    let began = std::time::Instant::now();
    let answer = host.hook("w", &way("print"));
    assert!(began.elapsed().as_secs() < 10, "the caller of a run that is held up does not wait for it");
    answer.expect_problem(504, "held-up");
    assert!(!answer.headers.contains_key("retry-after"), "the run goes on, and needs no other");
    let held = host.newest_run();
    assert_eq!(host.hook("neighbour", b"{}").status, 200);
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(held["id"].as_str().unwrap()), "{detail}");
    // An operator hears more than a caller.
    let request = host.get("/workflows/w/requests")["items"][0].clone();
    assert_eq!(
        (&request["status"], &request["code"], &request["run"]),
        (&json!(504), &json!("held-up"), &held["id"]),
        "{request}"
    );
    let note = request["note"].as_str().unwrap();
    assert!(note.contains("acme/rogue") && note.contains("weft plugin release") && !detail.contains("acme/rogue"), "{note}");
    host.cli(&["plugin", "release", "acme/rogue@0.1.0"]);
    assert_eq!(host.ended(held["id"].as_str().unwrap())["status"], "succeeded");
    // Where an operator says so, nothing is too often.
    host.set_grants("acme/rogue", &json!({"limits": {"breaks_in_a_row": 0}}));
    for _ in 0..8 {
        host.hook("w", &way("panic"));
    }
    assert_eq!(quarantine(&host), Value::Null);
}
