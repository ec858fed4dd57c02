//! Plugins: from a file to something that workflows can use.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use serde::Serialize;
use serde_json::json;

use super::approve::{Unused, step_back, wider};
use super::{Admin, Error};
use crate::digest::Digest;
use crate::limits::PLUGIN_BYTES_MAX;
use crate::plugin::{BUILT_IN_VENDOR, ExamineError, Plugin, Signature, Untrusted, inspect};
use crate::store::{PluginRecord, What};

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
    /// Whether it waits for approval, and is not used till then.
    pub is_held: bool,
}

/// How somebody wants a plugin to be installed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Also if a newer version is installed.
    pub allow_downgrade: bool,
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
    /// Whoever must have signed it did not, or a signature is wrong.
    #[error("the file is refused: {0}")]
    Untrusted(#[from] Untrusted),
    /// An older version than one that is installed.
    #[error(
        "{name} {version} is older than {newest}, which is installed: an old version may have faults that are known; \
         `weft plugin add --allow-downgrade` takes it all the same"
    )]
    Downgrade {
        /// `vendor/name`.
        name: String,
        /// Its version.
        version: semver::Version,
        /// The installed one that it is compared with.
        newest: semver::Version,
    },
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

impl InstallError {
    /// What it is, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Examine(error) => error.code(),
            Self::ReservedVendor(_) => "vendor-reserved",
            Self::VersionTaken { .. } => "version-taken",
            Self::Untrusted(untrusted) => untrusted.code(),
            Self::Downgrade { .. } => "plugin-downgrade",
        }
    }
}

impl Admin {
    /// Installs a plugin: examines it in an empty sandbox, stores it, and lets workflows use it. On an error nothing has
    /// changed.
    pub async fn install(&self, bytes: Vec<u8>, source: Source) -> Result<Installed, Error> {
        self.install_as(bytes, source, Options::default()).await
    }

    /// The same, as somebody wants it.
    pub async fn install_as(&self, bytes: Vec<u8>, source: Source, options: Options) -> Result<Installed, Error> {
        let bytes: Arc<[u8]> = bytes.into();
        let installed = self.try_install(bytes.clone(), source, options).await;
        if let Err(Error::Install(error)) = &installed {
            self.tell_refused(Digest::of(&bytes).to_string(), error).await;
        }
        installed
    }

    async fn try_install(&self, bytes: Arc<[u8]>, source: Source, options: Options) -> Result<Installed, Error> {
        if let Some(plugin) = self.registry.get(&Digest::of(&bytes)) {
            return Ok(Installed { plugin, is_new: false, is_held: false });
        }
        let (plugin, signatures) = self.examine(bytes.clone(), source).await?;
        let description = &plugin.description;
        let is_reserved = description.name.split('/').next() == Some(BUILT_IN_VENDOR);
        if is_reserved && source == Source::Outside {
            return Err(InstallError::ReservedVendor(description.name.clone()).into());
        }
        let _changing = self.changing.lock().await;
        let records = self.read(crate::store::Store::plugins).await?;
        let versions: Vec<&PluginRecord> = records.iter().filter(|record| record.name == description.name).collect();
        // A built-in plugin changes with the program, also while its version stays the same during development.
        if source == Source::Outside {
            self.policy().await?.accept(&signatures, description).map_err(InstallError::from)?;
            let (name, version) = (description.name.clone(), description.version.clone());
            match versions.iter().find(|record| record.version == version) {
                Some(taken) if taken.digest == plugin.digest && taken.held => {
                    return Ok(Installed { plugin: Arc::new(plugin), is_new: false, is_held: true });
                }
                Some(taken) if taken.digest != plugin.digest => {
                    return Err(InstallError::VersionTaken { name, version, installed: taken.digest }.into());
                }
                Some(_) => {}
                None if options.allow_downgrade => {}
                None => {
                    if let Some(newest) = step_back(&version, versions.iter().map(|record| &record.version)).cloned() {
                        return Err(InstallError::Downgrade { name, version, newest }.into());
                    }
                }
            }
        }
        let capabilities = plugin.facts.capabilities();
        let wider = wider(&capabilities, &description.name, &records);
        let is_first = versions.is_empty() && !self.has_grants(&description.name).await?;
        let is_held = source == Source::Outside && !is_first && !wider.is_empty();
        let blobs = self.store.clone();
        tokio::task::spawn_blocking(move || blobs.blobs().put(&bytes)).await.unwrap_or(Err(crate::store::Error::Closed))?;
        let record = PluginRecord {
            name: description.name.clone(),
            version: description.version.clone(),
            digest: plugin.digest,
            description: serde_json::to_value(description).map_err(|error| crate::store::Error::Engine(error.to_string()))?,
            installed_ms: self.clock().now_ms(),
            quarantine: None,
            capabilities,
            signers: signatures.iter().map(|signature| signature.key.fingerprint()).collect(),
            held: is_held,
        };
        let (version, digest) = (&record.version, record.digest);
        let held = is_held.then_some(&wider);
        let details = json!({
            "version": version, "digest": digest, "capabilities": record.capabilities, "signers": record.signers, "held": held,
        });
        self.store.put_plugin(&record, &self.entry(What::PluginAdded, &record.name, details)).await?;
        if is_held {
            tracing::warn!(plugin = record.name, %version, ?wider, "a version is held until what it asks for is approved");
            return Ok(Installed { plugin: Arc::new(plugin), is_new: true, is_held });
        }
        tracing::info!(plugin = record.name, %version, %digest, "installed a plugin");
        self.restore_settings(&plugin).await?;
        self.restore_totals(&plugin).await;
        let plugin = self.registry.add(plugin);
        self.executor().try_stuck_runs();
        Ok(Installed { plugin, is_new: true, is_held })
    }

    /// Finds out what a file is: first what can be told without running it, then in an empty sandbox. Nothing is changed.
    pub(super) async fn examine(&self, bytes: Arc<[u8]>, source: Source) -> Result<(Plugin, Vec<Signature>), Error> {
        let signatures = match source {
            Source::BuiltIn => Vec::new(),
            Source::Outside => {
                let (policy, file) = (self.policy().await?, bytes.clone());
                let look = move || {
                    let facts = inspect(&file).map_err(|refusal| InstallError::Examine(refusal.into()))?;
                    Ok::<_, InstallError>(policy.look(&file, &facts)?)
                };
                tokio::task::spawn_blocking(look).await.map_err(|_| crate::store::Error::Closed)??
            }
        };
        let plugin = self.registry.examine(bytes).await.map_err(InstallError::from)?;
        Ok((plugin, signatures))
    }

    /// Makes stored plugins callable again, after a start. One that cannot be is left out and told of.
    pub async fn restore_plugins(&self) -> Result<usize, Error> {
        let records = self.read(crate::store::Store::plugins).await?;
        let mut readings = self.read(crate::store::Store::readings).await.unwrap_or_else(|error| {
            tracing::error!(%error, "what plugins have taken is counted anew");
            HashMap::new()
        });
        let mut restored = 0;
        for record in records.iter().filter(|record| !record.held) {
            match self.revive(record).await {
                Ok(plugin) => {
                    if let Some(quarantine) = &record.quarantine {
                        plugin.quarantine(quarantine.reason.clone());
                    }
                    self.restore_settings(&plugin).await?;
                    self.go_on(&plugin, readings.remove(&(record.name.clone(), record.version.clone())));
                    self.registry.add(plugin);
                    restored += 1;
                }
                Err(error) => {
                    tracing::error!(plugin = record.name, version = %record.version, %error, "a plugin cannot be used");
                    let code = if let Error::Install(error) = &error { error.code() } else { "unreadable" };
                    let (name, version) = (record.name.clone(), record.version.clone());
                    let unused = Unused { name, version, code, reason: error.to_string() };
                    self.unused.lock().unwrap_or_else(PoisonError::into_inner).push(unused);
                }
            }
        }
        Ok(restored)
    }

    /// Installed versions that this host could not take up when it started.
    pub(super) fn unused_plugins(&self) -> Vec<Unused> {
        let unused = self.unused.lock().unwrap_or_else(PoisonError::into_inner);
        let is_used = |unused: &&Unused| self.registry.release(&unused.name, &unused.version).is_some();
        unused.iter().filter(|unused| !is_used(unused)).cloned().collect()
    }

    /// Installs files of the watched folder that came together, older versions first: none is a step back because of another.
    pub async fn install_files(&self, files: &[PathBuf]) {
        let mut ordered = Vec::new();
        for path in files {
            ordered.push((self.version_in(path).await, path));
        }
        ordered.sort();
        for (_, path) in ordered {
            self.install_file(path).await;
        }
    }

    /// What version a file says that it is; none: it will be refused, and that says why.
    async fn version_in(&self, path: &Path) -> Option<semver::Version> {
        let file = path.to_owned();
        let bytes: Arc<[u8]> = tokio::task::spawn_blocking(move || read_bounded(&file)).await.ok()?.ok()?.into();
        if let Some(plugin) = self.registry.get(&Digest::of(&bytes)) {
            return Some(plugin.description.version.clone());
        }
        let (plugin, _) = self.examine(bytes, Source::Outside).await.ok()?;
        Some(plugin.description.version.clone())
    }

    /// Installs a file of the watched folder, or remembers why it was refused.
    pub async fn install_file(&self, path: &Path) {
        let file = path.to_owned();
        let read = tokio::task::spawn_blocking(move || read_bounded(&file)).await;
        let result = match read.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
            Ok(bytes) => self.try_install(bytes.into(), Source::Outside, Options::default()).await,
            Err(error) => Err(crate::store::Error::Io(path.display().to_string(), error).into()),
        };
        self.forget_file(path);
        let error = match result {
            Ok(installed) => {
                let mut folder = self.in_folder.lock().unwrap_or_else(PoisonError::into_inner);
                folder.insert(path.to_owned(), installed.plugin.digest);
                return;
            }
            Err(error) => error,
        };
        tracing::warn!(path = %path.display(), %error, "a file in the plugin folder was refused");
        if let Error::Install(error) = &error {
            self.tell_refused(path.display().to_string(), error).await;
        }
        let file = RefusedFile { path: path.to_owned(), reason: error.to_string(), refused_ms: self.clock().now_ms() };
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), file);
    }

    async fn tell_refused(&self, on: String, error: &InstallError) {
        self.tell(What::PluginRefused, on, json!({ "code": error.code(), "reason": error.to_string() })).await;
    }

    /// A file of the watched folder is gone, or is a plugin now: what was installed from it stays.
    pub fn forget_file(&self, path: &Path) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
        self.in_folder.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
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
