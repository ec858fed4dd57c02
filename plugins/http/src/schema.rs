//! The part of JSON Schema (2020-12) that calls are checked by. A library with all of it makes this component five times as large,
//! which every webhook would pay for; a schema with a keyword that is not known here is refused when the workflow is published.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};

use regex_lite::Regex;
use weft_sdk::prelude::*;

/// Keywords that check nothing. `format` is one by the standard.
const ANNOTATIONS: [&str; 12] = [
    "$schema",
    "$id",
    "$comment",
    "$defs",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "format",
];

/// Keywords whose value is a number.
const NUMBERS: [&str; 9] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
];

const TYPES: [&str; 7] = ["null", "boolean", "object", "array", "number", "integer", "string"];

/// How deep schemas are followed into each other: one that refers to itself must end.
const DEPTH_MAX: usize = 64;

/// How much is looked at in one call: places in the schema, each with the value that stands there, and more for long texts and lists. Whoever
/// calls may send what he likes, and the host counts it against this plugin if a check never ends.
const WORK_MAX: usize = 200_000;

/// What is wrong with a schema as written. `at` is where it stands.
pub(crate) fn problems(schema: &Value, at: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    check(schema, schema, at, 0, &mut problems);
    problems
}

fn check(root: &Value, schema: &Value, at: &str, depth: usize, problems: &mut Vec<Problem>) {
    let members = match schema {
        Value::Bool(_) => return,
        Value::Object(members) if depth < DEPTH_MAX => members,
        _ => return problems.push(Problem::new(at, "a schema is an object, `true` or `false`, and not too deep")),
    };
    for (keyword, value) in members {
        let here = format!("{at}/{}", escaped(keyword));
        let mut below = |schema: &Value, name: &str| check(root, schema, &format!("{here}{name}"), depth + 1, problems);
        let wrong = match keyword.as_str() {
            "properties" | "$defs" if value.is_object() => {
                value.as_object().into_iter().flatten().for_each(|(name, schema)| below(schema, &format!("/{}", escaped(name))));
                None
            }
            "items" | "additionalProperties" | "not" => {
                below(value, "");
                None
            }
            "anyOf" | "oneOf" | "allOf" if value.as_array().is_some_and(|all| !all.is_empty()) => {
                value.as_array().into_iter().flatten().enumerate().for_each(|(nth, schema)| below(schema, &format!("/{nth}")));
                None
            }
            "type" => {
                let names = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
                let all_known = names.iter().all(|name| name.as_str().is_some_and(|name| TYPES.contains(&name)));
                (!all_known).then(|| format!("a type is one of {}", TYPES.join(", ")))
            }
            "pattern" => match value.as_str().map(Regex::new) {
                Some(Ok(_)) => None,
                _ => Some("this is no regular expression".into()),
            },
            "$ref" => {
                let found = value.as_str().and_then(|to| root.pointer(to.strip_prefix('#')?));
                found.is_none().then(|| "a reference leads to a place in this schema, such as `#/$defs/item`".into())
            }
            "enum" | "required" if value.is_array() => None,
            "const" => None,
            "uniqueItems" if value.is_boolean() => None,
            number if NUMBERS.contains(&number) && value.is_number() => None,
            annotation if ANNOTATIONS.contains(&annotation) || annotation.starts_with("x-") => None,
            _ => Some("this keyword, or this value of it, is not known here".into()),
        };
        if let Some(message) = wrong {
            problems.push(Problem::new(&here, message));
        }
    }
}

/// What is wrong with a value, so many mistakes at most. `at` is where it stands. A value that takes too much to check is refused.
pub(crate) fn mistakes(schema: &Value, value: &Value, at: &str, max: usize) -> Vec<Problem> {
    let (work, patterns) = (Cell::new(WORK_MAX), RefCell::default());
    let mut look = Look { root: schema, depth: 0, max, work: &work, patterns: &patterns, found: Vec::new() };
    look.at(schema, value, at);
    let mut found = look.found;
    if work.get() == 0 {
        found.insert(0, Problem::new(at, "there is too much here to check: send less at once"));
    }
    found.truncate(max);
    found
}

struct Look<'a> {
    root: &'a Value,
    depth: usize,
    /// Mistakes after which nothing more is looked at.
    max: usize,
    /// What is left of [`WORK_MAX`].
    work: &'a Cell<usize>,
    /// Expressions that were made ready.
    patterns: &'a RefCell<HashMap<String, Option<Regex>>>,
    found: Vec<Problem>,
}

impl Look<'_> {
    /// Whether there is no use in looking on.
    fn is_over(&self) -> bool {
        self.found.len() >= self.max || self.work.get() == 0
    }

    fn at(&mut self, schema: &Value, value: &Value, at: &str) {
        if self.is_over() {
            return;
        }
        let size = match value {
            Value::String(text) => text.len() / 256,
            Value::Array(items) => items.len() / 16,
            Value::Object(members) => members.len() / 16,
            _ => 0,
        };
        self.work.set(self.work.get().saturating_sub(1 + size));
        if self.depth > DEPTH_MAX {
            return self.found.push(Problem::new(at, "the schema refers to itself too often"));
        }
        self.depth += 1;
        match schema {
            Value::Bool(false) => self.found.push(Problem::new(at, "nothing is taken here")),
            Value::Object(keywords) => {
                keywords.iter().for_each(|(keyword, wanted)| self.keyword(schema, keyword, wanted, value, at))
            }
            _ => {}
        }
        self.depth -= 1;
    }

    fn keyword(&mut self, schema: &Value, keyword: &str, wanted: &Value, value: &Value, at: &str) {
        let number = || Some((value.as_f64()?, wanted.as_f64()?));
        let length = || Some((value.as_str()?.chars().count() as f64, wanted.as_f64()?));
        let items = || Some((value.as_array()?.len() as f64, wanted.as_f64()?));
        let off = |pair: Option<(f64, f64)>, is_off: fn(f64, f64) -> bool, what: &str| {
            pair.filter(|(is, limit)| is_off(*is, *limit)).map(|(_, limit)| format!("{what} {limit}"))
        };
        let wrong = match keyword {
            "type" => {
                let names = wanted.as_array().map_or(std::slice::from_ref(wanted), Vec::as_slice);
                let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
                (!names.iter().any(|name| is_of(name, value))).then(|| format!("this must be {}", names.join(" or ")))
            }
            "enum" => {
                let known = wanted.as_array().is_some_and(|all| all.contains(value));
                (!known).then(|| format!("this must be one of {wanted}"))
            }
            "const" => (value != wanted).then(|| format!("this must be {wanted}")),
            "minimum" => off(number(), |is, limit| is < limit, "this must be at least"),
            "maximum" => off(number(), |is, limit| is > limit, "this must be at most"),
            "exclusiveMinimum" => off(number(), |is, limit| is <= limit, "this must be more than"),
            "exclusiveMaximum" => off(number(), |is, limit| is >= limit, "this must be less than"),
            "multipleOf" => off(number(), |is, of| (is / of).fract().abs() > 1e-9, "this must be a multiple of"),
            "minLength" => off(length(), |is, limit| is < limit, "the length must be at least"),
            "maxLength" => off(length(), |is, limit| is > limit, "the length must be at most"),
            "minItems" => off(items(), |is, limit| is < limit, "the number of items must be at least"),
            "maxItems" => off(items(), |is, limit| is > limit, "the number of items must be at most"),
            "pattern" => {
                let is_match = |(pattern, text)| {
                    let mut patterns = self.patterns.borrow_mut();
                    let ready = patterns.entry(String::from(pattern)).or_insert_with(|| Regex::new(pattern).ok());
                    ready.as_ref().is_none_or(|pattern| pattern.is_match(text))
                };
                let matches = wanted.as_str().zip(value.as_str()).is_none_or(is_match);
                (!matches).then(|| format!("this must match {wanted}"))
            }
            "uniqueItems" if *wanted == true => {
                // Each is looked at whole.
                self.work.set(self.work.get().saturating_sub(nodes(value) / 16));
                if self.is_over() {
                    return;
                }
                let mut seen = HashSet::new();
                let twice = !value.as_array().into_iter().flatten().all(|item| seen.insert(item));
                twice.then(|| "the items must differ".into())
            }
            "required" => {
                if let Value::Object(members) = value {
                    let names = wanted.as_array().into_iter().flatten().filter_map(Value::as_str);
                    for name in names.filter(|name| !members.contains_key(*name)).take(self.max) {
                        self.found.push(Problem::new(&format!("{at}/{}", escaped(name)), "this is missing"));
                    }
                }
                None
            }
            "properties" => {
                for (name, schema) in wanted.as_object().into_iter().flatten() {
                    if let Some(member) = value.get(name) {
                        self.at(schema, member, &format!("{at}/{}", escaped(name)));
                    }
                }
                None
            }
            "additionalProperties" => {
                for (name, member) in value.as_object().into_iter().flatten() {
                    if self.is_over() {
                        break;
                    }
                    if schema.get("properties").and_then(|properties| properties.get(name)).is_none() {
                        self.at(wanted, member, &format!("{at}/{}", escaped(name)));
                    }
                }
                None
            }
            "items" => {
                for (nth, item) in value.as_array().into_iter().flatten().enumerate() {
                    if self.is_over() {
                        break;
                    }
                    self.at(wanted, item, &format!("{at}/{nth}"));
                }
                None
            }
            "$ref" => {
                if let Some(schema) = wanted.as_str().and_then(|to| self.root.pointer(to.strip_prefix('#')?)) {
                    self.at(schema, value, at);
                }
                None
            }
            "allOf" => {
                wanted.as_array().into_iter().flatten().for_each(|schema| self.at(schema, value, at));
                None
            }
            "not" => self.fits(wanted, value).then(|| "this must be something else".into()),
            "anyOf" | "oneOf" => {
                let fitting = wanted.as_array().into_iter().flatten().filter(|schema| self.fits(schema, value)).count();
                let good = if keyword == "anyOf" { fitting > 0 } else { fitting == 1 };
                (!good).then(|| format!("this fits {fitting} of the alternatives"))
            }
            _ => None,
        };
        self.found.extend(wrong.map(|message| Problem::new(at, message)));
    }

    fn fits(&self, schema: &Value, value: &Value) -> bool {
        let mut look = Look { max: 1, found: Vec::new(), ..*self };
        look.at(schema, value, "");
        look.found.is_empty()
    }
}

fn is_of(name: &str, value: &Value) -> bool {
    match (name, value) {
        ("integer", Value::Number(number)) => number.as_f64().is_some_and(|number| number.fract() == 0.0),
        (name, value) => {
            name == match value {
                Value::Null => "null",
                Value::Bool(_) => "boolean",
                Value::Number(_) => "number",
                Value::String(_) => "string",
                Value::Array(_) => "array",
                Value::Object(_) => "object",
            }
        }
    }
}

/// One token of a JSON Pointer (RFC 6901).
pub(crate) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// About how much there is to look at in a value.
fn nodes(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(nodes).sum::<usize>(),
        Value::Object(members) => 1 + members.values().map(nodes).sum::<usize>(),
        Value::String(text) => 1 + text.len() / 256,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointers(found: &[Problem]) -> Vec<&str> {
        found.iter().map(|problem| problem.pointer.as_str()).collect()
    }

    #[test]
    fn every_mistake_is_found_where_it_stands() {
        let schema = json!({
            "type": "object", "required": ["id", "items"], "additionalProperties": false,
            "$defs": {"sku": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 3}},
            "properties": {
                "id": {"type": "integer", "minimum": 1},
                "kind": {"enum": ["a", "b"]},
                "items": {"type": "array", "minItems": 1, "uniqueItems": true, "items": {"$ref": "#/$defs/sku"}},
                "either": {"oneOf": [{"type": "string"}, {"type": "number", "exclusiveMaximum": 5}]},
                "not": {"not": {"const": 7}},
            },
        });
        assert!(problems(&schema, "").is_empty());
        let good = json!({"id": 2.0, "kind": "b", "items": ["ab", "c"], "either": 4, "not": 8});
        assert!(mistakes(&schema, &good, "/body", 9).is_empty());
        let bad = json!({"id": 0.5, "kind": "c", "items": ["abcd", "B", "B"], "either": 6, "not": 7, "more": 1});
        let found = mistakes(&schema, &bad, "/body", 99);
        let mut at = pointers(&found);
        at.sort_unstable();
        let expected = [
            "/body/either",
            "/body/id",
            "/body/id",
            "/body/items",
            "/body/items/0",
            "/body/items/1",
            "/body/items/2",
            "/body/kind",
        ];
        assert_eq!(at, [&expected[..], &["/body/more", "/body/not"]].concat());
        assert_eq!(pointers(&mistakes(&schema, &json!({"id": 1}), "", 9)), ["/items"]);
        assert_eq!(mistakes(&json!({"$ref": "#"}), &json!(1), "", 9).len(), 1, "a circle ends");
    }

    #[test]
    fn a_check_ends_whatever_is_sent() {
        let long: Value = (0..300_000).map(Value::from).collect();
        let texts = json!({"type": "array", "items": {"type": "string"}});
        assert_eq!(mistakes(&texts, &long, "", 50).len(), 50);
        assert_eq!(mistakes(&json!({"uniqueItems": true}), &long, "", 50).len(), 0);
        let too_much = |schema: &Value, value: &Value| {
            let found = mistakes(schema, value, "/body", 50);
            assert!(found[0].message.contains("too much"), "{}", found[0].message);
        };
        let numbers = json!({"items": {"type": "number"}});
        too_much(&numbers, &long);
        assert!(mistakes(&numbers, &(0..100_000).map(Value::from).collect(), "", 50).is_empty(), "this much is fine");
        // Each level doubles what is to be looked at, and hides what is wrong with it.
        let doubling = json!({"anyOf": [{"items": {"$ref": "#"}, "type": "array"}, {"items": {"$ref": "#"}, "minItems": 1}]});
        let deep = (0..40).fold(json!("end"), |inner, _| json!([inner]));
        too_much(&doubling, &deep);
        let wide = json!([(0..100_000).map(Value::from).collect::<Value>()]);
        let unique = json!({"uniqueItems": true, "anyOf": [{"type": "string"}, {"$ref": "#"}, {"$ref": "#"}]});
        too_much(&unique, &wide);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for (schema, at) in [
            (json!({"type": "text"}), "/type"),
            (json!({"properties": {"a": {"if": true}}}), "/properties/a/if"),
            (json!({"pattern": "("}), "/pattern"),
            (json!({"$ref": "https://example.org"}), "/$ref"),
            (json!([]), ""),
        ] {
            assert_eq!(pointers(&problems(&schema, "")), [at]);
        }
    }
}
