//! Plugins of other versions of the contract: those that this host can carry out are, the others are told why not.

use serde_json::{Value, json};

use crate::harness::{Host, guest, workflow};

/// A component that says that it was made for another version of the contract: all of it, or one interface.
fn made_for(version: &str, interface: Option<&str>) -> Vec<u8> {
    let mut bytes = guest("lab");
    let name = format!("weft:plugin/{}", interface.unwrap_or_default());
    let mut at = 0;
    let mut changed = 0;
    while let Some(found) = memchr::memmem::find(&bytes[at..], name.as_bytes()) {
        at += found + name.len();
        let end = bytes[at..].iter().position(|byte| !byte.is_ascii_lowercase() && *byte != b'-').unwrap() + at;
        if bytes[end..].starts_with(b"@0.1.0") {
            bytes[end + 1..end + 6].copy_from_slice(version.as_bytes());
            changed += 1;
        }
    }
    assert!(changed > 0);
    bytes
}

fn refused(host: &Host, bytes: &[u8]) -> String {
    let answer = host.api("POST", "/plugins", bytes);
    answer.expect_problem(422, "plugin-refused");
    answer.json()["detail"].as_str().unwrap().to_owned()
}

#[test]
fn a_plugin_of_the_same_track_runs_and_another_is_told_what_to_do() {
    let host = Host::start();
    for (version, interface, said) in [
        ("0.2.0", None, "use a newer Weft, or an older version of the plugin"),
        ("1.0.0", None, "use a newer Weft"),
        ("0.0.9", None, "ask its vendor for a newer version"),
        ("0.2.0", Some("kv"), "`weft:plugin/kv@0.2.0`, which this host does not offer"),
    ] {
        let detail = refused(&host, &made_for(version, interface));
        assert!(detail.contains(said) && detail.contains(version), "{version}: {detail}");
    }
    // A later version of the same track, of which it uses nothing new.
    assert_eq!(host.api("POST", "/plugins", &made_for("0.1.7", None)).status, 201);
    host.set_grants("acme/lab", &json!({"kv": true}));
    let steps = json!([{"key": "a", "type": "acme/lab/count", "config": {"counter": "c"}}]);
    host.apply(&workflow("one", &json!({"mode": "async"}), &steps));
    assert_eq!(host.run_once("one", &Value::Null)["steps"][0]["output"], 1);
}

#[test]
fn a_plugin_that_uses_what_only_a_later_version_has_is_told_so() {
    let host = Host::start();
    let later = |version: &str| {
        let text = format!(
            r#"(component
                (import "weft:plugin/log@{version}" (instance (export "shout" (func (param "message" string)))))
                (instance $empty)
                (export "weft:plugin/info@{version}" (instance $empty))
                (export "weft:plugin/nodes@{version}" (instance $empty)))"#
        );
        wat::parse_str(text).unwrap()
    };
    let detail = refused(&host, &later("0.1.7"));
    assert!(
        detail.contains("made for version 0.1.7") && detail.contains("use a newer Weft") && detail.contains("shout"),
        "{detail}"
    );
    let detail = refused(&host, &later("0.1.0"));
    assert!(detail.contains("does not fit the contract") && detail.contains("shout"), "{detail}");
}
