//! Plugins from a real OCI registry, started by the test: by tag and by digest, with credentials, and nothing that was tampered with.
//! And from one that only pretends to be one.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::harness::{Host, eventually, guest};
use crate::server::Server;

/// `docker-registry` over a folder of its own.
struct Registry {
    child: Child,
    folder: TempDir,
    address: String,
}

impl Registry {
    fn start() -> Self {
        Self::start_with("")
    }

    /// Whoever has no password is refused. `weft`, `pass:word`.
    fn with_password() -> Self {
        Self::start_with("auth: {htpasswd: {realm: weft, path: FOLDER/htpasswd}}\n")
    }

    fn start_with(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display().to_string();
        std::fs::write(folder.path().join("htpasswd"), "weft:$2y$05$6E9ZMKOJEdmHo1voj3X7H.9JNJIuyofRxqQY0Ake1jWUCpoWtVlLG\n")
            .unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {at}/store}}}}\nhttp: {{addr: '{address}'}}\n{}",
            more.replace("FOLDER", &at)
        );
        let file = folder.path().join("config.yml");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("docker-registry is installed by `cargo xtask test`");
        let registry = Self { child, folder, address };
        eventually("the registry listens", || std::net::TcpStream::connect(&registry.address).is_ok());
        registry
    }

    fn reference(&self, rest: &str) -> String {
        format!("oci://{}/{rest}", self.address)
    }

    /// The file of a blob with this digest.
    fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        self.folder.path().join("store/docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command line with variables; by default it knows no credentials.
fn cli(host: &Host, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
    command.args(arguments).env("WEFT_URL", &host.url).env("WEFT_TOKEN", host.data.token());
    command.env("DOCKER_CONFIG", "/nowhere").env_remove("WEFT_REGISTRY_USER").env_remove("WEFT_REGISTRY_PASSWORD");
    command.envs(environment.iter().copied()).output().unwrap()
}

#[track_caller]
fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn refused(output: &Output, code: i32, words: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(words), "{said}");
}

/// A file with the test plugin `acme/greet`.
fn file(host: &Host, name: &str, bytes: &[u8]) -> String {
    let path = host.data.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path.display().to_string()
}

fn installed(host: &Host, name: &str) -> bool {
    host.get("/plugins")["items"].as_array().unwrap().iter().any(|plugin| plugin["name"] == name)
}

#[test]
fn what_is_pushed_is_what_is_pulled() {
    let (host, registry) = (Host::start(), Registry::start());
    let greet = file(&host, "greet.wasm", &guest("greet"));
    let at = registry.reference("acme/greet:0.1.0");
    let pushed = done(&cli(&host, &["plugin", "push", &greet, &at, "--plain-http"], &[]));
    let (tagged, manifest) = pushed.trim().split_once("@").unwrap();
    assert_eq!(tagged, at);
    // The layout is the one of `wkg`.
    let document: Value = serde_json::from_slice(&std::fs::read(registry.blob(manifest)).unwrap()).unwrap();
    assert_eq!(document["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
    let layers = document["layers"].as_array().unwrap();
    assert_eq!((layers.len(), &layers[0]["mediaType"]), (1, &json!("application/wasm")));
    let layer = layers[0]["digest"].as_str().unwrap();
    assert_eq!(std::fs::read(registry.blob(layer)).unwrap(), guest("greet"));
    let config = std::fs::read(registry.blob(document["config"]["digest"].as_str().unwrap())).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert!(
        config["component"]["exports"].as_array().unwrap().iter().any(|export| export == "weft:plugin/nodes@0.1.0"),
        "{config}"
    );

    let planned = done(&cli(&host, &["plugin", "plan", &at, "--plain-http"], &[]));
    assert!(planned.contains("acme/greet 0.1.0 (not installed)"), "{planned}");
    assert!(!installed(&host, "acme/greet"));
    let by_digest = registry.reference(&format!("acme/greet@{manifest}"));
    for source in [&at, &by_digest, &format!("{at}@{manifest}")] {
        let added: Value =
            serde_json::from_str(&done(&cli(&host, &["--json", "plugin", "add", source, "--plain-http"], &[]))).unwrap();
        assert_eq!((&added["name"], &added["digest"]), (&json!("acme/greet"), &json!(layer)));
    }
    // What is not there, and what is no reference.
    let wrong = format!("sha256:{}", "0".repeat(64));
    let add = |source: &str| cli(&host, &["plugin", "add", source, "--plain-http"], &[]);
    refused(&add(&registry.reference(&format!("acme/greet@{wrong}"))), 4, "manifest unknown");
    refused(&add(&registry.reference("acme/greet:9")), 4, "manifest unknown");
    for bad in ["acme/greet", "acme/greet:", "acme/greet@sha256:12", "greet"] {
        refused(&add(&registry.reference(bad)), 2, "write oci://HOST/REPO:TAG");
    }
    refused(&add("oci://acme/greet:1"), 2, "the registry's host is missing");
    refused(&add("oci://registry.example:443/acme/greet:1"), 2, "--plain-http is for registries on this machine");
    refused(&cli(&host, &["plugin", "add", "oci://127.0.0.1:9/acme/greet:1"], &[]), 3, "127.0.0.1:9");
    // A component in the registry that is none of ours is refused by the host, like any other.
    let other = file(&host, "other.wasm", &guest("other_world"));
    let at = registry.reference("acme/other:1");
    done(&cli(&host, &["plugin", "push", &other, &at, "--plain-http"], &[]));
    refused(&add(&at), 1, "no Weft plugin");
}

#[test]
fn what_was_tampered_with_is_refused() {
    let (host, registry) = (Host::start(), Registry::start());
    let greet = file(&host, "greet.wasm", &guest("greet"));
    let at = registry.reference("acme/greet:0.1.0");
    let pushed = done(&cli(&host, &["plugin", "push", &greet, &at, "--plain-http"], &[]));
    let manifest = pushed.trim().split_once("@").unwrap().1.to_owned();
    let flip = |digest: &str| {
        let mut bytes = std::fs::read(registry.blob(digest)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(registry.blob(digest), bytes).unwrap();
    };
    let document: Value = serde_json::from_slice(&std::fs::read(registry.blob(&manifest)).unwrap()).unwrap();
    let layer = document["layers"][0]["digest"].as_str().unwrap();
    flip(layer);
    refused(&cli(&host, &["plugin", "add", &at, "--plain-http"], &[]), 1, layer);
    flip(layer);
    // A manifest that is another one than its digest says.
    let whole = std::fs::read_to_string(registry.blob(&manifest)).unwrap();
    std::fs::write(registry.blob(&manifest), whole.replace("application/wasm", "application/nasm")).unwrap();
    let refusal = cli(&host, &["plugin", "add", &format!("{at}@{manifest}"), "--plain-http"], &[]);
    assert_eq!(refusal.status.code(), Some(1), "{}", String::from_utf8_lossy(&refusal.stderr));
    std::fs::write(registry.blob(&manifest), whole).unwrap();
    assert!(!installed(&host, "acme/greet"));
    // More than a plugin may have: no more of it is read than that.
    let mut huge = guest("greet");
    let section = 33 * 1024 * 1024_u32;
    huge.push(0);
    let mut length = section;
    while length >= 0x80 {
        huge.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    huge.push(length as u8);
    huge.extend([1, b'x']);
    huge.resize(huge.len() + section as usize - 2, 0);
    let huge = file(&host, "huge.wasm", &huge);
    let at = registry.reference("acme/huge:1");
    done(&cli(&host, &["plugin", "push", &huge, &at, "--plain-http"], &[]));
    refused(&cli(&host, &["plugin", "add", &at, "--plain-http"], &[]), 1, "more than the 33554432 bytes");
}

#[test]
fn a_registry_that_wants_a_password_gets_it() {
    let (host, registry) = (Host::start(), Registry::with_password());
    let greet = file(&host, "greet.wasm", &guest("greet"));
    let at = registry.reference("acme/greet:0.1.0");
    let push = |environment: &[(&str, &str)]| cli(&host, &["plugin", "push", &greet, &at, "--plain-http"], environment);
    let add = |environment: &[(&str, &str)]| cli(&host, &["plugin", "add", &at, "--plain-http"], environment);
    let known = [("WEFT_REGISTRY_USER", "weft"), ("WEFT_REGISTRY_PASSWORD", "pass:word")];
    let wrong = [("WEFT_REGISTRY_USER", "weft"), ("WEFT_REGISTRY_PASSWORD", "guess")];
    refused(&push(&[]), 1, "WEFT_REGISTRY_USER");
    refused(&push(&wrong), 1, "WEFT_REGISTRY_USER");
    refused(&push(&known[..1]), 2, "given together");
    done(&push(&known));
    refused(&add(&[]), 1, "WEFT_REGISTRY_USER");
    refused(&add(&wrong), 1, "WEFT_REGISTRY_USER");
    // As `docker login` writes it down: for this registry, and not for another.
    let config = |registry: &str| {
        let folder = tempfile::tempdir().unwrap();
        let auths = json!({"auths": {registry: {"auth": "d2VmdDpwYXNzOndvcmQ="}}});
        std::fs::write(folder.path().join("config.json"), auths.to_string()).unwrap();
        folder
    };
    let other = config("registry.example");
    refused(&add(&[("DOCKER_CONFIG", other.path().to_str().unwrap())]), 1, "WEFT_REGISTRY_USER");
    let own = config(&registry.address);
    done(&add(&[("DOCKER_CONFIG", own.path().to_str().unwrap())]));
    done(&add(&known));
    assert!(installed(&host, "acme/greet"));
}

/// A registry that answers as it is told: for a path the status with further header fields, and the body. It ends with the process.
fn pretending(answer: impl Fn(&str) -> (String, Vec<u8>) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read_exact(&mut byte).is_err() {
                    break;
                }
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            let (status, body) = answer(head.split(' ').nth(1).unwrap_or_default());
            let length =
                if status.contains("content-length") { String::new() } else { format!("content-length: {}\r\n", body.len()) };
            let _ = write!(stream, "HTTP/1.1 {status}\r\nconnection: close\r\n{length}\r\n");
            let _ = stream.write_all(&body);
            if status.contains("endless") {
                while stream.write_all(&[b' '; 64 * 1024]).is_ok() {}
            }
        }
    });
    format!("oci://{address}/acme/greet:1")
}

/// What a manifest says of `acme/greet`, with this as the size of its layer.
fn manifest(size: i64) -> Vec<u8> {
    let digest = format!("sha256:{}", hex::encode(Sha256::digest(guest("greet"))));
    let config = json!({"mediaType": "application/vnd.wasm.config.v0+json", "digest": digest, "size": 2});
    let layers = json!([{"mediaType": "application/wasm", "digest": digest, "size": size}]);
    json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": layers})
        .to_string()
        .into_bytes()
}

const MANIFEST: &str = "200 OK\r\ncontent-type: application/vnd.oci.image.manifest.v1+json";

/// A registry with this for the layer.
fn with_layer(size: i64, layer: impl Fn() -> (String, Vec<u8>) + Send + 'static) -> String {
    pretending(move |path| match path {
        "/v2/" => ("200 OK".into(), Vec::new()),
        path if path.contains("/manifests/") => (MANIFEST.into(), manifest(size)),
        _ => layer(),
    })
}

#[test]
fn a_registry_that_lies_gets_nowhere() {
    let host = Host::start();
    let add = |source: &str| cli(&host, &["plugin", "add", source, "--plain-http"], &[]);
    let whole = guest("greet");
    let size = i64::try_from(whole.len()).unwrap();
    let honest = || ("200 OK".to_owned(), guest("greet"));
    refused(&add(&with_layer(size - 1, honest)), 1, "gave more bytes than");
    refused(&add(&with_layer(size + 1, honest)), 1, "gave fewer bytes than");
    refused(&add(&with_layer(-1, honest)), 1, "-1 bytes");
    refused(&add(&with_layer(i64::MAX, honest)), 1, "more than the 33554432 bytes");
    let other = move || {
        let mut bytes = guest("greet");
        bytes[100] ^= 1;
        ("200 OK".to_owned(), bytes)
    };
    refused(&add(&with_layer(size, other)), 1, "sha256:");
    refused(&add(&with_layer(size, || ("500 Oops".into(), Vec::new()))), 1, "500");
    // No end of a manifest, and of a layer.
    let endless = || (format!("200 OK\r\ncontent-length: {}\r\nx-endless: yes", u64::MAX / 2), Vec::new());
    refused(&add(&pretending(move |_| endless())), 1, "sends more than the 41943040 bytes");
    refused(&add(&with_layer(size, endless)), 1, "gave more bytes than");
    refused(&add(&pretending(|_| ("200 OK".into(), b"<html>".to_vec()))), 1, "oci://");
    assert!(!installed(&host, "acme/greet"));
    // The same without lies.
    done(&add(&with_layer(size, honest)));
}

#[test]
fn a_registry_sends_nobody_to_private_addresses() {
    let (host, canary) = (Host::start(), Server::start());
    let port = canary.address().rsplit_once(':').unwrap().1.to_owned();
    let size = i64::try_from(guest("greet").len()).unwrap();
    let redirecting = |to: String| with_layer(size, move || (format!("307 Elsewhere\r\nlocation: {to}"), Vec::new()));
    let places = [
        format!("http://{}/", canary.address()),
        format!("http://localhost:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("http://0x7f.1:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        "http://169.254.169.254/latest/meta-data".into(),
        "http://10.0.0.1:1/".into(),
        "https://[fd00::1]/".into(),
    ];
    for place in places {
        let output = cli(&host, &["plugin", "add", &redirecting(place), "--plain-http"], &[]);
        refused(&output, 1, "a private address; if that is right, name it: --private");
    }
    // The server that gives tokens out, and where an upload is to go.
    let realm = format!("401 Who\r\nwww-authenticate: Bearer realm=\"{}/token\",service=\"x\"", canary.url);
    let tokens = pretending(move |_| (realm.clone(), Vec::new()));
    let known = [("WEFT_REGISTRY_USER", "weft"), ("WEFT_REGISTRY_PASSWORD", "pass:word")];
    refused(&cli(&host, &["plugin", "add", &tokens, "--plain-http"], &known), 1, "--private");
    let upload = format!("202 There\r\nlocation: {}/upload", canary.url);
    let uploads = pretending(move |path| match path {
        "/v2/" => ("200 OK".into(), Vec::new()),
        path if path.ends_with("/uploads/") => (upload.clone(), Vec::new()),
        _ => ("404 None".into(), Vec::new()),
    });
    let greet = file(&host, "greet.wasm", &guest("greet"));
    refused(&cli(&host, &["plugin", "push", &greet, &uploads, "--plain-http"], &[]), 1, "--private");
    assert_eq!(canary.connections(), 0);
    assert!(TcpStream::connect(canary.address()).is_ok(), "it was there all the time");
    // Unless that is named: there is `hello`, which is not what the manifest names.
    const HELLO: &str = "got sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let to_canary = redirecting(format!("http://{}/", canary.address()));
    let named = cli(&host, &["plugin", "add", &to_canary, "--plain-http", "--private", canary.address()], &[]);
    refused(&named, 1, HELLO);
    refused(&cli(&host, &["plugin", "add", &to_canary, "--plain-http", "--private", "http://x"], &[]), 2, "HOST:PORT");
    refused(
        &cli(&host, &["plugin", "add", &to_canary, "--plain-http"], &[("WEFT_REGISTRY_PRIVATE", canary.address())]),
        1,
        HELLO,
    );
}
