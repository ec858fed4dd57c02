//! Units of time, and arithmetic with them as Day.js has it.

use jiff::civil::Weekday;
use jiff::{SignedDuration, Timestamp, ToSpan as _, Zoned};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Number, Value};

use super::Step;

const DAY_MS: f64 = 86_400_000.0;

/// What is added, and counted.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Span {
    Year,
    Quarter,
    Month,
    Week,
    Day,
    Hour,
    Minute,
    Second,
    Millisecond,
}

/// A part of a date.
pub(super) type Field = Span;
/// A unit of a length of time.
pub(super) type Duration = Span;

/// What a timestamp counts.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Stamp {
    Second,
    Millisecond,
}

/// How to make a number whole: -1 down, 0 to the nearest (half up), 1 up. Without it the decimals stay.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(try_from = "i8")]
#[schemars(with = "i8", extend("minimum" = -1, "maximum" = 1))]
pub(super) struct Rounding(i8);

impl TryFrom<i8> for Rounding {
    type Error = &'static str;

    fn try_from(way: i8) -> Result<Self, &'static str> {
        if (-1..=1).contains(&way) { Ok(Self(way)) } else { Err("`round` is -1, 0 or 1") }
    }
}

pub(super) fn round(number: f64, rounding: Option<Rounding>) -> f64 {
    match rounding.map(|rounding| rounding.0) {
        None => number,
        Some(0) => (number + 0.5).floor(),
        Some(way) if way < 0 => number.floor(),
        Some(_) => number.ceil(),
    }
}

/// A whole number where it is one.
pub(super) fn json(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 9e15 {
        Value::from(number as i64)
    } else {
        Number::from_f64(number).map_or(Value::Null, Value::Number)
    }
}

fn out_of_range<E>(_: E) -> (&'static str, String) {
    ("out-of-range", "that is before the year -9999 or after 9999".into())
}

impl Span {
    /// Milliseconds of it, as a length of time: a year has 365 days, a month a twelfth of that.
    pub(super) fn ms(self) -> f64 {
        match self {
            Self::Year => 365.0 * DAY_MS,
            Self::Quarter => 365.0 * DAY_MS / 4.0,
            Self::Month => 365.0 * DAY_MS / 12.0,
            Self::Week => 7.0 * DAY_MS,
            Self::Day => DAY_MS,
            Self::Hour => 3_600_000.0,
            Self::Minute => 60_000.0,
            Self::Second => 1_000.0,
            Self::Millisecond => 1.0,
        }
    }

    /// A date that is later by so many.
    pub(super) fn add(self, date: &Zoned, number: f64) -> Step<Zoned> {
        if !number.is_finite() || number.abs() > 1e15 {
            return Err(("invalid-number", "the number is too large".into()));
        }
        let months = |each: f64| {
            let months = number * each;
            if months.fract() != 0.0 {
                return Err(("invalid-number", format!("{number} is not a whole number of months")));
            }
            1.months().checked_mul(months as i64).map_err(out_of_range)
        };
        let days = |each: f64| 1.days().checked_mul((number * each).round() as i64).map_err(out_of_range);
        let span = match self {
            Self::Year => months(12.0)?,
            Self::Quarter => months(3.0)?,
            Self::Month => months(1.0)?,
            Self::Week => days(7.0)?,
            Self::Day => days(1.0)?,
            _ => {
                let duration = SignedDuration::from_millis((number * self.ms()).round() as i64);
                return date.checked_add(duration).map_err(out_of_range);
            }
        };
        date.checked_add(span).map_err(out_of_range)
    }

    /// How much later one is than the other. Days and weeks are counted by the clock on the wall.
    pub(super) fn between(self, date: &Zoned, other: &Zoned) -> Step<f64> {
        let ms = (date.timestamp().as_millisecond() - other.timestamp().as_millisecond()) as f64;
        Ok(match self {
            Self::Year => months_between(date, other)? / 12.0,
            Self::Quarter => months_between(date, other)? / 3.0,
            Self::Month => months_between(date, other)?,
            Self::Week | Self::Day => {
                let zones_ms = f64::from(date.offset().seconds() - other.offset().seconds()) * 1_000.0;
                (ms + zones_ms) / self.ms()
            }
            _ => ms / self.ms(),
        })
    }

    /// It as a number.
    pub(super) fn get(self, date: &Zoned) -> f64 {
        match self {
            Self::Year => f64::from(date.year()),
            Self::Quarter => f64::from((date.month() - 1) / 3 + 1),
            Self::Month => f64::from(date.month()),
            Self::Week => f64::from(date.weekday().to_sunday_zero_offset()),
            Self::Day => f64::from(date.day()),
            Self::Hour => f64::from(date.hour()),
            Self::Minute => f64::from(date.minute()),
            Self::Second => f64::from(date.second()),
            Self::Millisecond => f64::from(date.millisecond()),
        }
    }

    /// The first moment of the one that the date is in.
    pub(super) fn start(self, date: &Zoned) -> Step<Zoned> {
        let day = date.date();
        let first = match self {
            Self::Year => jiff::civil::date(day.year(), 1, 1),
            Self::Quarter => jiff::civil::date(day.year(), (day.month() - 1) / 3 * 3 + 1, 1),
            Self::Month => day.first_of_month(),
            Self::Week => day.checked_sub(i64::from(day.weekday().since(Weekday::Monday)).days()).map_err(out_of_range)?,
            Self::Day => day,
            _ => {
                let time = date.time();
                let (minute, second, ms) = match self {
                    Self::Hour => (0, 0, 0),
                    Self::Minute => (time.minute(), 0, 0),
                    Self::Second => (time.minute(), time.second(), 0),
                    _ => (time.minute(), time.second(), time.millisecond()),
                };
                // By the field: an hour that is there twice stays the one that it is.
                let whole = date.with().minute(minute).second(second).millisecond(ms).microsecond(0).nanosecond(0);
                return whole.build().map_err(out_of_range);
            }
        };
        first.to_zoned(date.time_zone().clone()).map_err(out_of_range)
    }

    /// The last millisecond of the one that the date is in.
    pub(super) fn end(self, date: &Zoned) -> Step<Zoned> {
        let start = self.start(date)?;
        let next = self.add(&start, 1.0)?;
        // A day may begin later than midnight.
        let next = if matches!(self, Self::Year | Self::Quarter | Self::Month | Self::Week | Self::Day) {
            Self::Day.start(&next)?
        } else {
            next
        };
        next.checked_sub(SignedDuration::from_millis(1)).map_err(out_of_range)
    }
}

/// Whole months, and the rest as a share of the month that it is in.
fn months_between(date: &Zoned, other: &Zoned) -> Step<f64> {
    let other = other.with_time_zone(date.time_zone().clone());
    if date.day() < other.day() {
        return Ok(-months_between(&other, date)?);
    }
    let wall = |zoned: &Zoned| zoned.timestamp().as_millisecond() as f64 + f64::from(zoned.offset().seconds()) * 1_000.0;
    let whole = f64::from(other.year() - date.year()) * 12.0 + f64::from(other.month() - date.month());
    let anchor = Span::Month.add(date, whole)?;
    let is_before = wall(&other) < wall(&anchor);
    let second = Span::Month.add(date, whole + if is_before { -1.0 } else { 1.0 })?;
    let share =
        (wall(&other) - wall(&anchor)) / if is_before { wall(&anchor) - wall(&second) } else { wall(&second) - wall(&anchor) };
    let months = -(whole + share);
    Ok(if months == 0.0 { 0.0 } else { months })
}

impl Stamp {
    /// The timestamp of a date.
    pub(super) fn of(self, date: &Zoned) -> f64 {
        match self {
            Self::Second => date.timestamp().as_millisecond().div_euclid(1_000) as f64,
            Self::Millisecond => date.timestamp().as_millisecond() as f64,
        }
    }

    /// The moment of a timestamp.
    pub(super) fn date(self, number: f64) -> Step<Timestamp> {
        let ms = match self {
            Self::Second => number * 1_000.0,
            Self::Millisecond => number,
        };
        Timestamp::from_millisecond(ms.round() as i64).map_err(out_of_range)
    }
}
