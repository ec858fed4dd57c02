//! The live feed: every entry, in order, and on from where one left off.

use std::io::{BufRead as _, BufReader, Write as _};

use serde_json::{Value, json};

use crate::harness::{Host, connect, lab, lab_with};

/// An event as it comes over the wire.
#[derive(Clone, Debug, Default, PartialEq)]
struct Event {
    id: Option<String>,
    kind: String,
    data: Value,
}

/// Follows a feed until an event says that it is enough, or the host closes it.
fn follow(host: &Host, path: &str, last: Option<&str>, enough: impl Fn(&Event) -> bool) -> Vec<Event> {
    let mut stream = connect(&host.url);
    let last = last.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
    let token = host.data.token();
    write!(stream, "GET /api/v1{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n{last}\r\n").unwrap();
    let (mut events, mut event) = (Vec::new(), Event::default());
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let line = line.trim_end();
        match line.split_once(": ") {
            Some(("id", id)) => event.id = Some(id.to_owned()),
            Some(("event", kind)) => kind.clone_into(&mut event.kind),
            Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
            _ if line.is_empty() && !event.kind.is_empty() => {
                events.push(std::mem::take(&mut event));
                if enough(&events[events.len() - 1]) {
                    return events;
                }
            }
            _ => {}
        }
    }
    events
}

fn kinds(events: &[Event]) -> Vec<String> {
    let entries = events.iter().filter(|event| event.kind == "entry");
    let name = |event: &Event| match (&event.data["activation"], &event.data["what"]) {
        (Value::String(activation), Value::String(what)) => format!("{activation} {what}"),
        (Value::String(activation), _) => format!("{activation} {}", event.data["kind"].as_str().unwrap()),
        _ => event.data["kind"].as_str().unwrap().to_owned(),
    };
    entries.map(name).collect()
}

#[test]
fn a_run_is_followed_from_its_beginning_and_from_any_point() {
    let host = Host::start();
    host.add_plugin("lab");
    let steps = json!([{"key": "nap", "type": "sleep", "config": {"ms": 400}}, {"key": "hear", "type": "hear", "config": {"name": "go"}}]);
    host.apply(&lab("waits", &steps));
    let id = host.start_run("waits", &json!({}));
    let path = format!("/runs/{id}/events");
    let events = std::thread::scope(|scope| {
        let followed = scope.spawn(|| follow(&host, &path, None, |event| event.kind == "end"));
        host.step_is(&id, "hear", "waiting");
        host.api("POST", &format!("/runs/{id}/signals"), br#"{"name": "go"}"#);
        followed.join().unwrap()
    });
    let all = ["accepted", "nap pending", "nap woke", "nap done", "hear pending", "signal", "hear done"];
    let shown = kinds(&events);
    let shown: Vec<&str> = shown.iter().map(|kind| if kind == "arrived" { "signal" } else { kind }).collect();
    assert_eq!(shown, all);
    assert_eq!(events.last().unwrap().data, json!({"status": "succeeded"}));
    // Every id is a point to go on from, and nothing is missing or twice.
    for (at, event) in events.iter().enumerate().filter(|(_, event)| event.id.is_some()) {
        let rest = follow(&host, &path, event.id.as_deref(), |event| event.kind == "end");
        assert_eq!(kinds(&rest), kinds(&events[at + 1..]), "after {:?}", event.id);
    }
    host.api("GET", "/runs/0193a5c2-7b1e-7c3a-9f00-2a51c4d0b7e1/events", b"").expect_problem(404, "not-found");
    let answer = host.request("GET", &format!("/api/v1{path}"), &[], b"");
    answer.expect_problem(401, "unauthorized");
    // Nothing comes after the last id that there can be.
    let rest = follow(&host, &path, Some("18446744073709551615"), |event| event.kind == "end");
    assert_eq!(rest.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>(), ["run", "end"]);
}

#[test]
fn all_runs_are_followed_and_a_follower_goes_on_after_a_restart() {
    let host = Host::start();
    host.add_plugin("lab");
    host.apply(&lab("out", &json!([{"key": "out", "type": "out", "config": {"value": "{{$context.given.n}}"}}])));
    let runs = |host: &Host, numbers: std::ops::Range<u32>| {
        numbers.for_each(|n| drop(host.run_once("out", &json!({"n": n}))));
    };
    let outputs = |events: &[Event]| -> Vec<Value> {
        let called = events.iter().filter(|event| event.data["what"] == "done");
        called.map(|event| event.data["output"].clone()).collect()
    };
    let seen = std::thread::scope(|scope| {
        let (sender, ready) = std::sync::mpsc::channel();
        let host = &host;
        let followed = scope.spawn(move || {
            let count = std::cell::Cell::new(0);
            follow(host, "/events", None, |event| {
                if event.kind == "hello" {
                    sender.send(()).unwrap();
                }
                count.set(count.get() + u32::from(event.data["what"] == "done"));
                event.kind == "commit" && count.get() == 3
            })
        });
        ready.recv().unwrap();
        runs(host, 0..3);
        followed.join().unwrap()
    });
    assert_eq!(outputs(&seen), [json!(0), json!(1), json!(2)]);
    let last = seen.last().unwrap().id.clone().unwrap();
    runs(&host, 3..6);
    let host = Host::start_in(host.kill(), &[]);
    runs(&host, 6..8);
    let count = std::cell::Cell::new(0);
    let rest = follow(&host, "/events", Some(&last), |event| {
        count.set(count.get() + u32::from(event.data["what"] == "done"));
        count.get() == 5
    });
    assert_eq!(outputs(&rest), (3..8).map(|n| json!(n)).collect::<Vec<_>>());
    let gap = follow(&host, "/events", Some("999999"), |event| event.kind == "gap");
    assert_eq!(gap.last().unwrap().kind, "gap");
}

#[test]
fn the_feed_of_a_run_that_is_not_kept_ends_with_it() {
    let host = Host::start();
    host.add_plugin("lab");
    let steps = json!([{"key": "nap", "type": "sleep", "config": {"ms": 800}}]);
    host.apply(&lab_with("brief", &steps, &json!({"history": {"delete_on": ["succeeded"]}})));
    let id = host.start_run("brief", &json!({}));
    let said = std::thread::scope(|scope| {
        let watched = scope.spawn(|| host.cli(&["run", "watch", &id]));
        let events = follow(&host, &format!("/runs/{id}/events"), None, |event| event.kind == "end");
        assert_eq!(events.last().unwrap().data, json!({"status": null}));
        watched.join().unwrap()
    });
    assert!(String::from_utf8_lossy(&said.stdout).contains("ended, and was deleted"));
}

#[test]
fn how_far_a_step_is_is_told_while_it_goes_on_and_kept_nowhere() {
    let host = Host::start();
    host.apply_example("job");
    let context = json!({"context": {"parts": 500, "pause_ms": 30}});
    let id = host.start_run("job", &context);
    let far = |event: &Event| event.kind == "progress" && event.data["done"].as_u64() >= Some(5);
    let events = follow(&host, &format!("/runs/{id}/events"), None, far);
    let told = &events.last().unwrap().data;
    assert_eq!((&told["step"], &told["total"], &told["run"]), (&json!("parts"), &json!(500), &json!(id)), "{told}");
    // Those who look see it, and those who come later.
    let run = host.run(&id);
    let shown = &run["progress"][0];
    assert!(shown["step"] == "parts" && shown["done"].as_u64() >= told["done"].as_u64(), "{shown}");
    let said = String::from_utf8(host.cli(&["run", "show", &id]).stdout).unwrap();
    assert!(said.contains("progress  parts ") && said.contains(" of 500"), "{said}");
    let later = follow(&host, &format!("/runs/{id}/events"), Some("100000"), |event| event.kind == "progress");
    assert_eq!(later.last().unwrap().data["step"], "parts");
    // After a restart nobody knows, until it is said again.
    let host = Host::start_in(host.kill(), &[]);
    let far = |event: &Event| event.kind == "progress";
    assert_eq!(follow(&host, &format!("/runs/{id}/events"), None, far).last().unwrap().data["total"], 500);
    assert!(host.cli(&["run", "cancel", &id]).status.success());
    let run = host.ended(&id);
    assert_eq!((&run["status"], &run["progress"]), (&json!("aborted"), &json!(null)));
    // The other follower is told to its end.
    let short = host.start_run("job", &json!({"context": {"parts": 3, "pause_ms": 1}}));
    let watched = String::from_utf8(host.cli(&["run", "watch", &short]).stdout).unwrap();
    assert!(watched.contains("ended: succeeded"), "{watched}");
}

#[test]
fn steps_that_have_ended_say_nothing_more() {
    let host = Host::start();
    let naps = json!([{"key": "nap", "type": "delay", "config": {"duration": 20, "unit": "ms"}}]);
    let inner = json!([{"key": "inner", "type": "loop", "config": {"target": 2}, "branches": {"do": naps}}]);
    let steps = json!([{"key": "outer", "type": "loop", "config": {"target": 500}, "branches": {"do": inner}}]);
    host.apply(&json!({"weft": 1, "key": "w", "trigger": {"type": "function", "config": {"mode": "async"}}, "steps": steps}));
    let id = host.start_run("w", &json!({}));
    let far = |event: &Event| event.kind == "progress" && event.data["step"] == "outer" && event.data["done"].as_u64() >= Some(5);
    follow(&host, &format!("/runs/{id}/events"), None, far);
    // Whoever comes later is told at first what is known: nothing of the rounds that are over.
    let of_inner = |event: &Event| event.kind == "progress" && event.data["step"].as_str().unwrap().ends_with("inner");
    let events = follow(&host, &format!("/runs/{id}/events"), Some("100000"), of_inner);
    let of_inner = events.last().unwrap().data["step"].as_str().unwrap();
    let round: u64 = of_inner.split('/').nth(1).unwrap().parse().unwrap();
    assert!(round >= 4, "{of_inner}");
    assert!(host.cli(&["run", "cancel", &id]).status.success());
}
