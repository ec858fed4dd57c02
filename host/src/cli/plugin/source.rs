//! Where plugins come from: files, folders, registries. The host only ever gets bytes.

use std::path::{Path, PathBuf};

use clap::Args;

use super::super::Failure;
use super::oci;

/// How registries are reached.
#[derive(Args)]
pub(in crate::cli) struct Access {
    /// Speak HTTP without TLS with the registry: only on this machine (127.0.0.1, localhost).
    #[arg(long)]
    pub(super) plain_http: bool,
    /// A server with a private address (`HOST` or `HOST:PORT`) to which registries may send us on, such as the store behind one. May
    /// be given again; in the variable with commas between.
    #[arg(long, env = "WEFT_REGISTRY_PRIVATE", value_name = "HOST", value_delimiter = ',')]
    pub(super) private: Vec<String>,
}

/// Takes folders apart: the plugins in one are its `.wasm` files, by name.
pub(super) fn expand(sources: &[String]) -> Result<Vec<String>, Failure> {
    let mut all = Vec::new();
    for source in sources {
        let path = Path::new(source);
        if oci::is_reference(source) || !path.is_dir() {
            all.push(source.clone());
            continue;
        }
        let unreadable = |error: std::io::Error| Failure::Usage(format!("{source}: {error}"));
        let entries = std::fs::read_dir(path).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
        let mut files: Vec<PathBuf> = entries.map_err(unreadable)?;
        files.retain(|file| file.extension().is_some_and(|extension| extension == "wasm") && file.is_file());
        files.sort();
        if files.is_empty() {
            return Err(Failure::Usage(format!("{source}: there is no .wasm file in this folder")));
        }
        all.extend(files.into_iter().map(|file| file.display().to_string()));
    }
    Ok(all)
}

/// The bytes of one plugin.
pub(super) async fn read(source: &str, access: &Access) -> Result<Vec<u8>, Failure> {
    if oci::is_reference(source) {
        return oci::pull(source, access).await;
    }
    std::fs::read(source).map_err(|error| Failure::Usage(format!("{source}: {error}")))
}
