//! Which workflows use a plugin, and how plugins go that none uses.
//!
//! A plugin that an active revision or an unfinished run is pinned to stays, whatever anybody says: no run is left behind that
//! cannot go on.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use semver::Version;
use serde::Serialize;
use serde_json::json;

use super::{Admin, Error};
use crate::digest::Digest;
use crate::limits::{LET_GO_MAX, USES_NAMED_MAX};
use crate::plugin::BUILT_IN_VENDOR;
use crate::store::{Pinned, PluginRecord, What};

/// Which plugins may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removable {
    /// Those that no revision is pinned to.
    Unpinned,
    /// Also those that revisions are pinned to which are not active: these can be activated and carried out again only when the
    /// same component is added again.
    Inactive,
}

/// A version of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PluginVersion {
    /// `vendor/name`.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// The digest of its component.
    pub digest: Digest,
}

/// Why a plugin cannot be removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// It is part of the program.
    #[error("`{0}` is a built-in plugin: it goes with the program")]
    BuiltIn(String),
    /// Revisions are pinned to it.
    #[error("{0} is used by {1}{2}")]
    Pinned(String, String, &'static str),
    /// Somebody holds it at this moment.
    #[error("{0} is used by a request or a run that is under way; try again in a moment")]
    UnderWay(String),
    /// It would come back at the next start.
    #[error("{0} stands in the watched folder and would be installed again: delete the file {1} first")]
    InFolder(String, String),
}

impl Admin {
    /// Revisions that are pinned to a plugin, and drafts that unfinished runs carry out with it.
    pub async fn used_by(&self, plugin: Digest) -> Result<Vec<Pinned>, Error> {
        let mut pinned = self.read(crate::store::Store::pinned).await?;
        pinned.retain(|pinned| pinned.plugins.contains(&plugin));
        Ok(pinned)
    }

    /// Removes a version of a plugin: its record, its component, and what was compiled of it. With its last version go its grants
    /// and its values.
    pub async fn remove_plugin(&self, name: &str, version: &Version, removable: Removable) -> Result<PluginVersion, Error> {
        let began = tokio::time::Instant::now();
        loop {
            match self.try_remove(name, version, removable).await {
                // A run that has just ended lets go of it in a moment.
                Err(Error::Remove(RemoveError::UnderWay(_))) if began.elapsed() < LET_GO_MAX => {
                    tokio::time::sleep(LET_GO_MAX / 20).await;
                }
                removed => return removed,
            }
        }
    }

    async fn try_remove(&self, name: &str, version: &Version, removable: Removable) -> Result<PluginVersion, Error> {
        let _changing = self.changing.lock().await;
        let records = self.read(crate::store::Store::plugins).await?;
        let record = records.iter().find(|record| record.name == name && record.version == *version);
        let missing = || Error::not_found("plugin", format!("{name}@{version}"), "; `weft plugin list` shows what is installed");
        let record = record.ok_or_else(missing)?;
        let pinned = self.read(crate::store::Store::pinned).await?;
        self.remove_record(record, &pinned, removable).await
    }

    /// Removes every version that may go and is not the newest of its plugin; says which those are. `dry_run`: removes none.
    pub async fn prune(&self, removable: Removable, dry_run: bool) -> Result<Vec<PluginVersion>, Error> {
        let _changing = self.changing.lock().await;
        let records = self.read(crate::store::Store::plugins).await?;
        let pinned = self.read(crate::store::Store::pinned).await?;
        let mut newest: BTreeMap<&str, &Version> = BTreeMap::new();
        // What waits for approval is nobody's newest, and stays.
        for record in records.iter().filter(|record| !record.held) {
            let newest = newest.entry(&record.name).or_insert(&record.version);
            *newest = (*newest).max(&record.version);
        }
        let mut gone = Vec::new();
        for record in records.iter().filter(|record| !record.held && newest.get(&*record.name) != Some(&&record.version)) {
            let may_go = self.may_go(record, &pinned, removable);
            match if dry_run {
                may_go.map(|()| PluginVersion::of(record)).map_err(Error::from)
            } else {
                self.remove_record(record, &pinned, removable).await
            } {
                Ok(plugin) => gone.push(plugin),
                // It stays, and the next one may go all the same.
                Err(Error::Remove(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(gone)
    }

    /// Whoever calls has the lock of changes. `pinned` was read under it.
    async fn remove_record(
        &self,
        record: &PluginRecord,
        pinned: &[Pinned],
        removable: Removable,
    ) -> Result<PluginVersion, Error> {
        self.may_go(record, pinned, removable)?;
        let digest = record.digest;
        // From here on nobody begins with it.
        let taken = self.executor().programs().take_out(&digest);
        if let Some(plugin) = taken {
            // A run may have been under way until a moment ago, and wait now.
            let still = self.used_by(digest).await;
            let refused = match &still {
                Ok(still) => self.may_go(record, still, removable).map_err(Error::from),
                Err(_) => still.map(|_| ()),
            };
            if let Err(error) = refused {
                self.registry.put_back(plugin);
                self.executor().try_stuck_runs();
                return Err(error);
            }
        } else if self.registry.get(&digest).is_some() {
            return Err(RemoveError::UnderWay(shown(record)).into());
        }
        let others = self.read(crate::store::Store::plugins).await?;
        let is_last = others.iter().all(|other| other.name != record.name || other.version == record.version);
        let details = json!({ "version": record.version, "digest": digest, "grants_too": is_last });
        let entry = self.entry(What::PluginRemoved, &record.name, details);
        self.store.remove_plugin(&record.name, &record.version, is_last, &entry).await?;
        let is_shared = others.iter().any(|other| other.digest == digest && other.version != record.version);
        let (store, registry) = (self.store.clone(), self.registry.clone());
        let sweep = move || {
            registry.forget_compiled(&digest);
            if is_shared { Ok(()) } else { store.blobs().remove(&digest) }
        };
        if let Err(error) = tokio::task::spawn_blocking(sweep).await.unwrap_or(Err(crate::store::Error::Closed)) {
            // Nothing refers to it: `weft store compact` finds it.
            tracing::warn!(%error, "the file of a plugin that is removed could not be");
        }
        tracing::info!(plugin = record.name, version = %record.version, %digest, is_last, "removed a plugin");
        Ok(PluginVersion::of(record))
    }

    fn may_go(&self, record: &PluginRecord, pinned: &[Pinned], removable: Removable) -> Result<(), RemoveError> {
        if record.name.split('/').next() == Some(BUILT_IN_VENDOR) {
            return Err(RemoveError::BuiltIn(record.name.clone()));
        }
        let pins = || pinned.iter().filter(|pinned| pinned.plugins.contains(&record.digest));
        let is_needed = |pinned: &&Pinned| pinned.is_active || pinned.unfinished_runs > 0;
        if pins().any(|pinned| is_needed(&pinned)) {
            let hint = "; publish and activate these again without it, and let the runs end or cancel them";
            return Err(RemoveError::Pinned(shown(record), named(pins().filter(is_needed)), hint));
        }
        if removable == Removable::Unpinned && pins().next().is_some() {
            let hint = ", none of which is active; with --inactive it goes, and these cannot be activated or carried out again";
            return Err(RemoveError::Pinned(shown(record), named(pins()), hint));
        }
        let folder = self.in_folder.lock().unwrap_or_else(PoisonError::into_inner);
        match folder.iter().find(|(_, digest)| **digest == record.digest) {
            Some((path, _)) => Err(RemoveError::InFolder(shown(record), path.display().to_string())),
            None => Ok(()),
        }
    }
}

impl PluginVersion {
    fn of(record: &PluginRecord) -> Self {
        Self { name: record.name.clone(), version: record.version.clone(), digest: record.digest }
    }
}

fn shown(record: &PluginRecord) -> String {
    format!("{} {}", record.name, record.version)
}

/// Revisions in words, the first of them by name.
fn named<'a>(pinned: impl Iterator<Item = &'a Pinned> + Clone) -> String {
    let name = |pinned: &Pinned| {
        let mut text = match pinned.revision {
            0 => format!("a draft of {}", pinned.workflow),
            number => format!("{}-{number:05}", pinned.workflow),
        };
        match (pinned.is_active, pinned.unfinished_runs) {
            (true, 0) => text.push_str(" (active)"),
            (true, runs) => text.push_str(&format!(" (active, {runs} unfinished runs)")),
            (false, 0) => {}
            (false, runs) => text.push_str(&format!(" ({runs} unfinished runs)")),
        }
        text
    };
    let mut names: Vec<String> = pinned.clone().take(USES_NAMED_MAX).map(name).collect();
    let more = pinned.count().saturating_sub(USES_NAMED_MAX);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    names.join(", ")
}
