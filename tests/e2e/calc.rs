//! Steps that calculate and that pick from JSON.

use serde_json::{Value, json};

use crate::harness::{Host, example};
use crate::script::steps;

pub(crate) fn step(kind: &str, config: Value) -> Value {
    json!({"type": kind, "config": config})
}

/// What each of many steps came to: its result, or the code of its failure.
pub(crate) fn outcomes(host: &Host, context: &Value, list: Vec<Value>) -> Vec<Value> {
    let keys: Vec<String> = (0..list.len()).map(|index| format!("s{index}")).collect();
    let with_keys: Vec<(&str, Value)> = keys
        .iter()
        .map(String::as_str)
        .zip(list.into_iter().map(|mut step| {
            step["on_failure"] = json!("continue");
            step
        }))
        .collect();
    host.apply(&steps(&with_keys));
    let run = host.run_once("steps", context);
    let outcome =
        |step: &Value| if step["failure"].is_null() { step["output"].clone() } else { json!({"fails": step["failure"]["code"]}) };
    run["steps"].as_array().unwrap().iter().map(outcome).collect()
}

/// Checks configs against results.
#[track_caller]
fn expect(kind: &str, context: &Value, cases: &[(Value, Value)]) {
    let host = Host::start();
    let found = outcomes(&host, &context["context"], cases.iter().map(|(config, _)| step(kind, config.clone())).collect());
    assert_eq!(found.len(), cases.len());
    for ((config, expected), found) in cases.iter().zip(found) {
        assert_eq!(found, *expected, "{config}");
    }
}

/// Applies an example and sends it a request.
pub(crate) fn ask(host: &Host, name: &str, body: &Value) -> Value {
    let definition = example(name, &[]);
    host.apply(&definition);
    let answer = host.hook(definition["key"].as_str().unwrap(), body.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{} {}", String::from_utf8_lossy(&answer.body), host.newest_run());
    answer.json()
}

#[test]
fn the_examples_do_what_they_say() {
    let host = Host::start();
    let order = json!({"prices": [10, 2.5], "quantities": [2, 4], "country": "DE", "name": "Ada"});
    assert_eq!(ask(&host, "calculation", &order), json!({"net": 30, "gross": 35.7, "text": "Ada: 35.7 EUR"}));

    let invoice = json!({"sent": "2024-07-15T10:00:00Z", "today": "2024-08-01T00:00:00Z"});
    assert_eq!(
        ask(&host, "date-calculation", &invoice),
        json!({"due": "2024-08-18T21:59:59.999Z", "text": "Sunday, 18 August 2024, 23:59 +02:00", "left": 18})
    );

    // Acceptance 14: the documented results of the two-order sample.
    let orders = json!({"orders": [
        {"id": 1, "products": [{"name": "pen", "price": 100, "quantity": 3}, {"name": "ink", "price": 40, "quantity": 1}]},
        {"id": 2, "products": [{"name": "book", "price": 205, "quantity": 2}]}]});
    assert_eq!(
        ask(&host, "json-query", &orders),
        json!({"names": ["pen", "ink", "book"], "dear": ["pen", "book"], "totals": [{"order": 1, "total": 340}, {"order": 2, "total": 410}]})
    );

    let delivery =
        json!({"customer": {"name": "Ada"}, "contact": {"mail": "a@example.org"}, "positions": [{"article": 7}, {"article": 9}]});
    assert_eq!(ask(&host, "json-mapping", &delivery), json!({"customer": "Ada", "articles": [7, 9], "mail": "a@example.org"}));
}

#[test]
fn formulas_calculate_with_bound_values() {
    let context = json!({"n": 3, "list": [5, 6, 7], "text": "1) + process", "o": {"a": {"b": 2}}, "rows": [[1, 2], [3, 4]]});
    let math = |expression: &str| json!({"expression": expression});
    let formula = |expression: &str| json!({"engine": "formula.js", "expression": expression});
    let text = |expression: &str| json!({"engine": "string", "expression": expression});
    let fails = json!({"fails": "expression-error"});
    expect(
        "calculation",
        &json!({"context": context}),
        &[
            (math("0.1 + 0.2"), json!(0.3)),
            (math("{{$context.n}} ^ 2 + 2{{$context.n}}"), json!(15)),
            // Lists begin at 1 here, and at 0 there.
            (math("{{$context.list}}[1]"), json!(5)),
            (formula("{{$context.list}}[1]"), json!(6)),
            (math("{{$context.o}}.a.b + 1"), json!(3)),
            (math("{{$context.rows}}' * [1; 1]"), json!([[4], [6]])),
            (math("[1, 2; 3, 4] * 2"), json!([[2, 4], [6, 8]])),
            (math("1:3"), json!([1, 2, 3])),
            (math("bignumber(1) / 3"), json!("0.3333333333333333333333333333333333333333333333333333333333333333")),
            (math("fraction(1, 3)"), json!("1/3")),
            (math("sqrt(-4)"), json!("2i")),
            (math("5.08 cm to inch"), json!("2 inch")),
            (math("{ total: {{$context.n}} * 2 }"), json!({"total": 6})),
            (math("1 / 0"), Value::Null),
            (math("concat(\"a\", string({{$context.n}}))"), json!("a3")),
            (math("{{$context.missing:4}} == \"4\""), json!(true)),
            // A value is never part of the formula.
            (formula("{{$context.text}}"), json!("1) + process")),
            (formula("CONCATENATE({{$context.text}}, '!')"), json!("1) + process!")),
            (formula("SUM({{$context.list}}) + MAX(1, {{$context.n}})"), json!(21)),
            (formula("IF({{$context.n}} > 2, 'much', 'little')"), json!("much")),
            (formula("{ a: AVERAGE(1, 2), b: [ROUND(2.345, 2)] }"), json!({"a": 1.5, "b": [2.35]})),
            (formula("DATE(2024, 2, 29).getDate()"), json!(29)),
            (formula("typeof process + typeof require"), json!("undefinedundefined")),
            (formula("undefined"), Value::Null),
            (text("{{$context.n}} of {{$context.list}}, {{$context.missing}}."), json!("3 of [5,6,7], .")),
            (text("{{$context.n}}"), json!("3")),
            (text("{{$context.missing}}"), json!("")),
            (math("import({ a: 1 })"), fails.clone()),
            (math("createUnit(\"x\")"), fails.clone()),
            (math("evaluate(\"1\")"), fails.clone()),
            (math("config({ number: \"BigNumber\" })"), fails.clone()),
            (math("nothing + 1"), fails.clone()),
            (math("f(x) = x"), fails.clone()),
            (formula("nothing + 1"), fails.clone()),
            (formula("(() => { throw new Error('x') })()"), fails.clone()),
            (formula("VLOOKUP(1)"), fails.clone()),
            (formula("(() => { while (true); })()"), fails.clone()),
            (math("1 + 1"), json!(2)),
        ],
    );
}

#[test]
fn random_numbers_are_random() {
    let host = Host::start();
    let config = |engine: &str, expression: &str| step("calculation", json!({"engine": engine, "expression": expression}));
    let list =
        || vec![config("math.js", "random()"), config("math.js", "randomInt(1, 1000000000)"), config("formula.js", "RAND()")];
    let (first, second) = (outcomes(&host, &json!({}), list()), outcomes(&host, &json!({}), list()));
    for (first, second) in first.iter().zip(&second) {
        assert!(first.is_number() && first != second, "{first} {second}");
    }
}

#[test]
fn formulas_and_queries_that_cannot_be_read_are_refused_when_they_are_published() {
    let host = Host::start();
    for (kind, config, part) in [
        ("calculation", json!({"expression": "2 * ("}), "Unexpected end of expression"),
        ("calculation", json!({"engine": "formula.js", "expression": "2 * ("}), "SyntaxError"),
        ("calculation", json!({"expression": "concat(\"a {{$context.b}}\", \"c\")"}), "stands in quotes"),
        ("json-query", json!({"source": {}, "expression": "a["}), "/expression"),
        ("json-query", json!({"source": {}, "engine": "jsonata", "expression": "$sum("}), "/expression"),
        ("json-mapping", json!({"source": {}, "variables": [{"key": "a", "path": "b"}, {"key": "a", "path": "c"}]}), "already"),
        ("json-mapping", json!({"source": {}, "variables": [{"key": "a"}]}), "`path`"),
        (
            "date-calculation",
            json!({"steps": [{"function": "to-timestamp", "arguments": {"unit": "second"}}, {"function": "is-leap-year"}]}),
            "wants a date",
        ),
        ("date-calculation", json!({"timezone": "Mars/Olympus", "steps": []}), "no time zone"),
    ] {
        let definition = steps(&[("only", step(kind, config.clone()))]);
        let answer = host.publish(&definition);
        let text = String::from_utf8_lossy(&answer.body);
        assert!(answer.status == 422 && text.contains(part), "{config}: {} {text}", answer.status);
    }
}

#[test]
fn queries_pick_and_reshape() {
    let source = json!({"a": [{"b": {"c": 1}, "d": [1, 2]}, {"b": {"c": 2}}], "word": "b"});
    let query = |engine: &str, expression: &str| json!({"engine": engine, "source": "{{$context}}", "expression": expression});
    let modelled = |expression: &str, model: Value| json!({"source": "{{$context}}", "expression": expression, "model": model});
    let fails = json!({"fails": "query-error"});
    expect(
        "json-query",
        &json!({"context": source}),
        &[
            (json!({"source": "{{$context}}", "expression": "a[*].{{$context.word}}.c"}), json!([1, 2])),
            (query("jmespath", "a[?b.c > `1`] | [0].b"), json!({"c": 2})),
            (query("jmespath", "nothing"), Value::Null),
            (query("jsonpathplus", "$.a[0].b.c"), json!(1)),
            (query("jsonpathplus", "$..c"), json!([1, 2])),
            (query("jsonpathplus", "$.nothing"), Value::Null),
            (query("jsonpathplus", "$.a[?(@.b.c === 2)].b.c"), json!([2])),
            (query("jsonpathplus", "$.a[?(@.constructor.constructor('return 1')())]"), fails.clone()),
            (query("jsonata", "$sum(a.b.c)"), json!(3)),
            (query("jsonata", "a.d"), json!([1, 2])),
            (query("jsonata", "nothing"), Value::Null),
            (query("jsonata", "$error('no')"), fails.clone()),
            (query("jsonata", "($f := function($n) { $f($n + 1) + 1 }; $f(1))"), fails.clone()),
            (
                modelled("a", json!([{"path": "b.c"}, {"path": "d.1", "alias": "second"}])),
                json!([{"b_c": 1, "second": 2}, {"b_c": 2, "second": null}]),
            ),
            (modelled("a[0]", json!([{"path": "b"}])), json!({"b": {"c": 1}})),
            (modelled("word", json!([{"path": "b"}])), json!({"fails": "no-object"})),
        ],
    );
}

#[test]
fn mappings_map_lists_or_take_indices() {
    let source = json!({"a": 1, "b": [{"c": 2}, {"c": 3}]});
    let mapping = |parse_array: bool, path: &str| json!({"source": "{{$context}}", "parse_array": parse_array, "variables": [{"key": "x", "path": path}]});
    expect(
        "json-mapping",
        &json!({"context": source}),
        &[
            (mapping(false, "b.c"), json!({"x": [2, 3]})),
            (mapping(true, "b.0.c"), json!({"x": 2})),
            (mapping(true, "b.c"), json!({"x": null})),
            (json!({"source": "{{$context.a}}", "variables": []}), json!({"fails": "no-object"})),
        ],
    );
}

#[test]
fn dates_go_through_one_function_after_the_other() {
    let pipeline = |input: Value, steps: Value| json!({"input": input, "steps": steps});
    let one = |input: &str, function: &str, arguments: Value| json!({"input": input, "steps": [{"function": function, "arguments": arguments}]});
    let berlin = |input: &str, function: &str, arguments: Value| {
        let mut config = one(input, function, arguments);
        config["timezone"] = json!("Europe/Berlin");
        config
    };
    let number = |number: Value, steps: Value| json!({"input": number, "input_type": "number", "steps": steps});
    let diff = |unit: &str, more: Value| {
        let mut arguments = json!({"date": "2024-07-16 06:00", "unit": unit});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        one("2024-07-15 00:00", "diff", arguments)
    };
    let date = |text: &str| json!(text);
    expect(
        "date-calculation",
        &json!({"context": {"d": "2024-02-29T12:30:15.250Z", "n": 2}}),
        &[
            // Acceptance 15.
            (diff("day", json!({})), json!(-1.25)),
            (diff("day", json!({"is_abs": true, "round": 1})), json!(2)),
            (diff("day", json!({"round": 0})), json!(-1)),
            (diff("day", json!({"round": -1})), json!(-2)),
            (one("2024-07-17", "end-of-time", json!({"unit": "week"})), date("2024-07-21T23:59:59.999Z")),
            (diff("hour", json!({})), json!(-30)),
            (one("2024-03-31", "diff", json!({"date": "2024-02-29", "unit": "month"})), json!(1)),
            (one("2024-03-15", "diff", json!({"date": "2024-01-31", "unit": "month"})), json!(2.0 - 16.0 / 31.0)),
            (one("2026-01-01", "diff", json!({"date": "2024-01-01", "unit": "year"})), json!(2)),
            (one("{{$context.d}}", "add", json!({"number": "{{$context.n}}", "unit": "year"})), date("2026-02-28T12:30:15.250Z")),
            (one("{{$context.d}}", "subtract", json!({"number": 1, "unit": "month"})), date("2024-01-29T12:30:15.250Z")),
            (one("2024-01-31", "add", json!({"number": 1, "unit": "month"})), date("2024-02-29T00:00:00.000Z")),
            (one("2024-01-31", "add", json!({"number": 1.5, "unit": "hour"})), date("2024-01-31T01:30:00.000Z")),
            (one("2024-01-31", "add", json!({"number": 1.5, "unit": "month"})), json!({"fails": "invalid-number"})),
            // Clocks go forward on 31 March 2024 in Berlin: the day is 23 hours long.
            (berlin("2024-03-30 12:00", "add", json!({"number": 1, "unit": "day"})), date("2024-03-31T10:00:00.000Z")),
            (berlin("2024-03-30 12:00", "add", json!({"number": 24, "unit": "hour"})), date("2024-03-31T11:00:00.000Z")),
            (berlin("2024-03-31 00:00", "end-of-time", json!({"unit": "day"})), date("2024-03-31T21:59:59.999Z")),
            (berlin("2024-04-01 00:00", "diff", json!({"date": "2024-03-31 00:00", "unit": "day"})), json!(1)),
            (berlin("2024-04-01 00:00", "diff", json!({"date": "2024-03-31 00:00", "unit": "hour"})), json!(23)),
            (one("2024-05-17 10:20:30.456", "get", json!({"unit": "quarter"})), json!(2)),
            (one("2024-05-17 10:20:30.456", "get", json!({"unit": "month"})), json!(5)),
            (one("2024-05-17 10:20:30.456", "get", json!({"unit": "week"})), json!(5)),
            (one("2024-05-17 10:20:30.456", "get", json!({"unit": "millisecond"})), json!(456)),
            (one("2024-05-17 10:20:30.456", "start-of-time", json!({"unit": "quarter"})), date("2024-04-01T00:00:00.000Z")),
            (one("2024-05-17 10:20:30.456", "start-of-time", json!({"unit": "week"})), date("2024-05-13T00:00:00.000Z")),
            (one("2024-05-17 10:20:30.456", "end-of-time", json!({"unit": "hour"})), date("2024-05-17T10:59:59.999Z")),
            (one("2024-05-17 10:20:30.456", "end-of-time", json!({"unit": "month"})), date("2024-05-31T23:59:59.999Z")),
            (pipeline(json!("2024-01-01"), json!([{"function": "is-leap-year"}])), json!(true)),
            (pipeline(json!("1900-01-01"), json!([{"function": "is-leap-year"}])), json!(false)),
            (
                berlin(
                    "2024-05-07T10:03:05.009Z",
                    "format",
                    json!({"format": "YYYY/YY MMMM MMM MM M DD D Do dddd ddd dd d [at] HH H hh h mm ss SSS A a Z ZZ Q W X"}),
                ),
                json!(
                    "2024/24 May May 05 5 07 7 7th Tuesday Tue Tu 2 at 12 12 12 12 03 05 009 PM pm +02:00 +0200 2 19 1715076185"
                ),
            ),
            (
                number(
                    json!(36),
                    json!([{"function": "trans-duration", "arguments": {"unit_before": "hour", "unit_after": "day"}}]),
                ),
                json!(1.5),
            ),
            (
                number(
                    json!(36),
                    json!([{"function": "trans-duration", "arguments": {"unit_before": "hour", "unit_after": "day", "round": 0}}]),
                ),
                json!(2),
            ),
            (
                number(json!(1_715_076_185), json!([{"function": "ts-to-date", "arguments": {"unit": "second"}}])),
                date("2024-05-07T10:03:05.000Z"),
            ),
            (one("2024-05-07T10:03:05.009Z", "to-timestamp", json!({"unit": "second"})), json!(1_715_076_185)),
            (one("2024-05-07T10:03:05.009Z", "to-timestamp", json!({"unit": "millisecond"})), json!(1_715_076_185_009_i64)),
            (
                pipeline(
                    json!("2024-05-07T22:30:00Z"),
                    json!([{"function": "change-timezone", "arguments": {"timezone": "Asia/Tokyo"}}, {"function": "get", "arguments": {"unit": "day"}}]),
                ),
                json!(8),
            ),
            (pipeline(json!(0), json!([{"function": "format", "arguments": {"format": "YYYY-MM-DD"}}])), json!("1970-01-01")),
            (one("no date", "get", json!({"unit": "day"})), json!({"fails": "invalid-date"})),
            (number(json!("x"), json!([])), json!({"fails": "invalid-number"})),
            (one("9999-12-01", "add", json!({"number": 12, "unit": "month"})), json!({"fails": "out-of-range"})),
        ],
    );
}
