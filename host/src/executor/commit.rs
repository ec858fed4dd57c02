//! What a run stores: its new entries, and everything that follows from them, in one batch.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::drive::Running;
use super::{Error, Executor};
use crate::limits::SNAPSHOT_ENTRIES_MIN;
use crate::run::{Arrival, Entry, Outgoing, Parent, Reason, RunId, Staged};
use crate::store::{ArrivalId, Asked, Change, CommitError, DedupKey, KeptSignal, Place, RunChange, RunHead, SignalName};

/// What of a run is not stored yet, and what the store has of it.
pub(super) struct Unstored {
    /// The head as it is to be stored.
    pub(super) head: RunHead,
    /// The head as it is stored; none: the run is new.
    pub(super) before: Option<RunHead>,
    /// Entries that are folded into the state. Shared with the commit that stores them.
    pub(super) entries: Arc<Vec<Entry>>,
    /// How many segments are stored, and how many entries no snapshot covers.
    pub(super) segments: u32,
    pub(super) tail_entries: usize,
    pub(super) dedup: Option<DedupKey>,
    /// What was taken up and is still in the store.
    pub(super) taken: Vec<ArrivalId>,
    /// Messages that were taken up and are for others.
    pub(super) returned: Vec<KeptSignal>,
    /// Messages by name and key that the store says the run waits for.
    pub(super) waits: BTreeSet<(Box<str>, Box<str>)>,
    /// Whether whoever goes on with the run is to be spared folding its journal.
    pub(super) wants_snapshot: bool,
    /// Another run asked for this one, and is not answered yet.
    pub(super) is_asked: bool,
    /// What the trigger that started the run staged.
    pub(super) staged: Staged,
    /// Who is told when the run ends.
    pub(super) parent: Option<Parent>,
}

impl Unstored {
    /// Of a run of which nothing is stored, or nothing else.
    pub(super) fn new(head: RunHead, entries: Vec<Entry>, parent: Option<Parent>) -> Self {
        Self {
            head,
            before: None,
            entries: entries.into(),
            segments: 0,
            tail_entries: 0,
            dedup: None,
            taken: Vec::new(),
            returned: Vec::new(),
            waits: BTreeSet::new(),
            wants_snapshot: false,
            is_asked: false,
            staged: Staged::default(),
            parent,
        }
    }

    /// Whether everything that happened is stored.
    pub(super) fn is_stored(&self) -> bool {
        self.before.is_some() && self.entries.is_empty() && self.taken.is_empty()
    }
}

/// What a batch does to the host beside a run; its files go with the run itself.
pub(crate) fn staged_changes(staged: Staged, stack: &[crate::workflow::Key], changes: &mut Vec<Change>) {
    let Staged { kv_reads, kv_writes, starts, .. } = staged;
    changes.extend(kv_reads.into_iter().map(|(key, seen)| Change::KvSeen(key, seen)));
    changes.extend(kv_writes.into_iter().map(|(key, value)| Change::Kv(key, value)));
    changes.extend(starts.into_iter().map(|start| {
        let (run, workflow, context) = (start.run, start.workflow, start.context);
        Change::Ask(Box::new(Asked { run, workflow, context, parent: None, stack: stack.to_vec(), synchronous: false }))
    }));
}

impl Running {
    /// Makes everything that happened durable.
    pub(super) async fn store(&mut self) -> Result<(), Error> {
        Ok(self.try_store().await?)
    }

    /// The same; [`CommitError::Changed`] is for the caller: nothing was stored.
    pub(super) async fn try_store(&mut self) -> Result<(), CommitError> {
        let outgoing = self.state.take_outgoing();
        let head = self.head();
        let changes = self.changes(&head, outgoing);
        let woken: Vec<RunId> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Arrive(run, _) => Some(*run),
                Change::Ask(asked) => Some(asked.run),
                _ => None,
            })
            .collect();
        self.executor.store.commit(changes).await?;
        self.stored(head);
        woken.into_iter().for_each(|run| self.executor.poke(run));
        for kept in std::mem::take(&mut self.unstored.returned) {
            self.executor.poke_waiters(&kept.name)?;
        }
        Ok(())
    }

    /// The head as the state now has it.
    fn head(&self) -> RunHead {
        let mut head = self.unstored.head.clone();
        head.kept_signals = self.state.kept_signals() as u64;
        if let Some(end) = self.state.end() {
            head.status = end.status;
            head.reason = end.reason;
            head.message.clone_from(&end.message);
            head.ended_ms = Some(self.executor.clock.now_ms());
            head.place = Place::Ended;
        }
        head
    }

    fn changes(&mut self, head: &RunHead, mut outgoing: Outgoing) -> Vec<Change> {
        let workflow = &self.program.plan.workflow;
        let id = self.unstored.head.id;
        let name =
            |(name, key): &(Box<str>, Box<str>)| SignalName { workflow: workflow.clone(), name: name.clone(), key: key.clone() };
        let waits = self.state.keyed_signals();
        let ended = self.state.end();
        let options = &self.program.plan.options;
        let delete_on = options.history.as_ref().map_or(&[][..], |history| &history.delete_on);
        let unstored = &mut self.unstored;
        let total = unstored.tail_entries + unstored.entries.len();
        let wants_snapshot = unstored.wants_snapshot && ended.is_none() && total >= SNAPSHOT_ENTRIES_MIN;
        let run = RunChange {
            head: head.clone(),
            before: unstored.before.clone(),
            segments: unstored.segments,
            entries: unstored.entries.clone(),
            snapshot: wants_snapshot.then(|| self.state.clone()),
            dedup: unstored.dedup.clone(),
            waits: waits.difference(&unstored.waits).map(name).collect(),
            waits_no_more: unstored.waits.difference(&waits).map(name).collect(),
            files: std::mem::take(&mut outgoing.staged.files),
            forget: ended.is_some_and(|end| delete_on.iter().any(|status| status == end.status.as_str())),
        };
        let mut changes = vec![Change::Run(Box::new(run))];
        changes.extend(unstored.taken.iter().map(|number| Change::TakeUp(id, *number)));
        changes.extend(unstored.returned.iter().cloned().map(|kept| Change::KeepSignal(Box::new(kept))));
        if unstored.is_asked {
            changes.push(Change::Answer(id));
        }
        let mut stack = self.stack.to_vec();
        stack.push(workflow.clone());
        staged_changes(unstored.staged.clone(), &stack, &mut changes);
        #[cfg(test)]
        let outgoing = self.executor.faults.lose(outgoing);
        staged_changes(outgoing.staged, &stack, &mut changes);
        changes.extend(outgoing.children.into_iter().map(|child| {
            let parent = Some(Parent { run: id, activation: (*child.activation).into(), id: child.id });
            let (run, workflow, context, stack) = (child.run, child.workflow, child.context, stack.clone());
            let synchronous = unstored.head.synchronous;
            Change::Ask(Box::new(Asked { run, workflow, context, parent, stack, synchronous }))
        }));
        changes.extend(outgoing.abandoned.into_iter().map(|run| {
            let arrival = Arrival::Cancel { reason: Reason::ParentAborted, by: None };
            Change::Arrive(run, arrival)
        }));
        if let (Some(end), Some(parent)) = (ended, &unstored.parent) {
            let output = end.output(self.state.output());
            let (activation, id) = (parent.activation.clone(), parent.id.clone());
            changes.push(Change::Arrive(parent.run, Arrival::ChildEnded { activation, id, output }));
        }
        changes
    }

    /// Everything was stored.
    fn stored(&mut self, head: RunHead) {
        let waits = self.state.keyed_signals();
        let unstored = &mut self.unstored;
        unstored.waits = waits;
        if !unstored.entries.is_empty() {
            unstored.segments += 1;
            unstored.tail_entries += unstored.entries.len();
        }
        if unstored.wants_snapshot && unstored.tail_entries >= SNAPSHOT_ENTRIES_MIN {
            unstored.tail_entries = 0;
        }
        unstored.wants_snapshot = false;
        unstored.entries = Arc::default();
        unstored.taken.clear();
        unstored.is_asked = false;
        unstored.staged = Staged::default();
        unstored.before = Some(head.clone());
        unstored.head = head;
        self.live.set_head(&unstored.head);
        self.executor.unreserve(unstored);
    }
}

impl Executor {
    /// A run's dedup key is stored, or will never be: the store knows it from now on.
    pub(super) fn unreserve(&self, unstored: &mut Unstored) {
        if let Some(key) = unstored.dedup.take() {
            let reservation = (unstored.head.workflow.clone(), key);
            let mut reserved = self.reserved.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if reserved.get(&reservation) == Some(&unstored.head.id) {
                reserved.remove(&reservation);
            }
        }
    }
}

impl From<CommitError> for Error {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Store(error) => error.into(),
            error => Self::Commit(Arc::new(error)),
        }
    }
}
