//! `date-calculation`: a date through one function after the other.
//!
//! Time zones and the calendar come with the library: JavaScript's own know UTC alone where there is no `Intl`.

mod format;
mod input;
mod units;

use jiff::Zoned;
use jiff::tz::TimeZone;
use weft_sdk::prelude::*;

use units::{Duration, Field, Rounding, Span, Stamp};

/// Takes a date, or a number, through one function after the other.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DateCalculation {
    /// The date: RFC 3339, `2024-07-15`, `2024-07-15 06:00`, or milliseconds since 1970. None, or `now`: when the step begins. Or, with the type `number`, a number.
    #[serde(default)]
    input: Value,
    /// What the input is.
    #[serde(default)]
    input_type: InputType,
    /// The time zone (IANA, such as `Europe/Berlin`) of dates without one, and of days, months and hours until `change-timezone`.
    #[serde(default = "utc")]
    timezone: String,
    /// The functions, in order. Each takes what the one before gives: a date, or a number.
    steps: Vec<Function>,
}

fn utc() -> String {
    "UTC".into()
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum InputType {
    /// A date.
    #[default]
    Date,
    /// A number.
    Number,
}

/// A function with its arguments.
#[derive(Deserialize, JsonSchema)]
#[serde(tag = "function", content = "arguments", rename_all = "kebab-case", deny_unknown_fields)]
enum Function {
    /// A date that is later by so much. A month's last day stays within the month; days and longer keep the time of day when clocks change.
    Add { number: f64, unit: Span },
    /// A date that is earlier by so much.
    Subtract { number: f64, unit: Span },
    /// How much later than another date it is, as a number.
    Diff {
        /// The other date.
        #[serde(default)]
        date: Value,
        unit: Span,
        /// Whether the sign is dropped, before rounding.
        #[serde(default)]
        is_abs: bool,
        #[serde(default)]
        round: Option<Rounding>,
    },
    /// A part of the date as a number: a month from 1 to 12, `week` is the day of the week from 0 (Sunday) to 6.
    Get { unit: Field },
    /// The first moment of its year, quarter, month, week (Monday), …
    StartOfTime { unit: Field },
    /// The last millisecond of it.
    EndOfTime { unit: Field },
    /// Whether its year has 366 days.
    IsLeapYear,
    /// The date as a text, with Day.js' letters: `YYYY-MM-DD HH:mm:ss`.
    Format { format: String },
    /// A number of one unit in another. A year has 365 days, a month a twelfth of that.
    TransDuration {
        unit_before: Duration,
        unit_after: Duration,
        #[serde(default)]
        round: Option<Rounding>,
    },
    /// Seconds or milliseconds since 1970.
    ToTimestamp { unit: Stamp },
    /// The date of so many seconds or milliseconds since 1970.
    TsToDate { unit: Stamp },
    /// The same moment in another time zone.
    ChangeTimezone { timezone: String },
}

/// What one function gives the next.
enum Interim {
    Date(Zoned),
    Number(f64),
    Text(String),
    Truth(bool),
}

type Step<T> = Result<T, (&'static str, String)>;

impl Node for DateCalculation {
    const NAME: &str = "date-calculation";

    fn node_type() -> NodeType {
        NodeType::of::<Self>()
            .category("calculation")
            .result::<Value>()
            .fails(
                "invalid-date",
                "The input, or a date in an argument, is no date; the message says what dates look like.",
                "/input",
            )
            .fails(
                "invalid-type",
                "A function wants a date and got a number, or the other way round: see what the function before it gives.",
                "/steps",
            )
            .fails(
                "invalid-timezone",
                "There is no time zone of that name: give one of the IANA database, such as `Europe/Berlin`.",
                "/timezone",
            )
            .fails(
                "invalid-number",
                "The input is no number, or a function cannot use the number; the message names the place.",
                "/steps",
            )
            .fails("out-of-range", "A date comes before the year -9999 or after 9999: is the unit right?", "/steps")
    }

    fn check(config: &Value) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut zone = |value: Option<&Value>, pointer: String| {
            if let Some(name) = value.and_then(Value::as_str).filter(|name| !name.contains("{{"))
                && let Err((_, message)) = input::zone(name)
            {
                problems.push(Problem::new(&pointer, message));
            }
        };
        zone(config.get("timezone"), "/timezone".into());
        let steps: Vec<&Value> = config.get("steps").and_then(Value::as_array).into_iter().flatten().collect();
        for (index, step) in steps.iter().enumerate() {
            zone(step.pointer("/arguments/timezone"), format!("/steps/{index}/arguments/timezone"));
        }
        let input_type = config.get("input_type").map_or(Ok(InputType::default()), InputType::deserialize);
        let mut kind = if input_type.is_ok_and(|kind| kind == InputType::Number) { "a number" } else { "a date" };
        for (index, step) in steps.iter().enumerate() {
            let Some(name) = step.get("function").and_then(Value::as_str) else { break };
            let (wants, gives) = match name {
                "trans-duration" => ("a number", "a number"),
                "ts-to-date" => ("a number", "a date"),
                "diff" | "get" | "to-timestamp" => ("a date", "a number"),
                "format" => ("a date", "a text"),
                "is-leap-year" => ("a date", "true or false"),
                _ => ("a date", "a date"),
            };
            if wants != kind {
                problems.push(Problem::new(
                    &format!("/steps/{index}"),
                    format!("`{name}` wants {wants}, and what comes before gives {kind}"),
                ));
                break;
            }
            kind = gives;
        }
        problems
    }

    fn execute(self, call: &Call) -> Answer {
        let fail =
            |pointer: String| move |(code, message): (&'static str, String)| Failure::new(code, format!("{pointer}: {message}"));
        let zone = input::zone(&self.timezone).map_err(fail("/timezone".into()))?;
        let mut interim = match self.input_type {
            InputType::Number => Interim::Number(input::number(&self.input).map_err(fail("/input".into()))?),
            InputType::Date => Interim::Date(input::date(&self.input, &zone, call).map_err(fail("/input".into()))?),
        };
        for (index, function) in self.steps.iter().enumerate() {
            interim = function.apply(interim, call).map_err(fail(format!("/steps/{index}")))?;
        }
        match interim {
            Interim::Date(date) => done(input::text(&date)),
            Interim::Number(number) => done(units::json(number)),
            Interim::Text(text) => done(text),
            Interim::Truth(truth) => done(truth),
        }
    }
}

impl Function {
    fn apply(&self, interim: Interim, call: &Call) -> Step<Interim> {
        let (date, number) = match interim {
            Interim::Date(date) => (Ok(date), Err(("invalid-type", "this wants a number, and got a date".into()))),
            Interim::Number(number) => (Err(("invalid-type", "this wants a date, and got a number".into())), Ok(number)),
            Interim::Text(_) | Interim::Truth(_) => {
                return Err(("invalid-type", "nothing can follow a text, or true and false".into()));
            }
        };
        Ok(match self {
            Self::Add { number, unit } => Interim::Date(unit.add(&date?, *number)?),
            Self::Subtract { number, unit } => Interim::Date(unit.add(&date?, -number)?),
            Self::Diff { date: other, unit, is_abs, round } => {
                let date: Zoned = date?;
                let other = input::date(other, date.time_zone(), call)?;
                let difference = unit.between(&date, &other)?;
                Interim::Number(units::round(if *is_abs { difference.abs() } else { difference }, *round))
            }
            Self::Get { unit } => Interim::Number(unit.get(&date?)),
            Self::StartOfTime { unit } => Interim::Date(unit.start(&date?)?),
            Self::EndOfTime { unit } => Interim::Date(unit.end(&date?)?),
            Self::IsLeapYear => Interim::Truth(date?.in_leap_year()),
            Self::Format { format } => Interim::Text(format::format(&date?, format)),
            Self::TransDuration { unit_before, unit_after, round } => {
                Interim::Number(units::round(number? * unit_before.ms() / unit_after.ms(), *round))
            }
            Self::ToTimestamp { unit } => Interim::Number(unit.of(&date?)),
            Self::TsToDate { unit } => Interim::Date(unit.date(number?)?.to_zoned(TimeZone::UTC)),
            Self::ChangeTimezone { timezone } => Interim::Date(date?.with_time_zone(input::zone(timezone)?)),
        })
    }
}
