//! Steps that decide by formulas.

use serde_json::{Value, json};

use crate::calc::{ask, step};
use crate::harness::Host;
use crate::script::steps;

#[test]
fn the_examples_decide() {
    let host = Host::start();
    let lines = json!([{"price": 20, "quantity": 2}, {"price": 5, "quantity": 1}]);
    assert_eq!(ask(&host, "formula-condition", &json!({"lines": lines, "free_from": 45})), json!({"shipping": 0}));
    assert_eq!(ask(&host, "formula-condition", &json!({"lines": lines, "free_from": 45.5})), json!({"shipping": 4.9}));

    let grade = |came: &str| ask(&host, "formula-switch", &json!({"promised": "2024-07-15", "came": came}))["grade"].take();
    assert_eq!(["2024-07-12", "2024-07-15", "2024-07-19", "2024-07-22"].map(grade), ["A", "B", "C", "F"].map(Value::from));
}

/// A run with one step and a branch, and what the step came to.
fn decide(host: &Host, context: &Value, config: &Value) -> Value {
    let mut only = step("formula-condition", config.clone());
    let branch = |key: &str| json!([{"key": key, "type": "data", "config": {"fields": {}}}]);
    only["branches"] = json!({"yes": branch("then"), "no": branch("otherwise")});
    host.apply(&steps(&[("only", only), ("below", json!({"type": "data", "config": {"fields": {}}}))]));
    host.run_once("steps", context)
}

/// The step of a run with this key, wherever it stands.
fn ran<'a>(run: &'a Value, key: &str) -> Option<&'a Value> {
    run["steps"].as_array().unwrap().iter().find(|step| step["path"].as_str().unwrap().rsplit('/').next() == Some(key))
}

#[test]
fn formulas_hold_as_their_languages_have_it() {
    let host = Host::start();
    let context = json!({"n": 3, "zero": 0, "empty": "", "text": "no", "list": [], "none": null});
    let math = |expression: &str| json!({"expression": expression});
    let formula = |expression: &str| json!({"engine": "formula.js", "expression": expression});
    for (config, expected) in [
        (math("{{$context.n}} > 2"), Some(true)),
        (math("{{$context.n}} > 3"), Some(false)),
        (math("{{$context.zero}}"), Some(false)),
        (math("{{$context.empty}}"), Some(false)),
        (math("{{$context.text}}"), Some(true)),
        (math("{{$context.none}}"), Some(false)),
        (math("bignumber(0)"), Some(false)),
        (math("5 cm"), Some(true)),
        (math("a = {{$context.n}}; a > 2"), Some(true)),
        // What is neither true nor false there is an error.
        (math("{{$context.list}}"), None),
        (math("nothing > 1"), None),
        (formula("{{$context.list}}"), Some(true)),
        (formula("{{$context.none}}"), Some(false)),
        (formula("NaN"), Some(false)),
        (formula("AND({{$context.n}} > 2, LEN({{$context.text}}) === 2)"), Some(true)),
        (formula("OR(false, {{$context.n}} > 3)"), Some(false)),
        // The library's own errors are no truths.
        (formula("ABS({{$context.text}})"), None),
        (formula("nothing"), None),
    ] {
        let run = decide(&host, &context, &config);
        let only = ran(&run, "only").unwrap();
        match expected {
            Some(holds) => {
                assert_eq!((&run["status"], &only["output"]), (&json!("succeeded"), &json!(holds)), "{config}: {only}");
                let went = ["then", "otherwise", "below"].map(|key| ran(&run, key).is_some());
                assert_eq!(went, [holds, !holds, true], "{config}");
            }
            None => {
                let failure = &only["failure"];
                assert_eq!((&run["status"], &failure["code"]), (&json!("error"), &json!("expression-error")), "{config}: {only}");
                assert!(failure["message"].as_str().unwrap().starts_with("/expression: "), "{failure}");
                assert!(["then", "otherwise", "below"].iter().all(|key| ran(&run, key).is_none()), "{config}");
            }
        }
    }
}

#[test]
fn a_formula_that_does_not_hold_may_be_a_failure() {
    let host = Host::start();
    let run = decide(&host, &json!({"n": 1}), &json!({"mode": "reject", "expression": "{{$context.n}} > 1"}));
    let only = ran(&run, "only").unwrap();
    assert_eq!(
        (&run["status"], &only["output"], &only["failure"]["code"]),
        (&json!("failed"), &json!(false), &json!("condition-false"))
    );
    assert!(["then", "otherwise", "below"].iter().all(|key| ran(&run, key).is_none()), "{run}");
    let run = decide(&host, &json!({"n": 2}), &json!({"mode": "reject", "expression": "{{$context.n}} > 1"}));
    assert!(run["status"] == "succeeded" && ran(&run, "then").is_some(), "{run}");
}

#[test]
fn the_first_formula_that_holds_has_its_branch() {
    let host = Host::start();
    let case = |key: &str, expression: &str| json!({"key": key, "expression": expression});
    let run = |conditions: Value, goes_on: bool, n: u32| {
        let mut only = step("formula-switch", json!({"conditions": conditions, "continue_on_no_match": goes_on}));
        let branch = |key: &str| json!([{"key": key, "type": "data", "config": {"fields": {}}}]);
        only["branches"] = json!({"one": branch("to-one"), "two": branch("to-two"), "else": branch("to-else")});
        host.apply(&steps(&[("only", only)]));
        let run = host.run_once("steps", &json!({"n": n}));
        let went: Vec<&str> = ["to-one", "to-two", "to-else"].into_iter().filter(|key| ran(&run, key).is_some()).collect();
        let only = ran(&run, "only").unwrap();
        json!([run["status"], only["failure"]["code"], only["output"], went])
    };
    let two = json!([case("one", "{{$context.n}} == 1"), case("two", "{{$context.n}} / 2 == 1")]);
    let chosen = |key: Value, outcomes: Value| json!({"matched": key, "outcomes": outcomes});
    assert_eq!(run(two.clone(), false, 1), json!(["succeeded", null, chosen(json!("one"), json!([true, null])), ["to-one"]]));
    assert_eq!(run(two.clone(), false, 2), json!(["succeeded", null, chosen(json!("two"), json!([false, true])), ["to-two"]]));
    let none = chosen(Value::Null, json!([false, false]));
    assert_eq!(run(two.clone(), true, 3), json!(["succeeded", null, none, ["to-else"]]));
    assert_eq!(run(two, false, 3), json!(["failed", "no-match", none, ["to-else"]]));

    // One that cannot be calculated ends it, and the outcomes say so.
    let wrong = run(json!([case("one", "false"), case("two", "nothing + 1")]), true, 1);
    assert_eq!((&wrong[0], &wrong[1], &wrong[3]), (&json!("error"), &json!("expression-error"), &json!([])));
    let outcomes = &wrong[2]["outcomes"];
    assert!(outcomes[0] == false && outcomes[1].as_str().unwrap().starts_with("/conditions/1/expression: "), "{wrong}");
    assert_eq!(wrong[2]["matched"], Value::Null);
}

#[test]
fn formulas_that_cannot_be_read_are_refused_when_they_are_published() {
    let host = Host::start();
    for (kind, config, at) in [
        ("formula-condition", json!({"expression": "2 * ("}), "/config/expression"),
        ("formula-condition", json!({"engine": "formula.js", "expression": "'{{$context.a}}'"}), "/config/expression"),
        (
            "formula-switch",
            json!({"conditions": [{"key": "a", "expression": "1"}, {"key": "b", "expression": "1 +"}]}),
            "/config/conditions/1/expression",
        ),
        (
            "formula-switch",
            json!({"conditions": [{"key": "a", "expression": "1"}, {"key": "a", "expression": "1"}]}),
            "/config/conditions/1/key",
        ),
    ] {
        host.api("PUT", "/workflows/steps/draft", steps(&[("only", step(kind, config.clone()))]).to_string().as_bytes());
        let answer = host.api("POST", "/workflows/steps/revisions", b"{}");
        let text = String::from_utf8_lossy(&answer.body);
        assert!(answer.status == 422 && text.contains(at), "{config}: {} {text}", answer.status);
    }
}
