//! `weft store`, and what is deleted by itself: what an operator does with a data folder.

use serde_json::{Value, json};

use crate::harness::{Data, Host, eventually, lab, workflow};

/// A folder with everything in it: a secret, a plugin, runs that ended, one that sleeps and one that a person is asked by.
fn full() -> (Data, Vec<Value>) {
    let host = Host::start();
    host.add_plugin("lab");
    host.set_secret("github", "hush");
    let steps = json!([{"key": "note", "type": "data", "config": {"fields": {"text": "{{$context.data.text}}"}}}]);
    host.apply(&workflow("notes", &json!({"mode": "sync"}), &steps));
    for bytes in [10, 20_000, 300_000] {
        assert_eq!(host.hook("notes", json!({"text": "x".repeat(bytes)}).to_string().as_bytes()).status, 200);
    }
    host.apply(&lab("naps", &json!([{"key": "nap", "type": "sleep", "config": {"ms": 4_000}}])));
    let nap = host.start_run("naps", &json!({}));
    host.step_is(&nap, "nap", "waiting");
    host.apply(&lab("asks", &json!([{"key": "ask", "type": "ask", "config": {"users": ["ada"]}}])));
    let ask = host.start_run("asks", &json!({}));
    host.step_is(&ask, "ask", "waiting");
    let runs = host.runs().iter().map(|run| host.run(run["id"].as_str().unwrap())).collect();
    (host.stop(), runs)
}

#[test]
fn a_store_goes_through_a_file_into_a_new_folder_and_goes_on_there() {
    let (data, runs) = full();
    let file = data.path().join("store.jsonl");
    let file = file.to_str().unwrap();
    let exported = data.care(&["export", file]);
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    assert!(String::from_utf8_lossy(&exported.stdout).contains("master.key"));
    assert!(!std::fs::read_to_string(file).unwrap().contains("hush"));

    let other = Data::new();
    assert!(other.care(&["import", file]).status.success());
    std::fs::copy(data.path().join("master.key"), other.path().join("master.key")).unwrap();
    other.expect_whole();
    // Not into a folder that has a store, and not from a file that is damaged.
    let again = other.care(&["import", file]);
    assert_eq!(again.status.code(), Some(1), "{}", String::from_utf8_lossy(&again.stderr));
    let text = std::fs::read_to_string(file).unwrap();
    let damaged = data.path().join("damaged.jsonl");
    for wrong in [text.replacen("\"value\":\"A", "\"value\":\"B", 1), text[..text.len() / 2].into(), "{}".into(), String::new()] {
        std::fs::write(&damaged, &wrong).unwrap();
        let third = Data::new();
        let refused = third.care(&["import", damaged.to_str().unwrap()]);
        assert_eq!(refused.status.code(), Some(1), "{}", String::from_utf8_lossy(&refused.stderr));
        Host::start_in(third, &[]).stop().expect_whole();
    }

    let host = Host::start_in(other, &[]);
    let ids: Vec<&str> = runs.iter().map(|run| run["id"].as_str().unwrap()).collect();
    for (run, id) in runs.iter().zip(&ids).filter(|(run, _)| run["ended_at"].is_string()) {
        assert_eq!(host.run(id), *run);
    }
    assert!(host.get("/plugins/weft/http")["used"]["calls"].as_u64() >= Some(3), "what the plugin took came along");
    assert_eq!(host.get("/secrets")["items"].as_array().unwrap().len(), 1);
    assert_eq!(host.ended(ids[1])["status"], "succeeded", "it sleeps on, and wakes");
    let act = json!({"step": "ask", "task": "question", "user": "ada", "action": "yes", "values": {"amount": 5}});
    assert_eq!(host.api("POST", &format!("/runs/{}/tasks", ids[0]), act.to_string().as_bytes()).status, 202);
    assert_eq!(host.ended(ids[0])["status"], "succeeded");
    assert_eq!(host.hook("notes", br#"{"text": "more"}"#).status, 200);
    assert_eq!(host.get("/runs?workflow=notes")["items"].as_array().unwrap().len(), 4);
    assert_eq!(host.get("/workflows/notes")["runs_started"], 4);
}

#[test]
fn nobody_touches_the_store_of_a_running_host() {
    let host = Host::start();
    for verb in [&["verify"][..], &["compact"], &["export", "/dev/null"], &["import", "/dev/null"]] {
        let refused = host.data.care(verb);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{verb:?}: {said}");
        assert!(said.contains("another process has"), "{verb:?}: {said}");
    }
    assert_eq!(host.get("/runs")["items"], json!([]));
}

#[test]
fn what_is_damaged_is_found_and_named() {
    let (data, _) = full();
    data.expect_whole();
    // A value that is kept as a file.
    let files = std::fs::read_dir(data.path().join("blobs")).unwrap().map(|entry| entry.unwrap().path());
    let (file, mut bytes) = files
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .find(|(_, bytes)| bytes.windows(100).any(|part| part == [b'x'; 100]))
        .unwrap();
    bytes[1_000] ^= 1;
    std::fs::write(file, bytes).unwrap();
    let verified = data.care(&["verify", "--json"]);
    assert_eq!(verified.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert!(report["problems_found"].as_u64() > Some(0), "{report:#}");
    assert!(report["problems"][0]["remedy"].is_string());
    // The rest can be read: the host starts, and says what it cannot show.
    let host = Host::start_in(data, &[]);
    assert_eq!(host.get("/runs")["items"].as_array().unwrap().len(), 5);
    assert_eq!(host.hook("notes", br#"{"text": "more"}"#).status, 200);
}

#[test]
fn space_of_deleted_runs_comes_back() {
    let host = Host::start();
    let steps = json!([{"key": "note", "type": "data", "config": {"fields": {"text": "{{$context.data.text}}"}}}]);
    host.apply(&workflow("notes", &json!({"mode": "sync"}), &steps));
    let send = |host: &Host, n: usize| {
        let text: String = (0..2_000).map(|index| format!("{:016x}", (n * 2_000 + index) as u64 * 0x9e37_79b9)).collect();
        assert_eq!(host.hook("notes", json!({"text": text}).to_string().as_bytes()).status, 200);
    };
    (0..400).for_each(|n| send(&host, n));
    // Whoever keeps ten runs, has ten soon after the start, the newest.
    let newest: Vec<Value> = host.runs()[..10].iter().map(|run| run["id"].clone()).collect();
    let host = Host::start_in(host.stop(), &[("WEFT_HISTORY_RUNS", "10")]);
    eventually("ten runs are left", || host.runs().len() == 10);
    assert_eq!(host.runs().iter().map(|run| run["id"].clone()).collect::<Vec<_>>(), newest);
    let data = host.stop();
    let on_disk = || {
        let files = std::fs::read_dir(data.path().join("store")).unwrap();
        files.map(|entry| entry.unwrap().metadata().unwrap().len()).sum::<u64>()
    };
    let before = on_disk();
    let compacted = data.care(&["compact"]);
    assert!(compacted.status.success(), "{}", String::from_utf8_lossy(&compacted.stderr));
    let after = on_disk();
    println!("{before} bytes, then {after}");
    assert!(after * 3 < before, "{before} bytes, then {after}");
    data.expect_whole();
    let host = Host::start_in(data, &[]);
    assert_eq!(host.runs().iter().map(|run| run["id"].clone()).collect::<Vec<_>>(), newest);
    send(&host, 401);
    assert_eq!(host.runs().len(), 11);
}

#[test]
fn a_workflow_says_how_long_its_runs_are_kept() {
    let host = Host::start();
    host.add_plugin("lab");
    let keep = |key: &str, options: Value| {
        let trigger = json!({"type": "webhook", "config": {"mode": "sync"}});
        let steps = json!([{"key": "check", "type": "condition", "config": {"left": "{{$context.data.ok}}", "operator": "equal",
            "right": true}, "branches": {"yes": [], "no": [{"key": "fail", "type": "acme/lab/fail"}]}}]);
        host.apply(&json!({"weft": 1, "key": key, "trigger": trigger, "steps": steps, "options": options}));
        for n in 0..6 {
            host.hook(key, json!({"ok": n % 2 == 0}).to_string().as_bytes());
        }
    };
    keep("all", json!({}));
    keep("three", json!({"history": {"runs": 3}}));
    keep("failures", json!({"history": {"delete_on": ["succeeded"]}}));
    let of = |host: &Host, key: &str| {
        let runs = host.get(&format!("/runs?workflow={key}"))["items"].as_array().unwrap().clone();
        runs.iter().map(|run| run["status"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of(&host, "failures"), ["error", "error", "error"]);
    let host = Host::start_in(host.stop(), &[]);
    eventually("three are left", || of(&host, "three").len() == 3);
    assert_eq!(of(&host, "all").len(), 6);
}
