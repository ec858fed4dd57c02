//! What authors of plugins have: one call without a host, a check of the whole, a new plugin, and a swap at each save.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Host, guest, guest_path, offline, repository, target, workflow};
use crate::server::Server;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A call without a host: what it printed as JSON, and its exit code.
fn test(guest: &str, arguments: &[&str]) -> (Value, Option<i32>) {
    let output = offline(&[&["plugin", "test", &guest_path(guest), "--json"], arguments].concat());
    let printed = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)));
    (printed, output.status.code())
}

#[test]
fn a_call_without_a_host_shows_what_comes_of_it() {
    let (trial, code) = test("greet", &["--config", r#"{name: "{{$context.who}}"}"#, "--input", "{who: Ada}"]);
    assert_eq!((&trial["done"], code), (&json!("Hello, Ada!"), Some(0)));
    assert!(
        trial["used"]["cpu_us"].as_u64().unwrap() > 0 && trial["used"]["memory_bytes"].as_u64().unwrap() > 65_536,
        "{trial:#}"
    );
    // What publishing would refuse is not called, unless it is wanted.
    let (trial, code) = test("greet", &["--config", "{}"]);
    assert!(
        code == Some(1) && trial["refused"][0]["message"].as_str().unwrap().contains("required") && trial["calls"] == json!([])
    );
    let (trial, code) = test("greet", &["--config", "{}", "--unchecked"]);
    assert_eq!((&trial["failed"]["code"], code), (&json!("invalid-config"), Some(1)));
    // For people, with the reason at the end.
    let shown = offline(&["plugin", "test", &guest_path("rogue"), "--node", "rogue", "--config", "{way: panic}"]);
    assert!(text(&shown.stderr).contains("it broke: the plugin broke off"), "{}", text(&shown.stderr));
    // A type that there is not, and one that must be named.
    let unknown = offline(&["plugin", "test", &guest_path("greet"), "--node", "great"]);
    assert!(unknown.status.code() == Some(2) && text(&unknown.stderr).contains("it has greet"), "{}", text(&unknown.stderr));
    assert!(text(&offline(&["plugin", "test", &guest_path("lab")]).stderr).contains("--node count"));
}

#[test]
fn values_starts_and_servers_are_in_memory() {
    let (trial, _) = test("lab", &["--node", "count", "--config", "{counter: a}", "--kv", "a=41"]);
    assert_eq!((&trial["done"], &trial["kv"]), (&json!(42), &json!({"a": "42"})));
    let (trial, _) = test("lab", &["--node", "launch", "--config", "{workflow: other, context: {n: 1}}"]);
    assert_eq!(trial["starts"], json!([{"workflow": "other", "context": {"n": 1}}]));
    let (trial, _) = test("lab", &["--node", "out", "--config", "{value: {n: 1}}"]);
    assert_eq!((&trial["output"], &trial["done"]), (&json!({"n": 1}), &json!({"n": 1})));

    // Nothing is sent until somebody says so; then it is, with the secret where its token stood.
    let server = Server::start();
    let config =
        format!(r#"{{url: "{}/in", method: POST, headers: {{authorization: "{{{{$secrets.key}}}}"}}, body: x}}"#, server.url);
    let call = ["--node", "exchange", "--config", &config, "--secret", "key=s3cret-value"];
    let (trial, code) = test("lab", &call);
    assert_eq!((&trial["failed"]["code"], code), (&json!("denied"), Some(1)));
    assert_eq!(server.connections(), 0);
    let (trial, code) = test("lab", &[&call[..], &["--allow-http", server.address()]].concat());
    assert_eq!((trial["requests"][0]["status"].as_u64(), code), (Some(200), Some(0)), "{trial:#}");
    assert!(server.came()[0].head.contains("authorization: s3cret-value"), "{}", server.came()[0].head);
    assert_eq!(trial["requests"][0]["headers"]["authorization"], "{{$secrets.key}}");
    assert!(!trial.to_string().contains("s3cret-value"));
    // Or a file says what comes back.
    let folder = tempfile::tempdir().unwrap();
    let answers = folder.path().join("answers.yaml");
    std::fs::write(&answers, "[{url: 'https://api.example/*', status: 404, body: {gone: true}}, {fault: refused}]").unwrap();
    let given = ["--http", answers.to_str().unwrap()];
    let (trial, _) = test("lab", &[&["--node", "exchange", "--config", "{url: 'https://api.example/x'}"], &given[..]].concat());
    assert_eq!(trial["requests"][0]["status"], 404);
    let (trial, _) = test("lab", &[&["--node", "exchange", "--config", "{url: 'https://other.example/'}"], &given[..]].concat());
    assert_eq!(trial["failed"]["code"], "refused");
    assert_eq!(server.came().len(), 1);
}

#[test]
fn what_a_step_waits_for_happens() {
    // Branches end with what is given, or null; timers fire at once, and the clock moves.
    let (trial, _) = test("lab", &["--node", "each", "--config", "{rounds: 3}", "--branch", "do={n: 1}"]);
    assert_eq!(trial["calls"].as_array().unwrap().len(), 4, "{trial:#}");
    let (trial, code) = test("lab", &["--node", "sleep", "--config", "{ms: 86400000}", "--now", "2026-01-01T00:00:00Z"]);
    assert!(code == Some(0) && trial["done"] == 86_400_000, "{trial:#}");
    // What only somebody outside can do is left open, until it is given.
    let hear = ["--node", "hear", "--config", "{name: paid}"];
    let (trial, code) = test("lab", &hear);
    assert_eq!((&trial["pending"]["wait"][0]["name"], code), (&json!("paid"), Some(0)), "{trial:#}");
    let id = trial["pending"]["wait"][0]["id"].as_str().unwrap();
    let event = format!("{{signalled: {{id: {id}, payload: {{amount: 3}}}}}}");
    let (trial, _) = test("lab", &[&hear[..], &["--resume", &event]].concat());
    assert!(trial["done"].to_string().contains("amount"), "{trial:#}");
    let never = offline(&[&["plugin", "test", &guest_path("lab")], &hear[..], &["--resume", "{woke: never}"]].concat());
    assert!(never.status.code() == Some(2) && text(&never.stderr).contains("never waited for that"), "{}", text(&never.stderr));
    let child = ["--node", "sub", "--config", "{workflow: other}", "--resume", "{child-ended: {id: run, output: 1}}"];
    assert_eq!(test("lab", &child).0["done"], 1);
    // A trigger: what it subscribes to, what an event starts, and what whoever waits is told.
    let hook = ["--trigger", "hook", "--config", "{mode: async}", "--input", "{http: {query: key=k, body: {a: 1}}}"];
    let (trial, _) = test("lab", &[&hook[..], &["--kv", "requests=6", "--settle", "{output: 1}"]].concat());
    assert_eq!(trial["subscribes"][0]["http"]["methods"], json!(["POST"]));
    let start = &trial["reaction"]["start"][0];
    assert_eq!((&start["context"], &start["dedup_key"]), (&json!({"number": 7, "data": {"a": 1}}), &json!("k")), "{trial:#}");
    assert!(trial["settlement"].is_object());
}

/// A check: its report, and its exit code.
fn check(file: &str, golden: Option<&Path>) -> (Value, Option<i32>) {
    let mut arguments = vec!["plugin", "check", file, "--json"];
    arguments.extend(golden.into_iter().flat_map(|folder| ["--golden", folder.to_str().unwrap()]));
    let output = offline(&arguments);
    (serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr))), output.status.code())
}

fn row<'a>(report: &'a Value, name: &str) -> &'a Value {
    let rows = report["checks"].as_array().unwrap();
    rows.iter().find(|row| row["check"] == name).unwrap_or_else(|| panic!("no row `{name}`: {report:#}"))
}

#[test]
fn a_check_says_what_is_wrong_and_what_to_do() {
    for built_in in weft::built_in::PLUGINS {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plugin.wasm");
        std::fs::write(&file, built_in.1).unwrap();
        let (report, code) = check(file.to_str().unwrap(), None);
        assert_eq!((&report["passed"], code), (&json!(true), Some(0)), "{}: {report:#}", built_in.0);
        assert!(report["measured"]["cold_us"].as_u64().unwrap() > 0 && report["measured"]["memory_bytes"].as_u64().unwrap() > 0);
    }
    // A node that computes for ever is found by what it is given, and others that break off as well.
    let (report, code) = check(&guest_path("rogue"), None);
    let endured = row(&report, "endures: rogue");
    assert_eq!((&endured["mark"], code), (&json!("failed"), Some(1)));
    assert!(endured["problems"][0].as_str().unwrap().contains("computed for more than 5000 ms"), "{endured:#}");
    // What comes while a step waits, and what servers answer, is tried as well: responses, and what branches end with.
    let (report, _) = check(&guest_path("lab"), None);
    for (name, more) in [("endures: exchange", 71), ("endures: fetch", 29), ("endures: each", 29)] {
        let said = row(&report, name)["said"].as_str().unwrap();
        let tried: usize = said.split(' ').next().unwrap().parse().unwrap();
        assert!(tried > more && row(&report, name)["mark"] == "passed", "{name}: {said}");
    }
    // Files that are no plugins.
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes, failed, said) in [
        ("text", b"text".to_vec(), "file", "not a WebAssembly file"),
        ("core", b"\0asm\x01\0\0\0".to_vec(), "file", "build for the target wasm32-wasip2"),
        ("cut", guest("greet")[..9_000].to_vec(), "file", "malformed"),
        ("other", guest("other_world"), "world", "not `weft:plugin/info`"),
    ] {
        let file = folder.path().join(format!("{name}.wasm"));
        std::fs::write(&file, bytes).unwrap();
        let (report, code) = check(file.to_str().unwrap(), None);
        let row = row(&report, failed);
        assert_eq!((&row["mark"], code), (&json!("failed"), Some(1)), "{name}");
        assert!(row["problems"][0].as_str().unwrap().contains(said), "{name}: {row:#}");
    }
}

#[test]
fn golden_cases_are_carried_out() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("greet.wasm");
    std::fs::write(&file, guest("greet")).unwrap();
    let cases = folder.path().join("greet-cases");
    std::fs::create_dir(&cases).unwrap();
    let good = "node: greet\nconfig: {name: Ada}\nexpect: {done: 'Hello, Ada!'}\n";
    std::fs::write(cases.join("good.yaml"), good).unwrap();
    let (report, code) = check(file.to_str().unwrap(), None);
    assert_eq!((&row(&report, "case: good")["mark"], code), (&json!("passed"), Some(0)));
    std::fs::write(cases.join("bad.json"), r#"[{"name": "hi", "config": {"name": "Ada"}, "expect": {"done": "Hi, Ada!"}}]"#)
        .unwrap();
    let (report, code) = check(file.to_str().unwrap(), None);
    let bad = row(&report, "case: bad: hi");
    assert_eq!((&bad["mark"], code), (&json!("failed"), Some(1)));
    assert_eq!(bad["problems"][0], r#"/done: expected "Hi, Ada!", and it is "Hello, Ada!""#);
    assert_eq!(row(&report, "case: good")["mark"], "passed");
    // One case alone, as a table for people.
    let shown = offline(&["plugin", "check", file.to_str().unwrap()]);
    assert!(text(&shown.stdout).contains("FAILED") && text(&shown.stderr).contains("1 of"), "{}", text(&shown.stdout));
    let alone = offline(&["plugin", "test", file.to_str().unwrap(), "--case", cases.join("good.yaml").to_str().unwrap()]);
    assert!(alone.status.success());
    // A file may hold several.
    let several = cases.join("several.yaml");
    let case =
        |name: &str, done: &str| json!({"name": name, "node": "greet", "config": {"name": "Ada"}, "expect": {"done": done}});
    std::fs::write(&several, json!([case("right", "Hello, Ada!"), case("wrong", "Bye!")]).to_string()).unwrap();
    let one =
        |named: &str| offline(&["plugin", "test", file.to_str().unwrap(), "--case", &format!("{}{named}", several.display())]);
    assert_eq!(["#right", "#wrong"].map(|name| one(name).status.code()), [Some(0), Some(1)], "{}", text(&one("#right").stderr));
    assert!(text(&one("").stderr).contains("name one: ") && text(&one("#none").stderr).contains("no case is named `none`"));
    std::fs::remove_file(&several).unwrap();
    // A case that says nothing of what is to come is a mistake.
    std::fs::write(cases.join("idle.yaml"), "node: greet").unwrap();
    let idle = offline(&["plugin", "check", file.to_str().unwrap()]);
    assert!(idle.status.code() == Some(1) && text(&idle.stderr).contains("says in `expect`"), "{}", text(&idle.stderr));
}

/// A folder that `weft plugin new` made.
fn new_plugin(name: &str, language: &str) -> (TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("plugin");
    let made = offline(&["plugin", "new", name, "--lang", language, "--dir", folder.to_str().unwrap()]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    (parent, folder)
}

/// Builds a crate as its README says, or where the standard library for guests is Debian's as xtask does. The versions of its crates are
/// those that are here already.
fn build_crate(folder: &Path) -> Output {
    std::fs::copy(repository().join("tests/guests/Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
    let has_target = Path::new(text(&sysroot.stdout).trim()).join("lib/rustlib/wasm32-wasip2").is_dir();
    let mut cargo = Command::new("cargo");
    if has_target {
        cargo
            .args(["build", "--release", "--target", "wasm32-wasip2"])
            .current_dir(folder)
            .env("CARGO_TARGET_DIR", target().join("guests"));
    } else {
        cargo.args(["xtask", "guests"]).arg(folder).current_dir(repository());
    }
    cargo.output().unwrap()
}

#[test]
fn a_new_plugin_builds_and_passes_its_check() {
    let (_parent, folder) = new_plugin("initech/new-plugin", "rust");
    let built = build_crate(&folder);
    assert!(built.status.success(), "{}", text(&built.stderr));
    let folders = ["guests", "guests-debian"].map(|folder| target().join(folder).join("wasm32-wasip2/release/new_plugin.wasm"));
    let component = folders.iter().find(|file| file.is_file()).unwrap();
    let (report, code) = check(component.to_str().unwrap(), Some(&folder.join("cases")));
    assert_eq!((&report["passed"], code), (&json!(true), Some(0)), "{report:#}");
    assert_eq!(row(&report, "case: greet: greets")["mark"], "passed");

    let host = Host::start();
    let added = host.cli(&["plugin", "add", component.to_str().unwrap()]);
    assert!(added.status.success(), "{}", text(&added.stderr));
    host.apply(&greeting("initech/new-plugin/greet"));
    assert_eq!(host.hook("greeting", br#"{"name": "Ada"}"#).json(), json!({"text": "Hello, Ada!"}));
    std::fs::remove_file(component).unwrap();

    // What is there is not overwritten, and names must be names.
    let again = offline(&["plugin", "new", "initech/new-plugin", "--dir", folder.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(5));
    for bad in ["new", "Initech/new", "initech/new/one", "weft/mine", "initech/2fast"] {
        assert_eq!(offline(&["plugin", "new", bad]).status.code(), Some(2), "{bad}");
    }
}

fn greeting(kind: &str) -> Value {
    let step = json!({"key": "greet", "type": kind, "config": {"name": "{{$context.data.name}}"}});
    let answer = json!({"key": "a", "type": "response", "config": {"body": {"text": "{{$steps.greet.result.text}}"}}});
    workflow("greeting", &json!({"mode": "sync"}), &json!([step, answer]))
}

/// `weft plugin watch`, and what it says.
struct Watching {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Watching {
    fn start(host: &Host, folder: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
        command.args(["plugin", "watch"]).arg(folder).env("WEFT_URL", &host.url).env("WEFT_TOKEN", host.data.token());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let streams: [Box<dyn std::io::Read + Send>; 2] = [Box::new(stdout), Box::new(stderr)];
        for stream in streams {
            let said = said.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    said.lock().unwrap().push_str(&(line + "\n"));
                }
            });
        }
        Self { child, said }
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    #[track_caller]
    fn says(&self, what: &str, times: usize) {
        // A build, and two compilations of an interpreter, on a machine that has more to do.
        let began = Instant::now();
        while self.said().matches(what).count() < times {
            assert!(began.elapsed() < Duration::from_secs(180), "it does not say `{what}`: {}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In JavaScript, whose build takes a second; the rest is the same for every language.
#[test]
fn a_save_swaps_the_plugin_and_a_mistake_does_not() {
    let (_parent, folder) = new_plugin("initech/quick", "js");
    std::os::unix::fs::symlink(repository().join("tests/guests/js/node_modules"), folder.join("node_modules")).unwrap();
    let host = Host::start();
    let watching = Watching::start(&host, &folder);
    watching.says("added initech/quick 0.1.0+dev.", 1);
    host.apply(&greeting("initech/quick/greet"));
    let greeted = || host.hook("greeting", br#"{"name": "Ada"}"#).json()["text"].clone();
    assert_eq!(greeted(), "Hello, Ada!");

    let script = folder.join("plugin.js");
    let old = std::fs::read_to_string(&script).unwrap();
    let save = |text: &str| std::fs::write(&script, text).unwrap();
    // One that does not build, and one that does not do what its cases say: the host keeps what it has.
    save("export const nodes = {");
    watching.says("not added", 1);
    save(&old.replace("Hello, ${name}!", "Bye, ${name}!"));
    watching.says("not added: it does not pass its check", 1);
    assert_eq!(greeted(), "Hello, Ada!");

    let cases = folder.join("cases/greet.yaml");
    std::fs::write(&cases, std::fs::read_to_string(&cases).unwrap().replace("Hello", "Bye").replace("HELLO", "BYE")).unwrap();
    watching.says("added initech/quick 0.1.0+dev.", 2);
    watching.says("greeting moved to revision 2", 1);
    assert_eq!(greeted(), "Bye, Ada!");
    let versions: Vec<Value> = host.get("/plugins")["items"].as_array().unwrap().clone();
    let versions: Vec<&str> = versions
        .iter()
        .filter(|plugin| plugin["name"] == "initech/quick")
        .map(|plugin| plugin["version"].as_str().unwrap())
        .collect();
    assert_eq!(versions.len(), 2, "{versions:?}");
}
