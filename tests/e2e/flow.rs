//! Steps that steer: condition, switch, loop.

use serde_json::{Value, json};

use crate::harness::Host;

/// The workflow that shows a type, and one run of it with this context.
fn example(host: &Host, name: &str, context: &Value) -> Value {
    host.apply_example(name);
    host.run_once(name, context)
}

/// A workflow that is started by hand, with whatever context.
pub(crate) fn flow(key: &str, steps: &Value) -> Value {
    json!({"weft": 1, "key": key, "trigger": {"type": "manual-start"}, "steps": steps})
}

/// How a step at a path stands in a run.
#[track_caller]
pub(crate) fn step<'a>(run: &'a Value, path: &str) -> &'a Value {
    let steps = run["steps"].as_array().unwrap();
    steps.iter().find(|step| step["path"] == path).unwrap_or_else(|| panic!("no step {path} in {run:#}"))
}

pub(crate) fn has_step(run: &Value, path: &str) -> bool {
    run["steps"].as_array().unwrap().iter().any(|step| step["path"] == path)
}

#[test]
fn the_first_condition_that_holds_has_its_branch() {
    let host = Host::start();
    let order = |tier: &str, weight: u32, kinds: Value| {
        let lines: Vec<Value> = kinds.as_array().unwrap().iter().map(|kind| json!({ "kind": kind })).collect();
        json!({"data": {"id": 7, "customer": {"tier": tier}, "weight_kg": weight, "lines": lines}})
    };
    let run = example(&host, "switch", &order("gold", 50, json!([])));
    assert_eq!(step(&run, "team")["output"], json!({"matched": "vip", "outcomes": [true, null]}), "{run:#}");
    assert_eq!(step(&run, "team/vip/to-vip")["output"], json!({"team": "key-accounts"}));
    assert!(!has_step(&run, "team/freight/to-freight"), "the first one counts");
    let run = host.run_once("switch", &order("none", 3, json!(["box", "pallet"])));
    assert_eq!(step(&run, "team")["output"], json!({"matched": "freight", "outcomes": [false, true]}));
    let run = host.run_once("switch", &order("none", 3, json!(["box"])));
    assert_eq!(step(&run, "team")["output"], json!({"matched": null, "outcomes": [false, false]}));
    assert_eq!(step(&run, "team/else/to-shop")["status"], "succeeded");
    assert_eq!(step(&run, "summary")["output"], json!({"order": 7, "matched": null}));
}

#[test]
fn a_switch_without_a_match_fails_after_its_branch_and_a_failure_in_a_branch_goes_up() {
    let host = Host::with_lab();
    let case = json!({"key": "a", "title": "A", "left": "{{$context.x}}", "operator": "equal", "right": 1});
    let steps = json!([
        {"key": "which", "type": "switch", "config": {"conditions": [case]}, "branches": {
            "a": [{"key": "broken", "type": "acme/lab/fail", "config": {"code": "out-of-stock"}}],
            "else": [{"key": "note", "type": "data", "config": {"fields": {}}}]}},
        {"key": "after", "type": "data", "config": {"fields": {}}}]);
    host.apply(&flow("switches", &steps));
    let run = host.run_once("switches", &json!({"x": 2}));
    assert_eq!((&run["status"], &step(&run, "which")["failure"]["code"]), (&json!("failed"), &json!("no-match")));
    assert_eq!(step(&run, "which")["output"], json!({"matched": null, "outcomes": [false]}));
    assert_eq!(step(&run, "which/else/note")["status"], "succeeded");
    assert!(!has_step(&run, "after"));
    let run = host.run_once("switches", &json!({"x": "1"}));
    assert_eq!((&run["status"], &step(&run, "which")["failure"]["code"]), (&json!("error"), &json!("out-of-stock")));
}

#[test]
fn branches_that_a_config_lists_have_keys_of_their_own() {
    let host = Host::start();
    let case = |key: &str| json!({"key": key, "left": 1, "operator": "equal", "right": 1});
    let steps =
        json!([{"key": "s", "type": "switch", "config": {"conditions": [case("a"), case("a"), case("else"), {"key": "b"}]}}]);
    let refused = host.publish(&flow("bad", &steps));
    refused.expect_problem(422, "invalid-workflow");
    let document = refused.json();
    let mut at: Vec<&str> = document["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
    at.sort_unstable();
    let listed = json!([{"key": "s", "type": "switch", "config": {"conditions": "{{$context.list}}"}},
        {"key": "p", "type": "parallel", "config": {"branches": [{"key": "a"}]}}]);
    let document = host.publish(&flow("bad", &listed)).json();
    let wrong: Vec<&str> = document["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
    assert_eq!(wrong, ["/steps/0/config/conditions", "/steps/1/config/branches"]);
    let conditions = "/steps/0/config/conditions";
    assert_eq!(at, [format!("{conditions}/1/key"), format!("{conditions}/2/key"), format!("{conditions}/3")]);
}

#[test]
fn a_round_that_fails_ends_the_loop_leaves_it_or_is_passed_over() {
    let host = Host::start();
    let go = |exit: &str| {
        let steps = json!([
            {"key": "each", "type": "loop", "config": {"target": [1, 2, 3], "exit": exit}, "branches": {"do": [
                {"key": "not-two", "type": "condition",
                    "config": {"mode": "reject", "left": "{{$scopes.each.item}}", "operator": "notEqual", "right": 2}}]}},
            {"key": "after", "type": "data", "config": {"fields": {"looped": "{{$steps.each.result.looped}}"}}}]);
        host.apply(&flow("rounds", &steps));
        host.run_once("rounds", &json!({}))
    };
    let run = go("return");
    assert_eq!(
        (&run["status"], &step(&run, "each")["failure"]["code"]),
        (&json!("failed"), &json!("condition-false")),
        "{run:#}"
    );
    assert!(!has_step(&run, "after") && !has_step(&run, "each/2/not-two"));
    let run = go("break");
    assert_eq!(
        (&run["status"], &step(&run, "each")["output"]),
        (&json!("succeeded"), &json!({"looped": 2, "done": false, "broken": true}))
    );
    assert!(has_step(&run, "after") && !has_step(&run, "each/2/not-two"));
    let run = go("continue");
    assert_eq!((&run["status"], &step(&run, "each")["output"]), (&json!("succeeded"), &json!({"looped": 3, "done": true})));
    assert_eq!(step(&run, "each/2/not-two")["status"], "succeeded");
}

#[test]
fn nested_loops_see_their_own_round_and_those_around() {
    let host = Host::start();
    let steps = json!([{"key": "outer", "type": "loop", "config": {"target": "{{$context.rows}}"}, "branches": {"do": [
        {"key": "inner", "type": "loop", "config": {"target": "{{$scopes.outer.item.cells}}"}, "branches": {"do": [
            {"key": "note", "type": "data", "config": {"fields": {"in": "{{$scopes.inner}}", "out": "{{$scopes.outer.sequence}}/{{$scopes.outer.length}}"}}}]}},
        {"key": "row", "type": "data", "config": {"fields": {"last": "{{$steps.note.result.in.item}}", "cells": "{{$steps.inner.result.looped}}"}}}]}}]);
    host.apply(&flow("grid", &steps));
    let run = host.run_once("grid", &json!({"rows": [{"cells": ["a", "b"]}, {"cells": []}, {"cells": ["c"]}]}));
    assert_eq!(run["status"], "succeeded", "{run:#}");
    let note = |path: &str| &step(&run, path)["output"];
    let round =
        |item: &str, index: u32, length: u32| json!({"item": item, "index": index, "sequence": index + 1, "length": length});
    assert_eq!(note("outer/0/inner/0/note"), &json!({"in": round("a", 0, 2), "out": "1/3"}));
    assert_eq!(note("outer/0/inner/1/note"), &json!({"in": round("b", 1, 2), "out": "1/3"}));
    assert_eq!(note("outer/2/inner/0/note"), &json!({"in": round("c", 0, 1), "out": "3/3"}));
    // The newest result counts: the second row has no cell, and sees that of the row before.
    assert_eq!(note("outer/1/row"), &json!({"last": "b", "cells": 0}));
    assert_eq!(note("outer/2/row"), &json!({"last": "c", "cells": 1}));
}

#[test]
fn what_a_loop_goes_through() {
    let host = Host::start();
    let steps = json!([{"key": "each", "type": "loop", "config": {"target": "{{$context.target}}", "limit": 5}, "branches": {"do": [
        {"key": "note", "type": "data", "config": {"fields": {"item": "{{$scopes.each.item}}"}}}]}}]);
    host.apply(&flow("targets", &steps));
    let items = |target: Value| {
        let run = host.run_once("targets", &json!({ "target": target }));
        let notes = run["steps"].as_array().unwrap().iter().filter(|step| step["step"] == "note");
        let items: Vec<Value> = notes.map(|note| note["output"]["item"].clone()).collect();
        let each = step(&run, "each");
        (Value::from(items), if each["output"].is_null() { each["failure"].clone() } else { each["output"].clone() })
    };
    let whole = |looped: u32| json!({"looped": looped, "done": true});
    assert_eq!(items(json!(["x", {"y": 1}, null])), (json!(["x", {"y": 1}, null]), whole(3)));
    assert_eq!(items(json!(2.9)), (json!([0, 1]), whole(2)));
    assert_eq!(items(json!(0)), (json!([]), whole(0)));
    assert_eq!(items(json!("añ😀")), (json!(["a", "ñ", "😀"]), whole(3)));
    assert_eq!(items(json!("")), (json!([]), whole(0)));
    assert_eq!(items(json!({"a": 1})), (json!([{"a": 1}]), whole(1)));
    assert_eq!(items(json!(null)), (json!([]), whole(0)));
    assert_eq!(items(json!([])), (json!([]), whole(0)));
    let (none, failure) = items(json!(-1));
    assert_eq!((none, &failure["code"]), (json!([]), &json!("invalid-config")));
    assert!(failure["message"].as_str().unwrap().contains("/target"), "{failure}");
    assert_eq!(items(json!([1, 2, 3, 4, 5])).1, whole(5));
    let (five, exceeded) = items(json!([1, 2, 3, 4, 5, 6]));
    assert_eq!((five, exceeded), (json!([1, 2, 3, 4, 5]), json!({"looped": 5, "done": false, "exceeded": true})));
    let run = host.newest_run();
    assert_eq!((&run["status"], &run["steps"][0]["failure"]["code"]), (&json!("error"), &json!("loop-limit")));
}

#[test]
fn a_rounds_condition_is_looked_at_anew_before_or_after_it() {
    let host = Host::start();
    let go = |checkpoint: &str, on_false: &str, left: &str| {
        let condition = json!({"checkpoint": checkpoint, "on_false": on_false, "left": left, "operator": "notEqual", "right": 2});
        let steps = json!([{"key": "each", "type": "loop", "config": {"target": "{{$context.n}}", "condition": condition}, "branches":
            {"do": [{"key": "note", "type": "data", "config": {"fields": {"n": "{{$scopes.each.item}}"}}}]}}]);
        host.apply(&flow("checks", &steps));
        let run = host.run_once("checks", &json!({"n": [1, 2, 3]}));
        let steps = run["steps"].as_array().unwrap();
        let notes: Vec<Value> =
            steps.iter().filter(|step| step["step"] == "note").map(|step| step["output"]["n"].clone()).collect();
        (Value::from(notes), step(&run, "each")["output"].clone())
    };
    let (scope, inside) = ("{{$scopes.each.item}}", "{{$steps.note.result.n}}");
    let broken = |looped: u32| json!({"looped": looped, "done": false, "broken": true});
    assert_eq!(go("before", "break", scope), (json!([1]), broken(1)));
    assert_eq!(go("before", "skip", scope), (json!([1, 3]), json!({"looped": 3, "done": true})));
    assert_eq!(go("after", "break", scope), (json!([1, 2]), broken(2)));
    assert_eq!(go("after", "skip", scope), (json!([1, 2, 3]), json!({"looped": 3, "done": true})));
    assert_eq!(go("after", "break", inside), (json!([1, 2]), broken(2)), "it sees what the round came to");
}

#[test]
fn a_condition_can_be_a_tree_and_goes_one_way() {
    let host = Host::start();
    let order = |total: u32, payment: &str| json!({"data": {"total": total, "payment": payment}});
    let run = example(&host, "condition", &order(300, "invoice"));
    assert_eq!(
        (&step(&run, "is-large")["output"], &step(&run, "is-large/yes/review")["status"]),
        (&json!(true), &json!("succeeded"))
    );
    let run = host.run_once("condition", &order(300, "card"));
    assert_eq!(
        (&step(&run, "is-large")["output"], &step(&run, "is-large/no/accept")["status"]),
        (&json!(false), &json!("succeeded"))
    );
    assert_eq!(step(&host.run_once("condition", &order(1001, "card")), "is-large")["output"], true);
}

#[test]
fn fields_are_put_together() {
    let host = Host::start();
    let person = json!({"data": {"first": "Ada", "last": "Lovelace", "phones": [{"number": "1"}, {"number": "2"}]}});
    let run = example(&host, "data", &person);
    assert_eq!(run["steps"][0]["output"], json!({"full_name": "Ada Lovelace", "city": "unknown", "phones": ["1", "2"]}));
}

#[test]
fn a_loop_goes_on_below_when_it_is_left() {
    let host = Host::start();
    let line = |sku: &str, quantity: u32, stock: u32| json!({"sku": sku, "quantity": quantity, "stock": stock});
    let lines = json!([line("a", 1, 5), line("b", 0, 0), line("c", 2, 1), line("d", 1, 1)]);
    let run = example(&host, "loop", &json!({"data": {"lines": lines}}));
    assert_eq!(run["status"], "succeeded", "{run:#}");
    assert_eq!(step(&run, "each/0/reserve")["output"], json!({"sku": "a", "line": "1 of 4"}));
    assert!(!has_step(&run, "each/1/in-stock") && !has_step(&run, "each/3/in-stock"));
    assert_eq!(step(&run, "each/2/in-stock")["status"], "failed");
    assert_eq!(step(&run, "summary")["output"], json!({"lines": 3, "complete": false}));
}

#[test]
fn what_a_step_fills_in_itself_is_checked_when_it_is_published() {
    let host = Host::with_lab();
    host.set_secret("api", "hunter2-hunter2");
    let publish = |target: &str, left: &str| {
        let config =
            json!({"target": target, "condition": {"checkpoint": "after", "left": left, "operator": "equal", "right": 1}});
        let steps = json!([{"key": "each", "type": "loop", "config": config, "branches": {"do": [
            {"key": "inside", "type": "data", "config": {"fields": {}}}]}}]);
        let errors = host.publish(&flow("raw", &steps)).json()["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(publish("{{$context.list}}", "{{$steps.inside.result}}"), Vec::<String>::new());
    assert_eq!(publish("{{$context.list}}", "{{$scopes.each.item}}"), Vec::<String>::new());
    assert_eq!(
        publish("{{$steps.later.result}}", "{{$context.a[0]}}"),
        ["/steps/0/config/condition/left", "/steps/0/config/target"]
    );
    assert_eq!(publish("{{$secrets.api}}", "x"), ["/steps/0/config/target"]);
}
