//! A trigger on the bench: what it subscribes to, what it makes of an event, and what it tells whoever waited.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::bench::Bench;
use super::case::{Case, CaseError, FinishedRun};
use super::scope::rfc3339;
use super::step::Prepared;
use super::trial::{CallMade, Trial, shown_response};
use super::world::body_of;
use crate::digest::Digest;
use crate::limits::CONTEXT_BYTES_MAX;
use crate::plugin::contract::types::{self, Pair};
use crate::plugin::exports::triggers::{self, Event, HttpEvent, Reaction, Settlement, Subscription, TopicEvent};
use crate::plugin::{CallContext, CallKind, Called, Instance, Kind, TriggerType, response};
use crate::run::{Failure, RunId, Status};
use crate::workflow::Json;

/// An event as a case gives it, by the contract's names.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum GivenStart {
    Http(GivenRequest),
    Called {
        #[serde(default)]
        user: Option<String>,
        #[serde(default)]
        context: Value,
    },
    Topic {
        topic: String,
        #[serde(default)]
        id: String,
        #[serde(default)]
        payload: Value,
    },
    Timer {
        id: String,
        #[serde(default)]
        at: Option<String>,
        #[serde(default)]
        payload: Value,
    },
}

/// A request from outside.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct GivenRequest {
    method: Option<String>,
    path: String,
    params: BTreeMap<String, String>,
    query: String,
    headers: BTreeMap<String, String>,
    /// A text as it is, anything else as JSON.
    body: Value,
    remote_address: Option<String>,
}

impl GivenRequest {
    fn read(self) -> HttpEvent {
        let pairs = |map: BTreeMap<String, String>| map.into_iter().map(|(name, value)| Pair { name, value });
        let mut headers: Vec<Pair> =
            pairs(self.headers).map(|pair| Pair { name: pair.name.to_ascii_lowercase(), ..pair }).collect();
        if !matches!(self.body, Value::Null | Value::String(_)) && headers.iter().all(|header| header.name != "content-type") {
            headers.push(Pair { name: "content-type".into(), value: "application/json".into() });
        }
        HttpEvent {
            method: self.method.unwrap_or_else(|| "POST".into()),
            path: self.path,
            params: pairs(self.params).collect(),
            query: self.query,
            headers,
            body: body_of(&self.body),
            remote_address: self.remote_address.unwrap_or_else(|| "127.0.0.1".into()),
        }
    }
}

impl GivenStart {
    fn read(self, now_ms: u64) -> Event {
        match self {
            Self::Http(request) => Event::Http(request.read()),
            Self::Called { user, context } => Event::Called(triggers::Called { user, context: context.to_string() }),
            Self::Topic { topic, id, payload } => Event::Topic(TopicEvent { topic, id, payload: payload.to_string() }),
            Self::Timer { id, at, payload } => {
                let at = at.unwrap_or_else(|| rfc3339(now_ms));
                Event::Timer(triggers::Timer { id, at, payload: payload.to_string() })
            }
        }
    }
}

/// An instance of a trigger that goes through a case.
struct Calling<'a> {
    bench: &'a Bench,
    prepared: &'a Prepared,
    call: triggers::Call,
    instance: &'a mut Instance,
}

impl Bench {
    pub(super) async fn run_start(&self, instance: &mut Instance, case: &Case, name: &str) -> Result<Trial, CaseError> {
        let description = &self.plugin().description;
        let Some(kind) = self.plugin().trigger(name) else {
            let has = description.triggers.iter().map(|trigger| trigger.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(CaseError::Unknown { kind: "trigger", name: name.into(), has });
        };
        let mut trial = Trial { r#type: format!("{}/{name}", description.name), ..Trial::default() };
        let prepared = match self.prepare(case, Kind::Trigger, name).await? {
            Ok(prepared) => prepared,
            Err(problems) => {
                trial.refuse(problems);
                return Ok(trial);
            }
        };
        let call = triggers::Call {
            trigger: name.into(),
            workflow: prepared.workflow.to_string(),
            now: rfc3339(prepared.now_ms),
            config: prepared.config.text().to_owned(),
            runs_started: 0,
            hook_url: None,
            idempotency_key: Digest::of(name.as_bytes()).hex()[..32].to_owned(),
            more: None,
        };
        let mut calling = Calling { bench: self, prepared: &prepared, call, instance };
        if let Err((failure, is_broken)) = calling.go(case, kind, &mut trial).await? {
            trial.fail(failure, is_broken);
        }
        trial.kv = prepared.world.values();
        trial.requests = prepared.world.exchanges();
        Ok(trial)
    }
}

/// What came of an event, by the contract's names.
#[derive(Serialize)]
struct Reacted {
    start: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signals: Option<Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    set_timers: Option<Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clear_timers: Option<Vec<Value>>,
}

/// What whoever waited is told.
#[derive(Serialize)]
struct Settled {
    proceed: bool,
    response: Option<Value>,
}

/// Why it went no further, and whether the component broke.
type Stopped = (Failure, bool);

impl Calling<'_> {
    async fn go(&mut self, case: &Case, kind: &TriggerType, trial: &mut Trial) -> Result<Result<(), Stopped>, CaseError> {
        let subscriptions = match self.subscribe(trial).await {
            Ok(subscriptions) => subscriptions,
            Err(stopped) => return Ok(Err(stopped)),
        };
        if let Some(name) = subscriptions.iter().map(name_of).find(|name| kind.subscribes.iter().all(|declared| declared != name))
        {
            let what = format!("it subscribes to `{name}`, which its type does not declare in `subscribes`");
            return Ok(Err((Failure::bad_answer(what), false)));
        }
        trial.came_to.insert("subscribes".into(), subscriptions.iter().map(shown_subscription).collect());
        if !case.input.is_null() {
            let given: GivenStart = serde_json::from_value(case.input.clone())
                .map_err(|error| CaseError::Invalid(format!("the input is no event for a trigger: {error}")))?;
            let event = given.read(self.prepared.now_ms);
            match self.fire(&event, trial).await {
                Ok(reaction) => trial.came_to.insert("reaction".into(), reaction),
                Err(stopped) => return Ok(Err(stopped)),
            };
        }
        if let Some(run) = &case.settle {
            match self.settle(run, trial).await {
                Ok(settlement) => trial.came_to.insert("settlement".into(), settlement),
                Err(stopped) => return Ok(Err(stopped)),
            };
        }
        Ok(Ok(()))
    }

    fn context(&self) -> CallContext {
        self.bench.context(self.prepared, CallKind::Trigger, &self.call.idempotency_key)
    }

    async fn subscribe(&mut self, trial: &mut Trial) -> Result<Vec<Subscription>, Stopped> {
        let context = self.context();
        let began = Instant::now();
        let called = self.instance.subscribe(&self.call, context).await;
        self.took("subscribe", began, called, trial)
    }

    async fn fire(&mut self, event: &Event, trial: &mut Trial) -> Result<Value, Stopped> {
        let remote_address = match event {
            Event::Http(request) => Some(request.remote_address.as_str().into()),
            _ => None,
        };
        let context = CallContext { remote_address, ..self.context() };
        let began = Instant::now();
        let called = self.instance.fire(&self.call, event, context).await;
        let reaction = self.took("fire", began, called, trial)?;
        shown_reaction(reaction).map_err(|failure| (failure, false))
    }

    async fn settle(&mut self, run: &FinishedRun, trial: &mut Trial) -> Result<Value, Stopped> {
        let output = match &run.failure {
            Some(code) => Err((&Failure { status: Status::Failed, ..Failure::error(code, "the case says so") }).into()),
            None => Ok(run.output.to_string()),
        };
        let run = triggers::FinishedRun {
            run: RunId::new(self.prepared.now_ms, [0; 10]).to_string(),
            output,
            ended_early: run.ended_early,
            messages: run.messages.clone(),
        };
        let context = CallContext { services: None, ..self.context() };
        let began = Instant::now();
        let called = self.instance.settle(&self.call, &run, context).await;
        let Settlement { proceed, response: given } = self.took("settle", began, called, trial)?;
        let given = given.map(response).transpose().map_err(|failure| (failure, false))?;
        Ok(serde_json::to_value(Settled { proceed, response: given.as_ref().map(shown_response) }).unwrap_or_default())
    }

    /// Notes what a call took, and keeps what it did if it did not fail.
    fn took<T>(
        &mut self,
        call: &'static str,
        began: Instant,
        (answer, context): Called<Result<T, types::Failure>>,
        trial: &mut Trial,
    ) -> Result<T, Stopped> {
        let took_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        trial.calls.push(CallMade { call, event: None, took_us, used: context.used });
        trial.used.add(&context.used);
        trial.log.extend(context.log.lines);
        match answer {
            Ok(Ok(answer)) => {
                self.prepared.world.commit(&context.effects.staged);
                trial.keep(&context.effects);
                Ok(answer)
            }
            Ok(Err(failure)) => Err((failure.into(), false)),
            Err(error) => Err((error.into(), true)),
        }
    }
}

/// The contract's name of a subscription.
fn name_of(subscription: &Subscription) -> &str {
    match subscription {
        Subscription::Http(_) => "http",
        Subscription::Topic(_) => "topic",
        Subscription::Timer(_) => "timer",
        Subscription::Action(_) => "action",
        Subscription::Callable => "callable",
        Subscription::Other(other) => &other.kind,
    }
}

fn shown_subscription(subscription: &Subscription) -> Value {
    match subscription {
        Subscription::Http(route) => {
            json!({"http": {"methods": route.methods, "path": route.path, "body_bytes_max": route.body_bytes_max}})
        }
        Subscription::Topic(topic) => json!({"topic": topic}),
        Subscription::Timer(timer) => {
            let payload: Value = serde_json::from_str(&timer.payload).unwrap_or_default();
            json!({"timer": {"id": timer.id, "at": timer.at, "payload": payload}})
        }
        other => Value::from(name_of(other)),
    }
}

/// What came of an event; a failure: the host would not do that.
fn shown_reaction(reaction: Reaction) -> Result<Value, Failure> {
    let mut start = Vec::new();
    for run in reaction.start {
        if run.context.len() > CONTEXT_BYTES_MAX {
            return Err(Failure::error("too-large", format!("the run's context has {} bytes", run.context.len())));
        }
        let context = Json::parse(run.context).map_err(|error| Failure::bad_answer(format_args!("the context is {error}")))?;
        let mut shown = json!({"context": context.value()});
        for (name, value) in [("dedup_key", run.dedup_key.map(Value::from)), ("wait_ms", run.wait_ms.map(Value::from))] {
            if let Some(value) = value {
                shown[name] = value;
            }
        }
        if let Some(queue) = run.queue {
            shown["queue"] = queue.into();
        }
        start.push(shown);
    }
    let given = reaction.response.map(response).transpose()?;
    let list = |shown: Vec<Value>| (!shown.is_empty()).then_some(shown);
    let signal = |signal: &triggers::Signal| json!({"name": signal.name, "key": signal.key});
    let timer = |timer: triggers::Timer| {
        let (id, at_ms, payload) = crate::plugin::timer(timer)?;
        Ok(json!({"id": id, "at": rfc3339(at_ms), "payload": payload.value()}))
    };
    let timers = reaction.set_timers.into_iter().map(timer).collect::<Result<_, Failure>>()?;
    let reacted = Reacted {
        start,
        response: given.as_ref().map(shown_response),
        note: reaction.note,
        signals: list(reaction.signals.iter().map(signal).collect()),
        set_timers: list(timers),
        clear_timers: list(reaction.clear_timers.into_iter().map(Value::from).collect()),
    };
    Ok(serde_json::to_value(reacted).unwrap_or_default())
}
