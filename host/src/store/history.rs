//! Runs that have ended: how many are kept, which are the oldest, and how they go.

use std::collections::BTreeMap;

use super::kv::Order;
use super::record::Batch;
use super::run_store::{Place, RUN_STATUSES, RunHead, RunStore as _, status_number};
use super::runs::{Pending, decode};
use super::{Error, Store, keys};
use crate::limits::{END_BATCH_KEYS, SIGNAL_KEPT_MS};
use crate::run::RunId;
use crate::workflow::Key;

/// Runs of a workflow that have ended and are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many there are.
    pub runs: u64,
    /// Bytes of their journals.
    pub bytes: u64,
}

/// What a change adds to totals, or takes off them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TotalsChange {
    pub(super) runs: i64,
    pub(super) bytes: i64,
}

impl Totals {
    /// What one run adds.
    pub(super) fn of(head: &RunHead) -> Self {
        if head.place == Place::Ended { Self { runs: 1, bytes: head.bytes } } else { Self::default() }
    }

    /// The change from these to others.
    pub(super) fn to(self, other: Self) -> TotalsChange {
        TotalsChange {
            runs: other.runs.cast_signed().wrapping_sub(self.runs.cast_signed()),
            bytes: other.bytes.cast_signed().wrapping_sub(self.bytes.cast_signed()),
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.bytes += other.bytes;
    }

    pub(super) fn change(self, by: TotalsChange) -> Self {
        Self { runs: self.runs.saturating_add_signed(by.runs), bytes: self.bytes.saturating_add_signed(by.bytes) }
    }

    pub(super) fn write(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.runs.to_be_bytes());
        bytes[8..].copy_from_slice(&self.bytes.to_be_bytes());
        bytes
    }

    pub(super) fn read(content: &[u8]) -> Option<Self> {
        let (runs, bytes) = content.split_first_chunk::<8>()?;
        Some(Self { runs: u64::from_be_bytes(*runs), bytes: u64::from_be_bytes(bytes.try_into().ok()?) })
    }
}

impl TotalsChange {
    pub(super) fn is_none(self) -> bool {
        self == Self::default()
    }
}

impl Store {
    /// The totals of every workflow that has had a run end.
    pub fn totals(&self) -> Result<BTreeMap<Key, Totals>, Error> {
        let pairs = self.scan(keys::TOTALS, None, Order::Ascending, usize::MAX)?;
        let read = |(key, content): &(Vec<u8>, bytes::Bytes)| Some((keys::workflow_of_totals(key)?, Totals::read(content)?));
        pairs.iter().map(|pair| read(pair).ok_or_else(|| Error::Corrupt("the totals of a workflow".into()))).collect()
    }

    /// Counts what a folder holds that was written before there were totals.
    pub(super) fn count_totals(&self) -> Result<(), Error> {
        if self.read(keys::TOTALS_COUNTED)?.is_some() {
            return Ok(());
        }
        let mut totals: BTreeMap<Key, Totals> = BTreeMap::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.scan(keys::RUNS, after.as_deref(), Order::Ascending, END_BATCH_KEYS)?;
            for (_, bytes) in &page {
                let head: RunHead = decode(bytes)?;
                totals.entry(head.workflow.clone()).or_default().add(Totals::of(&head));
            }
            match page.into_iter().next_back() {
                Some((key, _)) => after = Some(key),
                None => break,
            }
        }
        let mut batch = Batch::default();
        batch.put(keys::TOTALS_COUNTED, &[]);
        totals.iter().for_each(|(workflow, totals)| batch.put(&keys::totals(workflow), &totals.write()));
        self.writer.commit_blocking(batch)
    }

    /// Runs that have ended, of a workflow or of all, in the order in which they were accepted, after one of them, `limit` at
    /// most.
    pub fn ended_runs(&self, workflow: Option<&Key>, after: Option<RunId>, limit: usize) -> Result<Vec<RunHead>, Error> {
        let mut ids = Vec::new();
        for status in RUN_STATUSES.into_iter().filter(|status| status.is_end()).map(status_number) {
            let prefix = workflow.map_or_else(|| keys::by_status(status), |workflow| keys::by_workflow(workflow, status));
            let after = after.map(|after| keys::of_run(&prefix, after));
            let pairs = self.kv.scan(&prefix, after.as_deref(), Order::Ascending, limit)?;
            ids.extend(pairs.iter().filter_map(|(key, _)| keys::run_id(key)));
        }
        ids.sort_unstable();
        ids.truncate(limit);
        ids.into_iter().filter_map(|id| self.run(id).transpose()).collect()
    }

    /// Removes a run that has ended, with its journal. False: there is none, or it goes on.
    pub async fn delete_run(&self, id: RunId) -> Result<bool, Error> {
        let Some(head) = self.run(id)?.filter(|head| head.place == Place::Ended) else { return Ok(false) };
        let mut pending = Pending::default();
        // Somebody else may delete it at the same time, and totals count it once.
        pending.batch.expect_present(&keys::run(id));
        pending.forget(self, &head)?;
        pending.keep_dedup(&head);
        match self.commit_raw(pending.batch).await {
            Ok(()) => Ok(true),
            Err(Error::Refused(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes dedup keys whose time is over. Returns how many.
    pub async fn end_dedup_keys(&self, now_ms: u64) -> Result<usize, Error> {
        let mut ended = 0;
        loop {
            let due: Vec<Vec<u8>> = self
                .scan(keys::DEDUP_ENDS, None, Order::Ascending, END_BATCH_KEYS)?
                .into_iter()
                .map(|(key, _)| key)
                .take_while(|key| keys::time_of(key).is_some_and(|at_ms| at_ms <= now_ms))
                .collect();
            if due.is_empty() {
                return Ok(ended);
            }
            let mut batch = Batch::default();
            for key in &due {
                batch.remove(&key[9..], None);
                batch.remove(key, None);
            }
            self.commit_batch(batch).await?;
            ended += due.len();
        }
    }

    /// Removes messages by name and key that are too old, of a part of all, after the one where the last part ended. Returns
    /// how many, and where the next part begins; none: at the beginning.
    pub async fn end_kept_signals(&self, now_ms: u64, after: Option<Vec<u8>>) -> Result<(usize, Option<Vec<u8>>), Error> {
        let oldest_ms = now_ms.saturating_sub(SIGNAL_KEPT_MS);
        let page = self.kv.scan(keys::KEPT_SIGNALS, after.as_deref(), Order::Ascending, END_BATCH_KEYS)?;
        let mut batch = Batch::default();
        let mut ended = 0;
        for (key, value) in &page {
            // Their numbers begin with the time at which they came.
            if keys::number(key).is_some_and(|number| super::time_of_number(number) < oldest_ms) {
                batch.remove(key, Some(&super::Raw(value.clone())));
                ended += 1;
            }
        }
        if ended > 0 {
            self.commit_batch(batch).await?;
        }
        let next = page.into_iter().nth(END_BATCH_KEYS - 1).map(|(key, _)| key);
        Ok((ended, next))
    }
}
