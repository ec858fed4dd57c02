//! What timers of workflows do next, and events that triggers could not take.

use serde_json::json;

use super::{Admin, Error};
use crate::limits::SET_ASIDE_MAX;
use crate::store::{RunStore as _, SetAside, What};
use crate::trigger::NextFires;
use crate::workflow::Key;

impl Admin {
    /// When a workflow's timers fire next, `limit` at most; and how many events of it were set aside.
    pub async fn next_fires(&self, key: &Key, limit: usize) -> Result<(NextFires, usize), Error> {
        self.head(key).await?;
        let of = key.clone();
        let set_aside = self.read(move |store| store.set_aside_count(&of, SET_ASIDE_MAX)).await?;
        Ok((self.triggers.next_fires(key, limit).await?, set_aside))
    }

    /// Events of a workflow that were set aside, oldest first, after one; and where the next page begins.
    pub async fn set_aside(
        &self,
        key: &Key,
        after: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<(u64, SetAside)>, Option<u64>), Error> {
        self.head(key).await?;
        let of = key.clone();
        let mut events = self.read(move |store| store.set_aside(&of, after, limit + 1)).await?;
        let more = events.len() > limit;
        events.truncate(limit);
        let next = events.last().filter(|_| more).map(|(number, _)| *number);
        Ok((events, next))
    }

    /// Delivers an event once more that was set aside, to the revision that is active now: how many runs it starts. After a failure it
    /// stays.
    pub async fn retry_set_aside(&self, key: &Key, number: u64) -> Result<usize, Error> {
        self.head(key).await?;
        let entry = self.entry(What::EventRetried, key.as_str(), json!({ "number": number.to_string() }));
        let runs = self.triggers.retry_set_aside(key, number, entry).await?;
        runs.ok_or_else(|| Self::no_event(number))
    }

    /// Drops an event that was set aside.
    pub async fn drop_set_aside(&self, key: &Key, number: u64) -> Result<(), Error> {
        self.head(key).await?;
        let entry = self.entry(What::EventDropped, key.as_str(), json!({ "number": number.to_string() }));
        let dropped = self.triggers.drop_set_aside(key, number, entry).await?;
        if dropped { Ok(()) } else { Err(Self::no_event(number)) }
    }

    fn no_event(number: u64) -> Error {
        Error::not_found("event", number, "; `weft workflow set-aside` lists those that were set aside")
    }
}
