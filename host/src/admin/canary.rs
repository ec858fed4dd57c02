//! A revision on trial: it has a share of a workflow's starts, is compared with the active one, and taken back by rule.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinHandle;

use super::{Admin, Error};
use crate::executor::Program;
use crate::store::{Canary, CanaryEnd, Change, RunEnds, What, WorkflowHead};
use crate::trigger::{Routes, Subscribed};
use crate::workflow::Key;

impl Admin {
    /// Puts a revision on trial beside the active one. Refused where it listens elsewhere than that: then only activating it shows what
    /// it does; and as an activation is, since part of the starts are its own.
    pub async fn begin_canary(&self, key: &Key, mut canary: Canary) -> Result<WorkflowHead, Error> {
        let setting = |message: String| Err(Error::Setting(message));
        if !(1..=99).contains(&canary.share_percent) {
            return setting(format!("`share_percent` is {}; it is 1 to 99", canary.share_percent));
        }
        if canary.worse_by_percent > 100 || canary.runs_min == 0 {
            return setting("`worse_by_percent` is 0 to 100, and `runs_min` is 1 or more".into());
        }
        if canary.promote_after_runs.is_some_and(|runs| runs < canary.runs_min) {
            return setting("`promote_after_runs` is at least `runs_min`".into());
        }
        let _changing = self.admitted(key, Some(canary.revision).filter(|revision| *revision > 0)).await?;
        let head = self.head(key).await?;
        let Some(active) = head.active_revision else {
            return setting(format!("`{key}` is paused: a revision on trial stands beside an active one"));
        };
        if canary.revision == 0 {
            canary.revision = head.latest_revision;
        }
        if canary.revision == active {
            return setting(format!("revision {active} of `{key}` is the active one already; publish another"));
        }
        let program = self.canary_program(key, canary.revision).await?;
        let Subscribed { routes, mut changes } = self.triggers.subscribe(&program).await?;
        if routes != super::workflows::routes_of(&head) {
            return setting(format!("revision {} listens elsewhere than the active one: activate it instead", canary.revision));
        }
        // The timers that are set stay: it has its share of them, and sets what follows from those.
        changes.retain(|change| !matches!(change, Change::Timers(_)));
        canary.began_ms = self.clock().now_ms();
        let head = WorkflowHead { canary: Some(canary), ..head };
        let mut routes = self.routes_without(key).await?;
        self.listen_for(&mut routes, &head).await?;
        let entry = self.entry(What::TrialBegun, key.as_str(), json!(head.canary));
        let head = self.store.put_canary(key, head.canary, None, &changes, &entry).await?;
        self.executor().tallies().set(key, head.canary.as_ref().map(|canary| canary.revision));
        self.triggers.listen(routes);
        Ok(head)
    }

    /// Takes the revision on trial back. The active one has all starts again.
    pub async fn end_canary(&self, key: &Key) -> Result<WorkflowHead, Error> {
        let _changing = self.changing.lock().await;
        self.take_back(key, "somebody took it back".into()).await
    }

    async fn take_back(&self, key: &Key, why: String) -> Result<WorkflowHead, Error> {
        let head = self.head(key).await?;
        let Some(canary) = &head.canary else {
            return Err(Error::not_found("revision on trial", key, "; `weft workflow canary` begins one"));
        };
        let (of_canary, of_others) = self.ends(key);
        let end =
            CanaryEnd { revision: canary.revision, ended_ms: self.clock().now_ms(), why, canary: of_canary, active: of_others };
        let mut routes = self.routes_without(key).await?;
        self.listen_for(&mut routes, &WorkflowHead { canary: None, ..head }).await?;
        let entry = self.entry(What::TrialEnded, key.as_str(), json!(end));
        let head = self.store.put_canary(key, None, Some(end), &[], &entry).await?;
        self.executor().tallies().set(key, None);
        self.triggers.listen(routes);
        Ok(head)
    }

    /// How runs of the revision on trial ended, and how the others did.
    pub fn ends(&self, key: &Key) -> (RunEnds, RunEnds) {
        self.executor().tallies().get(key).map(|tally| tally.read()).unwrap_or_default()
    }

    /// Applies the rules of revisions on trial, for ever.
    pub async fn watch_canaries(self: Arc<Self>) {
        // Calls may have to be made again before one becomes active, and nobody else's trial waits meanwhile.
        let mut promoting: BTreeMap<Key, JoinHandle<()>> = BTreeMap::new();
        loop {
            self.executor().tallies().changed().await;
            promoting.retain(|_, task| !task.is_finished());
            for (key, _) in self.executor().tallies().all() {
                match self.judge(&key).await {
                    Ok(Some(number)) if !promoting.contains_key(&key) => {
                        let (admin, of) = (self.clone(), key.clone());
                        let promotion = async move {
                            if let Err(error) = admin.promote(&of, number).await {
                                tracing::error!(workflow = %of, %error, "a revision on trial could not be made the active one");
                            }
                        };
                        promoting.insert(key, tokio::spawn(promotion));
                    }
                    Ok(_) => {}
                    Err(error) => tracing::error!(workflow = %key, %error, "a revision on trial could not be judged"),
                }
            }
        }
    }

    /// Takes the revision on trial back if it is worse. Which one it is, if it is to become the active one.
    async fn judge(&self, key: &Key) -> Result<Option<u32>, Error> {
        let _changing = self.changing.lock().await;
        let head = self.head(key).await?;
        let Some(canary) = &head.canary else { return Ok(None) };
        let (of_canary, of_others) = self.ends(key);
        if of_canary.ended < canary.runs_min.into() {
            return Ok(None);
        }
        let (ours, theirs) = (of_canary.failed_percent(), of_others.failed_percent());
        if ours > theirs + f64::from(canary.worse_by_percent) {
            let why = format!(
                "of {} runs {ours:.1} % failed, beside {theirs:.1} % of {} with the active revision",
                of_canary.ended, of_others.ended
            );
            tracing::warn!(workflow = %key, revision = canary.revision, why, "took a revision on trial back");
            self.take_back(key, why).await?;
            return Ok(None);
        }
        let is_done = canary.promote_after_runs.is_some_and(|runs| of_canary.ended >= runs.into());
        Ok(is_done.then_some(canary.revision))
    }

    /// Makes the revision on trial the active one. One that may not be, since meanwhile a replay is required or calls have come that come out
    /// differently, is taken back.
    async fn promote(&self, key: &Key, number: u32) -> Result<(), Error> {
        let admitted = self.admitted(key, Some(number)).await;
        let (_changing, refused) = match admitted {
            Ok(changing) => (changing, None),
            Err(error @ Error::Unlike { .. }) => (self.changing.lock().await, Some(error.to_string())),
            Err(error) => return Err(error),
        };
        // Making calls again takes its time, and it may have been taken back meanwhile.
        if self.head(key).await?.canary.is_none_or(|canary| canary.revision != number) {
            return Ok(());
        }
        match refused {
            None => {
                tracing::info!(workflow = %key, revision = number, "a revision on trial did well, and is the active one now");
                self.make_active(key, Some(number)).await?;
            }
            Some(why) => {
                tracing::warn!(workflow = %key, revision = number, why, "took a revision on trial back");
                self.take_back(key, why).await?;
            }
        }
        Ok(())
    }

    /// Adds the routes of an active workflow, and of its revision on trial beside it.
    pub(super) async fn listen_for(&self, routes: &mut Routes, head: &WorkflowHead) -> Result<(), Error> {
        let Some(number) = head.active_revision else { return Ok(()) };
        let program = self.active_program(&head.key, number)?;
        let mut trial = None;
        if let Some(canary) = &head.canary {
            match self.canary_program(&head.key, canary.revision).await {
                Ok(program) => trial = Some((program, canary.share_percent)),
                Err(error) => tracing::error!(workflow = %head.key, %error, "a revision on trial has no starts"),
            }
        }
        Ok(routes.add(&program, trial, &super::workflows::routes_of(head))?)
    }

    async fn canary_program(&self, key: &Key, number: u32) -> Result<Arc<Program>, Error> {
        // So that a revision that is not there is said so.
        self.revision(key, number).await?;
        self.active_program(key, number)
    }

    fn active_program(&self, key: &Key, number: u32) -> Result<Arc<Program>, Error> {
        let program = self.executor().programs().program(key, number, None);
        program.map_err(|error| Error::Unrunnable(number, error.to_string()))
    }
}
