//! What a call must look like, as JSON Schemas.

use weft_sdk::prelude::*;

use crate::access::{Admitted, Refusal};
use crate::context::Context;
use crate::schema::{mistakes, problems};

/// JSON Schemas of the parts of a call; `crate::schema` says which keywords there are.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Input {
    /// Of the path's segments that vary, an object of texts.
    params: Option<Value>,
    /// Of the query, an object of texts, with lists where a name comes more than once.
    query: Option<Value>,
    /// Of the body; `null` if there is none.
    body: Option<Value>,
}

/// Mistakes that one answer names.
const MISTAKES_MAX: usize = 50;

impl Input {
    /// What is wrong with the schemas as written.
    pub(crate) fn check(config: &Value) -> Vec<Problem> {
        let given = ["params", "query", "body"].into_iter().filter_map(|part| Some((part, config.get(part)?)));
        given.filter(|(_, schema)| !schema.is_null()).flat_map(|(part, schema)| problems(schema, &format!("/{part}"))).collect()
    }

    /// Refuses a call that does not fit, and says everything that is wrong with it.
    pub(crate) fn admit(&self, context: &Context) -> Admitted<()> {
        let mut errors = Vec::new();
        let mut look = |part: &str, schema: &Value, value: &Value| {
            let found = mistakes(schema, value, &format!("/{part}"), MISTAKES_MAX.saturating_sub(errors.len()));
            errors
                .extend(found.into_iter().map(|Problem { pointer, message }| json!({ "pointer": pointer, "message": message })));
        };
        if let Some(schema) = &self.params {
            look("params", schema, &Value::Object(context.params.clone()));
        }
        if let Some(schema) = &self.query {
            look("query", schema, &context.query);
        }
        if let Some(schema) = &self.body {
            look("body", schema, &serde_json::from_str(context.data.get()).unwrap_or_default());
        }
        if errors.is_empty() {
            return Ok(Ok(()));
        }
        let detail = "the call does not fit what this workflow takes; `errors` says where";
        let document =
            json!({ "title": "Bad Request", "status": 400, "code": "invalid-input", "detail": detail, "errors": errors });
        let response = HttpResponse::new(400, "application/problem+json", document.to_string());
        Ok(Err(Refusal { note: format!("invalid-input: {}", Value::from(errors)), response }))
    }
}
