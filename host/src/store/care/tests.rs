//! Care for small stores, each wrong in one way.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::digest::Digest;
use crate::run::{Accepted, Entry, FileFacts, FileId, RunId, StagedFile, Status};
use crate::store::kv::Op;
use crate::store::record::Batch;
use crate::store::timers::{SetAside, Timer, TimerChange};
use crate::store::{
    Asked, AuditEntry, Change, Draft, KeptSignal, MemoryKv, Pin, Place, PluginRecord, RequiredReplay, Revision, RunChange,
    RunHead, RunStore as _, SealedConnection, SealedSecret, SignalName, Store, TrustedKey, What, Who, keys,
};
use crate::workflow::{Definition, Json, Key};

fn key() -> Key {
    "w".parse().unwrap()
}

fn id(number: u64) -> RunId {
    RunId::new(1_000_000 + number, [0; 10])
}

fn run(number: u64, place: Place, bytes: usize) -> Change {
    let (id, accepted_ms) = (id(number), 1_000_000 + number);
    let status = if place == Place::Ended { Status::Succeeded } else { Status::Running };
    let head = RunHead {
        status,
        place,
        dedup: Some(crate::store::dedup_digest(&number.to_string())),
        ..RunHead::active(id, key(), accepted_ms)
    };
    let entry = Entry::Accepted(Accepted {
        at_ms: accepted_ms,
        workflow: key(),
        revision: 1,
        context: json!("x".repeat(bytes)).into(),
        synchronous: false,
        queued: false,
        stack: Vec::new(),
        parent: None,
        rerun: None,
    });
    let waits = if head.place == Place::Ended { Vec::new() } else { vec![signal()] };
    let facts = FileFacts { name: "a".into(), media_type: "text/plain".into(), size: 1 };
    let file = StagedFile { id: FileId { run: head.id, random: [1; 10] }, facts, content: vec![b'x'].into() };
    Change::Run(Box::new(RunChange {
        head,
        before: None,
        segments: 0,
        entries: vec![entry].into(),
        snapshot: None,
        dedup: Some(number.to_string().into()),
        waits,
        waits_no_more: Vec::new(),
        files: vec![file],
        forget: false,
    }))
}

fn signal() -> SignalName {
    SignalName { workflow: key(), name: "n".into(), key: "k".into() }
}

fn entry(what: What) -> AuditEntry {
    AuditEntry { at_ms: 1, who: Who::AdminToken, what, on: "a".into(), details: json!({}) }
}

/// A store with something of every kind.
async fn fill(store: &Store) {
    let value = json!({"weft": 1, "key": "w", "trigger": {"type": "t"}});
    let definition = Definition::from_value(value).unwrap();
    store.save_draft(&Draft { definition: definition.clone(), saved_ms: 1 }, None).await.unwrap();
    let component = store.blobs().put(b"a component").unwrap();
    let version: semver::Version = "1.0.0".parse().unwrap();
    let trigger_pin = Pin { plugin: "a/b".into(), version: version.clone(), digest: component, name: "t".into() };
    let node_pins = std::collections::BTreeMap::new();
    let (author, message) = (String::new(), None);
    let revision = Revision { workflow: key(), number: 1, definition, trigger_pin, node_pins, author, message, published_ms: 1 };
    store.publish(&revision, &entry(What::WorkflowPublished)).await.unwrap();
    store.keep_draft_of_run(&Revision { number: 0, ..revision }).await.unwrap();
    let plugin = PluginRecord {
        name: "a/b".into(),
        version,
        digest: component,
        description: json!({}),
        installed_ms: 1,
        quarantine: None,
        capabilities: Default::default(),
        signers: Vec::new(),
        held: false,
    };
    let trusted = TrustedKey { vendor: "a".into(), fingerprint: component, pem: String::new(), trusted_ms: 1 };
    assert!(store.put_trusted_key(&trusted, &entry(What::KeyTrusted)).await.unwrap());
    store.put_plugin(&plugin, &entry(What::PluginAdded)).await.unwrap();
    store.put_readings(&[("a/b", &plugin.version, json!({}))]).await.unwrap();
    store.put_grants("a/b", &json!({}), &entry(What::GrantsChanged)).await.unwrap();
    store.put_required_replay("a/b", &RequiredReplay { last: 9 }, &entry(What::ReplayRequired)).await.unwrap();
    let sealed =
        SealedSecret { name: "s".into(), version: 1, set_ms: 1, sealed_key: vec![1], sealed_value: vec![2], hosts: Vec::new() };
    store.put_secret(&sealed, &entry(What::SecretSet)).await.unwrap();
    let (sealed_key, sealed_value) = (vec![1], vec![2]);
    let sealed = SealedConnection { name: "c".into(), version: 1, set_ms: 1, settings: "{}".into(), sealed_key, sealed_value };
    store.put_connection(&sealed, &entry(What::ConnectionSet)).await.unwrap();
    store.put_environment("e", "1", &entry(What::EnvironmentSet)).await.unwrap();
    // Values inline, in pieces, and in a file.
    let places = [Place::Ended, Place::Active, Place::Queued("j/q".into()), Place::Parked(Some(9)), Place::Ended];
    for (number, (place, bytes)) in (1..).zip(places.into_iter().zip([10, 20_000, 300_000, 10, 10])) {
        store.commit(vec![run(number, place, bytes)]).await.unwrap();
    }
    store.delete_run(id(5)).await.unwrap();
    let asked = Asked { run: id(9), workflow: key(), context: Json::null(), parent: None, stack: Vec::new(), synchronous: false };
    let other = SignalName { name: "other".into(), ..signal() };
    let kept = KeptSignal { name: other, payload: Json::null(), sent_ms: 1 };
    store.commit(vec![Change::Ask(Box::new(asked)), Change::KeepSignal(Box::new(kept))]).await.unwrap();
    let timer = Timer { id: "t".into(), at_ms: 9, payload: Json::null(), revision: 1 };
    let failure = crate::run::Failure::error("no", "not now");
    let set_aside = Some(SetAside { timer: timer.clone(), failure, revision: 1, at_ms: 9 });
    let timers = TimerChange { set: vec![timer], set_aside, ..TimerChange::none(&key()) };
    store.commit(vec![Change::Timers(Box::new(timers))]).await.unwrap();
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A filled store in memory.
fn filled() -> (tempfile::TempDir, Arc<MemoryKv>, Blobs) {
    let folder = tempfile::tempdir().unwrap();
    let kv = Arc::new(MemoryKv::default());
    let blobs = || Blobs::open(folder.path()).unwrap();
    let store = Store::over(kv.clone(), blobs(), |error| panic!("{error}")).unwrap();
    block_on(fill(&store));
    store.close();
    let blobs = blobs();
    (folder, kv, blobs)
}

/// A filled store in a data folder.
fn filled_folder() -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path(), |error| panic!("{error}")).unwrap();
    block_on(fill(&store));
    store.close();
    data
}

/// Every value that an export keeps, whole.
fn pairs(data: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let Opened { kv, blobs, folder: _folder } = Opened::open(data).unwrap();
    let mut found = Vec::new();
    each_pair(&kv, |key, value| {
        if key[0] != b'c' {
            found.push((key.to_vec(), crate::store::record::unwrap(&kv, &blobs, key, value)?.to_vec()));
        }
        Ok(())
    })
    .unwrap();
    found
}

#[test]
fn a_whole_store_has_no_problems() {
    let (_folder, kv, blobs) = filled();
    let report = verify::verify_kv(&*kv, &blobs);
    assert_eq!(report.problems, []);
    let kinds: Vec<&str> = report.kinds.iter().map(|kind| kind.name).collect();
    for (_, name) in keys::KINDS.iter().filter(|(kind, _)| !b"Quxz".contains(kind)) {
        assert!(kinds.contains(name), "{name} in {kinds:?}");
    }
    assert_eq!((report.blobs.count, report.unreferenced_blobs.count), (2, 0));
}

#[test]
fn every_kind_of_damage_is_named() {
    let first = |kv: &MemoryKv, prefix: &[u8]| kv.scan(prefix, None, Order::Ascending, 1).unwrap().remove(0);
    type Damage = fn(&MemoryKv, (Vec<u8>, Vec<u8>)) -> Vec<Op>;
    let remove: Damage = |_, (key, _)| vec![Op::Remove(key)];
    let flip: Damage = |_, (key, mut value)| {
        *value.last_mut().unwrap() ^= 1;
        vec![Op::Put(key, value)]
    };
    let shift: Damage = |_, (mut key, _)| {
        *key.last_mut().unwrap() ^= 1;
        let mut batch = Batch::default();
        batch.put(&key, &[]);
        batch.into_parts().ops
    };
    let cases: [(&[u8], Damage, &str); 22] = [
        (b"r", flip, "checksum"),
        (b"r", remove, "there is no run"),
        (b"j", remove, "no journal"),
        (b"j", flip, "checksum"),
        (b"c", remove, "checksum or form"),
        (b"c", flip, "checksum or form"),
        (b"a", remove, "does not stand in the index"),
        (b"b", remove, "does not stand in the index"),
        (b"t", remove, "does not stand in the index"),
        (b"q", remove, "does not stand in the index"),
        (b"e", shift, "there is no run"),
        (b"o", shift, "there is no run"),
        (b"v", remove, "revision 1 is not there"),
        (b"d", remove, "draft is not there"),
        (b"n", remove, "counter says 0"),
        (b"N", remove, "are said"),
        (b"k", flip, "checksum"),
        (b"p", flip, "checksum"),
        (b"p", remove, "its plugin is not there"),
        (b"A", remove, "the end of the audit log is not there"),
        (b"A\0", remove, "entry 1 of the audit log is missing"),
        (b"A\0", flip, "entry 1 of the audit log is missing, or cannot be read"),
    ];
    for (prefix, damage, expected) in cases {
        let (_folder, kv, blobs) = filled();
        let ops = damage(&kv, first(&kv, prefix));
        kv.apply(ops).unwrap();
        let report = verify::verify_kv(&*kv, &blobs);
        assert!(!report.is_clean());
        let said = format!("{:?}", report.problems);
        assert!(said.contains(expected), "{} {expected}: {said}", String::from_utf8_lossy(prefix));
        assert!(report.problems.iter().all(|problem| !problem.remedy.is_empty()));
    }
    let (folder, kv, blobs) = filled();
    kv.apply(vec![Op::Put(b"?x".to_vec(), b"y".to_vec())]).unwrap();
    assert!(verify::verify_kv(&*kv, &blobs).problems[0].problem.contains("no such kind"));
    std::fs::write(folder.path().join(Digest::of(b"a component").hex()), b"another").unwrap();
    assert_eq!(verify::verify_kv(&*kv, &blobs).problems_found, 2);
    std::fs::remove_file(folder.path().join(Digest::of(b"a component").hex())).unwrap();
    assert_eq!(verify::verify_kv(&*kv, &blobs).problems_found, 2);
}

#[test]
fn what_was_exported_is_imported_whole() {
    let data = filled_folder();
    let new = tempfile::tempdir().unwrap();
    let file = new.path().join("export");
    let exported = export(data.path(), &file).unwrap();
    assert_eq!(exported.blobs, 1);
    let imported = import(&new.path().join("data"), &file).unwrap();
    assert_eq!(imported, exported);
    assert_eq!(pairs(&new.path().join("data")), pairs(data.path()));
    assert!(verify(&new.path().join("data")).unwrap().is_clean());
    assert!(matches!(import(&new.path().join("data"), &file), Err(Error::Occupied(_))));
    assert!(!new.path().join("export.part").exists());
    assert!(matches!(export(&new.path().join("nothing"), &file), Err(Error::Missing(_))));
}

#[test]
fn a_file_that_is_not_whole_makes_no_store() {
    let data = filled_folder();
    let new = tempfile::tempdir().unwrap();
    let (file, made) = (new.path().join("export"), new.path().join("data"));
    export(data.path(), &file).unwrap();
    let whole = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let without = |line: usize| [&lines[..line], &lines[line + 1..]].concat().concat();
    let cases = [
        (whole[..whole.len() - 1].to_owned(), "cut off"),
        (lines[..lines.len() - 1].concat(), "cut off"),
        (without(lines.len() / 2), "SHA-256"),
        (without(0), "its header"),
        (whole.clone() + "{}\n", "follows the end"),
        (whole.replacen("\"weft_export\":1", "\"weft_export\":9", 1), "later version"),
        (whole.replacen("\"store_format\":1", "\"store_format\":9", 1), "format 9"),
        (String::new(), "cut off"),
        ("hello\n".into(), "no line of an export"),
    ];
    for (text, expected) in cases {
        std::fs::write(&file, text).unwrap();
        let error = import(&made, &file).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(!made.join("store").exists() && !made.join("store.new").exists());
    }
    std::fs::write(&file, whole).unwrap();
    import(&made, &file).unwrap();
}

#[test]
fn compaction_keeps_everything_but_what_nothing_refers_to() {
    let data = filled_folder();
    let before = pairs(data.path());
    let blobs = Blobs::open(&data.path().join("blobs")).unwrap();
    let [old, young] = [b"old", b"new"].map(|bytes| blobs.put(bytes).unwrap());
    let past = std::time::SystemTime::now() - std::time::Duration::from_secs(3 * 60 * 60);
    for digest in [old, Digest::of(b"a component")] {
        let path = data.path().join("blobs").join(digest.hex());
        std::fs::File::options().write(true).open(path).unwrap().set_modified(past).unwrap();
    }
    let compacted = compact(data.path()).unwrap();
    assert_eq!(compacted.blobs_removed, 1, "the young one may be about to be referred to");
    assert!(blobs.get(&young).is_ok() && blobs.get(&old).is_err());
    assert_eq!(pairs(data.path()), before);
    assert!(verify(data.path()).unwrap().is_clean());
    assert!(!data.path().join("store.new").exists());
}

#[test]
fn a_folder_in_use_is_left_alone() {
    let data = filled_folder();
    let store = Store::open(data.path(), |error| panic!("{error}")).unwrap();
    let locked = |error: Error| matches!(error, Error::Store(crate::store::Error::Locked(_)));
    assert!(locked(verify(data.path()).unwrap_err()));
    assert!(locked(compact(data.path()).unwrap_err()));
    assert!(locked(export(data.path(), &data.path().join("x")).unwrap_err()));
    store.close();
}
