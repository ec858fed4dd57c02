//! Workflows with their drafts and revisions, and installed plugins.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::audit::AuditEntry;
use super::kv::Order;
use super::record::{Batch, Raw};
use super::run_store::{Change, CommitError};
use super::{Error, Store, keys};
use crate::digest::Digest;
use crate::limits::REVISIONS_BEFORE_MAX;
use crate::workflow::{Definition, Key};

/// What lists of workflows show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkflowHead {
    /// Its key.
    pub key: Key,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The number of its newest revision; 0 before the first.
    pub latest_revision: u32,
    /// The revision that events start; none while it is paused.
    pub active_revision: Option<u32>,
    /// Revisions that were active before that, the one of last first, as many as are remembered: the way back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub active_before: Vec<u32>,
    /// What the active revision's trigger subscribed to, in the form of whoever delivers it.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub subscriptions: Value,
    /// A revision on trial beside the active one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// How the last trial ended that was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_canary: Option<CanaryEnd>,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// When its draft or its active revision last changed.
    pub updated_ms: u64,
}

/// A revision on trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// Its number.
    pub revision: u32,
    /// Its share of the starts, 1 to 99.
    pub share_percent: u8,
    /// It is not judged before so many of its runs have ended.
    pub runs_min: u32,
    /// It is taken back if its share of failed runs is more than so many percentage points above the others'.
    pub worse_by_percent: u8,
    /// It becomes the active one after so many ends, if it is not worse; none: somebody activates it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promote_after_runs: Option<u32>,
    /// When it began, in milliseconds since 1970.
    pub began_ms: u64,
}

/// A trial that was taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryEnd {
    /// The revision.
    pub revision: u32,
    /// When, in milliseconds since 1970.
    pub ended_ms: u64,
    /// Why.
    pub why: String,
    /// Runs of it that ended, since the trial began or the host started.
    pub canary: RunEnds,
    /// Runs of the workflow's other revisions that ended meanwhile.
    pub active: RunEnds,
}

/// How some runs ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEnds {
    /// Runs that came to an end by themselves.
    pub ended: u64,
    /// Of these, those that ended as `failed` or `error`.
    pub failed: u64,
}

impl RunEnds {
    /// The share that failed, in percent.
    pub fn failed_percent(&self) -> f64 {
        if self.ended == 0 { 0.0 } else { self.failed as f64 * 100.0 / self.ended as f64 }
    }
}

/// A definition that is being worked on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Draft {
    /// The definition.
    pub definition: Definition,
    /// When it was saved, in milliseconds since 1970.
    pub saved_ms: u64,
}

/// A published definition. Never changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    /// The workflow.
    pub workflow: Key,
    /// From 1.
    pub number: u32,
    /// The definition.
    pub definition: Definition,
    /// The plugin that carries out the trigger.
    pub trigger_pin: Pin,
    /// For each type as the steps name it: the plugin that carries it out.
    pub node_pins: BTreeMap<String, Pin>,
    /// Who published it.
    pub author: String,
    /// Why, in the author's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When, in milliseconds since 1970.
    pub published_ms: u64,
}

impl Revision {
    /// What carries out its trigger, or the steps of this type.
    pub fn pin(&self, is_trigger: bool, type_name: &str) -> Option<&Pin> {
        if is_trigger { Some(&self.trigger_pin) } else { self.node_pins.get(type_name) }
    }

    /// Everything that it is pinned to.
    pub fn pins(&self) -> impl Iterator<Item = &Pin> {
        self.node_pins.values().chain([&self.trigger_pin])
    }
}

/// The exact plugin that carries out a type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// `vendor/name`.
    pub plugin: String,
    /// Its version, for people.
    pub version: Version,
    /// Its digest, which is what counts.
    pub digest: Digest,
    /// The type's name within the plugin.
    pub name: String,
}

/// An installed plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PluginRecord {
    /// `vendor/name`.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// The digest of its component; the bytes are a blob.
    pub digest: Digest,
    /// What the component said of itself when it was installed.
    pub description: Value,
    /// When it was installed, in milliseconds since 1970.
    pub installed_ms: u64,
    /// What it asks for.
    #[serde(default)]
    pub capabilities: BTreeSet<String>,
    /// The keys that signed it, by their fingerprints, trusted or not.
    #[serde(default)]
    pub signers: Vec<Digest>,
    /// Whether it waits for somebody to approve what it asks for, and is not used till then.
    #[serde(default)]
    pub held: bool,
    /// Why it is not called any more, until somebody releases it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<Quarantine>,
}

/// A plugin that broke again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// What it did.
    pub reason: String,
}

/// How a job queue is treated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueRecord {
    /// Runs that are carried out at one time.
    pub concurrency: u32,
    /// More goes first.
    pub priority: i32,
}

/// What is required of a plugin before another version of it takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequiredReplay {
    /// So many calls, the last ones, must come out the same.
    pub last: u32,
}

impl Store {
    /// Workflows by key, beginning after one.
    pub fn workflows(&self, after: Option<&Key>, limit: usize) -> Result<Vec<WorkflowHead>, Error> {
        let after = after.map(keys::workflow);
        let pairs = self.scan(keys::WORKFLOWS, after.as_deref(), Order::Ascending, limit)?;
        pairs.iter().map(|(_, bytes)| decode(bytes)).collect()
    }

    /// A workflow's head.
    pub fn workflow(&self, key: &Key) -> Result<Option<WorkflowHead>, Error> {
        Ok(self.get(&keys::workflow(key))?.map(|(_, head)| head))
    }

    /// A workflow's draft and its ETag.
    pub fn draft(&self, key: &Key) -> Result<Option<(Draft, Digest)>, Error> {
        let Some(bytes) = self.read(&keys::draft(key))? else { return Ok(None) };
        Ok(Some((decode(&bytes)?, Digest::of(&bytes))))
    }

    /// Saves a workflow's draft, making the workflow if it is new, and returns the draft's ETag. With `expected` only
    /// if the draft still has that one.
    pub async fn save_draft(&self, draft: &Draft, expected: Option<&Digest>) -> Result<Digest, Error> {
        let key = &draft.definition.key;
        let old_draft = self.read_raw(&keys::draft(key))?;
        let old_head = self.get::<WorkflowHead>(&keys::workflow(key))?;
        if let Some(expected) = expected
            && old_draft.as_ref().is_none_or(|(_, bytes)| Digest::of(bytes) != *expected)
        {
            return Err(Error::Conflict);
        }
        let mut head = old_head.as_ref().map_or_else(
            || WorkflowHead {
                key: key.clone(),
                title: None,
                latest_revision: 0,
                active_revision: None,
                active_before: Vec::new(),
                subscriptions: Value::Null,
                canary: None,
                last_canary: None,
                created_ms: draft.saved_ms,
                updated_ms: draft.saved_ms,
            },
            |(_, head)| head.clone(),
        );
        head.title.clone_from(&draft.definition.title);
        head.updated_ms = draft.saved_ms;

        let bytes = encode(draft)?;
        let mut batch = Batch::default();
        batch.expect(&keys::draft(key), old_draft.as_ref().map(|(raw, _)| raw));
        batch.replace(&keys::draft(key), &bytes, old_draft.as_ref().map(|(raw, _)| raw));
        put_head(&mut batch, &head, old_head.as_ref().map(|(raw, _)| raw))?;
        self.commit_batch(batch).await?;
        Ok(Digest::of(&bytes))
    }

    /// Stores a revision. Its number must be the one after the newest.
    pub async fn publish(&self, revision: &Revision, entry: &AuditEntry) -> Result<(), Error> {
        let key = &revision.workflow;
        let (old, mut head) = self.get::<WorkflowHead>(&keys::workflow(key))?.ok_or(Error::Conflict)?;
        if revision.number != head.latest_revision + 1 {
            return Err(Error::Conflict);
        }
        head.latest_revision = revision.number;
        let mut batch = Batch::default();
        batch.put(&keys::revision(key, revision.number), &encode(revision)?);
        put_head(&mut batch, &head, Some(&old))?;
        batch.audit(entry)?;
        self.commit_batch(batch).await
    }

    /// A workflow's revision.
    pub fn revision(&self, key: &Key, number: u32) -> Result<Option<Revision>, Error> {
        Ok(self.get(&keys::revision(key, number))?.map(|(_, revision)| revision))
    }

    /// A draft as runs were started with it.
    pub fn draft_of_run(&self, digest: &Digest) -> Result<Option<Revision>, Error> {
        Ok(self.get(&keys::draft_of_run(digest))?.map(|(_, revision)| revision))
    }

    /// Keeps a draft, with the plugins that it runs with, for the runs that are started with it. The same draft is kept once.
    pub async fn keep_draft_of_run(&self, draft: &Revision) -> Result<Digest, Error> {
        let bytes = encode(draft)?;
        let digest = Digest::of(&bytes);
        let key = keys::draft_of_run(&digest);
        if self.read_raw(&key)?.is_none() {
            let mut batch = Batch::default();
            batch.put(&key, &bytes);
            self.commit_batch(batch).await?;
        }
        Ok(digest)
    }

    /// A workflow's revisions, newest first, older than one.
    pub fn revisions(&self, key: &Key, before: Option<u32>, limit: usize) -> Result<Vec<Revision>, Error> {
        let before = before.map(|number| keys::revision(key, number));
        let pairs = self.scan(&keys::revisions(key), before.as_deref(), Order::Descending, limit)?;
        pairs.iter().map(|(_, bytes)| decode(bytes)).collect()
    }

    /// Makes a revision the active one with what its trigger subscribed to, or pauses the workflow. `beside`: what else is changed with
    /// it, all or nothing.
    pub async fn activate(
        &self,
        key: &Key,
        revision: Option<(u32, Value)>,
        beside: &[Change],
        entry: &AuditEntry,
    ) -> Result<WorkflowHead, Error> {
        let (old, mut head) = self.get::<WorkflowHead>(&keys::workflow(key))?.ok_or(Error::Conflict)?;
        let next = revision.as_ref().map(|(number, _)| *number);
        if let Some(left) = head.active_revision.filter(|left| next != Some(*left)) {
            head.active_before.retain(|number| *number != left);
            head.active_before.insert(0, left);
            head.active_before.truncate(REVISIONS_BEFORE_MAX);
        }
        (head.active_revision, head.subscriptions) = match revision {
            Some((number, subscriptions)) => (Some(number), subscriptions),
            None => (None, Value::Null),
        };
        head.canary = None;
        head.updated_ms = entry.at_ms;
        let mut batch = self.batch_of(beside)?;
        put_head(&mut batch, &head, Some(&old))?;
        batch.audit(entry)?;
        self.commit_batch(batch).await?;
        Ok(head)
    }

    /// Puts a revision on trial, or takes it back; `ended` says how the last one came out. `beside` is committed with it.
    pub async fn put_canary(
        &self,
        key: &Key,
        canary: Option<Canary>,
        ended: Option<CanaryEnd>,
        beside: &[Change],
        entry: &AuditEntry,
    ) -> Result<WorkflowHead, Error> {
        let (old, mut head) = self.get::<WorkflowHead>(&keys::workflow(key))?.ok_or(Error::Conflict)?;
        head.canary = canary;
        head.last_canary = ended.or(head.last_canary);
        let mut batch = self.batch_of(beside)?;
        put_head(&mut batch, &head, Some(&old))?;
        batch.audit(entry)?;
        self.commit_batch(batch).await?;
        Ok(head)
    }

    /// What is to be committed beside something else.
    fn batch_of(&self, changes: &[Change]) -> Result<Batch, Error> {
        match self.prepare(changes) {
            Ok(pending) => Ok(pending.batch),
            Err(CommitError::Store(error)) => Err(error),
            Err(_) => Err(Error::Conflict),
        }
    }

    /// Stores an installed plugin, whose component is already a blob.
    pub async fn put_plugin(&self, plugin: &PluginRecord, entry: &AuditEntry) -> Result<(), Error> {
        let key = keys::plugin(&plugin.name, &plugin.version);
        let old = self.get::<PluginRecord>(&key)?;
        let raw = old.as_ref().map(|(raw, _)| raw);
        let mut batch = Batch::default();
        batch.expect(&key, raw);
        batch.replace(&key, &encode(plugin)?, raw);
        // Another component takes nothing over from the one that had its name and version.
        if old.as_ref().is_some_and(|(_, old)| old.digest != plugin.digest) {
            batch.remove(&keys::reading(&plugin.name, &plugin.version), None);
        }
        batch.audit(entry)?;
        self.commit_batch(batch).await
    }

    /// Puts an installed plugin in quarantine, or lets it out. False: it is not installed.
    pub async fn put_quarantine(
        &self,
        name: &str,
        version: &Version,
        quarantine: Option<Quarantine>,
        entry: &AuditEntry,
    ) -> Result<bool, Error> {
        let Some((_, record)) = self.get::<PluginRecord>(&keys::plugin(name, version))? else { return Ok(false) };
        self.put_plugin(&PluginRecord { quarantine, ..record }, entry).await?;
        Ok(true)
    }

    /// What a plugin may do, in the form of whoever checks it; none: nothing was ever said of it.
    pub fn grants(&self, plugin: &str) -> Result<Option<Value>, Error> {
        Ok(self.get(&[keys::GRANTS, plugin.as_bytes()].concat())?.map(|(_, grants)| grants))
    }

    /// Sets what a plugin may do.
    pub async fn put_grants(&self, plugin: &str, grants: &Value, entry: &AuditEntry) -> Result<(), Error> {
        self.put_named(keys::GRANTS, plugin, grants, entry).await
    }

    /// Which replay is required of a plugin.
    pub fn required_replay(&self, plugin: &str) -> Result<Option<RequiredReplay>, Error> {
        Ok(self.get(&[keys::REQUIRED_REPLAYS, plugin.as_bytes()].concat())?.map(|(_, replay)| replay))
    }

    /// Requires a replay of a plugin.
    pub async fn put_required_replay(&self, plugin: &str, replay: &RequiredReplay, entry: &AuditEntry) -> Result<(), Error> {
        self.put_named(keys::REQUIRED_REPLAYS, plugin, replay, entry).await
    }

    /// Requires none any more. False: none was.
    pub async fn remove_required_replay(&self, plugin: &str, entry: &AuditEntry) -> Result<bool, Error> {
        self.remove_record(&[keys::REQUIRED_REPLAYS, plugin.as_bytes()].concat(), entry).await
    }

    /// Every job queue that was set, by name.
    pub fn queue_records(&self) -> Result<Vec<(Key, QueueRecord)>, Error> {
        let named = self.named(keys::QUEUE_RECORDS)?;
        named.into_iter().map(|(name, record)| Ok((name.parse().map_err(|_| Error::Corrupt(name))?, record))).collect()
    }

    /// Sets how a job queue is treated.
    pub async fn put_queue(&self, name: &Key, record: &QueueRecord, entry: &AuditEntry) -> Result<(), Error> {
        self.put_named(keys::QUEUE_RECORDS, name.as_str(), record, entry).await
    }

    pub(super) fn named<T: DeserializeOwned>(&self, kind: &[u8]) -> Result<Vec<(String, T)>, Error> {
        let pairs = self.scan(kind, None, Order::Ascending, usize::MAX)?;
        let read = |(key, bytes): &(Vec<u8>, bytes::Bytes)| {
            Ok((String::from_utf8_lossy(&key[kind.len()..]).into_owned(), decode(bytes)?))
        };
        pairs.iter().map(read).collect()
    }

    pub(super) async fn put_named<T: Serialize>(
        &self,
        kind: &[u8],
        name: &str,
        value: &T,
        entry: &AuditEntry,
    ) -> Result<(), Error> {
        let key = [kind, name.as_bytes()].concat();
        let old = self.read_raw(&key)?.map(|(raw, _)| raw);
        let mut batch = Batch::default();
        batch.expect(&key, old.as_ref());
        batch.replace(&key, &encode(value)?, old.as_ref());
        batch.audit(entry)?;
        self.commit_batch(batch).await
    }

    /// Removes what stands under a key, as it stands now. False: nothing does.
    pub(super) async fn remove_record(&self, key: &[u8], entry: &AuditEntry) -> Result<bool, Error> {
        let Some((old, _)) = self.read_raw(key)? else { return Ok(false) };
        let mut batch = Batch::default();
        batch.expect(key, Some(&old));
        batch.remove(key, Some(&old));
        batch.audit(entry)?;
        self.commit_batch(batch).await?;
        Ok(true)
    }

    /// Every installed plugin.
    pub fn plugins(&self) -> Result<Vec<PluginRecord>, Error> {
        let pairs = self.scan(keys::PLUGINS, None, Order::Ascending, usize::MAX)?;
        pairs.iter().map(|(_, bytes)| decode(bytes)).collect()
    }

    fn get<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<(Raw, T)>, Error> {
        let Some((raw, bytes)) = self.read_raw(key)? else { return Ok(None) };
        Ok(Some((raw, decode(&bytes)?)))
    }
}

fn put_head(batch: &mut Batch, head: &WorkflowHead, old: Option<&Raw>) -> Result<(), Error> {
    let key = keys::workflow(&head.key);
    batch.expect(&key, old);
    batch.replace(&key, &encode(head)?, old);
    Ok(())
}

/// As JSON: these records are small, are read by people in need, and hold documents of any shape.
pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::Engine(format!("encoding: {error}")))
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::Corrupt(format!("a record cannot be read: {error}")))
}
