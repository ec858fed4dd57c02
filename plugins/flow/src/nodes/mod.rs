//! The steps, one file each.

pub(crate) mod condition;
pub(crate) mod data;
pub(crate) mod r#loop;
pub(crate) mod switch;

use weft_sdk::prelude::*;

/// A step hears of something that it does not wait for: the host's mistake, not the author's.
pub(crate) fn unexpected(what: &str) -> Answer {
    Err(Failure::new("unexpected-event", format!("this step waits for {what} only")))
}
