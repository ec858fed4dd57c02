//! Whom an operator trusts for which vendor's plugins.

use serde_json::json;

use super::{Admin, Error};
use crate::digest::Digest;
use crate::limits::VENDOR_KEYS_MAX;
use crate::plugin::{BUILT_IN_VENDOR, Policy, PublicKey};
use crate::store::{TrustedKey, What};
use crate::workflow::Key;

impl Admin {
    /// Every trusted key, by vendor.
    pub async fn trusted_keys(&self) -> Result<Vec<TrustedKey>, Error> {
        self.read(crate::store::Store::trusted_keys).await
    }

    /// Trusts a key, given as PEM, for a vendor's plugins. From now on only signed files of that vendor are taken; what is installed
    /// stays, except for `--require-signed` at the next start.
    pub async fn trust(&self, vendor: &Key, pem: &str) -> Result<TrustedKey, Error> {
        if vendor.as_str() == BUILT_IN_VENDOR {
            let message = format!("`{BUILT_IN_VENDOR}` is the vendor of built-in plugins, which are part of this program");
            return Err(Error::Setting(message));
        }
        let key = PublicKey::from_pem(pem).map_err(|error| Error::Setting(error.to_string()))?;
        let _changing = self.changing.lock().await;
        let vendor = vendor.to_string();
        let known = self.trusted_keys().await?.iter().filter(|known| known.vendor == vendor).count();
        if known >= VENDOR_KEYS_MAX {
            return Err(Error::Setting(format!(
                "{vendor} has {known} keys; `weft vendor distrust` takes those away that are out of use"
            )));
        }
        let (fingerprint, trusted_ms) = (key.fingerprint(), self.clock().now_ms());
        let trusted = TrustedKey { vendor, fingerprint, pem: key.to_pem(), trusted_ms };
        let entry = self.entry(What::KeyTrusted, &trusted.vendor, json!({ "fingerprint": fingerprint, "pem": trusted.pem }));
        self.store.put_trusted_key(&trusted, &entry).await?;
        Ok(trusted)
    }

    /// Trusts a key no longer. What it signed stays installed; with `--require-signed` it is left out at the next start.
    pub async fn distrust(&self, vendor: &Key, fingerprint: Digest) -> Result<(), Error> {
        let _changing = self.changing.lock().await;
        let entry = self.entry(What::KeyDistrusted, vendor.as_str(), json!({ "fingerprint": fingerprint }));
        if self.store.remove_trusted_key(vendor.as_str(), &fingerprint, &entry).await? {
            Ok(())
        } else {
            Err(Error::not_found("key", fingerprint, "; `weft vendor list` shows those that are trusted"))
        }
    }

    /// What files of plugins must show.
    pub(super) async fn policy(&self) -> Result<Policy, Error> {
        let read = |trusted: TrustedKey| {
            let key = PublicKey::from_pem(&trusted.pem);
            Ok((trusted.vendor, key.map_err(|error| crate::store::Error::Corrupt(format!("a trusted key: {error}")))?))
        };
        let keys = self.trusted_keys().await?.into_iter().map(read).collect::<Result<_, Error>>()?;
        Ok(Policy { keys, signed_only: self.rules.signed_only })
    }
}
