//! Plugins come while the host runs, or are refused with the reason.

use serde_json::{Value, json};

use crate::harness::{Host, eventually, guest, workflow};

fn drop_file(host: &Host, name: &str, bytes: &[u8]) {
    std::fs::write(host.data.path().join("plugins").join(name), bytes).unwrap();
}

fn names(host: &Host) -> Vec<String> {
    let plugins = host.get("/plugins");
    plugins["items"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap().to_owned()).collect()
}

fn refused(host: &Host, name: &str) -> Option<String> {
    let plugins = host.get("/plugins");
    let mut files = plugins["refused"].as_array().unwrap().iter();
    files.find(|file| file["path"].as_str().unwrap().ends_with(name)).map(|file| file["reason"].as_str().unwrap().to_owned())
}

fn greeting(version: &str) -> Value {
    let step =
        json!({"key": "greet", "type": format!("acme/greet/greet{version}"), "config": {"name": "{{$context.data.name}}"}});
    let answer = json!({"key": "a", "type": "response", "config": {"body": {"text": "{{$steps.greet.result}}"}}});
    workflow("greeting", &json!({"mode": "sync"}), &json!([step, answer]))
}

#[test]
fn a_file_in_the_folder_is_usable_in_seconds() {
    let host = Host::start();
    let definition = greeting("");
    host.api("PUT", "/workflows/greeting/draft", definition.to_string().as_bytes());
    host.api("POST", "/workflows/greeting/revisions", b"").expect_problem(422, "invalid-workflow");
    drop_file(&host, "greet.wasm", &guest("greet"));
    eventually("the plugin is there", || names(&host).contains(&"acme/greet".to_owned()));
    host.apply(&definition);
    assert_eq!(host.hook("greeting", br#"{"name": "Ada"}"#).json(), json!({"text": "Hello, Ada!"}));
    // It stays when its file goes, and over a restart.
    std::fs::remove_file(host.data.path().join("plugins/greet.wasm")).unwrap();
    let host = Host::start_in(host.kill(), &[]);
    assert_eq!(host.hook("greeting", br#"{"name": "Ada"}"#).json(), json!({"text": "Hello, Ada!"}));
}

#[test]
fn what_is_no_plugin_is_refused_with_the_reason_and_changes_nothing() {
    let host = Host::start();
    host.apply(&workflow("works", &json!({"mode": "sync"}), &json!([])));
    let before = names(&host);
    let core_module = b"\0asm\x01\0\0\0";
    let cut = &guest("greet")[..10_000];
    let cases: [(&str, &[u8], &str); 6] = [
        ("text.wasm", b"this is a text", "not a WebAssembly file"),
        ("empty.wasm", b"", "not a WebAssembly file"),
        ("core.wasm", core_module, "core WebAssembly module, not a component"),
        ("other.wasm", &guest("other_world"), "no Weft plugin: it exports `wasi:cli/run"),
        ("cut.wasm", cut, "malformed"),
        ("reserved.wasm", weft_http(), "reserved for built-in plugins"),
    ];
    for (name, bytes, _) in &cases {
        drop_file(&host, name, bytes);
    }
    for (name, bytes, reason) in &cases {
        if *name == "reserved.wasm" {
            continue;
        }
        eventually("the file was looked at", || refused(&host, name).is_some());
        let said = refused(&host, name).unwrap();
        assert!(
            said.contains(&reason.replace('`', "")) || said.replace('`', "").contains(&reason.replace('`', "")),
            "{name}: {said}"
        );
        let answer = host.api("POST", "/plugins", bytes);
        assert!(answer.status == 422 || (bytes.is_empty() && answer.status == 400), "{name}");
    }
    assert_eq!(names(&host), before);
    assert_eq!(host.hook("works", b"{}").status, 200);
    // A file that is mended is looked at again.
    drop_file(&host, "text.wasm", &guest("greet"));
    eventually("the mended file is there", || refused(&host, "text.wasm").is_none());
    assert!(names(&host).contains(&"acme/greet".to_owned()));
    std::fs::remove_file(host.data.path().join("plugins/core.wasm")).unwrap();
    eventually("a file that is gone is forgotten", || refused(&host, "core.wasm").is_none());
}

/// A built-in plugin as a file of somebody's. It is installed already, so giving it again is no mistake.
fn weft_http() -> &'static [u8] {
    weft::built_in::PLUGINS.iter().find(|(name, _)| *name == "weft_http").map(|(_, bytes)| *bytes).unwrap()
}

#[test]
fn a_name_and_version_mean_one_component() {
    let host = Host::start();
    host.add_plugin("greet");
    let again = host.api("POST", "/plugins", &guest("greet"));
    assert_eq!(again.status, 200, "the same component again is no mistake");
    // A custom section makes another component of the same name and version.
    let mut other = guest("greet");
    other.extend([0, 2, 1, b'x']);
    host.api("POST", "/plugins", &other).expect_problem(409, "version-taken");
    // And a built-in plugin's name is nobody else's.
    let mut forged = weft_http().to_vec();
    forged.extend([0, 2, 1, b'x']);
    host.api("POST", "/plugins", &forged).expect_problem(422, "vendor-reserved");
}

#[test]
fn a_plugin_says_what_it_is() {
    let host = Host::start();
    host.add_plugin("greet");
    let greet = host.get("/plugins/acme/greet");
    assert_eq!((&greet["version"], &greet["nodes"][0]["summary"]), (&json!("0.1.0"), &json!("Greets somebody.")));
    assert_eq!(greet["nodes"][0]["config_schema"]["required"], json!(["name"]));
    let imports: Vec<&str> = greet["imports"].as_array().unwrap().iter().map(|i| i.as_str().unwrap()).collect();
    assert!(imports.iter().all(|import| import.starts_with("wasi:") || import.starts_with("weft:plugin/types@")), "{imports:?}");
    assert_eq!(host.get("/plugins/weft/http?version=0.1.0")["triggers"][0]["name"], "webhook");
    host.api("GET", "/plugins/weft/http?version=9.0.0", b"").expect_problem(404, "not-found");
    let shown = String::from_utf8(host.cli(&["plugin", "inspect", "weft/flow"]).stdout).unwrap();
    assert!(shown.contains("node condition") && shown.contains("branches: yes, no"), "{shown}");
}

#[test]
fn requirements_choose_versions() {
    let host = Host::start();
    host.add_plugin("greet");
    for good in ["", "@^0.1", "@=0.1.0", "@*"] {
        host.apply(&greeting(good));
        assert_eq!(host.hook("greeting", br#"{"name": "Ada"}"#).json(), json!({"text": "Hello, Ada!"}), "{good}");
    }
    host.api("PUT", "/workflows/greeting/draft", greeting("@^0.2").to_string().as_bytes());
    let answer = host.api("POST", "/workflows/greeting/revisions", b"");
    answer.expect_problem(422, "invalid-workflow");
    assert!(answer.json()["errors"][0]["message"].as_str().unwrap().contains("installed: 0.1.0"));
}

#[test]
fn a_compiled_component_that_was_changed_on_disk_is_not_run() {
    let host = Host::start();
    host.add_plugin("greet");
    host.apply(&greeting(""));
    let data = host.stop();
    let mut changed = 0;
    for entry in std::fs::read_dir(data.path().join("cache")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        changed += 1;
    }
    assert_eq!(changed, weft::built_in::PLUGINS.len() + 1);
    let host = Host::start_in(data, &[]);
    assert_eq!(host.hook("greeting", br#"{"name": "Ada"}"#).json(), json!({"text": "Hello, Ada!"}));
    assert_eq!(host.log().matches("was changed on disk").count(), 0, "said before it listened");
}

#[test]
fn a_folder_is_added_whole_and_a_bad_file_keeps_back_no_other() {
    let host = Host::start();
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in
        [("a.wasm", guest("greet")), ("b.wasm", b"no plugin".to_vec()), ("c.wasm", guest("swap")), ("d.txt", vec![])]
    {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let path = folder.path().to_str().unwrap();
    let added = host.cli(&["--json", "plugin", "add", path]);
    assert_eq!(added.status.code(), Some(1));
    let added: Value = serde_json::from_slice(&added.stdout).unwrap();
    let names: Vec<&str> = added["items"].as_array().unwrap().iter().map(|plugin| plugin["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["acme/greet", "acme/swap"]);
    assert!(added["refused"][0]["source"].as_str().unwrap().ends_with("b.wasm"), "{added}");
    std::fs::remove_file(folder.path().join("b.wasm")).unwrap();
    assert!(host.cli(&["plugin", "add", path]).status.success());
    let empty = tempfile::tempdir().unwrap();
    let refused = host.cli(&["plugin", "add", empty.path().to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no .wasm file"));
}
