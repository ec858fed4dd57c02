//! Steps in JavaScript: what they give, how they fail, and that nothing they do reaches beyond themselves.

use serde_json::{Value, json};

use crate::harness::{Host, now_ms};

fn script(content: &str) -> Value {
    json!({"type": "javascript", "config": {"content": content}})
}

/// The definition of a workflow of these steps, each with its key, that somebody starts by hand.
pub(crate) fn steps(steps: &[(&str, Value)]) -> Value {
    let step = |(key, step): &(&str, Value)| {
        let mut step = step.clone();
        step["key"] = json!(key);
        step
    };
    let steps: Vec<Value> = steps.iter().map(step).collect();
    json!({"weft": 1, "key": "steps", "trigger": {"type": "manual-start", "config": {}}, "steps": steps})
}

/// The outcome of one step alone.
fn run(host: &Host, step: Value) -> Value {
    host.apply(&steps(&[("only", step)]));
    host.run_once("steps", &json!({}))["steps"][0].take()
}

#[test]
fn the_example_prices_an_order() {
    let host = Host::start();
    host.apply_example("javascript");
    let order = json!({"lines": [{"price": 60, "quantity": 2}, {"price": 5, "quantity": 1}], "coupon": "TEN"});
    let answer = host.hook("price-order", order.to_string().as_bytes());
    assert_eq!(answer.json(), json!({"totals": [120, 5], "sum": 112.5}), "{}", host.log());
    let log = &host.newest_run()["steps"][0]["log"];
    assert_eq!(log[0], json!({"level": "info", "message": "2 lines, 125 before a discount of 10 %"}), "{log}");
}

#[test]
fn values_come_in_and_go_out_as_json() {
    let host = Host::start();
    let mut step = script(
        "const later = await Promise.resolve(given.n);
         console.debug('d'); console.warn('w', { a: 1n }); console.error(new Map([['k', 1]]));
         return [later, undefined, 10n, 2n ** 70n, new Date(0), new Map([['a', 1]]), new Map([[1, 2]]), new Set([1]), NaN, new Uint8Array([1, 2]),
            new Error('e'), 'ü€😀', given, [1, [2]].flat(), [3, 1, 2].toSorted(), Object.groupBy([1, 2], (n) => n % 2 ? 'odd' : 'even')];",
    );
    step["config"]["arguments"] = json!([{"name": "given", "value": {"n": 7, "list": [null, true, "x\u{2028}"]}}]);
    let step = run(&host, step);
    let expected = json!([7, null, 10, "1180591620717411303424", "1970-01-01T00:00:00.000Z", {"a": 1}, [[1, 2]], [1], null, [1, 2],
        {"name": "Error", "message": "e"}, "ü€😀", {"n": 7, "list": [null, true, "x\u{2028}"]}, [1, 2], [1, 2, 3], {"odd": [1], "even": [2]}]);
    assert_eq!(step["output"], expected, "{step:#}");
    let log: Vec<(&str, &str)> = step["log"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| (line["level"].as_str().unwrap(), line["message"].as_str().unwrap()))
        .collect();
    assert_eq!(log, [("debug", "d"), ("warn", r#"w {"a":"1n"}"#), ("error", r#"[["k",1]]"#)]);
    assert_eq!(run(&host, script("1 + 1"))["output"], Value::Null, "nothing was returned");
}

#[test]
fn failures_say_what_and_where() {
    let host = Host::start();
    let failure = |step: Value| {
        let step = run(&host, step);
        assert_eq!(step["status"], "error", "{step:#}");
        (step["failure"]["code"].as_str().unwrap().to_owned(), step["failure"]["message"].as_str().unwrap().to_owned())
    };
    let error = |message: &str| ("script-error".to_owned(), message.to_owned());
    assert_eq!(failure(script("const a = 1;\n  throw new TypeError('no');")), error("TypeError: no (line 2, column 13)"));
    assert_eq!(
        failure(script("const f = (x) => {\n  return x.y;\n};\nreturn f(null);")),
        error("TypeError: cannot read property 'y' of null (line 2, column 10)")
    );
    assert_eq!(failure(script("return nothing;")), error("ReferenceError: nothing is not defined (line 1, column 8)"));
    assert_eq!(failure(script("throw { a: 1 };")), error(r#"{"a":1}"#));
    assert_eq!(failure(script("await Promise.reject('late');")), error("late"));
    assert_eq!(failure(script("const a = {}; a.a = a; return a;")).0, "script-error");
    assert_eq!(failure(script("await new Promise(() => {});")).0, "script-pending");
    assert_eq!(failure(script("return eval('(');")).0, "script-syntax");

    let mut tolerant = script("throw new Error('x');");
    tolerant["config"]["continue_on_error"] = json!(true);
    let step = run(&host, tolerant);
    assert_eq!((&step["status"], &step["output"]), (&json!("succeeded"), &Value::Null));
    assert!(step["log"][0]["message"].as_str().unwrap().contains("Error: x (line 1, column 11)"), "{step:#}");
}

#[test]
fn what_is_no_javascript_is_refused_when_it_is_published() {
    let host = Host::start();
    let refused = |step: Value, pointer: &str, part: &str| {
        let answer = host.publish(&steps(&[("only", step)]));
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!((400..500).contains(&answer.status) && text.contains(pointer) && text.contains(part), "{} {text}", answer.status);
    };
    refused(script("const a = 1;\nreturn a +* 2;"), "/content", "(line 2, column 11)");
    refused(script("import fs from 'fs';"), "/content", "SyntaxError");
    for (name, part) in
        [("1a", "no name of a variable"), ("await", "has a meaning"), ("console", "has a meaning"), ("a-b", "no name")]
    {
        let mut step = script("return 1;");
        step["config"]["arguments"] = json!([{"name": name, "value": 1}]);
        refused(step, "/arguments/0/name", part);
    }
    let mut twice = script("return 1;");
    twice["config"]["arguments"] = json!([{"name": "a", "value": 1}, {"name": "a", "value": 2}]);
    refused(twice, "/arguments/1/name", "already");
}

#[test]
fn a_script_has_the_language_and_nothing_else() {
    let host = Host::start();
    let names = "return ['require', 'process', 'Buffer', 'setTimeout', 'setInterval', 'fetch', 'XMLHttpRequest', 'std', 'os', 'module', 'exports', 'scriptArgs',
        'print', 'Deno', 'navigator', 'WebAssembly'].filter((name) => name in globalThis);";
    assert_eq!(run(&host, script(names))["output"], json!([]));
    let importing = run(&host, script("return await import('fs').then(() => 'there', () => 'not there');"));
    assert_eq!(importing["output"], "not there", "{importing:#}");

    // The engine was made when the plugin was built, and is as good as new all the same.
    let live = "return { random: [Math.random(), Math.random()], now: Date.now() };";
    let before = now_ms() as f64;
    let (first, second) = (run(&host, script(live)), run(&host, script(live)));
    assert!(first["output"]["now"].as_f64().unwrap() + 1_000.0 >= before, "{first:#}");
    let numbers: Vec<f64> = [&first, &second]
        .iter()
        .flat_map(|step| step["output"]["random"].as_array().unwrap())
        .filter_map(Value::as_f64)
        .collect();
    assert!(numbers.len() == 4 && numbers.iter().all(|n| (0.0..1.0).contains(n)), "{numbers:?}");
    assert!((1..4).all(|i| !numbers[..i].contains(&numbers[i])), "each is another: {numbers:?}");
}

#[test]
fn scripts_of_one_run_do_not_see_each_other() {
    let host = Host::start();
    let leave = "globalThis.left = 1; Array.prototype.map = null; JSON.stringify = () => 'x'; Object.prototype.leaked = 1; delete globalThis.Map; return 1;";
    let look = "return [typeof left, typeof [].map, JSON.stringify([1]), ({}).leaked ?? null, typeof Map];";
    host.apply(&steps(&[("a", script(leave)), ("b", script(look)), ("c", script(look))]));
    let run = host.run_once("steps", &json!({}));
    for step in [&run["steps"][1], &run["steps"][2]] {
        assert_eq!(step["output"], json!(["undefined", "function", "[1]", null, "function"]), "{run:#}");
    }
}

#[test]
fn hostile_scripts_end_within_bounds_and_break_nothing() {
    let host = Host::start();
    let hostile = [
        ("while (true);", "script-timeout"),
        ("for (;;) await null;", "script-timeout"),
        ("return /(a+)+$/.test('a'.repeat(40) + 'b');", "script-timeout"),
        ("return 'x'.repeat(1e8).replace(/x*y/g, '');", "script-"),
        ("const all = []; for (;;) all.push(new Array(100_000).fill(1));", "script-memory"),
        ("globalThis.all = []; for (;;) all.push({});", "script-memory"),
        ("let all = 'x'; for (;;) all += all + 'y';", "script-"),
        ("return new Array(1e9).fill(0).length;", "script-memory"),
        ("const f = (n) => f(n + 1) + 1; return f(0);", "script-stack"),
        ("const p = new Proxy({}, { get: (_, name) => p[name] }); return p.x;", "script-stack"),
        ("class A { toString() { return `${this}`; } } return String(new A());", "script-stack"),
    ];
    for (content, code) in hostile {
        let mut step = script(content);
        // What is to end by its memory or its stack must not end by its time on a busy machine.
        step["config"]["timeout_ms"] = if code.ends_with("timeout") { json!(300) } else { json!(60_000) };
        let step = run(&host, step);
        assert!(step["failure"]["code"].as_str().is_some_and(|found| found.starts_with(code)), "{content}: {step:#}");
    }
    // None of it counts against the plugin: all are its answers.
    assert_eq!(run(&host, script("return 1;"))["output"], 1);
    let shown = host.cli(&["plugin", "inspect", "weft/script"]);
    assert!(!String::from_utf8_lossy(&shown.stdout).contains("quarantine"), "{}", String::from_utf8_lossy(&shown.stdout));
}

#[test]
fn a_long_loop_of_scripts_needs_no_more_memory() {
    let host = Host::start();
    let rounds = json!({"type": "loop", "config": {"target": 2_000}, "branches": {"do": [
        {"key": "count", "type": "javascript", "config": {"content": "return new Array(10_000).fill(i).length + i;", "arguments": [{"name": "i", "value": "{{$scopes.all.index}}"}]}}]}});
    host.apply(&steps(&[("all", rounds)]));
    let run = host.run_once("steps", &json!({}));
    assert_eq!(
        (&run["status"], &run["steps"][0]["output"]["looped"]),
        (&json!("succeeded"), &json!(2_000)),
        "{}",
        run["steps"][0]
    );
}
