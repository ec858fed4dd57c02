//! The audit log: what was changed, by whom, in an order in which an edit shows.
//!
//! An entry stands in the batch of the change that it tells of. The writer gives it the next number and a hash over the entry before it,
//! so that whoever changes, moves or removes an entry must make every later one anew. Under the key without a number stand the newest
//! entry's number and hash, so that entries are missed that were taken off the end. Nothing is ever removed: the log grows with what
//! people do, not with runs.
//!
//! Whoever may write to the store can make a whole chain anew: note the newest hash elsewhere, and compare ([`Store::verify_audit`]).

use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::kv::{Kv, Order};
use super::record::{self, Form, inline};
use super::{Error, Store, keys};
use crate::digest::Digest;
use crate::limits::{AUDIT_DETAILS_BYTES_MAX, AUDIT_NAME_BYTES_MAX, CARE_PAGE_PAIRS, PROBLEMS_LISTED_MAX};

/// What a hash of this log is over, so that it is none of anything else.
const DOMAIN: &[u8] = b"weft audit entry 1\n";

const HASH_BYTES: usize = 32;

/// Something that was done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AuditEntry {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Through which door.
    pub who: Who,
    /// What.
    pub what: What,
    /// To what: the name of a plugin, a workflow, a secret, a connection, a vendor, a queue; the path of a file.
    pub on: String,
    /// What people want to know of it. Never a secret's value.
    pub details: Value,
}

/// Who did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Who {
    /// Somebody with the admin's token.
    #[serde(rename = "admin token")]
    AdminToken,
    /// The same, with the command line, as that says of itself.
    #[serde(rename = "command line")]
    CommandLine,
    /// Whoever may write to the watched folder.
    #[serde(rename = "watched folder")]
    WatchedFolder,
    /// Nobody: the host itself.
    #[serde(rename = "host")]
    Host,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each says it")]
pub enum What {
    GrantsChanged,
    ReplayRequired,
    ReplayNotRequired,
    SecretSet,
    SecretAllowed,
    SecretRemoved,
    ConnectionSet,
    ConnectionRemoved,
    PluginAdded,
    PluginRefused,
    PluginApproved,
    PluginRemoved,
    PluginQuarantined,
    PluginReleased,
    KeyTrusted,
    KeyDistrusted,
    WorkflowPublished,
    WorkflowActivated,
    WorkflowRestored,
    WorkflowPaused,
    TrialBegun,
    TrialEnded,
    QueueSet,
    EnvironmentSet,
    EnvironmentRemoved,
    EventSetAside,
    EventRetried,
    EventDropped,
}

/// An entry as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Audited {
    /// From 1, without a gap.
    pub number: u64,
    /// Over this entry and all before it.
    pub hash: Digest,
    /// The members of an [`AuditEntry`]; an error: it cannot be read.
    pub entry: Result<Value, String>,
}

/// Whether the log is what was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AuditReport {
    /// Entries that are there.
    pub entries: u64,
    /// The newest one's number and hash, to be noted elsewhere.
    pub newest: Option<(u64, Digest)>,
    /// The first problems: at which entry, and what is wrong.
    pub problems: Vec<(u64, String)>,
    /// How many problems there are.
    pub problems_found: u64,
}

impl AuditEntry {
    /// The entry as it is kept and hashed, within its bounds.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let failed = |error: serde_json::Error| Error::Engine(format!("encoding: {error}"));
        let details = serde_json::to_string(&self.details).map_err(failed)?;
        let mut bounded = self.clone();
        bounded.on.truncate(self.on.floor_char_boundary(AUDIT_NAME_BYTES_MAX));
        if details.len() > AUDIT_DETAILS_BYTES_MAX {
            let beginning = &details[..details.floor_char_boundary(AUDIT_DETAILS_BYTES_MAX / 4)];
            bounded.details = json!({ "bytes": details.len(), "digest": Digest::of(details.as_bytes()), "beginning": beginning });
        }
        serde_json::to_vec(&bounded).map_err(failed)
    }
}

/// The end of the log, which the writer goes on from.
#[derive(Clone, Copy)]
pub(super) struct Chain {
    number: u64,
    hash: [u8; HASH_BYTES],
}

impl Chain {
    /// Where the log of an engine ends. What is damaged is left for [`Check`] to find: the log goes on all the same.
    pub(super) fn of(kv: &dyn Kv) -> Result<Self, Error> {
        let none = Self { number: 0, hash: [0; HASH_BYTES] };
        let head = kv.get(keys::AUDIT)?.and_then(|value| Self::read_head(inline_content(keys::AUDIT, &value)?)).unwrap_or(none);
        let newest = kv.scan(keys::AUDIT, None, Order::Descending, 1)?;
        let last = newest.first().and_then(|(key, value)| {
            let hash = inline_content(key, value).and_then(<[u8]>::first_chunk).copied();
            Some(Self { number: keys::audit_number(key)?, hash: hash.unwrap_or_default() })
        });
        // Of two that differ the head: what was changed behind it shows for ever.
        Ok(last.filter(|last| last.number > head.number).unwrap_or(head))
    }

    /// One that goes on from where a forger wants, for tests.
    #[cfg(test)]
    pub(super) fn forged(number: u64, hash: [u8; HASH_BYTES]) -> Self {
        Self { number, hash }
    }

    fn read_head(content: &[u8]) -> Option<Self> {
        let (number, hash) = content.split_first_chunk::<8>()?;
        Some(Self { number: u64::from_be_bytes(*number), hash: hash.try_into().ok()? })
    }

    /// Adds an entry. The pairs that are to be written.
    pub(super) fn append(&mut self, entry: &[u8]) -> [(Vec<u8>, Vec<u8>); 2] {
        self.number += 1;
        self.hash = hash(&self.hash, self.number, entry);
        let key = keys::audit(self.number);
        let value = inline(&key, &[&self.hash, entry].concat());
        let head = [&self.number.to_be_bytes()[..], &self.hash].concat();
        [(key, value), (keys::AUDIT.to_vec(), inline(keys::AUDIT, &head))]
    }
}

fn hash(previous: &[u8; HASH_BYTES], number: u64, entry: &[u8]) -> [u8; HASH_BYTES] {
    let parts = [DOMAIN, previous, &number.to_be_bytes(), entry];
    parts.iter().fold(Sha256::new(), Sha256::chain_update).finalize().into()
}

fn inline_content<'a>(key: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    match record::form(key, value) {
        Ok(Form::Inline(content)) => Some(content),
        _ => None,
    }
}

/// Looks whether entries, shown in their order, are what was written.
pub(super) struct Check {
    before: Chain,
    head: Option<Chain>,
    entries: u64,
}

impl Default for Check {
    fn default() -> Self {
        Self { before: Chain { number: 0, hash: [0; HASH_BYTES] }, head: None, entries: 0 }
    }
}

impl Check {
    /// Takes a record of the log: what is wrong with it.
    pub(super) fn take(&mut self, key: &[u8], content: &[u8]) -> Result<(), String> {
        if key == keys::AUDIT {
            self.head = Chain::read_head(content);
            return if self.head.is_some() { Ok(()) } else { Err("the end of the audit log cannot be read".into()) };
        }
        let number = keys::audit_number(key).ok_or("it is no key of the audit log")?;
        let (own, entry) = content.split_first_chunk::<HASH_BYTES>().ok_or("it is no entry of the audit log")?;
        let before = std::mem::replace(&mut self.before, Chain { number, hash: *own });
        self.entries += 1;
        if number != before.number + 1 {
            return Err(missing(before.number + 1, number - 1));
        }
        if hash(&before.hash, number, entry) == *own {
            return Ok(());
        }
        Err(format!("entry {number} of the audit log is not what was written, or the one before it is not"))
    }

    /// What is wrong at the end, and at which entry.
    pub(super) fn end(&self) -> Result<(), (u64, String)> {
        let last = self.before;
        match self.head {
            None if self.entries == 0 => Ok(()),
            None => Err((last.number, "the end of the audit log is not there".into())),
            Some(head) if head.number > last.number => Err((head.number, missing(last.number + 1, head.number))),
            Some(head) if head.number == last.number && head.hash == last.hash => Ok(()),
            Some(_) => Err((last.number, format!("entry {} is not the one that the audit log ended with", last.number))),
        }
    }
}

fn missing(from: u64, to: u64) -> String {
    match to - from {
        0 => format!("entry {from} of the audit log is missing, or cannot be read"),
        _ => format!("entries {from} to {to} of the audit log are missing, or cannot be read"),
    }
}

impl Store {
    /// Keeps an entry that goes with no change: of something that was refused.
    pub async fn record(&self, entry: &AuditEntry) -> Result<(), Error> {
        let mut batch = record::Batch::default();
        batch.audit(entry)?;
        self.commit_batch(batch).await
    }

    /// Entries, newest first, older than one.
    pub fn audit(&self, before: Option<u64>, limit: usize) -> Result<Vec<Audited>, Error> {
        let before = before.map(keys::audit);
        let pairs = self.kv.scan(keys::AUDIT, before.as_deref(), Order::Descending, limit)?;
        // The key without a number comes last.
        let read = |(key, value): &(Vec<u8>, Vec<u8>)| keys::audit_number(key).map(|number| read(number, key, value));
        Ok(pairs.iter().filter_map(read).collect())
    }

    /// Whether the log is what was written; and whether it still has an entry whose hash was noted elsewhere.
    pub fn verify_audit(&self, noted: Option<(u64, Digest)>) -> Result<AuditReport, Error> {
        let (mut check, mut report) = (Check::default(), AuditReport::default());
        if let Some(value) = self.kv.get(keys::AUDIT)? {
            let content = inline_content(keys::AUDIT, &value).unwrap_or_default();
            note(&mut report, 0, check.take(keys::AUDIT, content));
        }
        // What is added from now on is left out.
        let end = check.head.map_or(u64::MAX, |head| head.number);
        let mut is_noted = noted.is_none();
        let mut after = keys::AUDIT.to_vec();
        loop {
            let pairs = self.kv.scan(keys::AUDIT, Some(&after), Order::Ascending, CARE_PAGE_PAIRS)?;
            for (key, value) in &pairs {
                let number = keys::audit_number(key).unwrap_or_default();
                // What cannot be read is missed by the next one.
                let Some(content) = inline_content(key, value).filter(|_| number <= end) else { continue };
                note(&mut report, number, check.take(key, content));
                is_noted |= noted.is_some_and(|(noted, hash)| noted == number && content.starts_with(hash.as_bytes()));
            }
            match pairs.into_iter().next_back() {
                Some((last, _)) => after = last,
                None => break,
            }
        }
        if let Err((number, problem)) = check.end() {
            note(&mut report, number, Err(problem));
        }
        if let Some((number, _)) = noted.filter(|_| !is_noted) {
            note(&mut report, number, Err(format!("entry {number} does not have the hash that was noted")));
        }
        report.entries = check.entries;
        report.newest = check.head.map(|head| (head.number, Digest::from_bytes(head.hash)));
        Ok(report)
    }
}

fn note(report: &mut AuditReport, number: u64, found: Result<(), String>) {
    if let Err(problem) = found {
        report.problems_found += 1;
        if report.problems.len() < PROBLEMS_LISTED_MAX {
            report.problems.push((number, problem));
        }
    }
}

fn read(number: u64, key: &[u8], value: &[u8]) -> Audited {
    let unreadable = || "it cannot be read: `weft audit verify` says more".to_owned();
    let parts = inline_content(key, value).and_then(|content| content.split_first_chunk::<HASH_BYTES>());
    match parts {
        None => Audited { number, hash: Digest::from_bytes([0; HASH_BYTES]), entry: Err(unreadable()) },
        Some((hash, entry)) => {
            let entry = serde_json::from_slice(entry).map_err(|_| unreadable());
            Audited { number, hash: Digest::from_bytes(*hash), entry }
        }
    }
}
