//! `cargo xtask freeze`: keeps the contract as it is released. From then on plugins rely on it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::root;

/// Copies `wit/*.wit`, without comments, to `wit/released/VERSION` and adds their digests to `wit/released/SHA256SUMS`. `tests/contract.rs` holds every later
/// version of the same track to what stands there.
pub(crate) fn freeze() -> Result<()> {
    let wit = root().join("wit");
    let mut files: Vec<PathBuf> = fs::read_dir(&wit)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "wit"));
    files.sort();
    let types = fs::read_to_string(wit.join("types.wit"))?;
    let version = types.lines().find_map(|line| line.strip_prefix("package weft:plugin@")?.strip_suffix(';'));
    let version = version.context("wit/types.wit does not begin with `package weft:plugin@VERSION;`")?;
    let folder = wit.join("released").join(version);
    ensure!(
        !folder.exists(),
        "{version} is released already, and what is released does not change: give `package weft:plugin@…` in wit/*.wit and `CONTRACT` in \
         host/src/plugin/inspect.rs the next version"
    );
    fs::create_dir_all(&folder)?;
    let sums = wit.join("released/SHA256SUMS");
    let mut listed = fs::read_to_string(&sums).unwrap_or_default();
    for file in files {
        let (name, bytes) =
            (file.file_name().unwrap_or_default().to_string_lossy().into_owned(), without_comments(&fs::read_to_string(&file)?));
        fs::write(folder.join(&name), &bytes)?;
        listed.push_str(&format!("{}  {version}/{name}\n", hex::encode(Sha256::digest(&bytes))));
    }
    fs::write(&sums, listed)?;
    println!("wit/released/{version} is frozen. Commit it.");
    Ok(())
}

/// What plugins rely on. What is said about it may be said better later.
fn without_comments(wit: &str) -> String {
    let is_kept = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
    wit.lines().filter(is_kept).map(|line| format!("{line}\n")).collect()
}
