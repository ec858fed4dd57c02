//! Under which key everything stands. One tree; the first byte says what it is.
//!
//! | key | value |
//! |---|---|
//! | `m` format | the format's number |
//! | `w` workflow | [`super::WorkflowHead`] |
//! | `d` workflow | the draft |
//! | `v` workflow 0 number | [`super::Revision`] |
//! | `r` run | [`super::RunHead`] |
//! | `j` run number | a segment of the run's journal |
//! | `i` workflow 0 run | nothing: the runs of a workflow |
//! | `n` workflow | how many runs it has had |
//! | `o` run | nothing: runs that have not ended |
//! | `k` workflow 0 digest | the run that a dedup key began |
//! | `p` plugin 0 version | [`super::PluginRecord`] |
//! | `s` name | [`super::SealedSecret`] |
//! | `c` key number | a piece of that key's value |

use crate::digest::Digest;
use crate::run::RunId;
use crate::workflow::Key;

pub(super) const FORMAT: &[u8] = b"mformat";
pub(super) const WORKFLOWS: &[u8] = b"w";
pub(super) const RUNS: &[u8] = b"r";
pub(super) const OPEN_RUNS: &[u8] = b"o";
pub(super) const PLUGINS: &[u8] = b"p";
pub(super) const SECRETS: &[u8] = b"s";

pub(super) fn workflow(key: &Key) -> Vec<u8> {
    join(b'w', &[key.as_str().as_bytes()])
}

pub(super) fn draft(key: &Key) -> Vec<u8> {
    join(b'd', &[key.as_str().as_bytes()])
}

pub(super) fn revisions(key: &Key) -> Vec<u8> {
    join(b'v', &[key.as_str().as_bytes(), &[0]])
}

pub(super) fn revision(key: &Key, number: u32) -> Vec<u8> {
    join(b'v', &[key.as_str().as_bytes(), &[0], &number.to_be_bytes()])
}

pub(super) fn run(id: RunId) -> Vec<u8> {
    join(b'r', &[id.as_bytes()])
}

pub(super) fn journal(id: RunId) -> Vec<u8> {
    join(b'j', &[id.as_bytes()])
}

pub(super) fn segment(id: RunId, number: u32) -> Vec<u8> {
    join(b'j', &[id.as_bytes(), &number.to_be_bytes()])
}

pub(super) fn runs_of(workflow: &Key) -> Vec<u8> {
    join(b'i', &[workflow.as_str().as_bytes(), &[0]])
}

pub(super) fn run_of(workflow: &Key, id: RunId) -> Vec<u8> {
    join(b'i', &[workflow.as_str().as_bytes(), &[0], id.as_bytes()])
}

pub(super) fn run_count(workflow: &Key) -> Vec<u8> {
    join(b'n', &[workflow.as_str().as_bytes()])
}

pub(super) fn open_run(id: RunId) -> Vec<u8> {
    join(b'o', &[id.as_bytes()])
}

/// Dedup keys come from outside and may be long: their digest stands for them.
pub(super) fn dedup(workflow: &Key, key: &str) -> Vec<u8> {
    join(b'k', &[workflow.as_str().as_bytes(), &[0], Digest::of(key.as_bytes()).as_bytes()])
}

pub(super) fn plugin(name: &str, version: &semver::Version) -> Vec<u8> {
    join(b'p', &[name.as_bytes(), &[0], version.to_string().as_bytes()])
}

pub(super) fn secret(name: &str) -> Vec<u8> {
    join(b's', &[name.as_bytes()])
}

pub(super) fn piece(key: &[u8], number: usize) -> Vec<u8> {
    let number = u16::try_from(number).expect("STORE_SPLIT_BYTES_MAX is less than 2^16 pieces");
    join(b'c', &[key, &number.to_be_bytes()])
}

/// The id at the end of a key.
pub(super) fn run_id(key: &[u8]) -> Option<RunId> {
    key.last_chunk::<16>().map(|bytes| RunId::from_bytes(*bytes))
}

fn join(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(kind);
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}
