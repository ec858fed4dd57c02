//! Which revisions there are, made ready to run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::program::{Program, ProgramError};
use crate::digest::Digest;
use crate::limits::PROGRAMS_KEPT_MAX;
use crate::plugin::{Plugin, Registry};
use crate::store::{Revision, Store};
use crate::workflow::Key;

/// Revisions made ready to run.
pub trait Programs: Send + Sync {
    /// A revision of a workflow; 0 for the draft with this digest.
    fn program(&self, workflow: &Key, revision: u32, draft: Option<&Digest>) -> Result<Arc<Program>, ProgramError>;

    /// The same without its plugins, which may be missing: good for ending a run.
    fn bare(&self, workflow: &Key, revision: u32, draft: Option<&Digest>) -> Result<Arc<Program>, ProgramError>;

    /// Takes a plugin out of the registry, unless somebody holds a revision that is pinned to it: a run that is carried out, a
    /// request, what listens. Whoever asks for such a revision from now on is told that its plugin is missing. None: somebody does.
    fn take_out(&self, plugin: &Digest) -> Option<Arc<Plugin>>;

    /// The revision that a start by name runs: the active one, else the newest. None: there is no such workflow, or it was never
    /// published.
    fn startable(&self, workflow: &Key) -> Result<Option<u32>, ProgramError>;
}

/// Which revision, or which draft.
type Name = (Key, u32, Option<Digest>);

/// Revisions from the store.
pub struct StoredPrograms {
    store: Store,
    registry: Arc<Registry>,
    /// Those that were used last, since reading one takes longer than running it.
    kept: Mutex<HashMap<Name, Arc<Program>>>,
}

impl StoredPrograms {
    /// The revisions of a store, with the plugins of a registry.
    pub fn new(store: Store, registry: Arc<Registry>) -> Self {
        Self { store, registry, kept: Mutex::default() }
    }

    fn read(&self, workflow: &Key, revision: u32, draft: Option<&Digest>) -> Result<Revision, ProgramError> {
        let found = match draft {
            Some(digest) => self.store.draft_of_run(digest)?,
            None => self.store.revision(workflow, revision)?,
        };
        found.ok_or_else(|| ProgramError::Missing(workflow.to_string(), revision))
    }
}

impl Programs for StoredPrograms {
    fn program(&self, workflow: &Key, revision: u32, draft: Option<&Digest>) -> Result<Arc<Program>, ProgramError> {
        let name = (workflow.clone(), revision, draft.copied());
        if let Some(program) = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&name) {
            return Ok(program.clone());
        }
        let found = self.read(workflow, revision, draft)?;
        // Under the lock, so that no plugin is taken out between the look for it and the note that it is used.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut program = Program::load(&self.registry, &found)?;
        program.draft = draft.copied();
        let program = Arc::new(program);
        if kept.len() >= PROGRAMS_KEPT_MAX {
            // Those that nobody uses now are read again when somebody does.
            kept.retain(|_, program| Arc::strong_count(program) > 1);
        }
        Ok(kept.entry(name).or_insert(program).clone())
    }

    fn bare(&self, workflow: &Key, revision: u32, draft: Option<&Digest>) -> Result<Arc<Program>, ProgramError> {
        let mut program = Program::bare(&self.read(workflow, revision, draft)?)?;
        program.draft = draft.copied();
        Ok(Arc::new(program))
    }

    fn take_out(&self, plugin: &Digest) -> Option<Arc<Plugin>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // Whatever is held is kept: only what nobody holds is ever dropped from here.
        if kept.values().any(|program| program.is_pinned_to(plugin) && Arc::strong_count(program) > 1) {
            return None;
        }
        kept.retain(|_, program| !program.is_pinned_to(plugin));
        self.registry.take_out(plugin)
    }

    fn startable(&self, workflow: &Key) -> Result<Option<u32>, ProgramError> {
        let head = self.store.workflow(workflow)?;
        Ok(head.and_then(|head| head.active_revision.or(Some(head.latest_revision))).filter(|number| *number > 0))
    }
}
