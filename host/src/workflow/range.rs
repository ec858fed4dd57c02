//! Ranges of days around a moment, such as this week: what `$system.dateRange.<name>` gives.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// A range of whole days, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateRange {
    unit: Unit,
    /// From how many units after the one that holds the moment.
    from: i32,
    /// How many units.
    count: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Day,
    /// From Monday on (ISO 8601).
    Week,
    Month,
    Quarter,
    Year,
}

/// Every range. The last so many days end with today, the next so many begin with tomorrow.
const RANGES: [(&str, DateRange); 21] = {
    const fn range(unit: Unit, from: i32, count: i32) -> DateRange {
        DateRange { unit, from, count }
    }
    [
        ("yesterday", range(Unit::Day, -1, 1)),
        ("today", range(Unit::Day, 0, 1)),
        ("tomorrow", range(Unit::Day, 1, 1)),
        ("lastWeek", range(Unit::Week, -1, 1)),
        ("thisWeek", range(Unit::Week, 0, 1)),
        ("nextWeek", range(Unit::Week, 1, 1)),
        ("lastMonth", range(Unit::Month, -1, 1)),
        ("thisMonth", range(Unit::Month, 0, 1)),
        ("nextMonth", range(Unit::Month, 1, 1)),
        ("lastQuarter", range(Unit::Quarter, -1, 1)),
        ("thisQuarter", range(Unit::Quarter, 0, 1)),
        ("nextQuarter", range(Unit::Quarter, 1, 1)),
        ("lastYear", range(Unit::Year, -1, 1)),
        ("thisYear", range(Unit::Year, 0, 1)),
        ("nextYear", range(Unit::Year, 1, 1)),
        ("last7Days", range(Unit::Day, -6, 7)),
        ("next7Days", range(Unit::Day, 1, 7)),
        ("last30Days", range(Unit::Day, -29, 30)),
        ("next30Days", range(Unit::Day, 1, 30)),
        ("last90Days", range(Unit::Day, -89, 90)),
        ("next90Days", range(Unit::Day, 1, 90)),
    ]
};

impl DateRange {
    /// The range of a name.
    pub fn named(name: &str) -> Option<Self> {
        RANGES.iter().find(|(known, _)| *known == name).map(|(_, range)| *range)
    }

    /// Every name.
    pub fn names() -> impl Iterator<Item = &'static str> {
        RANGES.iter().map(|(name, _)| *name)
    }

    /// When the range begins, and when it has ended: the first moment after it. None beyond the years 1 to 9999.
    pub fn around(self, now: Timestamp, zone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
        let today = now.to_zoned(zone.clone()).date();
        let base = match self.unit {
            Unit::Day => today,
            Unit::Week => today.checked_sub(Span::new().days(today.weekday().to_monday_zero_offset())).ok()?,
            Unit::Month => today.first_of_month(),
            Unit::Quarter => Date::new(today.year(), (today.month() - 1) / 3 * 3 + 1, 1).ok()?,
            Unit::Year => today.first_of_year(),
        };
        let begins = |units: i32| {
            let span = match self.unit {
                Unit::Day => Span::new().days(units),
                Unit::Week => Span::new().weeks(units),
                Unit::Month => Span::new().months(units),
                Unit::Quarter => Span::new().months(units * 3),
                Unit::Year => Span::new().years(units),
            };
            let day = base.checked_add(span).ok()?;
            // A day begins at midnight, or after the gap that swallows midnight.
            Some(day.to_zoned(zone.clone()).ok()?.timestamp())
        };
        Some((begins(self.from)?, begins(self.from + self.count)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(name: &str, now: &str, zone: &str) -> [String; 2] {
        let zone = TimeZone::get(zone).unwrap();
        let (from, to) = DateRange::named(name).unwrap().around(now.parse().unwrap(), &zone).unwrap();
        [from.to_string(), to.to_string()]
    }

    #[test]
    fn ranges_are_of_whole_days_and_end_before_the_next() {
        // A Wednesday.
        let at = |name| around(name, "2026-11-25T20:45:00Z", "UTC").map(|time| time.replace("T00:00:00Z", ""));
        assert_eq!(at("today"), ["2026-11-25", "2026-11-26"]);
        assert_eq!(at("yesterday"), ["2026-11-24", "2026-11-25"]);
        assert_eq!(at("tomorrow"), ["2026-11-26", "2026-11-27"]);
        assert_eq!(at("thisWeek"), ["2026-11-23", "2026-11-30"]);
        assert_eq!(at("lastWeek"), ["2026-11-16", "2026-11-23"]);
        assert_eq!(at("nextMonth"), ["2026-12-01", "2027-01-01"]);
        assert_eq!(at("thisQuarter"), ["2026-10-01", "2027-01-01"]);
        assert_eq!(at("nextQuarter"), ["2027-01-01", "2027-04-01"]);
        assert_eq!(at("lastYear"), ["2025-01-01", "2026-01-01"]);
        assert_eq!(at("last7Days"), ["2026-11-19", "2026-11-26"]);
        assert_eq!(at("next7Days"), ["2026-11-26", "2026-12-03"]);
        assert_eq!(at("last90Days"), ["2026-08-28", "2026-11-26"]);
    }

    #[test]
    fn days_are_those_of_the_time_zone() {
        // Still the day before in New York; Berlin's Sunday of the change has 25 hours.
        assert_eq!(around("today", "2026-11-25T03:00:00Z", "America/New_York"), ["2026-11-24T05:00:00Z", "2026-11-25T05:00:00Z"]);
        assert_eq!(around("today", "2026-10-25T12:00:00Z", "Europe/Berlin"), ["2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"]);
        // Santiago has no midnight on that day.
        assert_eq!(around("today", "2026-09-06T12:00:00Z", "America/Santiago"), ["2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"]);
    }
}
