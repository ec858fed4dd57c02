//! One thread that writes: it takes what has been handed in meanwhile, checks it, and makes all of it durable at once.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use tokio::sync::{broadcast, oneshot};

use super::audit::Chain;
use super::kv::{Kv, Op, Order};
use super::record::{Batch, added, changed, inline};
use super::{Error, keys};
use crate::limits::{COMMIT_GATHER, COMMIT_GROUP_BATCHES_MAX, COMMIT_GROUP_BYTES_MAX, COMMITS_KEPT, FOLLOWED_COMMITS_MAX};
use crate::run::RunId;

/// The values of counters that were written since the start.
type Counters = RwLock<HashMap<Vec<u8>, u32>>;

/// A segment that was added to a journal: the run's, with this number.
pub type SegmentOf = (RunId, u32);

/// What became durable at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Counts the commits that changed a run, over restarts.
    pub number: u64,
    /// What was added to which journals.
    pub segments: Arc<[SegmentOf]>,
}

/// Bytes of a segment in the list of commits: a run's id and a number.
const SEGMENT_OF_BYTES: usize = 20;

/// So many fit into one value of the engine.
const SEGMENTS_OF_COMMIT_MAX: usize = 400;

impl Committed {
    fn write(&self) -> (Vec<u8>, Vec<u8>) {
        let bytes = self.segments.iter().flat_map(|(run, segment)| run.as_bytes().iter().copied().chain(segment.to_be_bytes()));
        let (key, content) = (keys::commit(self.number), bytes.collect::<Vec<u8>>());
        let value = inline(&key, &content);
        (key, value)
    }

    /// Reads a commit from its key and its content.
    pub(super) fn read(key: &[u8], content: &[u8]) -> Option<Self> {
        let segments = content.chunks(SEGMENT_OF_BYTES).map(|bytes| {
            let (run, segment) = bytes.split_first_chunk::<16>()?;
            Some((RunId::from_bytes(*run), u32::from_be_bytes(segment.try_into().ok()?)))
        });
        Some(Self { number: keys::number(key)?, segments: segments.collect::<Option<_>>()? })
    }
}

pub(super) struct Writer {
    counters: Arc<Counters>,
    last_commit: Arc<AtomicU64>,
    followers: broadcast::Sender<Committed>,
    sender: Mutex<Option<Sender<Request>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Request {
    batch: Batch,
    done: oneshot::Sender<Result<(), Error>>,
}

impl Writer {
    pub(super) fn start(kv: Arc<dyn Kv>, on_fatal: impl FnOnce(&Error) + Send + 'static) -> Result<Self, Error> {
        let (sender, receiver) = channel();
        let counters = Arc::<Counters>::default();
        let newest = kv.scan(keys::COMMITS, None, Order::Descending, 1)?;
        let last_commit = Arc::new(AtomicU64::new(newest.first().and_then(|(key, _)| keys::number(key)).unwrap_or(0)));
        let followers = broadcast::Sender::new(FOLLOWED_COMMITS_MAX);
        let mut audit = Chain::of(&*kv)?;
        let written = Written { counters: counters.clone(), last_commit: last_commit.clone(), followers: followers.clone() };
        let thread = std::thread::Builder::new()
            .name("weft-store".into())
            .spawn(move || {
                // An engine that panicked may have written half of what it was told.
                let wrote = catch_unwind(AssertUnwindSafe(|| write_groups(&*kv, &written, &mut audit, &receiver)));
                if let Err(error) = wrote.unwrap_or_else(|_| Err(Error::Engine("it panicked".into()))) {
                    on_fatal(&error);
                }
            })
            .expect("the system can start a thread when the host starts");
        Ok(Self { counters, last_commit, followers, sender: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn follow(&self) -> broadcast::Receiver<Committed> {
        self.followers.subscribe()
    }

    pub(super) fn last_commit(&self) -> u64 {
        self.last_commit.load(Ordering::Acquire)
    }

    /// A counter's value, if it was written since the start.
    pub(super) fn counter(&self, key: &[u8]) -> Option<u32> {
        self.counters.read().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    pub(super) async fn commit(&self, batch: Batch) -> Result<(), Error> {
        self.send(batch)?.await.unwrap_or(Err(Error::Closed))
    }

    pub(super) fn commit_blocking(&self, batch: Batch) -> Result<(), Error> {
        self.send(batch)?.blocking_recv().unwrap_or(Err(Error::Closed))
    }

    fn send(&self, batch: Batch) -> Result<oneshot::Receiver<Result<(), Error>>, Error> {
        let (done, receiver) = oneshot::channel();
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        sender.as_ref().ok_or(Error::Closed)?.send(Request { batch, done }).map_err(|_| Error::Closed)?;
        Ok(receiver)
    }

    pub(super) fn stop(&self) {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

/// Where others see what was written.
struct Written {
    counters: Arc<Counters>,
    last_commit: Arc<AtomicU64>,
    followers: broadcast::Sender<Committed>,
}

/// Until every sender is gone or the engine fails.
fn write_groups(kv: &dyn Kv, written: &Written, audit: &mut Chain, receiver: &Receiver<Request>) -> Result<(), Error> {
    let mut is_busy = false;
    while let Ok(first) = receiver.recv() {
        if is_busy {
            // Others are writing too: what they hand in within this moment shares the flush, which costs more than the
            // moment. Sleeping instead of receiving spares them from waking this thread each time.
            std::thread::sleep(COMMIT_GATHER);
        }
        let mut group = Group::default();
        group.take(kv, audit, first)?;
        while group.waiting.len() < COMMIT_GROUP_BATCHES_MAX
            && group.bytes < COMMIT_GROUP_BYTES_MAX
            && let Ok(next) = receiver.try_recv()
        {
            group.take(kv, audit, next)?;
        }
        is_busy = group.waiting.len() > 1;
        group.write(kv, written)?;
    }
    Ok(())
}

#[derive(Default)]
struct Group {
    /// The newest write of each key; later batches see earlier ones.
    writes: HashMap<Vec<u8>, Option<Vec<u8>>>,
    waiting: Vec<oneshot::Sender<Result<(), Error>>>,
    /// Batches whose preconditions do not hold, perhaps because of an earlier one in this group: they are told when that one
    /// can be read.
    refused: Vec<(usize, oneshot::Sender<Result<(), Error>>)>,
    counted: HashMap<Vec<u8>, u32>,
    segments: Vec<SegmentOf>,
    bytes: usize,
}

impl Group {
    fn take(&mut self, kv: &dyn Kv, audit: &mut Chain, request: Request) -> Result<(), Error> {
        let parts = request.batch.into_parts();
        for (place, precondition) in parts.preconditions.iter().enumerate() {
            if !precondition.holds(self.value(kv, precondition.key())?.as_deref()) {
                self.refused.push((place, request.done));
                return Ok(());
            }
        }
        for op in parts.ops {
            match op {
                Op::Put(key, value) => self.writes.insert(key, Some(value)),
                Op::Remove(key) => self.writes.insert(key, None),
            };
        }
        for (key, number) in parts.additions {
            let (sum, value) = added(&key, self.value(kv, &key)?.as_deref(), number)?;
            self.counted.insert(key.clone(), sum);
            self.writes.insert(key, Some(value));
        }
        for (key, change) in parts.totals {
            let value = changed(&key, self.value(kv, &key)?.as_deref(), change)?;
            self.writes.insert(key, Some(value));
        }
        for entry in parts.audit {
            self.writes.extend(audit.append(&entry).map(|(key, value)| (key, Some(value))));
        }
        self.segments.extend(parts.changes);
        self.bytes += parts.bytes;
        self.waiting.push(request.done);
        Ok(())
    }

    /// A key's value after what the group has taken so far.
    fn value(&self, kv: &dyn Kv, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        match self.writes.get(key) {
            Some(value) => Ok(value.clone()),
            None => kv.get(key),
        }
    }

    fn write(mut self, kv: &dyn Kv, written: &Written) -> Result<(), Error> {
        let committed = self.number_segments(written);
        let ops = self.writes.into_iter().map(|(key, value)| match value {
            Some(value) => Op::Put(key, value),
            None => Op::Remove(key),
        });
        if !self.waiting.is_empty() {
            // Whoever waits for what could not be written is told that the store is closed, as it is.
            kv.apply(ops.collect())?;
        }
        if !self.counted.is_empty() {
            written.counters.write().unwrap_or_else(PoisonError::into_inner).extend(self.counted);
        }
        for committed in committed {
            written.last_commit.store(committed.number, Ordering::Release);
            // Nobody may be following.
            let _ = written.followers.send(committed);
        }
        for (place, refused) in self.refused {
            let _ = refused.send(Err(Error::Refused(place)));
        }
        for waiting in self.waiting {
            let _ = waiting.send(Ok(()));
        }
        Ok(())
    }

    /// Adds the segments of this group to the list of commits, and takes as many old ones off its end.
    fn number_segments(&mut self, written: &Written) -> Vec<Committed> {
        let last = written.last_commit.load(Ordering::Acquire);
        let committed: Vec<Committed> = (last + 1..)
            .zip(self.segments.chunks(SEGMENTS_OF_COMMIT_MAX))
            .map(|(number, segments)| Committed { number, segments: segments.into() })
            .collect();
        for committed in &committed {
            let (key, value) = committed.write();
            self.writes.insert(key, Some(value));
            if let Some(oldest) = committed.number.checked_sub(COMMITS_KEPT) {
                self.writes.insert(keys::commit(oldest), None);
            }
        }
        committed
    }
}
