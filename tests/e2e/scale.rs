//! Much of everything: runs that stand in a queue or sleep, rounds of a loop, bytes, nesting. `WEFT_SCALE_RUNS` asks for more
//! runs than the short form.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Host, eventually, lab, workflow};
use crate::load::setting;
use crate::server::Server;

fn with_plugins() -> Host {
    let host = Host::with_lab();
    host.add_plugin("probe");
    host
}

/// A workflow whose one request starts many runs.
fn many(steps: &Value, options: &Value) -> Value {
    let trigger = json!({"type": "acme/probe/probe", "config": {"mode": "async"}});
    json!({"weft": 1, "key": "many", "trigger": trigger, "steps": steps, "options": options})
}

fn start_many(host: &Host, runs: u64) {
    std::thread::scope(|scope| {
        for client in 0..4 {
            scope.spawn(move || {
                for _ in (client..runs / 100).step_by(4) {
                    assert_eq!(host.hook("many?starts=100", b"").status, 202);
                }
            });
        }
    });
    assert_eq!(host.get("/workflows/many")["runs_started"], runs);
}

/// Waits until every run has ended, and checks that all did so well.
fn all_succeed(host: &Host, runs: u64) {
    let is_empty = |status: &str| host.get(&format!("/runs?status={status}&limit=1"))["items"] == json!([]);
    let began = Instant::now();
    while !(is_empty("queued") && is_empty("running")) {
        assert!(began.elapsed() < Duration::from_secs(300), "runs go on");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(count(host, "succeeded"), runs);
}

fn count(host: &Host, status: &str) -> u64 {
    host.all_runs(&format!("workflow=many&status={status}")).len() as u64
}

/// A line of the process's status that gives KiB.
fn kib(host: &Host, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.pid())).unwrap();
    let value = status.lines().find_map(|known| known.strip_prefix(line)).unwrap();
    value.trim_start_matches(':').split_whitespace().next().unwrap().parse().unwrap()
}

/// Runs that wait are in the store, which keeps a bounded part of itself in memory: its engine takes four times its cache.
#[track_caller]
fn expect_flat(host: &Host, before_kib: u64, runs: u64, what: &str) {
    let grown = kib(host, "VmRSS").saturating_sub(before_kib) / 1024;
    println!("{grown} MiB of memory more, while {runs} runs {what}");
    assert!(grown < 320, "{grown} MiB of memory more");
}

#[test]
fn many_runs_stand_in_a_queue_and_survive_kill_9() {
    let runs = setting("WEFT_SCALE_RUNS", 10_000);
    let (host, server) = (with_plugins(), Server::start());
    host.grant("acme/lab", &server.url);
    server.hold(true);
    let send = json!([{"key": "send", "type": "acme/lab/send", "config": {"url": server.url}}]);
    host.apply(&many(&send, &json!({"concurrency": 16})));
    let before = kib(&host, "VmRSS");
    start_many(&host, runs);
    eventually("as many as may are under way", || server.came().len() == 16);
    assert_eq!(count(&host, "queued"), runs - 16);
    expect_flat(&host, before, runs, "stand in a queue");
    let host = Host::start_in(host.kill(), &[]);
    server.hold(false);
    eventually("some have ended", || server.came().len() > 1_000);
    let host = Host::start_in(host.kill(), &[]);
    all_succeed(&host, runs);
    let keys: std::collections::BTreeSet<String> = server.came().into_iter().map(|came| came.key).collect();
    assert_eq!(keys.len() as u64, runs, "each sent its own request");
}

#[test]
fn many_runs_sleep_wake_together_and_go_on_after_a_restart() {
    let runs = setting("WEFT_SCALE_RUNS", 10_000);
    let host = with_plugins();
    let asleep = Duration::from_secs(10 + runs / 1_000);
    host.apply(&many(
        &json!([{"key": "nap", "type": "acme/lab/sleep", "config": {"ms": asleep.as_millis() as u64}}]),
        &json!({}),
    ));
    let before = kib(&host, "VmRSS");
    start_many(&host, runs);
    let last = Instant::now();
    let sleeps = |run: &Value| run["wakes_at"].is_string();
    eventually("they sleep", || host.get("/runs?limit=500")["items"].as_array().unwrap().iter().all(sleeps));
    expect_flat(&host, before, runs, "sleep");
    let data = host.kill();
    std::thread::sleep(asleep.saturating_sub(last.elapsed()));
    let began = Instant::now();
    let host = Host::start_in(data, &[]);
    all_succeed(&host, runs);
    println!("{runs} runs were late and ended {} ms after the start", began.elapsed().as_millis());
}

#[test]
fn a_loop_of_ten_thousand_rounds_takes_the_memory_of_one_of_a_thousand() {
    let peak = |rounds: u32| {
        let host = with_plugins();
        let steps = json!([{"key": "each", "type": "each", "config": {"rounds": rounds}, "branches": {"do": [
            {"key": "note", "type": "data", "config": {"fields": {"round": "{{$scopes.each.index}}"}}}]}}]);
        host.apply(&lab("loop", &steps));
        let id = host.start_run("loop", &json!({}));
        eventually("it has ended", || host.get("/runs?status=succeeded")["items"][0]["id"] == id);
        (kib(&host, "VmHWM"), host, id)
    };
    let (thousand, _, _) = peak(1_000);
    let (ten_thousand, host, id) = peak(10_000);
    println!("peak of 1,000 rounds {thousand} KiB, of 10,000 rounds {ten_thousand} KiB");
    assert!(ten_thousand < thousand + 24 * 1024, "{thousand} KiB, then {ten_thousand} KiB");
    let run = host.run(&id);
    let steps = run["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 10_001);
    let last = steps.iter().find(|step| step["path"] == "each/9999/note");
    assert_eq!(last.unwrap_or_else(|| panic!("{:#}", steps[10_000]))["output"], json!({"round": 9_999}));
}

#[test]
fn the_steps_of_a_long_run_are_shown_a_page_at_a_time() {
    let host = with_plugins();
    let steps = json!([{"key": "each", "type": "each", "config": {"rounds": 1_500}, "branches": {"do": [
        {"key": "note", "type": "data", "config": {"fields": {"round": "{{$scopes.each.index}}"}}}]}}]);
    host.apply(&lab("loop", &steps));
    let id = host.start_run("loop", &json!({}));
    eventually("it has ended", || host.get("/runs?status=succeeded")["items"][0]["id"] == id);
    let page = |query: &str| {
        let run = host.get(&format!("/runs/{id}{query}"));
        let steps = run["steps"].as_array().unwrap();
        let paths = [steps.first(), steps.last()].map(|step| step.map(|step| step["path"].as_str().unwrap().to_owned()));
        (steps.len(), paths, run["next"].as_str().map(ToOwned::to_owned))
    };
    let named = |first: &str, last: &str| [Some(first.to_owned()), Some(last.to_owned())];
    assert_eq!(page(""), (1_000, named("each", "each/998/note"), Some("1000".into())));
    assert_eq!(page("?after=1000"), (501, named("each/999/note", "each/1499/note"), None));
    assert_eq!(page("?after=3&limit=2"), (2, named("each/2/note", "each/3/note"), Some("5".into())));
    assert_eq!(page("?after=1501"), (0, [None, None], None));
    for query in ["limit=0", "limit=1001", "after=-1", "before=1"] {
        assert_eq!(host.api("GET", &format!("/runs/{id}?{query}"), b"").status, 400, "{query}");
    }
    let shown = |arguments: &[&str]| String::from_utf8(host.cli(&[&["run", "show", &id], arguments].concat()).stdout).unwrap();
    let (first, last) = (shown(&[]), shown(&["--after", "1000"]));
    assert!(first.contains("each/998/note") && first.ends_with("more: --after 1000\n"), "{first}");
    assert!(last.contains("each/1499/note") && !last.contains("more:"), "{last}");
}

#[test]
fn a_loop_over_ten_thousand_items_takes_the_memory_of_one_over_a_thousand() {
    let peak = |items: u32| {
        let host = Host::start();
        let steps = json!([
            {"key": "each", "type": "loop", "config": {"target": "{{$context.items}}"}, "branches": {"do": [
                {"key": "note", "type": "data", "config": {"fields": {"item": "{{$scopes.each.item.n}}"}}}]}},
            {"key": "out", "type": "output", "config": {"value": "{{$steps.each.result}}"}}]);
        host.apply(&json!({"weft": 1, "key": "loop", "trigger": {"type": "manual-start"}, "steps": steps}));
        let list: Vec<Value> = (0..items).map(|n| json!({"n": n, "text": "an item of a list"})).collect();
        let began = Instant::now();
        let id = host.start_run("loop", &json!({"context": {"items": list}}));
        eventually("it has ended", || host.get("/runs?status=succeeded")["items"][0]["id"] == id);
        println!("{items} rounds took {} ms", began.elapsed().as_millis());
        (kib(&host, "VmHWM"), host, id)
    };
    let (thousand, _, _) = peak(1_000);
    let (ten_thousand, host, id) = peak(10_000);
    println!("peak over 1,000 items {thousand} KiB, over 10,000 items {ten_thousand} KiB");
    // The list itself is there as text and as values: some 5 MiB of ten thousand items.
    assert!(ten_thousand < thousand + 32 * 1024, "{thousand} KiB, then {ten_thousand} KiB");
    let run = host.run(&id);
    assert_eq!((&run["output"], run["steps"].as_array().unwrap().len()), (&json!({"looped": 10_000, "done": true}), 10_002));
    let last = run["steps"].as_array().unwrap().iter().find(|step| step["path"] == "each/9999/note").unwrap();
    assert_eq!(last["output"], json!({"item": 9_999}));
}

#[test]
fn a_payload_of_a_mebibyte_goes_through_and_comes_back() {
    let host = with_plugins();
    let echo = |waits: &Value| {
        let mut steps = vec![json!({"key": "note", "type": "data", "config": {"fields": {"text": "{{$context.data.text}}"}}})];
        steps.extend(waits.as_array().unwrap().iter().cloned());
        steps.push(json!({"key": "out", "type": "acme/lab/out", "config": {"value": "{{$steps.note.result.text}}"}}));
        steps
    };
    // Of its own, so that it is more than a value of the store's engine and than a page.
    let text: String =
        (0..1_048_000 / 16).map(|n| format!("{:016x}", u64::from(n as u32).wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let body = json!({"text": text}).to_string();
    assert!(body.len() <= 1024 * 1024);
    let mut steps = echo(&json!([]));
    steps.push(json!({"key": "answer", "type": "response", "config": {"body": "{{$steps.note.result.text}}"}}));
    host.apply(&workflow("now", &json!({"mode": "sync"}), &json!(steps)));
    let nap = json!([{"key": "nap", "type": "acme/lab/sleep", "config": {"ms": 1_000}}]);
    host.apply(&workflow("later", &json!({"mode": "async"}), &json!(echo(&nap))));
    let answer = host.hook("now", body.as_bytes());
    assert_eq!(answer.status, 200);
    assert!(answer.body == text.as_bytes(), "the answer differs");
    assert_eq!(host.hook("later", body.as_bytes()).status, 200);
    let data = host.kill();
    data.expect_whole();
    let host = Host::start_in(data, &[]);
    for workflow in ["now", "later"] {
        let id = host.get(&format!("/runs?workflow={workflow}"))["items"][0]["id"].as_str().unwrap().to_owned();
        assert!(host.ended(&id)["output"] == text, "{workflow}: the output differs");
    }
}

#[test]
fn branches_nest_to_the_limit_and_no_deeper() {
    let host = with_plugins();
    let nested = |depth: usize| {
        (0..depth).fold(json!([{"key": "deep", "type": "out", "config": {"value": "{{$context.given}}"}}]), |inner, level| {
            json!([{"key": format!("level-{level}"), "type": "each", "config": {"rounds": 1}, "branches": {"do": inner}}])
        })
    };
    host.apply(&lab("nested", &nested(24)));
    let run = host.run_once("nested", &json!("bottom"));
    assert_eq!((&run["status"], &run["output"]), (&json!("succeeded"), &json!("bottom")), "{run:#}");
    assert_eq!(run["steps"].as_array().unwrap().len(), 25);
    let draft = lab("nested", &nested(25)).to_string();
    let refused = host.api("PUT", "/workflows/nested/draft", draft.as_bytes());
    refused.expect_problem(422, "invalid-workflow");
    assert!(refused.json()["errors"][0]["message"].as_str().unwrap().contains("24 deep"));
}

#[test]
fn values_nest_to_the_limit_and_no_deeper() {
    let host = with_plugins();
    host.apply(&workflow(
        "echo",
        &json!({"mode": "sync"}),
        &json!([
        {"key": "note", "type": "data", "config": {"fields": {"it": "{{$context.data}}"}}},
        {"key": "answer", "type": "response", "config": {"body": "{{$steps.note.result.it}}"}}]),
    ));
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let deepest = host.hook("echo", nested(100).as_bytes());
    assert_eq!((deepest.status, deepest.body), (200, nested(100).into_bytes()));
    let runs = host.runs().len();
    for depth in [101, 126, 127, 128, 129, 500_000] {
        host.hook("echo", nested(depth).as_bytes()).expect_problem(400, "invalid-json");
    }
    assert_eq!(host.runs().len(), runs);
}
