//! Write triggers and nodes for Weft in Rust.
//!
//! A node is a struct, which is its config, and one function. This is a whole plugin (the host's tests build and run it):
//!
//! ```ignore
#![doc = include_str!("../../../tests/guests/greet/src/lib.rs")]
//! ```
//!
//! Its crate has `crate-type = ["cdylib"]`, depends on `weft-sdk`, `serde` and `schemars`, and is built with
//! `cargo build --release --target wasm32-wasip2`; the `.wasm` file that comes out is the plugin. The struct's doc comment becomes the type's summary, its fields (by way of
//! `schemars`) the form in which people fill in the config. Name, version, licence and homepage come from `Cargo.toml`.
//!
//! - [`Node`]: a step. [`done`], [`Pending`] and [`Failure`] make its answers.
//! - [`Trigger`]: how runs start.
//! - [`capability`]: what the host offers. Using a capability is asking for it: the component imports what it calls.
//!
//! What every call means, field by field, is written in the contract, `wit/*.wit`; `wit/WALKTHROUGH.md` shows it by
//! example.

mod answer;
#[doc(hidden)]
pub mod bindings;
mod node;
mod registry;
mod schema;
mod trigger;

pub mod capability;
pub mod config;
pub mod prelude;
pub mod time;

pub use answer::{Problem, problem_response};
pub use bindings::weft::plugin::types::{Failure, Fault, HttpRequest, HttpResponse, Pair, Status};
pub use node::{
    Answer, Branch, BranchStart, Call, Child, Ended, Event, GoBack, Node, NodeType, Outcome, Pending, Repeat, Request, Responded,
    RunEnd, Signal, Signalled, State, Task, TaskActed, TaskAction, Timer, Wait, done, end_run,
};
pub use registry::{NodeEntry, TriggerEntry};
pub use trigger::{
    Action, Called, FinishedRun, HttpEvent, HttpRoute, Mode, Reaction, Settlement, Start, Subscription, Trigger, TriggerCall,
    TriggerEvent, TriggerSignal, TriggerTimer, TriggerType,
};

/// What `plugin!` expands to; not for direct use.
#[doc(hidden)]
pub mod export {
    pub use crate::bindings::{self, export_component};
    pub use crate::registry::{Exports, Plugin};
}

/// Exports a component's types.
///
/// ```ignore
/// weft_sdk::plugin! {
///     name: "acme/crm",          // vendor/name
///     title: "Acme CRM",         // else made from the name
///     nodes: [Contact, Deal],    // types that implement Node
///     triggers: [ContactAdded],  // types that implement Trigger
/// }
/// ```
#[macro_export]
macro_rules! plugin {
    (name: $name:literal $(, title: $title:literal)? $(, nodes: [$($node:ty),* $(,)?])? $(, triggers: [$($trigger:ty),* $(,)?])? $(,)?) => {
        struct WeftPlugin;

        impl $crate::export::Plugin for WeftPlugin {
            const NODES: &'static [$crate::NodeEntry] = &[$($($crate::NodeEntry::of::<$node>()),*)?];
            const TRIGGERS: &'static [$crate::TriggerEntry] = &[$($($crate::TriggerEntry::of::<$trigger>()),*)?];
            const NAME: &'static str = $name;
            const TITLE: &'static str = concat!($($title)?);
            // `weft plugin watch` gives each build a version of its own.
            const VERSION: &'static str = match option_env!("WEFT_PLUGIN_VERSION") {
                Some(version) => version,
                None => env!("CARGO_PKG_VERSION"),
            };
            const SUMMARY: &'static str = env!("CARGO_PKG_DESCRIPTION");
            const LICENSE: &'static str = env!("CARGO_PKG_LICENSE");
            const HOMEPAGE: &'static str = env!("CARGO_PKG_HOMEPAGE");
        }

        type WeftExports = $crate::export::Exports<WeftPlugin>;
        $crate::export::export_component!(WeftExports with_types_in $crate::export::bindings);
    };
}
