//! Connections: named ways to servers, with credentials that no plugin sees.
//!
//! What anybody may see of one (where it leads, how it shows who it is) is stored readable; its credentials are sealed as secrets are,
//! bound to all of the rest, so that nobody who only writes to the disk sends them elsewhere.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::Zeroize as _;

use super::outbound::Connection;
use super::vault::{Vault, VaultError};
use crate::limits::{CONNECTION_BYTES_MAX, CONNECTIONS_STORED_MAX, SECRET_BYTES_MAX};
use crate::run::Fault;
use crate::store::{AuditEntry, SealedConnection, Store, What, Who};

/// Where a connection leads, and how: what anybody may see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What it is a connection to.
    pub kind: ConnectionKind,
    /// Paths of requests stand below it.
    pub base_url: String,
    /// How it shows who it is.
    #[serde(default)]
    pub auth: Auth,
    /// Certificates, in PEM, that the server's is signed with; none: those that the system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// The client's certificate, in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_cert: Option<String>,
    /// Whether it may lead to a private address.
    #[serde(default)]
    pub allow_private: bool,
}

/// What a connection is one to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionKind {
    /// An HTTP service.
    Http,
}

/// How a connection shows who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Auth {
    /// Not at all.
    #[default]
    None,
    /// `Authorization: Bearer` with the secret.
    Bearer,
    /// `Authorization: Basic` with the secret as password.
    Basic {
        /// The user.
        user: String,
    },
    /// The secret in a header of its own.
    Header {
        /// Its name.
        name: String,
    },
    /// A token that a server gives for the secret (OAuth 2.0, RFC 6749 section 4.4).
    Oauth2ClientCredentials {
        /// Where.
        token_url: String,
        /// Who asks.
        client_id: String,
        /// What for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scope: Option<String>,
    },
}

/// What nobody may see.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// The token, password, header's value or client's secret; empty for none.
    #[serde(default)]
    pub secret: String,
    /// The key of the client's certificate, in PEM; empty for none.
    #[serde(default)]
    pub client_key: String,
}

impl Drop for Credentials {
    fn drop(&mut self) {
        self.secret.zeroize();
        self.client_key.zeroize();
    }
}

/// Why a connection could not be set or used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The name is not one.
    #[error("`{0}` is not the name of a connection: use 1 to 64 letters, digits, `-` and `_`, beginning with a letter")]
    Name(String),
    /// Something of it is wrong.
    #[error("{0}")]
    Invalid(String),
    /// See there.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl From<crate::store::Error> for ConnectionError {
    fn from(error: crate::store::Error) -> Self {
        Self::Vault(error.into())
    }
}

/// Every connection of a host.
pub struct Connections {
    vault: Arc<Vault>,
    store: Store,
    /// Connections that were opened before.
    open: RwLock<HashMap<Box<str>, Arc<Connection>>>,
    /// Changes come one after the other.
    changing: tokio::sync::Mutex<()>,
}

impl Connections {
    /// Those of a store, sealed by a vault.
    pub(super) fn new(vault: Arc<Vault>, store: Store) -> Self {
        Self { vault, store, open: RwLock::default(), changing: tokio::sync::Mutex::default() }
    }

    /// Sets a connection, in the place of one with its name. Returns its version.
    pub async fn set(
        &self,
        name: &str,
        settings: &Settings,
        credentials: &Credentials,
        who: Who,
        at_ms: u64,
    ) -> Result<u32, ConnectionError> {
        if !super::is_name(name) {
            return Err(ConnectionError::Name(name.to_owned()));
        }
        let text = serde_json::to_string(settings).map_err(|error| ConnectionError::Invalid(error.to_string()))?;
        if text.len() > CONNECTION_BYTES_MAX || credentials.secret.len().max(credentials.client_key.len()) > SECRET_BYTES_MAX {
            let what =
                format!("a connection has at most {CONNECTION_BYTES_MAX} bytes, and each of its secrets {SECRET_BYTES_MAX}");
            return Err(ConnectionError::Invalid(what));
        }
        // As it will be used: what cannot be is refused now.
        Connection::open(name, settings.clone(), credentials.clone()).map_err(ConnectionError::Invalid)?;
        let _changing = self.changing.lock().await;
        let old = self.store.connection(name)?;
        if old.is_none() && self.store.connections()?.len() >= CONNECTIONS_STORED_MAX {
            return Err(ConnectionError::Invalid(format!("a host has at most {CONNECTIONS_STORED_MAX} connections")));
        }
        let version = old.map_or(0, |old| old.version) + 1;
        let value = zeroize::Zeroizing::new(serde_json::to_vec(credentials).unwrap_or_default());
        let (sealed_key, sealed_value) = self.vault.seal_for(&bound_to(name, version, &text), &value);
        let told = json!({ "version": version, "base_url": settings.base_url, "auth": settings.auth, "allow_private": settings.allow_private });
        let entry = AuditEntry { at_ms, who, what: What::ConnectionSet, on: name.to_owned(), details: told };
        let sealed =
            SealedConnection { name: name.into(), version, set_ms: at_ms, settings: text.into(), sealed_key, sealed_value };
        self.store.put_connection(&sealed, &entry).await?;
        self.forget(name);
        Ok(version)
    }

    /// Removes a connection. False: there was none.
    pub async fn remove(&self, name: &str, who: Who, at_ms: u64) -> Result<bool, ConnectionError> {
        let _changing = self.changing.lock().await;
        let entry = AuditEntry { at_ms, who, what: What::ConnectionRemoved, on: name.to_owned(), details: json!({}) };
        let removed = self.store.remove_connection(name, &entry).await?;
        self.forget(name);
        Ok(removed)
    }

    /// A connection, with what anybody may see of it.
    pub fn find(&self, name: &str) -> Result<Option<(SealedConnection, Settings)>, ConnectionError> {
        let sealed = self.store.connection(name)?;
        sealed.map(|sealed| settings_of(&sealed).map(|settings| (sealed, settings))).transpose()
    }

    /// Every connection, with what anybody may see of it.
    pub fn list(&self) -> Result<Vec<(SealedConnection, Settings)>, ConnectionError> {
        let read = |sealed: SealedConnection| settings_of(&sealed).map(|settings| (sealed, settings));
        self.store.connections()?.into_iter().map(read).collect()
    }

    /// A connection, ready to be used.
    pub(super) fn get(&self, name: &str) -> Result<Arc<Connection>, Fault> {
        if let Some(open) = self.open.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(open.clone());
        }
        // Read under the lock: whoever changes it forgets it afterwards, and with it what was read before.
        let mut all = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let missing =
            || Fault::new("not-found", format!("there is no connection `{name}`: set it with `weft connection set {name}`"));
        let sealed = self.store.connection(name).map_err(|error| Fault::passing("unavailable", error.to_string()))?;
        let opened = self.unseal(&sealed.ok_or_else(missing)?).map_err(|error| {
            tracing::error!(%error, connection = name, "a connection could not be opened");
            Fault::new("denied", format!("the connection `{name}` cannot be opened; set it again"))
        })?;
        Ok(all.entry(name.into()).insert_entry(Arc::new(opened)).get().clone())
    }

    /// Whether the master key opens a connection's credentials.
    pub(super) fn opens(&self, sealed: &SealedConnection) -> bool {
        self.open_sealed(sealed).is_some()
    }

    fn open_sealed(&self, sealed: &SealedConnection) -> Option<zeroize::Zeroizing<Vec<u8>>> {
        let bound = bound_to(&sealed.name, sealed.version, &sealed.settings);
        self.vault.open_for(&bound, &sealed.sealed_key, &sealed.sealed_value)
    }

    fn unseal(&self, sealed: &SealedConnection) -> Result<Connection, ConnectionError> {
        let value = self.open_sealed(sealed).ok_or_else(|| VaultError::Sealed(sealed.name.to_string()))?;
        let credentials = serde_json::from_slice(&value).map_err(|error| ConnectionError::Invalid(error.to_string()))?;
        Connection::open(&sealed.name, settings_of(sealed)?, credentials).map_err(ConnectionError::Invalid)
    }

    fn forget(&self, name: &str) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

fn settings_of(sealed: &SealedConnection) -> Result<Settings, ConnectionError> {
    serde_json::from_str(&sealed.settings)
        .map_err(|error| ConnectionError::Invalid(format!("the connection `{}` cannot be read: {error}", sealed.name)))
}

fn bound_to(name: &str, version: u32, settings: &str) -> Vec<u8> {
    [b"weft-connection\0", name.as_bytes(), b"\0", &version.to_be_bytes(), settings.as_bytes()].concat()
}
