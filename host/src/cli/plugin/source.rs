//! Where plugins come from: files and folders. The host only ever gets bytes.

use std::path::{Path, PathBuf};

use super::super::Failure;

/// Takes folders apart: the plugins in one are its `.wasm` files, by name.
pub(super) fn expand(sources: &[String]) -> Result<Vec<String>, Failure> {
    let mut all = Vec::new();
    for source in sources {
        let path = Path::new(source);
        if !path.is_dir() {
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
pub(super) fn read(source: &str) -> Result<Vec<u8>, Failure> {
    std::fs::read(source).map_err(|error| Failure::Usage(format!("{source}: {error}")))
}
