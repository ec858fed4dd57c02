//! When a workflow's timers fire next: what is stored, and what its trigger would set then, found by asking it without keeping anything.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::Triggers;
use super::fire::FireError;
use super::timers::{Held, event, timer_change};
use crate::executor::{Program, TriggerServices};
use crate::limits::{FIRES_MS_MAX, NEXT_FIRES_MAX};
use crate::plugin::exports::triggers::Reaction;
use crate::plugin::{CallContext, CallError, Sender, Services};
use crate::run::{Failure, Fault, KvKey, Request, Response, RunId, Seen};
use crate::store::Timer;
use crate::workflow::Key;

/// A timer that will fire.
#[derive(Clone, Debug)]
pub struct Fire {
    /// Which one.
    pub timer: Box<str>,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Whether it is set; else the trigger would set it when the one before fires.
    pub is_set: bool,
    /// How many runs would start; none: the trigger did not say.
    pub runs: Option<usize>,
}

/// When a workflow's timers fire.
#[derive(Clone, Debug, Default)]
pub struct NextFires {
    /// In order.
    pub fires: Vec<Fire>,
    /// Why the first one is not delivered, although it is due.
    pub held: Option<Held>,
    /// Why the trigger says no more: its failure.
    pub stopped: Option<Failure>,
}

impl Triggers {
    /// The next fires of a workflow's timers, `limit` at most. Of a paused workflow there are none.
    pub async fn next_fires(&self, workflow: &Key, limit: usize) -> Result<NextFires, FireError> {
        let limit = limit.min(NEXT_FIRES_MAX);
        let store = self.executor.store();
        let stored = store.timers(workflow, limit).map_err(crate::executor::Error::from)?;
        let mut ahead: BTreeMap<(u64, Box<str>), (Timer, bool)> =
            stored.into_iter().map(|stored| ((stored.timer.at_ms, stored.timer.id.clone()), (stored.timer, true))).collect();
        let mut next = NextFires { held: self.held_timers(workflow), ..NextFires::default() };
        let Some(active) = self.routes().of(workflow).cloned() else {
            next.fires.extend(ahead.into_values().map(|(timer, _)| Fire::of(&timer, true)));
            return Ok(next);
        };
        let dry = Arc::new(Dry { services: TriggerServices { executor: self.executor.clone() }, written: Mutex::default() });
        let mut runs = store.runs_started(workflow).map_err(crate::executor::Error::from)?;
        let began = Instant::now();
        while let Some((_, (timer, is_set))) = ahead.pop_first() {
            let mut fire = Fire::of(&timer, is_set);
            if next.stopped.is_none() {
                match self.ask_dry(active.program(), &timer, runs, &dry).await {
                    Ok(reaction) => {
                        fire.runs = Some(reaction.start.len());
                        runs = runs.saturating_add(u32::try_from(reaction.start.len()).unwrap_or(u32::MAX));
                        match Self::apply(active.program(), reaction, &mut ahead) {
                            Err(FireError::Failed(failure)) => next.stopped = Some(failure),
                            applied => applied?,
                        }
                    }
                    Err(failure) => next.stopped = Some(failure),
                }
            }
            next.fires.push(fire);
            if next.fires.len() == limit {
                break;
            }
            if began.elapsed() > FIRES_MS_MAX {
                next.stopped.get_or_insert_with(|| Failure::error("timed-out", "the trigger took too long to say more"));
            }
        }
        Ok(next)
    }

    /// What a trigger would make of a timer that fires in time.
    async fn ask_dry(&self, program: &Arc<Program>, timer: &Timer, runs: u32, dry: &Arc<Dry>) -> Result<Reaction, Failure> {
        self.admit(program).map_err(|error| match error {
            FireError::Quarantined(_, reason) => Failure::error("plugin-quarantined", reason.to_string()),
            FireError::Call(error) => error.into(),
            error => Failure::error("unavailable", error.to_string()),
        })?;
        let now_ms = timer.at_ms.max(self.executor.clock().now_ms());
        let (call, secrets) = self.call_at(program, runs, now_ms, "0".repeat(20))?;
        let instance = self.instance_of(program)?;
        let context = CallContext { services: Some(dry.clone()), ..self.context(program, &call, secrets, None) };
        let event = event(timer);
        let fired = async move { Ok::<_, CallError>(instance.await?.fire(&call, &event, context).await) };
        let (answer, context) = self.registry.carry(&program.trigger.pace, fired).await?;
        let reaction = answer?.map_err(Failure::from)?;
        dry.written.lock().unwrap_or_else(PoisonError::into_inner).extend(context.effects.staged.kv_writes);
        Ok(reaction)
    }

    fn apply(
        program: &Arc<Program>,
        reaction: Reaction,
        ahead: &mut BTreeMap<(u64, Box<str>), (Timer, bool)>,
    ) -> Result<(), FireError> {
        let Some(change) = timer_change(program, reaction.set_timers, reaction.clear_timers)? else { return Ok(()) };
        let gone = |id: &str| change.clear.iter().any(|clear| **clear == *id) || change.set.iter().any(|set| *set.id == *id);
        ahead.retain(|(_, id), _| !gone(id));
        ahead.extend(change.set.into_iter().map(|timer| ((timer.at_ms, timer.id.clone()), (timer, false))));
        Ok(())
    }
}

impl Fire {
    fn of(timer: &Timer, is_set: bool) -> Self {
        Self { timer: timer.id.clone(), at_ms: timer.at_ms, is_set, runs: None }
    }
}

/// What a call may ask for of which nothing is kept: it sees what those before it wrote, and reaches nobody.
struct Dry {
    services: TriggerServices,
    written: Mutex<BTreeMap<KvKey, Option<Bytes>>>,
}

impl Services for Dry {
    fn kv(&self, key: &KvKey) -> Result<(Seen, Option<Bytes>), Fault> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        written.map_or_else(|| self.services.kv(key), |value| Ok((None, value)))
    }

    fn start(&self, workflow: &Key) -> Result<RunId, Fault> {
        self.services.start(workflow)
    }

    fn send(&self, _: Sender, _: Request) -> BoxFuture<'_, Result<Response, Fault>> {
        Box::pin(async { Err(Fault::new("denied", "this call only asks what would be: it reaches no server")) })
    }
}
