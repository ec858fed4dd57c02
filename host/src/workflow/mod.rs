//! What a workflow *is*: definitions, revisions, variables, checks, differences.
//!
//! Pure: no clock, no IO, no await. Everything here is a function of its arguments.

mod annotated;
mod definition;
mod diff;
mod json;
mod members;
mod name;
mod pinned;
mod plan;
mod range;
mod raw;
mod sample;
mod schema;
mod template;
mod variables;
mod yaml;

pub use annotated::annotated;
pub(crate) use definition::escape;
pub use definition::{Definition, History, ON_FAILURE, OnFailure, Options, Problem, Repeat, Retry, Step, Trigger};
pub use diff::{Change, ChangeKind, diff};
pub use json::{Json, JsonError};
pub use members::{Member, members};
pub use name::{Key, KeyError, TypeRef, TypeRefError};
pub use pinned::pinned;
pub use plan::{ListId, Plan, PlanStep, StepId};
pub use range::DateRange;
pub use raw::is_raw;
pub use sample::{query_paths, sample_paths};
pub use schema::{OPEN_WITH, Schema, SchemaError, names_path};
pub use template::{Slice, Template, TooLarge};
pub use variables::{Root, Scope, System, Variable};
pub use yaml::read_yaml;
