//! The id of a run.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::{Timestamp, Uuid};

/// The id of a run: a UUID version 7 (RFC 9562), so that ids sort by the time of acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId(Uuid);

/// Why a text is not a run's id.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not the id of a run: ids look like 0193a5c2-7b1e-7c3a-9f00-2a51c4d0b7e1")]
pub struct RunIdError(String);

impl RunId {
    /// A new id from the time in milliseconds since 1970 and ten random bytes.
    pub fn new(now_ms: u64, random: [u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(now_ms, &random).into_uuid())
    }

    /// The id of a run that another one's activation starts for a wait: always the same for the same four.
    pub fn derived(at_ms: u64, parent: Self, activation: &str, wait: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(parent.as_bytes());
        hash.update(activation.as_bytes());
        hash.update([0]);
        hash.update(wait.as_bytes());
        let mut bytes = [0; 10];
        bytes.copy_from_slice(&hash.finalize()[..10]);
        Self::new(at_ms, bytes)
    }

    /// The bytes, which sort like the ids.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id with these bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// When the run was accepted, in milliseconds since 1970.
    pub fn accepted_ms(&self) -> u64 {
        let (seconds, nanos) = self.0.get_timestamp().as_ref().map_or((0, 0), Timestamp::to_unix);
        seconds * 1_000 + u64::from(nanos) / 1_000_000
    }
}

impl std::str::FromStr for RunId {
    type Err = RunIdError;

    fn from_str(text: &str) -> Result<Self, RunIdError> {
        match Uuid::try_parse(text) {
            Ok(uuid) => Ok(Self(uuid)),
            Err(_) => Err(RunIdError(text.to_owned())),
        }
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_read_back() {
        let early = RunId::new(1_700_000_000_123, [0xff; 10]);
        let late = RunId::new(1_700_000_000_124, [0; 10]);
        assert!(early < late && early.as_bytes() < late.as_bytes());
        assert_eq!(early.accepted_ms(), 1_700_000_000_123);
        assert_eq!(early.to_string().parse::<RunId>().unwrap(), early);
        assert!("x".parse::<RunId>().is_err());
    }
}
