//! Keys that an operator trusts, each for one vendor.

use serde::{Deserialize, Serialize};

use super::audit::AuditEntry;
use super::catalog::decode;
use super::kv::Order;
use super::record::Batch;
use super::{Error, Store, keys};
use crate::digest::Digest;

/// A key that is trusted for a vendor's plugins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedKey {
    /// Whose plugins.
    pub vendor: String,
    /// Names the key.
    pub fingerprint: Digest,
    /// The public key, as PEM.
    pub pem: String,
    /// Since when, in milliseconds since 1970.
    pub trusted_ms: u64,
}

impl Store {
    /// Every trusted key, by vendor.
    pub fn trusted_keys(&self) -> Result<Vec<TrustedKey>, Error> {
        let pairs = self.scan(keys::TRUSTED_KEYS, None, Order::Ascending, usize::MAX)?;
        pairs.iter().map(|(_, bytes)| decode(bytes)).collect()
    }

    /// Trusts a key from now on. False: it was trusted before.
    pub async fn put_trusted_key(&self, trusted: &TrustedKey, entry: &AuditEntry) -> Result<bool, Error> {
        let key = keys::trusted_key(&trusted.vendor, &trusted.fingerprint);
        if self.read(&key)?.is_some() {
            return Ok(false);
        }
        let bytes = serde_json::to_vec(trusted).map_err(|error| Error::Engine(format!("encoding: {error}")))?;
        let mut batch = Batch::default();
        batch.expect_absent(&key);
        batch.put(&key, &bytes);
        batch.audit(entry)?;
        self.commit_batch(batch).await?;
        Ok(true)
    }

    /// Trusts a key no longer. False: it was not trusted.
    pub async fn remove_trusted_key(&self, vendor: &str, fingerprint: &Digest, entry: &AuditEntry) -> Result<bool, Error> {
        self.remove_record(&keys::trusted_key(vendor, fingerprint), entry).await
    }
}
