//! A host of its own for each test, and ways to talk to it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::TempDir;

/// A running host.
pub(crate) struct Host {
    child: Child,
    pub(crate) url: String,
    pub(crate) data: Data,
    pub(crate) agent: ureq::Agent,
    log: Mutex<Receiver<String>>,
}

/// A data folder that outlives hosts.
pub(crate) struct Data(TempDir);

impl Data {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// One in which a host has compiled the built-in plugins before: its cache, and the key that this is sealed with. Compiling takes seconds, and the first test
    /// does it for all.
    pub(crate) fn compiled() -> Self {
        static COMPILED: OnceLock<PathBuf> = OnceLock::new();
        let compiled = COMPILED.get_or_init(|| {
            const NAME: &str = "e2e-compiled-";
            // Those of earlier runs: each holds 30 MB.
            for entry in std::fs::read_dir(target().join("tmp")).into_iter().flatten().flatten() {
                let name = entry.file_name().into_string().unwrap();
                if name.strip_prefix(NAME).is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                    let _ = std::fs::remove_dir_all(entry.path());
                }
            }
            let folder = target().join(format!("tmp/{NAME}{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&folder);
            std::fs::create_dir_all(folder.join("cache")).unwrap();
            let data = Host::start_in(Self::new(), &[]).stop();
            std::fs::copy(data.path().join("master.key"), folder.join("master.key")).unwrap();
            copy(&data.path().join("cache"), &folder.join("cache"));
            folder
        });
        let data = Self::new();
        copy(compiled, data.path());
        data
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Another folder with the same in it.
    pub(crate) fn copy(&self) -> Self {
        let other = Self::new();
        copy(self.path(), other.path());
        other
    }

    /// A verb of `weft store` on this folder.
    pub(crate) fn care(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
        command.arg("store").args(arguments).arg("--data").arg(self.path());
        command.env("NO_COLOR", "1").output().unwrap()
    }

    /// Checks that everything in the store is whole.
    #[track_caller]
    pub(crate) fn expect_whole(&self) {
        let verified = self.care(&["verify"]);
        let said = String::from_utf8_lossy(&verified.stdout) + String::from_utf8_lossy(&verified.stderr);
        assert!(verified.status.success(), "{said}");
    }

    pub(crate) fn token(&self) -> String {
        std::fs::read_to_string(self.path().join("admin-token")).unwrap()
    }

    /// Every byte of every file, for searches.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        fn collect(folder: &Path, all: &mut Vec<u8>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    collect(&path, all);
                } else {
                    all.extend(std::fs::read(&path).unwrap());
                }
            }
        }
        let mut all = Vec::new();
        collect(self.path(), &mut all);
        all
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() {
            std::fs::create_dir_all(&to).unwrap();
            copy(&path, &to);
        } else {
            std::fs::copy(&path, &to).unwrap();
        }
    }
}

/// A host that did not start.
pub(crate) struct Refused {
    pub(crate) data: Data,
    /// Its exit code; none: it did not end by itself.
    pub(crate) code: Option<i32>,
    pub(crate) log: String,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: ureq::http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// Checks that this is a problem document with a status and a code.
    #[track_caller]
    pub(crate) fn expect_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let document = self.json();
        assert_eq!((document["status"].as_u64(), document["code"].as_str()), (Some(status.into()), Some(code)));
        assert!(document["title"].is_string() && document["detail"].is_string(), "{document}");
    }
}

/// Header fields of a request.
pub(crate) type Headers<'a> = &'a [(&'a str, &'a str)];

impl Host {
    pub(crate) fn start() -> Self {
        Self::start_in(Data::compiled(), &[])
    }

    /// With the test plugin `acme/lab`.
    pub(crate) fn with_lab() -> Self {
        let host = Self::start();
        host.add_plugin("lab");
        host
    }

    /// Starts a host over a data folder, with variables in its environment, and waits until it is ready.
    pub(crate) fn start_in(data: Data, environment: Headers<'_>) -> Self {
        Self::try_start(data, environment).unwrap_or_else(|refused| panic!("the host did not start:\n{}", refused.log))
    }

    pub(crate) fn try_start(data: Data, environment: Headers<'_>) -> Result<Self, Refused> {
        Self::try_start_with(data, &[], environment)
    }

    /// With more options of `weft serve`.
    pub(crate) fn try_start_with(data: Data, options: &[&str], environment: Headers<'_>) -> Result<Self, Refused> {
        let mut child = spawn(&data, options, environment);
        let (lines, log) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = lines.send(line);
            }
        });
        let mut seen = Vec::new();
        loop {
            match log.recv_timeout(Duration::from_secs(60)) {
                Ok(line) => {
                    let url = line.split_once("listening at ").map(|(_, rest)| rest.split(' ').next().unwrap().to_owned());
                    seen.push(line);
                    if let Some(url) = url {
                        let config = ureq::Agent::config_builder().http_status_as_error(false);
                        let agent = config.timeout_global(Some(Duration::from_secs(60))).build().into();
                        return Ok(Self { child, url, data, agent, log: Mutex::new(log) });
                    }
                }
                Err(error) => {
                    if error == RecvTimeoutError::Timeout {
                        let _ = child.kill();
                    }
                    let code = child.wait().unwrap().code();
                    return Err(Refused { data, code, log: seen.join("\n") });
                }
            }
        }
    }

    /// kill -9 after a while, and whether it listened by then; the data stays.
    pub(crate) fn start_and_kill(data: Data, environment: Headers<'_>, life: Duration) -> (Data, bool) {
        let mut child = spawn(&data, &[], environment);
        std::thread::sleep(life);
        child.kill().unwrap();
        let said = child.wait_with_output().unwrap().stderr;
        (data, String::from_utf8_lossy(&said).contains("listening at"))
    }

    /// Waits until the host ends by itself: its exit code and the rest of its log. The data stays.
    pub(crate) fn ended_by_itself(mut self) -> (Data, Option<i32>, String) {
        let began = Instant::now();
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(began.elapsed() < Duration::from_secs(60), "the host goes on:\n{}", self.log()),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let log: Vec<String> = self.log.lock().unwrap().iter().collect();
        (std::mem::replace(&mut self.data, Data::new()), status.code(), log.join("\n"))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// kill -9; the data stays.
    pub(crate) fn kill(mut self) -> Data {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.data, Data::new())
    }

    /// SIGTERM; the data stays.
    pub(crate) fn stop(mut self) -> Data {
        self.signal("TERM");
        assert!(self.child.wait().unwrap().success());
        std::mem::replace(&mut self.data, Data::new())
    }

    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.pid().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Everything logged since the last look.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().try_iter().collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn request(&self, method: &str, path: &str, headers: Headers<'_>, body: &[u8]) -> Answer {
        send(&self.agent, method, &format!("{}{path}", self.url), headers, body)
    }

    /// A request to the API with the admin's token.
    pub(crate) fn api(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        let token = format!("Bearer {}", self.data.token());
        self.request(method, &format!("/api/v1{path}"), &[("authorization", &token)], body)
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Value {
        let answer = self.api("GET", path, b"");
        assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
        answer.json()
    }

    /// A POST of JSON to a hook.
    pub(crate) fn hook(&self, path: &str, body: &[u8]) -> Answer {
        self.request("POST", &format!("/hooks/{path}"), &[("content-type", "application/json")], body)
    }

    /// Saves a definition as a draft; its key.
    #[track_caller]
    pub(crate) fn draft<'a>(&self, definition: &'a Value) -> &'a str {
        let key = definition["key"].as_str().unwrap();
        let saved = self.api("PUT", &format!("/workflows/{key}/draft"), definition.to_string().as_bytes());
        assert!(saved.status < 300, "{}", String::from_utf8_lossy(&saved.body));
        key
    }

    /// Saves a definition, and tries to publish it.
    #[track_caller]
    pub(crate) fn publish(&self, definition: &Value) -> Answer {
        let key = self.draft(definition);
        self.api("POST", &format!("/workflows/{key}/revisions"), b"")
    }

    /// Saves, publishes and activates a definition.
    #[track_caller]
    pub(crate) fn apply(&self, definition: &Value) {
        let (published, key) = (self.publish(definition), definition["key"].as_str().unwrap());
        let activated = self.api("POST", &format!("/workflows/{key}/activate"), b"");
        for answer in [published, activated] {
            assert!(answer.status < 300, "{}", String::from_utf8_lossy(&answer.body));
        }
    }

    /// Saves, publishes and activates the workflow that shows a type.
    #[track_caller]
    pub(crate) fn apply_example(&self, name: &str) {
        self.apply(&example(name, &[]));
    }

    pub(crate) fn set_secret(&self, name: &str, value: &str) {
        assert_eq!(self.api("PUT", &format!("/secrets/{name}"), value.as_bytes()).status, 200);
    }

    /// Adds a plugin and lets it do what there is inside the host, and break as often as it likes.
    pub(crate) fn add_plugin(&self, name: &str) {
        let plugin = self.add_bare_plugin(name);
        let limits = json!({"breaks_in_a_row": 0});
        self.set_grants(&plugin, &json!({"kv": true, "files": true, "workflows": ["*"], "secrets": ["*"], "limits": limits}));
    }

    /// Adds a plugin, to which nothing is granted. Its name.
    pub(crate) fn add_bare_plugin(&self, name: &str) -> String {
        let answer = self.api("POST", "/plugins", &guest(name));
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
        answer.json()["name"].as_str().unwrap().to_owned()
    }

    /// Lets a plugin send requests to a server, too.
    pub(crate) fn grant(&self, plugin: &str, server: &str) {
        let server = server.trim_start_matches("http://");
        self.set_grants(plugin, &json!({"kv": true, "files": true, "workflows": ["*"], "secrets": ["*"], "http": [server]}));
    }

    #[track_caller]
    pub(crate) fn set_grants(&self, plugin: &str, grants: &Value) {
        let answer = self.api("PUT", &format!("/plugins/{plugin}/grants"), grants.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    }

    /// Starts a run by hand and returns its id.
    #[track_caller]
    pub(crate) fn start_run(&self, workflow: &str, given: &Value) -> String {
        let answer = self.api("POST", &format!("/workflows/{workflow}/runs"), given.to_string().as_bytes());
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// A run, with the steps of all pages.
    #[track_caller]
    pub(crate) fn run(&self, id: &str) -> Value {
        let mut run = self.get(&format!("/runs/{id}"));
        while let Some(next) = run.as_object_mut().unwrap().remove("next") {
            let mut page = self.get(&format!("/runs/{id}?after={}", next.as_str().unwrap()));
            let mut steps = run["steps"].take();
            steps.as_array_mut().unwrap().append(page["steps"].as_array_mut().unwrap());
            page["steps"] = steps;
            run = page;
        }
        run
    }

    /// Waits until a run is there that a step has asked for: it begins right after that step's commit.
    pub(crate) fn is_there(&self, id: &str) {
        eventually(&format!("run {id} is there"), || self.api("GET", &format!("/runs/{id}"), b"").status == 200);
    }

    /// Waits until a run has ended and returns it.
    #[track_caller]
    pub(crate) fn ended(&self, id: &str) -> Value {
        eventually(&format!("run {id} has ended: {:#}", self.run(id)), || !self.run(id)["ended_at"].is_null());
        self.run(id)
    }

    /// Starts a run by hand, waits for its end and returns it.
    #[track_caller]
    pub(crate) fn run_once(&self, workflow: &str, context: &Value) -> Value {
        let id = self.start_run(workflow, &json!({"context": context}));
        self.ended(&id)
    }

    /// Waits until a run's step stands so, and returns the run.
    #[track_caller]
    pub(crate) fn step_is(&self, id: &str, path: &str, status: &str) -> Value {
        let is_so = || self.run(id)["steps"].as_array().unwrap().iter().any(|s| s["path"] == path && s["status"] == status);
        eventually(&format!("step {path} of run {id} is {status}: {:#}", self.run(id)), is_so);
        self.run(id)
    }

    /// Stored runs, newest first.
    pub(crate) fn runs(&self) -> Vec<Value> {
        self.get("/runs?limit=500")["items"].as_array().unwrap().clone()
    }

    /// Every stored run that a query asks for, newest first, from all pages of the list.
    pub(crate) fn all_runs(&self, query: &str) -> Vec<Value> {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("/runs?{query}&limit=500{after}"));
            all.extend_from_slice(page["items"].as_array().unwrap());
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return all,
            }
        }
    }

    /// The newest run, whole.
    #[track_caller]
    pub(crate) fn newest_run(&self) -> Value {
        let id = self.runs().first().expect("a run")["id"].as_str().unwrap().to_owned();
        self.get(&format!("/runs/{id}"))
    }

    /// The command line against this host.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Output {
        self.cli_with(arguments, b"")
    }

    pub(crate) fn cli_with(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
        command.args(arguments).env("WEFT_URL", &self.url).env("WEFT_TOKEN", self.data.token());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(data: &Data, options: &[&str], environment: Headers<'_>) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data.path()).args(options);
    command.env("NO_COLOR", "1").env_remove("WEFT_DATA").envs(environment.iter().copied());
    command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

pub(crate) fn send(agent: &ureq::Agent, method: &str, url: &str, headers: Headers<'_>, body: &[u8]) -> Answer {
    try_send(agent, method, url, headers, body).unwrap_or_else(|error| panic!("{method} {url}: {error}"))
}

/// A request that may find nobody.
pub(crate) fn try_send(
    agent: &ureq::Agent,
    method: &str,
    url: &str,
    headers: Headers<'_>,
    body: &[u8],
) -> Result<Answer, ureq::Error> {
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = agent.run(request.body(body.to_vec()).unwrap())?;
    let body = response.body_mut().with_config().limit(64 << 20).read_to_vec()?;
    Ok(Answer { status: response.status().as_u16(), headers: response.headers().clone(), body })
}

/// The repository's folder.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The target folder: the one that the binary under test was built into.
pub(crate) fn target() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_weft")).ancestors().nth(2).unwrap().to_owned()
}

/// A component that `cargo xtask test` built.
pub(crate) fn guest(name: &str) -> Vec<u8> {
    let path = guest_path(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}; run `cargo xtask test`"))
}

/// Where it stands.
pub(crate) fn guest_path(name: &str) -> String {
    target().join("test-guests").join(format!("{name}.wasm")).to_str().unwrap().to_owned()
}

/// The command line without any host.
pub(crate) fn offline(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
    command.args(arguments).env_remove("WEFT_DATA").env("WEFT_URL", "http://127.0.0.1:1");
    command.stdin(Stdio::null()).output().unwrap()
}

/// How many plugins come with the host.
pub(crate) fn built_in() -> usize {
    weft::built_in::PLUGINS.len()
}

/// The shim between host and system, built once for this process.
pub(crate) fn shim() -> PathBuf {
    static BUILT: std::sync::LazyLock<PathBuf> = std::sync::LazyLock::new(|| {
        let library = target().join(format!("weft-shim-{}.so", std::process::id()));
        let source = repository().join("tests/shim/store_shim.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(source).args(["-ldl", "-lpthread"]);
        assert!(compiler.status().expect("a C compiler").success());
        library
    });
    BUILT.clone()
}

/// The workflow that shows a type, `tests/workflows/<type>.yaml`, with texts of it replaced.
pub(crate) fn example(name: &str, replaced: &[(&str, &str)]) -> Value {
    let file = repository().join(format!("tests/workflows/{name}.yaml"));
    let text = std::fs::read_to_string(file).unwrap();
    let text = replaced.iter().fold(text, |text, (from, to)| text.replace(from, to));
    serde_saphyr::from_str(&text).unwrap()
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// A workflow that is published with a trigger's config and these steps.
pub(crate) fn workflow(key: &str, trigger: &Value, steps: &Value) -> Value {
    json!({"weft": 1, "key": key, "trigger": {"type": "webhook", "config": trigger}, "steps": steps})
}

/// A workflow of the test plugin `acme/lab`, which starts by name only.
pub(crate) fn lab(key: &str, steps: &Value) -> Value {
    lab_with(key, steps, &json!({}))
}

/// The same, with options.
pub(crate) fn lab_with(key: &str, steps: &Value, options: &Value) -> Value {
    let mut steps = steps.clone();
    name_types(&mut steps);
    let trigger = json!({"type": "acme/lab/callable", "config": {"mode": "async"}});
    json!({"weft": 1, "key": key, "trigger": trigger, "steps": steps, "options": options})
}

/// Types without a vendor become those of the test plugin.
fn name_types(steps: &mut Value) {
    for step in steps.as_array_mut().into_iter().flatten() {
        if let Some(Value::String(kind)) = step.get_mut("type")
            && !kind.contains('/')
            && !["data", "condition", "response"].contains(&kind.as_str())
        {
            *kind = format!("acme/lab/{kind}");
        }
        if let Some(Value::Object(branches)) = step.get_mut("branches") {
            branches.values_mut().for_each(name_types);
        }
    }
}

/// The signature of GitHub's scheme.
pub(crate) fn github_signature(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// Asks again until it is so, or fails after a long time.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(30), "still not: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Opens a raw connection, for requests that no client would send.
pub(crate) fn connect(url: &str) -> std::net::TcpStream {
    let stream = std::net::TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

/// Sends bytes and reads all that comes until the other side closes, or `enough` says so.
pub(crate) fn raw(url: &str, request: &[u8], enough: impl Fn(&str) -> bool) -> String {
    let mut stream = connect(url);
    stream.write_all(request).unwrap();
    let (mut text, mut bytes) = (String::new(), [0; 4096]);
    while !enough(&text) {
        match stream.read(&mut bytes) {
            Ok(count @ 1..) => text.push_str(&String::from_utf8_lossy(&bytes[..count])),
            _ => break,
        }
    }
    text
}
