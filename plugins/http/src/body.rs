//! Responses as configs describe them.

use weft_sdk::Pair;
use weft_sdk::prelude::*;

/// Header fields by name.
pub(crate) type Headers = serde_json::Map<String, Value>;

/// Makes a response. A text is sent as it is, anything else as JSON; `null` is no body.
pub(crate) fn http_response(status: u16, headers: &Headers, body: &Value) -> Result<HttpResponse, Failure> {
    if !(200..=599).contains(&status) {
        return Err(Failure::new("invalid-config", format!("/status: {status} is no status of a response: use 200 to 599")));
    }
    let mut response = HttpResponse::empty(status);
    for (name, value) in headers {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Null => continue,
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            Value::Array(_) | Value::Object(_) => {
                return Err(Failure::new("invalid-config", format!("/headers/{name}: the value of a header is a text")));
            }
        };
        response.headers.push(Pair::new(&name.to_ascii_lowercase(), &value));
    }
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
