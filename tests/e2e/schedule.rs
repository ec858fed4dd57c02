//! The built-in triggers `schedule` and `once`, on the real host.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Host, eventually, now_ms};
use crate::load::{random, setting};

fn definition(key: &str, kind: &str, config: &Value) -> Value {
    json!({"weft": 1, "key": key, "trigger": {"type": kind, "config": config}, "steps": []})
}

/// The contexts of a workflow's runs, by their dates.
fn contexts(host: &Host, key: &str) -> Vec<Value> {
    let runs = host.all_runs(&format!("workflow={key}"));
    let contexts = runs.iter().rev().map(|run| host.run(run["id"].as_str().unwrap())["context"].clone());
    // One that is about to be stored is listed already.
    let mut contexts: Vec<Value> = contexts.filter(|context| !context.is_null()).collect();
    // Runs that one event started have one time.
    contexts.sort_by_key(|context| context["date"].as_str().unwrap_or_default().to_owned());
    contexts
}

fn dates(contexts: &[Value]) -> Vec<&str> {
    contexts.iter().map(|context| context["date"].as_str().unwrap()).collect()
}

fn fires(host: &Host, key: &str) -> Vec<String> {
    let next = host.get(&format!("/workflows/{key}/fires?limit=5"));
    next["items"].as_array().unwrap().iter().map(|fire| fire["at"].as_str().unwrap().to_owned()).collect()
}

fn rfc3339(ms: u64) -> String {
    format!("{:.3}", jiff::Timestamp::from_millisecond(i64::try_from(ms).unwrap()).unwrap())
}

/// The seconds since 1970 of planned times.
fn seconds(contexts: &[Value]) -> Vec<u64> {
    let second = |date: &str| u64::try_from(date.parse::<jiff::Timestamp>().unwrap().as_second()).unwrap();
    dates(contexts).into_iter().map(second).collect()
}

#[test]
fn each_second_of_a_cron_starts_one_run_over_kills() {
    let rounds = setting("WEFT_KILL_ROUNDS", 6);
    let mut seed = setting("WEFT_KILL_SEED", u64::from(std::process::id()) | 1);
    println!("{rounds} rounds, WEFT_KILL_SEED={seed}");
    let host = Host::start();
    host.apply(&definition("w", "schedule", &json!({"cron": ["* * * * * *"], "missed": "all", "missed_max": 1_000})));
    let mut data = host.kill();
    for _ in 0..rounds {
        (data, _) = Host::start_and_kill(data, &[], Duration::from_millis(100 + random(&mut seed) % 900));
    }
    let host = Host::start_in(data, &[]);
    let last = now_ms() / 1_000;
    eventually("it has caught up", || seconds(&contexts(&host, "w")).last() > Some(&last));
    assert_eq!(host.api("POST", "/workflows/w/pause", b"").status, 200);
    let found = seconds(&contexts(&host, "w"));
    let expected: Vec<u64> = (found[0]..found[0] + found.len() as u64).collect();
    assert_eq!(found, expected, "every second once, in order");
    host.stop().expect_whole();
}

#[test]
fn what_was_missed_is_skipped_made_up_for_once_or_wholly() {
    let host = Host::start();
    let every = |missed: &str| json!({"every_ms": 1_000, "missed": missed, "missed_max": 3});
    for missed in ["skip", "once", "all"] {
        host.apply(&definition(missed, "schedule", &every(missed)));
    }
    // Each has begun.
    eventually("each has fired", || ["skip", "once", "all"].iter().all(|key| !contexts(&host, key).is_empty()));
    let data = host.kill();
    let down = now_ms();
    std::thread::sleep(Duration::from_millis(6_200));
    let host = Host::start_in(data, &[]);
    let up = now_ms();
    let after_down = |key: &str| -> Vec<Value> {
        let is_later = |context: &&Value| context["date"].as_str().unwrap() > rfc3339(down).as_str();
        contexts(&host, key).iter().filter(is_later).cloned().collect()
    };
    for key in ["skip", "once", "all"] {
        eventually("it goes on", || after_down(key).last().is_some_and(|last| last["date"].as_str() > Some(&rfc3339(up))));
    }
    let (skip, once, all) = (after_down("skip"), after_down("once"), after_down("all"));
    assert!(skip[0]["missed"].as_u64() >= Some(4) && skip[0]["made_up"] == false, "{skip:?}");
    assert!(once[0]["missed"].as_u64() >= Some(4), "{once:?}");
    assert_eq!(all.iter().take_while(|context| context["made_up"] == true).count(), 3, "{all:?}");
    assert!(all[0]["missed"].as_u64() >= Some(1), "older ones than the newest three are told of: {all:?}");
    let found = seconds(&all);
    assert_eq!(found, (found[0]..found[0] + found.len() as u64).collect::<Vec<_>>());
}

#[test]
fn what_is_later_than_may_be_counts_as_missed() {
    let host = Host::start();
    let at = now_ms() / 1_000 * 1_000 + 5_000;
    let times = |missed: &str| json!({"times": [rfc3339(at), rfc3339(at + 3_600_000)], "missed": missed, "late_ms": 100});
    for missed in ["skip", "once", "all"] {
        host.apply(&definition(missed, "schedule", &times(missed)));
    }
    for missed in ["skip", "run"] {
        let key = format!("once-{missed}");
        host.apply(&definition(&key, "once", &json!({"at": rfc3339(at), "missed": missed, "late_ms": 100})));
    }
    let data = host.kill();
    std::thread::sleep(Duration::from_millis((at + 600).saturating_sub(now_ms())));
    let host = Host::start_in(data, &[]);
    for key in ["once", "all", "once-run"] {
        eventually("it is made up for", || contexts(&host, key).len() == 1);
        let context = contexts(&host, key)[0].clone();
        assert_eq!((&context["date"], &context["made_up"]), (&json!(rfc3339(at)), &json!(true)));
    }
    eventually("the next one is set", || fires(&host, "skip") == [rfc3339(at + 3_600_000)]);
    assert_eq!((contexts(&host, "skip").len(), contexts(&host, "once-skip").len()), (0, 0));
    assert!(fires(&host, "once-run").is_empty() && fires(&host, "once-skip").is_empty());
}

#[test]
fn a_schedule_begins_ends_and_has_its_limit() {
    let host = Host::start();
    let from = now_ms() / 1_000 * 1_000 + 8_350;
    let bounded = json!({"every_ms": 1_000, "starts_at": rfc3339(from), "ends_at": rfc3339(from + 2_500), "missed": "all"});
    host.apply(&definition("bounded", "schedule", &bounded));
    assert_eq!(fires(&host, "bounded"), [0, 1_000, 2_000].map(|ms| rfc3339(from + ms)));
    host.apply(&definition("limited", "schedule", &json!({"every_ms": 1_000, "limit": 3, "starts_at": rfc3339(from)})));
    host.start_run("limited", &json!({"context": {"date": "by hand"}}));
    eventually("both are at their end", || contexts(&host, "bounded").len() == 3 && contexts(&host, "limited").len() == 3);
    eventually("no more is set", || fires(&host, "bounded").is_empty() && fires(&host, "limited").is_empty());
    assert_eq!(dates(&contexts(&host, "bounded")), [0, 1_000, 2_000].map(|ms| rfc3339(from + ms)));
    // The limit counts runs of all revisions.
    host.apply(&definition("limited", "schedule", &json!({"every_ms": 1_000, "limit": 4, "late_ms": 5_000})));
    eventually("one more", || contexts(&host, "limited").len() == 4 && fires(&host, "limited").is_empty());
    // What is past when it is activated never comes.
    host.apply(&definition("past", "schedule", &json!({"times": ["2001-01-01T00:00:00Z"]})));
    host.apply(&definition("gone", "once", &json!({"at": "2001-01-01T00:00:00Z"})));
    assert!(fires(&host, "past").is_empty() && fires(&host, "gone").is_empty());
}

#[test]
fn the_next_fires_follow_the_clock_of_the_time_zone() {
    let host = Host::start();
    let config = json!({"cron": ["30 2 * * *", "0 12 * * *"], "time_zone": "Europe/Berlin", "starts_at": "2031-03-29T10:00:00",
        "times": ["2031-03-29T11:00:00"]});
    host.apply(&definition("w", "schedule", &config));
    // 2031-03-30: the clock is set forward at 01:00 UTC.
    assert_eq!(
        fires(&host, "w"),
        [
            "2031-03-29T10:00:00.000Z",
            "2031-03-29T11:00:00.000Z",
            "2031-03-30T01:00:00.000Z",
            "2031-03-30T10:00:00.000Z",
            "2031-03-31T00:30:00.000Z",
        ]
    );
    let told = String::from_utf8(host.cli(&["workflow", "next", "w"]).stdout).unwrap();
    assert!(told.contains("2031-03-30T01:00:00.000Z"), "{told}");
    assert!(contexts(&host, "w").is_empty());
}

#[test]
fn what_cannot_be_planned_is_refused_with_its_place() {
    let host = Host::start();
    let refused = |kind: &str, config: Value| -> Vec<String> {
        let checked = host.api("POST", "/workflows/w/check", definition("w", kind, &config).to_string().as_bytes()).json();
        let pointers = checked["problems"].as_array().unwrap().iter().map(|problem| problem["pointer"].as_str().unwrap());
        pointers.map(|pointer| pointer.trim_start_matches("/trigger/config").to_owned()).collect()
    };
    assert_eq!(refused("schedule", json!({"cron": ["0 8 * * *", "0 25 * * *", "0 0 30 2 *"]})), ["/cron/1", "/cron/2"]);
    assert_eq!(refused("schedule", json!({"cron": ["0 8 * * *"], "time_zone": "Mars/Olympus"})), ["/time_zone"]);
    assert_eq!(
        refused("schedule", json!({"times": ["soon"], "starts_at": "x", "ends_at": "y"})),
        ["/times/0", "/starts_at", "/ends_at"]
    );
    assert_eq!(refused("schedule", json!({"every_ms": 1_000, "starts_at": "2030-01-02", "ends_at": "2030-01-01"})), ["/ends_at"]);
    assert_eq!(refused("schedule", json!({})), [""]);
    assert_eq!(refused("schedule", json!({"every_ms": 10})), ["/every_ms"]);
    assert_eq!(refused("once", json!({"at": "noon"})), ["/at"]);
    assert_eq!(refused("once", json!({"at": "2030-01-01T00:00:00", "time_zone": "Asia/Kolkata"})), Vec::<String>::new());
    // What a template gives is known when it is used, and then said.
    host.set_secret("cron", "0 25 * * *");
    host.set_secret("zone", "Asia/Kolkata");
    let templated = json!({"cron": ["{{$secrets.cron}}"], "time_zone": "{{$secrets.zone}}"});
    assert_eq!(refused("schedule", templated), Vec::<String>::new());
}

#[test]
fn the_examples_are_what_they_say() {
    let host = Host::start();
    host.apply_example("schedule");
    host.apply_example("once");
    let mornings = fires(&host, "morning-orders");
    assert!(mornings.len() == 5 && mornings.iter().all(|at| at.ends_with("T06:30:00.000Z") || at.ends_with("T07:30:00.000Z")));
    assert_eq!(fires(&host, "grand-opening"), ["2099-05-01T04:00:00.000Z"]);
    // As the schedule would start them.
    let context = json!({"date": "2026-11-26T07:30:00Z", "local": "2026-11-26T08:30:00+01:00", "missed": 0, "made_up": false});
    let run = host.run_once("morning-orders", &context);
    assert_eq!(run["steps"][0]["output"]["at"], "2026-11-26T08:30:00+01:00");
    assert_eq!(host.run_once("grand-opening", &context)["status"], "succeeded");
}
