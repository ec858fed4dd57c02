//! Many versions of one plugin, `acme/swap`: written over the version in its bytes.

use serde_json::{Value, json};

use crate::harness::{Host, guest, workflow};

/// As it stands in the component.
const BUILT: &str = "1.0.1000+many.versions.are.made.of.this.one";

/// The version with this patch number, of four digits.
pub(crate) fn version_of(patch: u32) -> String {
    BUILT.replace("1000", &patch.to_string())
}

/// The component of a version.
pub(crate) fn component(patch: u32) -> Vec<u8> {
    let (mut bytes, version) = (guest("swap"), version_of(patch));
    assert_eq!(version.len(), BUILT.len());
    let places: Vec<usize> = (0..bytes.len() - BUILT.len()).filter(|at| bytes[*at..].starts_with(BUILT.as_bytes())).collect();
    assert!(!places.is_empty(), "the version stands in the component");
    for at in places {
        bytes[at..at + version.len()].copy_from_slice(version.as_bytes());
    }
    bytes
}

/// Adds a version, if it is not there.
#[track_caller]
pub(crate) fn add(host: &Host, patch: u32) {
    let answer = host.api("POST", "/plugins?allow_downgrade=true", &component(patch));
    assert!([200, 201].contains(&answer.status), "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.json()["version"], json!(version_of(patch)));
}

/// A workflow that answers with the plugin's version.
pub(crate) fn versioned(key: &str, requirement: &str) -> Value {
    let step = json!({"key": "version", "type": format!("acme/swap/version@{requirement}"), "config": {"note": "n"}});
    let body = json!({"version": "{{$steps.version.result.version}}", "note": "{{$steps.version.result.note}}"});
    let answer = json!({"key": "answer", "type": "response", "config": {"body": body}});
    workflow(key, &json!({"mode": "sync"}), &json!([step, answer]))
}

/// A workflow that waits, and says the plugin's version before and after.
pub(crate) fn hold(key: &str) -> Value {
    workflow(key, &json!({"mode": "async"}), &json!([{"key": "hold", "type": "acme/swap/hold", "config": {}}]))
}
