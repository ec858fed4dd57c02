//! What a document has inside, as its JSON Schema says: the variables that a person can pick.

use serde::Serialize;
use serde_json::Value;

use crate::limits::SCHEMA_LOOKS_MAX;

/// Something that a template can name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// What stands between the braces: `$steps.total.result.price`.
    pub variable: String,
    /// JSON types, `or` between them; `list of number`; `anything` where nothing is said.
    pub r#type: String,
    /// What it is, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// How deep a picker looks into documents.
const DEPTH_MAX: usize = 6;

/// A document and everything in it that its schema names, each with the way to it; at most `limit`. A member of a list's items is named as in
/// a template: it gives a list. Where a schema says `x-weft-members-from` with a JSON Pointer (RFC 6901), or several, members are named by the
/// config: see `node-type.result-schema` in the contract.
pub fn members(variable: &str, schema: Option<&Value>, config: &Value, limit: usize) -> Vec<Member> {
    let nothing = Value::Bool(true);
    let root = schema.unwrap_or(&nothing);
    let mut walk = Walk { root, config, limit, looks: SCHEMA_LOOKS_MAX, found: Vec::new() };
    walk.add(variable.to_owned(), root, false, DEPTH_MAX);
    walk.found
}

struct Walk<'a> {
    root: &'a Value,
    config: &'a Value,
    limit: usize,
    /// How many schemas may still be looked at: a plugin's may double at each level.
    looks: usize,
    found: Vec<Member>,
}

impl<'a> Walk<'a> {
    fn add(&mut self, variable: String, schema: &'a Value, in_list: bool, depth: usize) {
        if self.found.len() >= self.limit {
            return;
        }
        let described = schema.get("description").and_then(Value::as_str);
        let schema = self.resolved(schema);
        let kind = self.words(schema);
        let kind = if in_list { format!("list of {kind}") } else { kind };
        let description = described.or(schema.get("description").and_then(Value::as_str)).map(str::to_owned);
        self.found.push(Member { variable: variable.clone(), r#type: kind, description });
        if depth > 0 {
            self.add_members(&variable, schema, in_list, depth - 1);
        }
    }

    fn add_members(&mut self, variable: &str, schema: &'a Value, in_list: bool, depth: usize) {
        let Some(left) = self.looks.checked_sub(1) else { return };
        self.looks = left;
        let cases = ["anyOf", "oneOf", "allOf"].iter().filter_map(|keyword| schema.get(keyword)?.as_array()).flatten();
        for case in cases {
            let case = self.resolved(case);
            if depth > 0 {
                self.add_members(variable, case, in_list, depth - 1);
            }
        }
        let items = schema.get("items").map(|items| self.resolved(items));
        if let Some(items) = items.filter(|_| depth > 0) {
            self.add_members(variable, items, true, depth - 1);
        }
        for (name, member) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            if is_segment(name) {
                self.add(format!("{variable}.{name}"), member, in_list, depth);
            }
        }
        let values = schema.get("additionalProperties").filter(|values| values.is_object());
        for named in named_by_config(schema, self.config) {
            if self.found.len() >= self.limit {
                return;
            }
            let variable = format!("{variable}.{}", named.name);
            match (values, named.r#type) {
                (Some(values), None) => self.add(variable, values, in_list, depth),
                (_, kind) => {
                    self.found.push(Member {
                        variable,
                        r#type: kind.unwrap_or("anything").into(),
                        description: named.description,
                    });
                }
            }
        }
    }

    /// Follows references within the schema.
    fn resolved(&self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        for _ in 0..DEPTH_MAX {
            let reference = schema.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix('#'));
            match reference.and_then(|pointer| self.root.pointer(pointer)) {
                Some(found) => schema = found,
                None => break,
            }
        }
        schema
    }

    fn words(&self, schema: &'a Value) -> String {
        let kinds: Vec<String> = match schema.get("type") {
            Some(Value::String(kind)) => vec![kind.clone()],
            Some(Value::Array(kinds)) => {
                kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null").map(str::to_owned).collect()
            }
            _ => {
                let cases = ["anyOf", "oneOf"].iter().filter_map(|keyword| schema.get(keyword)?.as_array()).flatten();
                let mut words: Vec<String> =
                    cases.filter_map(|case| Some(self.resolved(case).get("type")?.as_str()?.to_owned())).collect();
                words.retain(|word| word != "null");
                words.dedup();
                words
            }
        };
        let items = schema.get("items").map(|items| self.resolved(items));
        let kinds = kinds.into_iter().map(|kind| match (kind.as_str(), items.and_then(|items| items.get("type")?.as_str())) {
            ("array", Some(item)) => format!("list of {item}"),
            ("array", None) => "list".into(),
            _ => kind,
        });
        let words = kinds.collect::<Vec<_>>().join(" or ");
        if words.is_empty() { "anything".into() } else { words }
    }
}

/// A member that a config names.
struct Named<'a> {
    name: String,
    r#type: Option<&'a str>,
    description: Option<String>,
}

/// The members that a config names, as a schema says.
fn named_by_config<'a>(schema: &Value, config: &'a Value) -> Vec<Named<'a>> {
    let places = match schema.get("x-weft-members-from") {
        Some(Value::Array(places)) => &places[..],
        Some(place) => std::slice::from_ref(place),
        None => &[],
    };
    let mut all = Vec::new();
    for place in places {
        let pointer = place.as_str().or_else(|| place.get("at")?.as_str());
        let is_lower = place.get("lower-case") == Some(&Value::Bool(true));
        let plain = |name: String| Named { name, r#type: None, description: None };
        let found: Vec<Named<'a>> = match pointer.and_then(|pointer| config.pointer(pointer)) {
            Some(Value::Object(members)) => members.keys().map(|name| plain(name.clone())).collect(),
            Some(Value::Array(items)) => items.iter().filter_map(named_by).collect(),
            _ => Vec::new(),
        };
        let found = found.into_iter().filter(|named| is_segment(&named.name));
        all.extend(found.map(|named| if is_lower { Named { name: named.name.to_lowercase(), ..named } } else { named }));
    }
    all
}

/// The member that an element of a list names.
fn named_by(item: &Value) -> Option<Named<'_>> {
    let text = |member: &str| item.get(member).and_then(Value::as_str).filter(|text| !text.is_empty());
    let by_path = || Some(text("path")?.split(['.', '[', ']']).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_"));
    let name = ["alias", "key", "name"].into_iter().find_map(text).or(item.as_str()).map(str::to_owned).or_else(by_path)?;
    let kinds = ["string", "number", "integer", "boolean", "object", "array"];
    let r#type = text("type").filter(|kind| kinds.contains(kind)).map(|kind| if kind == "array" { "list" } else { kind });
    Some(Named { name, r#type, description: text("description").or(text("title")).map(str::to_owned) })
}

/// Whether a name can stand in a template's path.
fn is_segment(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "-_$@".contains(c))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names(schema: &Value, config: &Value) -> Vec<String> {
        let found = members("$x", Some(schema), config, 20);
        found.into_iter().map(|member| format!("{} {}", member.variable, member.r#type)).collect()
    }

    #[test]
    fn members_are_named_as_in_templates() {
        let schema = json!({
            "type": "object",
            "properties": {
                "n": {"type": ["integer", "null"]},
                "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}},
                "a.b": {"type": "string"},
            },
            "$defs": {"Line": {"type": "object", "properties": {"price": {"type": "number"}, "tags": {"type": "array", "items": {"type": "string"}}}}},
        });
        let want = [
            "$x object",
            "$x.n integer",
            "$x.lines list of object",
            "$x.lines.price list of number",
            "$x.lines.tags list of list of string",
        ];
        assert_eq!(names(&schema, &json!({})), want);
    }

    #[test]
    fn a_config_can_name_the_members() {
        let schema = json!({"type": "object", "x-weft-members-from": "/fields"});
        assert_eq!(names(&schema, &json!({"fields": {"a": 1, "b c": 2}})), ["$x object", "$x.a anything"]);
        assert_eq!(
            names(&schema, &json!({"fields": [{"path": "q.w", "alias": "w"}, {"key": "k"}, "s"]}))[1..],
            ["$x.w anything", "$x.k anything", "$x.s anything"]
        );
        let schema = json!({"x-weft-members-from": ["/list", {"at": "/headers", "lower-case": true}, "/none", 1]});
        let config = json!({
            "list": [{"path": "a.b[0]"}, {"name": "n", "type": "array"}, {"name": "m", "type": "any", "title": "M"}, {"path": ""}, 1],
            "headers": ["X-Kind"],
        });
        assert_eq!(names(&schema, &config)[1..], ["$x.a_b_0 anything", "$x.n list", "$x.m anything", "$x.x-kind anything"]);
        assert_eq!(members("$x", Some(&schema), &config, 20)[3].description.as_deref(), Some("M"));
    }

    #[test]
    fn a_schema_that_holds_itself_comes_to_an_end() {
        let schema = json!({"$ref": "#/$defs/Tree", "$defs": {"Tree": {"type": "object", "properties": {"left": {"$ref": "#/$defs/Tree"}, "right": {"$ref": "#/$defs/Tree"}}}}});
        assert_eq!(names(&schema, &json!({})).len(), 20);
        let cases: Vec<Value> = (0..1_000).map(|_| json!({"$ref": "#"})).collect();
        assert_eq!(names(&json!({"anyOf": cases}), &json!({})), ["$x anything"]);
    }
}
