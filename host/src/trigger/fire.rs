//! From one request to runs and a response.

use std::sync::Arc;
use std::time::Duration;

use super::Triggers;
use crate::executor::{Begun, Finished, Outcome, Program, Start, Waiting};
use crate::limits::{CONTEXT_BYTES_MAX, STARTS_MAX, WAIT_MS_MAX};
use crate::plugin::exports::triggers::{Event, FinishedRun, HttpEvent, Reaction, Settlement};
use crate::plugin::{CallError, Instance, response};
use crate::run::{Failure, Response, RunId, Status};
use crate::workflow::Json;

/// Why an event came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum FireError {
    /// The trigger brought no answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The trigger could not do its work.
    #[error("{} ({})", .0.message, .0.code)]
    Failed(Failure),
    /// The executor could not.
    #[error(transparent)]
    Executor(#[from] crate::executor::Error),
}

impl From<Failure> for FireError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Triggers {
    /// Tells a workflow's trigger of a request, and does what it answers. The response may leave at once: what it
    /// promises is durable.
    pub async fn fire(&self, program: &Arc<Program>, request: HttpEvent) -> Result<Response, FireError> {
        let runs_started = self.executor.store().runs_started(&program.plan.workflow).map_err(crate::executor::Error::from)?;
        let (call, secrets) = self.call(program, runs_started)?;
        let mut instance = self.executor.registry().instantiate(&program.trigger.plugin).await?;
        let context = self.context(secrets, Some(request.remote_address.as_str().into()));
        let (answer, context) = instance.fire(&call, &Event::Http(request), context).await;
        for line in &context.log.lines {
            tracing::info!(workflow = %program.plan.workflow, level = ?line.level, "trigger: {}", line.message);
        }
        let reaction = answer?.map_err(Failure::from)?;
        if let Some(note) = &reaction.note {
            tracing::info!(workflow = %program.plan.workflow, %note, "a request started nothing");
        }
        self.react(program, reaction, instance).await
    }

    async fn react(&self, program: &Arc<Program>, reaction: Reaction, instance: Instance) -> Result<Response, FireError> {
        if !(reaction.set_timers.is_empty() && reaction.clear_timers.is_empty() && reaction.signals.is_empty()) {
            return Err(Failure::bad_answer("this host has no timers and signals yet").into());
        }
        if reaction.start.len() > STARTS_MAX {
            return Err(Failure::bad_answer(format_args!("{} starts; at most {STARTS_MAX}", reaction.start.len())).into());
        }
        let reply = reaction.response.map(response).transpose()?;
        let mut waiting = None;
        let mut starts = Vec::with_capacity(reaction.start.len());
        for start in reaction.start {
            if start.queue.is_some() {
                return Err(Failure::bad_answer("this host has no queues yet").into());
            }
            if start.context.len() > CONTEXT_BYTES_MAX {
                let message =
                    format!("the run's context has {} bytes; at most {CONTEXT_BYTES_MAX} are kept", start.context.len());
                return Err(Failure::error("too-large", message).into());
            }
            let context =
                Json::parse(start.context).map_err(|error| Failure::bad_answer(format_args!("the context is {error}")))?;
            let begin = Start { program: program.clone(), context, dedup: start.dedup_key.map(Into::into) };
            match start.wait_ms {
                None => starts.push(begin),
                Some(_) if !program.synchronous || waiting.is_some() || reply.is_some() => {
                    let what = "only one start of a synchronous workflow can be waited for, and not beside a response";
                    return Err(Failure::bad_answer(what).into());
                }
                Some(wait_ms) => waiting = Some((begin, wait_ms.min(WAIT_MS_MAX))),
            }
        }
        let started = !starts.is_empty();
        if started {
            self.executor.begin(starts).await?;
        }
        match (waiting, reply) {
            (Some((start, wait_ms)), _) => self.wait(program, start, wait_ms, instance).await,
            (None, Some(reply)) => Ok(reply),
            (None, None) => {
                Ok(Response { status: if started { 202 } else { 204 }, headers: Vec::new(), body: Default::default() })
            }
        }
    }

    async fn wait(&self, program: &Arc<Program>, start: Start, wait_ms: u32, instance: Instance) -> Result<Response, FireError> {
        let patience = Duration::from_millis(wait_ms.into());
        match self.executor.begin_waiting(start, vec![instance])? {
            Begun::New(Waiting { run, outcome }) => match tokio::time::timeout(patience, outcome).await {
                Ok(Ok(outcome)) => match outcome? {
                    Outcome::Responded(response) => Ok(response),
                    Outcome::Ended(finished, instances) => self.answer(program, run, Some(*finished), instances).await,
                },
                Ok(Err(_)) => Err(Failure::error("internal", "the run broke off").into()),
                Err(_) => self.answer(program, run, None, Vec::new()).await,
            },
            Begun::Duplicate(run) => {
                let _ = tokio::time::timeout(patience, self.executor.wait_for_end(run)).await;
                let finished = self.executor.finished(program, run)?;
                self.answer(program, run, finished, Vec::new()).await
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
        let plugin = &program.trigger.plugin;
        let (call, secrets) = self.call(program, 0)?;
        let instance = instances.into_iter().find(|instance| *instance.digest() == plugin.digest);
        let mut instance = match instance {
            Some(instance) => instance,
            None => self.executor.registry().instantiate(plugin).await?,
        };
        let (answer, _) = instance.settle(&call, &finished_run(run, finished), self.context(secrets, None)).await;
        let Settlement { response: settled, .. } = answer?.map_err(Failure::from)?;
        settled.map(response).transpose()?.ok_or_else(|| Failure::bad_answer("a webhook's settlement has no response").into())
    }
}

fn finished_run(run: RunId, finished: Option<Finished>) -> FinishedRun {
    let (output, ended_early, messages) = match finished {
        None => (Err(Failure::error("timed-out", "the run did not end in time")), false, Vec::new()),
        Some(finished) => {
            let Finished { end, output, messages, .. } = finished;
            let output = match (end.status, end.failure) {
                (Status::Succeeded, _) => Ok(output.unwrap_or_else(Json::null)),
                (_, Some((failure, _))) => Err(failure),
                (status, None) => Err(Failure { status, ..Failure::error("ended", end.message.unwrap_or_default()) }),
            };
            (output, end.early, messages)
        }
    };
    FinishedRun {
        run: run.to_string(),
        output: output.map(|output| output.text().to_owned()).map_err(|failure| (&failure).into()),
        ended_early,
        messages: messages.into_iter().map(Into::into).collect(),
    }
}
