//! Dates from JSON, and to it.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde_json::Value;
use weft_sdk::prelude::Call;

use super::Step;

/// A time zone by name.
pub(super) fn zone(name: &str) -> Step<TimeZone> {
    TimeZone::get(name).map_err(|_| {
        ("invalid-timezone", format!("there is no time zone `{name}`: give a name such as `Europe/Berlin` or `UTC`"))
    })
}

/// A date; one without a time zone is in this one.
pub(super) fn date(value: &Value, zone: &TimeZone, call: &Call) -> Step<Zoned> {
    let invalid = || {
        (
            "invalid-date",
            format!("{value} is no date: give RFC 3339, `2024-07-15`, `2024-07-15 06:00`, or milliseconds since 1970"),
        )
    };
    let moment = match value {
        Value::Null => now(call),
        Value::String(text) if text == "now" || text.is_empty() => now(call),
        Value::Number(number) => {
            Timestamp::from_millisecond(number.as_i64().or_else(|| number.as_f64().map(|ms| ms as i64)).ok_or_else(invalid)?).ok()
        }
        Value::String(text) => match text.trim().parse::<Timestamp>() {
            Ok(moment) => Some(moment),
            Err(_) => {
                let civil = text.trim().parse::<DateTime>().map_err(|_| invalid())?;
                civil.to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp())
            }
        },
        _ => None,
    };
    Ok(moment.ok_or_else(invalid)?.to_zoned(zone.clone()))
}

fn now(call: &Call) -> Option<Timestamp> {
    i64::try_from(call.now_ms()).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok())
}

/// A number, also one in a text.
pub(super) fn number(value: &Value) -> Step<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    };
    number.ok_or_else(|| ("invalid-number", format!("{value} is no number")))
}

/// As every date of the host: in UTC, with milliseconds.
pub(super) fn text(date: &Zoned) -> String {
    format!("{:.3}", date.timestamp())
}
