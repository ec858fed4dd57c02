//! What a script failed with.

use serde::Deserialize;

use crate::realm::USERS;

/// What a script failed with.
#[derive(Debug)]
pub struct Thrown {
    /// Why.
    pub kind: Kind,
    /// For people; with the place, if there is one.
    pub message: String,
    /// Where in the user's text: line and column, from 1.
    pub place: Option<(u32, u32)>,
    /// The calls that led there, one a line.
    pub stack: String,
}

/// Why a script failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It threw something.
    Error,
    /// It is no JavaScript.
    Syntax,
    /// Its time was over.
    Time,
    /// It used up its memory.
    Memory,
    /// It used up its stack.
    Stack,
    /// It waits for a promise that nothing settles.
    Pending,
}

#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    name: String,
    message: String,
    #[serde(default)]
    stack: String,
}

impl Thrown {
    pub(crate) fn timed_out() -> Self {
        Self::of(Kind::Time, "the script did not end in its time")
    }

    pub(crate) fn never_settled() -> Self {
        Self::of(Kind::Pending, "the script waits for a promise that nothing settles")
    }

    pub(crate) fn of_engine(message: &str) -> Self {
        let kind = if message.contains("llocation") || message.contains("memory") { Kind::Memory } else { Kind::Error };
        Self::of(kind, message)
    }

    fn of(kind: Kind, message: &str) -> Self {
        Self { kind, message: message.into(), place: None, stack: String::new() }
    }

    /// Reads what the prelude tells.
    pub(crate) fn read(json: &str) -> Self {
        let Ok(told) = serde_json::from_str::<Told>(json) else { return Self::of(Kind::Error, "something was thrown") };
        let kind = match (told.name.as_str(), told.message.as_str()) {
            ("InternalError", "out of memory") => Kind::Memory,
            ("RangeError", "Maximum call stack size exceeded") => Kind::Stack,
            ("SyntaxError", _) => Kind::Syntax,
            _ => Kind::Error,
        };
        let stack: Vec<String> = told.stack.lines().filter_map(in_users_text).collect();
        let place = stack.first().and_then(|line| place(line));
        let mut message = if told.name.is_empty() { told.message } else { format!("{}: {}", told.name, told.message) };
        if let Some((line, column)) = place {
            message.push_str(&format!(" (line {line}, column {column})"));
        }
        Self { kind, message, place, stack: stack.join("\n") }
    }
}

/// A line of a stack as the user counts: without the line that is before the text.
fn in_users_text(line: &str) -> Option<String> {
    let (before, (number, column)) = (line.find(&format!("{USERS}:"))?, place(line)?);
    let head = line[..before].trim_start().trim_start_matches("at ").trim_end_matches('(').trim();
    let head = if head.is_empty() { String::new() } else { format!("{head} ") };
    Some(format!("{head}{USERS}:{}:{column}", number.checked_sub(1)?))
}

/// The place in a line of a stack.
fn place(line: &str) -> Option<(u32, u32)> {
    let place = line.split_once(&format!("{USERS}:"))?.1;
    let mut numbers = place.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
