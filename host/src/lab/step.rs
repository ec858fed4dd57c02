//! A node on the bench: from `execute` to its end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::bench::Bench;
use super::case::{Case, CaseError};
use super::event::{Open, shown};
use super::scope::{CaseScope, STEP, rfc3339};
use super::trial::{CallMade, Trial, Verdict};
use super::world::World;
use crate::digest::Digest;
use crate::limits::{CONFIG_BYTES_MAX, LAB_CALLS_MAX};
use crate::plugin::contract::types;
use crate::plugin::exports::nodes;
use crate::plugin::{CallContext, CallKind, Instance, Kind, NodeType, Sender};
use crate::run::{Failure, Outcome, RunId, SecretUse};
use crate::workflow::{Json, Key, Problem, Template};

/// A case with everything filled in.
pub(super) struct Prepared {
    pub(super) world: Arc<World>,
    pub(super) scope: Arc<CaseScope>,
    pub(super) workflow: Key,
    pub(super) config: Json,
    pub(super) secrets: Vec<SecretUse>,
    pub(super) now_ms: u64,
}

impl Bench {
    /// Fills a case in, or says what publishing would say.
    pub(super) async fn prepare(&self, case: &Case, kind: Kind, name: &str) -> Result<Result<Prepared, Vec<Problem>>, CaseError> {
        let invalid = |error: &dyn std::fmt::Display| CaseError::Invalid(error.to_string());
        let config = case.config();
        let (template, problems) = Template::read_with(&config, self.plugin().config_schema(kind, name));
        if !problems.is_empty() {
            return Ok(Err(problems));
        }
        if !case.unchecked {
            let mut problems = self.plugin().schema(kind, name).map(|schema| schema.problems(&config)).unwrap_or_default();
            if problems.is_empty() {
                let kind = match kind {
                    Kind::Node => types::Kind::Node,
                    Kind::Trigger => types::Kind::Trigger,
                };
                let found = self.instance().await?.check(kind, name, &config.to_string()).await?;
                problems.extend(found.into_iter().map(|problem| Problem::new(&problem.pointer, problem.message)));
            }
            if !problems.is_empty() {
                return Ok(Err(problems));
            }
        }
        let now_ms = match &case.now {
            Some(text) => {
                let time: jiff::Timestamp = text.parse().map_err(|error| CaseError::Invalid(format!("`now`: {error}")))?;
                u64::try_from(time.as_millisecond()).unwrap_or(0)
            }
            None => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(0)),
        };
        let workflow: Key = "bench".parse().map_err(|error| invalid(&error))?;
        let may_reach = !self.allowed.is_empty();
        let world =
            World::of(case, &self.plugin().description.name, &workflow, may_reach, now_ms).map_err(|error| invalid(&error))?;
        let scope = CaseScope::of(case, now_ms);
        let config = template.render(&scope, CONFIG_BYTES_MAX).map_err(|error| invalid(&error))?;
        let secrets = scope.tokens();
        Ok(Ok(Prepared { world: Arc::new(world), scope: Arc::new(scope), workflow, config, secrets, now_ms }))
    }

    pub(super) fn context(&self, prepared: &Prepared, kind: CallKind, idempotency_key: &str) -> CallContext {
        let plugin = self.plugin();
        CallContext {
            kind,
            plugin: plugin.description.name.as_str().into(),
            workflow: Some(prepared.workflow.clone()),
            idempotency_key: idempotency_key.into(),
            grants: self.grants(),
            scope: (kind == CallKind::Node && plugin.sees_run).then(|| prepared.scope.clone() as _),
            secrets: prepared.secrets.clone(),
            vault: Some(prepared.world.clone()),
            services: plugin.uses_services.then(|| prepared.world.clone() as _),
            ..CallContext::default()
        }
    }

    /// A call of a node, and what it may use.
    pub(super) fn call_of(&self, prepared: &Prepared, kind: &NodeType, number: usize, now_ms: u64) -> (nodes::Call, CallContext) {
        let key = Digest::of(format!("{}/{number}", kind.name).as_bytes()).hex()[..32].to_owned();
        let context = self.context(prepared, CallKind::Node, &key);
        let call = nodes::Call {
            node: kind.name.clone(),
            workflow: prepared.workflow.to_string(),
            run: RunId::new(prepared.now_ms, [0; 10]).to_string(),
            step: STEP.into(),
            attempt: 1,
            idempotency_key: key,
            now: rfc3339(now_ms),
            config: prepared.config.text().to_owned(),
            more: None,
        };
        (call, context)
    }

    pub(super) async fn run_step(&self, instance: &mut Instance, case: &Case, name: &str) -> Result<Trial, CaseError> {
        let description = &self.plugin().description;
        let Some(kind) = self.plugin().node(name) else {
            let has = description.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(CaseError::Unknown { kind: "node", name: name.into(), has });
        };
        let mut trial = Trial { r#type: format!("{}/{name}", description.name), ..Trial::default() };
        match self.prepare(case, Kind::Node, name).await? {
            Ok(prepared) => self.follow(instance, case, kind, &prepared, &mut trial).await?,
            Err(problems) => trial.refuse(problems),
        }
        Ok(trial)
    }

    /// Calls the node until it is finished, or waits for what the case does not give.
    async fn follow(
        &self,
        instance: &mut Instance,
        case: &Case,
        kind: &NodeType,
        prepared: &Prepared,
        trial: &mut Trial,
    ) -> Result<(), CaseError> {
        let (mut open, mut given): (Open, VecDeque<_>) = (Open::default(), case.resume.iter().cloned().collect());
        let (mut now_ms, mut resumed) = (prepared.now_ms, None);
        let grants = self.grants();
        let written = case.config();
        for number in 0..LAB_CALLS_MAX {
            let (call, context) = self.call_of(prepared, kind, number, now_ms);
            let event = resumed.as_ref().map(|(_, event)| shown(event));
            let name = if resumed.is_some() { "resume" } else { "execute" };
            let limit_ms = instance.limits().wall_ms;
            let began = Instant::now();
            let (answer, context) = instance.call_node(call, resumed.take(), context, limit_ms).await;
            let took_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            trial.calls.push(CallMade { call: name, event, took_us, used: context.used });
            trial.used.add(&context.used);
            trial.log.extend(context.log.lines);
            let (answer, is_broken) = match answer {
                Ok(answer) => (answer, false),
                Err(error) => (Err(Failure::from(error)), true),
            };
            let answer = answer.and_then(|outcome| open.update(kind, &written, &outcome).map(|()| outcome));
            let outcome = match answer {
                Ok(outcome) => outcome,
                Err(failure) => {
                    trial.fail(failure, is_broken);
                    break;
                }
            };
            prepared.world.commit(&context.effects.staged);
            trial.keep(&context.effects);
            let Outcome::Pending { state, .. } = &outcome else {
                trial.end(&outcome);
                break;
            };
            let sender = Sender {
                grants: grants.clone(),
                secrets: prepared.secrets.clone(),
                vault: Some(prepared.world.clone()),
                redirects_max: crate::limits::HTTP_REDIRECTS_MAX,
            };
            match open.next(&mut given, &case.branches, &prepared.world, &sender, &mut now_ms).await {
                Some(event) => resumed = Some((state.clone(), event)),
                None => {
                    trial.end(&outcome);
                    trial.verdict = Verdict::Waits;
                    break;
                }
            }
        }
        trial.kv = prepared.world.values();
        trial.requests = prepared.world.exchanges();
        if trial.came_to.is_empty() {
            return Err(CaseError::Invalid(format!(
                "the step is not finished after {LAB_CALLS_MAX} calls; the bench stops there"
            )));
        }
        if let Some(event) = given.front() {
            let event = shown(&event.clone().into());
            return Err(CaseError::Invalid(format!(
                "the case gives {event}, and the step never waited for that: {}",
                waited(trial)
            )));
        }
        Ok(())
    }
}

/// What the step came to, for a message.
fn waited(trial: &Trial) -> String {
    Value::Object(trial.came_to.clone()).to_string()
}
