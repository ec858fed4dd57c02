//! Definitions and answers in, calls and ends out.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::run::{Accepted, BranchStart, Effects};
use crate::workflow::Definition;

fn plan(steps: &Value) -> Plan {
    let definition = json!({"weft": 1, "key": "w", "trigger": {"type": "t"}, "steps": steps});
    Plan::new(&Definition::from_value(definition).unwrap(), 1).unwrap()
}

fn begin(plan: &Plan) -> State {
    let accepted = Accepted {
        at_ms: 0,
        workflow: "w".parse().unwrap(),
        revision: 1,
        context: Json::from(json!("context")),
        synchronous: false,
    };
    State::begin(plan, &Entry::Accepted(accepted)).unwrap()
}

fn called(path: &str, outcome: Outcome) -> Entry {
    Entry::Called(Box::new(Called {
        activation: path.into(),
        at_ms: 0,
        took_us: 0,
        config: None,
        secrets: Vec::new(),
        outcome,
        effects: Effects::default(),
        log: Vec::new(),
        log_dropped: 0,
    }))
}

fn done(value: Value) -> Outcome {
    Outcome::Done(value.into())
}

fn start(branches: &[(&str, &str)]) -> Outcome {
    let start = branches.iter().map(|(branch, id)| BranchStart {
        branch: (*branch).into(),
        id: (*id).into(),
        scope: json!({ "id": id }).into(),
    });
    Outcome::Pending { state: Json::null(), start: start.collect(), stop: Vec::new() }
}

fn failed(code: &str) -> Outcome {
    Outcome::Failed(Failure::error(code, "broke"))
}

/// What is to be done, or how the run ended, in one line.
fn show(state: &State) -> String {
    if let Some(end) = state.end() {
        let early = if end.early { " early" } else { "" };
        let failure = end.failure.as_ref().map(|(failure, path)| format!(" {} at {path}", failure.code));
        return format!("end {}{early}{}", end.status, failure.unwrap_or_default());
    }
    let commands = state.commands().map(|Command::Call(id, event)| {
        let activation = state.activation(id).unwrap();
        match event {
            None => format!("{}({})", activation.path, activation.input.text()),
            Some(Event::BranchEnded(end)) => {
                let output = end.output.map_or_else(|f| format!("{} {}", f.status, f.code), |output| output.text().to_owned());
                format!("{}<-{} {output}", activation.path, end.id)
            }
        }
    });
    commands.collect::<Vec<_>>().join(", ")
}

/// Gives each answer in turn and shows what follows from it.
fn check(steps: &Value, answers: Vec<(&str, Outcome)>, want: Expect) {
    let plan = plan(steps);
    let mut state = begin(&plan);
    let mut lines = vec![show(&state)];
    for (path, mut outcome) in answers {
        if let Some(id) = state.find_open(path)
            && let Err(failure) = super::check(&plan, &state, id, &outcome)
        {
            outcome = Outcome::Failed(failure);
        }
        state.apply(&plan, &called(path, outcome));
        lines.push(show(&state));
    }
    want.assert_eq(&(lines.join("\n") + "\n"));
}

#[test]
fn steps_follow_each_other_and_hand_on_their_results() {
    let steps = json!([{"key": "a", "type": "t"}, {"key": "b", "type": "t"}]);
    check(
        &steps,
        vec![("a", done(json!(1))), ("b", done(json!(2)))],
        expect![[r#"
            a("context")
            b(1)
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
            if("context")
            if/1/a("context")
            if/1/b("A")
            if<-1 "B"
            z(true)
            end succeeded
        "#]],
    );
    check(
        &steps,
        vec![("if", start(&[("no", "1")])), ("if", start(&[("missing", "2")])), ("if", failed("x"))],
        expect![[r#"
            if("context")
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
            p("context")
            p/1/a("context")
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
            p("context")
            p/x/a("context"), p/y/b("context")
            p<-y 2, p/x/a("context")
            z("first")
            z("first")
            end succeeded
        "#]],
    );
}

#[test]
fn events_come_one_at_a_time_in_order() {
    let steps = json!([{"key": "p", "type": "t", "branches": {"x": [{"key": "a", "type": "t"}]}}]);
    let on = || Outcome::Pending { state: json!(1).into(), start: Vec::new(), stop: Vec::new() };
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
            p("context")
            p<-3 null, p/1/a("context"), p/2/a("context")
            p<-3 null, p/1/a("context")
            p<-2 "two", p/1/a("context")
            p/1/a("context")
            p<-1 error one
            end error bad-answer at p
        "#]],
    );
}

#[test]
fn a_branch_can_be_stopped_and_its_id_used_again() {
    let steps = json!([{"key": "p", "type": "t", "branches": {"x": [{"key": "a", "type": "t"}]}}]);
    let again = Outcome::Pending {
        state: Json::null(),
        start: vec![BranchStart { branch: "x".into(), id: "1".into(), scope: Json::null() }],
        stop: vec!["1".into()],
    };
    check(
        &steps,
        vec![("p", start(&[("x", "1"), ("none", "2")])), ("p", again), ("p/1/a", done(json!(1))), ("p", done(json!(2)))],
        expect![[r#"
            p("context")
            p<-2 null, p/1/a("context")
            p/1/a("context")
            p<-1 1
            end succeeded
        "#]],
    );
}

#[test]
fn a_step_can_end_the_run_from_inside_a_branch() {
    let steps = json!([{"key": "p", "type": "t", "branches": {"x": [{"key": "a", "type": "t"}]}}, {"key": "z", "type": "t"}]);
    let end = Outcome::EndRun { status: Status::Failed, message: Some("enough".into()) };
    check(
        &steps,
        vec![("p", start(&[("x", "1")])), ("p/1/a", end)],
        expect![[r#"
            p("context")
            p/1/a("context")
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
            a("context")
            p(1)
            p/1/b(1)
            p/1/c(2)
            p/1/b~2("again")
            a~2("again")
            p~2(3)
            p~2/1/b(3)
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
        let id = state.find_open("p").unwrap();
        let failure = super::check(&plan, &state, id, &outcome).unwrap_err();
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
    let b = state.find_open("p/7/a/8/b").unwrap();
    assert_eq!(state.scope(&plan, b, "p").unwrap().text(), r#"{"id":"7"}"#);
    assert_eq!(state.scope(&plan, b, "a").unwrap().text(), r#"{"id":"8"}"#);
    assert!(state.scope(&plan, b, "b").is_none());

    let mut entry = called("p/7/a/8/b", done(json!("B")));
    if let Entry::Called(called) = &mut entry {
        called.effects.results.push(("p".parse().unwrap(), json!("set").into()));
        called.effects.output = Some(json!("out").into());
    }
    state.apply(&plan, &entry);
    assert_eq!(state.result(plan.find("b").unwrap()).unwrap().text(), r#""B""#);
    assert_eq!(state.result(plan.find("p").unwrap()).unwrap().text(), r#""set""#);
    assert_eq!(state.output().unwrap().text(), r#""out""#);
}

#[test]
fn a_run_in_circles_ends() {
    let plan = plan(&json!([{"key": "a", "type": "t"}]));
    let mut state = begin(&plan);
    let mut calls = 0;
    while state.end().is_none() {
        let path = state.commands().map(|Command::Call(id, _)| state.activation(id).unwrap().path.clone()).next().unwrap();
        let outcome = Outcome::GoBack { step: "a".parse().unwrap(), output: Json::null() };
        state.apply(&plan, &called(&path, outcome));
        calls += 1;
    }
    assert_eq!(calls, RUN_CALLS_MAX);
    assert!(show(&state).starts_with("end error too-many-calls"), "{}", show(&state));
}
