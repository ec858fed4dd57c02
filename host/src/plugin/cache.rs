//! Compiled components on disk, so that starting does not compile.
//!
//! Running a compiled component is trusting it like the host's own code, and wasmtime accepts almost any corruption of
//! one. So only what this host compiled is run: each file carries a MAC under a key of this data folder.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use wasmtime::component::Component;

use super::engine::Engine;
use crate::digest::Digest;

const MAC_BYTES: usize = 32;

/// A folder of compiled components.
pub struct Cache {
    folder: PathBuf,
    key: [u8; 32],
    engine: u64,
}

impl Cache {
    /// Opens a folder, making it if there is none. `key` must stay the same over restarts, and secret.
    pub fn open(folder: &Path, key: [u8; 32], engine: &Engine) -> std::io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut hasher = DefaultHasher::new();
        engine.wasmtime().precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self { folder: folder.to_owned(), key, engine: hasher.finish() })
    }

    /// The compiled component with a digest; none if it was not compiled yet by this engine, or its file was changed.
    pub(super) fn load(&self, engine: &Engine, digest: &Digest) -> Option<Component> {
        let path = self.path(digest);
        let bytes = fs::read(&path).ok()?;
        let (mac, compiled) = bytes.split_at_checked(MAC_BYTES)?;
        if self.mac(digest, compiled).verify_slice(mac).is_err() {
            tracing::warn!(path = %path.display(), "a compiled component was changed on disk, or kept under another master key; compiling it again");
            return None;
        }
        #[expect(unsafe_code, reason = "the MAC shows that this host compiled it")]
        // SAFETY: `deserialize` wants bytes that `precompile_component` of a trusted process made. The MAC under this
        // folder's secret key covers them, and they were read into memory before it was checked.
        let component = unsafe { Component::deserialize(engine.wasmtime(), compiled) };
        component.ok()
    }

    /// Keeps what a [`Compiler`](super::Compiler) of this host made of a component, and gives it back as something to run.
    pub(super) fn keep(&self, engine: &Engine, digest: &Digest, compiled: Vec<u8>) -> Result<Component, wasmtime::Error> {
        #[expect(unsafe_code, reason = "this host's compiler made the bytes")]
        // SAFETY: they came from a child of this process that ran this same program, or from this process.
        let component = unsafe { Component::deserialize(engine.wasmtime(), &compiled)? };
        let mut file = self.mac(digest, &compiled).finalize().into_bytes().to_vec();
        file.extend_from_slice(&compiled);
        if let Err(error) = write(&self.path(digest), &file) {
            tracing::warn!(%error, "a compiled component could not be kept; it will be compiled again at the next start");
        }
        Ok(component)
    }

    /// Removes what was compiled of a component, if anything was.
    pub(super) fn remove(&self, digest: &Digest) {
        let path = self.path(digest);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "a compiled component that is not needed could not be removed");
        }
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(format!("{}-{:016x}", digest.hex(), self.engine))
    }

    /// Covers which component it is for which engine: one file cannot take another's place.
    fn mac(&self, digest: &Digest, compiled: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(digest.as_bytes());
        mac.update(&self.engine.to_be_bytes());
        mac.update(compiled);
        mac
    }
}

/// A crash leaves the old file or the new one. What is lost is compiled again, so nothing is flushed.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let part = path.with_extension("part");
    fs::write(&part, bytes)?;
    fs::rename(&part, path)
}
