//! Folders that are watched: a `.wasm` file that is put into a host's is installed while it runs; a plugin's sources are built when one is saved.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use crate::admin::Admin;
use crate::limits::FOLDER_SETTLE_MS;

/// A folder that is watched until this is dropped.
pub struct Folder {
    _watcher: RecommendedWatcher,
    _task: AbortOnDrop,
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A file as it was when it was last looked at.
type Seen = HashMap<PathBuf, (u64, Option<SystemTime>)>;

impl Folder {
    /// Installs what is in a folder, and then whatever comes to it. The folder is made if it is not there.
    pub async fn watch(path: &Path, admin: Arc<Admin>) -> anyhow::Result<Self> {
        std::fs::create_dir_all(path)?;
        let folder = path.to_owned();
        let (changed, mut changes) = mpsc::channel(1);
        let mut watcher = notify::recommended_watcher(move |_| {
            // One note is enough: whoever gets it looks at the whole folder.
            let _ = changed.try_send(());
        })?;
        watcher.watch(path, RecursiveMode::NonRecursive)?;
        let mut seen = Seen::new();
        look(&folder, &admin, &mut seen).await;
        let task = tokio::spawn(async move {
            while changes.recv().await.is_some() {
                // A copy comes in pieces: look when it has been quiet for a moment.
                while tokio::time::timeout(Duration::from_millis(FOLDER_SETTLE_MS), changes.recv())
                    .await
                    .is_ok_and(|note| note.is_some())
                {}
                look(&folder, &admin, &mut seen).await;
            }
        });
        Ok(Self { _watcher: watcher, _task: AbortOnDrop(task) })
    }
}

/// Installs the files that are new or have changed since the last look.
async fn look(folder: &Path, admin: &Admin, seen: &mut Seen) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut there = Seen::new();
    for entry in entries.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "wasm")
            && let Ok(metadata) = path.metadata()
            && metadata.is_file()
        {
            there.insert(path, (metadata.len(), metadata.modified().ok()));
        }
    }
    let fresh = there.iter().filter(|(path, facts)| seen.get(*path) != Some(facts));
    match &fresh.map(|(path, _)| path.clone()).collect::<Vec<_>>()[..] {
        [path] => admin.install_file(path).await,
        several => admin.install_files(several).await,
    }
    for path in seen.keys().filter(|path| !there.contains_key(*path)) {
        admin.forget_file(path);
    }
    *seen = there;
}

/// The sources of a plugin, watched until this is dropped.
pub struct Sources {
    _watcher: RecommendedWatcher,
    changes: mpsc::Receiver<()>,
}

impl Sources {
    /// Watches a folder and those in it, but not what is built or fetched there.
    pub fn watch(folder: &Path) -> anyhow::Result<Self> {
        let (changed, changes) = mpsc::channel(1);
        let root = folder.to_owned();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            // Reading is no change, or each build would be followed by the next.
            let is_change = matches!(event.kind, EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_));
            if is_change && event.paths.iter().any(|path| is_source(path.strip_prefix(&root).unwrap_or(path))) {
                let _ = changed.try_send(());
            }
        })?;
        watcher.watch(folder, RecursiveMode::Recursive)?;
        Ok(Self { _watcher: watcher, changes })
    }

    /// Waits for a change, and then until it has been quiet for a moment.
    pub async fn changed(&mut self) {
        let _ = self.changes.recv().await;
        let quiet = Duration::from_millis(FOLDER_SETTLE_MS);
        while tokio::time::timeout(quiet, self.changes.recv()).await.is_ok_and(|note| note.is_some()) {}
    }
}

/// Whether a file, by its path below the plugin's folder, is what people write.
fn is_source(path: &Path) -> bool {
    let is_made = |name: &str| ["target", "node_modules", "build"].contains(&name) || name.starts_with('.');
    let is_made_file = path.extension().is_some_and(|extension| extension == "wasm") || path.ends_with("Cargo.lock");
    !is_made_file && !path.iter().any(|name| is_made(&name.to_string_lossy()))
}
