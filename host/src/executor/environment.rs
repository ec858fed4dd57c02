//! What belongs to the host itself and to no run: its variables, its time zone, its share of the ids.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::clock::rfc3339;
use crate::workflow::{Json, Root, System};

/// Milliseconds from 1970 to the beginning of the time in snowflake ids, 2026-01-01.
const SNOWFLAKE_BEGINS_MS: u64 = 1_767_225_600_000;

/// The values of `$env` and `$system`.
pub struct Environment {
    zone: TimeZone,
    variables: ArcSwap<BTreeMap<Box<str>, Json>>,
    /// The last snowflake id: the next one is greater, whatever the clock does.
    last_id: AtomicU64,
}

impl Environment {
    /// Without variables. Days begin and end in this time zone.
    pub fn new(zone: TimeZone) -> Self {
        Self { zone, variables: ArcSwap::default(), last_id: AtomicU64::new(0) }
    }

    /// The time zone.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// From now on these are the variables.
    pub fn set(&self, variables: BTreeMap<Box<str>, Json>) {
        self.variables.store(variables.into());
    }

    /// The value at a root, if it belongs to the host.
    pub(crate) fn get(&self, root: &Root, now_ms: u64) -> Option<Json> {
        match root {
            Root::Env(name) => self.variables.load().get(name).cloned(),
            Root::System(name) => Some(Json::from(self.system(*name, now_ms))),
            _ => None,
        }
    }

    fn system(&self, name: System, now_ms: u64) -> Value {
        match name {
            System::Now => rfc3339(now_ms).into(),
            System::Epoch => now_ms.into(),
            // The number of a host in its cluster; there is one.
            System::InstanceId => 0.into(),
            System::SnowflakeId => self.snowflake(now_ms).to_string().into(),
            System::DateRange(range) => {
                let now = Timestamp::from_millisecond(i64::try_from(now_ms).unwrap_or(i64::MAX)).unwrap_or(Timestamp::MAX);
                match range.around(now, &self.zone) {
                    Some((from, to)) => json!([format!("{from:.3}"), format!("{to:.3}")]),
                    None => Value::Null,
                }
            }
        }
    }

    /// 42 bits of milliseconds, 10 of the host, 12 that count. A host that gives out more than 4,096 in a millisecond borrows from the
    /// next.
    fn snowflake(&self, now_ms: u64) -> u64 {
        let at_least = now_ms.saturating_sub(SNOWFLAKE_BEGINS_MS) << 22;
        let next = |last: u64| {
            let after = if last & 0xfff == 0xfff { ((last >> 22) + 1) << 22 } else { last + 1 };
            after.max(at_least)
        };
        let last = self.last_id.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        next(last.unwrap_or_else(|last| last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snowflake_ids_only_grow() {
        let environment = Environment::new(TimeZone::UTC);
        let mut last = 0;
        for now_ms in (0..10_000).map(|n| SNOWFLAKE_BEGINS_MS + 5 + n / 5_000).chain([SNOWFLAKE_BEGINS_MS]) {
            let id = environment.snowflake(now_ms);
            assert!(id > last, "{id} after {last}");
            assert_eq!((id >> 12) & 0x3ff, 0, "{id} is of another host");
            last = id;
        }
    }
}
