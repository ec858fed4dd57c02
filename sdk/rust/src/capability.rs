//! What the host offers. A component imports what it calls, and nothing else.

pub use crate::bindings::weft::plugin::crypto::{Encoding, Hash, Key, SecretKey, hmac, verify_hmac, verify_secret};
pub use crate::bindings::weft::plugin::log::Level;
pub use crate::bindings::weft::plugin::variables::Part;

/// Log lines of the step.
pub mod log {
    use crate::bindings::weft::plugin::log;

    /// For the node's author.
    pub fn debug(message: &str) {
        log::write(log::Level::Debug, message);
    }

    /// For whoever looks at the run.
    pub fn info(message: &str) {
        log::write(log::Level::Info, message);
    }

    /// Something is odd.
    pub fn warn(message: &str) {
        log::write(log::Level::Warn, message);
    }

    /// Something went wrong.
    pub fn error(message: &str) {
        log::write(log::Level::Error, message);
    }
}

/// How far a long step is, for whoever looks while it runs.
pub mod progress {
    pub use crate::bindings::weft::plugin::progress::report;
}

/// Small state of the plugin's own, by workflow: kept exactly once with the call.
pub mod kv {
    pub use crate::bindings::weft::plugin::kv::{get, remove, set};
}

/// Files of the run: kept exactly once with the call, as long as the run is. A person downloads them.
pub mod files {
    pub use crate::bindings::weft::plugin::files::{File, create, read};
}

/// Starts other workflows.
pub mod workflows {
    pub use crate::bindings::weft::plugin::workflows::start;
}

/// Requests to servers outside, where an operator granted them.
pub mod http {
    pub use crate::bindings::weft::plugin::http::send;
}

/// What a step does to its own run.
pub mod run {
    pub use crate::bindings::weft::plugin::run::{add_message, respond, set_output, set_result};
}

/// The run's variables, for parts of a config that keep their `{{…}}`.
pub mod variables {
    pub use crate::bindings::weft::plugin::variables::{resolve, slice};
}
