//! What plugins have taken, and what of their hourly budgets is left, over restarts.
//!
//! Counted in memory, kept every few seconds: a crash takes back what was counted since.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::{Admin, Error};
use crate::limits::TOTALS_KEPT_MS;
use crate::plugin::{Plugin, Reading};
use crate::store;

impl Admin {
    /// Keeps what plugins take, for ever.
    pub async fn keep_totals(self: Arc<Self>) {
        loop {
            match self.keep_totals_now().await {
                Ok(()) => {}
                Err(Error::Store(store::Error::Closed)) => return,
                Err(error) => tracing::error!(%error, "what plugins have taken could not be stored; trying again"),
            }
            tokio::time::sleep(Duration::from_millis(TOTALS_KEPT_MS)).await;
        }
    }

    /// Keeps what plugins have taken until now, unless that is kept already.
    pub async fn keep_totals_now(&self) -> Result<(), Error> {
        match self.try_keep_totals().await {
            // One was removed meanwhile: now it is not among them.
            Err(store::Error::Conflict) => Ok(self.try_keep_totals().await?),
            kept => Ok(kept?),
        }
    }

    async fn try_keep_totals(&self) -> Result<(), store::Error> {
        let now_ms = self.clock().now_ms();
        let plugins = self.registry.list();
        let unkept: Vec<(&Plugin, Reading)> =
            plugins.iter().filter_map(|plugin| Some((&**plugin, plugin.unkept(now_ms)?))).collect();
        if unkept.is_empty() {
            return Ok(());
        }
        let named = unkept.iter().map(|(plugin, reading)| (&*plugin.description.name, &plugin.description.version, reading));
        let readings: Vec<_> = named.collect();
        self.store.put_readings(&readings).await?;
        for (plugin, reading) in unkept {
            let (name, calls) = (&plugin.description.name, reading.totals.calls);
            tracing::debug!("kept what {name} {} has taken in {calls} calls", plugin.description.version);
            plugin.kept(reading);
        }
        Ok(())
    }

    /// A version that is added goes on with what it had taken, if it was installed before and could not be used meanwhile.
    pub(super) async fn restore_totals(&self, plugin: &Plugin) {
        let (name, version) = (plugin.description.name.clone(), plugin.description.version.clone());
        match self.read(move |store| store.reading(&name, &version)).await {
            Ok(kept) => self.go_on(plugin, kept),
            Err(error) => tracing::error!(%error, plugin = plugin.description.name, "what it has taken is counted anew"),
        }
    }

    /// Goes on with what was kept of a plugin. What cannot be read is no reason not to use the plugin.
    pub(super) fn go_on(&self, plugin: &Plugin, kept: Option<Value>) {
        match kept.map(serde_json::from_value).transpose() {
            Ok(kept) => plugin.go_on(kept.unwrap_or_default(), self.clock().now_ms()),
            Err(error) => tracing::error!(%error, plugin = plugin.description.name, "what it has taken is counted anew"),
        }
    }
}
