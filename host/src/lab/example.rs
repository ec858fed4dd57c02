//! Configs made of a schema: what its author gives as examples, or the least that it takes.

use serde_json::{Map, Value, json};

use crate::workflow::Schema;

/// How deep a made-up value nests; a schema may refer to itself.
const DEPTH_MAX: usize = 12;

/// A config that a schema takes; none where nobody could guess one.
pub(super) fn example(schema: &Value) -> Option<Value> {
    let given = schema["examples"].as_array().into_iter().flatten().chain(schema.get("default"));
    let made = make(schema, schema, 0);
    let checked = Schema::parse(schema).ok()?;
    given.cloned().chain([made]).find(|config| checked.problems(config).is_empty())
}

/// Everything that a schema gives as a default or an example and does not take itself, one sentence each.
pub(super) fn bad_examples(schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check_examples("", schema, schema, &mut found);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        // A property may refer to definitions beside it.
        let mut alone = property.clone();
        if let (Value::Object(alone), Some(definitions)) = (&mut alone, schema.get("$defs")) {
            alone.insert("$defs".into(), definitions.clone());
        }
        check_examples(&format!("/properties/{name}"), property, &alone, &mut found);
    }
    found
}

fn check_examples(at: &str, schema: &Value, whole: &Value, found: &mut Vec<String>) {
    let examples = schema["examples"].as_array().into_iter().flatten().map(|example| ("example", example));
    let given: Vec<(&str, &Value)> = examples.chain(schema.get("default").map(|default| ("default", default))).collect();
    if given.is_empty() {
        return;
    }
    let Ok(checked) = Schema::parse(whole) else { return };
    for (what, value) in given {
        for problem in checked.problems(value) {
            found.push(format!("{at}: its {what} {value} does not fit: {}{}", problem.pointer, problem.message));
        }
    }
}

fn make(schema: &Value, root: &Value, depth: usize) -> Value {
    if depth > DEPTH_MAX {
        return Value::Null;
    }
    let deeper = |schema: &Value| make(schema, root, depth + 1);
    if let Some(reference) = schema["$ref"].as_str() {
        return deeper(reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer)).unwrap_or(&Value::Null));
    }
    let given = schema["examples"].get(0).or(schema.get("default")).or(schema.get("const")).or(schema["enum"].get(0));
    if let Some(given) = given {
        return given.clone();
    }
    for several in ["oneOf", "anyOf", "allOf"] {
        if let Some(first) = schema[several].get(0) {
            return deeper(first);
        }
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.first().and_then(Value::as_str),
        kind => kind.as_str(),
    };
    match kind {
        Some("string") if schema["x-weft-secret"] == true => json!("{{$secrets.example}}"),
        Some("string") => {
            let length = schema["minLength"].as_u64().unwrap_or(1).min(1_000);
            "a".repeat(usize::try_from(length).unwrap_or(1)).into()
        }
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or_else(|| json!(1)),
        Some("boolean") => true.into(),
        Some("array") => {
            let length = schema["minItems"].as_u64().unwrap_or(0).min(10);
            (0..length).map(|_| deeper(&schema["items"])).collect()
        }
        Some("null") => Value::Null,
        Some(_) | None if schema.get("properties").is_some() || kind == Some("object") => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let members = required.map(|name| (name.to_owned(), deeper(&schema["properties"][name])));
            Value::Object(members.collect::<Map<_, _>>())
        }
        _ => "a".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_gives_the_least_that_it_takes() {
        let schema = json!({
            "type": "object",
            "required": ["name", "mode", "items", "key"],
            "properties": {
                "name": {"type": "string", "minLength": 3},
                "mode": {"enum": ["sync", "async"]},
                "items": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/item"}},
                "key": {"type": "string", "x-weft-secret": true},
                "left_out": {"type": "integer"},
            },
            "$defs": {"item": {"type": ["integer", "null"], "minimum": 3}},
        });
        let made = json!({"name": "aaa", "mode": "sync", "items": [3], "key": "{{$secrets.example}}"});
        assert_eq!(example(&schema), Some(made));
        assert_eq!(example(&json!({"type": "string", "pattern": "^b"})), None);
        assert_eq!(example(&json!({"type": "string", "pattern": "^b", "examples": ["c", "bc"]})), Some(json!("bc")));
        // One that refers to itself has no end, and no example.
        assert_eq!(example(&json!({"type": "object", "required": ["x"], "properties": {"x": {"$ref": "#"}}})), None);
    }

    #[test]
    fn defaults_and_examples_that_do_not_fit_are_found() {
        let schema = json!({
            "type": "object",
            "examples": [{"n": 1}, {"n": "x"}],
            "properties": {"n": {"$ref": "#/$defs/number", "default": 0}, "m": {"type": "string", "default": "x"}},
            "$defs": {"number": {"type": "integer", "minimum": 1}},
        });
        let said = bad_examples(&schema);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(
            said[0].starts_with(": its example {\"n\":\"x\"}") && said[1].starts_with("/properties/n: its default 0"),
            "{said:?}"
        );
    }
}
