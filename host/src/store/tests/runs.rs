//! What carrying out runs needs of a store: one suite for each that there is, and random changes that must come to the same in all.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::run::{Accepted, Arrival, Entry, FileFacts, FileId, KvKey, Reason, RunId, StagedFile, Status};
use crate::workflow::{Json, Key};

/// A store of runs, and the folder that goes with it.
struct Under {
    _folder: tempfile::TempDir,
    runs: Box<dyn RunStore>,
}

fn all() -> Vec<Under> {
    let over = stores().into_iter().map(|(folder, store)| Under { _folder: folder, runs: Box::new(store) });
    let memory = Under { _folder: tempfile::tempdir().unwrap(), runs: Box::new(MemoryRunStore::default()) };
    over.chain([memory]).collect()
}

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

fn id(number: u64) -> RunId {
    RunId::new(1_000_000 + number, [0; 10])
}

fn head(number: u64, workflow: &str) -> RunHead {
    RunHead::active(id(number), key(workflow), 1_000_000 + number)
}

fn entry(context: &str) -> Entry {
    Entry::Accepted(Accepted {
        at_ms: 1,
        workflow: key("w"),
        revision: 1,
        context: Json::from(serde_json::Value::from(context)),
        synchronous: false,
        queued: false,
        stack: Vec::new(),
        parent: None,
        rerun: None,
    })
}

fn change(head: &RunHead, before: Option<&RunHead>, segments: u32, entries: &[Entry]) -> RunChange {
    RunChange {
        head: head.clone(),
        before: before.cloned(),
        segments,
        entries: entries.to_vec().into(),
        snapshot: None,
        dedup: None,
        waits: Vec::new(),
        waits_no_more: Vec::new(),
        files: Vec::new(),
        forget: false,
    }
}

fn run(change: RunChange) -> Change {
    Change::Run(Box::new(change))
}

fn begin(head: &RunHead) -> Change {
    run(change(head, None, 0, &[entry("x")]))
}

impl Under {
    fn commit(&self, changes: Vec<Change>) -> Result<(), CommitError> {
        block_on(self.runs.commit(changes))
    }

    #[track_caller]
    fn make(&self, changes: Vec<Change>) {
        self.commit(changes).unwrap();
    }

    fn list(&self, filter: RunFilter) -> Vec<u64> {
        let mut found = Vec::new();
        let mut after = filter.after;
        loop {
            let (page, next) = self.runs.runs(&RunFilter { after, limit: 3, ..filter.clone() }).unwrap();
            assert!(page.len() <= 3);
            found.extend(page.iter().map(|head| head.accepted_ms - 1_000_000));
            after = next;
            if after.is_none() {
                return found;
            }
        }
    }
}

#[test]
fn runs_are_listed_by_everything_page_by_page() {
    for store in all() {
        for number in 0..25 {
            let mut head = head(number, if number % 2 == 0 { "even" } else { "odd" });
            head.revision = if number < 10 { 1 } else { 2 };
            if number % 5 == 0 {
                (head.status, head.ended_ms, head.place) = (Status::Failed, Some(1), Place::Ended);
            }
            store.make(vec![begin(&head)]);
        }
        let newest_first: Vec<u64> = (0..25).rev().collect();
        let matching = |fits: fn(&u64) -> bool| newest_first.iter().copied().filter(fits).collect::<Vec<_>>();
        assert_eq!(store.list(RunFilter::default()), newest_first);
        let odd = RunFilter { workflow: Some(key("odd")), ..RunFilter::default() };
        assert_eq!(store.list(odd.clone()), matching(|n| n % 2 == 1));
        assert_eq!(store.list(RunFilter { revision: Some(2), ..odd.clone() }), matching(|n| n % 2 == 1 && *n >= 10));
        let failed = RunFilter { status: Some(Status::Failed), ..RunFilter::default() };
        assert_eq!(store.list(failed.clone()), matching(|n| n % 5 == 0));
        let both = RunFilter { status: Some(Status::Failed), ..odd.clone() };
        assert_eq!(store.list(both.clone()), [15, 5]);
        assert_eq!(store.list(RunFilter { revision: Some(1), ..both }), [5]);
        let within = RunFilter { from_ms: Some(1_000_005), before_ms: Some(1_000_016), ..failed };
        assert_eq!(store.list(within), [15, 10, 5]);
        assert_eq!(store.list(RunFilter { workflow: Some(key("od")), ..RunFilter::default() }), Vec::<u64>::new());
        assert_eq!(store.runs.runs_started(&key("odd")).unwrap(), 12);
        assert_eq!(store.runs.active_runs().unwrap().len(), 20);
    }
}

#[test]
fn a_journal_grows_and_a_run_has_one_place() {
    for store in all() {
        let first = head(1, "w");
        store.make(vec![begin(&first)]);
        assert_eq!(store.runs.active_runs().unwrap(), [first.id]);
        let parked = RunHead { place: Place::Parked(Some(70)), ..first.clone() };
        store.make(vec![run(change(&parked, Some(&first), 1, &[entry("two"), entry(&"three".repeat(100_000))]))]);
        assert_eq!(store.runs.active_runs().unwrap(), []);
        assert_eq!(store.runs.wakes(None, 9).unwrap(), [(70, first.id)]);
        let ended = RunHead { place: Place::Ended, status: Status::Succeeded, ended_ms: Some(2), ..first.clone() };
        store.make(vec![run(change(&ended, Some(&parked), 2, &[entry("four")]))]);
        assert_eq!(store.runs.wakes(None, 9).unwrap(), []);
        let entries = store.runs.journal(first.id).unwrap();
        assert_eq!((entries.len(), &entries[2]), (4, &entry(&"three".repeat(100_000))));
        assert_eq!(store.runs.first_entry(first.id).unwrap(), Some(entry("x")));
        let loaded = store.runs.load(first.id).unwrap().unwrap();
        assert_eq!((loaded.segments, loaded.tail, loaded.entries.len()), (3, 3, 4));
        let status = store.runs.run(first.id).unwrap().unwrap().status;
        assert_eq!(status, Status::Succeeded);
        assert_eq!(store.list(RunFilter { status: Some(Status::Running), ..RunFilter::default() }), Vec::<u64>::new());
        // Somebody who thinks that the run has fewer segments does not carry it out any more.
        let late = store.commit(vec![run(change(&parked, Some(&ended), 2, &[entry("late")]))]);
        assert!(matches!(late, Err(CommitError::Fenced(run)) if run == first.id));
    }
}

#[test]
fn a_snapshot_spares_the_entries_before_it() {
    let definition = json!({"weft": 1, "key": "w", "trigger": {"type": "t"}, "steps": [{"key": "a", "type": "t"}]});
    let plan = crate::workflow::Plan::new(&crate::workflow::Definition::from_value(definition).unwrap(), 1).unwrap();
    for store in all() {
        let head = head(1, "w");
        let state = crate::run::State::begin(&plan, head.id, &entry("x")).unwrap();
        store.make(vec![begin(&head)]);
        let with = RunChange { snapshot: Some(state.clone()), ..change(&head, Some(&head), 1, &[entry("two")]) };
        store.make(vec![run(with)]);
        store.make(vec![run(change(&head, Some(&head), 2, &[entry("three")]))]);
        let loaded = store.runs.load(head.id).unwrap().unwrap();
        assert_eq!(loaded.entries, [entry("three")]);
        assert_eq!((loaded.segments, loaded.tail), (3, 1));
        assert_eq!(format!("{:?}", loaded.snapshot.unwrap()), format!("{state:?}"));
    }
}

#[test]
fn a_dedup_key_makes_one_run_and_refuses_the_whole_batch() {
    for store in all() {
        let with_key = |head: &RunHead| RunChange { dedup: Some("k".into()), ..change(head, None, 0, &[entry("x")]) };
        store.make(vec![run(with_key(&head(1, "w")))]);
        let refused = store.commit(vec![begin(&head(2, "w")), run(with_key(&head(3, "w")))]);
        assert!(matches!(refused, Err(CommitError::Duplicate(1, first)) if first == id(1)));
        assert!(store.runs.run(id(2)).unwrap().is_none() && store.runs.run(id(3)).unwrap().is_none());
        store.make(vec![run(with_key(&head(4, "other")))]);
        let twice = store.commit(vec![run(with_key(&head(5, "third"))), run(with_key(&head(6, "third")))]);
        assert!(matches!(twice, Err(CommitError::Duplicate(1, first)) if first == id(5)), "in one batch too");
        assert_eq!(store.runs.run_of_dedup(&key("w"), "k").unwrap(), Some(id(1)));
        assert_eq!(store.runs.run_of_dedup(&key("w"), "l").unwrap(), None);
        assert_eq!(store.runs.runs_started(&key("w")).unwrap(), 1);
    }
}

#[test]
fn many_at_once_with_one_key_make_one_run() {
    for store in all() {
        let made = AtomicUsize::new(0);
        let (store, made) = (Mutex::new(&*store.runs), &made);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let store = *store.lock().unwrap();
                scope.spawn(move || {
                    for number in 0..50 {
                        let head = head(thread * 1_000 + number, "w");
                        let dedup = Some(format!("key-{number}").into());
                        let begin = RunChange { dedup, ..change(&head, None, 0, &[entry("x")]) };
                        if block_on(store.commit(vec![run(begin)])).is_ok() {
                            made.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(made.load(Ordering::Relaxed), 50);
        assert_eq!(store.lock().unwrap().runs_started(&key("w")).unwrap(), 50);
    }
}

#[test]
fn what_comes_for_a_run_is_taken_up_once_and_in_order() {
    for store in all() {
        let cancel = Arrival::Cancel { reason: Reason::ManualCancel, by: None };
        let signal = |n: u32| Arrival::Signal { name: "s".into(), key: None, payload: json!(n).into() };
        store.make(vec![Change::Arrive(id(1), signal(1)), Change::Arrive(id(1), signal(2)), Change::Arrive(id(2), cancel)]);
        store.make(vec![Change::Arrive(id(1), signal(3))]);
        assert_eq!(store.runs.arrived().unwrap(), [id(1), id(2)]);
        let arrivals = store.runs.arrivals(id(1)).unwrap();
        let inside: Vec<&Arrival> = arrivals.iter().map(|(_, arrival)| arrival).collect();
        assert_eq!(inside, [&signal(1), &signal(2), &signal(3)]);
        store.make(vec![Change::TakeUp(id(1), arrivals[1].0)]);
        let again = store.commit(vec![begin(&head(1, "w")), Change::TakeUp(id(1), arrivals[1].0)]);
        assert!(matches!(again, Err(CommitError::Gone)));
        assert!(store.runs.run(id(1)).unwrap().is_none(), "nothing of the batch is kept");
        assert_eq!(store.runs.arrivals(id(1)).unwrap().len(), 2);
    }
}

#[test]
fn what_is_asked_for_is_answered_once() {
    for store in all() {
        let asked = |number| Asked {
            run: id(number),
            workflow: key("w"),
            context: json!([1]).into(),
            parent: None,
            stack: vec![key("p")],
            synchronous: false,
        };
        store.make(vec![Change::Ask(Box::new(asked(1))), Change::Ask(Box::new(asked(2)))]);
        assert_eq!(store.runs.asked_runs().unwrap(), [id(1), id(2)]);
        assert_eq!(store.runs.asked(id(1)).unwrap(), Some(asked(1)));
        store.make(vec![begin(&head(1, "w")), Change::Answer(id(1))]);
        assert!(matches!(store.commit(vec![Change::Answer(id(1))]), Err(CommitError::Gone)));
        assert_eq!(store.runs.asked_runs().unwrap(), [id(2)]);
    }
}

fn kv(name: &str) -> KvKey {
    KvKey { plugin: "acme/x".into(), workflow: key("w"), key: name.into() }
}

#[test]
fn a_value_that_was_changed_meanwhile_refuses_the_batch() {
    // Above 8 KiB a value is split, and its pieces change without its head.
    for size in [1, 20_000] {
        for store in all() {
            let value = |byte: u8| Some(Bytes::from(vec![byte; size]));
            assert_eq!(store.runs.kv(&kv("a")).unwrap(), (None, None));
            store.make(vec![Change::KvSeen(kv("a"), None), Change::Kv(kv("a"), value(1))]);
            assert!(matches!(store.commit(vec![Change::KvSeen(kv("a"), None)]), Err(CommitError::Changed)));
            let (seen, read) = store.runs.kv(&kv("a")).unwrap();
            assert_eq!(read, value(1));
            store.make(vec![Change::Kv(kv("a"), value(2))]);
            let stale = store.commit(vec![Change::KvSeen(kv("a"), seen), Change::Kv(kv("a"), value(9))]);
            assert!(matches!(stale, Err(CommitError::Changed)), "{size} bytes");
            let (seen, read) = store.runs.kv(&kv("a")).unwrap();
            assert_eq!(read, value(2));
            store.make(vec![Change::KvSeen(kv("a"), seen), Change::Kv(kv("a"), None)]);
            assert_eq!(store.runs.kv(&kv("a")).unwrap(), (None, None));
        }
    }
}

#[test]
fn files_come_and_go_with_their_run() {
    let file = |number: u8, size: usize| StagedFile {
        id: FileId { run: id(1), random: [number; 10] },
        facts: FileFacts { name: "a".into(), media_type: "text/plain".into(), size: u32::try_from(size).unwrap() },
        content: vec![number; size].into(),
    };
    // One inline, one in pieces, one of its own, one empty.
    let files: Vec<StagedFile> = [(1, 10), (2, 20_000), (3, 300_000), (4, 0)].map(|(number, size)| file(number, size)).into();
    for store in all() {
        let (mut first, other) = (head(1, "w"), head(2, "w"));
        store.make(vec![run(RunChange { files: files.clone(), ..change(&first, None, 0, &[entry("x")]) }), begin(&other)]);
        for StagedFile { id, facts, content } in &files {
            assert_eq!(store.runs.file(id).unwrap(), Some((facts.clone(), content.clone())));
        }
        assert_eq!(store.runs.file(&FileId { run: id(2), random: [1; 10] }).unwrap(), None);
        let before = std::mem::replace(&mut first, RunHead { place: Place::Ended, ..head(1, "w") });
        store.make(vec![run(RunChange { forget: true, ..change(&first, Some(&before), 1, &[]) })]);
        assert!(files.iter().all(|file| store.runs.file(&file.id).unwrap().is_none()));
    }
}

fn signal_name(key_of: &str) -> SignalName {
    SignalName { workflow: key("w"), name: "paid".into(), key: key_of.into() }
}

#[test]
fn waits_and_kept_messages_find_each_other() {
    for store in all() {
        let head = head(1, "w");
        let waits = RunChange { waits: vec![signal_name("7"), signal_name("8")], ..change(&head, None, 0, &[entry("x")]) };
        store.make(vec![run(waits)]);
        assert_eq!(store.runs.waiters(&signal_name("7"), 9).unwrap(), [head.id]);
        assert_eq!(store.runs.waiters(&signal_name("9"), 9).unwrap(), []);
        let no_more = RunChange { waits_no_more: vec![signal_name("7")], ..change(&head, Some(&head), 1, &[entry("y")]) };
        store.make(vec![run(no_more)]);
        assert_eq!(store.runs.waiters(&signal_name("7"), 9).unwrap(), []);
        assert_eq!(store.runs.waiters(&signal_name("8"), 9).unwrap(), [head.id]);

        let kept = KeptSignal { name: signal_name("7"), payload: json!(1).into(), sent_ms: 5 };
        store.make(vec![Change::KeepSignal(Box::new(kept.clone())), Change::KeepSignal(Box::new(kept.clone()))]);
        let found = store.runs.kept_signals(&signal_name("7")).unwrap();
        assert_eq!(found.iter().map(|(_, kept)| kept.clone()).collect::<Vec<_>>(), [kept.clone(), kept]);
        store.make(vec![Change::TakeSignal(signal_name("7"), found[0].0)]);
        assert!(matches!(store.commit(vec![Change::TakeSignal(signal_name("7"), found[0].0)]), Err(CommitError::Gone)));
        assert_eq!(store.runs.kept_signals(&signal_name("7")).unwrap().len(), 1);
    }
}

#[test]
fn queues_are_in_order_and_known_by_name() {
    for store in all() {
        for (number, queue) in [(1, "j/b"), (2, "w/a"), (3, "j/b"), (4, "j/bb")] {
            let place = Place::Queued(queue.into());
            store.make(vec![begin(&RunHead { place, status: Status::Queued, ..head(number, "w") })]);
        }
        assert_eq!(store.runs.queues().unwrap(), ["j/b".into(), "j/bb".into(), "w/a".into()] as [Box<str>; 3]);
        assert_eq!(store.runs.queued("j/b", None, 9).unwrap(), [id(1), id(3)]);
        assert_eq!(store.runs.queued("j/b", Some(id(1)), 9).unwrap(), [id(3)]);
        assert_eq!(store.runs.queued("j/none", None, 9).unwrap(), []);
    }
}

#[test]
fn a_run_that_is_to_be_forgotten_leaves_its_count_and_its_key() {
    for store in all() {
        let first = RunHead { dedup: Some(dedup_digest("k")), ..head(1, "w") };
        store.make(vec![run(RunChange { dedup: Some("k".into()), ..change(&first, None, 0, &[entry(&"x".repeat(20_000))]) })]);
        let ended = RunHead { place: Place::Ended, status: Status::Succeeded, ..first.clone() };
        store.make(vec![run(RunChange { forget: true, ..change(&ended, Some(&first), 1, &[entry("y")]) })]);
        let never = RunHead { place: Place::Ended, status: Status::Succeeded, ..head(2, "w") };
        store.make(vec![run(RunChange { forget: true, ..change(&never, None, 0, &[entry("y")]) })]);
        assert_eq!(store.list(RunFilter::default()), Vec::<u64>::new());
        assert_eq!((store.runs.run(id(1)).unwrap(), store.runs.journal(id(1)).unwrap().len()), (None, 0));
        assert_eq!(store.runs.active_runs().unwrap(), []);
        assert_eq!(store.runs.runs_started(&key("w")).unwrap(), 2);
        assert_eq!(store.runs.run_of_dedup(&key("w"), "k").unwrap(), Some(id(1)));
    }
}

#[test]
fn a_deleted_run_leaves_nothing_and_its_key_ends_in_time() {
    for (_folder, store) in stores() {
        let first = RunHead { dedup: Some(dedup_digest("k")), ..head(1, "w") };
        let begin = RunChange { dedup: Some("k".into()), ..change(&first, None, 0, &[entry(&"x".repeat(300_000))]) };
        block_on(RunStore::commit(&store, vec![run(begin)])).unwrap();
        assert!(!block_on(store.delete_run(first.id)).unwrap(), "it goes on");
        let ended = RunHead { place: Place::Ended, ..first.clone() };
        block_on(RunStore::commit(&store, vec![run(change(&ended, Some(&first), 1, &[entry(&"y".repeat(20_000))]))])).unwrap();
        assert!(block_on(store.delete_run(first.id)).unwrap());
        for kind in ["r", "j", "a", "b", "e", "o", "c"] {
            let left = store.kv.scan(kind.as_bytes(), None, Order::Ascending, 9).unwrap();
            assert_eq!(left, [], "{kind}");
        }
        assert_eq!(block_on(store.end_dedup_keys(first.accepted_ms)).unwrap(), 0);
        assert!(store.run_of_dedup(&key("w"), "k").unwrap().is_some());
        assert_eq!(block_on(store.end_dedup_keys(u64::MAX)).unwrap(), 1);
        assert!(store.run_of_dedup(&key("w"), "k").unwrap().is_none());
    }
}

#[test]
fn totals_count_what_has_ended_and_is_kept() {
    for (_folder, store) in stores() {
        let commit = |changes| block_on(RunStore::commit(&store, changes)).unwrap();
        let totals = || store.totals().unwrap().get(&key("w")).copied().unwrap_or_default();
        let first = head(1, "w");
        commit(vec![begin(&first)]);
        assert_eq!(totals(), Totals::default(), "it goes on");
        commit(vec![run(change(&first, Some(&first), 1, &[entry("y")]))]);
        let ended = RunHead { place: Place::Ended, status: Status::Failed, ..first.clone() };
        commit(vec![run(change(&ended, Some(&first), 2, &[entry("z")]))]);
        let bytes = store.run(first.id).unwrap().unwrap().bytes;
        let stored: usize =
            store.scan(&keys::journal(first.id), None, Order::Ascending, 9).unwrap().iter().map(|(_, s)| s.len()).sum();
        assert_eq!(bytes, stored as u64, "every segment counts, whoever wrote the others");
        assert_eq!(totals(), Totals { runs: 1, bytes });
        commit(vec![begin(&RunHead { place: Place::Ended, status: Status::Succeeded, ..head(2, "w") })]);
        assert_eq!(totals().runs, 2);
        let oldest: Vec<RunId> = store.ended_runs(Some(&key("w")), None, 9).unwrap().iter().map(|head| head.id).collect();
        assert_eq!(oldest, [id(1), id(2)], "of all statuses");
        assert_eq!(store.ended_runs(None, Some(id(1)), 9).unwrap()[0].id, id(2));

        let twice = async { tokio::join!(store.delete_run(id(1)), store.delete_run(id(1))) };
        let twice = block_on(twice);
        assert!(twice.0.unwrap() != twice.1.unwrap(), "one of them deletes it");
        assert_eq!(totals().runs, 1);
        // A folder from before there were totals.
        let mut batch = Batch::default();
        [keys::totals(&key("w")), keys::TOTALS_COUNTED.to_vec()].iter().for_each(|key| batch.remove(key, None));
        let counted = totals();
        block_on(store.commit_batch(batch)).unwrap();
        assert_eq!(totals(), Totals::default());
        store.count_totals().unwrap();
        assert_eq!(totals(), counted);
    }
}

#[test]
fn what_was_committed_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let store = Store::open(folder.path(), |error| panic!("{error}")).unwrap();
        assert_eq!(store.runs(&RunFilter { limit: 100, ..RunFilter::default() }).unwrap().0.len(), round as usize);
        assert_eq!(store.last_commit(), round);
        block_on(RunStore::commit(&store, vec![begin(&head(round, "w"))])).unwrap();
        store.close();
        let closed = block_on(RunStore::commit(&store, vec![begin(&head(99, "w"))]));
        assert!(matches!(closed, Err(CommitError::Store(Error::Closed))));
    }
}

#[test]
fn commits_are_numbered_listed_and_followed() {
    for (_folder, store) in stores() {
        let mut followed = store.follow();
        for number in 0..3 {
            block_on(RunStore::commit(&store, vec![begin(&head(number, "w"))])).unwrap();
        }
        let listed = store.committed_after(0, 10).unwrap().unwrap();
        let segments: Vec<_> = listed.iter().flat_map(|commit| commit.segments.iter().copied()).collect();
        assert_eq!(segments, [(id(0), 0), (id(1), 0), (id(2), 0)]);
        assert_eq!(store.committed_after(1, 1).unwrap().unwrap(), listed[1..2]);
        assert_eq!(followed.try_recv().unwrap(), listed[0]);
        assert_eq!(store.last_commit(), 3);
        // One that is not listed any more.
        store.kv.apply(vec![Op::Remove(keys::commit(1))]).unwrap();
        assert_eq!(store.committed_after(1, 1).unwrap(), None);
    }
}

/// A change of the model's: what it becomes depends on what is stored.
#[derive(Clone, Debug)]
enum Step {
    Begin(u8, Option<u8>),
    Grow(u8, u8),
    Arrive(u8),
    TakeUp(u8),
    Ask(u8),
    Answer(u8),
    Set(u8, Option<u8>, bool),
    Keep(u8),
    Take(u8),
    Forget(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let small = 0..6_u8;
    prop_oneof![
        (small.clone(), proptest::option::of(0..3_u8)).prop_map(|(run, key)| Step::Begin(run, key)),
        (small.clone(), 0..4_u8).prop_map(|(run, place)| Step::Grow(run, place)),
        small.clone().prop_map(Step::Arrive),
        small.clone().prop_map(Step::TakeUp),
        small.clone().prop_map(Step::Ask),
        small.clone().prop_map(Step::Answer),
        (small.clone(), proptest::option::of(any::<u8>()), any::<bool>()).prop_map(|(k, v, seen)| Step::Set(k, v, seen)),
        small.clone().prop_map(Step::Keep),
        small.clone().prop_map(Step::Take),
        small.prop_map(Step::Forget),
    ]
}

/// What a store makes of steps: each result, and in the end everything that can be read.
fn perform(store: &dyn RunStore, batches: &[Vec<Step>]) -> Vec<String> {
    let mut told = Vec::new();
    let mut segments: BTreeMap<u8, u32> = BTreeMap::new();
    for batch in batches {
        let mut changes = Vec::new();
        let mut touched = Vec::new();
        for step in batch {
            let before = |run: &u8| store.run(id((*run).into())).unwrap();
            match step {
                Step::Begin(run, dedup) if before(run).is_none() && !touched.contains(run) => {
                    touched.push(*run);
                    let dedup = dedup.map(|key| key.to_string().into());
                    let begin = change(&head((*run).into(), "w"), None, 0, &[entry("x")]);
                    changes.push(self::run(RunChange { dedup, ..begin }));
                }
                Step::Grow(run, place) if !touched.contains(run) => {
                    let Some(old) = before(run) else { continue };
                    touched.push(*run);
                    let (place, status) = match place {
                        0 => (Place::Active, Status::Running),
                        1 => (Place::Parked(Some((*run).into())), Status::Running),
                        2 => (Place::Queued("j/q".into()), Status::Queued),
                        _ => (Place::Ended, Status::Failed),
                    };
                    let next = RunHead { place, status, bytes: 0, ..old.clone() };
                    let wait = signal_name(&run.to_string());
                    let (waits, waits_no_more) = if run % 2 == 0 { (vec![wait], Vec::new()) } else { (Vec::new(), vec![wait]) };
                    let grow = change(&next, Some(&old), segments.get(run).copied().unwrap_or(1), &[entry("y")]);
                    changes.push(self::run(RunChange { waits, waits_no_more, ..grow }));
                }
                Step::Forget(run) if !touched.contains(run) => {
                    let Some(old) = before(run) else { continue };
                    touched.push(*run);
                    let forget = RunChange { forget: true, ..change(&old, Some(&old), 9, &[]) };
                    changes.push(self::run(forget));
                }
                Step::Arrive(run) => {
                    let payload = json!(changes.len()).into();
                    changes.push(Change::Arrive(id((*run).into()), Arrival::Signal { name: "s".into(), key: None, payload }));
                }
                Step::TakeUp(run) => {
                    let run = id((*run).into());
                    let first = store.arrivals(run).unwrap().first().map(|(number, _)| *number);
                    changes.push(Change::TakeUp(run, first.unwrap_or(u64::MAX)));
                }
                Step::Ask(run) => {
                    let (run, workflow, context) = (id((*run).into()), key("w"), Json::null());
                    changes.push(Change::Ask(Box::new(Asked {
                        run,
                        workflow,
                        context,
                        parent: None,
                        stack: Vec::new(),
                        synchronous: false,
                    })));
                }
                Step::Answer(run) => changes.push(Change::Answer(id((*run).into()))),
                Step::Set(name, value, seen) => {
                    let name = kv(&name.to_string());
                    if *seen {
                        changes.push(Change::KvSeen(name.clone(), store.kv(&name).unwrap().0));
                    }
                    let value = value.map(|byte| Bytes::from(vec![byte; usize::from(byte) * 100]));
                    changes.push(Change::Kv(name, value));
                }
                Step::Keep(name) => {
                    let (name, payload) = (signal_name(&name.to_string()), json!(1).into());
                    changes.push(Change::KeepSignal(Box::new(KeptSignal { name, payload, sent_ms: 1 })));
                }
                Step::Take(name) => {
                    let name = signal_name(&name.to_string());
                    let first = store.kept_signals(&name).unwrap().first().map(|(number, _)| *number);
                    changes.push(Change::TakeSignal(name, first.unwrap_or(u64::MAX)));
                }
                _ => {}
            }
        }
        let made = block_on(store.commit(changes.clone()));
        if made.is_ok() {
            for change in &changes {
                if let Change::Run(change) = change {
                    let run = (change.head.accepted_ms - 1_000_000) as u8;
                    let count = if change.forget { 0 } else { change.segments + 1 };
                    segments.insert(run, count);
                }
            }
        }
        // Of several reasons to refuse a batch either may be told.
        told.push(format!("{:?}", made.is_ok()));
    }
    let heads = store.runs(&RunFilter { limit: 50, ..RunFilter::default() }).unwrap().0;
    let strip = |head: RunHead| format!("{:?}", RunHead { bytes: 0, ..head });
    told.extend(heads.into_iter().map(strip));
    for number in 0..6 {
        told.push(format!("{:?}", store.journal(id(number)).unwrap().len()));
        told.push(format!("{:?}", store.arrivals(id(number)).unwrap().iter().map(|(_, a)| a.clone()).collect::<Vec<_>>()));
        told.push(format!("{:?}", store.asked(id(number)).unwrap()));
        told.push(format!("{:?}", store.kv(&kv(&number.to_string())).unwrap().1));
        told.push(format!("{:?}", store.waiters(&signal_name(&number.to_string()), 9).unwrap()));
        told.push(format!("{:?}", store.kept_signals(&signal_name(&number.to_string())).unwrap().len()));
        told.push(format!("{:?}", store.run_of_dedup(&key("w"), &number.to_string()).unwrap()));
    }
    told.push(format!("{:?}", store.active_runs().unwrap()));
    told.push(format!("{:?}", store.wakes(None, 9).unwrap()));
    told.push(format!("{:?} {:?}", store.queues().unwrap(), store.queued("j/q", None, 9).unwrap()));
    told.push(format!("{:?}", store.runs_started(&key("w")).unwrap()));
    told
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn sled_keeps_runs_as_memory_does(batches in proptest::collection::vec(proptest::collection::vec(step(), 1..4), 1..40)) {
        let told: Vec<Vec<String>> = all().iter().map(|store| perform(&*store.runs, &batches)).collect();
        for other in &told[1..] {
            prop_assert_eq!(&told[0], other);
        }
    }
}
