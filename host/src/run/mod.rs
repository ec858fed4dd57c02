//! What happens in a run: journal entries, the state they fold to, and what is to be done next.
//!
//! Pure: no clock, no IO, no await. Time and randomness come in with the entries.

mod called;
mod entry;
mod feed;
mod file;
mod history;
mod id;
mod recorded;
mod retry;
mod staged;
mod state;
mod view;
mod wait;

pub use called::{BranchStart, Called, Effects, Failure, LogLevel, LogLine, Outcome, Response, SecretUse, Status, Usage};
pub use entry::{Accepted, Arrival, Decision, Entry, Parent, Reason, Rerun};
pub use feed::EntryView;
pub use file::{FileFacts, FileId, FileIdError};
pub use history::{Shown, Teller};
pub use id::{RunId, RunIdError};
pub use recorded::{Given, HostAnswer, Recorded, asked_file, asked_new_file, asked_send, asked_start, asked_value};
pub use retry::backoff_ms;
pub use staged::{KvKey, Seen, Staged, StagedFile, StagedStart};
#[cfg(test)]
pub(crate) use state::set_fire_timers_twice;
pub use state::{Activation, ActivationId, Child, Command, End, Ended, Event, OpenWait, Outgoing, Phase, State, check};
pub use view::{ActivationView, FailureView, FileView, ResponseView, View};
pub use wait::{Fault, Request, Task, TaskAction, Wait, WaitKind};
