//! What plugins may do beyond their runs.

use serde_json::json;

use super::{Admin, Error};
use crate::plugin::{Grants, Plugin};
use crate::store::What;

impl Admin {
    /// What a plugin may do, in all its versions.
    pub async fn grants(&self, name: &str) -> Result<Grants, Error> {
        let plugin = self.any_version(name)?;
        Ok(Grants::clone(&plugin.grants()))
    }

    /// Lets a plugin do this from now on, and nothing else. Calls that go on keep what they had.
    pub async fn set_grants(&self, name: &str, grants: Grants) -> Result<(), Error> {
        let problems = grants.limits.problems();
        if !problems.is_empty() {
            return Err(Error::Setting(problems.join("; ")));
        }
        let _changing = self.changing.lock().await;
        let before = self.any_version(name)?.grants();
        let stored = serde_json::to_value(&grants).map_err(|error| crate::store::Error::Engine(error.to_string()))?;
        let entry = self.entry(What::GrantsChanged, name, json!({ "grants": stored, "before": *before }));
        self.store.put_grants(name, &stored, &entry).await?;
        for plugin in self.registry.list().iter().filter(|plugin| plugin.description.name == name) {
            plugin.grant(grants.clone());
        }
        tracing::info!(plugin = name, grants = %stored, "changed what a plugin may do");
        Ok(())
    }

    pub(super) fn any_version(&self, name: &str) -> Result<std::sync::Arc<Plugin>, Error> {
        let plugins = self.registry.list();
        let found = plugins.into_iter().rfind(|plugin| plugin.description.name == name);
        found.ok_or_else(|| Error::not_found("plugin", name, "; `weft plugin list` shows what is installed"))
    }

    /// Whether anything was ever granted to a plugin of this name, perhaps before it was removed.
    pub(super) async fn has_grants(&self, name: &str) -> Result<bool, Error> {
        let name = name.to_owned();
        let granted = self.read(move |store| store.grants(&name)).await?;
        Ok(granted.is_some_and(|grants| grants != json!({})))
    }

    /// Lets a plugin that has just become callable do what was granted to it before, and requires of it what was required.
    pub(super) async fn restore_settings(&self, plugin: &Plugin) -> Result<(), Error> {
        let name = plugin.description.name.clone();
        let (granted, required) = self.read(move |store| Ok((store.grants(&name)?, store.required_replay(&name)?))).await?;
        if let Some(grants) = granted {
            let read = serde_json::from_value(grants);
            plugin.grant(read.map_err(|error| crate::store::Error::Corrupt(format!("grants: {error}")))?);
        }
        plugin.require_replay(required.map(|replay| replay.last));
        Ok(())
    }
}
