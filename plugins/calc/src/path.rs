//! Paths into JSON: names and indices, joined by dots.

use serde_json::Value;

/// The value at a path. A name over a list takes that member of each element, and flattens lists among them by one level; with `indices_only` it finds nothing there.
pub(crate) fn get(value: &Value, path: &str, indices_only: bool) -> Option<Value> {
    let (first, rest) = match path.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    };
    let below = |found: &Value| match rest {
        Some(rest) => get(found, rest, indices_only),
        None => Some(found.clone()),
    };
    match value {
        Value::Object(members) => match members.get(path) {
            // A member whose own name has dots.
            Some(whole) => Some(whole.clone()),
            None => below(members.get(first)?),
        },
        Value::Array(items) => match first.parse::<usize>() {
            Ok(index) => below(items.get(index)?),
            Err(_) if indices_only => None,
            Err(_) => {
                let mut found = Vec::new();
                for item in items.iter().filter_map(|item| get(item, first, false)) {
                    match item {
                        Value::Array(inner) => found.extend(inner),
                        item => found.push(item),
                    }
                }
                below(&Value::Array(found))
            }
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_over_lists_map_and_flatten() {
        let value = json!({"a": 1, "b": [{"c": 2}, {"c": 3}], "d": [{"e": [{"f": 1}, {"f": 2}]}, {"e": [{"f": 3}]}], "x.y": 4});
        for (path, indices_only, found) in [
            ("a", false, Some(json!(1))),
            ("b.c", false, Some(json!([2, 3]))),
            ("b.c", true, None),
            ("b.1.c", true, Some(json!(3))),
            ("d.e.f", false, Some(json!([1, 2, 3]))),
            ("x.y", false, Some(json!(4))),
            ("a.b", false, None),
            ("z", false, None),
        ] {
            assert_eq!(get(&value, path, indices_only), found, "{path}");
        }
    }
}
