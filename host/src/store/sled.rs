//! The sled engine. Rules that keep it from losing data, each found by killing processes and cutting power:
//!
//! 1. One database, written by one thread, many commits to one flush; never `flush_async`, which deadlocks.
//! 2. `flush` does not reach the disk (it is `sync_file_range`): `fdatasync` on our own descriptor after it, and only
//!    then is anything acknowledged.
//! 3. A half-written snapshot is read as the newest one at the next open: such files are removed before.
//! 4. Values above 8 KiB become files that are never flushed: they are refused here and split above.
//! 5. `conf`, which is written once, is never flushed either: that is done here after opening. It says nothing that is not
//!    fixed here, so a damaged one is made anew.
//! 6. For each write it wakes all of its threads, and a commit is two writes: all but one of them are put to sleep for good, which
//!    saves a tenth of the CPU time of a run. It starts others when there is more to write than that one keeps up with.
//! 7. When a write fails, sled may forget to wake whoever flushes. Whoever flushes after that is told of the failure, and wakes
//!    the others: so a flush that takes long gets another one beside it.

use std::fs::File;
use std::future::Future as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::task::{Context, Wake};
use std::thread::JoinHandle;
use std::time::Instant;

use super::Error;
use super::folder::sync_folder;
use super::kv::{KEY_BYTES_MAX, Kv, Op, Order, Pair, VALUE_BYTES_MAX};
use crate::limits::{FLUSH_SLOW, STORE_CACHE_BYTES};

/// A sled database in a folder.
pub struct SledKv {
    db: ::sled::Db,
    /// Our own descriptor of sled's file, to flush it for real.
    file: File,
    path: PathBuf,
    helper: FlushHelper,
}

impl SledKv {
    /// Opens a folder's database, making it if there is none.
    pub fn open(path: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(path).map_err(Error::io(path))?;
        remove_half_written_snapshots(path)?;
        let db = match open_db(path) {
            Err(::sled::Error::Corruption { .. }) => {
                // The log alone says everything; a snapshot only makes opening quicker.
                tracing::warn!(path = %path.display(), "the snapshot is damaged; replaying the whole log");
                set_aside(path)?;
                open_db(path)
            }
            other => other,
        };
        let db = db.map_err(|error| match error {
            ::sled::Error::Io(error) if error.kind() == std::io::ErrorKind::Other || error.raw_os_error() == Some(11) => {
                Error::Locked(path.display().to_string())
            }
            ::sled::Error::Corruption { .. } => {
                Error::Corrupt(format!("{} cannot be opened even without its snapshots; restore it from a copy", path.display()))
            }
            error => engine(&error),
        })?;
        let [conf, file] = ["conf", "db"].map(|name| path.join(name));
        File::open(&conf).and_then(|conf| conf.sync_all()).map_err(Error::io(&conf))?;
        let file = File::open(&file).map_err(Error::io(&file))?;
        file.sync_all().map_err(Error::io(path))?;
        sync_folder(path)?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_folder(parent)?;
        }
        put_threads_to_sleep(&db);
        let helper = FlushHelper::start(db.clone());
        Ok(Self { db, file, path: path.to_owned(), helper })
    }

    fn flush(&self) -> Result<(), Error> {
        self.helper.set(Some(Instant::now()));
        let flushed = self.db.flush();
        self.helper.set(None);
        flushed.map_err(|error| engine(&error))?;
        self.file.sync_data().map_err(Error::io(&self.path))
    }
}

/// Rule 7.
struct FlushHelper {
    /// Since when the writer flushes.
    since: Arc<Mutex<Option<Instant>>>,
    /// Dropped when the store is closed.
    open: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FlushHelper {
    fn start(db: ::sled::Db) -> Self {
        let since = Arc::<Mutex<Option<Instant>>>::default();
        let (open, is_open) = channel::<()>();
        let of_writer = since.clone();
        let help = move || {
            while is_open.recv_timeout(FLUSH_SLOW) == Err(RecvTimeoutError::Timeout) {
                let since = *of_writer.lock().unwrap_or_else(PoisonError::into_inner);
                if since.is_some_and(|since| since.elapsed() >= FLUSH_SLOW) {
                    // On a thread of its own, since it may have to wait as well.
                    let db = db.clone();
                    std::thread::spawn(move || db.flush());
                }
            }
        };
        Self { since, open: Some(open), thread: Some(std::thread::spawn(help)) }
    }

    fn set(&self, since: Option<Instant>) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}

impl Drop for FlushHelper {
    /// The database closes with its last owner.
    fn drop(&mut self) {
        self.open = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Threads that sled has for writing, at all times.
const ENGINE_THREADS: usize = 7;
const ENGINE_THREADS_AWAKE: usize = 1;

/// Rule 6. Once in a process, since all databases share the threads. Whoever completes a flush tells whoever asked for it, and does
/// not come back from that here. What opening wrote, and their flushing waits for, is written by the one that stays awake.
fn put_threads_to_sleep(db: &::sled::Db) {
    struct Sleep;
    impl Wake for Sleep {
        fn wake(self: Arc<Self>) {
            loop {
                std::thread::park();
            }
        }
    }
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        let waker = Arc::new(Sleep).into();
        for _ in ENGINE_THREADS_AWAKE..ENGINE_THREADS {
            let mut flush = std::pin::pin!(db.flush_async());
            // Asked for; nobody wants to know the answer.
            let _ = flush.as_mut().poll(&mut Context::from_waker(&waker));
        }
    });
}

fn open_db(path: &Path) -> Result<::sled::Db, ::sled::Error> {
    let config = ::sled::Config::new().path(path).cache_capacity(STORE_CACHE_BYTES).flush_every_ms(None);
    // When it cannot write, opening panics instead of saying so.
    catch_unwind(AssertUnwindSafe(|| config.open())).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map_or("it panicked", String::as_str);
        Err(::sled::Error::ReportableBug(words.to_owned()))
    })
}

fn snapshots(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(Error::io(path))? {
        let entry = entry.map_err(Error::io(path))?;
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn remove_half_written_snapshots(path: &Path) -> Result<(), Error> {
    for snapshot in snapshots(path)? {
        if snapshot.extension().is_some_and(|extension| extension == "generating") {
            std::fs::remove_file(&snapshot).map_err(Error::io(&snapshot))?;
        }
    }
    Ok(())
}

/// Sets everything aside that can be made anew.
fn set_aside(path: &Path) -> Result<(), Error> {
    let aside = path.join("damaged");
    std::fs::create_dir_all(&aside).map_err(Error::io(&aside))?;
    let conf = Some(path.join("conf")).filter(|conf| conf.exists());
    for file in snapshots(path)?.into_iter().chain(conf) {
        let name = file.file_name().unwrap_or_default();
        std::fs::rename(&file, aside.join(name)).map_err(Error::io(&file))?;
    }
    Ok(())
}

fn engine(error: &::sled::Error) -> Error {
    Error::Engine(error.to_string())
}

impl Kv for SledKv {
    fn apply(&self, ops: Vec<Op>) -> Result<(), Error> {
        let mut batch = ::sled::Batch::default();
        for op in ops {
            assert!(op.key().len() <= KEY_BYTES_MAX, "a key of {} bytes", op.key().len());
            match op {
                Op::Put(key, value) => {
                    assert!(value.len() <= VALUE_BYTES_MAX, "a value of {} bytes", value.len());
                    batch.insert(key, value);
                }
                Op::Remove(key) => batch.remove(key),
            }
        }
        self.db.apply_batch(batch).map_err(|error| engine(&error))?;
        self.flush()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let value = self.db.get(key).map_err(|error| engine(&error))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, order: Order, limit: usize) -> Result<Vec<Pair>, Error> {
        use std::ops::Bound;
        let end = end_of(prefix).map_or(Bound::Unbounded, Bound::Excluded);
        let after = after.map(|after| Bound::Excluded(after.to_vec()));
        let range = match order {
            Order::Ascending => (after.unwrap_or_else(|| Bound::Included(prefix.to_vec())), end),
            Order::Descending => (Bound::Included(prefix.to_vec()), after.unwrap_or(end)),
        };
        let pairs = self.db.range::<Vec<u8>, _>(range);
        let collect = |pairs: &mut dyn Iterator<Item = ::sled::Result<(::sled::IVec, ::sled::IVec)>>| {
            pairs
                .take(limit)
                .map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())).map_err(|error| engine(&error)))
                .collect()
        };
        match order {
            Order::Ascending => collect(&mut { pairs }),
            Order::Descending => collect(&mut pairs.rev()),
        }
    }
}

/// The smallest key above all that begin with a prefix; none when there is no such key.
pub(super) fn end_of(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}
