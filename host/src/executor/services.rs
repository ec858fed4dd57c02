//! What a call can ask the host for: values of its plugin's own, other runs, servers outside.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::{OnceCell, mpsc, oneshot};

use super::Executor;
use super::program::Program;
use super::progress::Progress;
use crate::digest::Digest;
use crate::plugin::{Sender, Services};
use crate::run::{
    ActivationId, Fault, FileFacts, FileId, Given, KvKey, Recorded, Request, Response, RunId, Seen, asked_file, asked_new_file,
    asked_send, asked_start, asked_value,
};
use crate::workflow::{Json, Key};

/// A call is about to reach outside: whoever carries out the run stores that, and then says so.
pub(super) struct Intent {
    pub(super) activation: ActivationId,
    pub(super) attempt: u32,
    pub(super) at_ms: u64,
    pub(super) stored: oneshot::Sender<()>,
}

/// The services of a step's call.
pub(super) struct StepServices {
    pub(super) executor: Arc<Executor>,
    pub(super) program: Arc<Program>,
    pub(super) stack: Arc<[Key]>,
    pub(super) run: RunId,
    /// What the run was given, and what the step was.
    pub(super) context: Json,
    pub(super) config: Option<Json>,
    pub(super) activation: ActivationId,
    /// The activation's path.
    pub(super) path: Arc<str>,
    pub(super) attempt: u32,
    pub(super) at_ms: u64,
    pub(super) intents: mpsc::UnboundedSender<Intent>,
    pub(super) intended: OnceCell<()>,
    /// What was answered, where that is kept.
    pub(super) recorded: Option<Mutex<Recorded>>,
}

impl Services for StepServices {
    fn kv(&self, key: &KvKey) -> Result<(Seen, Option<Bytes>), Fault> {
        let given = self.executor.read_kv(key);
        self.record(&given, || asked_value(key), |(seen, value)| Given::Value(seen, value));
        given
    }

    fn start(&self, workflow: &Key) -> Result<RunId, Fault> {
        let given = self.startable(workflow);
        self.record(&given, || asked_start(workflow), Given::Run);
        given
    }

    fn new_file(&self, facts: &FileFacts) -> Result<FileId, Fault> {
        let given = Ok(FileId { run: self.run, random: self.executor.clock.random() });
        self.record(&given, || asked_new_file(facts), Given::NewFile);
        given
    }

    fn file(&self, id: &FileId) -> Result<(FileFacts, Bytes), Fault> {
        let given = self.readable(id);
        self.record(&given, || asked_file(id), |(facts, content)| Given::File(facts, content));
        given
    }

    fn send(&self, sender: Sender, request: Request) -> BoxFuture<'_, Result<Response, Fault>> {
        Box::pin(async move {
            let asked = self.recorded.as_ref().map(|_| asked_send(&request));
            let given = self.send_intended(&sender, request).await;
            if let Some(asked) = asked {
                self.record(&given, || asked, Given::Response);
            }
            given
        })
    }

    fn report(&self, done: u32, total: Option<u32>, message: &str) {
        let at_ms = self.executor.clock.now_ms();
        let (run, step) = (self.run, self.path.clone());
        self.executor.progress.report(Progress { run, step, done, total, message: message.into(), at_ms });
    }
}

impl StepServices {
    /// Keeps an answer, where that is wanted.
    fn record<T: Clone>(&self, given: &Result<T, Fault>, asked: impl FnOnce() -> Digest, keep: impl FnOnce(T) -> Given) {
        if let Some(recorded) = &self.recorded {
            let given = given.clone().map_or_else(Given::Fault, keep);
            recorded.lock().unwrap_or_else(PoisonError::into_inner).keep(asked(), given);
        }
    }

    /// What was kept.
    pub(super) fn take_recorded(&self) -> Option<Recorded> {
        Some(std::mem::take(&mut *self.recorded.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// A file of this run, or one that it was told of: nobody can guess an id.
    fn readable(&self, id: &FileId) -> Result<(FileFacts, Bytes), Fault> {
        let name = id.to_string();
        let is_told =
            || self.context.text().contains(&name) || self.config.as_ref().is_some_and(|config| config.text().contains(&name));
        let found = if id.run == self.run || is_told() {
            self.executor.store.file(id).map_err(|error| unavailable(&error))?
        } else {
            None
        };
        found.ok_or_else(|| Fault::new("not-found", format!("this run knows no file `{name}`")))
    }

    fn startable(&self, workflow: &Key) -> Result<RunId, Fault> {
        let programs = &self.executor.programs;
        let revision = programs.startable(workflow).map_err(|error| unavailable(&error))?;
        let Some(revision) = revision else {
            return Err(Fault::new("not-found", format!("there is no published workflow `{workflow}`")));
        };
        let program = programs.program(workflow, revision, None).map_err(|error| unavailable(&error))?;
        check_stack(&self.stack, &self.program.plan.workflow, &program)?;
        Ok(self.executor.new_id())
    }

    async fn send_intended(&self, sender: &Sender, request: Request) -> Result<Response, Fault> {
        self.executor.outbound.permit(sender, &request)?;
        // Of several at once the first one intends, and all wait until that is durable.
        self.intended.get_or_try_init(|| self.intend()).await?;
        self.executor.outbound.send(sender, request).await
    }

    /// Makes durable that this call reaches outside, and everything before it.
    async fn intend(&self) -> Result<(), Fault> {
        #[cfg(test)]
        if self.executor.faults.skip_intents.load(std::sync::atomic::Ordering::Relaxed) {
            return Ok(());
        }
        let (stored, done) = oneshot::channel();
        let Self { activation, attempt, at_ms, .. } = *self;
        let stopped = |_| Fault::new("aborted", "the step was stopped");
        self.intents.send(Intent { activation, attempt, at_ms, stored }).map_err(|_| stopped(()))?;
        done.await.map_err(|_| stopped(()))
    }
}

/// The services of a trigger's call: it has no run yet, so nothing is stored before it reaches outside.
pub(crate) struct TriggerServices {
    pub(crate) executor: Arc<Executor>,
}

impl Services for TriggerServices {
    fn kv(&self, key: &KvKey) -> Result<(Seen, Option<Bytes>), Fault> {
        self.executor.read_kv(key)
    }

    fn start(&self, _: &Key) -> Result<RunId, Fault> {
        Err(Fault::new("invalid", "a trigger starts runs by its reaction"))
    }

    fn send(&self, sender: Sender, request: Request) -> BoxFuture<'_, Result<Response, Fault>> {
        Box::pin(async move { self.executor.outbound.send(&sender, request).await })
    }
}

impl Executor {
    fn read_kv(&self, key: &KvKey) -> Result<(Seen, Option<Bytes>), Fault> {
        self.store.kv(key).map_err(|error| unavailable(&error))
    }
}

/// Whether a run of this program may be started from a run of `workflow` with this stack: how often it stands there is bounded, so
/// that workflows do not start each other for ever.
pub(super) fn check_stack(stack: &[Key], workflow: &Key, program: &Program) -> Result<(), Fault> {
    let plan = &program.plan;
    let limit = plan.options.stack_limit.unwrap_or(1);
    let chain = || stack.iter().chain([workflow]);
    let times = chain().filter(|key| **key == plan.workflow).count();
    if times >= limit as usize || chain().count() >= crate::limits::STACK_DEPTH_MAX as usize {
        let mut counts: BTreeMap<&Key, usize> = BTreeMap::new();
        chain().for_each(|key| *counts.entry(key).or_default() += 1);
        let chain = counts.iter().map(|(key, count)| format!("{key} × {count}")).collect::<Vec<_>>().join(", ");
        let message = format!(
            "`{}` stands {times} times in this chain of runs, of {limit} that its options allow ({chain})",
            plan.workflow
        );
        return Err(Fault::new("stack-limit", message));
    }
    Ok(())
}

fn unavailable(error: &dyn std::fmt::Display) -> Fault {
    tracing::error!(%error, "a call's request could not be served");
    Fault::passing("unavailable", "the host could not read its store; its log says why")
}
