//! Whether another version of a plugin does the same: calls that were made are made again with it, without any effect. By hand; before an
//! upgrade that asks for it; and before anything else by which a version takes over from another, where that is required of the plugin.
//!
//! What is required stands beside a plugin's grants, not among them: they say what the plugin may do, and whoever grants anew or takes
//! everything back must not lift by the way what binds people.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;
use serde_json::json;
use tokio::sync::MutexGuard;

use super::{Admin, Error};
use crate::digest::Digest;
use crate::executor::Replayed;
use crate::limits::{REPLAY_CALLS_MAX, TAKEOVER_ROUNDS_MAX};
use crate::store::{self, Pin, RequiredReplay, What, WorkflowHead};
use crate::workflow::Key;

/// A version of a plugin that is to take over from another, if so many calls of that come out the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Takeover {
    plugin: String,
    old: (Version, Digest),
    new: (Version, Digest),
    last: u32,
}

/// Why a version is not known to do the same.
#[derive(Clone, Debug)]
pub(super) struct Unlike {
    /// Calls came out differently; else too little could be compared.
    pub differs: bool,
    /// For people.
    pub reason: String,
}

/// What came of those that were tried; none: every call came out the same.
#[derive(Default)]
pub(super) struct Tried(BTreeMap<Takeover, Option<Unlike>>);

impl Tried {
    /// Those that were not tried.
    fn missing(&self, takeovers: &BTreeSet<Takeover>) -> BTreeSet<Takeover> {
        takeovers.iter().filter(|takeover| !self.0.contains_key(takeover)).cloned().collect()
    }

    /// Which of these may not be, and why; none: all may.
    pub(super) fn refused<'a>(&'a self, takeovers: &'a BTreeSet<Takeover>) -> impl Iterator<Item = (&'a Takeover, Unlike)> {
        takeovers.iter().filter_map(|takeover| match self.0.get(takeover) {
            Some(unlike) => Some((takeover, unlike.clone()?)),
            None => {
                let reason = format!("calls of {} were not made again", takeover.old.0);
                Some((takeover, Unlike { differs: false, reason }))
            }
        })
    }
}

/// Which versions would take over from which, where pins replace others. `last` says for how many calls that is to be tried, if it is.
fn between(old: &[&Pin], new: &[&Pin], last: impl Fn(&Pin) -> Option<u32>) -> BTreeSet<Takeover> {
    let has = |pins: &[&Pin], pin: &Pin| pins.iter().any(|other| other.digest == pin.digest);
    let pairs = new.iter().flat_map(|new| old.iter().map(move |old| (*old, *new)));
    pairs
        .filter(|(from, to)| from.plugin == to.plugin && from.digest != to.digest)
        // Where both stay, neither takes over.
        .filter(|(from, to)| !has(new, from) || !has(old, to))
        .filter_map(|(from, to)| {
            let release = |pin: &Pin| (pin.version.clone(), pin.digest);
            Some(Takeover { plugin: to.plugin.clone(), old: release(from), new: release(to), last: last(to)? })
        })
        .collect()
}

impl Admin {
    /// Makes the newest `last` calls of one version again with another, without any effect, and compares.
    pub async fn replay(&self, name: &str, new: &Version, old: &Version, last: u32) -> Result<Replayed, Error> {
        check_last(last)?;
        let version = |version: &Version| {
            let missing =
                || Error::not_found("plugin", format!("{name}@{version}"), "; `weft plugin list` shows what is installed");
            self.registry.release(name, version).ok_or_else(missing)
        };
        let (new, old) = (version(new)?, version(old)?);
        Ok(self.executor().replay(&old, &new, last).await?)
    }

    /// Requires of a plugin, in all its versions, that its last calls come out the same before one takes over from another; or lifts that.
    /// From then on what the host answers its calls is kept.
    pub async fn require_replay(&self, name: &str, last: Option<u32>) -> Result<(), Error> {
        last.map_or(Ok(()), check_last)?;
        let _changing = self.changing.lock().await;
        let before = self.any_version(name)?.required_replay();
        let versions = || self.registry.list().into_iter().filter(|plugin| plugin.description.name == name);
        if last.is_some() && versions().all(|plugin| plugin.description.nodes.is_empty()) {
            let why = "only calls of node types are recorded, and it has none";
            return Err(Error::Setting(format!("no calls of `{name}` can be made again: {why}")));
        }
        match last {
            Some(last) => {
                let entry = self.entry(What::ReplayRequired, name, json!({ "last": last, "before": before }));
                self.store.put_required_replay(name, &RequiredReplay { last }, &entry).await?;
            }
            None => {
                let entry = self.entry(What::ReplayNotRequired, name, json!({ "before": before }));
                if !self.store.remove_required_replay(name, &entry).await? {
                    return Err(Error::not_found("required replay of", name, ""));
                }
            }
        }
        versions().for_each(|plugin| plugin.require_replay(last));
        tracing::info!(plugin = name, ?last, "changed which replay is required of a plugin");
        Ok(())
    }

    /// The lock of changes, once a revision (by default the newest) may become the active one, or be on trial beside it. Calls are made again
    /// before it is held. Under it everything is looked at anew, since meanwhile another revision may have become the active one.
    pub(super) async fn admitted(&self, key: &Key, number: Option<u32>) -> Result<MutexGuard<'_, ()>, Error> {
        let mut tried = Tried::default();
        for _ in 0..TAKEOVER_ROUNDS_MAX {
            let changing = self.changing.lock().await;
            let head = self.head(key).await?;
            let revision = number.unwrap_or(head.latest_revision);
            // Whoever goes on says that there is no such revision.
            let Some(next) = self.stored_revision(key, revision).await? else { return Ok(changing) };
            let takeovers = self.takeovers(&head, &next.pins().collect::<Vec<_>>(), None).await?;
            let missing = tried.missing(&takeovers);
            if missing.is_empty() {
                let refused: Vec<_> = tried.refused(&takeovers).collect();
                if refused.is_empty() {
                    return Ok(changing);
                }
                let reason = |(of, unlike): &(&Takeover, Unlike)| format!("{} {}: {}", of.plugin, of.new.0, unlike.reason);
                let differs = refused.iter().any(|(_, unlike)| unlike.differs);
                let reason = refused.iter().map(reason).collect::<Vec<_>>().join("; ");
                return Err(Error::Unlike { revision, differs, reason });
            }
            drop(changing);
            self.try_out(missing, &mut tried).await?;
        }
        Err(store::Error::Conflict.into())
    }

    /// Which versions would take over from which if pins replaced those that a workflow had of each plugin last, as far as that is to be tried:
    /// since it is required, but then not for a version that the workflow had before (the way back is open); or since it is asked for.
    pub(super) async fn takeovers(
        &self,
        head: &WorkflowHead,
        new: &[&Pin],
        asked: Option<u32>,
    ) -> Result<BTreeSet<Takeover>, Error> {
        let required = |pin: &Pin| asked.max(self.registry.get(&pin.digest).and_then(|plugin| plugin.required_replay()));
        if new.iter().all(|pin| required(pin).is_none()) {
            return Ok(BTreeSet::new());
        }
        let (key, numbers) = (head.key.clone(), head.active_revision.into_iter().chain(head.active_before.iter().copied()));
        let numbers: Vec<u32> = numbers.collect();
        let had = self.read(move |store| {
            let revisions = numbers.iter().filter_map(|number| store.revision(&key, *number).transpose());
            revisions.collect::<Result<Vec<_>, _>>()
        });
        let had = had.await?;
        // A plugin's pins are those of the last revision that had it: one without it between two others is no way round.
        let mut old: Vec<&Pin> = Vec::new();
        for revision in &had {
            let of_others: Vec<&Pin> = revision.pins().filter(|pin| old.iter().all(|known| known.plugin != pin.plugin)).collect();
            old.extend(of_others);
        }
        let mut takeovers = between(&old, new, required);
        if asked.is_none() {
            takeovers.retain(|takeover| had.iter().flat_map(store::Revision::pins).all(|pin| pin.digest != takeover.new.1));
        }
        Ok(takeovers)
    }

    async fn stored_revision(&self, key: &Key, number: u32) -> Result<Option<store::Revision>, Error> {
        let key = key.clone();
        self.read(move |store| store.revision(&key, number)).await
    }

    /// Makes the calls again that takeovers are about. That takes its time: whoever calls does not have the lock of changes.
    pub(super) async fn try_out(&self, takeovers: BTreeSet<Takeover>, tried: &mut Tried) -> Result<(), Error> {
        for takeover in tried.missing(&takeovers) {
            let unlike = self.unlike(&takeover).await?;
            tried.0.insert(takeover, unlike);
        }
        Ok(())
    }

    async fn unlike(&self, takeover: &Takeover) -> Result<Option<Unlike>, Error> {
        let Takeover { plugin: name, old: (old, old_digest), new: (new, new_digest), last } = takeover;
        let unlike = |reason: String| Ok(Some(Unlike { differs: false, reason }));
        let Some(from) = self.registry.get(old_digest) else {
            return unlike(format!("{old} is not installed, so its calls cannot be made again"));
        };
        let Some(to) = self.registry.get(new_digest) else {
            return unlike(format!("{new} is not installed"));
        };
        let Replayed { calls, same, unrecorded, is_cut, .. } = self.executor().replay(&from, &to, *last).await?;
        let other = calls.saturating_sub(same + unrecorded);
        if other > 0 {
            let look = format!("`weft plugin replay {name}@{new} --against {old} --last {last}`");
            let reason = format!("{other} of {calls} calls of {old} come out differently: {look}");
            Ok(Some(Unlike { differs: true, reason }))
        } else if unrecorded > 0 {
            let how = match from.is_recorded() {
                true => "that of newer ones is".to_owned(),
                false => format!("`weft plugin grant {name} --add --record` keeps it"),
            };
            unlike(format!("what the host answered to {unrecorded} of {calls} calls of {old} is not kept: {how}"))
        } else if is_cut && calls < *last {
            unlike(format!("only {calls} calls of {old} could be made again in time"))
        } else if same == 0 {
            unlike(format!("there are no calls of {old} to be made again; only those of node types are kept"))
        } else {
            Ok(None)
        }
    }
}

pub(super) fn check_last(last: u32) -> Result<(), Error> {
    match last {
        1..=REPLAY_CALLS_MAX => Ok(()),
        _ => Err(Error::Setting(format!("`last` is {last}; it is 1 to {REPLAY_CALLS_MAX}"))),
    }
}
