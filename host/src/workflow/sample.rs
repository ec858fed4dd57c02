//! The places in a sample of a document, so that nobody has to write paths by hand.

use serde_json::{Value, json};

use crate::limits::{SAMPLE_DEPTH_MAX, SAMPLE_PATHS_MAX};

/// Every place in a document, in its order: `{"a": 1, "b": {"c": 2}}` has `a`, `b` and `b.c`; each with an alias made of its path, and
/// with what stands there. Of a list the first element is looked at: `items[0].sku`.
pub fn sample_paths(sample: &Value) -> Vec<Value> {
    let mut paths = Vec::new();
    look(sample, "", 0, &mut paths);
    paths
}

/// The places that a query has when it is read with `[…]` as parts of a path: `query[0][a]=1` has `query[0].a`.
pub fn query_paths(query: &str) -> Vec<Value> {
    let mut paths: Vec<Value> = Vec::new();
    for (name, value) in form_urlencoded::parse(query.trim_start_matches('?').as_bytes()).take(SAMPLE_PATHS_MAX) {
        let mut path = String::new();
        for part in name.split(['.', '[']).map(|part| part.strip_suffix(']').unwrap_or(part)).filter(|part| !part.is_empty()) {
            path = joined(&path, part);
        }
        if !path.is_empty() && !paths.iter().any(|known| known["path"] == path.as_str()) {
            paths.push(place(&path, &Value::from(value.as_ref())));
        }
    }
    paths
}

fn look(value: &Value, at: &str, depth: usize, paths: &mut Vec<Value>) {
    if depth > SAMPLE_DEPTH_MAX || paths.len() >= SAMPLE_PATHS_MAX {
        return;
    }
    if !at.is_empty() {
        paths.push(place(at, value));
    }
    match value {
        Value::Object(members) => {
            for (name, member) in members.iter().filter(|(name, _)| !name.is_empty() && !name.contains(['.', '[', ']'])) {
                look(member, &joined(at, name), depth + 1, paths);
            }
        }
        Value::Array(items) => items.iter().take(1).for_each(|item| look(item, &format!("{at}[0]"), depth + 1, paths)),
        _ => {}
    }
}

fn joined(at: &str, part: &str) -> String {
    match (at, part.bytes().all(|byte| byte.is_ascii_digit())) {
        ("", _) => part.to_owned(),
        (at, true) => format!("{at}[{part}]"),
        (at, false) => format!("{at}.{part}"),
    }
}

fn place(path: &str, value: &Value) -> Value {
    let alias: String =
        path.chars().filter(|c| *c != ']').map(|c| if c.is_alphanumeric() || c == '-' { c } else { '_' }).collect();
    let sample = match value {
        Value::Object(_) | Value::Array(_) => Value::Null,
        value => value.clone(),
    };
    json!({ "path": path, "alias": alias, "sample": sample })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(found: &[Value]) -> Vec<&str> {
        found.iter().map(|place| place["path"].as_str().unwrap()).collect()
    }

    #[test]
    fn a_sample_has_its_places() {
        assert_eq!(paths(&sample_paths(&json!({"a": 1, "b": {"c": 2}}))), ["a", "b", "b.c"]);
        let found = sample_paths(&json!({"items": [{"sku": "x"}, {"other": 1}], "x.y": 1, "n": []}));
        assert_eq!(paths(&found), ["items", "items[0]", "items[0].sku", "n"]);
        assert_eq!(found[2], json!({"path": "items[0].sku", "alias": "items_0_sku", "sample": "x"}));
        assert_eq!(paths(&query_paths("?query[0][a]=1&b=2&b=3&c.d=4")), ["query[0].a", "b", "c.d"]);
        assert!(sample_paths(&json!(1)).is_empty());
    }
}
