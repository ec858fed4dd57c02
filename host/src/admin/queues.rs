//! Job queues, as operators set them.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Admin, Error};
use crate::executor::{QueueLimits, job_queue};
use crate::limits::{QUEUE_CONCURRENCY_DEFAULT, RUNS_LIVE_MAX};
use crate::store::{QueueRecord, What};
use crate::workflow::Key;

/// How a job queue is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// Runs that are carried out at one time.
    #[serde(default = "Queue::default_concurrency")]
    pub concurrency: u32,
    /// Of two queues with runs that could begin, the one with more goes first. A workflow's own runs have 0.
    #[serde(default)]
    pub priority: i32,
}

impl Queue {
    fn default_concurrency() -> u32 {
        QUEUE_CONCURRENCY_DEFAULT
    }
}

impl Admin {
    /// Every queue that was set, by name.
    pub async fn queues(&self) -> Result<Vec<(Key, Queue)>, Error> {
        let records = self.read(crate::store::Store::queue_records).await?;
        Ok(records.into_iter().map(|(name, record)| (name, of(&record))).collect())
    }

    /// Sets how a queue is treated from now on.
    pub async fn set_queue(&self, name: &Key, queue: Queue) -> Result<(), Error> {
        if !(1..=RUNS_LIVE_MAX).contains(&queue.concurrency) {
            return Err(Error::Setting(format!("concurrency: {} is not between 1 and {RUNS_LIVE_MAX}", queue.concurrency)));
        }
        let Queue { concurrency, priority } = queue;
        let before = self.queues().await?.into_iter().find(|(known, _)| known == name).map(|(_, queue)| queue);
        let entry = self.entry(What::QueueSet, name.as_str(), json!({ "queue": queue, "before": before }));
        self.store.put_queue(name, &QueueRecord { concurrency, priority }, &entry).await?;
        self.use_queue(name, queue);
        Ok(())
    }

    /// Treats every queue as it was set, after a start.
    pub async fn restore_queues(&self) -> Result<(), Error> {
        for (name, queue) in self.queues().await? {
            self.use_queue(&name, queue);
        }
        Ok(())
    }

    fn use_queue(&self, name: &Key, queue: Queue) {
        let limits = QueueLimits { concurrency: Some(queue.concurrency), priority: queue.priority };
        self.executor().set_queue(&job_queue(name.as_str()), limits);
    }
}

fn of(record: &QueueRecord) -> Queue {
    Queue { concurrency: record.concurrency, priority: record.priority }
}
