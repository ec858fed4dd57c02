//! A store from a file that [`super::export()`] wrote.
//!
//! It is made beside the place where a store stands, and is there only when everything was read, the end of the file included. What
//! follows from the rest is made anew.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::export::{EXPORT_FORM, End, Exported, Header, Line};
use super::{Error, sync_tree};
use crate::limits::CARE_BATCH_BYTES;
use crate::store::folder::{Folder, sync_folder};
use crate::store::history::Totals;
use crate::store::record::Batch;
use crate::store::run_store::RunHead;
use crate::store::runs::{decode, index_keys};
use crate::store::timers::Timer;
use crate::store::{Blobs, FORMAT, Kv as _, SledKv, keys};
use crate::workflow::Key;

/// Makes the store of a data folder that has none.
pub fn import(data: &Path, file: &Path) -> Result<Exported, Error> {
    let lines = File::open(file).map_err(|error| Error::File(file.to_owned(), error))?;
    let folder = Folder::claim(data)?;
    if folder.store().exists() {
        return Err(Error::Occupied(data.to_owned()));
    }
    let read = read_into(&folder, BufReader::new(lines), file);
    if read.is_err() {
        folder.remove_fresh()?;
        return read;
    }
    let (fresh, store) = (folder.fresh(), folder.store());
    sync_tree(&fresh)?;
    fs::rename(&fresh, &store).map_err(crate::store::Error::io(&store))?;
    sync_folder(data)?;
    read
}

fn read_into(folder: &Folder, mut lines: impl BufRead, file: &Path) -> Result<Exported, Error> {
    let mut filler = Filler::new(folder)?;
    let mut line = Vec::new();
    loop {
        line.clear();
        lines.read_until(b'\n', &mut line).map_err(|error| Error::File(file.to_owned(), error))?;
        filler.number += 1;
        if line.last() != Some(&b'\n') {
            return Err(filler.wrong("the file ends before its end: it was cut off"));
        }
        let parsed =
            serde_json::from_slice(&line).map_err(|error| filler.wrong(format!("this is no line of an export: {error}")))?;
        if let Some(end) = filler.take(parsed)? {
            let sha256 = hex::encode(filler.hash.clone().finalize());
            let Exported { pairs, blobs, .. } = filler.read;
            if end != (End { pairs, blobs, sha256 }) {
                return Err(filler.wrong("the file is not what was written: its numbers or its SHA-256 differ"));
            }
            if !lines.fill_buf().map_err(|error| Error::File(file.to_owned(), error))?.is_empty() {
                return Err(filler.wrong("something follows the end"));
            }
            filler.read.bytes += line.len() as u64;
            return filler.finish();
        }
        filler.hash.update(&line);
        filler.read.bytes += line.len() as u64;
    }
}

/// Fills an engine.
struct Filler {
    kv: SledKv,
    blobs: Blobs,
    batch: Batch,
    totals: BTreeMap<Key, Totals>,
    hash: Sha256,
    read: Exported,
    /// The line, from 1.
    number: u64,
}

impl Filler {
    fn new(folder: &Folder) -> Result<Self, Error> {
        let (kv, blobs) = (SledKv::open(&folder.fresh())?, Blobs::open(&folder.blobs())?);
        let (batch, totals, hash) = (Batch::default(), BTreeMap::new(), Sha256::new());
        Ok(Self { kv, blobs, batch, totals, hash, read: Exported::default(), number: 0 })
    }

    fn wrong(&self, reason: impl Into<String>) -> Error {
        Error::NotAnExport { line: self.number, reason: reason.into() }
    }

    /// Takes a line. Some: it was the end.
    fn take(&mut self, line: Line<'_>) -> Result<Option<End>, Error> {
        match line {
            Line::Header(header) => self.header(&header)?,
            _ if self.number == 1 => return Err(self.wrong("the first line of an export is its header")),
            Line::Blob { bytes } => {
                let bytes = STANDARD.decode(&*bytes).map_err(|error| self.wrong(error.to_string()))?;
                self.blobs.put(&bytes)?;
                self.read.blobs += 1;
            }
            Line::Pair { key, value } => {
                let key = hex::decode(&*key).map_err(|error| self.wrong(error.to_string()))?;
                let value = STANDARD.decode(&*value).map_err(|error| self.wrong(error.to_string()))?;
                self.pair(&key, &value)?;
                self.read.pairs += 1;
            }
            Line::End(end) => return Ok(Some(end)),
        }
        Ok(None)
    }

    fn header(&self, header: &Header) -> Result<(), Error> {
        if self.number != 1 {
            return Err(self.wrong("a second header"));
        }
        if header.weft_export > EXPORT_FORM {
            return Err(self.wrong(format!("form {} is of a later version of Weft: use that one", header.weft_export)));
        }
        if header.store_format > FORMAT {
            return Err(crate::store::Error::NewerFormat { found: header.store_format, known: FORMAT }.into());
        }
        Ok(())
    }

    fn pair(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let kind = key.first().copied().unwrap_or_default();
        let is_known = keys::KINDS.iter().any(|(known, _)| *known == kind);
        if !is_known || kind == b'c' || kind == b'm' || keys::DERIVED.contains(&kind) {
            return Err(self.wrong("an export has no such key"));
        }
        if kind == b'r' {
            let head: RunHead = decode(value)?;
            index_keys(&head).iter().for_each(|index| self.batch.put(index, &[]));
            self.totals.entry(head.workflow.clone()).or_default().add(Totals::of(&head));
        }
        if kind == b'i' {
            let timer: Timer = decode(value)?;
            self.batch.put(&keys::due_timer(key, timer.at_ms), &[]);
        }
        self.batch.put(key, value);
        if self.batch.bytes() >= CARE_BATCH_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), Error> {
        let mut batch = std::mem::take(&mut self.batch);
        for bytes in batch.take_blobs() {
            self.blobs.put(&bytes)?;
        }
        Ok(self.kv.apply(batch.into_parts().ops)?)
    }

    fn finish(mut self) -> Result<Exported, Error> {
        self.totals.iter().for_each(|(workflow, totals)| self.batch.put(&keys::totals(workflow), &totals.write()));
        self.batch.put(keys::TOTALS_COUNTED, &[]);
        self.batch.put(keys::FORMAT, &FORMAT.to_be_bytes());
        self.write()?;
        Ok(self.read)
    }
}
