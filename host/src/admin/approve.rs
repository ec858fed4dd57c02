//! Versions of plugins that wait for somebody: a new one that asks for more than any before it is held, and is not called, until what it
//! asks for is approved. Grants belong to a plugin in all its versions, so without that a new version could use what was granted in
//! view of an old one; and some capabilities need no grant.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use semver::Version;
use serde_json::json;

use super::{Admin, Error, InstallError};
use crate::digest::Digest;
use crate::plugin::{BUILT_IN_VENDOR, Description, Kind, Plugin, inspect, vendor_of};
use crate::store::{self, PluginRecord, What};
use crate::workflow::TypeRef;

/// A version that waits for approval.
#[derive(Clone, Debug)]
pub struct Held {
    /// What is stored of it.
    pub record: PluginRecord,
    /// The capabilities that no approved version asks for.
    pub wider: BTreeSet<String>,
}

/// A version that is installed, and that this host does not use.
#[derive(Clone, Debug)]
pub struct Unused {
    /// `vendor/name`.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// Why, for programs.
    pub code: &'static str,
    /// Why.
    pub reason: String,
}

/// A key that signed a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Signer {
    /// Its fingerprint.
    pub key: Digest,
    /// Whether it is trusted for the plugin's vendor, now.
    pub trusted: bool,
}

/// How installed plugins stand, beside what they are.
#[derive(Debug, Default)]
pub struct Standing {
    /// Versions that wait for approval.
    pub held: Vec<Held>,
    /// Versions that are not used.
    pub unused: Vec<Unused>,
    /// Who signed which component.
    pub signers: BTreeMap<Digest, Vec<Signer>>,
}

impl Admin {
    /// How installed plugins stand.
    pub async fn standing(&self) -> Result<Standing, Error> {
        let records = self.read(store::Store::plugins).await?;
        let trusted = self.trusted_keys().await?;
        let mut standing = Standing { unused: self.unused_plugins(), ..Standing::default() };
        for record in &records {
            let is_trusted =
                |key: &Digest| trusted.iter().any(|known| known.fingerprint == *key && known.vendor == vendor_of(&record.name));
            let signers = record.signers.iter().map(|key| Signer { key: *key, trusted: is_trusted(key) });
            standing.signers.insert(record.digest, signers.collect());
            if record.held {
                let wider = wider(&record.capabilities, &record.name, &records);
                standing.held.push(Held { record: record.clone(), wider });
            }
        }
        Ok(standing)
    }

    /// Approves of what a version asks for: from now on it is used like any other.
    pub async fn approve(&self, name: &str, version: &Version) -> Result<(), Error> {
        let _changing = self.changing.lock().await;
        let records = self.read(store::Store::plugins).await?;
        let found = records.iter().find(|record| record.name == name && record.version == *version);
        let shown = format!("{name} {version}");
        let record = found.ok_or_else(|| Error::not_found("plugin", shown, "; `weft plugin list` shows what is installed"))?;
        if !record.held {
            return Ok(());
        }
        let plugin = self.revive(record).await?;
        let wider = wider(&record.capabilities, name, &records);
        let details = json!({ "version": version, "digest": record.digest, "wider": wider });
        let approved = PluginRecord { held: false, ..record.clone() };
        self.store.put_plugin(&approved, &self.entry(What::PluginApproved, name, details)).await?;
        self.restore_settings(&plugin).await?;
        self.registry.add(plugin);
        self.executor().try_stuck_runs();
        Ok(())
    }

    /// Makes a stored plugin callable again, if it still may be.
    pub(super) async fn revive(&self, record: &PluginRecord) -> Result<Plugin, Error> {
        let digest = record.digest;
        let bytes: Arc<[u8]> = self.read(move |store| store.blobs().get(&digest)).await?.into();
        let description: Description = serde_json::from_value(record.description.clone())
            .map_err(|error| store::Error::Corrupt(format!("the description of {}: {error}", record.name)))?;
        // What was taken once stays, unless this host takes signed plugins only, or it was never used yet.
        if vendor_of(&record.name) != BUILT_IN_VENDOR && (self.rules.signed_only || record.held) {
            let policy = self.policy().await?;
            let file = bytes.clone();
            let look = move || {
                let facts = inspect(&file).map_err(|refusal| InstallError::Examine(refusal.into()))?;
                let signatures = policy.look(&file, &facts)?;
                Ok::<_, InstallError>(policy.accept(&signatures, &description).map(|()| description)?)
            };
            let looked = tokio::task::spawn_blocking(look).await.map_err(|_| store::Error::Closed)?;
            return Ok(self.registry.restore(bytes, looked?).await.map_err(InstallError::from)?);
        }
        Ok(self.registry.restore(bytes, description).await.map_err(InstallError::from)?)
    }

    /// Says, where no version that is used carries out a type, that one would which waits for approval.
    pub(super) fn held_for(held: &[Held], kind: Kind, reference: &TypeRef) -> Option<String> {
        let fits = |held: &&Held| {
            let Held { record, .. } = held;
            let Ok(description) = serde_json::from_value::<Description>(record.description.clone()) else { return false };
            let has_type = match kind {
                Kind::Node => description.nodes.iter().any(|node| node.name == reference.name),
                Kind::Trigger => description.triggers.iter().any(|trigger| trigger.name == reference.name),
            };
            has_type
                && reference.plugin.as_ref() == Some(&record.name)
                && reference.requirement.as_ref().is_none_or(|requirement| requirement.matches(&record.version))
        };
        let Held { record: PluginRecord { name, version, .. }, wider } = held.iter().rfind(fits)?;
        let wider = wider.iter().cloned().collect::<Vec<_>>().join(", ");
        Some(format!("{name} {version} has it, and is held, since it asks for {wider}: `weft plugin approve {name} {version}`"))
    }
}

/// What a version asks for beyond what all approved versions of the plugin do.
pub(super) fn wider(capabilities: &BTreeSet<String>, name: &str, records: &[PluginRecord]) -> BTreeSet<String> {
    let approved = records.iter().filter(|record| record.name == name && !record.held);
    let known: BTreeSet<&String> = approved.flat_map(|record| &record.capabilities).collect();
    capabilities.iter().filter(|capability| !known.contains(capability)).cloned().collect()
}

/// The version that another one would be a step back from: the newest installed of its track (the versions that `^` takes for compatible), or,
/// if there are none of its track, the newest of all. An older track may still get its own newer versions.
pub(super) fn step_back<'a>(version: &Version, installed: impl Iterator<Item = &'a Version> + Clone) -> Option<&'a Version> {
    let track = |version: &Version| match (version.major, version.minor) {
        (0, 0) => (0, 0, version.patch),
        (0, minor) => (0, minor, 0),
        (major, _) => (major, 0, 0),
    };
    let own = installed.clone().filter(|other| track(other) == track(version)).max();
    own.or_else(|| installed.max()).filter(|newest| version < *newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_back_are_told_from_newer_versions_of_an_older_track() {
        let check = |version: &str, installed: &[&str]| {
            let installed: Vec<Version> = installed.iter().map(|version| version.parse().unwrap()).collect();
            step_back(&version.parse().unwrap(), installed.iter()).map(ToString::to_string)
        };
        for (version, installed, newest) in [
            ("1.0.0", &[][..], None),
            ("1.0.1", &["1.0.0"], None),
            ("2.0.0", &["1.0.0"], None),
            ("1.0.0", &["1.0.1"], Some("1.0.1")),
            ("1.0.0-rc.1", &["1.0.0"], Some("1.0.0")),
            ("1.9.1", &["1.9.0", "2.3.0"], None),
            ("1.8.0", &["1.9.0", "2.3.0"], Some("1.9.0")),
            ("1.9.0", &["2.3.0"], Some("2.3.0")),
            ("0.1.9", &["0.1.8", "0.2.0"], None),
            ("0.0.1", &["0.0.2"], Some("0.0.2")),
            ("1.0.0+2", &["1.0.0+1"], None),
        ] {
            assert_eq!(check(version, installed).as_deref(), newest, "{version} after {installed:?}");
        }
    }
}
