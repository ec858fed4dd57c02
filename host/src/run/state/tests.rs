//! Definitions and answers in, calls and ends out.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::limits::RUN_CALLS_MAX;
use crate::run::{
    Accepted, Arrival, BranchStart, Called, Decision, Effects, Failure, KvKey, Outcome, Staged, Task, TaskAction, WaitKind,
};
use crate::workflow::Definition;

fn plan(steps: &Value) -> Plan {
    let definition = json!({"weft": 1, "key": "w", "trigger": {"type": "t"}, "steps": steps});
    Plan::new(&Definition::from_value(definition).unwrap(), 1).unwrap()
}

fn run() -> RunId {
    RunId::new(1, [7; 10])
}

fn accepted(queued: bool) -> Entry {
    Entry::Accepted(Accepted {
        at_ms: 0,
        workflow: "w".parse().unwrap(),
        revision: 1,
        context: Json::from(json!("context")),
        synchronous: false,
        queued,
        stack: Vec::new(),
        parent: None,
        rerun: None,
    })
}

fn begin(plan: &Plan) -> State {
    State::begin(plan, run(), &accepted(false)).unwrap()
}

fn call(path: &str, outcome: Outcome) -> Called {
    Called {
        activation: path.into(),
        at_ms: 0,
        took_us: 0,
        attempt: 1,
        retry_at_ms: None,
        config: None,
        secrets: Vec::new(),
        outcome,
        effects: Effects::default(),
        log: Vec::new(),
        log_dropped: 0,
        used: crate::run::Usage::default(),
        recorded: None,
    }
}

fn called(path: &str, outcome: Outcome) -> Entry {
    Entry::Called(Box::new(call(path, outcome)))
}

fn done(value: Value) -> Outcome {
    Outcome::Done(value.into())
}

fn start(branches: &[(&str, &str)]) -> Outcome {
    let start = branches.iter().map(|(branch, id)| BranchStart {
        branch: (*branch).into(),
        id: (*id).into(),
        scope: json!({ "id": id }).into(),
        atomic: false,
    });
    Outcome::Pending { state: Json::null(), start: start.collect(), stop: Vec::new(), wait: Vec::new() }
}

fn atomic(branch: &str, id: &str) -> Outcome {
    let start = vec![BranchStart { branch: branch.into(), id: id.into(), scope: Json::null(), atomic: true }];
    Outcome::Pending { state: Json::null(), start, stop: Vec::new(), wait: Vec::new() }
}

fn wait(waits: &[(&str, WaitKind)]) -> Outcome {
    let wait = waits.iter().map(|(id, kind)| Wait { id: (*id).into(), kind: kind.clone() });
    Outcome::Pending { state: Json::null(), start: Vec::new(), stop: Vec::new(), wait: wait.collect() }
}

fn timer(at_ms: u64) -> WaitKind {
    WaitKind::Timer(at_ms)
}

fn signal_wait(name: &str) -> WaitKind {
    WaitKind::Signal { name: name.into(), key: None }
}

fn child(workflow: &str) -> WaitKind {
    WaitKind::Child { run: None, workflow: workflow.parse().unwrap(), context: Json::null() }
}

fn request() -> WaitKind {
    let (method, url) = ("GET".into(), "http://example.org".into());
    let (headers, body) = Default::default();
    WaitKind::Request(Box::new(Request {
        method,
        url,
        headers,
        body,
        timeout_ms: None,
        connection: None,
        response_bytes_max: None,
    }))
}

fn arrived(arrival: Arrival) -> Entry {
    Entry::Arrived { at_ms: 0, arrival }
}

fn signal(name: &str, payload: Value) -> Entry {
    arrived(Arrival::Signal { name: name.into(), key: None, payload: payload.into() })
}

fn woke(path: &str, id: &str) -> Entry {
    Entry::Woke { at_ms: 0, activation: path.into(), id: id.into() }
}

fn child_ended(path: &str, id: &str, output: Value) -> Entry {
    arrived(Arrival::ChildEnded { activation: path.into(), id: id.into(), output: Ok(output.into()) })
}

fn failed(code: &str) -> Outcome {
    Outcome::Failed(Failure::error(code, "broke"))
}

/// What is to be done at a time, or how the run ended, in one line.
fn show_at(state: &State, now_ms: u64) -> String {
    if let Some(end) = state.end() {
        let early = if end.early { " early" } else { "" };
        let reason = end.reason.map(|reason| format!(" {}", reason.as_str())).unwrap_or_default();
        let failure = end.failure.as_ref().map(|(failure, path)| format!(" {} at {path}", failure.code));
        return format!("end {}{early}{reason}{}", end.status, failure.unwrap_or_default());
    }
    let ended = |end: Ended| {
        let output = end.output.map_or_else(|f| format!("{} {}", f.status, f.code), |output| output.text().to_owned());
        format!("{} {output}", end.id)
    };
    let commands = state.commands(now_ms).map(|command| match command {
        Command::Send(id, wait, _) => format!("{}=>{wait}", state.activation(id).unwrap().path),
        Command::Call(id, event) => {
            let path = &state.activation(id).unwrap().path;
            match event {
                None => path.to_string(),
                Some(Event::BranchEnded(end)) => format!("{path}<-{}", ended(end)),
                Some(Event::ChildEnded(end)) => format!("{path}<-child {}", ended(end)),
                Some(Event::Woke(id)) => format!("{path}<-woke {id}"),
                Some(Event::Signalled { id, payload }) => format!("{path}<-signal {id} {}", payload.text()),
                Some(Event::TaskActed { id, user, action, .. }) => format!("{path}<-task {id} {user} {action}"),
                Some(Event::Responded { id, response }) => {
                    format!("{path}<-response {id} {}", response.map_or_else(|f| f.code.into(), |r| r.status.to_string()))
                }
            }
        }
    });
    commands.collect::<Vec<_>>().join(", ")
}

fn show(state: &State) -> String {
    show_at(state, 0)
}

/// Applies an entry, as it would be journaled: an answer that breaks the contract is a failure.
fn apply(plan: &Plan, state: &mut State, mut entry: Entry) {
    if let Entry::Called(called) = &mut entry
        && let Some(id) = state.find(&called.activation)
        && let Err(failure) = super::check(plan, state, id, &called.outcome, false)
    {
        called.outcome = Outcome::Failed(failure);
    }
    state.apply(plan, &entry);
}

/// Applies each entry in turn and shows what follows from it.
fn follow(plan: &Plan, entries: Vec<Entry>, want: Expect) -> State {
    let mut state = begin(plan);
    let mut lines = vec![show(&state)];
    for entry in entries {
        apply(plan, &mut state, entry);
        lines.push(show(&state));
    }
    want.assert_eq(&(lines.join("\n") + "\n"));
    state
}

/// Gives each answer in turn and shows what follows from it.
fn check(steps: &Value, answers: Vec<(&str, Outcome)>, want: Expect) {
    let plan = plan(steps);
    follow(&plan, answers.into_iter().map(|(path, outcome)| called(path, outcome)).collect(), want);
}

#[test]
fn steps_follow_each_other_and_hand_on_their_results() {
    let steps = json!([{"key": "a", "type": "t"}, {"key": "b", "type": "t"}]);
    check(
        &steps,
        vec![("a", done(json!(1))), ("b", done(json!(2)))],
        expect![[r#"
            a
            b
            end succeeded
        "#]],
    );
}

#[test]
fn a_workflow_without_steps_succeeds_at_once() {
    check(&json!([]), vec![], expect![["end succeeded\n"]]);
}

#[test]
fn a_branch_tells_its_owner_when_it_ends() {
    let steps = json!([
        {"key": "if", "type": "t", "branches": {"yes": [{"key": "a", "type": "t"}, {"key": "b", "type": "t"}], "no": []}},
        {"key": "z", "type": "t"}
    ]);
    check(
        &steps,
        vec![
            ("if", start(&[("yes", "1")])),
            ("if/1/a", done(json!("A"))),
            ("if/1/b", done(json!("B"))),
            ("if", done(json!(true))),
            ("z", done(json!(null))),
        ],
        expect![[r#"
            if
            if/1/a
            if/1/b
            if<-1 "B"
            z
            end succeeded
        "#]],
    );
    check(
        &steps,
        vec![("if", start(&[("no", "1")])), ("if", start(&[("missing", "2")])), ("if", failed("x"))],
        expect![[r#"
            if
            if<-1 null
            if<-2 null
            end error x at if
        "#]],
    );
}

#[test]
fn a_failure_bubbles_to_the_owner_which_decides() {
    let steps = json!([{"key": "p", "type": "t", "branches": {"x": [{"key": "a", "type": "t"}, {"key": "b", "type": "t"}]}}]);
    check(
        &steps,
        vec![("p", start(&[("x", "1")])), ("p/1/a", failed("bad")), ("p", done(json!("caught")))],
        expect![[r#"
            p
            p/1/a
            p<-1 error bad
            end succeeded
        "#]],
    );
}

#[test]
fn branches_run_side_by_side_and_end_with_their_owner() {
    let steps = json!([
        {"key": "p", "type": "t", "branches": {"x": [{"key": "a", "type": "t"}], "y": [{"key": "b", "type": "t"}]}},
        {"key": "z", "type": "t"}
    ]);
    check(
        &steps,
        vec![
            ("p", start(&[("x", "x"), ("y", "y")])),
            ("p/y/b", done(json!(2))),
            ("p", done(json!("first"))),
            ("p/x/a", done(json!("too late"))),
            ("z", done(json!(null))),
        ],
        expect![[r#"
            p
            p/x/a, p/y/b
            p<-y 2, p/x/a
            z
            z
            end succeeded
        "#]],
    );
}

#[test]
fn events_come_one_at_a_time_in_order() {
    let steps = json!([{"key": "p", "type": "t", "branches": {"x": [{"key": "a", "type": "t"}]}}]);
    let on = || Outcome::Pending { state: json!(1).into(), start: Vec::new(), stop: Vec::new(), wait: Vec::new() };
    check(
        &steps,
        vec![
            ("p", start(&[("x", "1"), ("x", "2"), ("none", "3")])),
            ("p/2/a", done(json!("two"))),
            ("p", on()),
            ("p", on()),
            ("p/1/a", failed("one")),
            ("p", on()),
        ],
        expect![[r#"
            p
            p<-3 null, p/1/a, p/2/a
            p<-3 null, p/1/a
            p<-2 "two", p/1/a
            p/1/a
            p<-1 error one
            end error bad-answer at p
        "#]],
    );
}

#[test]
fn a_branch_can_be_stopped_and_its_id_is_not_used_again() {
    let steps = json!([{"key": "p", "type": "t", "branches": {"x": [{"key": "a", "type": "t"}]}}]);
    let stop = |id: &str, start: &str| Outcome::Pending {
        state: Json::null(),
        start: vec![BranchStart { branch: "x".into(), id: start.into(), scope: Json::null(), atomic: false }],
        stop: vec![id.into()],
        wait: Vec::new(),
    };
    check(
        &steps,
        vec![
            ("p", start(&[("x", "1"), ("none", "2")])),
            ("p", stop("1", "3")),
            ("p/1/a", done(json!(1))),
            ("p/3/a", done(json!(3))),
        ],
        expect![[r#"
            p
            p<-2 null, p/1/a
            p/3/a
            p/3/a
            p<-3 3
        "#]],
    );
    for wrong in [stop("1", "1"), stop("1", "2"), stop("9", "3")] {
        check(
            &steps,
            vec![("p", start(&[("x", "1"), ("none", "2")])), ("p", wrong)],
            expect![[r#"
                p
                p<-2 null, p/1/a
                end error bad-answer at p
            "#]],
        );
    }
}

#[test]
fn a_step_can_end_the_run_from_inside_a_branch() {
    let steps = json!([{"key": "p", "type": "t", "branches": {"x": [{"key": "a", "type": "t"}]}}, {"key": "z", "type": "t"}]);
    let end = Outcome::EndRun { status: Status::Failed, message: Some("enough".into()) };
    check(
        &steps,
        vec![("p", start(&[("x", "1")])), ("p/1/a", end)],
        expect![[r#"
            p
            p/1/a
            end failed early
        "#]],
    );
}

#[test]
fn a_step_can_go_back() {
    let steps = json!([
        {"key": "a", "type": "t"},
        {"key": "p", "type": "t", "branches": {"x": [{"key": "b", "type": "t"}, {"key": "c", "type": "t"}]}},
        {"key": "z", "type": "t"}
    ]);
    let back = |to: &str| Outcome::GoBack { step: to.parse().unwrap(), output: json!("again").into() };
    check(
        &steps,
        vec![
            ("a", done(json!(1))),
            ("p", start(&[("x", "1")])),
            ("p/1/b", done(json!(2))),
            ("p/1/c", back("b")),
            ("p/1/b~2", back("a")),
            ("a~2", done(json!(3))),
            ("p~2", start(&[("x", "1")])),
            ("p~2/1/b", back("z")),
            ("p~2", failed("no")),
        ],
        expect![[r#"
            a
            p
            p/1/b
            p/1/c
            p/1/b~2
            a~2
            p~2
            p~2/1/b
            p~2<-1 error bad-answer
            end error no at p~2
        "#]],
    );
}

#[test]
fn what_a_plugin_must_not_do_fails_its_step() {
    let steps = json!([{"key": "p", "type": "t", "branches": {"x": [{"key": "a", "type": "t"}]}}]);
    for (outcome, want) in [
        (start(&[]), "end error bad-answer at p"),
        (start(&[("x", "1"), ("x", "1")]), "end error bad-answer at p"),
        (start(&[("x", "a/b")]), "end error bad-answer at p"),
        (start(&[("x", "")]), "end error bad-answer at p"),
        (Outcome::EndRun { status: Status::Running, message: None }, "end error bad-answer at p"),
        (Outcome::GoBack { step: "a".parse().unwrap(), output: Json::null() }, "end error bad-answer at p"),
    ] {
        let plan = plan(&steps);
        let mut state = begin(&plan);
        let id = state.find("p").unwrap();
        let failure = super::check(&plan, &state, id, &outcome, false).unwrap_err();
        state.apply(&plan, &called("p", Outcome::Failed(failure)));
        assert_eq!(show(&state), want);
    }
}

#[test]
fn results_and_scopes_are_seen() {
    let inner = json!([{"key": "a", "type": "t", "branches": {"x": [{"key": "b", "type": "t"}]}}]);
    let plan = plan(&json!([{"key": "p", "type": "t", "branches": {"x": inner}}]));
    let mut state = begin(&plan);
    state.apply(&plan, &called("p", start(&[("x", "7")])));
    state.apply(&plan, &called("p/7/a", start(&[("x", "8")])));
    let b = state.find("p/7/a/8/b").unwrap();
    assert_eq!(state.scope(&plan, b, "p").unwrap().text(), r#"{"id":"7"}"#);
    assert_eq!(state.scope(&plan, b, "a").unwrap().text(), r#"{"id":"8"}"#);
    assert!(state.scope(&plan, b, "b").is_none());

    let mut entry = called("p/7/a/8/b", done(json!("B")));
    if let Entry::Called(called) = &mut entry {
        called.effects.results.push(("p".parse().unwrap(), json!("set").into()));
        called.effects.output = Some(json!("out").into());
    }
    state.apply(&plan, &entry);
    let a = state.find("p/7/a").unwrap();
    assert_eq!(state.result(a, plan.find("b").unwrap()).unwrap().text(), r#""B""#);
    assert_eq!(state.result(a, plan.find("p").unwrap()).unwrap().text(), r#""set""#);
    assert_eq!(state.output().unwrap().text(), r#""out""#);
}

#[test]
fn a_run_in_circles_ends() {
    let plan = plan(&json!([{"key": "a", "type": "t"}]));
    let mut state = begin(&plan);
    let mut calls = 0;
    while state.end().is_none() {
        let path = state.activations().next().unwrap().1.path.clone();
        let outcome = Outcome::GoBack { step: "a".parse().unwrap(), output: Json::null() };
        state.apply(&plan, &called(&path, outcome));
        calls += 1;
    }
    assert_eq!(calls, RUN_CALLS_MAX);
    assert!(show(&state).starts_with("end error too-many-calls"), "{}", show(&state));
}

#[test]
fn a_wait_is_told_once_and_all_waits_are_given_each_time() {
    let plan = plan(&json!([{"key": "s", "type": "t"}]));
    follow(
        &plan,
        vec![
            called("s", wait(&[("t", timer(10)), ("go", signal_wait("go"))])),
            signal("other", json!(0)),
            signal("go", json!(1)),
            woke("s", "t"),
            woke("s", "t"),
            // The timer has fired and is not answered yet: naming it keeps its event.
            called("s", wait(&[("t", timer(10)), ("go", signal_wait("go"))])),
            called("s", wait(&[("go", signal_wait("go")), ("late", timer(99))])),
            woke("s", "t"),
            signal("go", json!(2)),
            called("s", done(json!("ok"))),
        ],
        expect![[r#"
            s


            s<-signal go 1
            s<-signal go 1
            s<-signal go 1
            s<-woke t


            s<-signal go 2
            end succeeded
        "#]],
    );
}

#[test]
fn what_is_left_out_is_withdrawn_and_what_is_over_does_not_come_again() {
    let plan = plan(&json!([{"key": "s", "type": "t"}]));
    let two = || wait(&[("a", timer(1)), ("b", timer(2))]);
    follow(
        &plan,
        // Both fired; leaving one out drops its event.
        vec![called("s", two()), woke("s", "a"), woke("s", "b"), called("s", wait(&[("c", timer(3))])), called("s", two())],
        expect![[r#"
            s

            s<-woke a
            s<-woke a

            end error bad-answer at s
        "#]],
    );
    follow(
        &plan,
        vec![called("s", two()), woke("s", "a"), called("s", wait(&[("a", timer(9))]))],
        expect![[r#"
            s

            s<-woke a
            end error bad-answer at s
        "#]],
    );
}

#[test]
fn time_brings_about_what_is_due_in_order() {
    let steps = json!([{"key": "s", "type": "t", "timeout_ms": 50}]);
    let definition = json!({"weft": 1, "key": "w", "trigger": {"type": "t"}, "steps": steps, "options": {"timeout_ms": 100}});
    let plan = Plan::new(&Definition::from_value(definition).unwrap(), 1).unwrap();
    let mut state = begin(&plan);
    assert_eq!(state.wake_ms(&plan), Some(100), "the run's own deadline");
    apply(&plan, &mut state, called("s", wait(&[("late", timer(20)), ("early", timer(10))])));
    assert_eq!((state.due(&plan, 9), state.wake_ms(&plan)), (None, Some(10)));
    assert_eq!(state.due(&plan, 30), Some(Entry::Woke { at_ms: 30, activation: "s".into(), id: "early".into() }));
    apply(&plan, &mut state, woke("s", "early"));
    apply(&plan, &mut state, woke("s", "late"));
    assert_eq!((state.due(&plan, 30), state.wake_ms(&plan)), (None, Some(50)), "the step's deadline counts its waits");
    assert_eq!(state.due(&plan, 60), Some(Entry::TimedOut { at_ms: 60, activation: Some("s".into()) }));
    assert_eq!(state.due(&plan, 100), Some(Entry::TimedOut { at_ms: 100, activation: None }));
    let mut whole = state.clone();
    apply(&plan, &mut state, Entry::TimedOut { at_ms: 60, activation: Some("s".into()) });
    assert_eq!(show(&state), "end aborted timed-out at s");
    apply(&plan, &mut whole, Entry::TimedOut { at_ms: 100, activation: None });
    assert_eq!((show(&whole), whole.wake_ms(&plan)), ("end aborted timeout".into(), None));
}

#[test]
fn a_run_in_a_queue_does_nothing_and_its_time_begins_when_it_begins() {
    let definition = json!({"weft": 1, "key": "w", "trigger": {"type": "t"}, "steps": [{"key": "s", "type": "t"}],
        "options": {"timeout_ms": 100}});
    let plan = Plan::new(&Definition::from_value(definition).unwrap(), 1).unwrap();
    let mut state = State::begin(&plan, run(), &accepted(true)).unwrap();
    assert_eq!((show(&state), state.wake_ms(&plan)), (String::new(), None));
    apply(&plan, &mut state, Entry::Started { at_ms: 1_000 });
    assert_eq!((show(&state), state.wake_ms(&plan)), ("s".into(), Some(1_100)));
}

#[test]
fn early_messages_are_kept_for_the_first_that_waits() {
    let plan = plan(&json!([{"key": "a", "type": "t"}, {"key": "b", "type": "t"}]));
    let state = follow(
        &plan,
        vec![
            signal("go", json!(1)),
            signal("go", json!(2)),
            signal("stay", json!(3)),
            called("a", wait(&[("s", signal_wait("go"))])),
            called("a", wait(&[("s", signal_wait("go"))])),
            called("a", done(json!(null))),
        ],
        expect![[r#"
            a
            a
            a
            a
            a<-signal s 1
            a<-signal s 2
            b
        "#]],
    );
    assert_eq!(state.kept_signals(), 1);
}

#[test]
fn children_are_asked_for_and_abandoned() {
    let plan = plan(&json!([{"key": "a", "type": "t"}]));
    let mut state = begin(&plan);
    apply(&plan, &mut state, called("a", wait(&[("x", child("one")), ("y", child("two"))])));
    let outgoing = state.take_outgoing();
    let asked: Vec<(&str, &str)> = outgoing.children.iter().map(|c| (&*c.id, c.workflow.as_str())).collect();
    assert_eq!(asked, [("x", "one"), ("y", "two")]);
    assert_eq!(outgoing.children[0].run, RunId::derived(0, run(), "a", "x"));
    apply(&plan, &mut state, child_ended("a", "x", json!(7)));
    assert_eq!(show(&state), "a<-child x 7");
    // `y` is left out, and `x` has ended.
    apply(&plan, &mut state, called("a", wait(&[("z", child("three"))])));
    let outgoing = state.take_outgoing();
    assert_eq!(outgoing.abandoned, [RunId::derived(0, run(), "a", "y")]);
    apply(&plan, &mut state, arrived(Arrival::Cancel { reason: Reason::ManualCancel, by: None }));
    assert_eq!(show(&state), "end aborted manual-cancel");
    assert_eq!(state.take_outgoing().abandoned, [RunId::derived(0, run(), "a", "z")]);
}

#[test]
fn a_request_is_sent_and_sent_again_when_its_answer_failed() {
    let plan = plan(&json!([{"key": "a", "type": "t"}]));
    let response = |status| {
        let response = Ok(Response { status, headers: Vec::new(), body: Default::default() });
        Entry::Responded { at_ms: 0, activation: "a".into(), id: "r".into(), response }
    };
    let failed = Outcome::Failed(Failure { transient: true, ..Failure::error("http-status", "503") });
    let again = Called { retry_at_ms: Some(0), ..call("a", failed) };
    follow(
        &plan,
        vec![
            called("a", wait(&[("r", request())])),
            response(503),
            Entry::Called(Box::new(again)),
            response(200),
            called("a", done(json!(1))),
        ],
        expect![[r#"
            a
            a=>r
            a<-response r 503
            a=>r
            a<-response r 200
            end succeeded
        "#]],
    );
}

#[test]
fn a_call_that_failed_is_made_again_when_its_time_comes() {
    let plan = plan(&json!([{"key": "a", "type": "t"}]));
    let mut state = begin(&plan);
    let failed = || Outcome::Failed(Failure::error("x", "y"));
    apply(&plan, &mut state, Entry::Called(Box::new(Called { retry_at_ms: Some(50), ..call("a", failed()) })));
    assert_eq!((show_at(&state, 49), show_at(&state, 50)), (String::new(), "a".into()));
    assert_eq!(state.wake_ms(&plan), Some(50));
    let (_, activation) = state.activations().next().unwrap();
    assert_eq!((activation.attempt(), activation.calls), (2, 0));
    // A crash cut off the second try after it had reached outside.
    apply(&plan, &mut state, Entry::Intended { at_ms: 60, activation: "a".into(), attempt: 2 });
    let (_, activation) = state.activations().next().unwrap();
    assert!(activation.is_intended());
    assert_eq!(activation.attempt(), 3);
    apply(&plan, &mut state, called("a", done(json!(1))));
    assert_eq!(show(&state), "end succeeded");
}

#[test]
fn a_person_decides_of_what_a_crash_hid() {
    let plan = plan(&json!([{"key": "a", "type": "t"}, {"key": "b", "type": "t"}]));
    let lost = || {
        let mut state = begin(&plan);
        apply(&plan, &mut state, Entry::Intended { at_ms: 0, activation: "a".into(), attempt: 1 });
        apply(&plan, &mut state, Entry::Lost { at_ms: 0, activation: "a".into() });
        assert_eq!(show(&state), "");
        state
    };
    let decide = |decision| {
        let mut state = lost();
        apply(&plan, &mut state, arrived(Arrival::Decided { activation: "a".into(), decision, by: None }));
        show(&state)
    };
    assert_eq!(decide(Decision::Retry), "a");
    assert_eq!(decide(Decision::Succeed(json!(1).into())), "b");
    assert_eq!(decide(Decision::Fail("no".into())), "end error outcome-unknown at a");
}

#[test]
fn a_failure_is_passed_over_or_handled() {
    let steps = json!([
        {"key": "a", "type": "t", "on_failure": "continue"},
        {"key": "b", "type": "t", "branches": {"x": [{"key": "in", "type": "t"}],
            "on_failure": [{"key": "mend", "type": "t"}, {"key": "tell", "type": "t"}]}},
        {"key": "c", "type": "t"}
    ]);
    let failed = || Outcome::Failed(Failure { output: Some(json!("half").into()), ..Failure::error("x", "y") });
    let plan = plan(&steps);
    let state = follow(
        &plan,
        vec![
            called("a", failed()),
            called("b", start(&[("x", "1")])),
            called("b/1/in", failed()),
            called("b", failed()),
            called("b/on_failure/mend", done(json!(1))),
            called("b/on_failure/tell", done(json!(2))),
        ],
        expect![[r#"
            a
            b
            b/1/in
            b<-1 error x
            b/on_failure/mend
            b/on_failure/tell
            c
        "#]],
    );
    let c = state.find("c").unwrap();
    assert_eq!(state.result(c, plan.find("b").unwrap()).unwrap().text(), r#""half""#, "the failure's output is the result");
    let mend = {
        let mut state = begin(&plan);
        apply(&plan, &mut state, called("a", done(json!(0))));
        apply(&plan, &mut state, called("b", failed()));
        let mend = state.find("b/on_failure/mend").unwrap();
        let scope = state.scope(&plan, mend, "b").unwrap().text().to_owned();
        apply(&plan, &mut state, called("b/on_failure/mend", Outcome::Failed(Failure::error("worse", "z"))));
        assert_eq!(show(&state), "end error worse at b/on_failure/mend");
        scope
    };
    assert_eq!(mend, r#"{"failure":{"status":"error","code":"x","message":"y","output":"half"}}"#);
}

#[test]
fn people_act_on_tasks_and_keep_drafts() {
    let plan = plan(&json!([{"key": "a", "type": "t"}]));
    let button = |key: &str, draft| TaskAction { key: key.into(), title: key.into(), form_schema: None, draft };
    let task = |title: &str| {
        WaitKind::Task(Box::new(Task {
            title: title.into(),
            assignees: vec!["u1".into()],
            form_schema: json!({}).into(),
            values: json!({}).into(),
            actions: vec![button("ok", false), button("save", true)],
            drafts: Vec::new(),
        }))
    };
    let acted = |action: &str| {
        let (activation, id, user) = ("a".into(), "t".into(), "u1".into());
        arrived(Arrival::TaskActed { activation, id, user, action: action.into(), values: json!({"x": 1}).into() })
    };
    let state = follow(
        &plan,
        vec![called("a", wait(&[("t", task("one"))])), acted("save"), acted("ok"), called("a", wait(&[("t", task("two"))]))],
        expect![[r#"
            a


            a<-task t u1 ok

        "#]],
    );
    let (_, activation) = state.activations().next().unwrap();
    let WaitKind::Task(task) = &activation.wait("t").unwrap().wait.kind else { panic!() };
    assert_eq!((&*task.title, task.drafts.len()), ("two", 1), "a task takes over what is new and keeps drafts");
}

fn staged(key: &str, value: u8) -> Staged {
    let key = KvKey { plugin: "a/b".into(), workflow: "w".parse().unwrap(), key: key.into() };
    Staged { kv_writes: [(key, Some(vec![value].into()))].into(), ..Staged::default() }
}

fn with_effects(path: &str, outcome: Outcome, value: u8) -> Entry {
    let effects = Effects {
        output: Some(json!(value).into()),
        response: Some(Response { status: 200 + u16::from(value), headers: Vec::new(), body: Default::default() }),
        messages: vec![value.to_string().into()],
        staged: staged("k", value),
        ..Effects::default()
    };
    Entry::Called(Box::new(Called { effects, ..call(path, outcome) }))
}

fn atomic_plan() -> Plan {
    plan(&json!([
        {"key": "p", "type": "t", "branches": {"x": [{"key": "a", "type": "t"}, {"key": "b", "type": "t"}]}},
        {"key": "z", "type": "t"}
    ]))
}

#[test]
fn an_atomic_branch_keeps_everything_apart_until_it_succeeds() {
    let plan = atomic_plan();
    let mut state = begin(&plan);
    apply(&plan, &mut state, called("p", atomic("x", "1")));
    apply(&plan, &mut state, with_effects("p/1/a", done(json!("A")), 1));
    assert!(!state.has_staged() && state.response().is_none() && state.output().is_none() && state.messages().is_empty());
    let b = state.find("p/1/b").unwrap();
    assert_eq!(state.result(b, plan.find("a").unwrap()).unwrap().text(), r#""A""#, "steps inside see each other's results");
    assert_eq!(state.staged(b), staged("k", 1));
    let p = state.find("p").unwrap();
    assert!(state.result(p, plan.find("a").unwrap()).is_none(), "nobody outside does");

    let mut failed = state.clone();
    apply(&plan, &mut failed, called("p/1/b", Outcome::Failed(Failure::error("x", "y"))));
    assert_eq!(show(&failed), "p<-1 error x");
    assert!(!failed.has_staged() && failed.response().is_none() && failed.output().is_none());

    apply(&plan, &mut state, with_effects("p/1/b", done(json!("B")), 2));
    assert_eq!(show(&state), r#"p<-1 "B""#);
    assert_eq!(state.response().unwrap().status, 201, "the first response counts");
    assert_eq!((state.output().unwrap().text(), state.messages().len()), ("2", 2));
    assert_eq!(state.take_outgoing().staged, staged("k", 2));
}

#[test]
fn an_atomic_branch_begins_again_and_gives_up_in_the_end() {
    let plan = atomic_plan();
    let mut state = begin(&plan);
    apply(&plan, &mut state, called("p", atomic("x", "1")));
    apply(&plan, &mut state, with_effects("p/1/a", done(json!("A")), 1));
    let restart = || Entry::Restarted { at_ms: 0, activation: "p".into(), branch: "1".into() };
    assert_eq!(state.outermost_atomic_branches(), [("p".into(), "1".into())]);
    for _ in 0..crate::limits::ATOMIC_RESTARTS_MAX {
        apply(&plan, &mut state, restart());
        assert_eq!(show(&state), "p/1/a", "with the same path, and so with the same keys");
        assert!(state.staged(state.find("p/1/a").unwrap()).is_empty());
    }
    apply(&plan, &mut state, restart());
    assert_eq!(show(&state), "p<-1 error conflict");
}

#[test]
fn ending_the_run_from_an_atomic_branch_keeps_what_it_did_only_if_it_ends_well() {
    let plan = atomic_plan();
    for (status, kept) in [(Status::Succeeded, true), (Status::Failed, false)] {
        let mut state = begin(&plan);
        apply(&plan, &mut state, called("p", atomic("x", "1")));
        apply(&plan, &mut state, with_effects("p/1/a", Outcome::EndRun { status, message: None }, 1));
        assert_eq!(show(&state), format!("end {status} early"));
        assert_eq!((state.has_staged(), state.response().is_some()), (kept, kept));
    }
}

#[test]
fn in_an_atomic_branch_nobody_waits_for_people_or_times() {
    let plan = atomic_plan();
    let mut state = begin(&plan);
    apply(&plan, &mut state, called("p", atomic("x", "1")));
    let a = state.find("p/1/a").unwrap();
    for (kind, fits) in [(timer(1), false), (signal_wait("x"), false), (child("y"), true), (request(), true)] {
        assert_eq!(super::check(&plan, &state, a, &wait(&[("w", kind)]), false).is_ok(), fits);
    }
    let p = state.find("p").unwrap();
    assert!(super::check(&plan, &state, p, &wait(&[("w", timer(1))]), true).is_err(), "nor in a synchronous run");
    let back = Outcome::GoBack { step: "p".parse().unwrap(), output: Json::null() };
    assert!(super::check(&plan, &state, a, &back, false).is_err(), "and nobody goes back out of it");
}

#[test]
fn a_state_that_was_stored_goes_on_as_before() {
    let plan = atomic_plan();
    let mut state = begin(&plan);
    apply(&plan, &mut state, called("p", wait(&[("t", timer(5)), ("c", child("y"))])));
    state.take_outgoing();
    let bytes = rmp_serde::to_vec_named(&state).unwrap();
    let mut back: State = rmp_serde::from_slice(&bytes).unwrap();
    for entry in [woke("p", "t"), called("p", done(json!(1))), called("z", done(json!(2)))] {
        apply(&plan, &mut state, entry.clone());
        apply(&plan, &mut back, entry);
        assert_eq!(format!("{back:?}"), format!("{state:?}"));
    }
    assert_eq!(show(&back), "end succeeded");
}

#[test]
fn what_is_repeated_of_another_run_has_its_time_anew() {
    let plan = plan(&json!([{"key": "s", "type": "t", "timeout_ms": 50, "branches": {"b": [{"key": "i", "type": "t"}]}}]));
    let first = |queued| match accepted(queued) {
        Entry::Accepted(accepted) => Entry::Accepted(Accepted { at_ms: 1_000, ..accepted }),
        other => other,
    };
    let deadline = |state: &State| state.activation(state.find("s").unwrap()).unwrap().deadline_ms(&plan);
    let repeated = called("s", start(&[("b", "1")]));
    let mut state = State::begin(&plan, run(), &first(false)).unwrap();
    state.apply(&plan, &repeated);
    assert_eq!(deadline(&state), Some(1_050));
    let mut state = State::begin(&plan, run(), &first(true)).unwrap();
    state.apply(&plan, &repeated);
    state.apply(&plan, &Entry::Started { at_ms: 3_000 });
    assert_eq!(deadline(&state), Some(3_050), "it stood in its queue");
}
