//! Whether the disk has room for new work. What is under way needs some too: it is to find it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use crate::limits::{DISK_LOOK_MS, FREE_BYTES_DEFAULT, FREE_PART_DEFAULT};

/// Looks at a disk now and then; in between it remembers.
pub(super) struct Space {
    path: PathBuf,
    /// Bytes that must be free; [`BY_DISK`]: as many as suit the disk.
    min_free_bytes: AtomicU64,
    began: Instant,
    looked_ms: AtomicU64,
    is_short: AtomicBool,
}

const BY_DISK: u64 = u64::MAX;

impl Space {
    /// The disk that a folder is on.
    pub(super) fn of(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            min_free_bytes: AtomicU64::new(BY_DISK),
            began: Instant::now(),
            looked_ms: AtomicU64::new(0),
            is_short: AtomicBool::new(false),
        }
    }

    /// New work needs so many free bytes from now on; none: as many as suit the disk.
    pub(super) fn keep_free(&self, bytes: Option<u64>) {
        self.min_free_bytes.store(bytes.unwrap_or(BY_DISK), Ordering::Relaxed);
        self.look();
    }

    /// Whether there is room for new work.
    pub(super) fn is_enough(&self) -> bool {
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let looked_ms = self.looked_ms.load(Ordering::Relaxed);
        // One of those who come at the same time looks.
        if now_ms - looked_ms.min(now_ms) >= DISK_LOOK_MS
            && self.looked_ms.compare_exchange(looked_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.look();
        }
        !self.is_short.load(Ordering::Relaxed)
    }

    fn look(&self) {
        let (free, wanted) = match rustix::fs::statvfs(&self.path) {
            Ok(disk) => {
                let total = disk.f_blocks.saturating_mul(disk.f_frsize);
                (disk.f_bavail.saturating_mul(disk.f_frsize), wanted(total, self.min_free_bytes.load(Ordering::Relaxed)))
            }
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "cannot see how much of the disk is free");
                return;
            }
        };
        let is_short = free < wanted;
        if self.is_short.swap(is_short, Ordering::Relaxed) == is_short {
            return;
        }
        if is_short {
            tracing::warn!(
                "the disk has {free} bytes free, less than the {wanted} that are kept for runs under way: nothing new begins"
            );
        } else {
            tracing::info!("the disk has {free} bytes free again: new runs begin");
        }
    }
}

/// Bytes that must be free on a disk of this size.
fn wanted(total: u64, min_free_bytes: u64) -> u64 {
    if min_free_bytes == BY_DISK { FREE_BYTES_DEFAULT.min(total / FREE_PART_DEFAULT) } else { min_free_bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_default_a_small_disk_keeps_less_free() {
        assert_eq!(wanted(1 << 40, BY_DISK), FREE_BYTES_DEFAULT);
        assert_eq!(wanted(1_000, BY_DISK), 50);
        assert_eq!((wanted(1_000, 0), wanted(1_000, 7)), (0, 7));
    }

    #[test]
    fn what_is_wanted_can_be_more_than_there_is() {
        let folder = tempfile::tempdir().unwrap();
        let space = Space::of(folder.path());
        space.keep_free(Some(u64::MAX - 1));
        assert!(!space.is_enough());
        space.keep_free(Some(0));
        assert!(space.is_enough());
    }
}
