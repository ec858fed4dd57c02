//! Secrets, sealed before they come here.

use serde::{Deserialize, Serialize};

use super::audit::AuditEntry;
use super::kv::Order;
use super::record::Batch;
use super::{Error, Store, keys};

/// A secret that only the holder of the master key can open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedSecret {
    /// Its name.
    pub name: Box<str>,
    /// From 1, one more each time it is set.
    pub version: u32,
    /// When it was set, in milliseconds since 1970.
    pub set_ms: u64,
    /// The data key, sealed with the master key.
    pub sealed_key: Vec<u8>,
    /// The value, sealed with the data key.
    pub sealed_value: Vec<u8>,
    /// The servers that it may be sent to, in the form of whoever checks them; sealed with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
}

impl Store {
    /// Stores a secret in the place of its previous version, if there is one.
    pub async fn put_secret(&self, secret: &SealedSecret, entry: &AuditEntry) -> Result<(), Error> {
        let key = keys::secret(&secret.name);
        let old = self.read_raw(&key)?.map(|(raw, _)| raw);
        let bytes = serde_json::to_vec(secret).map_err(|error| Error::Engine(format!("encoding: {error}")))?;
        let mut batch = Batch::default();
        batch.expect(&key, old.as_ref());
        batch.replace(&key, &bytes, old.as_ref());
        batch.audit(entry)?;
        self.commit_batch(batch).await
    }

    /// Removes a secret. False: there was none.
    pub async fn remove_secret(&self, name: &str, entry: &AuditEntry) -> Result<bool, Error> {
        self.remove_record(&keys::secret(name), entry).await
    }

    /// A secret by its name.
    pub fn secret(&self, name: &str) -> Result<Option<SealedSecret>, Error> {
        self.read(&keys::secret(name))?.map(|bytes| decode(&bytes)).transpose()
    }

    /// Every secret, sealed.
    pub fn secrets(&self) -> Result<Vec<SealedSecret>, Error> {
        let pairs = self.scan(keys::SECRETS, None, Order::Ascending, usize::MAX)?;
        pairs.iter().map(|(_, bytes)| decode(bytes)).collect()
    }
}

fn decode(bytes: &[u8]) -> Result<SealedSecret, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::Corrupt(format!("a secret cannot be read: {error}")))
}
