//! What is kept: workflows, revisions, runs and their journals, plugins, secrets.
//!
//! The only module that says `sled`. From below: [`kv`] is what an engine must offer (sled, or memory for tests);
//! `writer` turns many commits into one flush; `record` puts values of any size into an engine that wants small ones;
//! the other files say what is kept under which keys. No method returns before what it wrote is durable.

mod audit;
mod blobs;
pub mod care;
mod catalog;
mod connections;
mod environment;
mod files;
mod folder;
mod history;
mod keys;
pub mod kv;
mod memory;
mod memory_runs;
mod pins;
mod readings;
mod record;
mod run_store;
mod runs;
mod secrets;
mod sled;
mod space;
mod timers;
mod vendors;
mod writer;

use folder::Folder;
use kv::Order;
use record::{Batch, Raw};
use space::Space;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

pub use self::sled::SledKv;
pub use audit::{AuditEntry, AuditReport, Audited, What, Who};
pub use blobs::Blobs;
pub use catalog::{
    Canary, CanaryEnd, Draft, Pin, PluginRecord, Quarantine, QueueRecord, RequiredReplay, Revision, RunEnds, WorkflowHead,
};
pub use connections::SealedConnection;
pub use history::Totals;
pub use kv::{Kv, Precondition};
pub use memory::MemoryKv;
pub use memory_runs::MemoryRunStore;
pub use pins::Pinned;
pub use run_store::{
    ArrivalId, Asked, Change, CommitError, DedupKey, KeptSignal, Loaded, Place, RUN_STATUSES, RunChange, RunFilter, RunHead,
    RunStore, SignalName,
};
pub(crate) use runs::dedup_digest;
pub use secrets::SealedSecret;
pub use timers::{SetAside, Spent, StoredTimer, Timer, TimerChange};
pub use vendors::TrustedKey;
use writer::Writer;
pub use writer::{Committed, SegmentOf};

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was read before writing has changed meanwhile; read again and try again.
    #[error("it was changed by somebody else meanwhile")]
    Conflict,
    /// The precondition of a batch with this place does not hold. Never leaves this module.
    #[error("precondition {0} does not hold")]
    Refused(usize),
    /// What is stored is not what was written.
    #[error("the store is damaged: {0}; run `weft store verify`")]
    Corrupt(String),
    /// The data folder was written by a later version of Weft.
    #[error("the data folder has format {found}, and this version of Weft reads formats up to {known}: use a newer Weft")]
    NewerFormat {
        /// The folder's format.
        found: u32,
        /// The newest format that this version knows.
        known: u32,
    },
    /// Another process has the data folder open.
    #[error("another process has {0} open; one data folder serves one host")]
    Locked(String),
    /// The data folder is on a file system that cannot be relied upon.
    #[error(
        "{folder} is on {file_system}, where what is flushed and locked may not be: put the data folder on a local disk (ext4, xfs)"
    )]
    NotLocal {
        /// The folder.
        folder: String,
        /// The kind of file system.
        file_system: &'static str,
    },
    /// A file or the engine could not be read or written.
    #[error("{0}: {1}")]
    Io(String, #[source] std::io::Error),
    /// The disk is nearly full.
    #[error(
        "the disk is nearly full, so nothing new begins: delete runs or files, keep runs for a shorter time (--history-days), \
         compact the store (`weft store compact`, while the host is stopped), or lower --min-free-bytes"
    )]
    NoSpace,
    /// The engine reported an error of its own.
    #[error("storage engine: {0}")]
    Engine(String),
    /// The store was closed, or its writer has stopped after an error.
    #[error("the store is closed")]
    Closed,
}

impl Error {
    /// Whether the disk is full, or nearly.
    pub fn is_no_space(&self) -> bool {
        match self {
            Self::NoSpace => true,
            Self::Io(_, error) => error.kind() == std::io::ErrorKind::StorageFull,
            _ => false,
        }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.display().to_string();
        move |error| Self::Io(path, error)
    }
}

/// Everything that Weft keeps. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    writer: Arc<Writer>,
    kv: Arc<dyn Kv>,
    blobs: Arc<Blobs>,
    numbers: Arc<Numbers>,
    /// None: it is in no folder.
    place: Option<Arc<InFolder>>,
}

/// What a store that is in a folder knows of it.
struct InFolder {
    space: Space,
    _folder: Folder,
}

/// Numbers that only grow, over restarts too, as long as the clock does not go back by more than a host was down: milliseconds since
/// 1970 with twenty more bits.
#[derive(Default)]
struct Numbers(AtomicU64);

impl Numbers {
    fn next(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(since.as_millis()).unwrap_or(0) << 20;
        let next = |last: u64| Some(now.max(last + 1));
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).map_or(now, |last| now.max(last + 1))
    }
}

/// When a number was given out, in milliseconds since 1970.
fn time_of_number(number: u64) -> u64 {
    number >> 20
}

/// The format of what is stored. Raised when an older Weft could not read what this one writes.
const FORMAT: u32 = 1;

impl Store {
    /// Opens the store of a data folder, making it if there is none.
    ///
    /// `on_fatal` is called, from the writer's thread, when the engine could not write: what is in memory and what is
    /// on disk may differ from then on, so the process must end.
    pub fn open(data: &Path, on_fatal: impl FnOnce(&Error) + Send + 'static) -> Result<Self, Error> {
        let folder = Folder::claim(data)?;
        let (kv, blobs) = (SledKv::open(&folder.store())?, Blobs::open(&folder.blobs())?);
        let store = Self::over(Arc::new(kv), blobs, on_fatal)?;
        let place = InFolder { space: Space::of(data), _folder: folder };
        Ok(Self { place: Some(Arc::new(place)), ..store })
    }

    /// New work is refused from now on while fewer bytes than this are free on the disk; none: as many as suit the disk.
    pub fn keep_free(&self, bytes: Option<u64>) {
        if let Some(place) = &self.place {
            place.space.keep_free(bytes);
        }
    }

    /// A store over any engine.
    pub fn over(kv: Arc<dyn Kv>, blobs: Blobs, on_fatal: impl FnOnce(&Error) + Send + 'static) -> Result<Self, Error> {
        let writer = Arc::new(Writer::start(kv.clone(), on_fatal)?);
        let store = Self { writer, kv, blobs: Arc::new(blobs), numbers: Arc::default(), place: None };
        if !is_formatted(&*store.kv)? {
            let mut batch = Batch::default();
            batch.put(keys::FORMAT, &FORMAT.to_be_bytes());
            store.writer.commit_blocking(batch)?;
        }
        store.count_totals()?;
        Ok(store)
    }

    /// The content-addressed files beside the engine.
    pub fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// Waits for everything that was handed to the store, then stops its writer.
    pub fn close(&self) {
        self.writer.stop();
    }

    /// What is committed from now on.
    pub fn follow(&self) -> tokio::sync::broadcast::Receiver<Committed> {
        self.writer.follow()
    }

    /// What was committed after a number, oldest first, `limit` at most. None: that is too long ago to say.
    pub fn committed_after(&self, number: u64, limit: usize) -> Result<Option<Vec<Committed>>, Error> {
        let after = keys::commit(number);
        if number > 0 && self.kv.get(&after)?.is_none() {
            return Ok(None);
        }
        let pairs = self.scan(keys::COMMITS, Some(&after), Order::Ascending, limit)?;
        pairs
            .iter()
            .map(|(key, bytes)| Committed::read(key, bytes).ok_or_else(|| Error::Corrupt("the list of commits".into())))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// The number of the last commit that changed a run.
    pub fn last_commit(&self) -> u64 {
        self.writer.last_commit()
    }

    fn next_number(&self) -> u64 {
        self.numbers.next()
    }

    async fn commit_batch(&self, batch: Batch) -> Result<(), Error> {
        match self.commit_raw(batch).await {
            Err(Error::Refused(_)) => Err(Error::Conflict),
            other => other,
        }
    }

    async fn commit_raw(&self, mut batch: Batch) -> Result<(), Error> {
        let files = batch.take_blobs();
        if !files.is_empty() {
            let blobs = self.blobs.clone();
            let write = move || files.iter().try_for_each(|bytes| blobs.put(bytes).map(|_| ()));
            tokio::task::spawn_blocking(write).await.unwrap_or(Err(Error::Closed))?;
        }
        self.writer.commit(batch).await
    }

    /// Reads block, for microseconds when the page is cached: what reads much does so off the async threads.
    fn read(&self, key: &[u8]) -> Result<Option<bytes::Bytes>, Error> {
        record::read(&*self.kv, &self.blobs, key)
    }

    fn read_raw(&self, key: &[u8]) -> Result<Option<(Raw, bytes::Bytes)>, Error> {
        record::read_raw(&*self.kv, &self.blobs, key)
    }

    /// Keys under a prefix, with their values as preconditions compare them.
    fn scan_raw(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Raw)>, Error> {
        let pairs = self.kv.scan(prefix, None, Order::Ascending, usize::MAX)?;
        Ok(pairs.into_iter().map(|(key, value)| (key, Raw(value))).collect())
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, bytes::Bytes)>, Error> {
        record::scan(&*self.kv, &self.blobs, prefix, after, order, limit)
    }
}

/// Whether an engine holds a store of a format that this version knows. False: it is empty.
fn is_formatted(kv: &dyn Kv) -> Result<bool, Error> {
    let Some(value) = kv.get(keys::FORMAT)? else { return Ok(false) };
    let found = match record::form(keys::FORMAT, &value)? {
        record::Form::Inline(content) => content.try_into().map(u32::from_be_bytes).ok(),
        _ => None,
    };
    match found {
        Some(found) if found > FORMAT => Err(Error::NewerFormat { found, known: FORMAT }),
        Some(_) => Ok(true),
        None => Err(Error::Corrupt("the number of its format".into())),
    }
}

#[cfg(test)]
mod tests;
