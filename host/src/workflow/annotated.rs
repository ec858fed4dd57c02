//! What a config has at places that its schema marks.

use serde_json::Value;

use super::definition::escape;
use super::raw::Place;

/// Texts of a config at places whose schema has this annotation: where each stands, what the annotation says, and the text.
pub fn annotated<'a>(schema: &'a Value, config: &'a Value, annotation: &str) -> Vec<(String, &'a Value, &'a str)> {
    let mut found = Vec::new();
    look(&Place::of(schema), config, annotation, String::new(), &mut found);
    found
}

fn look<'a>(place: &Place<'a>, config: &'a Value, annotation: &str, at: String, found: &mut Vec<(String, &'a Value, &'a str)>) {
    match config {
        Value::String(text) => found.extend(place.says(annotation).map(|says| (at, says, text.as_str()))),
        Value::Object(members) => {
            for (name, member) in members {
                let at = format!("{at}/{}", escape(name));
                look(&place.member(name), member, annotation, at, found);
            }
        }
        Value::Array(items) => {
            for (nth, item) in items.iter().enumerate() {
                look(&place.element(nth), item, annotation, format!("{at}/{nth}"), found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn marked_places_are_found_wherever_they_stand() {
        let schema = json!({
            "$defs": {"c": {"type": "string", "x-mark": "http"}},
            "properties": {
                "one": {"$ref": "#/$defs/c"},
                "maybe": {"anyOf": [{"$ref": "#/$defs/c"}, {"type": "null"}]},
                "many": {"items": {"properties": {"c": {"x-mark": "sql"}}}},
                "a/b": {"additionalProperties": {"$ref": "#/$defs/c"}},
                "self": {"$ref": "#"},
                "plain": {"type": "string"},
            },
        });
        let config =
            json!({"one": "a", "maybe": null, "many": [{"c": "b"}, {}], "a/b": {"x": "d"}, "self": {"one": "e"}, "plain": "f"});
        let found: Vec<String> =
            annotated(&schema, &config, "x-mark").iter().map(|(at, says, text)| format!("{at} {says} {text}")).collect();
        assert_eq!(found, ["/one \"http\" a", "/many/0/c \"sql\" b", "/a~1b/x \"http\" d", "/self/one \"http\" e"]);
    }
}
