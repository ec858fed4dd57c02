//! A host's process as the system sees it: its memory and its children.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// What a process has in memory, in KiB.
pub(crate) fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.trim().split(' ').next()?.parse().ok()).unwrap_or(0)
}

/// The processes that a process started and that are still there.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let parent = |child: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).ok()?;
        // After the name, which may hold anything, come the state and the parent.
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let processes = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    processes.filter(|child| parent(*child) == Some(pid)).collect()
}

/// Watches a process's memory from a thread of its own.
pub(crate) struct Resident {
    pid: u32,
    before_kib: AtomicU64,
    most_kib: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Resident {
    pub(crate) fn of(pid: u32) -> Self {
        let (most_kib, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (most, stopped) = (most_kib.clone(), stop.clone());
        std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                most.fetch_max(resident_kib(pid), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Self { pid, before_kib: AtomicU64::new(resident_kib(pid)), most_kib, stop }
    }

    /// By how much it was more than at the last time that this was asked, at most, in MiB.
    pub(crate) fn growth_mib(&self) -> u64 {
        let most = self.most_kib.swap(0, Ordering::Relaxed);
        let before = self.before_kib.swap(resident_kib(self.pid), Ordering::Relaxed);
        most.saturating_sub(before) / 1024
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
