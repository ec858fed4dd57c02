//! Drafts, revisions, and which of them is active.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::publish::{Choice, Pins};
use super::{Admin, Error};
use crate::digest::Digest;
use crate::limits::SET_ASIDE_MAX;
use crate::store::{self, AuditEntry, Draft, Revision, RunStore as _, Store, TimerChange, What, WorkflowHead};
use crate::trigger::{HttpRoute, Routes, Triggers};
use crate::workflow::{Change, Definition, Key, Problem, diff};

/// A draft that was saved.
#[derive(Debug)]
pub struct DraftSaved {
    /// Changes with the draft.
    pub etag: Digest,
    /// Whether it is the workflow's first.
    pub is_new: bool,
}

/// What publishing came to.
#[derive(Debug)]
pub struct Published {
    /// The revision.
    pub revision: Revision,
    /// False: neither the definition nor its plugins differ from the newest revision, so that stays the newest.
    pub is_new: bool,
}

/// A workflow as it stands.
#[derive(Debug)]
pub struct Overview {
    /// As it is stored.
    pub head: WorkflowHead,
    /// Where it listens.
    pub urls: Vec<String>,
    /// Why it listens nowhere, although it is active.
    pub not_listening: Option<String>,
    /// The runs that it has had.
    pub runs_started: u32,
    /// Events that its trigger could not take, and that wait for an operator.
    pub set_aside: usize,
}

impl Admin {
    /// Workflows by key, and where the next page begins.
    pub async fn workflows(&self, after: Option<Key>, limit: usize) -> Result<(Vec<Overview>, Option<Key>), Error> {
        let triggers = self.triggers.clone();
        self.read(move |store| {
            let mut heads = store.workflows(after.as_ref(), limit + 1)?;
            let more = heads.len() > limit;
            heads.truncate(limit);
            let next = heads.last().filter(|_| more).map(|head| head.key.clone());
            Ok((heads.into_iter().map(|head| overview(store, &triggers, head)).collect::<Result<_, _>>()?, next))
        })
        .await
    }

    /// A workflow.
    pub async fn workflow(&self, key: &Key) -> Result<Overview, Error> {
        let (head, triggers) = (self.head(key).await?, self.triggers.clone());
        self.read(move |store| overview(store, &triggers, head)).await
    }

    /// A workflow's draft and its ETag.
    pub async fn draft(&self, key: &Key) -> Result<(Draft, Digest), Error> {
        let wanted = key.clone();
        let draft = self.read(move |store| store.draft(&wanted)).await?;
        draft.ok_or_else(|| Error::not_found("workflow", key, "; `weft workflow list` shows what there is"))
    }

    /// Saves a draft. With `expected` only if the draft still has that ETag.
    pub async fn save_draft(&self, definition: Definition, expected: Option<Digest>) -> Result<DraftSaved, Error> {
        let _changing = self.changing.lock().await;
        let key = definition.key.clone();
        let is_new = self.read(move |store| Ok(store.workflow(&key)?.is_none())).await?;
        let draft = Draft { definition, saved_ms: self.clock().now_ms() };
        match self.store.save_draft(&draft, expected.as_ref()).await {
            Ok(etag) => Ok(DraftSaved { etag, is_new }),
            Err(store::Error::Conflict) => Err(Error::Stale),
            Err(error) => Err(error.into()),
        }
    }

    /// Everything that would keep a definition from being published.
    pub async fn check(&self, definition: &Definition) -> Result<Vec<Problem>, Error> {
        match self.resolve(definition, Choice::Newest).await {
            Ok(_) => Ok(Vec::new()),
            Err(Error::Invalid(problems)) => Ok(problems),
            Err(error) => Err(error),
        }
    }

    /// Makes the draft a revision, with the plugins that it will run with.
    pub async fn publish(&self, key: &Key, author: &str, message: Option<String>) -> Result<Published, Error> {
        let _changing = self.changing.lock().await;
        let head = self.head(key).await?;
        let (draft, _) = self.draft(key).await?;
        let pins = self.resolve(&draft.definition, Choice::Newest).await?;
        self.store_revision(&head, draft.definition, pins, author, message).await
    }

    /// Whoever calls has the lock of changes, and has checked the definition with these plugins.
    pub(super) async fn store_revision(
        &self,
        head: &WorkflowHead,
        definition: Definition,
        (trigger_pin, node_pins): Pins,
        author: &str,
        message: Option<String>,
    ) -> Result<Published, Error> {
        if head.latest_revision > 0 {
            let newest = self.revision(&head.key, head.latest_revision).await?;
            if newest.definition == definition && newest.trigger_pin == trigger_pin && newest.node_pins == node_pins {
                return Ok(Published { revision: newest, is_new: false });
            }
        }
        let revision = Revision {
            workflow: head.key.clone(),
            number: head.latest_revision + 1,
            definition,
            trigger_pin,
            node_pins,
            author: author.to_owned(),
            message,
            published_ms: self.clock().now_ms(),
        };
        let plugins: BTreeSet<String> =
            revision.pins().map(|pin| format!("{} {} {}", pin.plugin, pin.version, pin.digest)).collect();
        let details = json!({ "revision": revision.number, "author": author, "message": revision.message, "plugins": plugins });
        self.store.publish(&revision, &self.entry(What::WorkflowPublished, head.key.as_str(), details)).await?;
        Ok(Published { revision, is_new: true })
    }

    /// A revision.
    pub async fn revision(&self, key: &Key, number: u32) -> Result<Revision, Error> {
        let wanted = key.clone();
        let revision = self.read(move |store| store.revision(&wanted, number)).await?;
        let hint = "; `weft workflow revisions` shows what there is";
        revision.ok_or_else(|| Error::not_found("revision", format!("{key}-{number:05}"), hint))
    }

    /// Revisions, newest first, older than one; and where the next page begins.
    pub async fn revisions(&self, key: &Key, before: Option<u32>, limit: usize) -> Result<(Vec<Revision>, Option<u32>), Error> {
        self.head(key).await?;
        let wanted = key.clone();
        let mut revisions = self.read(move |store| store.revisions(&wanted, before, limit + 1)).await?;
        let more = revisions.len() > limit;
        revisions.truncate(limit);
        let next = revisions.last().filter(|_| more).map(|revision| revision.number);
        Ok((revisions, next))
    }

    /// What differs between two revisions; 0 stands for the draft.
    pub async fn diff(&self, key: &Key, from: u32, to: u32) -> Result<Vec<Change>, Error> {
        Ok(diff(&self.definition(key, from).await?, &self.definition(key, to).await?))
    }

    /// The definition of a revision; 0 stands for the draft.
    pub async fn definition(&self, key: &Key, number: u32) -> Result<Definition, Error> {
        match number {
            0 => Ok(self.draft(key).await?.0.definition),
            number => Ok(self.revision(key, number).await?.definition),
        }
    }

    /// Makes a revision the active one: the next event starts it. Runs that go on finish on theirs. Refused if a plugin, of which a replay is
    /// required, has another version in it that is not known to do the same.
    pub async fn activate(&self, key: &Key, number: Option<u32>) -> Result<WorkflowHead, Error> {
        let _changing = self.admitted(key, number).await?;
        self.make_active(key, number).await
    }

    /// Whoever calls has the lock of changes, and has looked whether versions of plugins may take over.
    pub(super) async fn make_active(&self, key: &Key, number: Option<u32>) -> Result<WorkflowHead, Error> {
        let head = self.head(key).await?;
        let number = number.unwrap_or(head.latest_revision);
        if number == 0 {
            return Err(Error::not_found("revision", key, ": publish the draft first (`weft workflow apply FILE --publish`)"));
        }
        self.revision(key, number).await?;
        let program = self.executor().programs().program(key, number, None);
        let program = program.map_err(|error| Error::Unrunnable(number, error.to_string()))?;
        let subscribed = self.triggers.subscribe(&program).await?;
        let mut routes = self.routes_without(key).await?;
        routes.add(&program, None, &subscribed.routes)?;
        let stored = serde_json::to_value(&subscribed.routes).map_err(|error| store::Error::Engine(error.to_string()))?;
        let what = if number < head.latest_revision { What::WorkflowRestored } else { What::WorkflowActivated };
        let entry = self.entry(what, key.as_str(), json!({ "revision": number, "before": head.active_revision }));
        self.switch(key, Some((number, stored)), &subscribed.changes, &entry, routes).await
    }

    /// Stops listening on behalf of a workflow. Runs that go on finish.
    pub async fn pause(&self, key: &Key) -> Result<WorkflowHead, Error> {
        let _changing = self.changing.lock().await;
        let head = self.head(key).await?;
        let routes = self.routes_without(key).await?;
        let entry = self.entry(What::WorkflowPaused, key.as_str(), json!({ "before": head.active_revision }));
        let timers = TimerChange { drop_all: true, ..TimerChange::none(key) };
        self.switch(key, None, &[store::Change::Timers(Box::new(timers))], &entry, routes).await
    }

    /// Makes a revision the active one, or none, and listens to what there is from now on.
    async fn switch(
        &self,
        key: &Key,
        revision: Option<(u32, Value)>,
        beside: &[store::Change],
        entry: &AuditEntry,
        routes: Routes,
    ) -> Result<WorkflowHead, Error> {
        // Whoever fires a timer of the old revision commits before this, or not at all.
        let _switching = self.triggers.switching().await;
        let head = self.store.activate(key, revision, beside, entry).await?;
        self.executor().tallies().set(key, None);
        self.triggers.listen(routes);
        self.triggers.timers_switched(key);
        Ok(head)
    }

    /// Listens on behalf of every active workflow, after a start. One that cannot be run is left out and told of.
    pub async fn listen(&self) -> Result<usize, Error> {
        let mut routes = Routes::default();
        let mut listening = 0;
        for head in self.active(None).await? {
            match self.listen_for(&mut routes, &head).await {
                Ok(()) => listening += 1,
                Err(error) => {
                    tracing::error!(workflow = %head.key, %error, "an active workflow is not listened for");
                    routes.leave_out(&head.key, error.to_string());
                }
            }
            if let Some(canary) = &head.canary {
                self.executor().tallies().set(&head.key, Some(canary.revision));
            }
        }
        self.triggers.listen(routes);
        Ok(listening)
    }

    /// The routes of every active workflow but one.
    pub(super) async fn routes_without(&self, key: &Key) -> Result<Routes, Error> {
        let mut routes = Routes::default();
        for head in self.active(Some(key)).await? {
            match self.listen_for(&mut routes, &head).await {
                Ok(()) => {}
                Err(error @ Error::Unrunnable(..)) => {
                    tracing::error!(workflow = %head.key, %error, "an active workflow cannot be run");
                    routes.leave_out(&head.key, error.to_string());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(routes)
    }

    async fn active(&self, except: Option<&Key>) -> Result<Vec<WorkflowHead>, Error> {
        let heads = self.read(|store| store.workflows(None, usize::MAX)).await?;
        Ok(heads.into_iter().filter(|head| head.active_revision.is_some() && except != Some(&head.key)).collect())
    }
}

fn overview(store: &Store, triggers: &Triggers, head: WorkflowHead) -> Result<Overview, store::Error> {
    let not_listening = triggers.routes().why_left_out(&head.key).map(str::to_owned);
    let routes = if not_listening.is_none() { routes_of(&head) } else { Vec::new() };
    let urls = routes.iter().map(|route| triggers.url_of(route, &head.key)).collect();
    let runs_started = store.runs_started(&head.key)?;
    let set_aside = store.set_aside_count(&head.key, SET_ASIDE_MAX)?;
    Ok(Overview { head, urls, not_listening, runs_started, set_aside })
}

pub(super) fn routes_of(head: &WorkflowHead) -> Vec<HttpRoute> {
    serde_json::from_value(head.subscriptions.clone()).unwrap_or_default()
}
