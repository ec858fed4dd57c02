//! The data folder: one process at a time, on a file system that keeps what it was told to flush, and without what an interrupted
//! `import` or `compact` left behind.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock, statfs};

use super::Error;

/// Where a store is made anew, beside the one in use, whose place it takes when it is whole. After that the old one stands
/// here until it is removed: whatever is found here is not needed.
const FRESH: &str = "store.new";

/// A data folder that no other process has open.
pub(super) struct Folder {
    path: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

impl Folder {
    /// Takes a folder for this process, making it if there is none.
    pub(super) fn claim(path: &Path) -> Result<Self, Error> {
        fs::create_dir_all(path).map_err(Error::io(path))?;
        check_file_system(path)?;
        let lock = path.join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&lock).map_err(Error::io(&lock))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(Error::Locked(path.display().to_string())),
            Err(error) => return Err(Error::Io(lock.display().to_string(), error.into())),
        }
        let folder = Self { path: path.to_owned(), _lock: file };
        if folder.remove_fresh()? {
            tracing::warn!(path = %path.display(), "removed what an interrupted import or compaction left behind");
        }
        Ok(folder)
    }

    /// The engine's folder.
    pub(super) fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    /// Where the engine's folder is made anew.
    pub(super) fn fresh(&self) -> PathBuf {
        self.path.join(FRESH)
    }

    /// The folder of files named by their digests.
    pub(super) fn blobs(&self) -> PathBuf {
        self.path.join("blobs")
    }

    /// Removes what stands where a store is made anew. False: nothing did.
    pub(super) fn remove_fresh(&self) -> Result<bool, Error> {
        let fresh = self.fresh();
        match fs::remove_dir_all(&fresh) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::Io(fresh.display().to_string(), error)),
        }
    }
}

/// Makes what was made, renamed and removed in a folder durable.
pub(super) fn sync_folder(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(Error::io(path))
}

/// What is known of a kind of file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// It is local.
    Local,
    /// It acknowledges what it has not flushed, locks nothing, or may go away: this one.
    Refused(&'static str),
    /// Nothing is known.
    Unknown,
}

/// Refuses file systems on which a flush or a lock does not hold.
fn check_file_system(path: &Path) -> Result<(), Error> {
    let facts = statfs(path).map_err(|error| Error::Io(path.display().to_string(), error.into()))?;
    // The kernel's numbers have 32 bits; the field is wider, signed or not, from one architecture to the other.
    let number = u64::try_from(facts.f_type).unwrap_or_default() & 0xffff_ffff;
    match trust(number) {
        Trust::Local => Ok(()),
        Trust::Refused(name) => Err(Error::NotLocal { folder: path.display().to_string(), file_system: name }),
        Trust::Unknown => {
            tracing::warn!(path = %path.display(), "the file system of kind {number:#x} is not known to keep what was flushed to it");
            Ok(())
        }
    }
}

/// By the numbers of `statfs(2)` and the kernel's `magic.h`.
fn trust(number: u64) -> Trust {
    match number {
        // ext2 to ext4, xfs, btrfs, f2fs, zfs, bcachefs, jfs, overlayfs, tmpfs, ramfs.
        0xef53 | 0x5846_5342 | 0x9123_683e | 0xf2f5_2010 | 0x2fc1_2fc1 | 0xca45_1a4e | 0x3153_464a | 0x794c_7630
        | 0x0102_1994 | 0x8584_58f6 => Trust::Local,
        0x6969 => Trust::Refused("NFS"),
        0x517b | 0xfe53_4d42 => Trust::Refused("SMB"),
        0xff53_4d42 => Trust::Refused("CIFS"),
        0x6573_5546 => Trust::Refused("FUSE"),
        0x0102_1997 => Trust::Refused("9P"),
        0x786f_4256 => Trust::Refused("VirtualBox's shared folders"),
        0x00c3_6400 => Trust::Refused("Ceph"),
        0x0bd0_0bd0 => Trust::Refused("Lustre"),
        0x4750_4653 => Trust::Refused("GPFS"),
        0x0116_1970 => Trust::Refused("GFS2"),
        0x7461_636f => Trust::Refused("OCFS2"),
        0x5346_414f | 0x6b41_4653 => Trust::Refused("AFS"),
        0x7375_7245 => Trust::Refused("Coda"),
        _ => Trust::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_local_file_systems_are_trusted() {
        assert_eq!(trust(0xef53), Trust::Local);
        assert_eq!(trust(0x6969), Trust::Refused("NFS"));
        assert_eq!(trust(1), Trust::Unknown);
        // No such thing as a disk, and the kernel says so.
        let error = check_file_system(Path::new("/proc/self/no-such-thing")).unwrap_err();
        assert!(matches!(error, Error::Io(..)));
        let error = Error::NotLocal { folder: "/mnt/x".into(), file_system: "NFS" };
        assert!(error.to_string().starts_with("/mnt/x is on NFS"), "{error}");
    }

    #[test]
    fn a_folder_has_one_owner_and_no_leftovers() {
        let data = tempfile::tempdir().unwrap();
        fs::create_dir_all(data.path().join("store.new/blobs")).unwrap();
        let first = Folder::claim(data.path()).unwrap();
        assert!(!first.fresh().exists());
        assert!(matches!(Folder::claim(data.path()), Err(Error::Locked(_))));
        drop(first);
        Folder::claim(data.path()).unwrap();
    }
}
