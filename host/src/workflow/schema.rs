//! JSON Schemas that plugins give for their configs, and configs checked against them.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{JsonType, Keyword, PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value};

use super::definition::Problem;
use super::variables::{Root, Variable};
use crate::limits::{SCHEMA_LOOKS_MAX, SCHEMA_PATTERN_BYTES_MAX, SCHEMA_PATTERNS_MAX};

/// A JSON Schema (2020-12) of a config.
///
/// A config may hold `{{…}}` wherever its schema wants something else: its value is only known in a run. Such a place
/// passes. One keyword is added to JSON Schema: `x-weft-secret: true` takes only `{{$secrets.NAME}}`, so that no
/// secret is ever written into a definition.
#[derive(Debug)]
pub struct Schema(Validator);

/// Why a document is not a schema.
#[derive(Debug, thiserror::Error)]
#[error("not a JSON Schema: {0}")]
pub struct SchemaError(String);

impl Schema {
    /// Reads a schema. References outside the document are refused; nothing is fetched.
    pub fn parse(schema: &Value) -> Result<Self, SchemaError> {
        let patterns = patterns(schema);
        if patterns > SCHEMA_PATTERNS_MAX {
            return Err(SchemaError(format!("it has {patterns} patterns; at most {SCHEMA_PATTERNS_MAX}")));
        }
        // The linear-time engine: a vendor's pattern must not be able to stop the host.
        let validator = jsonschema::options()
            .with_pattern_options(PatternOptions::regex().size_limit(SCHEMA_PATTERN_BYTES_MAX))
            .with_keyword("x-weft-secret", secret_keyword)
            .build(schema)
            .map_err(|error| SchemaError(error.to_string()))?;
        Ok(Self(validator))
    }

    /// Everything wrong with a config, by pointers into it.
    pub fn problems(&self, config: &Value) -> Vec<Problem> {
        let mut problems = Vec::new();
        for error in self.0.iter_errors(config) {
            explain(&error, &mut problems);
        }
        problems
    }
}

/// A keyword of schemas of contexts: a JSON Pointer into the trigger's config. If something stands there, the context has other members
/// than those that the schema names.
pub const OPEN_WITH: &str = "x-weft-open-with";

/// Whether a document of this schema has something at a path of members and indices; none: the schema does not say.
pub fn names_path(schema: &Value, path: &[&str]) -> Option<bool> {
    named(schema, schema, path, &mut { SCHEMA_LOOKS_MAX })
}

fn named(root: &Value, schema: &Value, path: &[&str], looks: &mut usize) -> Option<bool> {
    let Some((first, rest)) = path.split_first() else { return Some(true) };
    *looks = looks.checked_sub(1)?;
    if let Some(pointer) = schema.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix('#')) {
        return named(root, root.pointer(pointer)?, path, looks);
    }
    let alternatives = ["anyOf", "oneOf", "allOf"].iter().filter_map(|keyword| schema.get(keyword)?.as_array()).flatten();
    let said: Vec<bool> = alternatives.filter_map(|schema| named(root, schema, path, looks)).collect();
    let own = match (schema.get("properties").and_then(Value::as_object), schema.get("items")) {
        (Some(members), _) => match members.get(*first) {
            Some(member) => named(root, member, rest, looks).or(Some(true)),
            // Such as a trigger's context that also has what its config names.
            None => schema.get(OPEN_WITH).is_none().then_some(false),
        },
        // A list of documents gives the list of their members.
        (None, Some(items)) if first.parse::<usize>().is_err() => named(root, items, path, looks),
        (None, Some(items)) => named(root, items, rest, looks),
        (None, None) => None,
    };
    said.into_iter().chain(own).reduce(|one, other| one || other)
}

/// How many patterns a schema may hold; more than it does, where a property is called so.
fn patterns(schema: &Value) -> usize {
    let below = |values: &mut dyn Iterator<Item = &Value>| values.map(patterns).sum::<usize>();
    match schema {
        Value::Object(members) => {
            let here = members.iter().map(|(name, value)| match (name.as_str(), value) {
                ("pattern", Value::String(_)) => 1,
                ("patternProperties", Value::Object(by_pattern)) => by_pattern.len(),
                _ => 0,
            });
            here.sum::<usize>() + below(&mut members.values())
        }
        Value::Array(items) => below(&mut items.iter()),
        _ => 0,
    }
}

/// Adds what is wrong in words that help. Where several schemas would do and none does, that is what is wrong by the one
/// that was most likely meant.
fn explain(error: &ValidationError<'_>, problems: &mut Vec<Problem>) {
    use ValidationErrorKind as Kind;
    if excused(error) {
        return;
    }
    let at = error.instance_path().as_str();
    if let Kind::AnyOf { context } | Kind::OneOfNotValid { context } = error.kind() {
        let mut values = Vec::new();
        if context.iter().all(|errors| collect_values(at, errors, &mut values)) && !values.is_empty() {
            problems.push(Problem::new(at, format!("{} is none of {}", error.instance(), values.join(", "))));
            return;
        }
        let is_other_type = |error: &ValidationError<'_>| {
            error.instance_path().as_str() == at && matches!(error.kind(), Kind::Type { .. } | Kind::Constant { .. })
        };
        let members: Option<Vec<String>> = context.iter().map(|errors| lacking(at, errors)).collect();
        if let Some(mut members) = members {
            members.dedup();
            problems.push(Problem::new(at, format!("give one of {}", members.join(", "))));
            return;
        }
        let depth = |errors: &[ValidationError<'_>]| errors.iter().map(|error| error.instance_path().as_str().len()).max();
        let meant = context.iter().filter(|errors| !errors.iter().any(is_other_type)).max_by_key(|errors| depth(errors));
        if let Some(errors) = meant.filter(|errors| !errors.is_empty()) {
            for error in errors {
                explain(error, problems);
            }
            return;
        }
    }
    problems.push(Problem::new(at, error.to_string()));
}

/// The member that one of several schemas requires and does not find.
fn lacking(at: &str, errors: &[ValidationError<'_>]) -> Option<String> {
    if errors.iter().any(|error| error.instance_path().as_str() != at) {
        return None;
    }
    errors.iter().find_map(|error| match error.kind() {
        ValidationErrorKind::Required { property } if error.instance_path().as_str() == at => {
            Some(format!("`{}`", property.as_str().unwrap_or_default()))
        }
        _ => None,
    })
}

/// Whether one of several schemas only names values that it takes, or takes `null` alone; the values are added.
fn collect_values(at: &str, errors: &[ValidationError<'_>], values: &mut Vec<String>) -> bool {
    use ValidationErrorKind as Kind;
    errors.iter().all(|error| match error.kind() {
        _ if error.instance_path().as_str() != at => false,
        Kind::Constant { expected_value } => {
            values.push(expected_value.to_string());
            true
        }
        Kind::Enum { options } => {
            values.extend(options.as_array().into_iter().flatten().map(Value::to_string));
            true
        }
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
            context.iter().all(|errors| collect_values(at, errors, values))
        }
        Kind::Type { kind: TypeKind::Single(JsonType::Null) } => true,
        _ => false,
    })
}

/// Whether a value that is only known in a run may still make this right.
fn excused(error: &ValidationError<'_>) -> bool {
    use ValidationErrorKind as Kind;
    let instance = error.instance();
    match error.kind() {
        Kind::Custom { .. } => false,
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
            holds_variables(instance) == Holds::Whole || context.iter().any(|errors| errors.iter().all(excused))
        }
        Kind::PropertyNames { error } => excused(error),
        Kind::Type { .. } => holds_variables(instance) == Holds::Whole,
        Kind::AdditionalProperties { .. } | Kind::Required { .. } | Kind::UnevaluatedProperties { .. } => {
            holds_variables(instance) == Holds::Whole || has_variable_key(instance)
        }
        Kind::Constant { .. }
        | Kind::Enum { .. }
        | Kind::Not { .. }
        | Kind::Contains
        | Kind::UniqueItems
        | Kind::OneOfMultipleValid { .. } => holds_variables(instance) != Holds::Nothing,
        _ => matches!(holds_variables(instance), Holds::Whole | Holds::Text),
    }
}

#[derive(PartialEq)]
enum Holds {
    Nothing,
    /// It is one variable.
    Whole,
    /// It is a text with variables in it.
    Text,
    /// Something below it is variable.
    Within,
}

fn holds_variables(value: &Value) -> Holds {
    match value {
        Value::String(text) => match text.find("{{") {
            Some(0) if text.find("}}") == Some(text.len() - 2) => match Variable::parse(&text[2..text.len() - 2]) {
                Ok(Some(_)) => Holds::Whole,
                _ => Holds::Nothing,
            },
            Some(_) => Holds::Text,
            None => Holds::Nothing,
        },
        Value::Array(items) if items.iter().any(|item| holds_variables(item) != Holds::Nothing) => Holds::Within,
        Value::Object(members)
            if has_variable_key(value) || members.values().any(|member| holds_variables(member) != Holds::Nothing) =>
        {
            Holds::Within
        }
        _ => Holds::Nothing,
    }
}

fn has_variable_key(value: &Value) -> bool {
    value.as_object().is_some_and(|members| members.keys().any(|key| key.contains("{{")))
}

struct SecretKeyword;

impl Keyword for SecretKeyword {
    fn validate<'i>(&self, instance: &'i Value) -> Result<(), ValidationError<'i>> {
        if self.is_valid(instance) {
            return Ok(());
        }
        Err(ValidationError::custom(
            "a secret never stands in a definition: store it with `weft secret set NAME` and write {{$secrets.NAME}} here",
        ))
    }

    fn is_valid(&self, instance: &Value) -> bool {
        match instance {
            Value::String(text) => text
                .strip_prefix("{{")
                .and_then(|text| text.strip_suffix("}}"))
                .and_then(|inner| Variable::parse(inner).ok().flatten())
                .is_some_and(|variable| matches!(variable.root, Root::Secret(_))),
            _ => true,
        }
    }
}

fn secret_keyword<'a>(
    _parent: &'a Map<String, Value>,
    value: &'a Value,
    _path: jsonschema::paths::Location,
) -> Result<Box<dyn Keyword>, ValidationError<'a>> {
    match value {
        Value::Bool(true) => Ok(Box::new(SecretKeyword)),
        _ => Err(ValidationError::custom("x-weft-secret is true or absent")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(schema: Value, config: Value) -> Vec<String> {
        let schema = Schema::parse(&schema).expect("is a schema");
        schema.problems(&config).into_iter().map(|problem| problem.pointer).collect()
    }

    #[test]
    fn a_variable_may_stand_for_anything() {
        let schema = json!({
            "type": "object", "additionalProperties": false, "required": ["n"],
            "properties": {
                "n": {"type": "integer", "minimum": 3},
                "e": {"enum": ["a", "b"]},
                "o": {"oneOf": [{"type": "object", "properties": {"x": {"type": "boolean"}}, "required": ["x"]}, {"type": "null"}]},
                "l": {"type": "array", "items": {"type": "number"}, "uniqueItems": true},
                "s": {"type": "string", "maxLength": 5},
            }
        });
        let good = json!({
            "n": "{{$context.n}}", "e": "{{$context.e}}", "o": {"x": "{{$context.x}}"},
            "l": [1, "{{$context.a}}", "{{$context.a}}"], "s": "{{$context.text}}!"
        });
        assert_eq!(check(schema.clone(), good), Vec::<String>::new());
        let bad = json!({"n": "n={{$context.n}}", "e": "c", "o": {"y": 1}, "l": [1, 1], "s": "123456", "z": 1});
        let mut found = check(schema.clone(), bad);
        found.sort();
        assert_eq!(found, ["", "/e", "/l", "/n", "/o", "/s"]);
        assert_eq!(check(schema, json!({})), [""]);
    }

    #[test]
    fn the_alternative_that_was_meant_says_what_is_wrong() {
        let schema = Schema::parse(&json!({"properties": {
            "word": {"anyOf": [{"oneOf": [{"const": "a"}, {"const": "b"}]}, {"type": "null"}]},
            "shape": {"anyOf": [{"type": "object", "required": ["x"], "properties": {"x": {"type": "integer"}}}, {"type": "null"}]},
        }}));
        let problems = schema.unwrap().problems(&json!({"word": "c", "shape": {"x": "y"}}));
        let said: Vec<String> = problems.into_iter().map(|problem| format!("{}: {}", problem.pointer, problem.message)).collect();
        assert_eq!(said, ["/word: \"c\" is none of \"a\", \"b\"", "/shape/x: \"y\" is not of type \"integer\""]);
    }

    #[test]
    fn a_schema_says_what_a_path_gives() {
        let schema = json!({
            "properties": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "null"}]}, "l": {"items": {"$ref": "#/$defs/a"}}, "any": {}},
            "$defs": {"a": {"properties": {"x": {"type": "string"}, "again": {"$ref": "#/$defs/a"}}}, "round": {"$ref": "#/$defs/round"}}
        });
        let said = |path: &str| names_path(&schema, &path.split('.').collect::<Vec<_>>());
        for there in ["a", "a.x", "a.again.again.x", "l.0.x", "l.x", "any", "any.what.ever"] {
            assert_eq!(said(there), Some(true), "{there}");
        }
        for gone in ["b", "a.y", "l.0.y", "l.y", "a.again.y"] {
            assert_eq!(said(gone), Some(false), "{gone}");
        }
        assert_eq!(names_path(&json!({}), &["x"]), None);
        assert_eq!(names_path(&json!({"$ref": "#"}), &["x"]), None, "a circle says nothing");
        let doubling = json!({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]});
        assert_eq!(names_path(&doubling, &["x"]), None, "and takes no time");
    }

    #[test]
    fn a_secret_is_never_literal() {
        let schema = json!({"properties": {"secret": {"type": "string", "x-weft-secret": true}}});
        assert_eq!(check(schema.clone(), json!({"secret": "{{$secrets.github}}"})), Vec::<String>::new());
        for bad in ["hunter2", "x{{$secrets.github}}", "{{$context.secret}}", ""] {
            assert_eq!(check(schema.clone(), json!({ "secret": bad })), ["/secret"], "{bad}");
        }
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        assert!(Schema::parse(&json!({"type": "nonsense"})).is_err());
        assert!(Schema::parse(&json!({"$ref": "https://example.org/schema"})).is_err());
        assert!(Schema::parse(&json!({"pattern": "(a+)+\\1"})).is_err(), "back references need a backtracking engine");
    }
}
