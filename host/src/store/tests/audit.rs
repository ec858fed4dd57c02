//! The audit log: what is edited is named.

use serde_json::json;

use super::*;
use crate::digest::Digest;
use crate::limits::{AUDIT_DETAILS_BYTES_MAX, AUDIT_NAME_BYTES_MAX};
use crate::store::audit::Chain;
use crate::store::record::inline;

fn entry(on: &str) -> AuditEntry {
    AuditEntry { at_ms: 7, who: Who::CommandLine, what: What::GrantsChanged, on: on.into(), details: json!({ "n": on }) }
}

/// Does something that the log tells of.
fn change(store: &Store, name: &str) {
    block_on(store.put_grants(name, &json!({}), &entry(name))).unwrap();
}

fn problems(store: &Store) -> Vec<String> {
    let report = store.verify_audit(None).unwrap();
    assert_eq!(report.problems_found, report.problems.len() as u64);
    report.problems.into_iter().map(|(_, problem)| problem).collect()
}

/// Five changes, and then an edit of the engine's own.
fn edited(edit: impl Fn(&dyn Kv)) -> Vec<(tempfile::TempDir, Store)> {
    let stores = stores();
    for (_, store) in &stores {
        assert_eq!(problems(store), [""; 0]);
        for name in ["a", "b", "c", "d", "e"] {
            change(store, name);
        }
        assert_eq!(problems(store), [""; 0]);
        edit(&*store.kv);
    }
    stores
}

/// The third entry with another name, and the hash that follows from that: what somebody does who knows how.
fn forged(kv: &dyn Kv, number: u64) -> Vec<Op> {
    let content = |number: u64| kv.get(&keys::audit(number)).unwrap().unwrap()[5..].to_vec();
    let text = String::from_utf8(content(number)[32..].to_vec()).unwrap().replace("\"at_ms\":7", "\"at_ms\":8");
    let before = content(number - 1);
    let mut chain = Chain::forged(number - 1, before[..32].try_into().unwrap());
    let [entry, head] = chain.append(text.as_bytes());
    vec![Op::Put(entry.0, entry.1), Op::Put(head.0, head.1)]
}

#[test]
fn an_edit_is_named() {
    type Edit = fn(&dyn Kv);
    let cases: [(Edit, &str); 7] = [
        (
            |kv| {
                let key = keys::audit(3);
                let mut content = kv.get(&key).unwrap().unwrap()[5..].to_vec();
                *content.last_mut().unwrap() = b' ';
                kv.apply(vec![Op::Put(key.clone(), inline(&key, &content))]).unwrap();
            },
            "entry 3 of the audit log is not what was written",
        ),
        (
            |kv| kv.apply(forged(kv, 3)[..1].to_vec()).unwrap(),
            "entry 4 of the audit log is not what was written, or the one before",
        ),
        (|kv| kv.apply(vec![Op::Remove(keys::audit(3))]).unwrap(), "entry 3 of the audit log is missing"),
        (|kv| kv.apply(vec![Op::Remove(keys::audit(4)), Op::Remove(keys::audit(5))]).unwrap(), "entries 4 to 5 of the audit log"),
        (|kv| kv.apply(vec![Op::Remove(keys::audit(1))]).unwrap(), "entry 1 of the audit log is missing"),
        (|kv| kv.apply(forged(kv, 5)[..1].to_vec()).unwrap(), "entry 5 is not the one that the audit log ended with"),
        (|kv| kv.apply(vec![Op::Put(keys::audit(2), b"rubbish".to_vec())]).unwrap(), "entry 2 of the audit log is missing, or"),
    ];
    for (edit, expected) in cases {
        for (folder, store) in edited(edit) {
            let found = problems(&store);
            assert!(found.len() == 1 && found[0].contains(expected), "{expected}: {found:?}");
            // Going on heals nothing.
            store.close();
            let blobs = Blobs::open(&folder.path().join("blobs")).unwrap();
            let again = Store::over(store.kv.clone(), blobs, |error| panic!("{error}")).unwrap();
            change(&again, "f");
            let said = problems(&again);
            assert!(!said.is_empty(), "{expected}: forgotten");
            assert_eq!(again.audit(None, 1).unwrap()[0].number, 6);
        }
    }
}

#[test]
fn a_chain_made_anew_is_told_by_a_hash_that_was_noted() {
    for (_folder, store) in edited(|_| {}) {
        let noted = store.verify_audit(None).unwrap().newest;
        assert_eq!(store.verify_audit(noted).unwrap().problems_found, 0);
        store.kv.apply(forged(&*store.kv, 5)).unwrap();
        assert_eq!(problems(&store), [""; 0], "nothing else tells it");
        assert!(store.verify_audit(noted).unwrap().problems[0].1.contains("entry 5 does not have the hash that was noted"));
    }
}

#[test]
fn entries_come_newest_first_in_pages_and_stay_small() {
    for (_folder, store) in edited(|_| {}) {
        let numbers = |before, limit| store.audit(before, limit).unwrap().iter().map(|entry| entry.number).collect::<Vec<_>>();
        assert_eq!(numbers(None, 2), [5, 4]);
        assert_eq!(numbers(Some(4), 9), [3, 2, 1]);
        assert_eq!(numbers(Some(1), 9), [0; 0]);
        let read = store.audit(None, 1).unwrap().remove(0).entry.unwrap();
        assert_eq!(read, json!({"at_ms": 7, "who": "command line", "what": "grants-changed", "on": "e", "details": {"n": "e"}}));
        let long = AuditEntry { on: "ü".repeat(10_000), details: json!(["\"\u{1}".repeat(100_000)]), ..entry("") };
        block_on(store.record(&long)).unwrap();
        let read = store.audit(None, 1).unwrap().remove(0).entry.unwrap();
        assert!(read["on"].as_str().unwrap().len() <= AUDIT_NAME_BYTES_MAX);
        let details = serde_json::to_string(&long.details).unwrap();
        assert_eq!(read["details"]["digest"], Digest::of(details.as_bytes()).to_string());
        assert!(read["details"].to_string().len() < AUDIT_DETAILS_BYTES_MAX);
        assert_eq!(problems(&store), [""; 0]);
    }
}

#[test]
fn what_is_not_done_leaves_no_entry_and_what_is_done_at_once_leaves_each() {
    for (_folder, store) in stores() {
        // Of two that read the same, one is refused: its change is not there, nor its entry.
        let write = |name: &str| {
            let mut batch = Batch::default();
            batch.expect_absent(b"xkey");
            batch.put(b"xkey", name.as_bytes());
            batch.audit(&entry(name)).unwrap();
            block_on(store.commit_batch(batch))
        };
        assert!(write("1").is_ok() && matches!(write("2"), Err(Error::Conflict)));
        assert!(!block_on(store.remove_secret("other", &entry("3"))).unwrap());
        let on = |store: &Store| {
            let entries = store.audit(None, 1_000).unwrap();
            entries.into_iter().map(|entry| entry.entry.unwrap()["on"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(on(&store), ["1"]);
        let names: Vec<String> = (0..100).map(|n| format!("p{n}")).collect();
        let entries: Vec<AuditEntry> = names.iter().map(|name| entry(name)).collect();
        let value = json!({});
        let all = names.iter().zip(&entries).map(|(name, entry)| store.put_grants(name, &value, entry));
        assert!(block_on(futures_util::future::join_all(all)).iter().all(Result::is_ok));
        let mut found = on(&store);
        assert_eq!(found.len(), 101);
        found.sort();
        found.dedup();
        assert_eq!(found.len(), 101);
        assert_eq!(problems(&store), [""; 0]);
    }
}
