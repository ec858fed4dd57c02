//! Whom a host believes that a file is a vendor's plugin: keys, signatures, and everything that somebody may do to a file.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use weft::digest::Digest;
use weft::plugin::{SigningKey, Statement};

use crate::harness::{Answer, Data, Host, built_in, eventually};
use crate::parcel::{asking, parcel, version_in_use, wrapping};

/// A folder of keys and files.
struct Desk(Data);

impl Desk {
    fn new() -> Self {
        Self(Data::new())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A key with this name; its public half.
    fn key(&self, name: &str) -> PathBuf {
        let made = alone(&["plugin", "keygen", "--out", self.path(name).to_str().unwrap()]);
        assert!(made.status.success(), "{made:?}");
        self.path(&format!("{name}.pub"))
    }

    /// A component signed with a key.
    fn signed(&self, component: &[u8], key: &str) -> Vec<u8> {
        let file = self.path("file.wasm");
        std::fs::write(&file, component).unwrap();
        let key = self.path(key);
        let signed = alone(&["plugin", "sign", file.to_str().unwrap(), "--key", key.to_str().unwrap()]);
        assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
        std::fs::read(file).unwrap()
    }

    /// A component with a signature of one's own making.
    fn forged(&self, component: &[u8], key: &str, statement: &Statement) -> Vec<u8> {
        let key = SigningKey::from_pem(&std::fs::read_to_string(self.path(key)).unwrap()).unwrap();
        key.sign(component, statement).unwrap()
    }
}

/// The command line without a host.
fn alone(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
    command.args(arguments).env("WEFT_URL", "http://127.0.0.1:1").env("NO_COLOR", "1").output().unwrap()
}

fn statement(component: &[u8], version: &str, capabilities: &[&str]) -> Statement {
    let capabilities = capabilities.iter().map(|name| (*name).to_owned()).collect();
    Statement { component: Digest::of(component), name: "acme/parcel".into(), version: version.parse().unwrap(), capabilities }
}

fn trust(host: &Host, vendor: &str, key: &Path) -> String {
    let trusted = host.cli(&["--json", "vendor", "trust", vendor, key.to_str().unwrap()]);
    assert!(trusted.status.success(), "{}", String::from_utf8_lossy(&trusted.stderr));
    let trusted: Value = serde_json::from_slice(&trusted.stdout).unwrap();
    trusted["fingerprint"].as_str().unwrap().to_owned()
}

fn add(host: &Host, file: &[u8]) -> Answer {
    host.api("POST", "/plugins", file)
}

/// The signature of a file, and the component without it.
fn taken_off(file: &[u8], component: &[u8]) -> Vec<u8> {
    assert_eq!(&file[..component.len()], component);
    file[component.len()..].to_vec()
}

#[test]
fn what_a_trusted_key_signed_is_taken_and_everything_else_is_not() {
    let (desk, host) = (Desk::new(), Host::start());
    let (acme, other) = (desk.key("acme"), desk.key("other"));
    desk.key("nobody");
    let component = parcel("1.0.0");
    let good = desk.signed(&component, "acme");
    // Nothing is asked of a vendor without keys, but a signature that is wrong is never taken.
    let broken = { [&good[..good.len() - 3], b"xy\n"].concat() };
    add(&host, &broken).expect_problem(422, "signature-invalid");
    let fingerprint = trust(&host, "acme", &acme);
    trust(&host, "other", &other);

    let refused = |file: &[u8], code: &str| {
        add(&host, file).expect_problem(422, code);
        assert_eq!(host.get("/plugins")["items"].as_array().unwrap().len(), built_in(), "{code}: nothing was installed");
    };
    refused(&component, "signature-missing");
    refused(&desk.signed(&component, "nobody"), "signer-unknown");
    refused(&desk.signed(&component, "other"), "signer-of-other-vendor");
    // A bit of the component, of the key, of the signature, of what was signed.
    let name = b"weft:signature".len();
    let section = good.windows(name).position(|part| part == b"weft:signature").unwrap() + name;
    let flipped = |at: usize| {
        let mut file = good.clone();
        file[at] ^= 1;
        file
    };
    let text = component.windows(17).rposition(|part| part == b"Says which versio").unwrap();
    refused(&flipped(text), "signature-of-other-file");
    for at in [section, section + 31, section + 32, section + 95, section + 96, section + 140, good.len() - 1] {
        refused(&flipped(at), "signature-invalid");
    }
    // Another component's signature.
    let moved = taken_off(&desk.signed(&parcel("1.1.0"), "acme"), &parcel("1.1.0"));
    refused(&[&component[..], &moved].concat(), "signature-of-other-file");
    // One for another version, made by whoever has the key.
    refused(&desk.forged(&component, "acme", &statement(&component, "1.0.1", &[])), "signature-of-other-file");
    // The same component, asking for more than was signed; and one whose signer said less than it asks for.
    let wider = asking(&component, "http");
    refused(&[&wider[..], &taken_off(&good, &component)].concat(), "wider-than-signed");
    refused(&desk.forged(&wider, "acme", &statement(&wider, "1.0.0", &["kv"])), "wider-than-signed");
    // Something behind the signature.
    refused(&[&good[..], b"\0\x02\x01x"].concat(), "signature-invalid");

    // Several may sign; one of them must be trusted.
    let both = desk.signed(&desk.signed(&component, "nobody"), "acme");
    let added = add(&host, &both);
    assert_eq!(added.status, 201, "{}", String::from_utf8_lossy(&added.body));
    let signers = added.json()["signed_by"].clone();
    assert_eq!(signers[1], json!({"key": fingerprint, "trusted": true}));
    assert_eq!(signers[0]["trusted"], json!(false));
    assert_eq!(host.get("/plugins")["items"][0]["signed_by"], signers);
    let shown = String::from_utf8(host.cli(&["plugin", "inspect", "acme/parcel"]).stdout).unwrap();
    assert!(shown.contains(&format!("signed   with {fingerprint} (trusted)")), "{shown}");
    host.apply(&wrapping(""));
    assert_eq!(version_in_use(&host), "1.0.0");
    // Each refusal is in the audit log with its code.
    let told = host.get("/audit?limit=500");
    for code in ["signature-missing", "signer-unknown", "signer-of-other-vendor", "signature-of-other-file", "wider-than-signed"]
    {
        let entries = told["items"].as_array().unwrap();
        assert!(entries.iter().any(|entry| entry["what"] == "plugin-refused" && entry["details"]["code"] == code), "{code}");
    }
}

#[test]
fn an_older_version_is_taken_only_by_somebody_who_says_so() {
    let host = Host::start();
    for version in ["1.1.0", "2.0.0"] {
        assert_eq!(add(&host, &parcel(version)).status, 201);
    }
    add(&host, &parcel("1.0.0")).expect_problem(409, "plugin-downgrade");
    let folder = host.data.path().join("plugins");
    std::fs::write(folder.join("old.wasm"), parcel("1.0.0")).unwrap();
    eventually("the folder's is refused", || !host.get("/plugins")["refused"].as_array().unwrap().is_empty());
    let file = host.data.path().join("old.wasm");
    std::fs::write(&file, parcel("1.0.0")).unwrap();
    let refused = host.cli(&["plugin", "add", file.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    assert!(host.cli(&["plugin", "add", "--allow-downgrade", file.to_str().unwrap()]).status.success());
    // What is installed may be given again, whatever is newer.
    assert_eq!(add(&host, &parcel("1.0.0")).status, 200);

    // Files that come together have no order.
    let host = Host::start_in(Data::new(), &[]);
    let data = host.stop();
    for (name, version) in [("a", "2.0.0"), ("b", "1.1.0"), ("c", "1.0.0")] {
        std::fs::write(data.path().join(format!("plugins/{name}.wasm")), parcel(version)).unwrap();
    }
    let host = Host::start_in(data, &[]);
    assert_eq!(host.get("/plugins")["refused"], json!([]));
    assert_eq!(host.get("/plugins")["items"].as_array().unwrap().len(), built_in() + 3);
}

#[test]
fn a_host_that_requires_signatures_uses_nothing_else() {
    let desk = Desk::new();
    let acme = desk.key("acme");
    let host = Host::start();
    assert_eq!(add(&host, &parcel("1.0.0")).status, 201);
    host.apply(&wrapping(""));
    assert_eq!(version_in_use(&host), "1.0.0");
    let fingerprint = trust(&host, "acme", &acme);
    assert_eq!(version_in_use(&host), "1.0.0", "what is installed stays");

    // At a start it is left out, its files are refused, and the built-in plugins go on.
    let required = [("WEFT_REQUIRE_SIGNED", "1")];
    let host = Host::start_in(host.stop(), &required);
    let unused = host.get("/plugins")["unused"].clone();
    assert_eq!((&unused[0]["name"], &unused[0]["code"]), (&json!("acme/parcel"), &json!("signature-missing")), "{unused}");
    let listed = String::from_utf8(host.cli(&["plugin", "list"]).stdout).unwrap();
    assert!(listed.contains("not used: acme/parcel 1.0.0"), "{listed}");
    assert_eq!(host.hook("wrapping", b"{}").status, 404);
    // It is active, and whoever looks is told why nobody listens.
    let shown = host.get("/workflows/wrapping");
    assert_eq!((&shown["status"], &shown["urls"]), (&json!("active"), &json!([])), "{shown}");
    assert!(shown["not_listening"].as_str().unwrap().contains("acme/parcel"), "{shown}");
    let listed =
        host.get("/workflows")["items"].as_array().unwrap().iter().find(|item| item["key"] == "wrapping").unwrap().clone();
    assert_eq!(listed["not_listening"], shown["not_listening"]);
    let said = |arguments: &[&str]| String::from_utf8(host.cli(arguments).stdout).unwrap();
    let (shown, listed) = (said(&["workflow", "show", "wrapping"]), said(&["workflow", "list"]));
    assert!(shown.contains("not listening") && !shown.contains("listens at") && shown.contains("acme/parcel"), "{shown}");
    assert!(listed.contains("active, not listening"), "{listed}");
    add(&host, &parcel("1.1.0")).expect_problem(422, "signature-missing");
    add(&host, &desk.signed(&parcel("1.0.0"), "acme")).expect_problem(409, "version-taken");
    let signed = desk.signed(&parcel("1.1.0"), "acme");
    assert_eq!(add(&host, &signed).status, 201);
    host.apply(&wrapping(""));
    assert_eq!(version_in_use(&host), "1.1.0");
    assert_eq!(host.get("/workflows/wrapping")["not_listening"], Value::Null);
    // Also a vendor that nobody knows.
    let unknown = crate::harness::guest("greet");
    add(&host, &unknown).expect_problem(422, "signature-missing");

    // A key that is taken back takes its plugins along, at the next start.
    let distrusted = host.cli(&["vendor", "distrust", "acme", &fingerprint]);
    assert!(distrusted.status.success(), "{distrusted:?}");
    assert_eq!(host.cli(&["vendor", "distrust", "acme", &fingerprint]).status.code(), Some(4));
    assert_eq!(host.get("/vendors")["items"], json!([]));
    assert_eq!(version_in_use(&host), "1.1.0");
    let host = Host::start_in(host.stop(), &required);
    let codes: Vec<Value> =
        host.get("/plugins")["unused"].as_array().unwrap().iter().map(|unused| unused["code"].clone()).collect();
    assert_eq!(codes, ["signature-missing", "signer-unknown"]);
    // Without the rule all of them are back, and so are their workflows.
    let host = Host::start_in(host.stop(), &[]);
    assert_eq!(version_in_use(&host), "1.1.0");
    assert_eq!(host.get("/plugins")["unused"], json!([]));
    let told: Vec<Value> = host.get("/audit?limit=500")["items"].as_array().unwrap().clone();
    let keys: Vec<&Value> =
        told.iter().map(|entry| &entry["what"]).filter(|what| what.as_str().unwrap().starts_with("key-")).collect();
    assert_eq!(keys, ["key-distrusted", "key-trusted"]);
}

#[test]
fn a_held_version_must_be_signed_still_when_it_is_approved() {
    let (desk, host) = (Desk::new(), Host::start());
    assert_eq!(add(&host, &parcel("1.0.0")).status, 201);
    assert_eq!(add(&host, &asking(&parcel("1.1.0"), "http")).json()["status"], "held");
    trust(&host, "acme", &desk.key("acme"));
    host.api("POST", "/plugins/acme/parcel/approve", br#"{"version": "1.1.0"}"#).expect_problem(422, "signature-missing");
    // A signature approves of nothing: what it asks for is wider all the same.
    let signed = desk.signed(&asking(&parcel("2.0.0"), "http"), "acme");
    assert_eq!(add(&host, &signed).json()["status"], "held");
    assert_eq!(host.api("POST", "/plugins/acme/parcel/approve", br#"{"version": "2.0.0"}"#).status, 200);
}

#[test]
fn keys_and_signatures_need_no_host() {
    let desk = Desk::new();
    let public = desk.key("acme");
    let (private, public) = (desk.path("acme"), public.to_str().unwrap());
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&private).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let again = alone(&["plugin", "keygen", "--out", private.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(2), "a key is never written over");

    let (file, signed) = (desk.path("a.wasm"), desk.path("b.wasm"));
    std::fs::write(&file, asking(&parcel("1.0.0"), "kv")).unwrap();
    let [file, signed] = [&file, &signed].map(|path| path.to_str().unwrap());
    let made = alone(&["--json", "plugin", "sign", file, "--key", private.to_str().unwrap(), "--out", signed]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let said: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!(
        (&said["name"], &said["version"], &said["capabilities"]),
        (&json!("acme/parcel"), &json!("1.0.0"), &json!(["kv"]))
    );
    let verified = alone(&["--json", "plugin", "verify", signed, "--key", public]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    assert_eq!(serde_json::from_slice::<Value>(&verified.stdout).unwrap(), said);

    let refused = |file: &str, key: &str, words: &str| {
        let refused = alone(&["plugin", "verify", file, "--key", key]);
        assert_eq!(refused.status.code(), Some(1), "{words}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains(words), "{refused:?}");
    };
    refused(file, public, "signature-missing");
    refused(signed, desk.key("other").to_str().unwrap(), "signature-missing");
    let mut bytes = std::fs::read(signed).unwrap();
    bytes[1_000] ^= 1;
    std::fs::write(signed, bytes).unwrap();
    refused(signed, public, "signature-of-other-file");
    // What is no plugin is not signed, and what is no key signs nothing.
    std::fs::write(file, b"rubbish").unwrap();
    assert_eq!(alone(&["plugin", "sign", file, "--key", private.to_str().unwrap()]).status.code(), Some(1));
    assert_eq!(alone(&["plugin", "sign", signed, "--key", public]).status.code(), Some(2));
}

#[test]
fn only_keys_are_trusted_and_not_for_the_built_in_vendor() {
    let (desk, host) = (Desk::new(), Host::start());
    let pem = std::fs::read(desk.key("acme")).unwrap();
    host.api("POST", "/vendors/weft/keys", &pem).expect_problem(400, "invalid-request");
    host.api("POST", "/vendors/Acme!/keys", &pem).expect_problem(404, "not-found");
    let private = std::fs::read(desk.path("acme")).unwrap();
    for body in [&b""[..], b"rubbish", &private, b"\xff\xfe"] {
        host.api("POST", "/vendors/acme/keys", body).expect_problem(400, "invalid-request");
    }
    assert_eq!(host.api("POST", "/vendors/acme/keys", &pem).status, 200);
    assert_eq!(host.api("POST", "/vendors/acme/keys", &pem).status, 200, "trusting it again changes nothing");
    let listed = host.get("/vendors")["items"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["pem"].as_str().unwrap().as_bytes(), pem);
    host.stop().expect_whole();
}
