//! The audit log: every change with who made it, and every edit of that record.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::harness::{Data, Host, eventually, guest, workflow};

/// Entries, oldest first: who, what, on what.
fn told(host: &Host) -> Vec<[String; 3]> {
    let items = entries(host);
    items.iter().map(|entry| ["who", "what", "on"].map(|member| entry[member].as_str().unwrap().to_owned())).collect()
}

/// Entries, oldest first.
fn entries(host: &Host) -> Vec<Value> {
    let mut items = host.get("/audit?limit=500")["items"].as_array().unwrap().clone();
    items.reverse();
    items
}

fn run(host: &Host, arguments: &[&str]) -> String {
    let output = host.cli(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn each_change_leaves_its_entry() {
    let host = Host::start();
    let built_in = told(&host);
    assert!(built_in.iter().all(|[who, what, _]| who == "host" && what == "plugin-added"), "{built_in:?}");
    assert_eq!(built_in.len(), weft::built_in::PLUGINS.len());

    let with_token = |what: &str, on: &str| ["admin token", what, on].map(str::to_owned);
    let with_cli = |what: &str, on: &str| ["command line", what, on].map(str::to_owned);
    let mut expected = built_in;
    let greet = host.add_bare_plugin("greet");
    expected.push(with_token("plugin-added", "acme/greet"));
    host.api("POST", "/plugins", b"rubbish").expect_problem(422, "plugin-refused");
    expected.push(with_token("plugin-refused", &format!("sha256:{}", hex::encode(Sha256::digest(b"rubbish")))));
    run(&host, &["plugin", "grant", &greet, "--http", "api.example.org", "--limit", "memory_mib=32"]);
    expected.push(with_cli("grants-changed", &greet));
    run(&host, &["plugin", "revoke", &greet]);
    expected.push(with_cli("grants-changed", &greet));
    host.set_secret("github", "hush-hush-hush");
    expected.push(with_token("secret-set", "github"));
    run(&host, &["secret", "allow", "github", "api.github.example"]);
    expected.push(with_cli("secret-allowed", "github"));
    host.apply(&workflow("w", &json!({"mode": "sync"}), &json!([])));
    expected.extend([with_token("workflow-published", "w"), with_token("workflow-activated", "w")]);
    let other = json!([{"key": "a", "type": "response", "config": {}}]);
    host.apply(&workflow("w", &json!({"mode": "sync"}), &other));
    expected.extend([with_token("workflow-published", "w"), with_token("workflow-activated", "w")]);
    run(&host, &["workflow", "restore", "w", "1"]);
    expected.push(with_cli("workflow-restored", "w"));
    run(&host, &["workflow", "pause", "w"]);
    expected.push(with_cli("workflow-paused", "w"));
    run(&host, &["queue", "set", "heavy", "--concurrency", "3"]);
    expected.push(with_cli("queue-set", "heavy"));
    run(&host, &["secret", "remove", "github"]);
    expected.push(with_cli("secret-removed", "github"));
    // What changes nothing leaves nothing: the same plugin, the same draft, what is not there, what is only looked at.
    assert_eq!(host.api("POST", "/plugins", &guest("greet")).status, 200);
    assert_eq!(host.api("POST", "/workflows/w/revisions", b"").status, 200);
    assert_eq!(host.api("DELETE", "/secrets/github", b"").status, 404);
    host.get("/plugins");
    assert_eq!(told(&host), expected);

    let folder = host.data.path().join("plugins");
    std::fs::write(folder.join("probe.wasm"), guest("probe")).unwrap();
    std::fs::write(folder.join("\u{1b}[31m.wasm"), b"rubbish").unwrap();
    eventually("both files were looked at", || told(&host).len() == expected.len() + 2);
    let mut of_folder = told(&host).split_off(expected.len());
    of_folder.sort();
    assert_eq!(of_folder[0], ["watched folder", "plugin-added", "acme/probe"].map(str::to_owned));
    assert_eq!(of_folder[1][..2], ["watched folder".to_owned(), "plugin-refused".to_owned()]);
    assert!(of_folder[1][2].ends_with("\u{1b}[31m.wasm"));
    assert!(!run(&host, &["audit", "list"]).contains('\u{1b}'), "a terminal gets no commands");

    let all = entries(&host);
    let grant = all.iter().find(|entry| entry["what"] == "grants-changed").unwrap();
    let granted = json!({"http": ["api.example.org"], "limits": {"memory_mib": 32}});
    assert_eq!(grant["details"], json!({"grants": granted, "before": {}}));
    let refused = all.iter().find(|entry| entry["what"] == "plugin-refused").unwrap();
    assert_eq!(refused["details"]["code"], "plugin-refused");
    let published = all.iter().find(|entry| entry["what"] == "workflow-published").unwrap();
    assert!(published["details"]["plugins"][0].as_str().unwrap().starts_with("weft/http 0.1.0 sha256:"));
    assert!(!format!("{all:?}").contains("hush-hush"));
    for (number, entry) in (1..).zip(&all) {
        assert_eq!(entry["number"], number);
    }
}

#[test]
fn it_is_paged_and_outlives_everything() {
    let host = Host::start();
    for n in 0..10 {
        run(&host, &["queue", "set", "q", "--concurrency", &(n + 1).to_string()]);
    }
    // No answer came before its entry was on the disk.
    let host = Host::start_in(host.kill(), &[]);
    let all = entries(&host);
    let newest = 10 + weft::built_in::PLUGINS.len();
    assert_eq!(all.len(), newest, "{all:#?}");
    let (mut pages, mut after) = (Vec::new(), String::new());
    loop {
        let page = host.get(&format!("/audit?limit=5{after}"));
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 5);
        pages.extend_from_slice(items);
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    pages.reverse();
    assert_eq!(pages, all);
    assert!(run(&host, &["audit", "list", "--limit", "2"]).contains(&format!("more: --after {}", newest - 1)));
    let said = run(&host, &["audit", "verify"]);
    let noted = said.split("elsewhere: ").nth(1).unwrap().trim().to_owned();
    assert!(noted.starts_with(&format!("{newest}:sha256:")), "{said}");

    // Retention and compaction leave it alone.
    let host = Host::start_in(host.stop(), &[("WEFT_HISTORY_RUNS", "0"), ("WEFT_HISTORY_DAYS", "0")]);
    let data = host.stop();
    assert!(data.care(&["compact"]).status.success());
    let file = data.path().join("export.jsonl");
    assert!(data.care(&["export", file.to_str().unwrap()]).status.success());
    let other = Data::new();
    assert!(other.care(&["import", file.to_str().unwrap()]).status.success());
    std::fs::copy(data.path().join("master.key"), other.path().join("master.key")).unwrap();
    for data in [data, other] {
        data.expect_whole();
        let host = Host::start_in(data, &[]);
        assert_eq!(entries(&host), all);
        run(&host, &["audit", "verify", "--noted", &noted]);
        let wrong = noted.replace(&format!("{newest}:"), &format!("{}:", newest - 1));
        assert_eq!(host.cli(&["audit", "verify", "--noted", &wrong]).status.code(), Some(1));
        assert_eq!(host.cli(&["audit", "verify", "--noted", "12"]).status.code(), Some(2));
        host.api("GET", "/audit/verify?number=12", b"").expect_problem(400, "invalid-request");
    }
}

/// Changes a line of an export, whole with its checksum: what somebody does who knows how.
fn edit(text: &str, edit: impl Fn(&[u8], &[u8]) -> Option<Vec<u8>>) -> String {
    let mut hash = Sha256::new();
    let mut edited = String::new();
    for line in text.lines() {
        let mut line: Value = serde_json::from_str(line).unwrap();
        if let Some(pair) = line.get_mut("pair") {
            let key = hex::decode(pair["key"].as_str().unwrap()).unwrap();
            let value = STANDARD.decode(pair["value"].as_str().unwrap()).unwrap();
            if let Some(value) = edit(&key, &value) {
                pair["value"] = STANDARD.encode(value).into();
            }
        }
        if let Some(end) = line.get_mut("end") {
            end["sha256"] = hex::encode(hash.clone().finalize()).into();
        }
        let line = line.to_string() + "\n";
        hash.update(&line);
        edited += &line;
    }
    edited
}

#[test]
fn an_entry_that_was_edited_on_disk_is_named() {
    let host = Host::start();
    let greet = host.add_bare_plugin("greet");
    host.set_grants(&greet, &json!({"http": ["evil.example"]}));
    host.set_grants(&greet, &json!({}));
    let data = host.stop();
    let file = data.path().join("export.jsonl");
    assert!(data.care(&["export", file.to_str().unwrap()]).status.success());
    let text = std::fs::read_to_string(&file).unwrap();
    let edited = edit(&text, |key, value| {
        let text = String::from_utf8_lossy(value);
        let is_meant = key[0] == b'A' && text.contains("grants-changed") && text.contains("\"before\":{}");
        is_meant.then(|| {
            let at = value.windows(4).position(|part| part == b"evil").unwrap();
            [&value[..at], b"good", &value[at + 4..]].concat()
        })
    });
    assert_ne!(edited, text);
    std::fs::write(&file, edited).unwrap();
    let other = Data::new();
    let imported = other.care(&["import", file.to_str().unwrap()]);
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    let verified = other.care(&["verify", "--json"]);
    assert_eq!(verified.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&verified.stdout).unwrap();
    let problem = report["problems"][0]["problem"].as_str().unwrap();
    let number = weft::built_in::PLUGINS.len() + 2;
    let said = format!("entry {number} of the audit log");
    assert!(report["problems_found"] == 1 && problem.starts_with(&format!("{said} is not what was written")), "{report:#}");

    // The host starts all the same, says so when it is asked, and what it adds does not hide it.
    std::fs::copy(data.path().join("master.key"), other.path().join("master.key")).unwrap();
    let host = Host::start_in(other, &[]);
    host.set_secret("a", "later");
    let output = host.cli(&["audit", "verify"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains(&said), "{output:?}");
    assert_eq!(host.get("/audit/verify")["problems"][0]["number"], number);
}
