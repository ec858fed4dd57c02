//! What versions of plugins have taken, in the form of whoever counts it.
//!
//! Each stands beside its plugin's record and goes with it: [`Store::remove_plugin`], and [`Store::put_plugin`] of another component.

use std::collections::HashMap;

use semver::Version;
use serde::Serialize;
use serde_json::Value;

use super::catalog::{decode, encode};
use super::kv::Order;
use super::record::Batch;
use super::{Error, Store, keys};

impl Store {
    /// What every installed version had taken, by the plugin's name and version.
    pub fn readings(&self) -> Result<HashMap<(String, Version), Value>, Error> {
        let read = |(key, bytes): &(Vec<u8>, bytes::Bytes)| {
            let (name, version) = keys::of_reading(key).ok_or_else(|| Error::Corrupt("the key of a reading".into()))?;
            Ok(((name.to_owned(), version), decode(bytes)?))
        };
        self.scan(keys::READINGS, None, Order::Ascending, usize::MAX)?.iter().map(read).collect()
    }

    /// What a version had taken; none: nothing that was kept.
    pub fn reading(&self, name: &str, version: &Version) -> Result<Option<Value>, Error> {
        self.read(&keys::reading(name, version))?.map(|bytes| decode(&bytes)).transpose()
    }

    /// Keeps what versions have taken, all of them in one batch; a conflict: one of them is not installed any more.
    pub async fn put_readings<T: Serialize>(&self, readings: &[(&str, &Version, T)]) -> Result<(), Error> {
        let mut batch = Batch::default();
        for (name, version, reading) in readings {
            batch.expect_present(&keys::plugin(name, version));
            batch.put(&keys::reading(name, version), &encode(reading)?);
        }
        self.commit_batch(batch).await
    }
}
