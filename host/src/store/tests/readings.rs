//! What versions of plugins have taken goes with them.

use std::collections::BTreeSet;

use semver::Version;
use serde_json::json;

use super::*;
use crate::digest::Digest;
use crate::store::care::verify_kv;

const NAME: &str = "acme/crm";

fn entry() -> AuditEntry {
    AuditEntry { at_ms: 7, who: Who::Host, what: What::PluginAdded, on: NAME.into(), details: json!({}) }
}

/// Installs a version with this component.
fn install(store: &Store, version: &Version, component: &[u8]) {
    store.blobs().put(component).unwrap();
    let record = PluginRecord {
        name: NAME.into(),
        version: version.clone(),
        digest: Digest::of(component),
        description: json!({}),
        installed_ms: 1,
        capabilities: BTreeSet::new(),
        signers: Vec::new(),
        held: false,
        quarantine: None,
    };
    block_on(store.put_plugin(&record, &entry())).unwrap();
}

#[test]
fn readings_are_kept_beside_their_plugins_and_go_with_them() {
    for (_folder, store) in stores() {
        let [one, two]: [Version; 2] = ["1.0.0", "2.0.0-rc.1+b"].map(|version| version.parse().unwrap());
        let put = |readings: &[(&str, &Version, u32)]| block_on(store.put_readings(readings));
        let of = |version: &Version| store.reading(NAME, version).unwrap();
        install(&store, &one, b"one");
        assert!(matches!(put(&[(NAME, &one, 1), (NAME, &two, 2)]), Err(Error::Conflict)), "one of them is not installed");
        assert_eq!(store.readings().unwrap().len(), 0);
        install(&store, &two, b"two");
        put(&[(NAME, &one, 1), (NAME, &two, 2)]).unwrap();
        put(&[(NAME, &two, 3)]).unwrap();
        let all = store.readings().unwrap();
        assert_eq!((all.len(), &all[&(NAME.to_owned(), one.clone())]), (2, &json!(1)));
        assert_eq!((of(&one), of(&two)), (Some(json!(1)), Some(json!(3))));

        block_on(store.put_quarantine(NAME, &two, None, &entry())).unwrap();
        assert_eq!(of(&two), Some(json!(3)), "it is the same component");
        install(&store, &two, b"another");
        assert_eq!(of(&two), None);
        block_on(store.remove_plugin(NAME, &one, false, &entry())).unwrap();
        assert_eq!(of(&one), None);
        assert!(matches!(put(&[(NAME, &one, 1)]), Err(Error::Conflict)), "what is removed does not come back");

        put(&[(NAME, &two, 4)]).unwrap();
        assert_eq!(verify_kv(&*store.kv, &store.blobs).problems, []);
        let mut batch = Batch::default();
        batch.put(&keys::reading("acme/gone", &one), b"{}");
        block_on(store.commit_batch(batch)).unwrap();
        assert_eq!(verify_kv(&*store.kv, &store.blobs).problems[0].problem, "its plugin is not there");
    }
}
