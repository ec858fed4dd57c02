//! Files of runs: what is known of each, and beside it what it holds.

use bytes::Bytes;

use super::runs::{Pending, decode, encode};
use super::{Error, Store, keys};
use crate::run::{FileFacts, FileId, RunId, StagedFile};

impl Pending {
    /// Keeps files. How many bytes they hold.
    pub(super) fn files(&mut self, files: &[StagedFile]) -> Result<u64, Error> {
        let mut bytes = 0;
        for StagedFile { id, facts, content } in files {
            let key = keys::file(id);
            self.batch.put(&key, &encode(facts)?);
            self.batch.put(&keys::content_of(&key), content);
            bytes += content.len() as u64;
        }
        Ok(bytes)
    }

    /// Removes the files of a run.
    pub(super) fn forget_files(&mut self, store: &Store, run: RunId) -> Result<(), Error> {
        let files = keys::files(run);
        for prefix in [keys::content_of(&files), files] {
            for (key, raw) in store.scan_raw(&prefix)? {
                self.batch.remove(&key, Some(&raw));
            }
        }
        Ok(())
    }
}

impl Store {
    pub(super) fn read_file(&self, id: &FileId) -> Result<Option<(FileFacts, Bytes)>, Error> {
        let key = keys::file(id);
        let Some(facts) = self.read(&key)? else { return Ok(None) };
        let missing = || Error::Corrupt(format!("the content of the file {id} is not there"));
        let content = self.read(&keys::content_of(&key))?.ok_or_else(missing)?;
        Ok(Some((decode(&facts)?, content)))
    }
}
