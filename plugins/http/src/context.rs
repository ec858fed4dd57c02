//! What runs see of the request that they began with.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Map;
use serde_json::value::RawValue;
use weft_sdk::HttpEvent;
use weft_sdk::prelude::*;

use crate::access::Refusal;
use crate::content::{self, add};
use crate::path;

/// What the run's steps see as `$context`.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, extend("x-weft-open-with" = "/variables", "x-weft-members-from" = [
    {"at": "/variables/headers", "lower-case": true}, "/variables/query", "/variables/body"
]))]
pub(crate) struct Context<'a> {
    /// The request's method.
    method: &'a str,
    /// The path below `/hooks/`.
    path: &'a str,
    /// The segments of the path that vary, by name.
    pub(crate) params: Map<String, Value>,
    /// What follows `?`, by name; a list where a name comes more than once.
    pub(crate) query: Value,
    /// Header fields by lower-case name, without those that hold credentials.
    headers: Map<String, Value>,
    /// The body.
    #[schemars(with = "Value")]
    pub(crate) data: &'a RawValue,
    /// The body as it came, if the config asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<String>,
    /// The values that the config names, by their aliases.
    #[serde(flatten)]
    #[schemars(skip)]
    variables: Map<String, Value>,
}

/// The members of a context that are always there.
const MEMBERS: [&str; 7] = ["method", "path", "params", "query", "headers", "data", "raw"];

/// Header fields that hold what must not be kept.
const CREDENTIALS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// The body as it came.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Raw {
    /// As a text; a body that is not UTF-8 is refused.
    Text,
    /// In Base64.
    Base64,
}

/// Values that stand under a name of their own.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Variables {
    /// Names of header fields; each stands under its lower-case name.
    headers: Vec<String>,
    /// Values of the query.
    query: Vec<Variable>,
    /// Values of the body.
    body: Vec<Variable>,
}

/// A value under a name of its own.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Variable {
    /// Where it stands, such as `order.items[0].sku`; a name applied to a list gives the list of its members' values.
    path: String,
    /// What the run's steps call it: `$context.<alias>`. By default the path with `_` for everything else than letters and digits.
    alias: Option<String>,
}

impl<'a> Context<'a> {
    pub(crate) fn of(
        request: &'a HttpEvent,
        data: &'a RawValue,
        raw: Option<Raw>,
        wanted: Option<&Variables>,
    ) -> Result<Self, Refusal> {
        let params = request.params.iter().map(|pair| (pair.name.clone(), Value::from(pair.value.as_str()))).collect();
        let mut headers = Map::new();
        for header in request.headers.iter().filter(|header| !CREDENTIALS.contains(&header.name.as_str())) {
            add(&mut headers, &header.name, Value::from(header.value.as_str()));
        }
        let raw = match raw {
            None => None,
            Some(Raw::Text) => Some(content::text(&request.body)?.to_owned()),
            Some(Raw::Base64) => Some(STANDARD.encode(&request.body)),
        };
        let variables = wanted.map(|wanted| wanted.of(request, &headers, data)).unwrap_or_default();
        let query = content::form(request.query.as_bytes());
        Ok(Self { method: &request.method, path: &request.path, params, query, headers, data, raw, variables })
    }
}

impl Variables {
    fn of(&self, request: &HttpEvent, headers: &Map<String, Value>, data: &RawValue) -> Map<String, Value> {
        let mut found = Map::new();
        for name in self.headers.iter().map(|name| name.to_ascii_lowercase()) {
            let value = headers.get(&name).cloned().unwrap_or_default();
            found.insert(name, value);
        }
        for variable in &self.query {
            found.insert(variable.alias(), path::in_query(&request.query, &variable.path));
        }
        if !self.body.is_empty() {
            let body: Value = serde_json::from_str(data.get()).unwrap_or_default();
            found.extend(self.body.iter().map(|variable| (variable.alias(), path::at(&body, &variable.path))));
        }
        found
    }

    /// What is wrong with them as written.
    pub(crate) fn check(config: &Value) -> Vec<Problem> {
        let Ok(variables) = serde_json::from_value::<Self>(config.clone()) else { return Vec::new() };
        let header = |(nth, name): (usize, &String)| (format!("/headers/{nth}"), name.to_ascii_lowercase());
        let mut aliases: Vec<(String, String)> = variables.headers.iter().enumerate().map(header).collect();
        for (kind, named) in [("query", &variables.query), ("body", &variables.body)] {
            aliases.extend(named.iter().enumerate().map(|(nth, variable)| (format!("/{kind}/{nth}/alias"), variable.alias())));
        }
        let mut problems = Vec::new();
        for (nth, (pointer, alias)) in aliases.iter().enumerate() {
            let problem = if MEMBERS.contains(&alias.as_str()) {
                "is a member of every context"
            } else if aliases[..nth].iter().any(|(_, earlier)| earlier == alias) {
                "names another variable already"
            } else if alias.is_empty() || !alias.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-') {
                "is no name of letters, digits, `_` and `-`"
            } else {
                continue;
            };
            problems.push(Problem::new(pointer, format!("`{alias}` {problem}: give another `alias`")));
        }
        problems
    }
}

impl Variable {
    fn alias(&self) -> String {
        let made = || path::parts(&self.path).collect::<Vec<_>>().join("_");
        self.alias.clone().unwrap_or_else(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_names_and_differ() {
        let config = json!({
            "headers": ["X-Kind", "data"],
            "query": [{"path": "a[0].b"}, {"path": "c", "alias": "x-kind"}],
            "body": [{"path": "a", "alias": "a b"}, {"path": "ok"}],
        });
        let pointers: Vec<String> = Variables::check(&config).into_iter().map(|problem| problem.pointer).collect();
        assert_eq!(pointers, ["/headers/1", "/query/1/alias", "/body/0/alias"]);
    }
}
