//! A store in one file that any engine can be filled from.
//!
//! JSON lines: a [`Line::Header`], then every value under its key, whole, each preceded by the files that only it refers to, and a
//! [`Line::End`] with the SHA-256 of all lines before it. What follows from the rest is left out, and so is `master.key`, without
//! which the secrets in the file cannot be opened.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Error, Opened, each_pair};
use crate::store::catalog::{self, PluginRecord};
use crate::store::folder::sync_folder;
use crate::store::{FORMAT, keys, record};

/// The form of the file. Raised when an older Weft could not read what this one writes.
pub(super) const EXPORT_FORM: u32 = 1;

/// A line of the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line<'a> {
    /// The first.
    Header(Header),
    /// A file that a value refers to by its digest, which it is named by.
    Blob {
        /// Base64.
        bytes: Cow<'a, str>,
    },
    /// A value.
    Pair {
        /// Hexadecimal.
        key: Cow<'a, str>,
        /// Base64.
        value: Cow<'a, str>,
    },
    /// The last.
    End(End),
}

/// What is written first.
#[derive(Serialize, Deserialize)]
pub(super) struct Header {
    /// [`EXPORT_FORM`].
    pub(super) weft_export: u32,
    /// The format of what is stored.
    pub(super) store_format: u32,
    /// Who wrote it, for people.
    pub(super) written_by: String,
    /// What is not in it, for people.
    pub(super) left_out: String,
}

/// What is written last.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct End {
    pub(super) pairs: u64,
    pub(super) blobs: u64,
    /// Of all lines before this one, their ends included.
    pub(super) sha256: String,
}

/// What was written or read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// Keys with their values.
    pub pairs: u64,
    /// Files of plugins.
    pub blobs: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Writes the store of a data folder to a file, which takes the place of one that is there. It is whole or not there at all.
pub fn export(data: &Path, file: &Path) -> Result<Exported, Error> {
    let opened = Opened::open(data)?;
    let part = part_of(file);
    let done = write_file(&opened, &part).and_then(|done| {
        fs::rename(&part, file).map_err(|error| Error::File(file.to_owned(), error))?;
        Ok(done)
    });
    if done.is_err() {
        let _ = fs::remove_file(&part);
    } else if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        sync_folder(folder)?;
    }
    done
}

/// Where a file is written before it is whole.
fn part_of(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    file.with_file_name(name)
}

fn write_file(opened: &Opened, path: &Path) -> Result<Exported, Error> {
    let failed = |error| Error::File(path.to_owned(), error);
    // What runs were given is not for everybody.
    let file = File::options().create(true).truncate(true).write(true).mode(0o600).open(path).map_err(failed)?;
    let mut lines = Lines { out: BufWriter::new(file), hash: Sha256::new(), written: Exported::default(), path };
    lines.write(&Line::Header(Header {
        weft_export: EXPORT_FORM,
        store_format: FORMAT,
        written_by: concat!("weft ", env!("CARGO_PKG_VERSION")).into(),
        left_out: "master.key: keep it apart, the secrets in here can only be opened with it".into(),
    }))?;
    each_pair(&opened.kv, |key, value| {
        let kind = key.first().copied().unwrap_or_default();
        if kind == b'c' || kind == b'm' || keys::DERIVED.contains(&kind) {
            return Ok(());
        }
        let value = record::unwrap(&opened.kv, &opened.blobs, key, value)?;
        if kind == b'p' {
            let plugin: PluginRecord = catalog::decode(&value)?;
            let bytes = opened.blobs.get(&plugin.digest)?;
            lines.write(&Line::Blob { bytes: STANDARD.encode(bytes).into() })?;
            lines.written.blobs += 1;
        }
        lines.write(&Line::Pair { key: hex::encode(key).into(), value: STANDARD.encode(value).into() })?;
        lines.written.pairs += 1;
        Ok(())
    })?;
    let Exported { pairs, blobs, .. } = lines.written;
    let sha256 = hex::encode(lines.hash.clone().finalize());
    lines.write(&Line::End(End { pairs, blobs, sha256 }))?;
    let file = lines.out.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    Ok(lines.written)
}

struct Lines<'a> {
    out: BufWriter<File>,
    hash: Sha256,
    written: Exported,
    path: &'a Path,
}

impl Lines<'_> {
    fn write(&mut self, line: &Line<'_>) -> Result<(), Error> {
        let failed = |error| Error::File(self.path.to_owned(), error);
        let mut bytes = serde_json::to_vec(line).map_err(|error| failed(error.into()))?;
        bytes.push(b'\n');
        self.hash.update(&bytes);
        self.written.bytes += bytes.len() as u64;
        self.out.write_all(&bytes).map_err(failed)
    }
}
