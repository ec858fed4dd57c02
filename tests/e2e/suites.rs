//! The suites that others wrote for their query languages, through the component as a host calls it. They come with packages of the registry: see `tests/suites`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Host, repository};
use crate::oracle::same;
use crate::script::steps;

/// The folder of a package that `tests/suites` names.
fn package(name: &str) -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--offline", "--format-version", "1", "--manifest-path"]);
    let output = cargo.arg(repository().join("tests/suites/Cargo.toml")).output().unwrap();
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`cargo fetch --manifest-path tests/suites/Cargo.toml` fetches it: {why}");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let package = metadata["packages"].as_array().unwrap().iter().find(|package| package["name"] == name).unwrap();
    Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned()
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Files below a folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() { files(&path) } else { vec![path] }
        })
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    files
}

/// A query, and what it is to give: a value, or none for a failure.
struct Query {
    name: String,
    given: Value,
    expression: String,
    result: Option<Value>,
}

/// Carries the queries out, many in each run, and gives those that came out differently, with what came.
fn differing(engine: &str, queries: &[Query]) -> Vec<String> {
    let host = Host::start();
    let query = json!({"key": "query", "type": "json-query", "on_failure": "continue", "config":
        {"engine": engine, "source": "{{$scopes.each.item.given}}", "expression": "{{$scopes.each.item.expression}}"}});
    host.apply(&steps(&[(
        "each",
        json!({"type": "loop", "config": {"target": "{{$context.queries}}"}, "branches": {"do": [query]}}),
    )]));
    let mut differing = Vec::new();
    let mut rest = queries;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |query: &&Query| {
            bytes += query.given.to_string().len() + query.expression.len() + 100;
            bytes < 500_000
        };
        let (now, later) = rest.split_at(rest.iter().take_while(fits).count().max(1));
        rest = later;
        let context: Vec<Value> = now.iter().map(|query| json!({"given": query.given, "expression": query.expression})).collect();
        let run = host.run_once("steps", &json!({"queries": context}));
        for (index, query) in now.iter().enumerate() {
            let path = format!("each/{index}/query");
            let step = run["steps"].as_array().unwrap().iter().find(|step| step["path"] == path);
            let step = step.unwrap_or_else(|| panic!("{} was not carried out: {run}", query.name));
            let is_right = match &query.result {
                Some(result) => step["failure"].is_null() && same(result, &step["output"]),
                None => step["failure"]["code"] == "query-error",
            };
            if !is_right {
                let wanted = query.result.as_ref().map_or("a failure".into(), Value::to_string);
                differing
                    .push(format!("{} {}: {wanted}, but {} {}", query.name, query.expression, step["output"], step["failure"]));
            }
        }
    }
    differing
}

/// Checks that what came out differently is what is known to.
#[track_caller]
fn expect_few(differing: &[String], known: &[&str]) {
    let unknown: Vec<&String> = differing.iter().filter(|line| !known.iter().any(|known| line.contains(known))).collect();
    assert!(unknown.is_empty(), "{}: {unknown:#?}", unknown.len());
    assert_eq!(differing.len(), known.len(), "what is right now is not to be excused: {differing:#?}");
}

#[test]
fn jmespath_complies() {
    let mut queries = Vec::new();
    for file in files(&package("jmespath").join("tests/compliance")) {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        for (group, suite) in read(&file).as_array().unwrap().iter().enumerate() {
            for (index, case) in suite["cases"].as_array().unwrap().iter().enumerate() {
                // Some say only how fast they should be.
                if case.get("result").is_none() && case.get("error").is_none() {
                    continue;
                }
                queries.push(Query {
                    name: format!("{name} {group} {index}"),
                    given: suite["given"].clone(),
                    expression: case["expression"].as_str().unwrap().into(),
                    result: case.get("result").cloned(),
                });
            }
        }
    }
    assert!(queries.len() > 800, "{}", queries.len());
    // The library takes a slice with three colons for one with two.
    expect_few(&differing("jmespath", &queries), &["syntax 8 1 "]);
}

#[test]
fn jsonata_complies() {
    let folder = package("jsonata-rs").join("tests/testsuite");
    let mut queries = Vec::new();
    let mut left_out = 0;
    // `skip` holds what that package cannot do.
    for file in [files(&folder.join("groups")), files(&folder.join("skip"))].concat() {
        // Two hold half of a surrogate pair, which is no JSON here.
        let Ok(found) = serde_json::from_str::<Value>(&std::fs::read_to_string(&file).unwrap()) else {
            left_out += 1;
            continue;
        };
        let cases = if let Value::Array(cases) = found { cases } else { vec![found] };
        for (index, case) in cases.iter().enumerate() {
            let name = format!("{} {index}", file.strip_prefix(&folder).unwrap().display());
            let has = |member: &str| case.get(member).is_some_and(|value| !value.is_null() && *value != json!({}));
            let given = match case["dataset"].as_str() {
                Some(dataset) => read(&folder.join("datasets").join(dataset).with_extension("json")),
                None => case["data"].clone(),
            };
            // There are no bindings here; some look at times, or at order in their own way.
            let expression = match case["expr-file"].as_str() {
                Some(beside) => std::fs::read_to_string(file.with_file_name(beside)).unwrap(),
                None => case["expr"].as_str().unwrap().to_owned(),
            };
            if has("bindings") || has("result_re") || has("unordered") || has("depth") || has("timelimit") {
                left_out += 1;
                continue;
            }
            let result = match (case.get("result"), case["undefinedResult"].as_bool()) {
                (Some(result), _) => Some(result.clone()),
                (None, Some(true)) => Some(Value::Null),
                _ => None,
            };
            queries.push(Query { name, given, expression, result });
        }
    }
    assert!(queries.len() > 1_200, "{} and {left_out}", queries.len());
    // That package writes `1e100` where JSONata writes `1e+100`; where there is no input, here it is `null`.
    let known = [
        "function-string/case002.json",
        "function-string/case007.json",
        "function-string/case022.json",
        "encoding/case001.json",
        "encoding/case003.json",
        "function-trim/case002.json",
    ];
    expect_few(&differing("jsonata", &queries), &known);
}
