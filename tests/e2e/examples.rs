//! Every file in `tests/workflows` can be published: each is the example of a type, and none rots.

use serde_json::Value;

use crate::harness::{Host, repository};

/// What examples that are in no state to be published as they stand need first.
fn prepare(host: &Host, text: &str) {
    for part in text.split("{{$secrets.").skip(1) {
        let name = part.split(['}', '.']).next().unwrap();
        host.set_secret(name, "a-secret-of-an-example");
    }
    for part in text.split("connection: ").skip(1) {
        let path = format!("/connections/{}", part.split_whitespace().next().unwrap());
        assert_eq!(host.api("PUT", &path, br#"{"kind": "http", "base_url": "https://example.org/"}"#).status, 200);
    }
}

#[test]
fn every_example_can_be_published_and_says_what_it_shows() {
    let host = Host::start();
    let mut files: Vec<_> =
        std::fs::read_dir(repository().join("tests/workflows")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 5, "{files:?}");
    for file in &files {
        let (name, text) = (file.file_stem().unwrap().to_str().unwrap(), std::fs::read_to_string(file).unwrap());
        assert!(text.starts_with("# "), "{name}: the first line says what it shows");
        prepare(&host, &text);
        let said = host.cli(&["workflow", "apply", file.to_str().unwrap(), "--publish"]);
        assert!(
            said.status.success(),
            "{name}: {}{}",
            String::from_utf8_lossy(&said.stdout),
            String::from_utf8_lossy(&said.stderr)
        );
    }
}

/// Types of built-in plugins have an example of their own.
#[test]
fn every_type_has_an_example() {
    let host = Host::start();
    let plugins = host.get("/plugins");
    let of = |plugin: &Value| ["nodes", "triggers"].map(|kind| plugin[kind].as_array().unwrap().clone()).concat();
    let types: Vec<Value> = plugins["items"].as_array().unwrap().iter().flat_map(of).collect();
    assert!(types.len() > 20, "{types:?}");
    for kind in types {
        let name = kind.as_str().unwrap();
        let file = repository().join(format!("tests/workflows/{name}.yaml"));
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let uses = |line: &str| line.split("type: ").skip(1).any(|rest| rest.split([',', ' ', '}']).next() == Some(name));
        assert!(text.lines().any(uses), "{name}: its example does not use it");
    }
}
