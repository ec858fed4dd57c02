//! Weft: an automation host whose triggers and steps are sandboxed WebAssembly components.

pub mod capability;
pub mod digest;
pub mod limits;
pub mod plugin;
pub mod run;
pub mod store;
pub mod workflow;
