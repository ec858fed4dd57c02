//! The steps, one file each.

mod calls;
mod condition;
mod data;
mod delay;
mod end;
mod r#loop;
mod output;
mod parallel;
mod switch;
mod variable;
mod wait_signal;

pub(crate) use calls::{CallFunction, CallJob, CallWorkflow};
pub(crate) use condition::Decide;
pub(crate) use data::Data;
pub(crate) use delay::Delay;
pub(crate) use end::End;
pub(crate) use r#loop::Loop;
pub(crate) use output::Output;
pub(crate) use parallel::Parallel;
pub(crate) use switch::Switch;
pub(crate) use variable::Variable;
pub(crate) use wait_signal::WaitSignal;

use weft_sdk::prelude::*;

/// What [`is_key`] wants, for messages.
pub(crate) const KEY: &str = "1 to 64 lower-case letters, digits, `-` and `_`, a letter first";

/// Whether a text is the key of a workflow or the name of a queue.
pub(crate) fn is_key(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    text.len() <= 64 && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(is_part)
}

/// A value as text: a string as it is, nothing for null, all else as JSON.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
