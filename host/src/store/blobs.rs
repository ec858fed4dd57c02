//! Files named by what is in them: plugins, and values too large for the engine.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Error;
use super::folder::sync_folder;
use crate::digest::Digest;

/// A folder of files named by their digests.
pub struct Blobs(PathBuf);

impl Blobs {
    /// Opens a folder, making it if there is none, and removes what an interrupted write left behind.
    pub fn open(path: &Path) -> Result<Self, Error> {
        fs::create_dir_all(path).map_err(Error::io(path))?;
        for entry in fs::read_dir(path).map_err(Error::io(path))? {
            let entry = entry.map_err(Error::io(path))?.path();
            if entry.extension().is_some_and(|extension| extension == "part") {
                fs::remove_file(&entry).map_err(Error::io(&entry))?;
            }
        }
        Ok(Self(path.to_owned()))
    }

    /// Keeps some bytes; durable when it returns. Blocks. Equal bytes are kept once.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, Error> {
        let digest = Digest::of(bytes);
        let path = self.path(&digest);
        if path.exists() {
            // Whoever put it there may not have come to this yet.
            return sync_folder(&self.0).map(|()| digest);
        }
        let mut random = [0; 8];
        getrandom::fill(&mut random).expect("the system has random numbers");
        let part = self.0.join(format!("{}.part", hex::encode(random)));
        let written = File::create_new(&part).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        if let Err(error) = written {
            // The disk may be full, and this is the last that it needs.
            let _ = fs::remove_file(&part);
            return Err(Error::io(&part)(error));
        }
        fs::rename(&part, &path).map_err(Error::io(&path))?;
        sync_folder(&self.0)?;
        Ok(digest)
    }

    /// The bytes with a digest. Blocks. What does not have its digest any more is damage.
    pub fn get(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let path = self.path(digest);
        let bytes = fs::read(&path).map_err(Error::io(&path))?;
        if Digest::of(&bytes) == *digest { Ok(bytes) } else { Err(Error::Corrupt(path.display().to_string())) }
    }

    /// Removes the bytes with a digest, which nothing refers to any more. Blocks.
    pub fn remove(&self, digest: &Digest) -> Result<(), Error> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(&path)(error)),
            _ => Ok(()),
        }
    }

    /// Every file with its length and when it was written.
    pub(super) fn list(&self) -> Result<Vec<(Digest, u64, SystemTime)>, Error> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(Error::io(&self.0))? {
            let entry = entry.map_err(Error::io(&self.0))?;
            if let Ok(digest) = entry.file_name().to_string_lossy().into_owned().try_into() {
                let facts = entry.metadata().map_err(Error::io(&entry.path()))?;
                let written = facts.modified().map_err(Error::io(&entry.path()))?;
                found.push((digest, facts.len(), written));
            }
        }
        Ok(found)
    }

    /// Removes files that nothing refers to and that were written before a time: files are written before what refers to them.
    /// Returns how many they were, and their bytes.
    pub(super) fn sweep(&self, live: &BTreeSet<Digest>, before: SystemTime) -> Result<(u64, u64), Error> {
        let (mut files, mut bytes) = (0, 0);
        for (digest, length, written) in self.list()? {
            if !live.contains(&digest) && written < before {
                let path = self.path(&digest);
                fs::remove_file(&path).map_err(Error::io(&path))?;
                (files, bytes) = (files + 1, bytes + length);
            }
        }
        Ok((files, bytes))
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.0.join(digest.hex())
    }
}
