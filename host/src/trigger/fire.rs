//! From one request to runs and a response.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, Either, ready};

use super::Triggers;
use super::timers::timer_change;
use crate::executor::{Begun, Called, Callee, Finished, Outcome, Program, Start, Waiting, to_its_end};
use crate::limits::{
    CONTEXT_BYTES_MAX, MESSAGE_BYTES_MAX, NAME_BYTES_MAX, OUTPUT_BYTES_MAX, SIGNAL_NAME_BYTES_MAX, SIGNALS_MAX, STARTS_MAX,
    WAIT_MS_MAX,
};
use crate::plugin::exports::triggers::{self, Event, FinishedRun, HttpEvent, Reaction, Settlement};
use crate::plugin::{CallContext, CallError, Instance, Pace, response};
use crate::run::{Failure, Response, RunId, Staged};
use crate::store::{Change, SignalName};
use crate::workflow::{Json, Key};

/// What came of a request.
pub struct Fired {
    /// What its sender gets.
    pub response: Response,
    /// Why nothing was started, in the trigger's words.
    pub note: Option<String>,
    /// The run that it started, or an earlier delivery of it.
    pub run: Option<RunId>,
}

/// Why an event came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum FireError {
    /// The trigger brought no answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The trigger's plugin is in quarantine.
    #[error("the plugin `{0}` of the workflow's trigger is in quarantine: {1}; `weft plugin release` lets it out")]
    Quarantined(String, Arc<String>),
    /// The trigger could not do its work.
    #[error("{} ({})", .0.message, .0.code)]
    Failed(Failure),
    /// The executor could not.
    #[error(transparent)]
    Executor(#[from] crate::executor::Error),
    /// Plugins in quarantine hold up the run that somebody waits for.
    #[error("run {0} is held up by plugins in quarantine, and goes on when `weft plugin release` lets them out: {1}")]
    HeldUp(RunId, String),
    /// Meanwhile another revision became the active one, and timers of this one are not to be set.
    #[error("another revision of the workflow became the active one meanwhile; nothing was started")]
    Superseded,
    /// Nobody listens for the workflow's events.
    #[error("the workflow `{0}` is paused, or its active revision cannot be run: events of it reach nobody")]
    Paused(Key),
}

/// What a trigger made of an event.
pub(super) struct Asked {
    pub(super) reaction: Reaction,
    /// What it did inside the host.
    pub(super) staged: Staged,
    instance: Instance,
}

impl From<Failure> for FireError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Triggers {
    /// Tells a workflow's trigger of a request, and does what it answers. The response may leave at once: what it
    /// promises is durable.
    pub async fn fire(self: &Arc<Self>, program: &Arc<Program>, request: HttpEvent) -> Result<Fired, FireError> {
        self.executor.check_space()?;
        let remote_address: Box<str> = request.remote_address.as_str().into();
        let event = Arc::new(Event::Http(request));
        loop {
            let mut asked = self.ask(program, &event, Some(remote_address.clone()), None).await?;
            let note = asked.reaction.note.take();
            match self.react(program, asked).await {
                // What it read was changed by others meanwhile: nothing was kept, and it is asked again.
                Err(FireError::Executor(error)) if error.is_changed() => {}
                answered => return answered.map(|(response, run)| Fired { response, note, run }),
            }
        }
    }

    /// Whether a workflow's trigger may be called now.
    pub(super) fn admit(&self, program: &Program) -> Result<(), FireError> {
        let Some(plugin) = self.registry.get(&program.trigger.digest) else { return Ok(()) };
        match plugin.quarantine_reason() {
            Some(reason) => Err(FireError::Quarantined(plugin.description.name.clone(), reason)),
            None => Ok(plugin.admit()?),
        }
    }

    /// What a trigger makes of an event. `idempotency_key`: that of every try of the event; none: there is one try.
    pub(super) async fn ask(
        &self,
        program: &Arc<Program>,
        event: &Arc<Event>,
        remote_address: Option<Box<str>>,
        idempotency_key: Option<String>,
    ) -> Result<Asked, FireError> {
        let workflow = &program.plan.workflow;
        let runs_started = self.executor.store().runs_started(workflow).map_err(crate::executor::Error::from)?;
        let (mut call, secrets) = self.call(program, runs_started)?;
        if let Some(key) = idempotency_key {
            call.idempotency_key = key;
        }
        self.admit(program)?;
        let instance = self.instance_of(program)?;
        let context = self.context(program, &call, secrets, remote_address);
        let event = event.clone();
        let fired = async move {
            let mut instance = instance.await?;
            Ok::<_, CallError>((instance.fire(&call, &event, context).await, instance))
        };
        let ((answer, context), instance) = self.registry.carry(&program.trigger.pace, fired).await?;
        program.trigger.pace.took(context.used.cpu_us);
        for line in &context.log.lines {
            tracing::info!(%workflow, level = ?line.level, "trigger: {}", line.message);
        }
        let reaction = answer?.map_err(Failure::from)?;
        if let Some(note) = &reaction.note {
            let note = &note[..note.floor_char_boundary(MESSAGE_BYTES_MAX)];
            tracing::info!(%workflow, %note, "an event started nothing");
        }
        if reaction.start.len() > STARTS_MAX {
            return Err(Failure::bad_answer(format_args!("{} starts; at most {STARTS_MAX}", reaction.start.len())).into());
        }
        Ok(Asked { reaction, staged: context.effects.staged, instance })
    }

    async fn react(self: &Arc<Self>, program: &Arc<Program>, asked: Asked) -> Result<(Response, Option<RunId>), FireError> {
        let Asked { reaction, staged, instance } = asked;
        let reply = reaction.response.map(response).transpose()?;
        let mut waiting = None;
        let mut starts = Vec::with_capacity(reaction.start.len());
        for start in reaction.start {
            let wait_ms = start.wait_ms;
            let begin = read_start(program, start)?;
            match wait_ms {
                None => starts.push(begin),
                Some(_) if !program.synchronous || waiting.is_some() || reply.is_some() || begin.queue.is_some() => {
                    let what =
                        "only one start of a synchronous workflow can be waited for, without a queue and not beside a response";
                    return Err(Failure::bad_answer(what).into());
                }
                Some(wait_ms) => waiting = Some((begin, wait_ms.min(WAIT_MS_MAX))),
            }
        }
        let mut beside = self.signals(program, reaction.signals)?;
        let timers = timer_change(program, reaction.set_timers, reaction.clear_timers)?;
        let room = self.room_for(timers.as_ref())?;
        let started = !starts.is_empty();
        if !started && staged.is_empty() && beside.is_empty() && timers.is_none() {
            return match (waiting, reply) {
                (Some((start, wait_ms)), _) => {
                    let begun = self.executor.begin_waiting(start, vec![instance])?;
                    let run = run_of(&begun);
                    self.wait(program, begun, wait_ms).await.map(|response| (response, Some(run)))
                }
                (None, Some(reply)) => Ok((reply, None)),
                (None, None) => Ok((nothing(204), None)),
            };
        }
        let (start, wait_ms) = waiting.map_or((None, 0), |(start, wait_ms)| (Some(start), wait_ms));
        let (others, begun) = match timers {
            None => self.executor.begin(starts, start, staged, beside).await?,
            Some(timers) => {
                beside.push(Change::Timers(Box::new(timers)));
                // Also when the caller goes away: what is stored is to be looked at.
                let (triggers, program) = (self.clone(), program.clone());
                to_its_end(async move {
                    let _room = room;
                    let _current = triggers.while_current(&program).await.ok_or(FireError::Superseded)?;
                    let begun = triggers.executor.begin(starts, start, staged, beside).await?;
                    triggers.look_at_timers(&program.plan.workflow);
                    Ok::<_, FireError>(begun)
                })
                .await?
            }
        };
        let first = others.first().map(|(Begun::New(run) | Begun::Duplicate(run))| *run);
        match (begun, reply) {
            (Some(begun), _) => {
                let run = run_of(&begun);
                self.wait(program, begun, wait_ms).await.map(|response| (response, Some(run)))
            }
            (None, Some(reply)) => Ok((reply, first)),
            (None, None) => Ok((nothing(if started { 202 } else { 204 }), first)),
        }
    }

    pub(super) fn signals(&self, program: &Program, signals: Vec<triggers::Signal>) -> Result<Vec<Change>, FireError> {
        if signals.len() > SIGNALS_MAX {
            return Err(Failure::bad_answer(format_args!("{} signals; at most {SIGNALS_MAX}", signals.len())).into());
        }
        let mut changes = Vec::new();
        for signal in signals {
            if signal.name.len().max(signal.key.len()) > SIGNAL_NAME_BYTES_MAX {
                let what = format_args!("the name and the key of a signal have at most {SIGNAL_NAME_BYTES_MAX} bytes");
                return Err(Failure::bad_answer(what).into());
            }
            if signal.payload.len() > OUTPUT_BYTES_MAX {
                let message = format!("the payload of a signal has {} bytes; at most {OUTPUT_BYTES_MAX}", signal.payload.len());
                return Err(Failure::error("too-large", message).into());
            }
            let payload = Json::parse(signal.payload)
                .map_err(|error| Failure::bad_answer(format_args!("the payload of a signal is {error}")))?;
            let workflow = program.plan.workflow.clone();
            let name = SignalName { workflow, name: signal.name.into(), key: signal.key.into() };
            changes.extend(self.executor.signal_changes(&name, payload)?);
        }
        Ok(changes)
    }

    /// Why a run goes no further, if it waits for the release of plugins that it would call.
    fn held_up(&self, run: RunId) -> Option<FireError> {
        let plugins = self.executor.held_up_by(run).into_iter().filter_map(|digest| self.registry.get(&digest));
        let reasons: Vec<String> = plugins
            .filter_map(|plugin| {
                let reason = plugin.quarantine_reason()?;
                Some(format!("`{}` {}: {reason}", plugin.description.name, plugin.description.version))
            })
            .collect();
        (!reasons.is_empty()).then(|| FireError::HeldUp(run, reasons.join("; ")))
    }

    /// What whoever waited is told of a run that goes on.
    async fn unfinished(&self, program: &Arc<Program>, run: RunId) -> Result<Response, FireError> {
        match self.held_up(run) {
            Some(held_up) => Err(held_up),
            None => self.answer(program, run, None, Vec::new()).await,
        }
    }

    async fn wait(&self, program: &Arc<Program>, begun: Begun<Waiting>, wait_ms: u32) -> Result<Response, FireError> {
        let patience = Duration::from_millis(wait_ms.into());
        match begun {
            Begun::New(Waiting { run, outcome }) => match tokio::time::timeout(patience, outcome).await {
                Ok(Ok(outcome)) => match outcome? {
                    Outcome::Responded(response) => Ok(response),
                    Outcome::Ended(finished, instances) => self.answer(program, run, Some(*finished), instances).await,
                    // There is no use in waiting.
                    Outcome::HeldUp => self.unfinished(program, run).await,
                },
                Ok(Err(_)) => Err(Failure::error("internal", "the run broke off").into()),
                Err(_) => self.unfinished(program, run).await,
            },
            Begun::Duplicate(run) => {
                if let Some(held_up) = self.held_up(run) {
                    return Err(held_up);
                }
                if let Ok(ended) = tokio::time::timeout(patience, self.executor.wait_for_end(run)).await {
                    ended?;
                }
                match self.executor.finished(run)? {
                    Some(finished) => self.answer(program, run, Some(finished), Vec::new()).await,
                    None => self.unfinished(program, run).await,
                }
            }
        }
    }

    /// What whoever waited is told: a step's response, or else what the trigger makes of the run's end.
    async fn answer(
        &self,
        program: &Arc<Program>,
        run: RunId,
        finished: Option<Finished>,
        instances: Vec<Instance>,
    ) -> Result<Response, FireError> {
        if let Some(response) = finished.as_ref().and_then(|finished| finished.response.clone()) {
            return Ok(response);
        }
        let (call, secrets) = self.call(program, 0)?;
        let instance = instances.into_iter().find(|instance| *instance.digest() == program.trigger.digest);
        let instance = match instance {
            Some(instance) => Either::Left(ready(Ok(instance))),
            None => Either::Right(self.instance_of(program)?),
        };
        let context = CallContext { services: None, ..self.context(program, &call, secrets, None) };
        let run = finished_run(run, finished);
        let settled = async move { Ok::<_, CallError>(instance.await?.settle(&call, &run, context).await) };
        let (answer, _) = self.registry.carry(&Pace::default(), settled).await?;
        let Settlement { response: settled, .. } = answer?.map_err(Failure::from)?;
        settled.map(response).transpose()?.ok_or_else(|| Failure::bad_answer("a webhook's settlement has no response").into())
    }
}

impl Callee for Triggers {
    fn called<'a>(
        &'a self,
        program: &'a Arc<Program>,
        context: Json,
        user: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Called, Failure>> {
        let called = triggers::Called { user: user.map(ToOwned::to_owned), context: context.text().to_owned() };
        let event = Arc::new(Event::Called(called));
        Box::pin(async move {
            let Asked { reaction, staged, .. } = match self.ask(program, &event, None, None).await {
                Ok(asked) => asked,
                Err(FireError::Failed(failure)) => return Err(failure),
                Err(error) => return Err(Failure::error("not-started", error.to_string())),
            };
            if !(reaction.set_timers.is_empty() && reaction.clear_timers.is_empty()) {
                return Err(Failure::bad_answer("a start by name sets no timers"));
            }
            let mut starts = reaction.start.into_iter();
            match (starts.next(), starts.next(), reaction.note) {
                (Some(start), None, _) => {
                    let Start { context, dedup, queue, .. } = read_start(program, start)?;
                    Ok(Called { context, dedup, queue, staged })
                }
                (None, _, Some(note)) => Err(Failure::error("not-started", note)),
                (None, _, None) => Err(Failure::bad_answer("a trigger that is called starts one run, or says why none")),
                (Some(_), Some(_), _) => Err(Failure::bad_answer("a trigger that is called starts one run, not several")),
            }
        })
    }
}

pub(super) fn read_start(program: &Arc<Program>, start: triggers::Start) -> Result<Start, Failure> {
    if start.context.len() > CONTEXT_BYTES_MAX {
        let message = format!("the run's context has {} bytes; at most {CONTEXT_BYTES_MAX} are kept", start.context.len());
        return Err(Failure::error("too-large", message));
    }
    let context = Json::parse(start.context).map_err(|error| Failure::bad_answer(format_args!("the context is {error}")))?;
    if let Some(queue) = start.queue.as_deref().filter(|queue| queue.parse::<Key>().is_err()) {
        return Err(Failure::bad_answer(format_args!("`{queue}` is no name of a queue")));
    }
    if let Some(bytes) = start.dedup_key.as_ref().map(String::len).filter(|bytes| *bytes > NAME_BYTES_MAX) {
        return Err(Failure::bad_answer(format_args!("a dedup key has {bytes} bytes; at most {NAME_BYTES_MAX}")));
    }
    let (dedup, queue) = (start.dedup_key.map(Into::into), start.queue.map(Into::into));
    Ok(Start { dedup, queue, ..Start::new(program.clone(), context) })
}

fn run_of(begun: &Begun<Waiting>) -> RunId {
    match begun {
        Begun::New(waiting) => waiting.run,
        Begun::Duplicate(run) => *run,
    }
}

fn nothing(status: u16) -> Response {
    Response { status, headers: Vec::new(), body: Default::default() }
}

fn finished_run(run: RunId, finished: Option<Finished>) -> FinishedRun {
    let (output, ended_early, messages) = match finished {
        None => (Err(Failure::error("still-running", "the run did not end in time")), false, Vec::new()),
        Some(finished) => (finished.output(), finished.end.early, finished.messages),
    };
    FinishedRun {
        run: run.to_string(),
        output: output.map(|output| output.text().to_owned()).map_err(|failure| (&failure).into()),
        ended_early,
        messages: messages.into_iter().map(Into::into).collect(),
    }
}
