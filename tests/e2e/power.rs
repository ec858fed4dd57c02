//! Power cuts at any moment under load: every run that was answered is there, and the store opens.
//!
//! The shim writes down what stood wherever the store writes, and when it flushed. After kill -9 a part of what was not flushed is
//! taken back: all of it, some pages, everything from some write on, or nothing. `WEFT_POWER_ROUNDS` asks for more rounds than the
//! short form, `WEFT_POWER_SEED` for the same moments again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::harness::{Data, Host, shim};
use crate::load::{Ledger, audit, definitions, live_and_die, random, setting};

const PAGE_BYTES: usize = 4096;

/// A write that was not flushed.
struct Write {
    sequence: u64,
    offset: usize,
    old_length: usize,
    /// What stood there.
    old: Vec<u8>,
}

/// What the shim wrote down: for each file the writes that were not flushed, oldest first. A host that was killed before it wrote left nothing.
fn unflushed(log: &Path) -> BTreeMap<PathBuf, Vec<Write>> {
    let bytes = if log.exists() { std::fs::read(log).unwrap() } else { Vec::new() };
    let mut files: BTreeMap<PathBuf, Vec<Write>> = BTreeMap::new();
    let mut rest = &bytes[..];
    // The last entry may be cut off: then what it is about was not done.
    while let Some((head, after)) = rest.split_at_checked(7 * 8) {
        let number = |index: usize| u64::from_ne_bytes(head[index * 8..][..8].try_into().unwrap());
        let [kind, sequence, offset, old_length, path, other, length] = [0, 1, 2, 3, 4, 5, 6].map(number);
        let Some((text, after)) = after.split_at_checked((path + other) as usize) else { break };
        let Some((old, after)) = after.split_at_checked(length as usize) else { break };
        rest = after;
        let text = std::str::from_utf8(text).unwrap();
        let (path, other) = text.split_at(path as usize);
        match kind {
            1 => {
                let (offset, old_length) = (offset as usize, old_length as usize);
                files.entry(path.into()).or_default().push(Write { sequence, offset, old_length, old: old.to_vec() });
            }
            2 => files.entry(path.into()).or_default().retain(|write| write.sequence > sequence),
            3 => {
                let writes = files.remove(Path::new(path)).unwrap_or_default();
                // Killed before it was renamed, it has its old name.
                let name = if Path::new(other).exists() { other } else { path };
                files.insert(name.into(), writes);
            }
            4 => drop(files.remove(Path::new(path))),
            other => panic!("an entry of kind {other}"),
        }
    }
    files.retain(|path, writes| !writes.is_empty() && path.exists());
    files
}

/// Takes back what the disk would not have had. Returns how many writes were in danger.
fn cut_power(log: &Path, state: &mut u64) -> usize {
    let fate = random(state) % 4;
    let mut in_danger = 0;
    for (path, writes) in unflushed(log) {
        in_danger += writes.len();
        let now = std::fs::read(&path).unwrap();
        let kept = if fate == 1 { (random(state) % (writes.len() as u64 + 1)) as usize } else { 0 };
        let before = rolled_back(now.clone(), &writes[kept..]);
        let left = match fate {
            // Everything is lost that was not flushed, or everything from some write on.
            0 | 1 => before,
            // Some pages are.
            2 => mixed(&before, &now, state),
            // The disk had it all.
            _ => now,
        };
        std::fs::write(&path, left).unwrap();
    }
    if log.exists() {
        std::fs::remove_file(log).unwrap();
    }
    in_danger
}

/// A file before these writes.
fn rolled_back(mut file: Vec<u8>, writes: &[Write]) -> Vec<u8> {
    for write in writes.iter().rev() {
        file.resize(write.old_length, 0);
        file[write.offset.min(write.old_length)..][..write.old.len()].copy_from_slice(&write.old);
    }
    file
}

/// Some pages of one version of a file, the rest of the other, with the length of either.
fn mixed(before: &[u8], now: &[u8], state: &mut u64) -> Vec<u8> {
    let length = if random(state).is_multiple_of(2) { before.len() } else { now.len() };
    let mut left = vec![0; length];
    for (index, page) in left.chunks_mut(PAGE_BYTES).enumerate() {
        let from = if random(state).is_multiple_of(2) { before } else { now };
        let from = from.get(index * PAGE_BYTES..).unwrap_or_default();
        let there = page.len().min(from.len());
        page[..there].copy_from_slice(&from[..there]);
    }
    left
}

/// The shim, and the file that it writes to.
struct Undo {
    shim: String,
    log: String,
    _folder: tempfile::TempDir,
}

impl Undo {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("undo").to_str().unwrap().to_owned();
        Self { shim: shim().to_str().unwrap().to_owned(), log, _folder: folder }
    }

    fn environment(&self) -> [(&str, &str); 2] {
        [("LD_PRELOAD", &self.shim), ("WEFT_SHIM_UNDO", &self.log)]
    }

    fn cut(&self, state: &mut u64) -> usize {
        cut_power(Path::new(&self.log), state)
    }
}

#[test]
fn every_answered_run_survives_a_power_cut() {
    let rounds = setting("WEFT_POWER_ROUNDS", 50);
    let seed = setting("WEFT_POWER_SEED", u64::from(std::process::id()) | 1);
    println!("{rounds} rounds, WEFT_POWER_SEED={seed}");
    let host = Host::start();
    definitions().iter().for_each(|definition| host.apply(definition));
    let mut data = host.stop();
    let (ledger, next, mut state, undo) = (Mutex::default(), AtomicU64::new(0), seed, Undo::new());
    let mut in_danger = 0;
    for round in 0..rounds {
        let environment = undo.environment();
        data = if random(&mut state).is_multiple_of(10) {
            Host::start_and_kill(data, &environment, Duration::from_millis(random(&mut state) % 500)).0
        } else {
            let life = Duration::from_millis(20 + random(&mut state) % 180);
            live_and_die(data, &environment, &ledger, &next, life)
        };
        in_danger += undo.cut(&mut state);
        let verified = data.care(&["verify"]);
        let said = String::from_utf8_lossy(&verified.stdout) + String::from_utf8_lossy(&verified.stderr);
        assert!(verified.status.success(), "round {round}: {said}");
    }
    let host = Host::start_in(data, &[]);
    let ledger: Ledger = ledger.into_inner().unwrap();
    let wrong = audit(&host, &ledger);
    println!(
        "{} synchronous and {} asynchronous runs were answered; {in_danger} writes had not been flushed",
        ledger.sync.len(),
        ledger.asynchronous.len()
    );
    assert!(ledger.sync.len() > 100 && ledger.asynchronous.len() > 50, "there was load");
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn a_data_folder_survives_a_power_cut_while_it_is_made() {
    let mut state = setting("WEFT_POWER_SEED", u64::from(std::process::id()) | 1);
    let undo = Undo::new();
    for _ in 0..setting("WEFT_POWER_ROUNDS", 50) / 5 {
        let life = Duration::from_millis(random(&mut state) % 500);
        let (data, _) = Host::start_and_kill(Data::new(), &undo.environment(), life);
        if Path::new(&undo.log).exists() {
            undo.cut(&mut state);
        }
        Host::start_in(data, &[]).stop().expect_whole();
    }
}

/// The control: where the store's file is not flushed, cutting the power must lose something.
#[test]
fn without_flushing_a_power_cut_loses_runs() {
    let host = Host::start();
    definitions().iter().for_each(|definition| host.apply(definition));
    let data = host.stop();
    let (ledger, undo) = (Mutex::default(), Undo::new());
    let environment = [&undo.environment()[..], &[("WEFT_SHIM_NOSYNC", "1")]].concat();
    let data = live_and_die(data, &environment, &ledger, &AtomicU64::new(0), Duration::from_millis(500));
    let ledger = ledger.into_inner().unwrap();
    assert!(ledger.sync.len() > 10);
    // Everything that was not flushed is lost.
    for (path, writes) in unflushed(Path::new(&undo.log)) {
        let before = rolled_back(std::fs::read(&path).unwrap(), &writes);
        std::fs::write(&path, before).unwrap();
    }
    let found = match Host::try_start(data, &[]) {
        Ok(host) => audit(&host, &ledger).iter().any(|line| line.contains("is lost")),
        Err(refused) => refused.log.contains("error"),
    };
    assert!(found, "{} answered, nothing lost", ledger.sync.len());
}
