//! Which parts of a config keep their templates: those that its schema marks with `x-weft-raw: true`.

use serde_json::Value;

use crate::limits::SCHEMA_LOOKS_MAX;

/// What a schema says of one place in a config.
#[derive(Clone)]
pub(super) struct Place<'a> {
    root: &'a Value,
    /// Every schema that speaks of it: a schema, what it refers to, and its alternatives.
    schemas: Vec<&'a Value>,
}

impl<'a> Place<'a> {
    /// The whole of a config.
    pub(super) fn of(schema: &'a Value) -> Self {
        let mut place = Self { root: schema, schemas: Vec::new() };
        place.add(schema);
        place
    }

    /// Whether templates stay as they are written here, and in all that is below.
    pub(super) fn is_raw(&self) -> bool {
        self.schemas.iter().any(|schema| schema.get("x-weft-raw") == Some(&Value::Bool(true)))
    }

    /// What an annotation says of it.
    pub(super) fn says(&self, annotation: &str) -> Option<&'a Value> {
        self.schemas.iter().find_map(|schema| schema.get(annotation))
    }

    /// The member of this name.
    pub(super) fn member(&self, name: &str) -> Self {
        self.below(|schema| match schema.get("properties").and_then(|members| members.get(name)) {
            Some(member) => Some(member),
            None => schema.get("additionalProperties"),
        })
    }

    /// An element of a list.
    pub(super) fn element(&self, index: usize) -> Self {
        self.below(|schema| match schema.get("prefixItems").and_then(|items| items.get(index)) {
            Some(item) => Some(item),
            None => schema.get("items"),
        })
    }

    fn below(&self, of: impl Fn(&'a Value) -> Option<&'a Value>) -> Self {
        let mut place = Self { root: self.root, schemas: Vec::new() };
        self.schemas.iter().filter_map(|schema| of(schema)).for_each(|schema| place.add(schema));
        place
    }

    /// Each schema once, and not too many: they may refer to each other in a circle.
    fn add(&mut self, schema: &'a Value) {
        if self.schemas.len() >= SCHEMA_LOOKS_MAX || self.schemas.iter().any(|known| std::ptr::eq(*known, schema)) {
            return;
        }
        self.schemas.push(schema);
        let pointer = schema.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix('#'));
        let named = pointer.and_then(|pointer| self.root.pointer(pointer));
        let alternatives = ["anyOf", "oneOf", "allOf"].iter().filter_map(|keyword| schema.get(keyword)?.as_array()).flatten();
        named.into_iter().chain(alternatives).for_each(|schema| self.add(schema));
    }
}

/// Whether templates stay as they are written at a pointer into a config of this schema.
pub fn is_raw(schema: &Value, pointer: &str) -> bool {
    let mut place = Place::of(schema);
    for segment in pointer.split('/').skip(1) {
        if place.is_raw() {
            return true;
        }
        let name = segment.replace("~1", "/").replace("~0", "~");
        place = match name.parse() {
            Ok(index) if place.schemas.iter().any(|schema| schema.get("items").is_some()) => place.element(index),
            _ => place.member(&name),
        };
    }
    place.is_raw()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_says_where_templates_stay() {
        let schema = json!({
            "properties": {
                "target": {"x-weft-raw": true},
                "condition": {"anyOf": [{"$ref": "#/$defs/condition"}, {"type": "null"}]},
                "list": {"type": "array", "items": {"$ref": "#/$defs/condition"}},
                "again": {"$ref": "#/$defs/circle"},
                "plain": {}
            },
            "additionalProperties": {"x-weft-raw": true},
            "$defs": {
                "condition": {"properties": {"expression": {"type": "string", "x-weft-raw": true}, "left": {}}},
                "circle": {"anyOf": [{"$ref": "#/$defs/circle"}, {"$ref": "#"}]}
            }
        });
        for raw in ["/target", "/target/deep/1", "/condition/expression", "/list/3/expression", "/again/again/target", "/other"] {
            assert!(is_raw(&schema, raw), "{raw}");
        }
        for filled in ["", "/plain", "/condition", "/condition/left", "/list", "/list/0/left", "/again/plain"] {
            assert!(!is_raw(&schema, filled), "{filled}");
        }
    }
}
