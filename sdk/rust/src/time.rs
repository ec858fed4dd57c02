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

/// The milliseconds since 1970 of a time as RFC 3339 writes it, with any offset: `2026-11-25T08:00:00+07:00`. None: it is no such time.
pub fn milliseconds(text: &str) -> Option<u64> {
    let text = text.trim();
    let (local, ahead_minutes) = match text.strip_suffix(['Z', 'z']) {
        Some(local) => (local, 0),
        None => {
            let (local, offset) = text.split_at_checked(text.len().checked_sub("+07:00".len())?)?;
            let digits =
                |part: Option<&str>| part?.bytes().all(|byte| byte.is_ascii_digit()).then_some(part?)?.parse::<i64>().ok();
            let hours = digits(offset.get(1..3)).filter(|hours| *hours < 24)?;
            let minutes = digits(offset.get(4..6)).filter(|minutes| *minutes < 60 && offset.as_bytes()[3] == b':')?;
            let minutes = hours * 60 + minutes;
            (
                local,
                if offset.starts_with('+') {
                    minutes
                } else if offset.starts_with('-') {
                    -minutes
                } else {
                    return None;
                },
            )
        }
    };
    let time = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    let since = i64::try_from(SystemTime::duration_since(&time, UNIX_EPOCH).ok()?.as_millis()).ok()?;
    u64::try_from(since - ahead_minutes * 60_000).ok()
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

    #[test]
    fn times_have_any_offset() {
        let ms = 1_763_917_200_120;
        for text in ["2025-11-23T17:00:00.120Z", "2025-11-24T00:00:00.12+07:00", " 2025-11-23T13:30:00.120-03:30 "] {
            assert_eq!(milliseconds(text), Some(ms), "{text}");
        }
        for text in [
            "",
            "Z",
            "tomorrow",
            "2025-11-23",
            "2025-11-23T17:00:00",
            "2025-11-23T17:00:00+7:00",
            "2025-11-23T17:00:00+24:00",
            "2025-11-23T17:00:00 07:00",
            "2025-11-23T17:00:00+07.00",
            "2025-13-23T17:00:00Z",
            "ä+07:00",
        ] {
            assert_eq!(milliseconds(text), None, "{text}");
        }
    }
}
