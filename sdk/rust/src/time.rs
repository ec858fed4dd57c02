//! Times between the contract's texts (RFC 3339) and milliseconds since 1970.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A time as the contract writes it. Beyond the last one that a host reads it stays there: at the end of the year 9999, in every time zone.
pub(crate) fn rfc3339(ms: u64) -> String {
    const LAST_MS: u64 = 253_402_207_200_999;
    let time = UNIX_EPOCH + Duration::from_millis(ms.min(LAST_MS));
    humantime::format_rfc3339_millis(time).to_string()
}

/// The milliseconds of a time that the host gave.
pub(crate) fn parse(text: &str) -> u64 {
    let time = humantime::parse_rfc3339(text).unwrap_or(UNIX_EPOCH);
    let since = SystemTime::duration_since(&time, UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_back() {
        for (ms, text) in [(0, "1970-01-01T00:00:00.000Z"), (1_763_917_200_120, "2025-11-23T17:00:00.120Z")] {
            assert_eq!((rfc3339(ms).as_str(), parse(text)), (text, ms));
        }
        assert!(rfc3339(u64::MAX).starts_with("9999-12-30T22:00:00"));
    }
}
