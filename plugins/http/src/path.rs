//! Places in a document: `order.items[0].sku`.

use weft_sdk::prelude::*;

/// The parts of a path: names and indices, with `.` between or in brackets.
pub(crate) fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split(['.', '[']).map(|part| part.strip_suffix(']').unwrap_or(part)).filter(|part| !part.is_empty())
}

/// What stands at a path; `null` where nothing does. A name applied to a list gives the list of what its members have there.
pub(crate) fn at(value: &Value, path: &str) -> Value {
    let names: Vec<&str> = parts(path).collect();
    walk(value, &names).unwrap_or_default()
}

fn walk(value: &Value, names: &[&str]) -> Option<Value> {
    let Some((first, rest)) = names.split_first() else { return Some(value.clone()) };
    match value {
        Value::Object(members) => walk(members.get(*first)?, rest),
        Value::Array(items) => match first.parse::<usize>() {
            Ok(index) => walk(items.get(index)?, rest),
            Err(_) => {
                let mut all = Vec::new();
                for found in items.iter().filter_map(|item| walk(item, names)) {
                    match found {
                        Value::Array(inner) => all.extend(inner),
                        found => all.push(found),
                    }
                }
                Some(all.into())
            }
        },
        _ => None,
    }
}

/// What a query has at a path. `a[b]` and `a.b` name the same; several values make a list.
pub(crate) fn in_query(query: &str, path: &str) -> Value {
    let wanted: Vec<&str> = parts(path).collect();
    let given = |wanted: &[&str]| -> Vec<Value> {
        let pairs = form_urlencoded::parse(query.as_bytes());
        pairs.filter(|(name, _)| parts(name).eq(wanted.iter().copied())).map(|(_, value)| Value::from(value.as_ref())).collect()
    };
    let mut values = given(&wanted);
    if values.is_empty()
        && let Some((last, before)) = wanted.split_last()
        && let Ok(index) = last.parse::<usize>()
    {
        // The nth value of a name that came more than once.
        return given(before).into_iter().nth(index).unwrap_or_default();
    }
    match values.len() {
        0 => Value::Null,
        1 => values.remove(0),
        _ => values.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_through_objects_and_lists() {
        let value = json!({"a": 1, "b": {"c": 2}, "items": [{"sku": "x", "tags": [1, 2]}, {"sku": "y", "tags": [3]}]});
        for (path, found) in [
            ("a", json!(1)),
            ("b.c", json!(2)),
            ("items[1].sku", json!("y")),
            ("items.0.sku", json!("x")),
            ("items.sku", json!(["x", "y"])),
            ("items.tags", json!([1, 2, 3])),
            ("b.c.d", Value::Null),
            ("items[7]", Value::Null),
            ("", value.clone()),
        ] {
            assert_eq!(at(&value, path), found, "{path}");
        }
    }

    #[test]
    fn a_query_is_read_by_either_way_of_writing() {
        let query = "q=1&filter[0][a]=x%20y&tag=r&tag=s&n.m=5";
        for (path, found) in [
            ("q", json!("1")),
            ("filter[0].a", json!("x y")),
            ("tag", json!(["r", "s"])),
            ("tag[1]", json!("s")),
            ("n[m]", json!("5")),
            ("none", Value::Null),
        ] {
            assert_eq!(in_query(query, path), found, "{path}");
        }
    }
}
