//! Timers, over each engine.

use serde_json::json;

use super::*;
use crate::run::Failure;
use crate::store::care::verify_kv;
use crate::workflow::Key;

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

fn timer(id: &str, at_ms: u64, bytes: usize) -> Timer {
    Timer { id: id.into(), at_ms, payload: json!("x".repeat(bytes)).into(), revision: 1 }
}

fn set_aside(timer: Timer) -> SetAside {
    SetAside { timer, failure: Failure::error("no", "not now"), revision: 1, at_ms: 7 }
}

fn commit(store: &Store, change: TimerChange) -> Result<(), CommitError> {
    block_on(store.commit(vec![Change::Timers(Box::new(change))]))
}

fn ids(store: &Store, workflow: &str) -> Vec<String> {
    store.timers(&key(workflow), 100).unwrap().iter().map(|stored| stored.timer.id.to_string()).collect()
}

#[test]
fn timers_stand_in_the_order_in_which_they_are_due_and_are_spent_once() {
    for (_folder, store) in &stores() {
        let none = TimerChange::none(&key("w"));
        let set = vec![timer("late", 300, 1), timer("early", 100, 20_000), timer("middle", 200, 1)];
        commit(store, TimerChange { set, ..none.clone() }).unwrap();
        commit(store, TimerChange { set: vec![timer("other", 50, 1)], ..TimerChange::none(&key("w-2")) }).unwrap();
        assert_eq!(ids(store, "w"), ["early", "middle", "late"]);
        assert_eq!(store.first_timers().unwrap(), [(key("w"), 100), (key("w-2"), 50)]);
        let first = store.timers(&key("w"), 1).unwrap().remove(0);
        let spent = || Some(Spent::Timer(first.timer.id.clone(), first.seen.clone()));
        // It sets itself again, as a schedule does.
        commit(store, TimerChange { spent: spent(), set: vec![timer("early", 250, 1)], ..none.clone() }).unwrap();
        let again = commit(store, TimerChange { spent: spent(), ..none.clone() });
        assert!(matches!(again, Err(CommitError::Gone)), "{again:?}");
        assert_eq!(ids(store, "w"), ["middle", "early", "late"]);
        let clear = vec!["middle".into(), "unknown".into()];
        commit(store, TimerChange { clear, set: vec![timer("late", 1, 1)], ..none.clone() }).unwrap();
        assert_eq!(ids(store, "w"), ["late", "early"]);
        let first = store.timers(&key("w"), 1).unwrap().remove(0);
        let event = Some(set_aside(first.timer.clone()));
        commit(store, TimerChange { spent: Some(Spent::Timer("late".into(), first.seen)), set_aside: event, ..none.clone() })
            .unwrap();
        let kept = store.set_aside(&key("w"), None, 9).unwrap();
        assert_eq!([9, 0].map(|limit| store.set_aside_count(&key("w"), limit).unwrap()), [1, 0]);
        let touching = TimerChange { set: vec![timer("early", 1, 1), timer("fresh", 1, 1)], ..none.clone() };
        assert_eq!([&none, &touching].map(|change| store.other_timers(change).unwrap()), [1, 0]);
        assert_eq!((kept.len(), &*kept[0].1.timer.id, ids(store, "w").len()), (1, "late", 1));
        assert!(store.set_aside(&key("w"), Some(kept[0].0), 9).unwrap().is_empty());
        // Another revision: all others go, what was set aside stays.
        commit(store, TimerChange { drop_all: true, set: vec![timer("new", 9, 1)], ..none.clone() }).unwrap();
        assert_eq!((ids(store, "w"), store.other_timers(&none).unwrap()), (vec!["new".to_owned()], 1));
        assert_eq!(ids(store, "w-2"), ["other"]);
        commit(store, TimerChange { spent: Some(Spent::SetAside(kept[0].0)), drop_all: true, ..none.clone() }).unwrap();
        let gone = commit(store, TimerChange { spent: Some(Spent::SetAside(kept[0].0)), ..none });
        assert!(matches!(gone, Err(CommitError::Gone)), "{gone:?}");
        assert_eq!(store.first_timers().unwrap(), [(key("w-2"), 50)]);
        let report = verify_kv(&*store.kv, &store.blobs);
        assert!(report.is_clean(), "{:?}", report.problems);
    }
}
