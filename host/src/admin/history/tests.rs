//! Histories over a store in memory, with a clock that is moved by hand.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::*;
use crate::digest::Digest;
use crate::run::{Accepted, Entry, Status};
use crate::store::{
    AuditEntry, Blobs, Change, Draft, KeptSignal, MemoryKv, Pin, Place, Revision, RunChange, RunFilter, RunStore as _,
    SignalName, What, Who,
};
use crate::workflow::{Definition, Json};

const NOW_MS: u64 = 100 * DAY_MS;

#[derive(Default)]
struct Moved(AtomicU64);

impl Clock for Moved {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn random(&self) -> [u8; 10] {
        [0; 10]
    }
}

struct World {
    _folder: tempfile::TempDir,
    store: Store,
    clock: Arc<Moved>,
}

fn entry(what: What) -> AuditEntry {
    AuditEntry { at_ms: 1, who: Who::Host, what, on: String::new(), details: Value::Null }
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path()).unwrap();
        let open = || Store::over(Arc::new(MemoryKv::default()), blobs, |error| panic!("{error}"));
        let store = tokio::task::spawn_blocking(open).await.unwrap().unwrap();
        Self { _folder: folder, store, clock: Arc::new(Moved(NOW_MS.into())) }
    }

    fn janitor(&self, keep: Keep) -> Janitor {
        Janitor::new(self.store.clone(), self.clock.clone(), keep)
    }

    /// Publishes a revision with these options and makes it the active one.
    async fn workflow(&self, key: &str, options: Value) {
        let value = json!({"weft": 1, "key": key, "trigger": {"type": "t"}, "options": options});
        let definition = Definition::from_value(value).unwrap();
        let key = definition.key.clone();
        self.store.save_draft(&Draft { definition: definition.clone(), saved_ms: 1 }, None).await.unwrap();
        let number = self.store.workflow(&key).unwrap().unwrap().latest_revision + 1;
        let version = "1.0.0".parse().unwrap();
        let trigger_pin = Pin { plugin: "a/b".into(), version, digest: Digest::of(b""), name: "t".into() };
        let revision = Revision {
            workflow: key.clone(),
            number,
            definition,
            trigger_pin,
            node_pins: BTreeMap::new(),
            author: String::new(),
            message: None,
            published_ms: 1,
        };
        self.store.publish(&revision, &entry(What::WorkflowPublished)).await.unwrap();
        self.store.activate(&key, Some((number, Value::Null)), &[], &entry(What::WorkflowActivated)).await.unwrap();
    }

    /// A run that was accepted and ended at these times; none: it goes on.
    async fn run(&self, workflow: &str, accepted_ms: u64, ended_ms: Option<u64>) -> RunId {
        let head = head(workflow, accepted_ms, ended_ms);
        let entry = Entry::Accepted(Accepted {
            at_ms: accepted_ms,
            workflow: head.workflow.clone(),
            revision: 1,
            context: Json::null(),
            synchronous: false,
            queued: false,
            stack: Vec::new(),
            parent: None,
            rerun: None,
        });
        let id = head.id;
        let change = RunChange {
            head,
            before: None,
            segments: 0,
            entries: vec![entry].into(),
            snapshot: None,
            dedup: None,
            waits: Vec::new(),
            waits_no_more: Vec::new(),
            files: Vec::new(),
            forget: false,
        };
        self.store.commit(vec![Change::Run(Box::new(change))]).await.unwrap();
        id
    }

    /// When the runs that are left were accepted, oldest first.
    fn left(&self, workflow: &str) -> Vec<u64> {
        let filter = RunFilter { workflow: Some(workflow.parse().unwrap()), limit: 1_000, ..RunFilter::default() };
        let mut left: Vec<u64> = self.store.runs(&filter).unwrap().0.iter().map(|head| head.accepted_ms).collect();
        left.reverse();
        left
    }
}

fn head(workflow: &str, accepted_ms: u64, ended_ms: Option<u64>) -> RunHead {
    let mut random = [0; 10];
    random[..workflow.len()].copy_from_slice(workflow.as_bytes());
    let active = RunHead::active(RunId::new(accepted_ms, random), workflow.parse().unwrap(), accepted_ms);
    let (status, place) = match ended_ms {
        Some(_) => (Status::Succeeded, Place::Ended),
        None => (Status::Running, Place::Parked(None)),
    };
    RunHead { status, ended_ms, place, ..active }
}

#[test]
fn what_is_due_is_the_oldest_and_no_more_than_must_be() {
    let heads: Vec<RunHead> =
        (1..=5).map(|day| RunHead { bytes: 10, ..head("w", day * DAY_MS, Some(day * DAY_MS + 1)) }).collect();
    let totals = Totals { runs: 5, bytes: 50 };
    let taken = |keep: Keep, now_days: u64| {
        let (taken, more) = keep.due(totals, now_days * DAY_MS).take(&heads);
        (taken.len(), more)
    };
    let keep = Keep::default();
    assert!(keep.due(totals, NOW_MS).is_nothing());
    assert_eq!(taken(Keep { runs: Some(3), ..keep }, 9), (2, false));
    assert_eq!(taken(Keep { bytes: Some(25), ..keep }, 9), (3, false));
    assert_eq!(taken(Keep { bytes: Some(0), ..keep }, 9), (5, true));
    assert_eq!(taken(Keep { days: Some(4), ..keep }, 6), (1, false));
    assert_eq!(taken(Keep { days: Some(4), runs: Some(3), ..keep }, 6), (2, false));
    // One that took long is old only when its end is.
    let long = [head("w", DAY_MS, Some(8 * DAY_MS)), head("w", 2 * DAY_MS, Some(2 * DAY_MS))];
    let mut due = Keep { days: Some(4), ..keep }.due(totals, 9 * DAY_MS);
    assert_eq!(due.take(&long), (vec![long[1].id], true));
}

#[tokio::test]
async fn a_workflow_keeps_what_its_active_revision_says() {
    let world = World::new().await;
    world.workflow("a", json!({"history": {"runs": 2}})).await;
    world.workflow("b", json!({"history": {"days": 10}})).await;
    world.workflow("c", json!({})).await;
    for workflow in ["a", "b", "c"] {
        for day in [80, 85, 95, 99] {
            world.run(workflow, day * DAY_MS, Some(day * DAY_MS + 5)).await;
        }
        world.run(workflow, DAY_MS, None).await;
    }
    let mut janitor = world.janitor(Keep::default());
    assert_eq!(janitor.look().await.unwrap(), 4);
    assert_eq!(world.left("a"), [DAY_MS, 95 * DAY_MS, 99 * DAY_MS], "what goes on stays and is not counted");
    assert_eq!(world.left("b"), [DAY_MS, 95 * DAY_MS, 99 * DAY_MS]);
    assert_eq!(world.left("c").len(), 5);
    assert_eq!(world.store.runs_started(&"a".parse().unwrap()).unwrap(), 5);

    world.clock.0.fetch_add(7 * DAY_MS, Ordering::Relaxed);
    assert_eq!(janitor.look().await.unwrap(), 1);
    assert_eq!(world.left("b"), [DAY_MS, 99 * DAY_MS]);
    world.workflow("b", json!({"history": {"runs": 0}})).await;
    assert_eq!(janitor.look().await.unwrap(), 1);
    assert_eq!(world.left("b"), [DAY_MS]);
}

#[tokio::test]
async fn a_host_keeps_what_it_is_told_of_all_workflows_together() {
    let world = World::new().await;
    for number in 0..300 {
        world.run(if number % 3 == 0 { "a" } else { "b" }, NOW_MS - 1_000 + number, Some(NOW_MS)).await;
    }
    let all = world.store.totals().unwrap();
    assert_eq!(all.values().map(|totals| totals.runs).sum::<u64>(), 300);
    assert_eq!(world.janitor(Keep { runs: Some(100), ..Keep::default() }).look().await.unwrap(), 200);
    let oldest = world.left("a")[0].min(world.left("b")[0]);
    assert_eq!((world.left("a").len() + world.left("b").len(), oldest), (100, NOW_MS - 800));

    let totals = totals(&world.store, None).unwrap();
    assert_eq!(totals.runs, 100);
    let half = Keep { bytes: Some(totals.bytes / 2), ..Keep::default() };
    assert_eq!(world.janitor(half).look().await.unwrap(), 50);
    assert_eq!(world.janitor(half).look().await.unwrap(), 0, "what is enough is enough");
}

#[tokio::test]
async fn messages_that_nobody_waited_for_end() {
    let world = World::new().await;
    let name = SignalName { workflow: "w".parse().unwrap(), name: "n".into(), key: "k".into() };
    for _ in 0..1_200 {
        let kept = KeptSignal { name: name.clone(), payload: json!("x".repeat(10)).into(), sent_ms: 1 };
        world.store.commit(vec![Change::KeepSignal(Box::new(kept))]).await.unwrap();
    }
    let mut janitor = world.janitor(Keep::default());
    janitor.look().await.unwrap();
    assert_eq!(world.store.kept_signals(&name).unwrap().len(), 1_200, "they came just now");
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    world.clock.0.store(u64::try_from(since.as_millis()).unwrap() + 2 * DAY_MS, Ordering::Relaxed);
    janitor.look().await.unwrap();
    assert_eq!(world.store.kept_signals(&name).unwrap(), []);
}
