//! `weft plugin keygen`, `sign` and `verify`: without a host.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::super::{Failure, print};
use crate::digest::Digest;
use crate::lab::Bench;
use crate::plugin::{PublicKey, Signed, SigningKey, Statement, fitting, inspect};

/// Makes a key: the private half in a file, the public one beside it.
pub(super) fn keygen(out: &Path, is_json: bool) -> Result<(), Failure> {
    let mut public_path = out.as_os_str().to_owned();
    public_path.push(".pub");
    let public_path = PathBuf::from(public_path);
    let key = SigningKey::generate();
    // Never over another key: what it signed would have no more.
    let write = |path: &Path, mode: u32, text: &str| {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed(path))?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed(path))
    };
    write(out, 0o600, &key.to_pem())?;
    write(&public_path, 0o644, &key.public().to_pem())?;
    let fingerprint = key.public().fingerprint();
    if is_json {
        print::json(&json!({ "private": out, "public": public_path, "fingerprint": fingerprint }));
    } else {
        println!("{fingerprint}");
        println!("{}: the private key; keep it to yourself, and keep a copy", out.display());
        println!("{}: the public key, for `weft vendor trust VENDOR {}`", public_path.display(), public_path.display());
    }
    Ok(())
}

/// Signs a file: after it was found to be a plugin, with what it says of itself.
pub(super) async fn sign(file: &Path, key: &Path, out: Option<&Path>, is_json: bool) -> Result<(), Failure> {
    let bytes = fs::read(file).map_err(failed(file))?;
    let key = SigningKey::from_pem(&fs::read_to_string(key).map_err(failed(key))?).map_err(usage(key))?;
    let component: Arc<[u8]> = Signed::read(&bytes).map_err(refused)?.component.into();
    let bench = Bench::load(component.clone()).await.map_err(refused)?;
    let plugin = bench.plugin();
    let statement = Statement {
        component: Digest::of(&component),
        name: plugin.description.name.clone(),
        version: plugin.description.version.clone(),
        capabilities: plugin.facts.capabilities(),
    };
    let signed = key.sign(&bytes, &statement).map_err(refused)?;
    let out = out.unwrap_or(file);
    // Whole or not at all: the old file may be the only one.
    let mut part = out.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    fs::write(&part, &signed).and_then(|()| fs::rename(&part, out)).map_err(failed(out))?;
    say(&statement, key.public(), is_json, &format!("{}: signed", out.display()));
    Ok(())
}

/// Looks whether a file is what somebody signed.
pub(super) fn verify(file: &Path, key: &Path, is_json: bool) -> Result<(), Failure> {
    let bytes = fs::read(file).map_err(failed(file))?;
    let key = PublicKey::from_pem(&fs::read_to_string(key).map_err(failed(key))?).map_err(usage(key))?;
    let facts = inspect(&bytes).map_err(refused)?;
    let signatures =
        fitting(&bytes, &facts).map_err(|untrusted| Failure::Refused(format!("{}: {untrusted}", untrusted.code())))?;
    match signatures.into_iter().find(|signature| signature.key == key) {
        Some(signature) => {
            say(&signature.statement, key, is_json, &format!("{}: as it was signed", file.display()));
            Ok(())
        }
        None => Err(Failure::Refused(format!("signature-missing: {} has no signature of this key", file.display()))),
    }
}

fn say(statement: &Statement, key: PublicKey, is_json: bool, words: &str) {
    let Statement { component, name, version, capabilities } = statement;
    let fingerprint = key.fingerprint();
    if is_json {
        print::json(&json!({
            "name": name, "version": version, "component": component, "capabilities": capabilities, "key": fingerprint,
        }));
        return;
    }
    let capabilities: Vec<&str> = capabilities.iter().map(String::as_str).collect();
    let asks = if capabilities.is_empty() { "nothing".into() } else { capabilities.join(", ") };
    println!("{words}\nplugin   {name} {version}\nasks for {asks}\nkey      {fingerprint}");
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> Failure {
    move |error| Failure::Usage(format!("{}: {error}", path.display()))
}

fn usage(path: &Path) -> impl Fn(crate::plugin::SignatureError) -> Failure {
    move |error| Failure::Usage(format!("{}: {error}", path.display()))
}

fn refused(error: impl std::fmt::Display) -> Failure {
    Failure::Refused(error.to_string())
}
