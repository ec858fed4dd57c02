//! Values of any size in an engine that wants small ones, each with a checksum.
//!
//! A value begins with its form and a CRC-32C over its key, form and content:
//!
//! | form | content |
//! |---|---|
//! | 1 inline | the bytes, up to 8 KiB less the head |
//! | 2 split | the length (u32) and a number that no other writing has (u64); the bytes stand in pieces under `c` + key + number (u16), up to 256 KiB |
//! | 3 piece | a part of a split value |
//! | 4 blob | the digest of a file |
//!
//! A value and its pieces are always in one batch. Numbers are big-endian.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::Error;
use super::audit::AuditEntry;
use super::blobs::Blobs;
use super::history::{Totals, TotalsChange};
use super::keys;
use super::kv::{Kv, Op, Order, Precondition, VALUE_BYTES_MAX};
use crate::digest::Digest;
use crate::limits::STORE_SPLIT_BYTES_MAX;
use crate::run::RunId;
use crate::workflow::Key;

const HEAD_BYTES: usize = 5;
const PIECE_BYTES: usize = VALUE_BYTES_MAX - HEAD_BYTES;

const INLINE: u8 = 1;
const SPLIT: u8 = 2;
const PIECE: u8 = 3;
const BLOB: u8 = 4;

/// Writes that become durable together or not at all.
#[derive(Default)]
pub(super) struct Batch {
    /// Values for files, which are written before the batch that refers to them.
    blobs: Vec<Bytes>,
    preconditions: Vec<Precondition>,
    ops: Vec<Op>,
    /// Numbers to be added to counters.
    additions: Vec<(Vec<u8>, u32)>,
    /// Changes of totals.
    totals: Vec<(Vec<u8>, TotalsChange)>,
    /// Runs whose journals grow, with the numbers of the segments.
    changes: Vec<(RunId, u32)>,
    /// Entries for the audit log.
    audit: Vec<Vec<u8>>,
    bytes: usize,
}

/// What a batch does, for the writer.
pub(super) struct Parts {
    pub(super) preconditions: Vec<Precondition>,
    pub(super) ops: Vec<Op>,
    pub(super) additions: Vec<(Vec<u8>, u32)>,
    pub(super) totals: Vec<(Vec<u8>, TotalsChange)>,
    pub(super) changes: Vec<(RunId, u32)>,
    pub(super) audit: Vec<Vec<u8>>,
    pub(super) bytes: usize,
}

/// A value as the engine has it, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form<'a> {
    /// The bytes.
    Inline(&'a [u8]),
    /// How many bytes stand in pieces.
    Split(usize),
    /// A part of a split value.
    Piece(&'a [u8]),
    /// The file that the bytes are in.
    Blob(Digest),
}

/// A stored value with its head, as the engine has it: what a precondition compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Raw(pub(super) Vec<u8>);

impl Raw {
    /// Whether its bytes stand in pieces of their own.
    pub(super) fn is_split(&self) -> bool {
        self.0.first() == Some(&SPLIT)
    }
}

impl Batch {
    /// Sets the value of a key that has none yet, or whose value is and stays small.
    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) {
        self.replace(key, value, None);
    }

    /// Sets the value of a key that has `old` now.
    pub(super) fn replace(&mut self, key: &[u8], value: &[u8], old: Option<&Raw>) {
        let pieces = if value.len() <= PIECE_BYTES {
            self.push(key.to_vec(), INLINE, value);
            0
        } else if value.len() <= STORE_SPLIT_BYTES_MAX {
            let length = u32::try_from(value.len()).expect("bounded by STORE_SPLIT_BYTES_MAX");
            let head = [&length.to_be_bytes()[..], &stamp().to_be_bytes()].concat();
            self.push(key.to_vec(), SPLIT, &head);
            for (number, piece) in value.chunks(PIECE_BYTES).enumerate() {
                self.push(keys::piece(key, number), PIECE, piece);
            }
            pieces(value.len())
        } else {
            self.push(key.to_vec(), BLOB, Digest::of(value).as_bytes());
            self.blobs.push(Bytes::copy_from_slice(value));
            0
        };
        self.remove_pieces(key, old, pieces);
    }

    /// Removes a key that has `old` now.
    pub(super) fn remove(&mut self, key: &[u8], old: Option<&Raw>) {
        self.ops.push(Op::Remove(key.to_vec()));
        self.remove_pieces(key, old, 0);
    }

    /// Everything is written only if this key has no value.
    pub(super) fn expect_absent(&mut self, key: &[u8]) {
        self.preconditions.push(Precondition::Absent(key.to_vec()));
    }

    /// Everything is written only if this key has some value.
    pub(super) fn expect_present(&mut self, key: &[u8]) {
        self.preconditions.push(Precondition::Present(key.to_vec()));
    }

    /// How many preconditions there are: the place of the next one.
    pub(super) fn preconditions(&self) -> usize {
        self.preconditions.len()
    }

    /// Bytes of the keys and values that are written.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing is written and nothing is checked.
    pub(super) fn is_empty(&self) -> bool {
        self.preconditions.is_empty()
            && self.ops.is_empty()
            && self.additions.is_empty()
            && self.totals.is_empty()
            && self.audit.is_empty()
    }

    /// The audit log tells of what this batch does.
    pub(super) fn audit(&mut self, entry: &AuditEntry) -> Result<(), Error> {
        let entry = entry.to_bytes()?;
        self.bytes += entry.len();
        self.audit.push(entry);
        Ok(())
    }

    /// A run's journal grows by this segment: whoever follows it is told when it is durable.
    pub(super) fn announce(&mut self, run: RunId, segment: u32) {
        self.changes.push((run, segment));
    }

    /// Everything is written only if this key still has the value that was read; none: only if it has no value.
    pub(super) fn expect(&mut self, key: &[u8], raw: Option<&Raw>) {
        self.preconditions.push(match raw {
            Some(raw) => Precondition::Equals(key.to_vec(), raw.0.clone()),
            None => Precondition::Absent(key.to_vec()),
        });
    }

    /// The values for files, to be written before the rest.
    pub(super) fn take_blobs(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.blobs)
    }

    /// Adds to a counter, which begins at 0.
    pub(super) fn add(&mut self, key: Vec<u8>, number: u32) {
        self.additions.push((key, number));
    }

    /// Adds to the totals of a workflow.
    pub(super) fn add_totals(&mut self, workflow: &Key, change: TotalsChange) {
        if !change.is_none() {
            self.totals.push((keys::totals(workflow), change));
        }
    }

    pub(super) fn into_parts(self) -> Parts {
        let Self { preconditions, ops, additions, totals, changes, audit, bytes, .. } = self;
        Parts { preconditions, ops, additions, totals, changes, audit, bytes }
    }

    fn push(&mut self, key: Vec<u8>, form: u8, content: &[u8]) {
        let value = wrap(&key, form, content);
        self.bytes += key.len() + value.len();
        self.ops.push(Op::Put(key, value));
    }

    /// Pieces of the old value that the new one, with `kept` pieces, does not overwrite.
    fn remove_pieces(&mut self, key: &[u8], old: Option<&Raw>, kept: usize) {
        if let Some([SPLIT, _, _, _, _, head @ ..]) = old.map(|old| &*old.0)
            && let Some(length) = split_length(head)
        {
            let count = pieces(length);
            self.ops.extend((kept..count).map(|number| Op::Remove(keys::piece(key, number))));
        }
    }
}

fn wrap(key: &[u8], form: u8, content: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(HEAD_BYTES + content.len());
    value.push(form);
    value.extend(checksum(key, form, content).to_be_bytes());
    value.extend(content);
    value
}

/// A small value as the engine has it.
pub(super) fn inline(key: &[u8], content: &[u8]) -> Vec<u8> {
    wrap(key, INLINE, content)
}

/// A counter's value after an addition: the number, and as the engine has it.
pub(super) fn added(key: &[u8], value: Option<&[u8]>, number: u32) -> Result<(u32, Vec<u8>), Error> {
    let before = match value {
        None => 0,
        Some(value) => match open(key, value)? {
            (INLINE, content) => count(key, content)?,
            _ => return Err(damaged(key)),
        },
    };
    let sum = before.saturating_add(number);
    Ok((sum, wrap(key, INLINE, &sum.to_be_bytes())))
}

/// A workflow's totals after a change, as the engine has them.
pub(super) fn changed(key: &[u8], value: Option<&[u8]>, change: TotalsChange) -> Result<Vec<u8>, Error> {
    let before = match value {
        None => Totals::default(),
        Some(value) => match open(key, value)? {
            (INLINE, content) => Totals::read(content).ok_or_else(|| damaged(key))?,
            _ => return Err(damaged(key)),
        },
    };
    Ok(wrap(key, INLINE, &before.change(change).write()))
}

/// What a counter's content says.
pub(super) fn count(key: &[u8], content: &[u8]) -> Result<u32, Error> {
    content.try_into().map(u32::from_be_bytes).map_err(|_| damaged(key))
}

/// Tells this writing of a split value from every other one, so that a precondition sees that its pieces are others.
fn stamp() -> u64 {
    static NEXT: LazyLock<AtomicU64> = LazyLock::new(|| {
        let mut start = [0; 8];
        getrandom::fill(&mut start).expect("the system has random numbers");
        AtomicU64::new(u64::from_ne_bytes(start))
    });
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn split_length(head: &[u8]) -> Option<usize> {
    let (length, _) = head.split_first_chunk::<4>().filter(|(_, stamp)| stamp.len() == 8)?;
    Some(u32::from_be_bytes(*length) as usize)
}

/// How many pieces so many bytes stand in.
pub(super) fn pieces(length: usize) -> usize {
    length.div_ceil(PIECE_BYTES)
}

fn checksum(key: &[u8], form: u8, content: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(key), &[form]), content)
}

/// The value of a key.
pub(super) fn read(kv: &dyn Kv, blobs: &Blobs, key: &[u8]) -> Result<Option<Bytes>, Error> {
    Ok(read_raw(kv, blobs, key)?.map(|(_, value)| value))
}

/// The value of a key, and what a precondition compares.
pub(super) fn read_raw(kv: &dyn Kv, blobs: &Blobs, key: &[u8]) -> Result<Option<(Raw, Bytes)>, Error> {
    let Some(value) = kv.get(key)? else { return Ok(None) };
    let content = unwrap(kv, blobs, key, &value)?;
    Ok(Some((Raw(value), content)))
}

/// Keys and values under a prefix.
pub(super) fn scan(
    kv: &dyn Kv,
    blobs: &Blobs,
    prefix: &[u8],
    after: Option<&[u8]>,
    order: Order,
    limit: usize,
) -> Result<Vec<(Vec<u8>, Bytes)>, Error> {
    let pairs = kv.scan(prefix, after, order, limit)?;
    pairs
        .into_iter()
        .map(|(key, value)| {
            let content = unwrap(kv, blobs, &key, &value)?;
            Ok((key, content))
        })
        .collect()
}

/// The bytes of a value, wherever they stand.
pub(super) fn unwrap(kv: &dyn Kv, blobs: &Blobs, key: &[u8], value: &[u8]) -> Result<Bytes, Error> {
    match form(key, value)? {
        Form::Inline(content) => Ok(Bytes::copy_from_slice(content)),
        Form::Split(length) => {
            let mut whole = Vec::with_capacity(length);
            for number in 0..pieces(length) {
                let key = keys::piece(key, number);
                let piece = kv.get(&key)?.ok_or_else(|| damaged(&key))?;
                match form(&key, &piece)? {
                    Form::Piece(content) => whole.extend(content),
                    _ => return Err(damaged(&key)),
                }
            }
            if whole.len() == length { Ok(whole.into()) } else { Err(damaged(key)) }
        }
        Form::Blob(digest) => Ok(blobs.get(&digest)?.into()),
        Form::Piece(_) => Err(damaged(key)),
    }
}

/// Takes a value apart, after a look at its checksum.
pub(super) fn form<'a>(key: &[u8], value: &'a [u8]) -> Result<Form<'a>, Error> {
    let (number, content) = open(key, value)?;
    match number {
        INLINE => Ok(Form::Inline(content)),
        SPLIT => split_length(content).map(Form::Split).ok_or_else(|| damaged(key)),
        PIECE => Ok(Form::Piece(content)),
        BLOB => content.try_into().map(|digest| Form::Blob(Digest::from_bytes(digest))).map_err(|_| damaged(key)),
        _ => Err(damaged(key)),
    }
}

fn open<'a>(key: &[u8], value: &'a [u8]) -> Result<(u8, &'a [u8]), Error> {
    let [form, c0, c1, c2, c3, content @ ..] = value else { return Err(damaged(key)) };
    if u32::from_be_bytes([*c0, *c1, *c2, *c3]) == checksum(key, *form, content) {
        Ok((*form, content))
    } else {
        Err(damaged(key))
    }
}

fn damaged(key: &[u8]) -> Error {
    Error::Corrupt(format!("the value of key {} has a wrong checksum or form", hex::encode(key)))
}
