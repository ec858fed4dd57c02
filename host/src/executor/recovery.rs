//! After a start: what had begun and not ended goes on.

use std::collections::HashMap;
use std::sync::Arc;

use super::drive::Running;
use super::program::Program;
use super::{Error, Executor};

impl Executor {
    /// Goes on with every run that the last process left behind. Returns how many.
    pub async fn recover(self: &Arc<Self>) -> Result<usize, Error> {
        let store = self.store.clone();
        let open = tokio::task::spawn_blocking(move || store.open_runs()).await.unwrap_or(Err(crate::store::Error::Closed))?;
        let mut programs = HashMap::new();
        let mut recovered = 0;
        for run in open {
            let Some(head) = self.store.run(run)? else { continue };
            let program = match programs.get(&(head.workflow.clone(), head.revision)) {
                Some(program) => Arc::clone(program),
                None => match self.program(&head.workflow, head.revision)? {
                    Ok(program) => {
                        programs.insert((head.workflow.clone(), head.revision), program.clone());
                        program
                    }
                    Err(error) => {
                        tracing::error!(%run, %error, "a run cannot go on");
                        continue;
                    }
                },
            };
            let (entries, segments) = self.store.journal(run)?;
            let mut running = Running::new(self.clone(), program, head, None, entries);
            running.entries_are_stored(segments);
            tokio::spawn(running.drive());
            recovered += 1;
        }
        Ok(recovered)
    }

    /// A stored revision made ready to run.
    pub fn program(&self, workflow: &crate::workflow::Key, number: u32) -> Result<Result<Arc<Program>, String>, Error> {
        Ok(match self.store.revision(workflow, number)? {
            None => Err(format!("there is no revision {number} of `{workflow}`")),
            Some(revision) => Program::load(&self.registry, &revision).map(Arc::new).map_err(|error| error.to_string()),
        })
    }
}
