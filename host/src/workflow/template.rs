//! Configs with `{{…}}`: read once at publish, filled in for each call.

use std::fmt::Write as _;

use serde_json::Value;

use super::definition::{Problem, escape};
use super::json::Json;
use super::raw::Place;
use super::variables::{Scope, Variable};

/// A JSON document whose strings, and whose objects' keys, may hold `{{…}}`.
///
/// A string that is one variable and nothing else becomes that variable's value, whatever its type; in a text with
/// more around it each variable becomes text. Reading a template sorts out the parts without variables, so that
/// filling it in only looks up what is variable.
#[derive(Clone, Debug, PartialEq)]
pub struct Template(Node);

/// Elements of a list, as JSON.
#[derive(Debug, PartialEq)]
pub struct Slice {
    /// The length of the whole list; none: what should be one is none, and stands alone in `items`.
    pub length: Option<usize>,
    /// The elements that were asked for.
    pub items: Vec<String>,
}

impl Slice {
    pub(super) fn of(list: &[impl ToString], offset: usize, limit: usize) -> Self {
        let items = list.iter().skip(offset).take(limit).map(ToString::to_string).collect();
        Self { length: Some(list.len()), items }
    }

    pub(super) fn alone(json: String) -> Self {
        Self { length: None, items: vec![json] }
    }
}

/// A template that would become too long when it is filled in.
#[derive(Debug, thiserror::Error)]
#[error("with its variables filled in the config has more than {0} bytes; pick the parts that the step needs")]
pub struct TooLarge(usize);

#[derive(Clone, Debug, PartialEq)]
enum Node {
    /// JSON without any variable, ready to be copied.
    Fixed(Box<str>),
    Whole(Variable),
    Text(Vec<Part>),
    Object(Vec<(Vec<Part>, Node)>),
    Array(Vec<Node>),
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(Box<str>),
    Variable(Variable),
}

impl Template {
    /// Reads a config. What is meant as a variable and cannot be one is a problem, by the pointer of its string.
    pub fn parse(value: &Value) -> Result<Self, Vec<Problem>> {
        let (template, problems) = Self::read(value);
        if problems.is_empty() { Ok(template) } else { Err(problems) }
    }

    /// Reads a config: what could be read of it, and the problems.
    pub fn read(value: &Value) -> (Self, Vec<Problem>) {
        Self::read_with(value, None)
    }

    /// The same, but parts that this schema marks as raw keep their `{{…}}`.
    pub fn read_with(value: &Value, schema: Option<&Value>) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        let node = Node::parse(value, "", schema.map(Place::of).as_ref(), &mut problems);
        (Self(node), problems)
    }

    /// The document with every variable filled in. A variable without value is `null`, and empty in a text. An error: it
    /// would become longer than `bytes_max`.
    pub fn render(&self, scope: &dyn Scope, bytes_max: usize) -> Result<Json, TooLarge> {
        let mut out = String::new();
        self.0.render(scope, &mut out, bytes_max)?;
        if out.len() > bytes_max { Err(TooLarge(bytes_max)) } else { Ok(Json::trusted(out)) }
    }

    /// Some elements of the list that the template becomes. Of a list that one variable gives, nothing else is copied.
    pub fn slice(&self, scope: &dyn Scope, offset: usize, limit: usize, bytes_max: usize) -> Result<Slice, TooLarge> {
        if let Node::Whole(variable) = &self.0 {
            let slice = variable.slice(scope, offset, limit);
            let bytes: usize = slice.items.iter().map(String::len).sum();
            return if bytes > bytes_max { Err(TooLarge(bytes_max)) } else { Ok(slice) };
        }
        let whole = self.render(scope, bytes_max)?;
        Ok(match whole.value() {
            Value::Array(items) => Slice::of(items, offset, limit),
            _ => Slice::alone(whole.text().to_owned()),
        })
    }

    /// Each variable, in order, with the pointer of the string it stands in.
    pub fn variables(&self) -> Vec<(String, &Variable)> {
        let mut found = Vec::new();
        self.0.variables("", &mut found);
        found
    }
}

impl Node {
    fn parse(value: &Value, at: &str, place: Option<&Place<'_>>, problems: &mut Vec<Problem>) -> Self {
        if place.is_some_and(Place::is_raw) {
            return Self::fixed(value);
        }
        let node = match value {
            Value::String(text) => match Self::parse_text(text, at, problems) {
                Some(node) => node,
                None => return Self::fixed(value),
            },
            Value::Array(items) => {
                let item = |(index, item)| {
                    let place = place.map(|place| place.element(index));
                    Self::parse(item, &format!("{at}/{index}"), place.as_ref(), problems)
                };
                Self::Array(items.iter().enumerate().map(item).collect())
            }
            Value::Object(members) => Self::Object(
                members
                    .iter()
                    .map(|(key, member)| {
                        let (at, place) = (format!("{at}/{}", escape(key)), place.map(|place| place.member(key)));
                        (parse_parts(key, &at, problems), Self::parse(member, &at, place.as_ref(), problems))
                    })
                    .collect(),
            ),
            Value::Null | Value::Bool(_) | Value::Number(_) => return Self::fixed(value),
        };
        if node.is_fixed() { Self::fixed(value) } else { node }
    }

    fn fixed(value: &Value) -> Self {
        Self::Fixed(value.to_string().into())
    }

    fn is_fixed(&self) -> bool {
        match self {
            Self::Fixed(_) => true,
            Self::Whole(_) | Self::Text(_) => false,
            Self::Array(items) => items.iter().all(Self::is_fixed),
            Self::Object(members) => {
                members.iter().all(|(key, member)| key.iter().all(|part| matches!(part, Part::Text(_))) && member.is_fixed())
            }
        }
    }

    /// None for a text without variables.
    fn parse_text(text: &str, at: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let mut parts = parse_parts(text, at, problems);
        if parts.iter().all(|part| matches!(part, Part::Text(_))) {
            return None;
        }
        match parts.pop() {
            Some(Part::Variable(variable)) if parts.is_empty() => Some(Self::Whole(variable)),
            Some(last) => {
                parts.push(last);
                Some(Self::Text(parts))
            }
            None => None,
        }
    }

    /// Looks at the length between the parts, so that it is exceeded by one value at most.
    fn render(&self, scope: &dyn Scope, out: &mut String, bytes_max: usize) -> Result<(), TooLarge> {
        if out.len() > bytes_max {
            return Err(TooLarge(bytes_max));
        }
        match self {
            Self::Fixed(text) => out.push_str(text),
            Self::Whole(variable) => variable.write_json(scope, out),
            Self::Text(parts) => write_string(parts, scope, out, bytes_max)?,
            Self::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.render(scope, out, bytes_max)?;
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (index, (key, member)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_string(key, scope, out, bytes_max)?;
                    out.push(':');
                    member.render(scope, out, bytes_max)?;
                }
                out.push('}');
            }
        }
        Ok(())
    }

    fn variables<'a>(&'a self, at: &str, found: &mut Vec<(String, &'a Variable)>) {
        match self {
            Self::Fixed(_) => {}
            Self::Whole(variable) => found.push((at.to_owned(), variable)),
            Self::Text(parts) => collect(parts, at, found),
            Self::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    item.variables(&format!("{at}/{index}"), found);
                }
            }
            Self::Object(members) => {
                for (key, member) in members {
                    let at = format!("{at}/{}", escape(&source(key)));
                    collect(key, &at, found);
                    member.variables(&at, found);
                }
            }
        }
    }
}

fn collect<'a>(parts: &'a [Part], at: &str, found: &mut Vec<(String, &'a Variable)>) {
    for part in parts {
        if let Part::Variable(variable) = part {
            found.push((at.to_owned(), variable));
        }
    }
}

fn source(parts: &[Part]) -> String {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Text(piece) => text.push_str(piece),
            Part::Variable(variable) => {
                let _ = write!(text, "{variable}");
            }
        }
    }
    text
}

/// Writes a JSON string made of parts.
fn write_string(parts: &[Part], scope: &dyn Scope, out: &mut String, bytes_max: usize) -> Result<(), TooLarge> {
    let mut text = String::new();
    for part in parts {
        if text.len() > bytes_max {
            return Err(TooLarge(bytes_max));
        }
        match part {
            Part::Text(piece) => text.push_str(piece),
            Part::Variable(variable) => variable.write_text(scope, &mut text),
        }
    }
    push_json_string(&text, out);
    Ok(())
}

/// Appends a text as a JSON string, quoted and escaped.
pub(super) fn push_json_string(text: &str, out: &mut String) {
    out.push_str(&serde_json::to_string(text).expect("a str always serialises"));
}

/// Splits a text at its variables.
fn parse_parts(text: &str, at: &str, problems: &mut Vec<Problem>) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut fixed = String::new();
    let mut rest = text;
    while let Some(open) = rest.find("{{") {
        let inner = &rest[open + 2..];
        let Some(close) = inner.find("}}") else {
            if inner.trim_start().starts_with('$') {
                problems.push(Problem::new(at, "a variable begins with `{{` and does not end with `}}`"));
            }
            break;
        };
        match Variable::parse(&inner[..close]) {
            Ok(Some(variable)) => {
                fixed.push_str(&rest[..open]);
                if !fixed.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut fixed).into()));
                }
                parts.push(Part::Variable(variable));
            }
            Ok(None) => fixed.push_str(&rest[..open + close + 4]),
            Err(message) => problems.push(Problem::new(at, message)),
        }
        rest = &inner[close + 2..];
    }
    fixed.push_str(rest);
    if !fixed.is_empty() || parts.is_empty() {
        parts.push(Part::Text(fixed.into()));
    }
    parts
}
