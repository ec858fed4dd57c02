//! What each kind of record must be, and what must be there with it.

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::{REBUILD, RESTORE, Verifier};
use crate::digest::Digest;
use crate::run::{Arrival, Entry, FileFacts, RunId};
use crate::store::catalog::{self, Draft, PluginRecord, QueueRecord, RequiredReplay, Revision, WorkflowHead};
use crate::store::connections::SealedConnection;
use crate::store::history::Totals;
use crate::store::run_store::{Asked, Place, RunHead};
use crate::store::runs::{self, Kept, index_keys, read_snapshot};
use crate::store::secrets::SealedSecret;
use crate::store::timers::{SetAside, Timer};
use crate::store::vendors::TrustedKey;
use crate::store::writer::Committed;
use crate::store::{Error, keys, record};
use crate::workflow::Key;

/// What is wrong with a record, and what to do.
type Wrong = (String, &'static str);

/// What is to be done about an audit log that is not what was written.
const AUDIT: &str = "everything else works; find out who may write to the data folder, and compare with a copy of it";

/// What is to be done about what a run cannot go on without.
const RUN_AGAIN: &str = "restore the data folder from a copy, import an export, or delete the run";

impl Verifier<'_> {
    /// Whether a record can be read, and whether what it refers to is there.
    pub(super) fn check(&mut self, kind: u8, key: &[u8], content: &Bytes) -> Result<(), Wrong> {
        match kind {
            b'w' => self.workflow(&json(content)?),
            b'd' => self.draft(&json(content)?),
            b'v' | b'D' => self.revision(key, content),
            b'p' => {
                let plugin: PluginRecord = json(content)?;
                self.refer(key, plugin.digest);
                Ok(())
            }
            b'G' => json::<serde_json::Value>(content).map(drop),
            b'M' => self.reading(key, content),
            b'A' => self.audit.take(key, content).map_err(|problem| (problem, AUDIT)),
            b'T' => json::<TrustedKey>(content).map(drop),
            b'E' => json::<String>(content).map(drop),
            b'Q' => json::<QueueRecord>(content).map(drop),
            b'R' => json::<RequiredReplay>(content).map(drop),
            b's' => json::<SealedSecret>(content).map(drop),
            b'C' => json::<SealedConnection>(content).map(drop),
            b'r' => self.run(key, packed(content)?),
            b'F' => self.file(key, &packed(content)?),
            b'B' => ensure(self.is_there(&keys::of_content(key)), "its file is not there", RESTORE),
            b'j' => self.segment(key, &packed::<Vec<Entry>>(content)?),
            b'z' => self.snapshot(key, content),
            b'a' | b'b' | b'e' | b'o' | b'q' | b't' => self.index(key),
            b'g' => self.wait(key),
            b'h' => packed::<Kept>(content).map(drop),
            b'i' => self.timer(key, &packed(content)?),
            b'I' => self.due_timer(key),
            b'S' => packed::<SetAside>(content).map(drop),
            b'x' => packed::<Arrival>(content).map(drop),
            b'y' => packed::<Asked>(content).map(drop),
            b'k' => ensure(content.len() == 16, "it names no run", RESTORE),
            b'f' => {
                let ends = key.get(9..).is_some_and(|key| self.is_there(key));
                ensure(ends, "the dedup key that is to end is not there", REBUILD)
            }
            b'l' => ensure(Committed::read(key, content).is_some(), "it lists no commit", RESTORE),
            b'n' => {
                let count = record::count(key, content).map_err(unreadable)?;
                self.counters.insert(workflow_of(key)?, count.into());
                Ok(())
            }
            b'N' => {
                let totals = Totals::read(content).ok_or_else(|| ("they are no totals".to_owned(), REBUILD))?;
                self.totals.insert(workflow_of(key)?, totals);
                Ok(())
            }
            b'm' => ensure([keys::FORMAT, keys::TOTALS_COUNTED].contains(&key), "it is not known", RESTORE),
            // Values of plugins are any bytes.
            _ => Ok(()),
        }
    }

    fn workflow(&mut self, head: &WorkflowHead) -> Result<(), Wrong> {
        let is_missing = |number: &u32| !self.is_there(&keys::revision(&head.key, *number));
        if let Some(number) = (1..=head.latest_revision).find(is_missing) {
            return Err((format!("its revision {number} is not there"), RESTORE));
        }
        let active = head.active_revision.unwrap_or(0);
        ensure(active <= head.latest_revision, format!("its active revision {active} was never published"), RESTORE)?;
        ensure(self.is_there(&keys::draft(&head.key)), "its draft is not there", RESTORE)
    }

    fn draft(&self, draft: &Draft) -> Result<(), Wrong> {
        ensure(self.is_there(&keys::workflow(&draft.definition.key)), "its workflow is not there", RESTORE)
    }

    fn revision(&self, key: &[u8], content: &[u8]) -> Result<(), Wrong> {
        let revision: Revision = json(content)?;
        let expected = match revision.number {
            0 => keys::draft_of_run(&Digest::of(content)),
            number => keys::revision(&revision.workflow, number),
        };
        ensure(expected == key, "it is the revision of another key", RESTORE)
    }

    fn run(&mut self, key: &[u8], head: RunHead) -> Result<(), Wrong> {
        ensure(keys::run(head.id) == key, "it is the run of another key", RESTORE)?;
        let (runs, totals) = self.found.entry(head.workflow.clone()).or_default();
        *runs += 1;
        totals.add(Totals::of(&head));
        ensure(self.is_there(&keys::segment(head.id, 0)), format!("run {} has no journal", head.id), RUN_AGAIN)?;
        let revision = match &head.draft {
            Some(digest) => keys::draft_of_run(digest),
            None => keys::revision(&head.workflow, head.revision),
        };
        ensure(self.is_there(&revision), format!("the revision of run {} is not there", head.id), RUN_AGAIN)?;
        match index_keys(&head).iter().find(|index| !self.is_there(index)) {
            Some(index) => Err((format!("run {} does not stand in the index {}", head.id, hex::encode(index)), REBUILD)),
            None => Ok(()),
        }
    }

    /// Segments come in order, each journal from 0 on.
    fn segment(&mut self, key: &[u8], entries: &[Entry]) -> Result<(), Wrong> {
        let (run, number) = keys::of_segment(key).ok_or_else(|| ("it is no key of a segment".to_owned(), RESTORE))?;
        let expected = self.journal.filter(|(last, _)| *last == run).map_or(0, |(_, next)| next);
        self.journal = Some((run, number.saturating_add(1)));
        ensure(number == expected, format!("run {run} has segment {number} and not segment {expected}"), RUN_AGAIN)?;
        if number > 0 {
            return Ok(());
        }
        ensure(self.is_there(&keys::run(run)), format!("there is no run {run}"), RESTORE)?;
        ensure(matches!(entries.first(), Some(Entry::Accepted(_))), format!("run {run} was not accepted"), RUN_AGAIN)
    }

    fn reading(&self, key: &[u8], content: &[u8]) -> Result<(), Wrong> {
        json::<serde_json::Value>(content)?;
        let plugin = keys::of_reading(key).map(|(name, version)| keys::plugin(name, &version));
        ensure(plugin.is_some_and(|plugin| self.is_there(&plugin)), "its plugin is not there", "nothing is lost: nobody reads it")
    }

    fn file(&mut self, key: &[u8], facts: &FileFacts) -> Result<(), Wrong> {
        let run = keys::run_of_file(key).is_some_and(|run| self.is_there(&keys::run(run)));
        ensure(run, format!("the run of the file `{}` is not there", facts.name), RESTORE)?;
        ensure(self.is_there(&keys::content_of(key)), format!("the content of the file `{}` is not there", facts.name), RESTORE)
    }

    fn snapshot(&mut self, key: &[u8], content: &[u8]) -> Result<(), Wrong> {
        match read_snapshot(content) {
            Ok(Some(_)) => {}
            Ok(None) => self.report.snapshots_of_other_forms += 1,
            Err(error) => return Err((error.to_string(), "nothing is lost: the journal says the same")),
        }
        let run = keys::run_id(key).is_some_and(|run| self.is_there(&keys::run(run)));
        ensure(run, "its run is not there", REBUILD)
    }

    /// Whether a run that stands somewhere belongs there.
    fn index(&self, key: &[u8]) -> Result<(), Wrong> {
        let id = run_of(key)?;
        let head = self.head(id)?.ok_or_else(|| (format!("there is no run {id}"), REBUILD))?;
        let stands = index_keys(&head).iter().any(|index| index == key);
        ensure(stands, format!("run {id} does not belong here"), REBUILD)
    }

    fn timer(&self, key: &[u8], timer: &Timer) -> Result<(), Wrong> {
        ensure(key.ends_with(Digest::of(timer.id.as_bytes()).as_bytes()), "it is the timer of another key", RESTORE)?;
        ensure(self.is_there(&keys::due_timer(key, timer.at_ms)), "it does not stand in the order of timers", REBUILD)
    }

    fn due_timer(&self, key: &[u8]) -> Result<(), Wrong> {
        let (_, at_ms, timer) = keys::of_due_timer(key).ok_or_else(|| ("it names no timer".to_owned(), REBUILD))?;
        let bytes = record::read(self.kv, self.blobs, &timer).map_err(unreadable)?;
        let timer: Option<Timer> = bytes.map(|bytes| packed(&bytes)).transpose()?;
        ensure(timer.is_some_and(|timer| timer.at_ms == at_ms), "there is no timer for this time", REBUILD)
    }

    fn wait(&self, key: &[u8]) -> Result<(), Wrong> {
        let id = run_of(key)?;
        let waits = self.head(id)?.is_some_and(|head| head.place != Place::Ended);
        ensure(waits, format!("run {id} does not wait for anything"), "nothing is lost: a message goes to those who wait")
    }

    /// Whether counters and totals say what was found, and the audit log ends where it did.
    pub(super) fn check_numbers(&mut self) {
        if let Err((number, problem)) = self.audit.end() {
            self.problem(&keys::audit(number), problem, AUDIT);
        }
        let found = std::mem::take(&mut self.found);
        for (workflow, (runs, totals)) in &found {
            let counted = self.counters.get(workflow).copied().unwrap_or(0);
            if counted < *runs {
                let problem = format!("`{workflow}` has {runs} runs, and its counter says {counted}");
                self.problem(&keys::run_count(workflow), problem, RESTORE);
            }
            let said = self.totals.remove(workflow).unwrap_or_default();
            if said != *totals {
                let problem = format!("`{workflow}`: {totals:?} were found, and {said:?} are said");
                self.problem(&keys::totals(workflow), problem, REBUILD);
            }
        }
        for (workflow, said) in std::mem::take(&mut self.totals) {
            if said != Totals::default() {
                self.problem(&keys::totals(&workflow), format!("`{workflow}` has no runs, and {said:?} are said"), REBUILD);
            }
        }
    }

    fn head(&self, id: RunId) -> Result<Option<RunHead>, Wrong> {
        let bytes = record::read(self.kv, self.blobs, &keys::run(id)).map_err(unreadable)?;
        bytes.map(|bytes| packed(&bytes)).transpose()
    }

    fn is_there(&self, key: &[u8]) -> bool {
        matches!(self.kv.get(key), Ok(Some(_)))
    }
}

fn ensure(is_so: bool, problem: impl Into<String>, remedy: &'static str) -> Result<(), Wrong> {
    if is_so { Ok(()) } else { Err((problem.into(), remedy)) }
}

fn json<T: DeserializeOwned>(content: &[u8]) -> Result<T, Wrong> {
    catalog::decode(content).map_err(unreadable)
}

fn packed<T: DeserializeOwned>(content: &[u8]) -> Result<T, Wrong> {
    runs::decode(content).map_err(unreadable)
}

fn unreadable(error: Error) -> Wrong {
    (error.to_string(), RESTORE)
}

fn run_of(key: &[u8]) -> Result<RunId, Wrong> {
    keys::run_id(key).ok_or_else(|| ("it names no run".to_owned(), REBUILD))
}

fn workflow_of(key: &[u8]) -> Result<Key, Wrong> {
    keys::workflow_of_totals(key).ok_or_else(|| ("it names no workflow".to_owned(), RESTORE))
}
