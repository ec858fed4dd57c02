//! Secrets, as operators set them.

use super::{Admin, Error, Named};
use crate::capability::{Vault, forms};
use crate::plugin::{HostPattern, SecretSource as _, masked};
use crate::trigger::{Hidden, Received};
use crate::workflow::{Key, Root};

impl Admin {
    /// Sets a secret. Returns its version.
    pub async fn set_secret(&self, name: &str, value: &[u8]) -> Result<u32, Error> {
        let old = self.forms_of_secret(name);
        let version = self.vault.set(name, value, self.who, self.clock().now_ms()).await?;
        // What was a secret is still none of anybody's business. A request that is still waited for is kept later, with what it came with.
        self.triggers.requests().mask(&old);
        Ok(version)
    }

    /// Says to which servers a secret may be sent from now on, and to no others.
    pub async fn allow_secret(&self, name: &str, hosts: &[HostPattern]) -> Result<(), Error> {
        let is_there = self.vault.allow(name, hosts, self.who, self.clock().now_ms()).await?;
        if is_there { Ok(()) } else { Err(missing(name)) }
    }

    /// Removes a secret; one that an active revision names only if that is insisted on.
    pub async fn remove_secret(&self, name: &str, force: bool) -> Result<(), Error> {
        // What begins to use it comes after this, and what is there is seen.
        let _changing = self.changing.lock().await;
        let named = name.to_owned();
        if !self.read(move |store| Ok(store.secret(&named)?.is_some())).await? {
            return Err(missing(name));
        }
        let wanted = Root::Secret(name.into());
        self.check_unused(Named::Secret, name, force, move |variable| variable.root == wanted).await?;
        let old = self.forms_of_secret(name);
        let was_there = self.vault.remove(name, self.who, self.clock().now_ms()).await?;
        self.triggers.requests().mask(&old);
        if was_there { Ok(()) } else { Err(missing(name)) }
    }

    /// The last requests to a workflow, newest first, without any secret of this host.
    pub async fn last_requests(&self, key: &Key) -> Result<Vec<Received>, Error> {
        self.head(key).await?;
        let (vault, triggers, key) = (self.vault.clone(), self.triggers.clone(), key.clone());
        // Every secret is looked for in every request: that may take its time.
        self.read(move |store| {
            if triggers.requests().is_empty_of(&key) {
                return Ok(Vec::new());
            }
            let hidden: Vec<Hidden> = store.secrets()?.iter().flat_map(|secret| forms_of(&vault, &secret.name)).collect();
            Ok(triggers.requests().of(&key, &hidden))
        })
        .await
    }

    fn forms_of_secret(&self, name: &str) -> Vec<Hidden> {
        forms_of(&self.vault, name)
    }
}

/// How a secret may stand in a request, and what stands in its place.
fn forms_of(vault: &Vault, name: &str) -> Vec<Hidden> {
    // What nobody can open was in no request.
    let value = vault.reveal(name).ok();
    value.into_iter().flat_map(|value| forms(&value)).map(|form| (form, masked(name))).collect()
}

fn missing(name: &str) -> Error {
    Error::not_found("secret", name, "; `weft secret list` shows what there is")
}
