//! Connections, their credentials sealed before they come here.

use serde::{Deserialize, Serialize};

use super::audit::AuditEntry;
use super::kv::Order;
use super::record::Batch;
use super::{Error, Store, keys};

/// A connection whose credentials only the holder of the master key can open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SealedConnection {
    /// Its name.
    pub name: Box<str>,
    /// From 1, one more each time it is set.
    pub version: u32,
    /// When it was set, in milliseconds since 1970.
    pub set_ms: u64,
    /// Where it leads and how, in the form of whoever uses it; sealed with the credentials, but readable.
    pub settings: Box<str>,
    /// The data key, sealed with the master key.
    pub sealed_key: Vec<u8>,
    /// The credentials, sealed with the data key.
    pub sealed_value: Vec<u8>,
}

impl Store {
    /// Stores a connection in the place of its previous version, if there is one.
    pub async fn put_connection(&self, connection: &SealedConnection, entry: &AuditEntry) -> Result<(), Error> {
        let key = keys::connection(&connection.name);
        let old = self.read_raw(&key)?.map(|(raw, _)| raw);
        let bytes = serde_json::to_vec(connection).map_err(|error| Error::Engine(format!("encoding: {error}")))?;
        let mut batch = Batch::default();
        batch.expect(&key, old.as_ref());
        batch.replace(&key, &bytes, old.as_ref());
        batch.audit(entry)?;
        self.commit_batch(batch).await
    }

    /// Removes a connection. False: there was none.
    pub async fn remove_connection(&self, name: &str, entry: &AuditEntry) -> Result<bool, Error> {
        self.remove_record(&keys::connection(name), entry).await
    }

    /// A connection by its name.
    pub fn connection(&self, name: &str) -> Result<Option<SealedConnection>, Error> {
        self.read(&keys::connection(name))?.map(|bytes| decode(&bytes)).transpose()
    }

    /// Every connection, sealed.
    pub fn connections(&self) -> Result<Vec<SealedConnection>, Error> {
        let pairs = self.scan(keys::CONNECTIONS, None, Order::Ascending, usize::MAX)?;
        pairs.iter().map(|(_, bytes)| decode(bytes)).collect()
    }
}

fn decode(bytes: &[u8]) -> Result<SealedConnection, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::Corrupt(format!("a connection cannot be read: {error}")))
}
