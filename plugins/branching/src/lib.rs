//! What all steps have in common that go on in one of their branches, whatever says which: the same branches, results and ways to fail.
//!
//! [`decide`]: one way or the other. [`choose`]: the first of several conditions that holds. [`listed`]: branches that a config lists.

mod choice;
mod decision;
pub mod listed;

pub use choice::{check_conditions, choose, choosing, chosen};
pub use decision::{Mode, decide, decided, deciding};
