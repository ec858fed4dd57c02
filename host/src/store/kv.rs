//! What an embedded engine must offer.

use super::Error;

/// The longest key.
pub const KEY_BYTES_MAX: usize = 512;

/// The longest value: beyond it sled writes a file per value that it never flushes.
pub const VALUE_BYTES_MAX: usize = 8 * 1024;

/// An ordered map from keys to small values with atomic, durable batches.
pub trait Kv: Send + Sync + 'static {
    /// Writes all of it or nothing, and returns when it is durable. Called from one thread.
    fn apply(&self, ops: Vec<Op>) -> Result<(), Error>;

    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error>;

    /// Pairs whose keys begin with `prefix`, in the order of keys or against it, beginning after `after` (exclusive),
    /// `limit` at most.
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, order: Order, limit: usize) -> Result<Vec<Pair>, Error>;
}

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Sets a key's value.
    Put(Vec<u8>, Vec<u8>),
    /// Removes a key.
    Remove(Vec<u8>),
}

impl Op {
    /// The key that is written.
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Put(key, _) | Self::Remove(key) => key,
        }
    }
}

/// The direction of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Smallest keys first.
    Ascending,
    /// Greatest keys first.
    Descending,
}

/// What must be true, when a batch is written, for it to be written at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// The key has no value.
    Absent(Vec<u8>),
    /// The key has this value.
    Equals(Vec<u8>, Vec<u8>),
    /// The key has some value.
    Present(Vec<u8>),
}

impl Precondition {
    /// The key that it is about.
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Absent(key) | Self::Equals(key, _) | Self::Present(key) => key,
        }
    }

    /// Whether it holds for a key with this value.
    pub fn holds(&self, value: Option<&[u8]>) -> bool {
        match self {
            Self::Absent(_) => value.is_none(),
            Self::Equals(_, expected) => value == Some(expected),
            Self::Present(_) => value.is_some(),
        }
    }
}
