//! Which revisions are pinned to which plugins, how many of their runs go on, and how a plugin goes.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;

use super::audit::AuditEntry;
use super::kv::Order;
use super::record::{Batch, Raw};
use super::run_store::{RUN_STATUSES, RunStore as _, status_number};
use super::{Error, Revision, Store, catalog, keys};
use crate::digest::Digest;
use crate::limits::{CARE_PAGE_PAIRS, END_BATCH_KEYS, UNFINISHED_COUNTED_MAX};
use crate::run::RunId;
use crate::workflow::Key;

/// A revision, or a draft that runs carry out, with the plugins that it is pinned to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// The workflow.
    pub workflow: Key,
    /// The number of the revision; 0 for a draft.
    pub revision: u32,
    /// Whether events start it: it is the active one, or on trial beside that.
    pub is_active: bool,
    /// How many of its runs have not ended: [`UNFINISHED_COUNTED_MAX`] stands for as many or more.
    pub unfinished_runs: usize,
    /// The digests of the plugins.
    pub plugins: BTreeSet<Digest>,
}

impl Store {
    /// Every revision with what it is pinned to, and every draft of which a run goes on, by workflows. Reads all of them.
    pub fn pinned(&self) -> Result<Vec<Pinned>, Error> {
        let heads = self.workflows(None, usize::MAX)?;
        let active: BTreeMap<&Key, [Option<u32>; 2]> = heads
            .iter()
            .map(|head| (&head.key, [head.active_revision, head.canary.as_ref().map(|canary| canary.revision)]))
            .collect();
        let mut pinned = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.scan(keys::REVISIONS, after.as_deref(), Order::Ascending, CARE_PAGE_PAIRS)?;
            for (_, bytes) in &page {
                let revision: Revision = catalog::decode(bytes)?;
                pinned.push(Pinned {
                    is_active: active.get(&revision.workflow).is_some_and(|active| active.contains(&Some(revision.number))),
                    unfinished_runs: self.unfinished_runs(&revision.workflow, revision.number, UNFINISHED_COUNTED_MAX)?.len(),
                    ..Pinned::of(&revision)
                });
            }
            match page.into_iter().next_back() {
                Some((key, _)) => after = Some(key),
                None => break,
            }
        }
        for head in &heads {
            pinned.extend(self.pinned_drafts(&head.key)?);
        }
        Ok(pinned)
    }

    /// The drafts of a workflow that runs carry out which have not ended.
    fn pinned_drafts(&self, workflow: &Key) -> Result<Vec<Pinned>, Error> {
        let mut drafts: BTreeMap<Digest, usize> = BTreeMap::new();
        for run in self.unfinished_runs(workflow, 0, usize::MAX)? {
            if let Some(draft) = self.run(run)?.and_then(|head| head.draft) {
                *drafts.entry(draft).or_default() += 1;
            }
        }
        let mut pinned = Vec::new();
        for (draft, unfinished_runs) in drafts {
            if let Some(draft) = self.draft_of_run(&draft)? {
                pinned.push(Pinned { unfinished_runs, ..Pinned::of(&draft) });
            }
        }
        Ok(pinned)
    }

    /// Runs of a revision that have not ended, `limit` at most.
    fn unfinished_runs(&self, workflow: &Key, revision: u32, limit: usize) -> Result<Vec<RunId>, Error> {
        let mut runs = Vec::new();
        for status in RUN_STATUSES.into_iter().filter(|status| !status.is_end()).map(status_number) {
            let prefix = keys::by_revision(workflow, revision, status);
            let pairs = self.kv.scan(&prefix, None, Order::Ascending, limit - runs.len())?;
            runs.extend(pairs.iter().filter_map(|(key, _)| keys::run_id(key)));
        }
        Ok(runs)
    }

    /// Removes the record of a plugin and of what it has taken; its component is a file of its own ([`super::Blobs::remove`]). With its last version go
    /// what it may do, what is required of it, and the values that it kept, so that a later plugin of that name begins with nothing.
    pub async fn remove_plugin(&self, name: &str, version: &Version, is_last: bool, entry: &AuditEntry) -> Result<(), Error> {
        let mut batch = Batch::default();
        let mut gone = vec![keys::plugin(name, version)];
        if is_last {
            // Before the record, so that what a crash leaves behind is still a plugin that can be removed.
            self.remove_values(name).await?;
            gone.extend([keys::GRANTS, keys::REQUIRED_REPLAYS].map(|kind| [kind, name.as_bytes()].concat()));
        }
        for key in &gone {
            if let Some((old, _)) = self.read_raw(key)? {
                batch.remove(key, Some(&old));
            }
        }
        // Whether one is there is not known: it may be about to be written.
        batch.remove(&keys::reading(name, version), None);
        batch.audit(entry)?;
        self.commit_batch(batch).await
    }

    /// Removes every value that a plugin kept.
    async fn remove_values(&self, plugin: &str) -> Result<(), Error> {
        loop {
            let page = self.kv.scan(&keys::values_of(plugin), None, Order::Ascending, END_BATCH_KEYS)?;
            if page.is_empty() {
                return Ok(());
            }
            let mut batch = Batch::default();
            page.into_iter().for_each(|(key, value)| batch.remove(&key, Some(&Raw(value))));
            self.commit_batch(batch).await?;
        }
    }
}

impl Pinned {
    fn of(revision: &Revision) -> Self {
        Self {
            workflow: revision.workflow.clone(),
            revision: revision.number,
            is_active: false,
            unfinished_runs: 0,
            plugins: revision.pins().map(|pin| pin.digest).collect(),
        }
    }
}
