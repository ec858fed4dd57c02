//! Cron expressions in a time zone.
//!
//! The `croner` crate says which wall-clock times an expression means; which moments those are is decided here, since a clock that is set
//! leaves times out and has others twice (DST):
//!
//! - An expression with one second, one minute and one hour (`0 30 2 * * *`) means one moment a day. In a gap that is the first moment
//!   after it, in a fold the first of the two.
//! - Any other (`0 */15 * * * *`) means every moment at which the clock shows such a time: none in a gap, and in a fold both.
//!
//! This is what Vixie cron does and the Open Cron Pattern Specification asks for.

use chrono::{DateTime, Utc};
use croner::parser::{CronParser, Seconds, Year};
use croner::{Direction, JobType};
use jiff::Timestamp;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

/// No time zone was ever set by more than a day and a bit.
const GAP_SECONDS_MAX: i64 = 25 * 3_600;

/// Frames between two settings of the clock that are looked at: some four hundred years of a clock that is set twice a year.
const FRAMES_MAX: usize = 800;

/// An expression in a time zone.
pub(crate) struct Cron {
    pattern: croner::Cron,
    is_fixed: bool,
    zone: TimeZone,
}

impl Cron {
    /// Five fields, or six with seconds before them; names, lists, ranges, steps, `L`, `W`, `#`, `+`, and `@hourly` and the like.
    pub(crate) fn parse(text: &str, zone: &TimeZone) -> Result<Self, String> {
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let pattern = parser.parse(text).map_err(|error| format!("`{text}` is no cron expression: {error}"))?;
        let is_fixed = pattern.determine_job_type() == JobType::FixedTime;
        let cron = Self { pattern, is_fixed, zone: zone.clone() };
        // 2000 to 2028 have every day of the week on every day of the year.
        match cron.wall(946_684_800, Direction::Forward, true) {
            Some(wall) if wall < 1_835_481_600 => Ok(cron),
            _ => Err(format!("`{text}` means no time: there is no such day")),
        }
    }

    /// The first moment after this one, in seconds since 1970; none: there is none.
    pub(crate) fn after(&self, second: i64) -> Option<i64> {
        self.find(second, Direction::Forward)
    }

    /// The last moment before this one.
    pub(crate) fn before(&self, second: i64) -> Option<i64> {
        self.find(second, Direction::Backward)
    }

    fn find(&self, second: i64, direction: Direction) -> Option<i64> {
        if self.is_fixed { self.find_fixed(second, direction) } else { self.find_each(second, direction) }
    }

    /// One moment for each wall-clock time.
    fn find_fixed(&self, second: i64, direction: Direction) -> Option<i64> {
        let is_beyond = |found: i64| if direction == Direction::Forward { found > second } else { found < second };
        let margin = if direction == Direction::Forward { -GAP_SECONDS_MAX } else { GAP_SECONDS_MAX };
        let mut wall = second.checked_add(self.offset_at(second)?)?.checked_add(margin)?;
        loop {
            wall = self.wall(wall, direction, false)?;
            let found = self.moment(wall)?;
            if is_beyond(found) {
                return Some(found);
            }
        }
    }

    /// The moment of a wall-clock time.
    fn moment(&self, wall: i64) -> Option<i64> {
        let civil = Offset::UTC.to_datetime(Timestamp::from_second(wall).ok()?);
        let seconds = |offset: Offset| wall.checked_sub(offset.seconds().into());
        match self.zone.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => seconds(offset),
            AmbiguousOffset::Fold { before, .. } => seconds(before),
            AmbiguousOffset::Gap { after, .. } => {
                let inside = Timestamp::from_second(seconds(after)?).ok()?;
                Some(self.zone.following(inside).next()?.timestamp().as_second())
            }
        }
    }

    /// Every moment at which the clock shows such a time: looks through the frames of time in which the clock is not set.
    fn find_each(&self, second: i64, direction: Direction) -> Option<i64> {
        let is_forward = direction == Direction::Forward;
        let mut from = second;
        let mut is_inclusive = false;
        for _ in 0..FRAMES_MAX {
            // Backward, a frame ends a second before the moment at which the clock is set.
            let offset = self.offset_at(from)?;
            let found = self.wall(from.checked_add(offset)?, direction, is_inclusive)?.checked_sub(offset)?;
            let here = Timestamp::from_second(from).ok()?;
            let edge = if is_forward {
                self.zone.following(here).next().map(|next| next.timestamp().as_second())
            } else {
                // One that is at this second begins this frame.
                let after = Timestamp::from_second(from.checked_add(1)?).ok()?;
                self.zone.preceding(after).next().map(|last| last.timestamp().as_second())
            };
            match edge {
                Some(edge) if is_forward && found >= edge => (from, is_inclusive) = (edge, true),
                Some(edge) if !is_forward && found < edge => (from, is_inclusive) = (edge.checked_sub(1)?, true),
                _ => return Some(found),
            }
        }
        None
    }

    fn offset_at(&self, second: i64) -> Option<i64> {
        Some(self.zone.to_offset(Timestamp::from_second(second).ok()?).seconds().into())
    }

    /// The next wall-clock time, in seconds as if it were UTC.
    fn wall(&self, from: i64, direction: Direction, is_inclusive: bool) -> Option<i64> {
        let from: DateTime<Utc> = DateTime::from_timestamp(from, 0)?;
        let found = match direction {
            Direction::Forward => self.pattern.find_next_occurrence(&from, is_inclusive),
            Direction::Backward => self.pattern.find_previous_occurrence(&from, is_inclusive),
        };
        found.ok().map(|found| found.timestamp())
    }
}
