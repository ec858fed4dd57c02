//! Connections, their credentials sealed before they come here.

use serde::{Deserialize, Serialize};

use super::audit::AuditEntry;
use super::catalog::decode;
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
        self.put_named(keys::CONNECTIONS, &connection.name, connection, entry).await
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
        Ok(self.named(keys::CONNECTIONS)?.into_iter().map(|(_, connection)| connection).collect())
    }
}
