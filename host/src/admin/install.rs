//! Plugins: from a file to something that workflows can use.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use serde::Serialize;

use super::{Admin, Error};
use crate::digest::Digest;
use crate::limits::PLUGIN_BYTES_MAX;
use crate::plugin::{BUILT_IN_VENDOR, ExamineError, Plugin};
use crate::store::PluginRecord;

/// Where a plugin's file comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// It is part of this program.
    BuiltIn,
    /// Somebody gave it.
    Outside,
}

/// A plugin that was installed.
pub struct Installed {
    /// The plugin.
    pub plugin: Arc<Plugin>,
    /// False: the same component was installed before.
    pub is_new: bool,
}

/// A file in the watched folder that is no plugin.
#[derive(Clone, Debug, Serialize)]
pub struct RefusedFile {
    /// Its path.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
    /// When it was looked at, in milliseconds since 1970.
    #[serde(skip)]
    pub refused_ms: u64,
}

/// Why a plugin could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// It is none, or none for this host.
    #[error(transparent)]
    Examine(#[from] ExamineError),
    /// The vendor is reserved.
    #[error("`{0}` has the vendor `{BUILT_IN_VENDOR}`, which is reserved for built-in plugins; give it your own")]
    ReservedVendor(String),
    /// Another component has that name and version.
    #[error("{name} {version} is installed with another content ({installed}); a changed plugin needs a new version")]
    VersionTaken {
        /// `vendor/name`.
        name: String,
        /// Its version.
        version: semver::Version,
        /// The digest of what is installed.
        installed: Digest,
    },
}

impl Admin {
    /// Installs a plugin: examines it in an empty sandbox, stores it, and lets workflows use it. On an error nothing has
    /// changed.
    pub async fn install(&self, bytes: Vec<u8>, source: Source) -> Result<Installed, Error> {
        let bytes: Arc<[u8]> = bytes.into();
        if let Some(plugin) = self.registry.get(&Digest::of(&bytes)) {
            return Ok(Installed { plugin, is_new: false });
        }
        let plugin = self.registry.examine(bytes.clone()).await.map_err(InstallError::from)?;
        let description = &plugin.description;
        let is_reserved = description.name.split('/').next() == Some(BUILT_IN_VENDOR);
        if is_reserved && source == Source::Outside {
            return Err(InstallError::ReservedVendor(description.name.clone()).into());
        }
        let _changing = self.changing.lock().await;
        // A built-in plugin changes with the program, also while its version stays the same during development.
        if let Some(installed) = self.registry.release(&description.name, &description.version)
            && installed.digest != plugin.digest
            && source == Source::Outside
        {
            let (name, version) = (description.name.clone(), description.version.clone());
            return Err(InstallError::VersionTaken { name, version, installed: installed.digest }.into());
        }
        let blobs = self.store.clone();
        tokio::task::spawn_blocking(move || blobs.blobs().put(&bytes)).await.unwrap_or(Err(crate::store::Error::Closed))?;
        let record = PluginRecord {
            name: description.name.clone(),
            version: description.version.clone(),
            digest: plugin.digest,
            description: serde_json::to_value(description).map_err(|error| crate::store::Error::Engine(error.to_string()))?,
            installed_ms: self.clock().now_ms(),
        };
        self.store.put_plugin(&record).await?;
        tracing::info!(plugin = record.name, version = %record.version, digest = %record.digest, "installed a plugin");
        self.restore_grants(&plugin).await?;
        let plugin = self.registry.add(plugin);
        self.executor().try_stuck_runs();
        Ok(Installed { plugin, is_new: true })
    }

    /// Makes stored plugins callable again, after a start. One that cannot be is left out and told of.
    pub async fn restore_plugins(&self) -> Result<usize, Error> {
        let records = self.read(crate::store::Store::plugins).await?;
        let mut restored = 0;
        for record in records {
            let digest = record.digest;
            let restore = async {
                let bytes = self.read(move |store| store.blobs().get(&digest)).await?;
                let description = serde_json::from_value(record.description.clone())
                    .map_err(|error| crate::store::Error::Corrupt(format!("the description of {}: {error}", record.name)))?;
                Ok::<_, Error>(self.registry.restore(bytes.into(), description).await.map_err(InstallError::from)?)
            };
            match restore.await {
                Ok(plugin) => {
                    self.restore_grants(&plugin).await?;
                    self.registry.add(plugin);
                    restored += 1;
                }
                Err(error) => {
                    tracing::error!(plugin = record.name, version = %record.version, %error, "a plugin cannot be used");
                }
            }
        }
        Ok(restored)
    }

    /// Installs a file of the watched folder, or remembers why it was refused.
    pub async fn install_file(&self, path: &Path) {
        let file = path.to_owned();
        let read = tokio::task::spawn_blocking(move || read_bounded(&file)).await;
        let result = match read.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
            Ok(bytes) => self.install(bytes, Source::Outside).await,
            Err(error) => Err(crate::store::Error::Io(path.display().to_string(), error).into()),
        };
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(_) => {
                refused.remove(path);
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a file in the plugin folder was refused");
                let file = RefusedFile { path: path.to_owned(), reason: error.to_string(), refused_ms: self.clock().now_ms() };
                refused.insert(path.to_owned(), file);
            }
        }
    }

    /// A file of the watched folder is gone: what was installed from it stays.
    pub fn forget_file(&self, path: &Path) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
    }

    /// Files of the watched folder that are no plugins.
    pub fn refused_files(&self) -> Vec<RefusedFile> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// A file's content, or as much of it as shows that it is too long for a plugin.
fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(PLUGIN_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
