//! Care for a data folder whose host is stopped: to see whether it is whole, to carry it elsewhere, to make it small.
//!
//! Each of these claims the folder, so that no host can have it meanwhile. None changes what is stored: a store that is made anew takes
//! the old one's place in one step, when it is whole.

mod compact;
mod export;
mod import;
mod verify;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

pub use compact::{Compacted, compact};
pub use export::{Exported, export};
pub use import::import;
#[cfg(test)]
pub(super) use verify::verify_kv;
pub use verify::{Kind, Problem, Report, verify};

use super::folder::{Folder, sync_folder};
use super::kv::{Kv, Order};
use super::{Blobs, SledKv, is_formatted};
use crate::limits::CARE_PAGE_PAIRS;

/// Why a data folder could not be cared for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] super::Error),
    /// There is nothing to care for.
    #[error("{0} holds no store; name the data folder with --data")]
    Missing(PathBuf),
    /// A store is made only where there is none.
    #[error("{0} holds a store already; import into a new folder")]
    Occupied(PathBuf),
    /// A file of the caller's could not be read or written.
    #[error("{0}: {1}")]
    File(PathBuf, #[source] std::io::Error),
    /// The file is not what `export` writes, or not all of it.
    #[error("line {line}: {reason}; nothing was imported")]
    NotAnExport {
        /// Where, from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// The copy is not what was copied.
    #[error("the copy differs from the store; nothing was changed")]
    Differs,
    /// The file system has no exchange of names.
    #[error(
        "the file system of {0} cannot exchange two folders, so nothing was changed; `weft store export` and `import` do the same"
    )]
    NoExchange(PathBuf, #[source] std::io::Error),
}

/// A store that is open for care.
struct Opened {
    kv: SledKv,
    blobs: Blobs,
    // Last, since the engine must be closed before others may have the folder.
    folder: Folder,
}

impl Opened {
    fn open(data: &Path) -> Result<Self, Error> {
        if !data.join("store").is_dir() {
            return Err(Error::Missing(data.to_owned()));
        }
        let folder = Folder::claim(data)?;
        let (kv, blobs) = (SledKv::open(&folder.store())?, Blobs::open(&folder.blobs())?);
        is_formatted(&kv)?;
        Ok(Self { kv, blobs, folder })
    }
}

/// Shows every pair of an engine, in the order of keys.
fn each_pair(kv: &dyn Kv, mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), Error>) -> Result<(), Error> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = kv.scan(&[], after.as_deref(), Order::Ascending, CARE_PAGE_PAIRS)?;
        for (key, value) in &page {
            visit(key, value)?;
        }
        match page.into_iter().next_back() {
            Some((key, _)) => after = Some(key),
            None => return Ok(()),
        }
    }
}

/// Bytes that a folder takes on disk.
fn disk_bytes(folder: &Path) -> Result<u64, super::Error> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).map_err(super::Error::io(folder))? {
        let entry = entry.map_err(super::Error::io(folder))?;
        let facts = entry.metadata().map_err(super::Error::io(&entry.path()))?;
        bytes += if facts.is_dir() { disk_bytes(&entry.path())? } else { facts.blocks() * 512 };
    }
    Ok(bytes)
}

/// Makes every file below a folder durable.
fn sync_tree(folder: &Path) -> Result<(), super::Error> {
    for entry in fs::read_dir(folder).map_err(super::Error::io(folder))? {
        let path = entry.map_err(super::Error::io(folder))?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            fs::File::open(&path).and_then(|file| file.sync_all()).map_err(super::Error::io(&path))?;
        }
    }
    sync_folder(folder)
}

#[cfg(test)]
mod tests;
