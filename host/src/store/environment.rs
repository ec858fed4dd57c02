//! Variables of the host, as operators set them.

use super::audit::AuditEntry;
use super::{Error, Store, keys};

impl Store {
    /// Every variable, by name.
    pub fn environment(&self) -> Result<Vec<(String, String)>, Error> {
        self.named(keys::ENVIRONMENT)
    }

    /// Sets a variable.
    pub async fn put_environment(&self, name: &str, value: &str, entry: &AuditEntry) -> Result<(), Error> {
        self.put_named(keys::ENVIRONMENT, name, &value, entry).await
    }

    /// Removes a variable. False: there was none.
    pub async fn remove_environment(&self, name: &str, entry: &AuditEntry) -> Result<bool, Error> {
        self.remove_record(&[keys::ENVIRONMENT, name.as_bytes()].concat(), entry).await
    }
}
