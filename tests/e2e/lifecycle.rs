//! Who uses a plugin, what goes when it is removed, and what never goes: what a run or an active workflow needs.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::harness::{Answer, Host, eventually, guest};
use crate::versions::{add, hold, version_of, versioned};

fn remove(host: &Host, version: u32, query: &str) -> Answer {
    host.api("DELETE", &format!("/plugins/acme/swap?version={}{query}", version_of(version).replace('+', "%2B")), b"")
}

fn versions(host: &Host) -> Vec<String> {
    let plugins = host.get("/plugins");
    let of = plugins["items"].as_array().unwrap().iter().filter(|plugin| plugin["name"] == "acme/swap");
    of.map(|plugin| plugin["version"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn detail(answer: &Answer, words: &[&str]) {
    let document = answer.json();
    let detail = document["detail"].as_str().unwrap();
    assert!(words.iter().all(|word| detail.contains(word)), "{detail}");
}

fn files(host: &Host, folder: &str) -> usize {
    std::fs::read_dir(host.data.path().join(folder)).unwrap().count()
}

#[test]
fn a_plugin_stays_while_a_run_or_an_active_revision_needs_it() {
    let host = Host::start();
    add(&host, 1000);
    host.apply(&hold("wait"));
    let run = host.start_run("wait", &json!({"context": {}}));
    host.step_is(&run, "hold", "waiting");
    let used = host.get("/plugins/acme/swap");
    let expected = json!([{"workflow": "wait", "revision": 1, "is_active": true, "unfinished_runs": 1}]);
    assert_eq!(used["used_by"], expected);
    let printed = String::from_utf8(host.cli(&["plugin", "inspect", "acme/swap"]).stdout).unwrap();
    assert!(printed.contains("used by  wait-00001, active, 1 unfinished runs"), "{printed}");

    for query in ["", "&inactive=true"] {
        let answer = remove(&host, 1000, query);
        answer.expect_problem(409, "plugin-in-use");
        detail(&answer, &["wait-00001 (active, 1 unfinished runs)"]);
    }
    // Another revision takes the place of the first one; the run still needs it.
    add(&host, 1001);
    assert_eq!(host.api("POST", "/workflows/wait/revisions", b"").status, 201);
    assert_eq!(host.api("POST", "/workflows/wait/activate", b"").status, 200);
    let answer = remove(&host, 1000, "&inactive=true");
    answer.expect_problem(409, "plugin-in-use");
    detail(&answer, &["wait-00001 (1 unfinished runs)"]);
    // The run ends on what it began with.
    host.api("POST", &format!("/runs/{run}/signals"), br#"{"name": "go", "payload": 1}"#);
    let ended = host.ended(&run);
    let said = json!({"before": version_of(1000), "after": version_of(1000)});
    assert_eq!((&ended["status"], &ended["steps"][0]["output"]), (&json!("succeeded"), &said));

    let answer = remove(&host, 1000, "");
    answer.expect_problem(409, "plugin-in-use");
    detail(&answer, &["wait-00001", "--inactive"]);
    let (blobs, compiled) = (files(&host, "blobs"), files(&host, "cache"));
    assert_eq!(remove(&host, 1000, "&inactive=true").json()["version"], json!(version_of(1000)));
    assert_eq!((files(&host, "blobs"), files(&host, "cache")), (blobs - 1, compiled - 1));
    assert_eq!(versions(&host), [version_of(1001)]);
    // What was pinned to it says so, also after a restart, and works again when the same component comes back.
    let host = Host::start_in(host.stop(), &[]);
    let again = |host: &Host| {
        let restored = host.api("POST", "/workflows/wait/restore", br#"{"revision": 1}"#);
        (restored, host.api("POST", &format!("/runs/{run}/rerun"), b"{}"))
    };
    let (restored, rerun) = again(&host);
    restored.expect_problem(409, "plugin-missing");
    rerun.expect_problem(409, "plugin-missing");
    let start = |revision: u32| host.api("POST", "/workflows/wait/runs", json!({"revision": revision}).to_string().as_bytes());
    start(1).expect_problem(409, "plugin-missing");
    assert_eq!(host.get(&format!("/runs/{run}"))["status"], "succeeded", "its history is still there");
    add(&host, 1000);
    let (restored, rerun) = again(&host);
    assert_eq!((restored.status, rerun.status), (200, 201));
    host.stop().expect_whole();
}

#[test]
fn with_the_last_version_go_grants_and_values() {
    let host = Host::start();
    host.add_plugin("lab");
    let count = json!([{"key": "count", "type": "acme/lab/count", "config": {"counter": "n"}}]);
    let definition =
        json!({"weft": 1, "key": "count", "trigger": {"type": "webhook", "config": {"mode": "async"}}, "steps": count});
    host.apply(&definition);
    assert_eq!(host.run_once("count", &json!({}))["steps"][0]["output"], 1);
    assert_eq!(host.run_once("count", &json!({}))["steps"][0]["output"], 2);
    let gone = host.cli(&["plugin", "remove", "acme/lab@0.1.0", "--inactive"]);
    assert_eq!(gone.status.code(), Some(5), "{}", String::from_utf8_lossy(&gone.stderr));
    host.api("POST", "/workflows/count/pause", b"");
    let gone = host.cli(&["plugin", "remove", "acme/lab@0.1.0", "--inactive"]);
    assert!(gone.status.success(), "{}", String::from_utf8_lossy(&gone.stderr));
    assert_eq!(host.add_bare_plugin("lab"), "acme/lab");
    assert_eq!(host.get("/plugins/acme/lab")["grants"], json!({}));
    let step = &host.run_once("count", &json!({}))["steps"][0];
    assert_eq!(step["failure"]["code"], "denied", "{step}");
    host.set_grants("acme/lab", &json!({"kv": true}));
    assert_eq!(host.run_once("count", &json!({}))["steps"][0]["output"], 1, "it begins with nothing");
}

#[test]
fn prune_takes_what_nothing_needs_and_leaves_the_newest() {
    let host = Host::start();
    for version in 1000..1004 {
        add(&host, version);
        host.apply(&versioned("v", "^1"));
    }
    add(&host, 1004);
    let prune = |arguments: &[&str]| {
        let done = host.cli(&[&["--json", "plugin", "prune"], arguments].concat());
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let removed: Value = serde_json::from_slice(&done.stdout).unwrap();
        let removed = removed["removed"].as_array().unwrap().clone();
        removed.iter().map(|plugin| plugin["version"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let inactive: Vec<String> = (1000..1003).map(version_of).collect();
    assert_eq!(prune(&[]), Vec::<String>::new(), "revisions are pinned to all but the newest");
    assert_eq!(prune(&["--inactive", "--dry-run"]), inactive);
    assert_eq!(versions(&host).len(), 5);
    assert_eq!(prune(&["--inactive"]), inactive);
    assert_eq!(versions(&host), [version_of(1003), version_of(1004)], "the active one and the newest");
    assert_eq!(host.hook("v", b"{}").json()["version"], json!(version_of(1003)));
    for built_in in ["weft/flow", "weft/http"] {
        host.api("DELETE", &format!("/plugins/{built_in}?version=0.1.0&inactive=true"), b"")
            .expect_problem(409, "plugin-built-in");
    }
    host.api("DELETE", "/plugins/acme/swap?version=9.0.0", b"").expect_problem(404, "not-found");
    host.api("DELETE", "/plugins/acme/swap", b"").expect_problem(400, "invalid-request");
}

#[test]
fn a_plugin_in_the_watched_folder_is_removed_with_its_file_only() {
    let host = Host::start();
    let file = host.data.path().join("plugins/greet.wasm");
    std::fs::write(&file, guest("greet")).unwrap();
    let inspect = || host.api("GET", "/plugins/acme/greet", b"").status;
    eventually("the plugin is there", || inspect() == 200);
    host.api("DELETE", "/plugins/acme/greet?version=0.1.0", b"").expect_problem(409, "plugin-in-folder");
    std::fs::remove_file(&file).unwrap();
    let gone = || host.api("DELETE", "/plugins/acme/greet?version=0.1.0", b"").status == 200;
    eventually("the host has seen that the file is gone", gone);
    assert_eq!(inspect(), 404);
}

/// Nothing of it is stored yet, and it comes to the plugin only after a while.
#[test]
fn a_plugin_stays_while_a_request_is_on_its_way_to_it() {
    let host = Host::start();
    add(&host, 1000);
    let lab = host.add_bare_plugin("lab");
    host.set_grants(&lab, &json!({"limits": {"cpu_ms": 4_000}}));
    let mut definition = versioned("v", "^1");
    let spin = json!({"key": "spin", "type": "acme/lab/spin", "config": {}, "on_failure": "continue"});
    definition["steps"].as_array_mut().unwrap().insert(0, spin);
    host.apply(&definition);
    add(&host, 1001);
    assert_eq!(host.api("POST", "/workflows/v/revisions", b"").status, 201);
    std::thread::scope(|scope| {
        let request = scope.spawn(|| host.hook("v", b"{}"));
        eventually("the run is under way", || !host.runs().is_empty());
        assert_eq!(host.api("POST", "/workflows/v/activate", b"").status, 200);
        remove(&host, 1000, "&inactive=true").expect_problem(409, "plugin-in-use");
        let answer = request.join().unwrap();
        assert_eq!((answer.status, &answer.json()["version"]), (200, &json!(version_of(1000))));
    });
    assert_eq!(remove(&host, 1000, "&inactive=true").status, 200);
}

#[test]
fn a_revision_on_trial_needs_its_plugin_like_the_active_one() {
    let host = Host::start();
    add(&host, 1000);
    host.apply(&versioned("v", "^1"));
    add(&host, 1001);
    host.api("POST", "/workflows/v/revisions", b"");
    let begun = host.api("PUT", "/workflows/v/canary", br#"{"share_percent": 10}"#);
    assert_eq!(begun.status, 200, "{}", String::from_utf8_lossy(&begun.body));
    let answer = remove(&host, 1001, "&inactive=true");
    answer.expect_problem(409, "plugin-in-use");
    detail(&answer, &["v-00002 (active)"]);
    // Nor does an upgrade end the trial.
    let moved = host.api("POST", "/plugins/acme/swap/upgrade", b"{}").json();
    assert_eq!((&moved["workflows"][0]["verdict"], &moved["workflows"][0].get("moved_to")), (&json!("stays"), &None));
    assert_eq!(host.get("/workflows/v")["active_revision"], 1);
}

/// One publishes again and again, another removes what it may at the same time: a revision never names a plugin that is not there.
#[test]
fn what_is_published_while_plugins_go_can_be_run() {
    let host = Host::start();
    add(&host, 1000);
    add(&host, 1001);
    host.apply(&versioned("v", "^1"));
    let (done, removed) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for version in [1000, 1001] {
                    let answer = remove(&host, version, "&inactive=true");
                    assert!([200, 404, 409].contains(&answer.status), "{}", String::from_utf8_lossy(&answer.body));
                    if answer.status == 200 {
                        removed.store(true, Ordering::Relaxed);
                        add(&host, version);
                    }
                }
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert_eq!(host.hook("v", b"{}").status, 200);
            }
        });
        for round in 0..60 {
            let to = version_of(1000 + round % 2);
            let definition = versioned("v", &format!("={}", to.split('+').next().unwrap()));
            host.api("PUT", "/workflows/v/draft", definition.to_string().as_bytes());
            let published = host.api("POST", "/workflows/v/revisions", b"");
            match published.status {
                200 | 201 => {
                    // It may be gone again, as long as nothing has made it active; then that is said.
                    let active = host.api("POST", "/workflows/v/activate", b"");
                    assert!([200, 409].contains(&active.status), "{}", String::from_utf8_lossy(&active.body));
                }
                422 => {}
                other => panic!("{other}: {}", String::from_utf8_lossy(&published.body)),
            }
            assert_eq!(host.hook("v", b"{}").status, 200, "what is active can be run");
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(removed.load(Ordering::Relaxed), "something was removed");
    host.stop().expect_whole();
}

/// A run whose plugin is gone (its file is damaged, say) can be cancelled, and nothing is wrong with the store then.
#[test]
fn a_run_whose_plugin_is_gone_can_be_cancelled() {
    let host = Host::start();
    add(&host, 1000);
    host.apply(&hold("wait"));
    let runs = [0, 1].map(|_| host.start_run("wait", &json!({"context": {}})));
    runs.iter().for_each(|run| drop(host.step_is(run, "hold", "waiting")));
    let digest = host.get("/plugins/acme/swap")["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
    let data = host.stop();
    let blob = data.path().join("blobs").join(digest);
    let component = std::fs::read(&blob).unwrap();
    std::fs::remove_file(&blob).unwrap();
    let host = Host::start_in(data, &[]);
    host.api("GET", "/plugins/acme/swap", b"").expect_problem(404, "not-found");
    host.api("POST", &format!("/runs/{}/signals", runs[1]), br#"{"name": "go", "payload": 1}"#);
    host.api("POST", &format!("/runs/{}/cancel", runs[0]), b"{}");
    assert_eq!(host.ended(&runs[0])["status"], "aborted");
    assert_eq!(host.run(&runs[1])["ended_at"], Value::Null, "the other one waits for its plugin");
    assert_eq!(host.api("POST", "/plugins", &component).status, 201);
    assert_eq!(host.ended(&runs[1])["status"], "succeeded");
    host.stop().expect_whole();
}
