//! Plugins: components, the types they carry out, and calls of them.
//!
//! The only module that says `wasmtime`. It calls components and converts what they answer; it never decides what a
//! run does next, and knows nothing of the store.

mod background;
#[expect(missing_docs, reason = "generated; wit/ documents it")]
mod bindings;
mod bounds;
mod cache;
mod compiler;
mod convert;
mod cpu;
mod description;
mod effort;
mod engine;
mod grants;
mod health;
mod host_pattern;
mod inspect;
mod instance;
mod limits;
mod meter;
mod output;
mod registry;
mod request;
mod sandbox;
mod side_requests;
mod signature;
mod trust;

pub use background::Pace;
pub use bindings::exports::weft::plugin as exports;
pub use bindings::weft::plugin as contract;
pub use cache::Cache;
pub use compiler::{COMPILE_VERB, CompileError, Compiler, OWN_PROGRAM, compile_as_child};
pub use convert::{request, response, timer, to_response};
pub use description::{Branch, Description, FailureKind, Mode, NodeType, TriggerType};
pub use engine::Engine;
pub use grants::{GrantError, Grants, HttpGrant, NamePattern, SecretGrant, SecretVerb};
pub use host_pattern::{HostPattern, HostPatternError};
pub use inspect::{CONTRACT, Facts, Refusal, admit, inspect};
pub use instance::{CallError, Called, Factory, Instance, Loaded};
pub use limits::{CallLimits, Limits};
pub use meter::{Reading, Totals};
pub use registry::{BUILT_IN_VENDOR, ExamineError, Kind, Plugin, Registry, ResolveError};
pub use sandbox::{CallContext, CallKind, Guest, Log, SecretSource, Sender, Services, masked};
pub use side_requests::SideRequests;
pub use signature::{PublicKey, Signature, SignatureError, Signed, SigningKey, Statement};
pub use trust::{Policy, Untrusted, fitting, vendor_of};
