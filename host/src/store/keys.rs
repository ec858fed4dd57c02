//! Under which key everything stands. One tree; the first byte says what it is.
//!
//! | key | value |
//! |---|---|
//! | `m` format | the format's number |
//! | `m` totals | nothing: totals are counted |
//! | `w` workflow | [`super::WorkflowHead`] |
//! | `d` workflow | the draft |
//! | `v` workflow 0 number | [`super::Revision`] |
//! | `D` digest | a draft as a run was started with it: [`super::Revision`] number 0 |
//! | `r` run | [`super::RunHead`] |
//! | `j` run number | a segment of the run's journal |
//! | `z` run | what the first segments fold to |
//! | `a` status run | nothing: runs by status |
//! | `b` workflow 0 status run | nothing: the runs of a workflow |
//! | `e` workflow 0 revision status run | nothing: the runs of a revision |
//! | `n` workflow | how many runs it has had |
//! | `N` workflow | [`super::Totals`] of its runs that have ended |
//! | `o` run | nothing: runs that are being carried out |
//! | `t` time run | nothing: when runs that wait go on |
//! | `q` queue 0 run | nothing: runs that stand in a queue |
//! | `k` workflow 0 digest | the run that a dedup key began |
//! | `f` time key | nothing: dedup keys that outlive their runs, and until when |
//! | `x` run number | something that came for a run and is not taken up yet |
//! | `y` run | a run that another one wants to start |
//! | `g` workflow 0 digest run | nothing: runs that wait for a message by name and key |
//! | `h` workflow 0 digest number | a message by name and key that nobody waited for |
//! | `u` plugin 0 workflow 0 key | a value of the plugin's own |
//! | `i` workflow 0 digest | [`super::Timer`] of the workflow's trigger, by its id |
//! | `I` workflow 0 time digest | nothing: in which order timers are due |
//! | `S` workflow 0 number | [`super::SetAside`] |
//! | `l` number | which runs a commit changed |
//! | `p` plugin 0 version | [`super::PluginRecord`] |
//! | `M` plugin 0 version | what it has taken |
//! | `F` run random | [`crate::run::FileFacts`] of a file |
//! | `B` run random | what the file holds |
//! | `E` name | a variable of the host |
//! | `G` plugin | what it may do |
//! | `Q` queue | [`super::QueueRecord`] |
//! | `R` plugin | [`super::RequiredReplay`] |
//! | `s` name | [`super::SealedSecret`] |
//! | `C` name | [`super::SealedConnection`] |
//! | `T` vendor 0 digest | [`super::TrustedKey`] |
//! | `A` number | an entry of the audit log with its hash |
//! | `A` | the number and the hash of the newest one |
//! | `c` key number | a piece of that key's value |

use crate::digest::Digest;
use crate::run::{FileId, KvKey, RunId};
use crate::workflow::Key;

/// What the first byte of a key says, for people.
pub(super) const KINDS: [(u8, &str); 40] = [
    (b'A', "audit entries"),
    (b'B', "contents of files"),
    (b'C', "connections"),
    (b'D', "drafts of runs"),
    (b'E', "variables"),
    (b'F', "files"),
    (b'G', "grants"),
    (b'I', "due timers"),
    (b'M', "readings of plugins"),
    (b'N', "totals"),
    (b'Q', "queues"),
    (b'R', "required replays"),
    (b'S', "events set aside"),
    (b'T', "trusted keys"),
    (b'a', "runs by status"),
    (b'b', "runs of workflows"),
    (b'c', "pieces"),
    (b'd', "drafts"),
    (b'e', "runs of revisions"),
    (b'f', "ends of dedup keys"),
    (b'g', "waits for messages"),
    (b'h', "kept messages"),
    (b'i', "timers"),
    (b'j', "journal segments"),
    (b'k', "dedup keys"),
    (b'l', "commits"),
    (b'm', "facts"),
    (b'n', "counters of runs"),
    (b'o', "active runs"),
    (b'p', "plugins"),
    (b'q', "queued runs"),
    (b'r', "runs"),
    (b's', "secrets"),
    (b't', "wakes"),
    (b'u', "values of plugins"),
    (b'v', "revisions"),
    (b'w', "workflows"),
    (b'x', "arrivals"),
    (b'y', "runs asked for"),
    (b'z', "snapshots"),
];

/// Kinds that follow from the others: where runs and timers stand, and totals of runs.
pub(super) const DERIVED: &[u8] = b"INabeoqt";

pub(super) const FORMAT: &[u8] = b"mformat";
pub(super) const TOTALS_COUNTED: &[u8] = b"mtotals";
pub(super) const WORKFLOWS: &[u8] = b"w";
pub(super) const REVISIONS: &[u8] = b"v";
pub(super) const RUNS: &[u8] = b"r";
pub(super) const TOTALS: &[u8] = b"N";
pub(super) const ACTIVE_RUNS: &[u8] = b"o";
pub(super) const WAKES: &[u8] = b"t";
pub(super) const QUEUES: &[u8] = b"q";
pub(super) const ARRIVALS: &[u8] = b"x";
pub(super) const STARTS: &[u8] = b"y";
pub(super) const KEPT_SIGNALS: &[u8] = b"h";
pub(super) const COMMITS: &[u8] = b"l";
pub(super) const DEDUP_ENDS: &[u8] = b"f";
pub(super) const PLUGINS: &[u8] = b"p";
pub(super) const READINGS: &[u8] = b"M";
pub(super) const ENVIRONMENT: &[u8] = b"E";
pub(super) const GRANTS: &[u8] = b"G";
pub(super) const QUEUE_RECORDS: &[u8] = b"Q";
pub(super) const REQUIRED_REPLAYS: &[u8] = b"R";
pub(super) const SECRETS: &[u8] = b"s";
pub(super) const CONNECTIONS: &[u8] = b"C";
pub(super) const AUDIT: &[u8] = b"A";
pub(super) const TRUSTED_KEYS: &[u8] = b"T";
pub(super) const DUE_TIMERS: &[u8] = b"I";

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

pub(super) fn snapshot(id: RunId) -> Vec<u8> {
    join(b'z', &[id.as_bytes()])
}

/// Runs with a status.
pub(super) fn by_status(status: u8) -> Vec<u8> {
    join(b'a', &[&[status]])
}

/// Runs of a workflow with a status.
pub(super) fn by_workflow(workflow: &Key, status: u8) -> Vec<u8> {
    join(b'b', &[workflow.as_str().as_bytes(), &[0, status]])
}

/// Runs of a revision with a status.
pub(super) fn by_revision(workflow: &Key, revision: u32, status: u8) -> Vec<u8> {
    join(b'e', &[workflow.as_str().as_bytes(), &[0], &revision.to_be_bytes(), &[status]])
}

/// A run in an index, or in another list of runs.
pub(super) fn of_run(prefix: &[u8], id: RunId) -> Vec<u8> {
    [prefix, id.as_bytes()].concat()
}

pub(super) fn run_count(workflow: &Key) -> Vec<u8> {
    join(b'n', &[workflow.as_str().as_bytes()])
}

pub(super) fn totals(workflow: &Key) -> Vec<u8> {
    join(b'N', &[workflow.as_str().as_bytes()])
}

/// The workflow in the key of totals.
pub(super) fn workflow_of_totals(key: &[u8]) -> Option<Key> {
    std::str::from_utf8(key.get(1..)?).ok()?.parse().ok()
}

pub(super) fn wake(at_ms: u64, id: RunId) -> Vec<u8> {
    join(b't', &[&at_ms.to_be_bytes(), id.as_bytes()])
}

/// The time in the key of a wake or of the end of a dedup key.
pub(super) fn time_of(key: &[u8]) -> Option<u64> {
    key.get(1..9).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes)
}

pub(super) fn queue(name: &str) -> Vec<u8> {
    join(b'q', &[name.as_bytes(), &[0]])
}

/// The queue in the key of a run in it.
pub(super) fn queue_of(key: &[u8]) -> Option<&str> {
    let name = key.get(1..key.len().checked_sub(17)?)?;
    std::str::from_utf8(name).ok()
}

pub(super) fn arrivals(id: RunId) -> Vec<u8> {
    join(b'x', &[id.as_bytes()])
}

pub(super) fn arrival(to: RunId, number: u64) -> Vec<u8> {
    join(b'x', &[to.as_bytes(), &number.to_be_bytes()])
}

/// The run in the key of an arrival.
pub(super) fn run_of_arrival(key: &[u8]) -> Option<RunId> {
    key.get(1..17).and_then(|bytes| bytes.try_into().ok()).map(RunId::from_bytes)
}

/// The number at the end of a key.
pub(super) fn number(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
}

pub(super) fn start(id: RunId) -> Vec<u8> {
    join(b'y', &[id.as_bytes()])
}

/// Names and keys of messages come from outside and may be long: their digest stands for them.
fn signal(kind: u8, workflow: &Key, name: &str, key: &str) -> Vec<u8> {
    let digest = Digest::of([name.as_bytes(), &[0], key.as_bytes()].concat().as_slice());
    join(kind, &[workflow.as_str().as_bytes(), &[0], digest.as_bytes()])
}

pub(super) fn signal_waits(workflow: &Key, name: &str, key: &str) -> Vec<u8> {
    signal(b'g', workflow, name, key)
}

pub(super) fn kept_signals(workflow: &Key, name: &str, key: &str) -> Vec<u8> {
    signal(b'h', workflow, name, key)
}

pub(super) fn kv(key: &KvKey) -> Vec<u8> {
    join(b'u', &[key.plugin.as_bytes(), &[0], key.workflow.as_str().as_bytes(), &[0], key.key.as_bytes()])
}

/// The values that a plugin keeps.
pub(super) fn values_of(plugin: &str) -> Vec<u8> {
    join(b'u', &[plugin.as_bytes(), &[0]])
}

/// The timers of a workflow.
pub(super) fn timers(workflow: &Key) -> Vec<u8> {
    join(b'i', &[workflow.as_str().as_bytes(), &[0]])
}

/// Ids of timers come from triggers and may be long: their digest stands for them.
pub(super) fn timer(workflow: &Key, id: &str) -> Vec<u8> {
    [&timers(workflow)[..], Digest::of(id.as_bytes()).as_bytes()].concat()
}

/// The timers of a workflow, as they are due.
pub(super) fn due_timers(workflow: &Key) -> Vec<u8> {
    join(b'I', &[workflow.as_str().as_bytes(), &[0]])
}

/// Where the timer with this key stands among those.
pub(super) fn due_timer(timer: &[u8], at_ms: u64) -> Vec<u8> {
    let (workflow, id) = timer.split_at(timer.len().saturating_sub(32));
    join(b'I', &[workflow.get(1..).unwrap_or_default(), &at_ms.to_be_bytes(), id])
}

/// The workflow, the time and the key of a timer that stands there.
pub(super) fn of_due_timer(key: &[u8]) -> Option<(Key, u64, Vec<u8>)> {
    let (rest, id) = key.get(1..)?.split_last_chunk::<32>()?;
    let (workflow, at_ms) = rest.split_last_chunk::<8>()?;
    let name = str::from_utf8(workflow.strip_suffix(&[0])?).ok()?.parse().ok()?;
    Some((name, u64::from_be_bytes(*at_ms), join(b'i', &[workflow, id])))
}

/// The events of a workflow that were set aside.
pub(super) fn all_set_aside(workflow: &Key) -> Vec<u8> {
    join(b'S', &[workflow.as_str().as_bytes(), &[0]])
}

pub(super) fn set_aside(workflow: &Key, number: u64) -> Vec<u8> {
    [&all_set_aside(workflow)[..], &number.to_be_bytes()].concat()
}

pub(super) fn commit(number: u64) -> Vec<u8> {
    join(b'l', &[&number.to_be_bytes()])
}

pub(super) fn trusted_key(vendor: &str, fingerprint: &Digest) -> Vec<u8> {
    join(b'T', &[vendor.as_bytes(), &[0], fingerprint.as_bytes()])
}

pub(super) fn audit(number: u64) -> Vec<u8> {
    join(b'A', &[&number.to_be_bytes()])
}

/// The number in the key of an entry of the audit log.
pub(super) fn audit_number(key: &[u8]) -> Option<u64> {
    key.get(1..)?.try_into().ok().map(u64::from_be_bytes)
}

/// The files of a run.
pub(super) fn files(run: RunId) -> Vec<u8> {
    join(b'F', &[run.as_bytes()])
}

pub(super) fn file(id: &FileId) -> Vec<u8> {
    join(b'F', &[id.run.as_bytes(), &id.random])
}

/// What the file with this key holds.
pub(super) fn content_of(file: &[u8]) -> Vec<u8> {
    join(b'B', &[file.get(1..).unwrap_or_default()])
}

/// The file that the content with this key is of.
pub(super) fn of_content(content: &[u8]) -> Vec<u8> {
    join(b'F', &[content.get(1..).unwrap_or_default()])
}

/// The run in the key of a file.
pub(super) fn run_of_file(key: &[u8]) -> Option<RunId> {
    key.get(1..)?.first_chunk::<16>().map(|bytes| RunId::from_bytes(*bytes))
}

pub(super) fn draft_of_run(digest: &Digest) -> Vec<u8> {
    join(b'D', &[digest.as_bytes()])
}

pub(super) fn dedup_end(at_ms: u64, key: &[u8]) -> Vec<u8> {
    join(b'f', &[&at_ms.to_be_bytes(), key])
}

/// Dedup keys come from outside and may be long: their digest stands for them.
pub(super) fn dedup(workflow: &Key, key: &str) -> Vec<u8> {
    dedup_digest(workflow, &Digest::of(key.as_bytes()))
}

pub(super) fn dedup_digest(workflow: &Key, digest: &Digest) -> Vec<u8> {
    join(b'k', &[workflow.as_str().as_bytes(), &[0], digest.as_bytes()])
}

pub(super) fn plugin(name: &str, version: &semver::Version) -> Vec<u8> {
    join(b'p', &[name.as_bytes(), &[0], version.to_string().as_bytes()])
}

/// What that version has taken.
pub(super) fn reading(name: &str, version: &semver::Version) -> Vec<u8> {
    join(b'M', &[name.as_bytes(), &[0], version.to_string().as_bytes()])
}

/// The plugin and its version in the key of what it has taken.
pub(super) fn of_reading(key: &[u8]) -> Option<(&str, semver::Version)> {
    let (name, version) = str::from_utf8(key.get(1..)?).ok()?.split_once('\0')?;
    Some((name, version.parse().ok()?))
}

pub(super) fn connection(name: &str) -> Vec<u8> {
    join(b'C', &[name.as_bytes()])
}

pub(super) fn secret(name: &str) -> Vec<u8> {
    join(b's', &[name.as_bytes()])
}

pub(super) fn piece(key: &[u8], number: usize) -> Vec<u8> {
    let number = u16::try_from(number).expect("STORE_SPLIT_BYTES_MAX is less than 2^16 pieces");
    join(b'c', &[key, &number.to_be_bytes()])
}

/// The key in the key of a piece, and the piece's number.
pub(super) fn of_piece(key: &[u8]) -> Option<(&[u8], usize)> {
    let (owner, number) = key.get(1..)?.split_last_chunk::<2>()?;
    Some((owner, u16::from_be_bytes(*number).into()))
}

/// The run and the number in the key of a segment.
pub(super) fn of_segment(key: &[u8]) -> Option<(RunId, u32)> {
    let (run, number) = key.get(1..)?.split_first_chunk::<16>()?;
    Some((RunId::from_bytes(*run), u32::from_be_bytes(number.try_into().ok()?)))
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
