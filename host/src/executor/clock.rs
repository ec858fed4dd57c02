//! Time and randomness, which everything here gets from outside.

use std::time::{SystemTime, UNIX_EPOCH};

/// Where time and random numbers come from.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;

    /// Ten bytes that nobody can guess.
    fn random(&self) -> [u8; 10];
}

/// The system's.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
    }

    fn random(&self) -> [u8; 10] {
        let mut bytes = [0; 10];
        getrandom::fill(&mut bytes).expect("the system has random numbers");
        bytes
    }
}

/// A time in milliseconds since 1970 as RFC 3339 in UTC with milliseconds.
pub fn rfc3339(ms: u64) -> String {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX);
    format!("{time:.3}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_have_milliseconds() {
        assert_eq!(super::rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(super::rfc3339(1_763_917_200_120), "2025-11-23T17:00:00.120Z");
        assert!(super::rfc3339(u64::MAX).starts_with("9999-"));
    }
}
