//! A sandboxed JavaScript engine for plugins: QuickJS-ng, compiled into the component.
//!
//! It has the language (ES2023) and `console`, and nothing else: no modules, no timers, no files, no network. What it does is bounded by the
//! bounds of the component that it is part of, and by its own on memory and stack, which give a failure where the component's would trap.
//!
//! [`Engine`]: made, with its libraries, when a plugin is built; each instance begins with it. [`Realm`]: carries out scripts. [`Thrown`]: what they failed with.
//! [`Expression`]: formulas with variables.

mod engine;
mod expression;
#[cfg(target_family = "wasm")]
mod memory;
mod realm;
mod snapshot;
mod thrown;

pub use engine::{CALL_MAX, Engine};
pub use expression::{Dialect, Expression};
pub use realm::Realm;
pub use thrown::{Kind, Thrown};
