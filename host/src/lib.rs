//! Weft: an automation host whose triggers and steps are sandboxed WebAssembly components.
//!
//! In the order of reading, which is the order of imports: each module knows those before it.

pub mod digest;
pub mod limits;

pub mod workflow;

pub mod run;

pub mod store;

pub mod plugin;

pub mod capability;

pub mod lab;

pub mod executor;

pub mod trigger;

pub mod admin;

pub mod built_in;
pub mod watch;

pub mod http;

pub mod cli;
