//! Timers of triggers: each fires once, whatever happens to the host, in the order of one workflow, for the revision that is active.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Host, eventually, guest_path, now_ms, offline};

fn ticks(key: &str, config: &Value) -> Value {
    json!({"weft": 1, "key": key, "trigger": {"type": "acme/lab/ticks", "config": config}, "steps": []})
}

fn tell(host: &Host, key: &str, told: &Value) {
    let answer = host.hook(key, told.to_string().as_bytes());
    assert_eq!(answer.status, 204, "{}", String::from_utf8_lossy(&answer.body));
}

/// The contexts of a workflow's runs, oldest first.
fn fired(host: &Host, key: &str) -> Vec<Value> {
    let runs = host.all_runs(&format!("workflow={key}"));
    let contexts = runs.iter().rev().map(|run| host.run(run["id"].as_str().unwrap())["context"].clone());
    // One that is about to be stored is listed already.
    let mut contexts: Vec<Value> = contexts.filter(|context| !context.is_null()).collect();
    // Of several in one millisecond ids do not say which came first; how many runs there were before does.
    contexts.sort_by_key(|context| context["number"].as_u64());
    contexts
}

fn names(fired: &[Value]) -> Vec<&str> {
    fired.iter().map(|context| context["timer"].as_str().unwrap()).collect()
}

fn fires(host: &Host, key: &str) -> Value {
    host.get(&format!("/workflows/{key}/fires"))
}

#[test]
fn timers_are_set_moved_cleared_and_fire_in_their_order() {
    let host = Host::with_lab();
    host.apply(&ticks("w", &json!({"label": "one"})));
    let hour = 3_600_000_u64;
    // Past ones fire at once; what is far beyond 2^31 ms stays.
    let far =
        json!({"set": [{"id": "far", "in_ms": 100 * 24 * hour}, {"id": "gone", "in_ms": hour}, {"id": "moved", "in_ms": hour}]});
    tell(&host, "w", &far);
    let set = fires(&host, "w")["items"].clone();
    let listed: Vec<&str> = set.as_array().unwrap().iter().map(|fire| fire["timer"].as_str().unwrap()).collect();
    assert_eq!(listed.last(), Some(&"far"), "{set}");
    assert_eq!(listed.len(), 3);
    let past = now_ms() - 10_000;
    let set: Vec<Value> =
        ["c", "b", "a"].iter().enumerate().map(|(nth, id)| json!({"id": id, "at_ms": past - nth as u64 * 1_000})).collect();
    tell(&host, "w", &json!({"set": set, "clear": ["gone", "unknown"]}));
    tell(&host, "w", &json!({"set": [{"id": "moved", "in_ms": 300}]}));
    eventually("four timers fired", || fired(&host, "w").len() == 4);
    let all = fired(&host, "w");
    assert_eq!(names(&all), ["a", "b", "c", "moved"]);
    assert!(all[0]["late_ms"].as_u64().unwrap() >= 10_000 && all[0]["label"] == "one", "{all:?}");
    assert_eq!([0, 1, 2, 3].map(|nth| all[nth]["number"].as_u64().unwrap()), [0, 1, 2, 3], "one after the other");
    let left = fires(&host, "w");
    assert_eq!((&left["items"][0]["timer"], &left["items"][1]), (&json!("far"), &Value::Null));
    assert_eq!((&left["items"][0]["is_set"], &left["items"][0]["runs"]), (&json!(true), &json!(1)));
    // What cannot be set is said, and nothing of it is kept.
    let many: Vec<Value> = (0..1_001).map(|nth| json!({"id": nth.to_string(), "in_ms": hour})).collect();
    assert_eq!(host.hook("w", json!({ "set": many }).to_string().as_bytes()).status, 500);
    let long = json!({"set": [{"id": "x".repeat(300), "in_ms": hour}]});
    assert_eq!(host.hook("w", long.to_string().as_bytes()).status, 500);
    assert_eq!(fires(&host, "w")["items"].as_array().unwrap().len(), 1);
    host.stop().expect_whole();
}

#[test]
fn the_next_fires_are_asked_of_the_trigger_without_keeping_anything() {
    let host = Host::with_lab();
    host.apply(&ticks("w", &json!({"first_ms": 3_600_000, "does": "again"})));
    let next = fires(&host, "w");
    let items = next["items"].as_array().unwrap();
    assert_eq!(items.len(), 10);
    assert!(items[0]["is_set"] == true && items[1..].iter().all(|fire| fire["is_set"] == false && fire["runs"] == 1), "{next}");
    let seconds: Vec<i64> = items.iter().map(|fire| fire["at"].as_str().unwrap()[17..19].parse().unwrap()).collect();
    assert!(seconds.windows(2).all(|pair| (pair[1] - pair[0]).rem_euclid(60) == 1), "{seconds:?}");
    assert!(host.runs().is_empty());
    let told = String::from_utf8(host.cli(&["workflow", "next", "w", "--limit", "3"]).stdout).unwrap();
    assert_eq!(told.lines().filter(|line| line.contains("first")).count(), 3, "{told}");
    host.api("GET", "/workflows/w/fires?limit=101", b"").expect_problem(400, "invalid-request");
    host.api("GET", "/workflows/nobody/fires", b"").expect_problem(404, "not-found");
    // A trigger that fails says what it knows, and why no more.
    host.apply(&ticks("fails", &json!({"first_ms": 3_600_000, "does": "fail"})));
    let next = fires(&host, "fails");
    assert_eq!((next["items"].as_array().unwrap().len(), &next["stopped"]["code"]), (1, &json!("no-tick")));
}

#[test]
fn timers_pass_while_the_host_is_down_and_fire_once() {
    let host = Host::with_lab();
    host.apply(&ticks("w", &json!({})));
    host.apply(&ticks("neighbour", &json!({"first_ms": 0, "does": "again"})));
    let set: Vec<Value> =
        (0..40).map(|nth| json!({"id": format!("{nth:02}"), "in_ms": 100 + nth * 20, "does": "count"})).collect();
    tell(&host, "w", &json!({ "set": set }));
    let mut data = host.kill();
    for life in [60_u64, 150, 100, 250] {
        (data, _) = Host::start_and_kill(data, &[], Duration::from_millis(life));
    }
    let host = Host::start_in(data, &[]);
    eventually("all fired", || fired(&host, "w").len() >= 40);
    let (all, expected) = (fired(&host, "w"), (0..40).map(|nth| format!("{nth:02}")).collect::<Vec<_>>());
    assert_eq!(names(&all), expected, "each once, in order");
    eventually("the neighbour ticks", || fired(&host, "neighbour").len() >= 3);
    let ats: Vec<String> = fired(&host, "neighbour").iter().map(|context| context["at"].as_str().unwrap().to_owned()).collect();
    assert!(ats.windows(2).all(|pair| pair[0] < pair[1]), "each time once: {ats:?}");
    host.stop().expect_whole();
}

#[test]
fn another_revision_has_its_own_timers_and_a_pause_has_none() {
    let host = Host::with_lab();
    host.apply(&ticks("w", &json!({"first_ms": 3_600_000, "label": "old"})));
    tell(&host, "w", &json!({"set": [{"id": "extra", "in_ms": 3_000}]}));
    host.apply(&ticks("w", &json!({"first_ms": 4_000, "label": "new"})));
    assert_eq!(fires(&host, "w")["items"].as_array().unwrap().len(), 1, "those of the old revision are gone");
    eventually("the new one fired", || !fired(&host, "w").is_empty());
    assert_eq!(fired(&host, "w")[0]["label"], "new");
    tell(&host, "w", &json!({"set": [{"id": "a", "in_ms": 2_000}, {"id": "b", "in_ms": 2_100}]}));
    host.api("POST", "/workflows/w/pause", b"");
    assert_eq!(fires(&host, "w")["items"], json!([]));
    let host = Host::start_in(host.kill(), &[]);
    std::thread::sleep(Duration::from_millis(2_500));
    assert_eq!(fired(&host, "w").len(), 1, "what was set before the pause does not fire");
    assert_eq!(host.api("POST", "/workflows/w/activate", b"").status, 200);
    eventually("it fires again", || fired(&host, "w").len() == 2);
    host.stop().expect_whole();
}

#[test]
fn an_event_that_the_trigger_cannot_take_waits_for_an_operator() {
    let host = Host::with_lab();
    host.apply(&ticks("w", &json!({})));
    let past = now_ms() - 5_000;
    let set = json!({"set": [{"id": "a", "at_ms": past, "does": "fail"}, {"id": "b", "at_ms": past + 1, "does": "wait"}, {"id": "c", "at_ms": past + 2}]});
    tell(&host, "w", &set);
    eventually("the next one goes on", || fired(&host, "w").len() == 1);
    assert_eq!(names(&fired(&host, "w")), ["c"]);
    let host = Host::start_in(host.kill(), &[]);
    let aside = host.get("/workflows/w/set-aside")["items"].clone();
    let codes = [0, 1].map(|nth| [&aside[nth]["timer"], &aside[nth]["failure"]["code"]].map(|text| text.as_str().unwrap()));
    assert_eq!(codes, [["a", "no-tick"], ["b", "bad-answer"]]);
    let told = String::from_utf8(host.cli(&["workflow", "set-aside", "w"]).stdout).unwrap();
    assert!(told.contains("this timer fails (no-tick)"), "{told}");
    // Nobody has to look there to see it.
    let said = |arguments: &[&str]| String::from_utf8(host.cli(arguments).stdout).unwrap();
    assert_eq!(host.get("/workflows/w")["set_aside"], 2);
    assert_eq!(host.get("/workflows")["items"][0]["set_aside"], 2);
    assert_eq!(fires(&host, "w")["set_aside"], 2);
    for verb in ["show", "next"] {
        let told = said(&["workflow", verb, "w"]);
        assert!(told.contains("2 set aside") && told.contains("weft workflow set-aside w"), "{verb}: {told}");
        assert!(!told.contains("the workflow is paused"), "{verb}: {told}");
    }
    assert!(said(&["workflow", "list"]).contains("active, 2 set aside"));
    let number = |nth: usize| aside[nth]["number"].as_str().unwrap().to_owned();
    // It fails again, and stays.
    let path = format!("/workflows/w/set-aside/{}/retry", number(0));
    host.api("POST", &path, b"").expect_problem(422, "trigger-failed");
    assert_eq!(host.cli(&["workflow", "set-aside", "w", "--drop", &number(0)]).status.code(), Some(0));
    assert_eq!(host.cli(&["workflow", "set-aside", "w", "--drop", &number(0)]).status.code(), Some(4));
    host.api("POST", &path, b"").expect_problem(404, "not-found");
    let listed: Vec<String> = host.get("/audit?limit=3")["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| format!("{} {}", entry["who"].as_str().unwrap(), entry["what"].as_str().unwrap()))
        .collect();
    assert_eq!(listed, ["command line event-dropped", "host event-set-aside", "host event-set-aside"]);
    // An event for which the next revision has an answer starts its run.
    let fixed = json!({"weft": 1, "key": "w", "trigger": {"type": "acme/lab/ticks", "config": {"forgives": true}}, "steps": []});
    host.apply(&fixed);
    let retried = host.cli(&["workflow", "set-aside", "w", "--retry", &number(1), "--json"]);
    assert_eq!(serde_json::from_slice::<Value>(&retried.stdout).unwrap(), json!({"runs": 1}));
    assert_eq!(names(&fired(&host, "w")), ["c", "b"]);
    assert_eq!(host.get("/workflows/w/set-aside")["items"], json!([]));
    assert_eq!(host.get("/workflows/w")["set_aside"], Value::Null);
    host.stop().expect_whole();
}

#[test]
fn what_passes_holds_up_the_timers_behind_it() {
    let host = Host::with_lab();
    host.apply(&ticks("w", &json!({})));
    host.apply(&ticks("neighbour", &json!({})));
    let past = now_ms() - 5_000;
    tell(&host, "w", &json!({"set": [{"id": "a", "at_ms": past, "does": "busy"}, {"id": "b", "at_ms": past + 1}]}));
    eventually("it is tried again", || fires(&host, "w")["held"]["attempts"].as_u64() >= Some(2));
    assert_eq!(fires(&host, "w")["held"]["code"], "busy");
    tell(&host, "neighbour", &json!({"set": [{"id": "x", "in_ms": 0}]}));
    eventually("others are not held up", || fired(&host, "neighbour").len() == 1);
    assert!(fired(&host, "w").is_empty());
    tell(&host, "w", &json!({"calm": true}));
    eventually("both fired", || fired(&host, "w").len() == 2);
    assert_eq!(names(&fired(&host, "w")), ["a", "b"]);
    assert_eq!(fires(&host, "w")["held"], Value::Null);
}

#[test]
fn a_plugin_in_quarantine_parks_its_timers() {
    let host = Host::start();
    let lab = host.add_bare_plugin("lab");
    host.set_grants(&lab, &json!({"kv": true, "limits": {"breaks_in_a_row": 1}}));
    host.apply(&ticks("w", &json!({})));
    tell(&host, "w", &json!({"set": [{"id": "a", "in_ms": 0, "does": "panic"}]}));
    eventually("it is in quarantine", || fires(&host, "w")["held"]["code"] == "plugin-quarantined");
    // Over a restart, too; another revision has the timers dropped.
    eventually("it is stored", || host.log().contains("a plugin is in quarantine"));
    let host = Host::start_in(host.kill(), &[]);
    eventually("it is held up", || fires(&host, "w")["held"]["code"] == "plugin-quarantined");
    host.set_grants("acme/lab", &json!({"kv": true, "limits": {"breaks_in_a_row": 0}}));
    assert!(host.cli(&["plugin", "release", "acme/lab"]).status.success());
    eventually("it is tried at once", || fires(&host, "w")["held"]["code"] == "trigger-broke");
    assert_eq!(host.get("/workflows/w/set-aside")["items"], json!([]), "what breaks is not the event's fault for sure");
    tell(&host, "w", &json!({"clear": ["a"]}));
    eventually("nothing is held up", || fires(&host, "w")["items"] == json!([]));
}

#[test]
fn without_space_timers_wait() {
    let host = Host::with_lab();
    host.apply(&ticks("w", &json!({})));
    tell(&host, "w", &json!({"set": [{"id": "a", "in_ms": 2_000}]}));
    let host = Host::start_in(host.kill(), &[("WEFT_MIN_FREE_BYTES", "1000000000000000000")]);
    eventually("it is held up", || fires(&host, "w")["held"]["code"] == "no-space");
    let host = Host::start_in(host.kill(), &[]);
    eventually("it fires", || fired(&host, "w").len() == 1);
}

#[test]
fn a_revision_on_trial_has_its_share_of_timers() {
    let host = Host::with_lab();
    host.apply(&ticks("w", &json!({"label": "one"})));
    assert_eq!(host.publish(&ticks("w", &json!({"label": "two"}))).status, 201);
    assert_eq!(host.api("PUT", "/workflows/w/canary", br#"{"share_percent": 20, "runs_min": 1000}"#).status, 200);
    // Requests that set timers count, too: five of them and a hundred timers.
    for five in 0..5 {
        let set: Vec<Value> = (0..20).map(|nth| json!({"id": format!("{five}-{nth}"), "in_ms": 100})).collect();
        tell(&host, "w", &json!({ "set": set }));
    }
    eventually("all fired", || fired(&host, "w").len() == 100);
    let of_second = fired(&host, "w").iter().filter(|context| context["label"] == "two").count();
    assert!((16..=21).contains(&of_second), "{of_second} of 100");
    assert_eq!(host.get("/workflows/w")["canary"]["revision"], 2);
}

#[test]
fn an_export_has_timers_and_what_was_set_aside() {
    let host = Host::with_lab();
    host.apply(&ticks("w", &json!({})));
    tell(&host, "w", &json!({"set": [{"id": "a", "in_ms": 0, "does": "fail"}, {"id": "b", "in_ms": 3_600_000}]}));
    eventually("it is set aside", || host.get("/workflows/w/set-aside")["items"][0]["timer"] == "a");
    let data = host.stop();
    let file = data.path().join("export.jsonl");
    assert!(data.care(&["export", file.to_str().unwrap()]).status.success());
    let other = crate::harness::Data::new();
    std::fs::copy(data.path().join("master.key"), other.path().join("master.key")).unwrap();
    let imported = other.care(&["import", file.to_str().unwrap()]);
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    other.expect_whole();
    let host = Host::start_in(other, &[]);
    assert_eq!(fires(&host, "w")["items"][0]["timer"], "b");
    assert_eq!(host.get("/workflows/w/set-aside")["items"][0]["timer"], "a");
}

/// Ten thousand timers cost the start next to nothing, and no memory of their own.
#[test]
fn ten_thousand_timers_are_cheap() {
    let host = Host::with_lab();
    host.apply(&ticks("w", &json!({})));
    let host = Host::start_in(host.stop(), &[]);
    let before = crate::process::resident_kib(host.pid());
    for thousand in 0..10 {
        let set: Vec<Value> =
            (0..1_000).map(|nth| json!({"id": format!("{thousand}/{nth}"), "in_ms": 3_600_000 + nth})).collect();
        tell(&host, "w", &json!({ "set": set }));
    }
    let refused = host.hook("w", json!({"set": [{"id": "more", "in_ms": 3_600_000}]}).to_string().as_bytes());
    assert_eq!(refused.status, 500, "there is a bound");
    let data = host.stop();
    let began = std::time::Instant::now();
    let host = Host::start_in(data, &[]);
    let took = began.elapsed();
    let next = host.get("/workflows/w/fires?limit=100");
    assert_eq!(next["items"].as_array().unwrap().len(), 100);
    let after = crate::process::resident_kib(host.pid());
    println!("started in {took:?} with 10,000 timers; resident {after} KiB, without {before} KiB");
    assert!(after < before + (64 << 10), "{after} KiB, {before} before");
    // All go in one batch.
    let began = std::time::Instant::now();
    assert_eq!(host.api("POST", "/workflows/w/pause", b"").status, 200);
    println!("dropped in {:?}", began.elapsed());
    assert_eq!(fires(&host, "w")["items"], json!([]));
    host.stop().expect_whole();
}

#[test]
fn an_author_tries_a_timer_without_a_host() {
    let arguments =
        ["--trigger", "ticks", "--config", "{first_ms: 5000, does: again}", "--now", "2026-01-01T00:00:00Z", "--json"];
    let event = "{timer: {id: first, at: '2026-01-01T00:00:05Z', payload: again}}";
    let tried = offline(&[&["plugin", "test", &guest_path("lab")], &arguments[..], &["--input", event]].concat());
    let trial: Value = serde_json::from_slice(&tried.stdout).unwrap();
    let first = json!({"id": "first", "at": "2026-01-01T00:00:05.000Z", "payload": "again"});
    assert_eq!(trial["subscribes"][1]["timer"], first, "{trial:#}");
    assert_eq!(trial["reaction"]["start"][0]["context"]["timer"], "first");
    assert_eq!(trial["reaction"]["set_timers"][0]["at"], "2026-01-01T00:00:06.000Z");
}
