//! Responses as configs describe them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use weft_sdk::Pair;
use weft_sdk::prelude::*;

use crate::schema::escaped;

/// Names and values, in either way of writing.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Fields {
    /// By name: a text, a number or a boolean, a list for a name that is repeated, `null` to leave it out.
    Map(serde_json::Map<String, Value>),
    /// In order.
    List(Vec<Field>),
}

/// A name and a value.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Field {
    /// Its name.
    name: String,
    /// Its value; `null` leaves it out.
    #[serde(default)]
    value: Value,
}

impl Default for Fields {
    fn default() -> Self {
        Self::Map(serde_json::Map::new())
    }
}

impl Fields {
    /// The pairs, in order. `pointer` is where they stand in the config.
    pub(crate) fn pairs(&self, pointer: &str) -> Result<Vec<Pair>, Failure> {
        let given: Vec<(&str, &Value, String)> = match self {
            Self::Map(members) => {
                let place = |name: &str| format!("{pointer}/{}", escaped(name));
                members.iter().map(|(name, value)| (name.as_str(), value, place(name))).collect()
            }
            Self::List(fields) => {
                let place = |nth| format!("{pointer}/{nth}/value");
                fields.iter().enumerate().map(|(nth, field)| (field.name.as_str(), &field.value, place(nth))).collect()
            }
        };
        let mut pairs = Vec::with_capacity(given.len());
        for (name, value, place) in given {
            let values = match value {
                Value::Array(values) => &values[..],
                value => std::slice::from_ref(value),
            };
            for value in values.iter().filter(|value| !value.is_null()) {
                pairs.push(Pair::new(name, &scalar(value, &place)?));
            }
        }
        Ok(pairs)
    }

    /// The same as header fields.
    pub(crate) fn headers(&self) -> Result<Vec<Pair>, Failure> {
        let mut pairs = self.pairs("/headers")?;
        pairs.iter_mut().for_each(|pair| pair.name.make_ascii_lowercase());
        Ok(pairs)
    }
}

/// A text, a number or a boolean as text.
pub(crate) fn scalar(value: &Value, pointer: &str) -> Result<String, Failure> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        Value::Null => Ok(String::new()),
        Value::Array(_) | Value::Object(_) => Err(Failure::invalid_config(pointer, "give a text, a number or a boolean")),
    }
}

/// Makes a response. A text is sent as it is, anything else as JSON; `null` is no body.
pub(crate) fn http_response(status: u16, headers: &Fields, body: &Value) -> Result<HttpResponse, Failure> {
    if !(200..=599).contains(&status) {
        return Err(Failure::invalid_config("/status", format!("{status} is no status of a response: give 200 to 599")));
    }
    let mut response = HttpResponse { headers: headers.headers()?, ..HttpResponse::empty(status) };
    let media_type = match body {
        Value::Null => return Ok(response),
        Value::String(text) => {
            response.body = text.clone().into_bytes();
            "text/plain; charset=utf-8"
        }
        body => {
            response.body = body.to_string().into_bytes();
            "application/json"
        }
    };
    if !response.headers.iter().any(|header| header.name == "content-type") {
        response.headers.push(Pair::new("content-type", media_type));
    }
    Ok(response)
}

/// The bytes of a text in Base64.
pub(crate) fn base64_bytes(text: &Value, pointer: &str) -> Result<Vec<u8>, Failure> {
    let bytes = text.as_str().and_then(|text| STANDARD.decode(text).ok());
    bytes.ok_or_else(|| Failure::invalid_config(pointer, "give a text in Base64"))
}
