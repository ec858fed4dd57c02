//! The libraries of `plugins/js` inside the component against themselves in Node: their own examples, and each function of formula.js with many inputs.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::calc::{outcomes, step};
use crate::harness::{Host, repository};

/// What Node says.
fn asked() -> Value {
    let mut node = Command::new("node");
    let output = node.arg(repository().join("tests/formulas.mjs")).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The same, but that the machines' own functions of numbers may differ behind the 12th digit.
pub(crate) fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            let (left, right) = (left.as_f64().unwrap(), right.as_f64().unwrap());
            (left - right).abs() <= 1e-12 * left.abs().max(right.abs()).max(1e-3)
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len() && left.iter().all(|(key, left)| right.get(key).is_some_and(|right| same(left, right)))
        }
        _ => left == right,
    }
}

/// What came out differently: the name of each, and how.
fn differing(host: &Host, kind: &str, asked: &[Value], config: impl Fn(&Value) -> Value) -> Vec<String> {
    let mut found = Vec::new();
    for asked in asked.chunks(300) {
        let came = outcomes(host, &json!({}), asked.iter().map(|asked| step(kind, config(asked))).collect());
        for (asked, came) in asked.iter().zip(came) {
            let name = asked.get("name").unwrap_or(&asked["expression"]).as_str().unwrap();
            match (asked.get("value"), came.get("fails")) {
                (Some(value), None) if same(value, &came) => {}
                (None, Some(_)) => {}
                (Some(Value::Array(values)), None) if asked.get("inputs").is_some() => {
                    for (index, value) in values.iter().enumerate().filter(|(index, value)| !same(value, &came[index])) {
                        found.push(format!(
                            "{name}({}): {value} in Node, {}",
                            asked["inputs"][index].as_str().unwrap(),
                            came[index]
                        ));
                    }
                }
                _ => found.push(format!(
                    "{name}: {}: {} in Node, {came}",
                    asked["expression"],
                    asked.get("value").unwrap_or(&asked["error"])
                )),
            }
        }
    }
    found
}

/// Checks that what came out differently is what is known to.
#[track_caller]
fn expect_only(found: &[String], known: &[&str]) {
    let is_unknown = |line: &&String| !known.iter().any(|known| line.starts_with(known));
    let unknown: Vec<String> = found.iter().filter(is_unknown).map(|line| line.chars().take(300).collect()).collect();
    assert!(unknown.is_empty(), "{}: {unknown:#?}", unknown.len());
    let right: Vec<&&str> = known.iter().filter(|known| !found.iter().any(|line| line.starts_with(**known))).collect();
    assert!(right.is_empty(), "what is right now is not to be excused: {right:?}");
}

#[test]
fn libraries_give_what_they_give_in_node() {
    let (host, asked) = (Host::start(), asked());
    let list = |name: &str| asked[name].as_array().unwrap().as_slice();
    assert!(list("math").len() > 800 && list("formula").len() > 400 && list("jsonpath").len() > 30);

    let mut found = differing(&host, "calculation", list("math"), |asked| json!({"expression": asked["expression"]}));
    found.extend(differing(
        &host,
        "calculation",
        list("formula"),
        |asked| json!({"engine": "formula.js", "expression": asked["expression"]}),
    ));
    found.extend(differing(
        &host,
        "json-query",
        list("jsonpath"),
        |path| json!({"engine": "jsonpathplus", "source": asked["store"], "expression": path["expression"]}),
    ));
    let known = [
        // Complex numbers are texts, cut after 15 digits, of which the last differs.
        "freqz: ",
        // A last digit in another base.
        "BASE(0.5, 3)",
        "BASE(0.01, 12",
        // They call themselves as often as the input says: a failure where the smaller stack ends, infinity there.
        "BINOM.DIST.RANGE(2024",
        "BINOMDIST.RANGE(2024",
        "COMBIN(2024",
        "COMBINA(2024",
        "FACT(2024",
        "FACTDOUBLE(2024",
        "HYPGEOM.DIST(0.05, 10, 1000)",
        "HYPGEOMDIST(0.05, 10, 1000)",
        "MULTINOMIAL(",
        "PERMUT(2024",
        // Texts are ordered by their letters' numbers, not as a language has it.
        "LOOKUP([5, 1, 4], '>2')",
        // Less is taken for a date.
        "XIRR([5, 1, 4], '>2')",
    ];
    expect_only(&found, &known);
}
