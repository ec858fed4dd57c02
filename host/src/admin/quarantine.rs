//! Plugins that broke again and again.

use std::sync::Arc;

use semver::Version;
use serde_json::json;

use super::{Admin, Error};
use crate::plugin::Plugin;
use crate::store::{Quarantine, What};

impl Admin {
    /// Keeps it over restarts when plugins are put in quarantine, for ever.
    pub async fn keep_quarantine(self: Arc<Self>) {
        loop {
            self.registry.quarantined().await;
            for plugin in self.registry.list() {
                if let Err(error) = self.keep_one(&plugin).await {
                    tracing::error!(%error, plugin = plugin.description.name, "that a plugin is in quarantine could not be stored");
                }
            }
        }
    }

    async fn keep_one(&self, plugin: &Plugin) -> Result<(), Error> {
        let _changing = self.changing.lock().await;
        let Some(reason) = plugin.quarantine_reason() else { return Ok(()) };
        let (name, version) = (&plugin.description.name, &plugin.description.version);
        let records = self.read(crate::store::Store::plugins).await?;
        if records.iter().any(|record| record.digest == plugin.digest && record.quarantine.is_some()) {
            return Ok(());
        }
        tracing::error!(plugin = name, %version, %reason, "a plugin is in quarantine: `weft plugin release` lets it out");
        let quarantine = Quarantine { since_ms: self.clock().now_ms(), reason: reason.to_string() };
        let details = json!({ "version": version, "digest": plugin.digest, "reason": quarantine.reason });
        let entry = self.entry(What::PluginQuarantined, name, details);
        self.store.put_quarantine(name, version, Some(quarantine), &entry).await?;
        Ok(())
    }

    /// Lets a version of a plugin out of quarantine; by default the only one that is there. Runs that it held up go on.
    pub async fn release_plugin(&self, name: &str, version: Option<&Version>) -> Result<Arc<Plugin>, Error> {
        let _changing = self.changing.lock().await;
        let plugins = self.registry.list();
        let of_name = plugins.into_iter().filter(|plugin| plugin.description.name == name);
        let mut candidates = of_name.filter(|plugin| match version {
            Some(version) => plugin.description.version == *version,
            None => plugin.is_quarantined(),
        });
        let plugin = match (candidates.next(), candidates.next()) {
            (Some(plugin), None) => plugin,
            (Some(_), Some(_)) => {
                return Err(Error::Setting(format!("several versions of `{name}` are in quarantine: name one")));
            }
            (None, _) => {
                let hint = "; `weft plugin list` shows what is installed, and what is in quarantine";
                return Err(Error::not_found("plugin in quarantine", name, hint));
            }
        };
        let details = json!({ "version": plugin.description.version, "digest": plugin.digest });
        let entry = self.entry(What::PluginReleased, name, details);
        self.store.put_quarantine(name, &plugin.description.version, None, &entry).await?;
        plugin.release();
        let (executor, digest) = (self.executor().clone(), plugin.digest);
        let told = tokio::task::spawn_blocking(move || executor.released(&digest)).await;
        told.unwrap_or(Err(crate::store::Error::Closed.into()))?;
        self.triggers.try_held_timers();
        tracing::info!(plugin = name, version = %plugin.description.version, "released a plugin from quarantine");
        Ok(plugin)
    }
}
