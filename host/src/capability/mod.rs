//! What plugins may import: each interface of the contract, carried out on the call that imports it.
//!
//! What a step does to its own run is staged in the call's context and kept only if the call's answer is.

mod crypto;
mod log;
mod run;
mod variables;
mod vault;

use wasmtime::component::{HasSelf, Linker};

use crate::plugin::Guest;
use crate::plugin::contract;

pub use vault::{Vault, VaultError};

/// Adds every capability of this host to what components can import.
pub fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    contract::types::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    contract::log::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    contract::variables::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    contract::crypto::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    contract::run::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)
}

fn fault(code: &str, message: impl Into<String>) -> contract::types::Fault {
    contract::types::Fault { code: code.into(), message: message.into(), transient: false }
}
