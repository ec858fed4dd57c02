//! Whether another version of a plugin does the same: calls that were made are made again with it, without any effect. By hand, and
//! before revisions move from the one to the other.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;

use super::{Admin, Error};
use crate::digest::Digest;
use crate::executor::Replayed;
use crate::limits::REPLAY_CALLS_MAX;
use crate::store::Pin;

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
    /// For people.
    pub reason: String,
}

/// What came of those that were tried; none: every call came out the same.
#[derive(Default)]
pub(super) struct Tried(BTreeMap<Takeover, Option<Unlike>>);

impl Tried {
    /// Why what was tried may not take over; none: it may.
    pub fn refusal(&self, takeovers: &BTreeSet<Takeover>) -> Option<Unlike> {
        takeovers.iter().find_map(|takeover| match self.0.get(takeover) {
            Some(unlike) => unlike.clone(),
            None => Some(Unlike { reason: format!("calls of {} were not made again", takeover.old.0) }),
        })
    }
}

/// Which versions would take over from which, where pins replace others. `last` says for how many calls that is to be tried, if it is.
pub(super) fn takeovers(old: &[&Pin], new: &[&Pin], last: impl Fn(&Pin) -> Option<u32>) -> BTreeSet<Takeover> {
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

    /// Makes the calls again that takeovers are about. That takes its time: whoever calls does not have the lock of changes.
    pub(super) async fn try_out(&self, takeovers: BTreeSet<Takeover>, tried: &mut Tried) -> Result<(), Error> {
        for takeover in takeovers {
            if !tried.0.contains_key(&takeover) {
                let unlike = self.unlike(&takeover).await?;
                tried.0.insert(takeover, unlike);
            }
        }
        Ok(())
    }

    async fn unlike(&self, takeover: &Takeover) -> Result<Option<Unlike>, Error> {
        let Takeover { plugin: name, old: (old, old_digest), new: (new, new_digest), last } = takeover;
        let unlike = |reason: String| Ok(Some(Unlike { reason }));
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
            unlike(format!("{other} of {calls} calls of {old} come out differently: {look}"))
        } else if unrecorded > 0 {
            let how = format!("`weft plugin grant {name} --add --record` keeps them");
            unlike(format!("what the host answered to {unrecorded} of {calls} calls of {old} is not kept: {how}"))
        } else if is_cut && calls < *last {
            unlike(format!("only {calls} calls of {old} could be made again in time"))
        } else if same == 0 {
            unlike(format!("there are no calls of {old} to be made again"))
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
