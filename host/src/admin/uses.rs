//! What revisions that are active or on trial use of a host's settings: nobody takes it away unawares.

use super::{Admin, Error};
use crate::limits::USES_NAMED_MAX;
use crate::store::Revision;
use crate::workflow::{Template, Variable};

/// What definitions name, and what is kept outside of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// A way to a server.
    Connection,
    /// `{{$secrets.NAME}}`
    Secret,
    /// `{{$env.NAME}}`
    Variable,
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connection => "connection",
            Self::Secret => "secret",
            Self::Variable => "variable",
        })
    }
}

impl Admin {
    /// The places in revisions that are active or on trial: `crm-sync-00003 at /steps/0/config/connection`.
    pub(super) async fn uses(&self, places: impl Fn(&Revision) -> Vec<String> + Send + 'static) -> Result<Vec<String>, Error> {
        self.read(move |store| {
            let mut uses = Vec::new();
            for head in store.workflows(None, usize::MAX)? {
                let on_trial = head.canary.as_ref().map(|canary| canary.revision);
                for number in head.active_revision.into_iter().chain(on_trial) {
                    let Some(revision) = store.revision(&head.key, number)? else { continue };
                    uses.extend(places(&revision).into_iter().map(|place| format!("{}-{number:05} at {place}", head.key)));
                }
            }
            Ok(uses)
        })
        .await
    }

    /// Refuses to remove something that revisions which are active or on trial name by a variable, unless that is insisted on.
    pub(super) async fn check_unused(
        &self,
        what: Named,
        name: &str,
        force: bool,
        is_use: impl Fn(&Variable) -> bool + Send + 'static,
    ) -> Result<(), Error> {
        match force {
            true => Ok(()),
            false => refuse_used(what, name, &self.uses(move |revision| places_of(revision, &is_use)).await?),
        }
    }
}

/// An error if there are uses, some of which it names.
pub(super) fn refuse_used(what: Named, name: &str, uses: &[String]) -> Result<(), Error> {
    if uses.is_empty() {
        return Ok(());
    }
    let named = uses.iter().take(USES_NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    Err(Error::InUse { what, name: name.to_owned(), uses: named })
}

/// The places of a revision where such a variable stands.
fn places_of(revision: &Revision, is_use: &impl Fn(&Variable) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut look = |config: &serde_json::Value, at: &str| {
        let (template, _) = Template::read(config);
        let uses = template.variables().into_iter().filter(|(_, variable)| is_use(variable));
        found.extend(uses.map(|(pointer, _)| format!("{at}/config{pointer}")));
    };
    let definition = &revision.definition;
    look(&definition.trigger.config, "/trigger");
    definition.each_step(|step, at, _| look(&step.config, at));
    found
}
