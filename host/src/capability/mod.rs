//! What plugins may import: each interface of the contract, carried out on the call that imports it.
//!
//! What a step does to its own run is staged in the call's context and kept only if the call's answer is.

mod connections;
mod crypto;
mod files;
mod forms;
mod http;
mod kv;
mod log;
mod master_key;
mod outbound;
mod progress;
mod run;
mod variables;
mod vault;
mod wasi_http;
mod workflows;

use std::sync::Arc;

use wasmtime::component::{HasSelf, Linker};

use crate::plugin::contract;
use crate::plugin::{CallContext, Guest, Services};

pub use connections::{Auth, ConnectionError, ConnectionKind, Connections, Credentials, Settings};
pub use forms::{forms, replaced};
pub use master_key::{Lost, open_sealed};
pub use outbound::{HttpClient, Outbound, is_public, with_key};
pub use vault::{Vault, VaultError, is_name};

/// Adds every capability of this host to what components can import.
pub fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    contract::types::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    contract::log::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    contract::progress::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    contract::variables::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    contract::crypto::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    contract::run::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    contract::http::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    contract::kv::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    contract::files::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    contract::workflows::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)
}

/// What the call may ask the host for. A question about the component itself may ask for nothing.
fn services(call: &CallContext) -> Result<Arc<dyn Services>, contract::types::Fault> {
    call.services.clone().ok_or_else(|| fault("denied", "nothing is granted here"))
}

/// Counts one more request of a call.
fn charge(count: &mut u32, max: u32, what: &str) -> Result<(), contract::types::Fault> {
    if *count >= max {
        return Err(fault("over-limit", format!("a call makes at most {max} requests of `{what}`")));
    }
    *count += 1;
    Ok(())
}

fn fault(code: &str, message: impl Into<String>) -> contract::types::Fault {
    contract::types::Fault { code: code.into(), message: message.into(), transient: false }
}
