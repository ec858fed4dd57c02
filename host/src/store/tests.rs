//! The store over each engine: the same suite for all.

use proptest::prelude::*;

use super::kv::{Op, Pair};
use super::*;

mod audit;
mod readings;
mod runs;
mod timers;

/// Stores over each engine, in folders that go with them.
fn stores() -> Vec<(tempfile::TempDir, Store)> {
    let memory: fn(&Path) -> Arc<dyn Kv> = |_| Arc::new(MemoryKv::default());
    let sled: fn(&Path) -> Arc<dyn Kv> = |path| Arc::new(SledKv::open(path).unwrap());
    let open = |engine: fn(&Path) -> Arc<dyn Kv>| {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(&folder.path().join("blobs")).unwrap();
        let kv = engine(&folder.path().join("store"));
        (folder, Store::over(kv, blobs, |error| panic!("{error}")).unwrap())
    };
    vec![open(memory), open(sled)]
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn values_of_every_size_read_back_and_leave_nothing_behind() {
    for (_folder, store) in stores() {
        let sizes = [0, 1, 8_187, 8_188, 100_000, 256 * 1024, 256 * 1024 + 1, 1_000_000, 20_000, 3];
        for size in sizes {
            let value: Vec<u8> = (0..size).map(|n: usize| (n % 251) as u8).collect();
            let old = store.read_raw(b"xkey").unwrap().map(|(raw, _)| raw);
            let mut batch = Batch::default();
            batch.replace(b"xkey", &value, old.as_ref());
            block_on(store.commit_batch(batch)).unwrap();
            assert_eq!(store.read(b"xkey").unwrap().unwrap(), value, "{size} bytes");
        }
        let pieces = store.kv.scan(b"c", None, Order::Ascending, 100).unwrap();
        assert_eq!(pieces.len(), 0, "pieces of older values are gone");
    }
}

#[test]
fn damage_is_found() {
    for (_folder, store) in stores() {
        let mut batch = Batch::default();
        batch.put(b"xkey", b"value");
        batch.put(b"xlong", &[7; 20_000]);
        block_on(store.commit_batch(batch)).unwrap();
        for key in [b"xkey".to_vec(), keys::piece(b"xlong", 1)] {
            let good = store.kv.get(&key).unwrap().unwrap();
            for at in 0..good.len().min(40) {
                let mut bad = good.clone();
                bad[at] ^= 1;
                store.kv.apply(vec![Op::Put(key.clone(), bad)]).unwrap();
                let read = store.read(if key[0] == b'x' { b"xkey" } else { b"xlong" });
                assert!(matches!(read, Err(Error::Corrupt(_))), "byte {at}");
            }
            store.kv.apply(vec![Op::Put(key, good)]).unwrap();
        }
        // A value in another one's place is damage too.
        let value = store.kv.get(b"xkey").unwrap().unwrap();
        store.kv.apply(vec![Op::Put(b"xother".to_vec(), value)]).unwrap();
        assert!(matches!(store.read(b"xother"), Err(Error::Corrupt(_))));
    }
}

#[test]
fn a_draft_that_was_changed_meanwhile_is_not_overwritten() {
    for (_folder, store) in stores() {
        let draft = |title: &str| {
            let value = serde_json::json!({"weft": 1, "key": "w", "title": title, "trigger": {"type": "t"}});
            Draft { definition: crate::workflow::Definition::from_value(value).unwrap(), saved_ms: 1 }
        };
        let first = block_on(store.save_draft(&draft("one"), None)).unwrap();
        let second = block_on(store.save_draft(&draft("two"), Some(&first))).unwrap();
        assert!(matches!(block_on(store.save_draft(&draft("three"), Some(&first))), Err(Error::Conflict)));
        let (found, etag) = store.draft(&"w".parse().unwrap()).unwrap().unwrap();
        assert_eq!((found.definition.title.as_deref(), etag), (Some("two"), second));
    }
}

#[test]
fn a_folder_serves_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let _first = SledKv::open(folder.path()).unwrap();
    assert!(matches!(SledKv::open(folder.path()), Err(Error::Locked(_))));
}

#[test]
fn a_half_written_snapshot_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let kv = SledKv::open(folder.path()).unwrap();
    kv.apply(vec![Op::Put(b"a".to_vec(), b"1".to_vec())]).unwrap();
    drop(kv);
    std::fs::write(folder.path().join("snap.ffffffffffffffff.generating"), b"half").unwrap();
    let kv = SledKv::open(folder.path()).unwrap();
    assert_eq!(kv.get(b"a").unwrap(), Some(b"1".to_vec()));
}

#[test]
fn a_damaged_snapshot_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let kv = SledKv::open(folder.path()).unwrap();
    kv.apply(vec![Op::Put(b"a".to_vec(), b"1".to_vec())]).unwrap();
    drop(kv);
    std::fs::write(folder.path().join("snap.ffffffffffffffff"), b"nonsense").unwrap();
    let kv = SledKv::open(folder.path()).unwrap();
    assert_eq!(kv.get(b"a").unwrap(), Some(b"1".to_vec()));
    assert!(folder.path().join("damaged/snap.ffffffffffffffff").exists());
}

#[test]
fn a_damaged_conf_is_made_anew() {
    for conf in [vec![0; 42], vec![0; 3], vec![7; 42]] {
        let folder = tempfile::tempdir().unwrap();
        let kv = SledKv::open(folder.path()).unwrap();
        kv.apply(vec![Op::Put(b"a".to_vec(), b"1".to_vec())]).unwrap();
        drop(kv);
        std::fs::write(folder.path().join("conf"), &conf).unwrap();
        let kv = SledKv::open(folder.path()).unwrap();
        assert_eq!(kv.get(b"a").unwrap(), Some(b"1".to_vec()), "{conf:?}");
    }
}

#[test]
fn a_folder_of_a_later_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), |error| panic!("{error}")).unwrap();
    let old = store.read_raw(keys::FORMAT).unwrap().map(|(raw, _)| raw);
    let mut batch = Batch::default();
    batch.replace(keys::FORMAT, &99_u32.to_be_bytes(), old.as_ref());
    block_on(store.commit_batch(batch)).unwrap();
    store.close();
    drop(store);
    assert!(matches!(Store::open(folder.path(), |_| ()), Err(Error::NewerFormat { found: 99, known: FORMAT })));
}

#[derive(Clone, Debug)]
enum Action {
    Apply(Vec<(u8, Option<u8>)>),
    Get(u8),
    Scan(Vec<u8>, Option<u8>, bool, usize),
}

fn action() -> impl Strategy<Value = Action> {
    let write = (any::<u8>(), proptest::option::of(any::<u8>()));
    prop_oneof![
        proptest::collection::vec(write, 1..8).prop_map(Action::Apply),
        any::<u8>().prop_map(Action::Get),
        (proptest::collection::vec(any::<u8>(), 0..2), proptest::option::of(any::<u8>()), any::<bool>(), 0..20_usize)
            .prop_map(|(prefix, after, up, limit)| Action::Scan(prefix, after, up, limit)),
    ]
}

fn perform(kv: &dyn Kv, action: &Action) -> Vec<Pair> {
    // Two bytes a key, so that prefixes have neighbours, 0xff among them.
    let key = |byte: u8| vec![byte | 0xf0, byte << 4];
    match action {
        Action::Apply(writes) => {
            let op = |(at, value): &(u8, Option<u8>)| match value {
                Some(value) => Op::Put(key(*at), vec![*value]),
                None => Op::Remove(key(*at)),
            };
            kv.apply(writes.iter().map(op).collect()).unwrap();
            Vec::new()
        }
        Action::Get(at) => kv.get(&key(*at)).unwrap().map(|value| (key(*at), value)).into_iter().collect(),
        Action::Scan(prefix, after, up, limit) => {
            let prefix: Vec<u8> = prefix.iter().map(|byte| byte | 0xf0).collect();
            let after = after.map(key).filter(|after| after.starts_with(&prefix));
            let order = if *up { Order::Ascending } else { Order::Descending };
            kv.scan(&prefix, after.as_deref(), order, *limit).unwrap()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn sled_does_what_memory_does(actions in proptest::collection::vec(action(), 1..60)) {
        let folder = tempfile::tempdir().unwrap();
        let (sled, memory) = (SledKv::open(folder.path()).unwrap(), MemoryKv::default());
        for action in &actions {
            prop_assert_eq!(perform(&sled, action), perform(&memory, action), "{:?}", action);
        }
    }
}
