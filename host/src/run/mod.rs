//! What happens in a run: journal entries, the state they fold to, and what is to be done next.
//!
//! Pure: no clock, no IO, no await. Time and randomness come in with the entries.

mod entry;
mod history;
mod id;
mod state;

pub use entry::{
    Accepted, BranchStart, Called, Effects, Entry, Failure, LogLevel, LogLine, Outcome, Response, SecretUse, Status,
};
pub use history::{ActivationView, FailureView, ResponseView, View, view};
pub use id::{RunId, RunIdError};
pub use state::{Activation, ActivationId, BranchEnd, Command, End, Event, State, check};
