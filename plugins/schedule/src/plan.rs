//! Which times a schedule plans: pure, in milliseconds since 1970.

use crate::cron::Cron;

/// The times of a schedule.
#[derive(Default)]
pub(crate) struct Plan {
    /// In order.
    pub(crate) times: Vec<i64>,
    pub(crate) every: Option<Every>,
    pub(crate) crons: Vec<Cron>,
    /// None is planned before this.
    pub(crate) starts: Option<i64>,
    /// Nor after this.
    pub(crate) ends: Option<i64>,
}

/// An interval.
#[derive(Clone, Copy)]
pub(crate) struct Every {
    pub(crate) ms: i64,
    /// A time that is planned, and from which the others are counted.
    pub(crate) from: i64,
}

/// Times that are due.
#[derive(Debug, PartialEq)]
pub(crate) struct Due {
    /// The newest, oldest first.
    pub(crate) times: Vec<i64>,
    /// How many there are before those, as far as they were counted.
    pub(crate) more: usize,
}

impl Plan {
    /// The first time after this one.
    pub(crate) fn after(&self, ms: i64) -> Option<i64> {
        let ms = self.starts.map_or(ms, |starts| ms.max(starts.saturating_sub(1)));
        let fixed = self.times.iter().copied().find(|time| *time > ms);
        let every = self.every.and_then(|every| {
            let since = ms.checked_sub(every.from)?;
            every.from.checked_add(since.div_euclid(every.ms).checked_add(1)?.checked_mul(every.ms)?)
        });
        let crons = self.crons.iter().filter_map(|cron| cron.after(ms.div_euclid(1_000))?.checked_mul(1_000));
        let first = fixed.into_iter().chain(every).chain(crons).min()?;
        (self.ends.is_none_or(|ends| first <= ends)).then_some(first)
    }

    /// The last time before this one.
    fn before(&self, ms: i64) -> Option<i64> {
        let ms = self.ends.map_or(ms, |ends| ms.min(ends.saturating_add(1)));
        let fixed = self.times.iter().copied().rev().find(|time| *time < ms);
        let every = self.every.and_then(|every| {
            let since = ms.checked_sub(1)?.checked_sub(every.from)?;
            every.from.checked_add(since.div_euclid(every.ms).checked_mul(every.ms)?)
        });
        let second = ms.checked_add(999).map(|ms| ms.div_euclid(1_000));
        let crons = self.crons.iter().filter_map(|cron| cron.before(second?)?.checked_mul(1_000));
        let last = fixed.into_iter().chain(every).chain(crons).max()?;
        (self.starts.is_none_or(|starts| last >= starts)).then_some(last)
    }

    /// The planned times from one to another, both included: the newest `kept` of them, and how many there are before, counted up to `counted`
    /// in all.
    pub(crate) fn due(&self, from: i64, to: i64, kept: usize, counted: usize) -> Due {
        let (mut times, mut more) = (Vec::new(), 0);
        let mut end = to.saturating_add(1);
        while let Some(time) = self.before(end).filter(|time| *time >= from) {
            if times.len() < kept {
                times.push(time);
            } else {
                more += 1;
            }
            if times.len() + more >= counted {
                break;
            }
            end = time;
        }
        times.reverse();
        Due { times, more }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(plan: &Plan, from: i64, count: usize) -> Vec<i64> {
        std::iter::successors(plan.after(from), |time| plan.after(*time)).take(count).collect()
    }

    #[test]
    fn intervals_are_counted_from_their_beginning() {
        let plan = |from, starts| Plan { every: Some(Every { ms: 1_000, from }), starts, ..Plan::default() };
        assert_eq!(next(&plan(250, None), 3_000, 3), [3_250, 4_250, 5_250]);
        assert_eq!(next(&plan(250, None), 3_250, 1), [4_250], "after, not at");
        assert_eq!(next(&plan(9_250, Some(9_250)), 0, 2), [9_250, 10_250], "the beginning is planned itself");
        let ended = Plan { ends: Some(5_250), ..plan(250, None) };
        assert_eq!(next(&ended, 3_000, 9), [3_250, 4_250, 5_250]);
        assert_eq!(plan(0, None).after(i64::MAX), None);
    }

    #[test]
    fn several_sources_are_one_plan() {
        let plan = Plan { times: vec![1_500, 2_000, 9_000], every: Some(Every { ms: 2_000, from: 0 }), ..Plan::default() };
        assert_eq!(next(&plan, 0, 6), [1_500, 2_000, 4_000, 6_000, 8_000, 9_000]);
        assert_eq!(plan.due(1_500, 6_000, 9, 99), Due { times: vec![1_500, 2_000, 4_000, 6_000], more: 0 });
        assert_eq!(plan.due(1_500, 6_000, 2, 99), Due { times: vec![4_000, 6_000], more: 2 });
        assert_eq!(plan.due(0, i64::MAX - 1, 2, 5).more, 3, "counted so far");
        assert_eq!(Plan::default().due(0, 9_999, 2, 5), Due { times: vec![], more: 0 });
    }

    #[test]
    fn crons_are_planned_to_the_second() {
        let zone = jiff::tz::TimeZone::UTC;
        let plan = Plan { crons: vec![Cron::parse("*/10 * * * * *", &zone).unwrap()], ..Plan::default() };
        assert_eq!(next(&plan, 9_999, 3), [10_000, 20_000, 30_000]);
        assert_eq!(plan.due(10_000, 30_500, 9, 99).times, [10_000, 20_000, 30_000]);
        assert_eq!(plan.due(10_001, 29_999, 9, 99).times, [20_000]);
    }
}
