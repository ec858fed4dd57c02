//! One thread that writes: it takes what has been handed in meanwhile, checks it, and makes all of it durable at once.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::Error;
use super::kv::{Kv, Op};
use super::record::{Batch, added};
use crate::limits::{COMMIT_GATHER, COMMIT_GROUP_BATCHES_MAX, COMMIT_GROUP_BYTES_MAX};

/// The values of counters that were written since the start.
type Counters = RwLock<HashMap<Vec<u8>, u32>>;

pub(super) struct Writer {
    counters: Arc<Counters>,
    sender: Mutex<Option<Sender<Request>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Request {
    batch: Batch,
    done: oneshot::Sender<Result<(), Error>>,
}

impl Writer {
    pub(super) fn start(kv: Arc<dyn Kv>, on_fatal: impl FnOnce(&Error) + Send + 'static) -> Self {
        let (sender, receiver) = channel();
        let counters = Arc::<Counters>::default();
        let written = counters.clone();
        let thread = std::thread::Builder::new()
            .name("weft-store".into())
            .spawn(move || {
                if let Err(error) = write_groups(&*kv, &written, &receiver) {
                    on_fatal(&error);
                }
            })
            .expect("the system can start a thread when the host starts");
        Self { counters, sender: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)) }
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

/// Until every sender is gone or the engine fails.
fn write_groups(kv: &dyn Kv, counters: &Counters, receiver: &Receiver<Request>) -> Result<(), Error> {
    let mut is_busy = false;
    while let Ok(first) = receiver.recv() {
        if is_busy {
            // Others are writing too: what they hand in within this moment shares the flush, which costs more than the
            // moment. Sleeping instead of receiving spares them from waking this thread each time.
            std::thread::sleep(COMMIT_GATHER);
        }
        let mut group = Group::default();
        group.take(kv, first)?;
        while group.waiting.len() < COMMIT_GROUP_BATCHES_MAX
            && group.bytes < COMMIT_GROUP_BYTES_MAX
            && let Ok(next) = receiver.try_recv()
        {
            group.take(kv, next)?;
        }
        is_busy = group.waiting.len() > 1;
        group.write(kv, counters)?;
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
    refused: Vec<oneshot::Sender<Result<(), Error>>>,
    counted: HashMap<Vec<u8>, u32>,
    bytes: usize,
}

impl Group {
    fn take(&mut self, kv: &dyn Kv, request: Request) -> Result<(), Error> {
        let parts = request.batch.into_parts();
        for precondition in &parts.preconditions {
            if !precondition.holds(self.value(kv, precondition.key())?.as_deref()) {
                self.refused.push(request.done);
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

    fn write(self, kv: &dyn Kv, counters: &Counters) -> Result<(), Error> {
        let ops = self.writes.into_iter().map(|(key, value)| match value {
            Some(value) => Op::Put(key, value),
            None => Op::Remove(key),
        });
        let result = if self.waiting.is_empty() { Ok(()) } else { kv.apply(ops.collect()) };
        if result.is_ok() && !self.counted.is_empty() {
            counters.write().unwrap_or_else(PoisonError::into_inner).extend(self.counted);
        }
        for refused in self.refused {
            let _ = refused.send(Err(Error::Conflict));
        }
        for waiting in self.waiting {
            let _ = waiting.send(result.as_ref().copied().map_err(|error| Error::Engine(error.to_string())));
        }
        result
    }
}
