//! Times and time zones as a config writes them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;
use weft_sdk::prelude::*;

/// A time zone by its IANA name.
pub(crate) fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name)
        .map_err(|_| format!("`{name}` is no time zone of the IANA database: write `UTC`, or a name such as `Europe/Berlin`"))
}

/// A time in milliseconds since 1970: RFC 3339 with an offset, or without one in the time zone. What a gap leaves out is the first moment after it;
/// of two the first.
pub(crate) fn moment(text: &str, zone: &TimeZone) -> Result<i64, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_millisecond());
    }
    let wrong =
        || format!("`{text}` is no time: write `2026-12-24T18:00:00Z`, or `2026-12-24T18:00:00` for one in the time zone");
    let civil: DateTime = text.parse().map_err(|_| wrong())?;
    let ambiguous = zone.to_ambiguous_timestamp(civil);
    let time = match ambiguous.offset() {
        jiff::tz::AmbiguousOffset::Gap { .. } => {
            let inside = ambiguous.earlier().map_err(|_| wrong())?;
            zone.following(inside).next().ok_or_else(wrong)?.timestamp()
        }
        _ => ambiguous.earlier().map_err(|_| wrong())?,
    };
    Ok(time.as_millisecond())
}

/// A time as the contract writes it.
pub(crate) fn rfc3339(ms: i64) -> String {
    let time = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX);
    format!("{time:.3}")
}

/// The same on the clock of a time zone, with its offset.
pub(crate) fn local(ms: i64, zone: &TimeZone) -> String {
    let time = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX);
    time.display_with_offset(zone.to_offset(time)).to_string()
}

/// Whether a text of a config is filled in later.
pub(crate) fn is_template(text: &str) -> bool {
    text.contains("{{")
}

/// The time zone of a config as it is written; none where that is not known yet, or wrong.
pub(crate) fn checked_zone(config: &Value, problems: &mut Vec<Problem>) -> Option<TimeZone> {
    let name = config.get("time_zone").and_then(Value::as_str).unwrap_or("UTC");
    if is_template(name) {
        return None;
    }
    zone(name).map_err(|message| problems.push(Problem::new("/time_zone", message))).ok()
}

/// A time of a config as it is written; none where that is not known yet, or wrong.
pub(crate) fn checked_moment(text: Option<&Value>, at: &str, zone: &TimeZone, problems: &mut Vec<Problem>) -> Option<i64> {
    let text = text?.as_str().filter(|text| !is_template(text))?;
    moment(text, zone).map_err(|message| problems.push(Problem::new(at, message))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_moments_or_local() {
        let berlin = zone("Europe/Berlin").unwrap();
        let at = |text: &str| rfc3339(moment(text, &berlin).unwrap());
        assert_eq!(at("2026-12-24T18:00:00Z"), "2026-12-24T18:00:00.000Z");
        assert_eq!(at("2026-12-24T18:00:00.25+02:00"), "2026-12-24T16:00:00.250Z");
        assert_eq!(at("2026-12-24T18:00"), "2026-12-24T17:00:00.000Z");
        assert_eq!(at("2026-03-29T02:30:00"), "2026-03-29T01:00:00.000Z", "in the gap: the first moment after it");
        assert_eq!(at("2026-10-25T02:30:00"), "2026-10-25T00:30:00.000Z", "twice: the first");
        assert_eq!(local(moment("2026-12-24T18:00", &berlin).unwrap(), &berlin), "2026-12-24T18:00:00+01:00");
        for wrong in ["tomorrow", "2026-13-01T00:00:00Z", "18:00", ""] {
            assert!(moment(wrong, &berlin).is_err(), "{wrong}");
        }
        assert!(zone("Mars/Olympus").is_err());
    }
}
