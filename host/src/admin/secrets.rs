//! Secrets, as operators set them.

use super::{Admin, Error};
use crate::plugin::HostPattern;

impl Admin {
    /// Sets a secret. Returns its version.
    pub async fn set_secret(&self, name: &str, value: &[u8]) -> Result<u32, Error> {
        Ok(self.vault.set(name, value, self.who, self.clock().now_ms()).await?)
    }

    /// Says to which servers a secret may be sent from now on, and to no others.
    pub async fn allow_secret(&self, name: &str, hosts: &[HostPattern]) -> Result<(), Error> {
        let is_there = self.vault.allow(name, hosts, self.who, self.clock().now_ms()).await?;
        if is_there { Ok(()) } else { Err(missing(name)) }
    }

    /// Removes a secret.
    pub async fn remove_secret(&self, name: &str) -> Result<(), Error> {
        let was_there = self.vault.remove(name, self.who, self.clock().now_ms()).await?;
        if was_there { Ok(()) } else { Err(missing(name)) }
    }
}

fn missing(name: &str) -> Error {
    Error::not_found("secret", name, "; `weft secret list` shows what there is")
}
