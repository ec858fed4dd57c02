//! What a struct says of itself.

use schemars::{JsonSchema, SchemaGenerator};

pub(crate) struct Described {
    pub(crate) title: String,
    pub(crate) summary: String,
    pub(crate) schema: String,
}

/// The schema of a type, as JSON text.
pub(crate) fn of<T: JsonSchema>() -> String {
    SchemaGenerator::default().into_root_schema_for::<T>().to_value().to_string()
}

/// A type's schema, its name for people, and its doc comment.
pub(crate) fn describe<T: JsonSchema>(name: &str) -> Described {
    let schema = SchemaGenerator::default().into_root_schema_for::<T>();
    let summary = schema.get("description").and_then(|text| text.as_str()).unwrap_or_default();
    let summary = summary.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    Described { title: title(name), summary, schema: schema.to_value().to_string() }
}

/// The member `failures` of a type's `more`, with one more.
pub(crate) fn with_failure(more: Option<&str>, code: &str, message: &str, pointer: &str) -> String {
    let mut more: serde_json::Value = more.and_then(|more| serde_json::from_str(more).ok()).unwrap_or_default();
    let failure = serde_json::json!({ "code": code, "message": message, "pointer": pointer });
    match &mut more["failures"] {
        serde_json::Value::Array(failures) => failures.push(failure),
        missing => *missing = serde_json::Value::from(vec![failure]),
    }
    more.to_string()
}

/// `call-workflow` becomes `Call workflow`.
pub(crate) fn title(name: &str) -> String {
    let name = name.rsplit('/').next().unwrap_or_default().replace(['-', '_'], " ");
    let mut chars = name.chars();
    chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
}
