//! Tries another version of a plugin on calls that were made: with the recorded configs, events and answers of the host, and without any effect.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::Serialize;

use super::call::idempotency_key;
use super::clock::rfc3339;
use super::components::NodeCall;
use super::program::NodeBinding;
use super::scope::Snapshot;
use super::{Error, Executor, Program};
use crate::digest::Digest;
use crate::limits::{REPLAY_DIFFERENCES_MAX, REPLAY_MS_MAX, REPLAY_RUNS_MAX, STEP_WALL_MS_CEILING};
use crate::plugin::exports::nodes;
use crate::plugin::{CallContext, Plugin, Sender, Services};
use crate::run::{
    Called, Command, Effects, Entry, Failure, Fault, FileFacts, FileId, Given, KvKey, Outcome, Recorded, Request, Response,
    RunId, Seen, State, Usage, asked_file, asked_new_file, asked_send, asked_start, asked_value,
};
use crate::store::RunFilter;
use crate::workflow::Key;

/// What became of a replay.
#[derive(Debug, Default, Serialize)]
pub struct Replayed {
    /// Calls that were made again.
    pub calls: u32,
    /// Of these, those that came out the same.
    pub same: u32,
    /// Calls that asked the host for something of which no answer was recorded: they say nothing.
    pub unrecorded: u32,
    /// The first ones that came out differently.
    pub differences: Vec<Difference>,
    /// The time for it was over, or enough runs were looked through.
    pub is_cut: bool,
    /// What the calls took when they were made.
    pub old: Took,
    /// What they took now.
    pub new: Took,
}

/// What calls took.
#[derive(Debug, Default, Serialize)]
pub struct Took {
    /// Half of the calls took less, in microseconds.
    pub p50_us: u32,
    /// 99 % of the calls took less, in microseconds.
    pub p99_us: u32,
    /// Computing, in microseconds, of all calls.
    pub cpu_us: u64,
    /// The most memory of one instance, in bytes.
    pub memory_bytes: u64,
    #[serde(skip)]
    all_us: Vec<u32>,
}

/// A call that came out differently.
#[derive(Debug, Serialize)]
pub struct Difference {
    /// The run.
    pub run: String,
    /// The activation's path.
    pub activation: Box<str>,
    /// `outcome`, `effects` (of its run: output, results, response, messages), `staged` (values, starts and files) or `requests`.
    pub what: &'static str,
    /// What came of it then.
    pub old: String,
    /// What came of it now.
    pub new: String,
}

impl Took {
    fn add(&mut self, took_us: u32, used: &Usage) {
        self.all_us.push(took_us);
        self.cpu_us += u64::from(used.cpu_us);
        self.memory_bytes = self.memory_bytes.max(used.memory_bytes);
    }

    fn finish(&mut self) {
        self.all_us.sort_unstable();
        let at = |share: usize| self.all_us.get((self.all_us.len() * share / 100).min(self.all_us.len().saturating_sub(1)));
        (self.p50_us, self.p99_us) = (at(50).copied().unwrap_or(0), at(99).copied().unwrap_or(0));
    }
}

/// Answers as they were recorded.
struct Answers {
    recorded: Mutex<Recorded>,
    unmet: Mutex<Vec<String>>,
}

impl Answers {
    fn take(&self, asked: &Digest, what: impl FnOnce() -> String) -> Result<Given, Fault> {
        let given = self.recorded.lock().unwrap_or_else(PoisonError::into_inner).take(asked);
        given.ok_or_else(|| {
            let what = what();
            let fault = Fault::new("not-recorded", format!("no answer is recorded to: {what}"));
            self.unmet.lock().unwrap_or_else(PoisonError::into_inner).push(what);
            fault
        })
    }
}

fn other(given: Given) -> Fault {
    match given {
        Given::Fault(fault) => fault,
        _ => Fault::new("not-recorded", "the recorded answer is of another kind"),
    }
}

impl Services for Answers {
    fn kv(&self, key: &KvKey) -> Result<(Seen, Option<Bytes>), Fault> {
        match self.take(&asked_value(key), || format!("the value `{}`", key.key))? {
            Given::Value(seen, value) => Ok((seen, value)),
            given => Err(other(given)),
        }
    }

    fn start(&self, workflow: &Key) -> Result<RunId, Fault> {
        match self.take(&asked_start(workflow), || format!("a run of `{workflow}`"))? {
            Given::Run(run) => Ok(run),
            given => Err(other(given)),
        }
    }

    fn new_file(&self, facts: &FileFacts) -> Result<FileId, Fault> {
        match self.take(&asked_new_file(facts), || format!("the new file `{}`", facts.name))? {
            Given::NewFile(id) => Ok(id),
            given => Err(other(given)),
        }
    }

    fn file(&self, id: &FileId) -> Result<(FileFacts, Bytes), Fault> {
        match self.take(&asked_file(id), || format!("the file `{id}`"))? {
            Given::File(facts, content) => Ok((facts, content)),
            given => Err(other(given)),
        }
    }

    fn send(&self, _: Sender, request: Request) -> BoxFuture<'_, Result<Response, Fault>> {
        let given = self.take(&asked_send(&request), || format!("{} {}", request.method, request.url));
        Box::pin(async move {
            match given? {
                Given::Response(response) => request.admit(response),
                given => Err(other(given)),
            }
        })
    }
}

impl Executor {
    /// Makes the newest calls of one version of a plugin again with another: `last` of them at most, of runs whose journals are still there.
    /// Nothing is stored, and nobody outside is asked.
    pub async fn replay(self: &Arc<Self>, old: &Plugin, new: &Arc<Plugin>, last: u32) -> Result<Replayed, Error> {
        let began = Instant::now();
        let mut replayed = Replayed::default();
        let mut after = None;
        let mut looked_at = 0;
        'runs: loop {
            let filter = RunFilter { after, limit: 100, ..RunFilter::default() };
            let (runs, next) = self.store.runs(&filter)?;
            for head in runs {
                looked_at += 1;
                if looked_at > REPLAY_RUNS_MAX || began.elapsed() > REPLAY_MS_MAX {
                    replayed.is_cut = true;
                    break 'runs;
                }
                let Ok(program) = self.programs.program(&head.workflow, head.revision, head.draft.as_ref()) else { continue };
                if program.uses(&old.digest) {
                    self.replay_run(head.id, &program, old, new, last, &mut replayed).await?;
                }
                if replayed.calls >= last {
                    break 'runs;
                }
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
        replayed.old.finish();
        replayed.new.finish();
        Ok(replayed)
    }

    async fn replay_run(
        self: &Arc<Self>,
        run: RunId,
        program: &Arc<Program>,
        old: &Plugin,
        new: &Arc<Plugin>,
        last: u32,
        replayed: &mut Replayed,
    ) -> Result<(), Error> {
        let entries = self.store.journal(run)?;
        let Some((first, rest)) = entries.split_first() else { return Ok(()) };
        let Some(mut state) = State::begin(&program.plan, run, first) else { return Ok(()) };
        for entry in rest {
            if let Entry::Called(called) = entry
                && let Some(call) = self.repeated(run, program, &state, called, old, new)
            {
                if replayed.calls >= last {
                    return Ok(());
                }
                self.compare(run, called, call, replayed).await;
            }
            state.apply(&program.plan, entry);
        }
        Ok(())
    }

    /// A call that was made, as the other version gets it; none: it was of another plugin.
    fn repeated(
        &self,
        run: RunId,
        program: &Arc<Program>,
        state: &State,
        called: &Called,
        old: &Plugin,
        new: &Plugin,
    ) -> Option<Repeated> {
        let id = state.find(&called.activation)?;
        let activation = state.activation(id)?;
        let bound = program.node(activation.step);
        if bound.digest != old.digest {
            return None;
        }
        let event = state.commands(called.at_ms).find_map(|command| match command {
            Command::Call(of, event) if of == id => Some(event),
            _ => None,
        })?;
        let (config, secrets) = match &activation.config {
            Some(known) => known.clone(),
            None => (called.config.clone()?, called.secrets.clone()),
        };
        let key = idempotency_key(run, &activation.path, activation.calls);
        let call = nodes::Call {
            node: bound.name.to_string(),
            workflow: program.plan.workflow.to_string(),
            run: run.to_string(),
            step: program.plan.step(activation.step).key.to_string(),
            attempt: called.attempt,
            idempotency_key: key.clone(),
            now: rfc3339(called.at_ms),
            config: config.text().to_owned(),
            more: None,
        };
        let recorded = called.recorded.as_deref().cloned().unwrap_or_default();
        let answers = Arc::new(Answers { recorded: Mutex::new(recorded), unmet: Mutex::default() });
        let scope = || Arc::new(Snapshot::of(self, program.clone(), state, id, activation.step, called.at_ms)) as _;
        let context = CallContext {
            plugin: bound.plugin.clone(),
            workflow: Some(program.plan.workflow.clone()),
            idempotency_key: key.into(),
            scope: new.sees_run.then(scope),
            vault: (!secrets.is_empty()).then(|| self.vault.clone()),
            secrets,
            around: state.staged(id),
            services: new.uses_services.then(|| answers.clone() as _),
            ..CallContext::default()
        };
        let event = event.map(|event| (activation.state.clone(), event));
        let call = NodeCall { call, event, context, instance: None, limit_ms: STEP_WALL_MS_CEILING };
        Some(Repeated { binding: bound.with(new), call, answers })
    }

    async fn compare(&self, run: RunId, called: &Called, repeated: Repeated, replayed: &mut Replayed) {
        let Repeated { binding, call, answers } = repeated;
        replayed.calls += 1;
        let began = Instant::now();
        let (outcome, effects, used) = match &binding {
            Some(binding) => {
                let answer = self.components.call(binding, call).await;
                let outcome = answer.outcome.and_then(|outcome| binding.check(&outcome).map(|()| outcome));
                match outcome {
                    Ok(outcome) => (outcome, answer.context.effects, answer.context.used),
                    Err(failure) => (Outcome::Failed(failure), Effects::default(), answer.context.used),
                }
            }
            None => {
                let failure = Failure::error("type-missing", "the version does not have this type any more");
                (Outcome::Failed(failure), Effects::default(), Usage::default())
            }
        };
        replayed.old.add(called.took_us, &called.used);
        replayed.new.add(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX), &used);

        let unmet = std::mem::take(&mut *answers.unmet.lock().unwrap_or_else(PoisonError::into_inner));
        let left = answers.recorded.lock().unwrap_or_else(PoisonError::into_inner).answers.len();
        if !unmet.is_empty() && called.recorded.as_ref().is_none_or(|recorded| recorded.is_cut) {
            replayed.unrecorded += 1;
            return;
        }
        let of_run = |effects: &Effects| {
            let Effects { output, results, response, messages, .. } = effects;
            (output.clone(), results.clone(), response.clone(), messages.clone())
        };
        let (then, now) = (of_run(&called.effects), of_run(&effects));
        let staged = called.recorded.as_ref().map(|recorded| (recorded.staged, effects.staged.digest()));
        let difference = if called.outcome != outcome {
            Some(("outcome", format!("{:?}", called.outcome), format!("{outcome:?}")))
        } else if then != now {
            Some(("effects", format!("{then:?}"), format!("{now:?}")))
        } else if !unmet.is_empty() || left > 0 {
            let asks = unmet.iter().take(10).map(String::as_str).collect::<Vec<_>>().join(", ");
            Some(("requests", format!("{left} answers that are not asked for now"), format!("asks anew for: {asks}")))
        } else if let Some((then, now)) = staged.filter(|(then, now)| then != now) {
            let told = |digest: Option<Digest>| digest.map_or_else(|| "nothing".to_owned(), |digest| digest.to_string());
            Some(("staged", told(then), told(now)))
        } else {
            None
        };
        match difference {
            None => replayed.same += 1,
            Some((what, old, new)) if replayed.differences.len() < REPLAY_DIFFERENCES_MAX => {
                let (run, activation) = (run.to_string(), called.activation.clone());
                replayed.differences.push(Difference { run, activation, what, old: cut(&old), new: cut(&new) });
            }
            Some(_) => {}
        }
    }
}

/// A call that is made again.
struct Repeated {
    /// None: the version has no such type.
    binding: Option<NodeBinding>,
    call: NodeCall,
    answers: Arc<Answers>,
}

/// As much of a text as a person looks at.
fn cut(text: &str) -> String {
    let end = text.floor_char_boundary(1_000);
    if end == text.len() { text.to_owned() } else { format!("{}…", &text[..end]) }
}
