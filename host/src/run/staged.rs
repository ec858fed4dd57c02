//! What calls do inside the host beside their run: kept apart until it is committed with the entry of the call, or of the atomic
//! branch around it.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::file::{FileFacts, FileId};
use super::id::RunId;
use crate::workflow::{Json, Key};

/// Which value of the small state: the plugin's, for one workflow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KvKey {
    /// `vendor/name`.
    pub plugin: Box<str>,
    /// The workflow.
    pub workflow: Key,
    /// The plugin's own name for it.
    pub key: Box<str>,
}

/// A value as a store had it when it was read: what the commit compares. None: there was no value.
pub type Seen = Option<Vec<u8>>;

/// Everything that was staged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Staged {
    /// What was read before it was written, as it was.
    pub kv_reads: BTreeMap<KvKey, Seen>,
    /// What one call read of what others had staged in the atomic branches around it, as it was.
    pub kv_reads_around: BTreeMap<KvKey, Option<Bytes>>,
    /// What was written; none: removed.
    pub kv_writes: BTreeMap<KvKey, Option<Bytes>>,
    /// Runs to start.
    pub starts: Vec<StagedStart>,
    /// Files that were made.
    pub files: Vec<StagedFile>,
}

/// A file that a step makes.
#[derive(Clone, Debug, PartialEq)]
pub struct StagedFile {
    /// Its id.
    pub id: FileId,
    /// What is known of it.
    pub facts: FileFacts,
    /// What it holds.
    pub content: Bytes,
}

/// A run that a step starts without waiting for it.
#[derive(Clone, Debug, PartialEq)]
pub struct StagedStart {
    /// The run's id.
    pub run: RunId,
    /// Its workflow.
    pub workflow: Key,
    /// What it is given.
    pub context: Json,
}

impl Staged {
    /// Whether what this call read is no longer so, by what has been staged around it since.
    pub fn is_outdated(&self, around: &Self) -> bool {
        self.kv_reads.keys().any(|key| around.kv_writes.contains_key(key))
            || self.kv_reads_around.iter().any(|(key, value)| around.kv_writes.get(key) != Some(value))
    }

    /// Whether there is nothing to commit and nothing to check.
    pub fn is_empty(&self) -> bool {
        self.kv_reads.is_empty() && self.kv_writes.is_empty() && self.starts.is_empty() && self.files.is_empty()
    }

    /// How much memory it takes, in bytes: of values that were read and written, of contexts, and of files.
    pub fn bytes(&self) -> usize {
        let of = |value: Option<usize>| value.unwrap_or(0);
        self.kv_reads.values().map(|seen| of(seen.as_ref().map(Vec::len))).sum::<usize>()
            + self.kv_writes.values().map(|value| of(value.as_ref().map(Bytes::len))).sum::<usize>()
            + self.starts.iter().map(|start| start.context.text().len()).sum::<usize>()
            + self.files.iter().map(|file| file.content.len()).sum::<usize>()
    }

    /// Adds what was staged after this.
    pub fn add(&mut self, later: Self) {
        for (key, seen) in later.kv_reads {
            // What was read after it was written here says nothing of the store.
            if !self.kv_writes.contains_key(&key) {
                self.kv_reads.entry(key).or_insert(seen);
            }
        }
        self.kv_writes.extend(later.kv_writes);
        self.starts.extend(later.starts);
        self.files.extend(later.files);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reading_and_the_last_writing_count() {
        let key = |name: &str| KvKey { plugin: "a/b".into(), workflow: "w".parse().unwrap(), key: name.into() };
        let staged = |reads: &[(&str, u8)], writes: &[(&str, u8)]| Staged {
            kv_reads: reads.iter().map(|(name, value)| (key(name), Some(vec![*value]))).collect(),
            kv_writes: writes.iter().map(|(name, value)| (key(name), Some(vec![*value].into()))).collect(),
            ..Staged::default()
        };
        let mut all = staged(&[("a", 1)], &[("b", 2)]);
        all.add(staged(&[("a", 9), ("b", 9), ("c", 3)], &[("b", 4)]));
        assert_eq!(all, staged(&[("a", 1), ("c", 3)], &[("b", 4)]));
    }

    #[test]
    fn what_others_stage_meanwhile_makes_a_reading_outdated() {
        let key = |name: &str| KvKey { plugin: "a/b".into(), workflow: "w".parse().unwrap(), key: name.into() };
        let around = |value: u8| Staged { kv_writes: [(key("a"), Some(vec![value].into()))].into(), ..Staged::default() };
        let from_store = Staged { kv_reads: [(key("a"), None)].into(), ..Staged::default() };
        assert!(!from_store.is_outdated(&Staged::default()));
        assert!(from_store.is_outdated(&around(1)));
        let from_others = Staged { kv_reads_around: [(key("a"), Some(vec![1].into()))].into(), ..Staged::default() };
        assert!(!from_others.is_outdated(&around(1)));
        assert!(from_others.is_outdated(&around(2)));
    }
}
