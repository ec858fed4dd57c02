//! Whether a store is whole: every value as it was written, everything there that others refer to, every number right.
//!
//! The records' own rules stand in [`records`]; this file looks at values, their pieces and their files.

mod records;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytes::Bytes;
use serde::Serialize;

use super::{Error, Opened, disk_bytes, each_pair};
use crate::digest::Digest;
use crate::limits::{COMPACT_BYTES_MIN, COMPACT_FACTOR, PROBLEMS_LISTED_MAX};
use crate::run::RunId;
use crate::store::audit;
use crate::store::history::Totals;
use crate::store::record::{self, Form};
use crate::store::{Blobs, Kv, keys};
use crate::workflow::Key;

/// What is to be done about a value that is not what was written.
const RESTORE: &str = "restore the data folder from a copy, or import an export";

/// What is to be done about what follows from the rest.
const REBUILD: &str = "nothing is lost: `weft store export`, then `weft store import` into a new folder, makes it anew";

/// What a store holds, and what is wrong with it.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// What there is of each kind.
    pub kinds: Vec<Kind>,
    /// Files for large values and plugins.
    pub blobs: Kind,
    /// Files that nothing refers to. `compact` removes them.
    pub unreferenced_blobs: Kind,
    /// Snapshots of other versions of Weft, which are not used.
    pub snapshots_of_other_forms: u64,
    /// Bytes of keys and values.
    pub live_bytes: u64,
    /// Bytes of the engine's files.
    pub disk_bytes: u64,
    /// The first problems.
    pub problems: Vec<Problem>,
    /// How many problems there are.
    pub problems_found: u64,
}

/// How many things of a kind there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Kind {
    /// What they are.
    pub name: &'static str,
    /// How many.
    pub count: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

/// Something wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What it is of.
    pub kind: &'static str,
    /// The key, in hexadecimal.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: &'static str,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.problems_found == 0
    }

    /// Whether the store takes much more of the disk than it must.
    pub fn is_worth_compacting(&self) -> bool {
        self.disk_bytes > COMPACT_BYTES_MIN && self.disk_bytes > COMPACT_FACTOR * self.live_bytes
    }
}

/// Looks at everything in the store of a data folder.
pub fn verify(data: &Path) -> Result<Report, Error> {
    let Opened { kv, blobs, folder } = Opened::open(data)?;
    let mut report = Verifier::over(&kv, &blobs).verify()?;
    report.disk_bytes = disk_bytes(&folder.store())?;
    Ok(report)
}

/// Looks at everything in an engine, for tests.
#[cfg(test)]
pub(in crate::store) fn verify_kv(kv: &dyn Kv, blobs: &Blobs) -> Report {
    Verifier::over(kv, blobs).verify().unwrap()
}

struct Verifier<'a> {
    kv: &'a dyn Kv,
    blobs: &'a Blobs,
    report: Report,
    counts: BTreeMap<u8, Kind>,
    /// Files that something refers to.
    referenced: BTreeSet<Digest>,
    /// The owner of the last piece, and how many it has.
    owner: (Vec<u8>, usize),
    /// The run of the last segment, and the number of the next one.
    journal: Option<(RunId, u32)>,
    /// The runs of each workflow as they were found.
    found: BTreeMap<Key, (u64, Totals)>,
    /// The same as counters and totals say.
    counters: BTreeMap<Key, u64>,
    totals: BTreeMap<Key, Totals>,
    audit: audit::Check,
}

impl<'a> Verifier<'a> {
    fn over(kv: &'a dyn Kv, blobs: &'a Blobs) -> Self {
        Self {
            kv,
            blobs,
            report: Report::default(),
            counts: BTreeMap::new(),
            referenced: BTreeSet::new(),
            owner: (Vec::new(), 0),
            journal: None,
            found: BTreeMap::new(),
            counters: BTreeMap::new(),
            totals: BTreeMap::new(),
            audit: audit::Check::default(),
        }
    }

    fn verify(mut self) -> Result<Report, Error> {
        let mut last = Vec::new();
        let kv = self.kv;
        let walked = each_pair(kv, |key, value| {
            last = key.to_vec();
            self.pair(key, value);
            Ok(())
        });
        match walked {
            Ok(()) => self.check_numbers(),
            // What the engine itself finds to be damaged cannot be read, nor what comes after it.
            Err(Error::Store(error)) => self.problem(&last, format!("what follows it cannot be read: {error}"), RESTORE),
            Err(error) => return Err(error),
        }
        self.check_blobs()?;
        self.report.live_bytes = self.counts.values().map(|kind| kind.bytes).sum();
        self.report.kinds = self.counts.into_values().collect();
        Ok(self.report)
    }

    fn problem(&mut self, key: &[u8], problem: impl ToString, remedy: &'static str) {
        self.report.problems_found += 1;
        if self.report.problems.len() < PROBLEMS_LISTED_MAX {
            let kind = key.first().and_then(|kind| name_of(*kind)).unwrap_or("something unknown");
            self.report.problems.push(Problem { kind, key: hex::encode(key), problem: problem.to_string(), remedy });
        }
    }

    fn pair(&mut self, key: &[u8], value: &[u8]) {
        let kind = key.first().copied().unwrap_or_default();
        let Some(name) = name_of(kind) else {
            return self.problem(key, "this version of Weft has no such kind", "use the version that wrote it");
        };
        let counted = self.counts.entry(kind).or_insert(Kind { name, count: 0, bytes: 0 });
        counted.count += 1;
        counted.bytes += (key.len() + value.len()) as u64;
        match record::form(key, value) {
            Err(error) => self.problem(key, error, RESTORE),
            Ok(Form::Piece(_)) if kind == b'c' => self.piece(key),
            Ok(Form::Piece(_)) => self.problem(key, "a piece stands where a value should", RESTORE),
            Ok(_) if kind == b'c' => self.problem(key, "a value stands where a piece should", RESTORE),
            Ok(form) => {
                if let Form::Blob(digest) = form {
                    self.referenced.insert(digest);
                }
                match record::unwrap(self.kv, self.blobs, key, value) {
                    Ok(content) => self.record(kind, key, &content),
                    Err(error) => self.problem(key, error, RESTORE),
                }
            }
        }
    }

    /// Whether a piece is one of a value that is there.
    fn piece(&mut self, key: &[u8]) {
        let Some((owner, number)) = keys::of_piece(key) else { return self.problem(key, "it is no key of a piece", REBUILD) };
        if self.owner.0 != owner {
            let value = self.kv.get(owner).ok().flatten();
            let pieces = match value.as_deref().map(|value| record::form(owner, value)) {
                Some(Ok(Form::Split(length))) => record::pieces(length),
                _ => 0,
            };
            self.owner = (owner.to_vec(), pieces);
        }
        if number >= self.owner.1 {
            self.problem(key, "its value is gone, or is shorter", REBUILD);
        }
    }

    /// Something refers to this file.
    fn refer(&mut self, key: &[u8], digest: Digest) {
        if self.referenced.insert(digest)
            && let Err(error) = self.blobs.get(&digest)
        {
            self.problem(key, error, RESTORE);
        }
    }

    fn check_blobs(&mut self) -> Result<(), Error> {
        self.report.blobs.name = "files";
        self.report.unreferenced_blobs.name = "files without use";
        for (digest, bytes, _) in self.blobs.list()? {
            let is_used = self.referenced.contains(&digest);
            let kind = if is_used { &mut self.report.blobs } else { &mut self.report.unreferenced_blobs };
            kind.count += 1;
            kind.bytes += bytes;
        }
        Ok(())
    }

    fn record(&mut self, kind: u8, key: &[u8], content: &Bytes) {
        if let Err((problem, remedy)) = self.check(kind, key, content) {
            self.problem(key, problem, remedy);
        }
    }
}

fn name_of(kind: u8) -> Option<&'static str> {
    keys::KINDS.iter().find(|(known, _)| *known == kind).map(|(_, name)| *name)
}
