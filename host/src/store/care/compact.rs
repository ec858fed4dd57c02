//! A store made small: what is in it is copied into a fresh engine, which takes its place.
//!
//! The engine gives no space back to the disk. Until the exchange of the two folders, which is one step, the old store is the one that
//! counts; from then on the new one. Whatever stands beside it after a kill is removed by whoever claims the folder next.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{Error, Opened, disk_bytes, each_pair, sync_tree};
use crate::digest::Digest;
use crate::limits::{BLOB_GRACE_MS, CARE_BATCH_BYTES};
use crate::store::catalog::{self, PluginRecord};
use crate::store::folder::{Folder, sync_folder};
use crate::store::kv::{Kv, Op};
use crate::store::record::{self, Form};
use crate::store::{self, Blobs, SledKv};

/// What a compaction came to.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Compacted {
    /// Bytes on disk before, files included.
    pub bytes_before: u64,
    /// And after.
    pub bytes_after: u64,
    /// Keys with their values.
    pub pairs: u64,
    /// Files that nothing referred to, and that were removed.
    pub blobs_removed: u64,
}

/// What was seen of an engine in one pass over it.
#[derive(PartialEq, Eq)]
struct Seen {
    pairs: u64,
    /// Of every key and value.
    sha256: [u8; 32],
    /// Files that something refers to.
    live: BTreeSet<Digest>,
}

/// Copies the store of a data folder into a fresh engine, and removes files that nothing refers to.
pub fn compact(data: &Path) -> Result<Compacted, Error> {
    let Opened { kv, blobs, folder } = Opened::open(data)?;
    let bytes_before = disk_bytes(&folder.store())? + disk_bytes(&folder.blobs())?;
    let seen = match copy(&kv, &blobs, &folder) {
        Ok(seen) => seen,
        Err(error) => {
            folder.remove_fresh()?;
            return Err(error);
        }
    };
    drop(kv);
    sync_tree(&folder.fresh())?;
    exchange(&folder)?;
    sync_folder(data)?;
    folder.remove_fresh()?;
    let before = SystemTime::now() - Duration::from_millis(BLOB_GRACE_MS);
    let (blobs_removed, _) = blobs.sweep(&seen.live, before)?;
    let bytes_after = disk_bytes(&folder.store())? + disk_bytes(&folder.blobs())?;
    Ok(Compacted { bytes_before, bytes_after, pairs: seen.pairs, blobs_removed })
}

/// Copies everything, opens the copy as the next host will, and compares.
fn copy(kv: &SledKv, blobs: &Blobs, folder: &Folder) -> Result<Seen, Error> {
    let fresh = SledKv::open(&folder.fresh())?;
    let (mut ops, mut bytes) = (Vec::new(), 0);
    let seen = look(kv, blobs, |key, value| {
        bytes += key.len() + value.len();
        ops.push(Op::Put(key.to_vec(), value.to_vec()));
        if bytes >= CARE_BATCH_BYTES {
            bytes = 0;
            fresh.apply(std::mem::take(&mut ops))?;
        }
        Ok(())
    })?;
    fresh.apply(ops)?;
    drop(fresh);
    let copied = look(&open_again(&folder.fresh())?, blobs, |_, _| Ok(()))?;
    if copied == seen { Ok(seen) } else { Err(Error::Differs) }
}

/// Opens what this process has just closed: a thread of the engine may hold it for a moment longer. Nobody else has it, since whoever comes
/// here has the data folder.
fn open_again(path: &Path) -> Result<SledKv, store::Error> {
    for _ in 0..500 {
        match SledKv::open(path) {
            Err(store::Error::Locked(_)) => std::thread::sleep(Duration::from_millis(20)),
            opened => return opened,
        }
    }
    SledKv::open(path)
}

/// Goes over every pair, with a look at its checksum.
fn look(kv: &dyn Kv, blobs: &Blobs, mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), Error>) -> Result<Seen, Error> {
    let (mut pairs, mut hash, mut live) = (0, Sha256::new(), BTreeSet::new());
    each_pair(kv, |key, value| {
        if let Form::Blob(digest) = record::form(key, value)? {
            live.insert(digest);
        }
        if key.first() == Some(&b'p') {
            let plugin: PluginRecord = catalog::decode(&record::unwrap(kv, blobs, key, value)?)?;
            live.insert(plugin.digest);
        }
        pairs += 1;
        for part in [key, value] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        visit(key, value)
    })?;
    Ok(Seen { pairs, sha256: hash.finalize().into(), live })
}

/// Gives each of the two engines' folders the other's name, in one step.
fn exchange(folder: &Folder) -> Result<(), Error> {
    let (fresh, store) = (folder.fresh(), folder.store());
    let Err(error) = renameat_with(CWD, &fresh, CWD, &store, RenameFlags::EXCHANGE) else { return Ok(()) };
    folder.remove_fresh()?;
    Err(Error::NoExchange(store, error.into()))
}
