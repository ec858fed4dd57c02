//! A JSON document that came from outside, checked once and then cheap to share.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// A JSON document (RFC 8259): its text as it came, and what the text says.
///
/// The text is kept so that handing on a whole document copies bytes and changes none; the value, read when it is first
/// asked for, serves paths into it. Cloning is one reference count.
#[derive(Clone)]
pub struct Json(Arc<Inner>);

struct Inner {
    text: Box<str>,
    value: OnceLock<Value>,
}

/// Why a text is not a JSON document.
#[derive(Debug, thiserror::Error)]
#[error("not a JSON document: {0}")]
pub struct JsonError(#[from] serde_json::Error);

impl Json {
    /// Reads a document. Refuses more than 128 levels of nesting (`serde_json`'s limit) and numbers beyond a double.
    pub fn parse(text: impl Into<Box<str>>) -> Result<Self, JsonError> {
        let text = text.into();
        let value = serde_json::from_str(&text)?;
        Ok(Self(Arc::new(Inner { text, value: value_cell(value) })))
    }

    /// A document that was made of parsed ones, or was parsed before it was stored.
    pub(crate) fn trusted(text: impl Into<Box<str>>) -> Self {
        Self(Arc::new(Inner { text: text.into(), value: OnceLock::new() }))
    }

    /// The document `null`.
    pub fn null() -> Self {
        Self::from(Value::Null)
    }

    /// The text as it came.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// What the text says; `null` for a document that was put together too deep to be read.
    pub fn value(&self) -> &Value {
        self.0.value.get_or_init(|| serde_json::from_str(&self.0.text).unwrap_or_default())
    }
}

fn value_cell(value: Value) -> OnceLock<Value> {
    let cell = OnceLock::new();
    let _ = cell.set(value);
    cell
}

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        Self(Arc::new(Inner { text: value.to_string().into(), value: value_cell(value) }))
    }
}

impl std::fmt::Debug for Json {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

/// As a string that holds the text: what the journal wants, where a document is opaque. The API embeds it instead.
impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.text().serialize(serializer)
    }
}

/// From the journal, where only documents stand that were checked before.
impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::trusted(String::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_keeps_its_text() {
        let json = Json::parse("{ \"b\": 1.0, \"a\": [] }").unwrap();
        assert_eq!(json.text(), "{ \"b\": 1.0, \"a\": [] }");
        assert_eq!(json.value()["b"], 1.0);
    }

    #[test]
    fn too_deep_or_too_large_is_an_error() {
        assert!(Json::parse("[".repeat(100_000)).is_err());
        assert!(Json::parse(format!("{}{}", "[".repeat(129), "]".repeat(129))).is_err());
        assert!(Json::parse("1e999").is_err());
        assert!(Json::parse("{} x").is_err());
    }

    #[test]
    fn a_document_put_together_too_deep_reads_as_null() {
        let deep = Json::trusted(format!("{}{}", "[".repeat(200), "]".repeat(200)));
        assert_eq!(*deep.value(), Value::Null);
    }
}
