//! Writes that fail: the host stops with a clear word rather than go on with a store that may differ from what it remembers, and
//! nothing that was answered is lost. `WEFT_FAULTS_MAX` and `WEFT_FAULTS_STEP` say which writes of a life fail.

use serde_json::json;

use crate::harness::{Data, Host, Refused, eventually, shim, try_send, workflow};
use crate::load::{Ledger, audit, body, definitions, setting};

/// Which writes fail: by default each of the first, and then a spread over those of a longer life.
fn moments() -> Vec<u64> {
    match (setting("WEFT_FAULTS_MAX", 0), setting("WEFT_FAULTS_STEP", 1)) {
        (0, _) => (1..=16).chain([20, 25, 32, 45, 64, 90, 128, 200]).collect(),
        (max, step) => (1..=max).step_by(step as usize).collect(),
    }
}

/// A folder with workflows, of a host that was stopped.
fn template() -> Data {
    let host = Host::start();
    definitions().iter().for_each(|definition| host.apply(definition));
    host.stop()
}

/// A life whose `moment`th write fails. Returns whether it came to that.
fn fail(template: &Data, moment: u64, errno: &str, words: &str) -> bool {
    let shim = shim();
    let fault = format!("{moment}:{errno}");
    let environment = [("LD_PRELOAD", shim.to_str().unwrap()), ("WEFT_SHIM_FAIL", &fault)];
    let mut ledger = Ledger::default();
    let (data, code, log) = match Host::try_start(template.copy(), &environment) {
        Err(Refused { data, code, log }) => (data, code, log),
        Ok(host) => {
            // Every run is at least two writes.
            for number in 0..moment {
                let headers = [("content-type", "application/json")];
                let (path, told) = match number % 2 {
                    0 => ("now", &mut ledger.sync),
                    _ => ("later", &mut ledger.asynchronous),
                };
                match try_send(&host.agent, "POST", &format!("{}/hooks/{path}", host.url), &headers, body(number).as_bytes()) {
                    Ok(answer) if answer.status == 200 => told.insert(number),
                    // The store is closed already, and the host about to end.
                    Ok(answer) if answer.status == 503 => break,
                    Ok(answer) => panic!("{fault}: {}: {}", answer.status, String::from_utf8_lossy(&answer.body)),
                    Err(_) => break,
                };
            }
            if ledger.sync.len() + ledger.asynchronous.len() == moment as usize {
                return false;
            }
            host.ended_by_itself()
        }
    };
    assert!(code == Some(70) || code == Some(1), "{fault}: {code:?}\n{log}");
    assert!(log.contains(words), "{fault}:\n{log}");
    data.expect_whole();
    let host = Host::start_in(data, &[]);
    assert_eq!(audit(&host, &ledger), Vec::<String>::new(), "{fault}");
    assert_eq!(host.hook("now", body(1_000_001).as_bytes()).status, 200, "{fault}: new work is done");
    true
}

fn fail_at_each_moment(errno: &str, words: &str) {
    let (template, moments) = (template(), moments());
    let reached = moments.iter().filter(|moment| fail(&template, **moment, errno, words)).count();
    println!("{errno}: {reached} of {} moments were reached", moments.len());
    assert_eq!(reached, moments.len());
}

#[test]
fn a_full_disk_loses_nothing_that_was_answered() {
    fail_at_each_moment("ENOSPC", "No space left on device");
}

#[test]
fn a_failing_disk_loses_nothing_that_was_answered() {
    fail_at_each_moment("EIO", "Input/output error");
}

#[test]
fn without_room_on_the_disk_nothing_new_begins() {
    let host = Host::start();
    let steps = json!([{"key": "wait", "type": "data", "config": {"fields": {}}}]);
    host.apply(&workflow("w", &json!({"mode": "sync"}), &steps));
    assert_eq!(host.hook("w", b"{}").status, 200);
    let run = host.newest_run()["id"].as_str().unwrap().to_owned();
    let data = host.stop();

    let host = Host::start_in(data, &[("WEFT_MIN_FREE_BYTES", "1000000000000000000")]);
    let answers = [
        host.hook("w", b"{}"),
        host.api("POST", "/workflows/w/runs", b"{}"),
        host.api("POST", &format!("/runs/{run}/rerun"), b"{}"),
    ];
    for answer in &answers {
        answer.expect_problem(507, "no-space");
        assert!(answer.headers.contains_key("retry-after"));
        assert!(answer.json()["detail"].as_str().unwrap().contains("--min-free-bytes"));
    }
    assert_eq!(host.runs().len(), 1, "reading goes on");
    assert_eq!(host.api("DELETE", &format!("/runs/{run}"), b"").status, 204, "deleting too");
    let host = Host::start_in(host.stop(), &[]);
    assert_eq!(host.hook("w", b"{}").status, 200);
    eventually("it is there", || host.runs().len() == 1);
}
