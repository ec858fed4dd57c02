//! What all steps have in common that go on in one of their branches, whatever says which: the same branches, results and ways to fail.
//!
//! [`decide`]: one way or the other. [`choose`]: the first of several conditions that holds. [`listed`]: branches that a config lists.

mod choice;
mod decision;
pub mod listed;

pub use choice::{Chosen, check_conditions, choose, choosing, chosen};
pub use decision::{Mode, decide, decided, deciding};

use weft_sdk::prelude::*;

/// A step hears of something that it does not wait for: the host's mistake, not the author's.
pub fn unexpected(what: &str) -> Answer {
    Err(Failure::new("unexpected-event", format!("the host told this step of something else than {what}: please report it")))
}
