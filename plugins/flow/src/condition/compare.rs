//! The comparisons of the basic condition engine: JavaScript's loose ones (ECMA-262 §7.2.12 to §7.2.14), on JSON values.
//!
//! Two objects, or two arrays, are equal if their contents are: JSON has no identity.

use std::cmp::Ordering;

use weft_sdk::prelude::*;

/// How to compare.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Operator {
    /// `==`: `"1"` equals `1`.
    #[serde(alias = "==")]
    Equal,
    /// `!=`
    #[serde(alias = "!=")]
    NotEqual,
    /// `>`: texts by their letters, all else as numbers.
    #[serde(alias = ">")]
    Gt,
    /// `>=`
    #[serde(alias = ">=")]
    Gte,
    /// `<`
    #[serde(alias = "<")]
    Lt,
    /// `<=`
    #[serde(alias = "<=")]
    Lte,
    /// The text on the left holds the one on the right, or the list the item.
    Includes,
    /// The opposite of `includes`.
    NotIncludes,
    /// The text on the left begins with the one on the right.
    StartsWith,
    /// The opposite of `startsWith`.
    NotStartsWith,
    /// The text on the left ends with the one on the right.
    EndsWith,
    /// The opposite of `endsWith`.
    NotEndsWith,
}

pub(crate) fn compare(left: &Value, operator: Operator, right: &Value) -> bool {
    match operator {
        Operator::Equal => equal(left, right),
        Operator::NotEqual => !equal(left, right),
        Operator::Gt => order(left, right) == Some(Ordering::Greater),
        Operator::Gte => matches!(order(left, right), Some(Ordering::Greater | Ordering::Equal)),
        Operator::Lt => order(left, right) == Some(Ordering::Less),
        Operator::Lte => matches!(order(left, right), Some(Ordering::Less | Ordering::Equal)),
        Operator::Includes => includes(left, right),
        Operator::NotIncludes => !includes(left, right),
        Operator::StartsWith => text(left).starts_with(&text(right)),
        Operator::NotStartsWith => !text(left).starts_with(&text(right)),
        Operator::EndsWith => text(left).ends_with(&text(right)),
        Operator::NotEndsWith => !text(left).ends_with(&text(right)),
    }
}

fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Null, Value::Null) => true,
        (Value::Null, _) | (_, Value::Null) => false,
        (Value::String(left), Value::String(right)) => left == right,
        (Value::Array(_), Value::Array(_)) | (Value::Object(_), Value::Object(_)) => same(left, right),
        (Value::Array(_) | Value::Object(_), Value::String(right)) => text(left) == *right,
        (Value::String(left), Value::Array(_) | Value::Object(_)) => *left == text(right),
        _ => number(left) == number(right),
    }
}

/// Equal without conversion; `1` and `1.0` are the same number.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len() && left.iter().all(|(key, left)| right.get(key).is_some_and(|right| same(left, right)))
        }
        _ => left == right,
    }
}

fn order(left: &Value, right: &Value) -> Option<Ordering> {
    let textual = |value: &Value| matches!(value, Value::String(_) | Value::Array(_) | Value::Object(_));
    if textual(left) && textual(right) {
        Some(text(left).encode_utf16().cmp(text(right).encode_utf16()))
    } else {
        number(left).partial_cmp(&number(right))
    }
}

fn includes(left: &Value, right: &Value) -> bool {
    match left {
        Value::Null => false,
        Value::Array(items) => items.iter().any(|item| same(item, right)),
        left => text(left).contains(&text(right)),
    }
}

/// JavaScript's `Number(value)`; what is no number is NaN, which equals nothing.
fn number(value: &Value) -> f64 {
    match value {
        Value::Null | Value::Bool(false) => 0.0,
        Value::Bool(true) => 1.0,
        Value::Number(number) => number.as_f64().unwrap_or(f64::NAN),
        Value::String(text) => parse(text),
        Value::Array(_) | Value::Object(_) => parse(&text(value)),
    }
}

fn parse(text: &str) -> f64 {
    let text = text.trim();
    let radix = |digits: &str, radix| u64::from_str_radix(digits, radix).map_or(f64::NAN, |number| number as f64);
    match text.as_bytes() {
        [] => 0.0,
        [b'0', b'x' | b'X', ..] => radix(&text[2..], 16),
        [b'0', b'o' | b'O', ..] => radix(&text[2..], 8),
        [b'0', b'b' | b'B', ..] => radix(&text[2..], 2),
        // Rust reads `inf`, `nan` and `infinity` too; JavaScript reads `Infinity` alone.
        _ if text.trim_start_matches(['+', '-']) == "Infinity" => text.parse().unwrap_or(f64::NAN),
        _ if text.chars().any(|c| c.is_alphabetic() && c != 'e' && c != 'E') => f64::NAN,
        _ => text.parse().unwrap_or(f64::NAN),
    }
}

/// JavaScript's `String(value)`.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| if item.is_null() { String::new() } else { text(item) }).collect();
            items.join(",")
        }
        Value::Object(_) => "[object Object]".into(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e15 => format!("{float:.0}"),
            _ => number.to_string(),
        },
        value => value.to_string(),
    }
}
