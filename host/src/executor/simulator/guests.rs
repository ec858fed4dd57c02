//! Components that are scripted: what a step's type and config say. And the world outside, which remembers everything.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::Random;
use crate::capability::{Outbound, with_key};
use crate::digest::Digest;
use crate::executor::{Components, NodeAnswer, NodeBinding, NodeCall};
use crate::plugin::{CallContext, Grants, Sender};
use crate::run::{
    BranchStart, Event, Failure, Fault, KvKey, Outcome, Request, Response, RunId, StagedStart, Status, Task, TaskAction, Usage,
    Wait, WaitKind,
};
use crate::workflow::Json;

/// Everything outside the process: it outlives every life.
pub(super) struct Outside {
    inner: Mutex<Inner>,
    pub(super) outages: u64,
    pub(super) slow_ms: u64,
}

struct Inner {
    random: Random,
    /// Requests by their idempotency keys: for whom, and how often.
    requests: BTreeMap<String, (String, usize)>,
    wrong: Vec<String>,
}

impl Outside {
    pub(super) fn new(seed: u64, outages: u64, slow_ms: u64) -> Arc<Self> {
        let inner = Inner { random: Random(seed ^ 0xabcd), requests: BTreeMap::new(), wrong: Vec::new() };
        Arc::new(Self { inner: Mutex::new(inner), outages, slow_ms })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub(super) fn random(&self) -> u64 {
        self.inner().random.next()
    }

    pub(super) fn chance(&self, percent: u64) -> bool {
        self.inner().random.chance(percent)
    }

    /// Takes a moment.
    pub(super) async fn pause(&self) {
        let ms = self.inner().random.below(self.slow_ms + 1);
        if ms > 0 {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
    }

    pub(super) fn wrong(&self, what: String) {
        self.inner().wrong.push(what);
    }

    pub(super) fn all_wrong(&self) -> Vec<String> {
        self.inner().wrong.clone()
    }

    pub(super) fn requests(&self) -> BTreeMap<String, (String, usize)> {
        self.inner().requests.clone()
    }
}

/// Whether the journal of a run says that a request of this step, and of this call where it has one, may leave.
pub(super) type IsIntended = dyn Fn(RunId, &str, Option<&str>) -> bool + Send + Sync;

/// Sees each request that leaves, as the server that gets it, and looks whether the host had written down that it would leave.
pub(super) struct Servers {
    pub(super) outside: Arc<Outside>,
    pub(super) is_intended: Box<IsIntended>,
}

impl Outbound for Servers {
    fn permit(&self, _: &Sender, _: &Request) -> Result<(), Fault> {
        Ok(())
    }

    fn send<'a>(&'a self, _: &'a Sender, request: Request) -> BoxFuture<'a, Result<Response, Fault>> {
        Box::pin(async move {
            // `http://out/RUN/STEP?ORDINAL&CALL` says for whom it is.
            let target = request.url.trim_start_matches("http://out/").to_owned();
            let (run, rest) = target.split_once('/').unwrap_or_default();
            let (step, query) = rest.split_once('?').unwrap_or_default();
            if !(self.is_intended)(run.parse().unwrap(), step, query.split_once('&').map(|(_, call)| call)) {
                self.outside.wrong(format!("a request of {target} left without an intent"));
            }
            let key = request.headers.iter().find(|(name, _)| &**name == "idempotency-key").map(|(_, value)| value.to_string());
            let key = key.unwrap_or_default();
            {
                let mut inner = self.outside.inner();
                let (known, count) = inner.requests.entry(key).or_insert_with(|| (target.clone(), 0));
                *count += 1;
                if *known != target {
                    let line = format!("{known} and {target} have one idempotency key");
                    inner.wrong.push(line);
                }
            }
            self.outside.pause().await;
            let status = if self.outside.chance(self.outside.outages) { 503 } else { 200 };
            Ok(Response { status, headers: Vec::new(), body: Bytes::new() })
        })
    }
}

/// The components.
pub(super) struct Guests {
    pub(super) outside: Arc<Outside>,
}

impl Components for Guests {
    fn call<'a>(&'a self, binding: &'a NodeBinding, call: NodeCall) -> BoxFuture<'a, NodeAnswer> {
        Box::pin(async move {
            let NodeCall { call, event, mut context, limit_ms, .. } = call;
            self.outside.pause().await;
            let made = Guest { outside: &self.outside, kind: &binding.name, call: &call, context: &mut context }.answer(event);
            let (outcome, is_broken) = match tokio::time::timeout(Duration::from_millis(limit_ms), made).await {
                Ok(outcome) => (outcome, false),
                Err(_) => (Err(Failure { transient: true, ..Failure::timed_out("too slow") }), true),
            };
            NodeAnswer { outcome, is_broken, context, instance: None }
        })
    }

    fn is_crowded(&self) -> bool {
        false
    }

    fn grants(&self, _: &Digest) -> Arc<Grants> {
        Arc::default()
    }

    fn is_recorded(&self, _: &Digest) -> bool {
        false
    }

    fn is_quarantined(&self, _: &Digest) -> bool {
        false
    }

    fn took(&self, _: &Digest, _: &Usage) {}
}

struct Guest<'a> {
    outside: &'a Outside,
    kind: &'a str,
    call: &'a crate::plugin::exports::nodes::Call,
    context: &'a mut CallContext,
}

impl Guest<'_> {
    fn config(&self) -> Value {
        serde_json::from_str(&self.call.config).unwrap()
    }

    fn number(&self, name: &str) -> u64 {
        self.config()[name].as_u64().unwrap_or(0)
    }

    fn now_ms(&self) -> u64 {
        let now: jiff::Timestamp = self.call.now.parse().unwrap();
        u64::try_from(now.as_millisecond()).unwrap()
    }

    async fn answer(mut self, event: Option<(Json, Event)>) -> Result<Outcome, Failure> {
        let (state, event) = match event {
            None => (Value::Null, None),
            Some((state, event)) => (state.value().clone(), Some(event)),
        };
        match (self.kind, event) {
            ("done", _) => done(json!(1)),
            ("count", _) => self.count(),
            ("set", _) => {
                self.context.effects.output = Some(self.config()["value"].clone().into());
                done(self.config()["value"].clone())
            }
            ("send" | "once", _) => self.send().await,
            ("flaky", _) if u64::from(self.call.attempt) <= self.number("failures") => Err(passing("flaky")),
            ("flaky", _) => self.count(),
            ("slow", _) => {
                tokio::time::sleep(Duration::from_millis(self.number("ms"))).await;
                self.count()
            }
            ("fail", _) => Err(Failure::error("on-purpose", "fails on purpose")),
            ("end", _) => {
                let status = if self.config()["well"] == true { Status::Succeeded } else { Status::Failed };
                Ok(Outcome::EndRun { status, message: None })
            }
            ("start", _) => self.start(),
            ("request", None) => {
                let request = self.request_to(0);
                waits(Value::Null, vec![("r", WaitKind::Request(Box::new(request)))])
            }
            ("request", Some(Event::Responded { response, .. })) => match response {
                Ok(response) if response.status == 200 => done(json!(200)),
                Ok(response) => Err(passing(&format!("status-{}", response.status))),
                Err(fault) => Err(passing(&fault.code)),
            },
            ("delay", None) => waits(Value::Null, vec![("due", WaitKind::Timer(self.now_ms() + self.number("ms")))]),
            ("delay", Some(Event::Woke(_))) => self.count(),
            ("ticks", event) => self.tick(&state, event),
            ("signal" | "signal-key" | "task", event) => self.wait_for_others(event),
            ("child", None) => {
                let workflow = self.config()["workflow"].as_str().unwrap().parse().unwrap();
                waits(Value::Null, vec![("c", WaitKind::Child { run: None, workflow, context: json!({}).into() })])
            }
            ("child", Some(Event::ChildEnded(ended))) => match ended.output {
                Ok(output) => done(output.value().clone()),
                Err(failure) => Err(failure),
            },
            ("loop", event) => self.round(&state, event),
            ("parallel", event) => self.all(&state, event),
            ("race", event) => Self::first(event),
            ("atomic", None) => Ok(branches(Value::Null, vec![("a", "a".into())], true)),
            ("atomic", Some(Event::BranchEnded(ended))) => match ended.output {
                Ok(output) => done(output.value().clone()),
                Err(failure) => Err(failure),
            },
            (kind, event) => {
                self.outside.wrong(format!("a step of type {kind} was told {event:?}"));
                done(Value::Null)
            }
        }
    }

    /// Adds one to a counter of the host's state.
    fn count(&mut self) -> Result<Outcome, Failure> {
        let name = match self.config()["counter"].as_str() {
            Some("shared") => "shared".to_owned(),
            _ => self.call.step.clone(),
        };
        let workflow = self.context.workflow.clone().unwrap();
        let key = KvKey { plugin: "sim/guests".into(), workflow, key: name.into() };
        let staged = &mut self.context.effects.staged;
        let value = match (staged.kv_writes.get(&key).cloned(), self.context.around.kv_writes.get(&key).cloned()) {
            (Some(value), _) => value,
            (None, Some(value)) => {
                staged.kv_reads_around.insert(key.clone(), value.clone());
                value
            }
            (None, None) => {
                let services = self.context.services.as_ref().unwrap();
                let (seen, value) = services.kv(&key).map_err(|fault| passing(&fault.code))?;
                staged.kv_reads.entry(key.clone()).or_insert(seen);
                value
            }
        };
        let count = 1 + value.map_or(0, |bytes| String::from_utf8_lossy(&bytes).parse::<u64>().unwrap());
        staged.kv_writes.insert(key, Some(count.to_string().into()));
        done(json!({ "counted": count }))
    }

    fn request_to(&self, ordinal: u32) -> Request {
        let url = format!("http://out/{}/{}?{ordinal}", self.call.run, self.call.step);
        Request {
            method: "POST".into(),
            url: url.into(),
            headers: Vec::new(),
            body: Bytes::new(),
            timeout_ms: None,
            connection: None,
            response_bytes_max: None,
        }
    }

    /// Sends two requests.
    async fn send(&mut self) -> Result<Outcome, Failure> {
        let services = self.context.services.clone().unwrap();
        for ordinal in 1..=2 {
            // The step's key is not enough to tell rounds of a loop apart, so the call's key stands in the URL too.
            let mut request = self.request_to(ordinal);
            request.url = format!("{}&{}", request.url, self.call.idempotency_key).into();
            let request = with_key(request, &self.call.idempotency_key, &ordinal.to_string());
            match services.send(Sender::default(), request).await {
                Ok(response) if response.status == 200 => {}
                Ok(_) => return Err(passing("http-status")),
                Err(fault) => return Err(passing(&fault.code)),
            }
        }
        done(json!("sent"))
    }

    fn start(&mut self) -> Result<Outcome, Failure> {
        let workflow = self.config()["workflow"].as_str().unwrap().parse().unwrap();
        let services = self.context.services.clone().unwrap();
        match services.start(&workflow) {
            Ok(run) => {
                self.context.effects.staged.starts.push(StagedStart { run, workflow, context: json!({}).into() });
                self.context.effects.started.push(run);
                done(json!(run.to_string()))
            }
            Err(fault) if &*fault.code == "stack-limit" => done(Value::Null),
            Err(fault) => Err(passing(&fault.code)),
        }
    }

    /// Waits for one time after the other, and counts each.
    fn tick(&mut self, state: &Value, event: Option<Event>) -> Result<Outcome, Failure> {
        let before = state.as_u64().unwrap_or(0);
        match event {
            None => {}
            Some(Event::Woke(id)) if *id == *before.to_string() => self.count().map(|_| ())?,
            Some(event) => self.outside.wrong(format!("a step that waits for time {before} was told {event:?}")),
        }
        if before == self.number("ticks") {
            return done(json!(before));
        }
        let next = before + 1;
        waits(json!(next), vec![(&next.to_string(), WaitKind::Timer(self.now_ms() + self.number("ms")))])
    }

    /// Waits for a message or a person, but not for ever.
    fn wait_for_others(&mut self, event: Option<Event>) -> Result<Outcome, Failure> {
        if event.is_some() {
            return self.count();
        }
        let late = ("late", WaitKind::Timer(self.now_ms() + self.number("ms")));
        let other = match self.kind {
            "signal" => WaitKind::Signal { name: "go".into(), key: None },
            "signal-key" => WaitKind::Signal { name: "paid".into(), key: self.config()["signal"].as_str().map(Into::into) },
            _ => WaitKind::Task(Box::new(Task {
                title: "t".into(),
                assignees: vec!["ada".into()],
                form_schema: json!({}).into(),
                values: json!({}).into(),
                actions: vec![TaskAction { key: "ok".into(), title: "OK".into(), form_schema: None, draft: false }],
                drafts: Vec::new(),
            })),
        };
        waits(Value::Null, vec![("other", other), late])
    }

    fn round(&self, state: &Value, event: Option<Event>) -> Result<Outcome, Failure> {
        if let Some(Event::BranchEnded(ended)) = event {
            ended.output?;
        }
        let round = state.as_u64().unwrap_or(0);
        if round == self.number("rounds") {
            return done(json!(round));
        }
        Ok(branches(json!(round + 1), vec![("a", round.to_string())], false))
    }

    fn all(&self, state: &Value, event: Option<Event>) -> Result<Outcome, Failure> {
        let Some(event) = event else { return Ok(branches(json!([]), vec![("a", "a".into()), ("b", "b".into())], false)) };
        let Event::BranchEnded(ended) = event else { return done(Value::Null) };
        ended.output?;
        let mut ids: Vec<String> = serde_json::from_value(state.clone()).unwrap();
        if ids.contains(&ended.id.to_string()) {
            self.outside.wrong(format!("branch {} ended twice", ended.id));
        }
        ids.push(ended.id.into());
        if ids.len() == 2 { done(json!(ids)) } else { waits(json!(ids), Vec::new()) }
    }

    fn first(event: Option<Event>) -> Result<Outcome, Failure> {
        match event {
            Some(Event::BranchEnded(ended)) => Ok(Outcome::Done(ended.output?)),
            _ => Ok(branches(Value::Null, vec![("a", "a".into()), ("b", "b".into())], false)),
        }
    }
}

fn passing(code: &str) -> Failure {
    Failure { transient: true, ..Failure::error(code, "may pass") }
}

fn done(output: Value) -> Result<Outcome, Failure> {
    Ok(Outcome::Done(output.into()))
}

fn waits(state: Value, waits: Vec<(&str, WaitKind)>) -> Result<Outcome, Failure> {
    let wait = waits.into_iter().map(|(id, kind)| Wait { id: id.into(), kind }).collect();
    Ok(Outcome::Pending { state: state.into(), start: Vec::new(), stop: Vec::new(), wait })
}

fn branches(state: Value, starts: Vec<(&str, String)>, atomic: bool) -> Outcome {
    let start =
        starts.into_iter().map(|(branch, id)| BranchStart { branch: branch.into(), id: id.into(), scope: Json::null(), atomic });
    Outcome::Pending { state: state.into(), start: start.collect(), stop: Vec::new(), wait: Vec::new() }
}
