//! One world from its beginning to its end: lives that a crash ends, and a last one that goes on until everything is done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use zeroize::Zeroizing;

use super::super::call::idempotency_key;
use super::audit::audit;
use super::guests::{Guests, Outside, Servers};
use super::scenario::{Action, SYNC, Scenario};
use super::{Mistake, Told};
use crate::digest::Digest;
use crate::executor::{
    ActOn, Begun, Clock, Environment, Executor, NodeBinding, Parts, Program, ProgramError, Programs, Start, TriggerBinding,
    Waiting,
};
use crate::plugin::{HostPattern, Pace, SecretSource};
use crate::run::{
    Arrival, Decision, Entry, Fault, FileFacts, FileId, KvKey, Outcome, Phase, RunId, Seen, Staged, State, WaitKind,
};
use crate::store::{
    ArrivalId, Asked, Change, CommitError, Error, KeptSignal, Loaded, MemoryRunStore, Place, RunFilter, RunHead, RunStore,
    SignalName,
};
use crate::workflow::{Definition, Json, Key, Plan};

/// Revisions of a world: one of each workflow.
pub(super) struct Book(BTreeMap<Key, Arc<Program>>);

impl Book {
    fn of(scenario: &Scenario) -> Self {
        let read = |value: &serde_json::Value| {
            let definition = Definition::from_value(value.clone()).unwrap_or_else(|problems| panic!("{problems:?}: {value:#}"));
            let plan = Plan::new(&definition, 1).unwrap();
            let mut nodes = Vec::new();
            definition.each_step(|step, _, _| {
                nodes.push(NodeBinding {
                    digest: Digest::of(b"sim"),
                    plugin: "sim/guests".into(),
                    name: step.r#type.as_str().into(),
                    sees_run: false,
                    uses_services: true,
                    at_most_once: step.r#type == "once",
                    branches: ["a".into(), "b".into()].into(),
                    waits: ["timer", "signal", "task", "child", "request"].map(Into::into).into(),
                    pace: Pace::default(),
                });
            });
            let synchronous = SYNC.contains(&definition.key.as_str());
            let trigger =
                TriggerBinding { digest: Digest::of(b"sim"), name: "any".into(), is_callable: false, pace: Pace::default() };
            (definition.key.clone(), Arc::new(Program::new(plan, trigger, synchronous, nodes)))
        };
        Self(scenario.workflows.iter().map(read).collect())
    }

    pub(super) fn get(&self, workflow: &str) -> Arc<Program> {
        self.0[workflow].clone()
    }
}

impl Programs for Book {
    fn program(&self, workflow: &Key, revision: u32, _: Option<&Digest>) -> Result<Arc<Program>, ProgramError> {
        self.0.get(workflow).cloned().ok_or_else(|| ProgramError::Missing(workflow.to_string(), revision))
    }

    fn bare(&self, workflow: &Key, revision: u32, draft: Option<&Digest>) -> Result<Arc<Program>, ProgramError> {
        self.program(workflow, revision, draft)
    }

    fn take_out(&self, _: &Digest) -> Option<Arc<crate::plugin::Plugin>> {
        None
    }

    fn startable(&self, workflow: &Key) -> Result<Option<u32>, ProgramError> {
        Ok(self.0.contains_key(workflow).then_some(1))
    }
}

struct NoSecrets;

impl SecretSource for NoSecrets {
    fn reveal(&self, _: &str) -> Result<Zeroizing<Vec<u8>>, Fault> {
        Err(Fault::new("not-found", "there are no secrets here"))
    }

    fn destinations(&self, _: &str) -> Vec<HostPattern> {
        Vec::new()
    }

    fn may_guess(&self, _: &str, _: Option<&str>) -> bool {
        true
    }

    fn guessed_wrong(&self, _: &str, _: Option<&str>) {}
}

/// Time that passes when nobody has anything to do.
struct SimClock {
    base_ms: u64,
    began: tokio::time::Instant,
    outside: Arc<Outside>,
}

impl Clock for SimClock {
    fn now_ms(&self) -> u64 {
        self.base_ms + u64::try_from(self.began.elapsed().as_millis()).unwrap()
    }

    fn random(&self) -> [u8; 10] {
        let (a, b) = (self.outside.random(), self.outside.random());
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&a.to_be_bytes());
        bytes[8..].copy_from_slice(&b.to_be_bytes()[..2]);
        bytes
    }
}

/// A store that takes its time, and dies at one of its commits: before it has made it, or after, without saying so.
struct Dying {
    inner: Arc<MemoryRunStore>,
    outside: Arc<Outside>,
    commits: AtomicU64,
    dies_at: Option<u64>,
    dead: Notify,
}

impl Dying {
    async fn die(&self) -> ! {
        self.dead.notify_one();
        std::future::pending().await
    }
}

impl RunStore for Dying {
    fn commit(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<(), CommitError>> {
        Box::pin(async move {
            self.outside.pause().await;
            let number = self.commits.fetch_add(1, Ordering::Relaxed) + 1;
            let dies = self.dies_at.is_some_and(|at| number >= at);
            if dies && (number > self.dies_at.unwrap() || self.outside.chance(50)) {
                self.die().await;
            }
            let made = self.inner.make(&changes);
            if dies {
                self.die().await;
            }
            self.outside.pause().await;
            made
        })
    }

    fn run(&self, id: RunId) -> Result<Option<RunHead>, Error> {
        self.inner.run(id)
    }

    fn journal(&self, id: RunId) -> Result<Vec<Entry>, Error> {
        self.inner.journal(id)
    }

    fn first_entry(&self, id: RunId) -> Result<Option<Entry>, Error> {
        self.inner.first_entry(id)
    }

    fn load(&self, id: RunId) -> Result<Option<Loaded>, Error> {
        self.inner.load(id)
    }

    fn runs(&self, filter: &RunFilter) -> Result<(Vec<RunHead>, Option<RunId>), Error> {
        self.inner.runs(filter)
    }

    fn runs_started(&self, workflow: &Key) -> Result<u32, Error> {
        self.inner.runs_started(workflow)
    }

    fn run_of_dedup(&self, workflow: &Key, key: &str) -> Result<Option<RunId>, Error> {
        self.inner.run_of_dedup(workflow, key)
    }

    fn active_runs(&self) -> Result<Vec<RunId>, Error> {
        self.inner.active_runs()
    }

    fn wakes(&self, after: Option<(u64, RunId)>, limit: usize) -> Result<Vec<(u64, RunId)>, Error> {
        self.inner.wakes(after, limit)
    }

    fn queued(&self, queue: &str, after: Option<RunId>, limit: usize) -> Result<Vec<RunId>, Error> {
        self.inner.queued(queue, after, limit)
    }

    fn queues(&self) -> Result<Vec<Box<str>>, Error> {
        self.inner.queues()
    }

    fn arrivals(&self, run: RunId) -> Result<Vec<(ArrivalId, Arrival)>, Error> {
        self.inner.arrivals(run)
    }

    fn arrived(&self) -> Result<Vec<RunId>, Error> {
        self.inner.arrived()
    }

    fn asked(&self, run: RunId) -> Result<Option<Asked>, Error> {
        self.inner.asked(run)
    }

    fn asked_runs(&self) -> Result<Vec<RunId>, Error> {
        self.inner.asked_runs()
    }

    fn kv(&self, key: &KvKey) -> Result<(Seen, Option<Bytes>), Error> {
        self.inner.kv(key)
    }

    fn file(&self, id: &FileId) -> Result<Option<(FileFacts, Bytes)>, Error> {
        self.inner.file(id)
    }

    fn waiters(&self, name: &SignalName, limit: usize) -> Result<Vec<RunId>, Error> {
        self.inner.waiters(name, limit)
    }

    fn kept_signals(&self, name: &SignalName) -> Result<Vec<(ArrivalId, KeptSignal)>, Error> {
        self.inner.kept_signals(name)
    }
}

/// What clients were told: it stands outside the process.
#[derive(Default)]
pub(super) struct Ledger {
    /// The run that each started key was answered with.
    pub(super) started: BTreeMap<(&'static str, u64), BTreeSet<RunId>>,
    /// Actions that were acknowledged, by their place in the scenario.
    done: BTreeSet<usize>,
}

/// The time when a world begins.
const BEGIN_MS: u64 = 1_800_000_000_000;

/// How long the last life may take until everything is done.
const PATIENCE: Duration = Duration::from_secs(3_600);

pub(super) fn live(seed: u64, mistake: Option<Mistake>) -> Told {
    let scenario = Arc::new(Scenario::of(seed));
    let book = Arc::new(Book::of(&scenario));
    let store = Arc::new(MemoryRunStore::default());
    let outside = Outside::new(seed, scenario.outages, scenario.slow_ms);
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let mut told = Told::default();
    let mut base_ms = BEGIN_MS;
    let deaths = scenario.lives.iter().copied().map(Some).chain([None]);
    for dies_at in deaths {
        // A runtime of its own for each life: dropping it ends everything that goes on in it, as a crash does.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (store, outside, book) = (store.clone(), outside.clone(), book.clone());
        let (scenario, ledger) = (scenario.clone(), ledger.clone());
        let life = Life { scenario, book, store, outside, ledger, dies_at, base_ms, mistake };
        let (lived_ms, commits, ended) = runtime.block_on(life.live());
        drop(runtime);
        told.commits += commits;
        base_ms += lived_ms + 1 + seed % 97;
        match ended {
            Ended::Died => told.crashes += 1,
            Ended::Done => break,
            Ended::Stuck(what) => {
                told.wrong.push(format!("not done after an hour: {what}"));
                break;
            }
        }
    }
    told.wrong.extend(outside.all_wrong());
    told.requests = outside.requests().values().map(|(_, count)| count).sum();
    let ledger = ledger.lock().unwrap();
    told.runs = audit(&store, &book, &ledger, &outside, &mut told.wrong);
    told
}

enum Ended {
    Died,
    Done,
    Stuck(String),
}

struct Life {
    scenario: Arc<Scenario>,
    book: Arc<Book>,
    store: Arc<MemoryRunStore>,
    outside: Arc<Outside>,
    ledger: Arc<Mutex<Ledger>>,
    dies_at: Option<u64>,
    base_ms: u64,
    mistake: Option<Mistake>,
}

impl Life {
    /// How long it lasted, how many commits it made, and how it ended.
    async fn live(self) -> (u64, u64, Ended) {
        let began = tokio::time::Instant::now();
        let dying = Arc::new(Dying {
            inner: self.store.clone(),
            outside: self.outside.clone(),
            commits: AtomicU64::new(0),
            dies_at: self.dies_at,
            dead: Notify::new(),
        });
        let executor = self.executor(&dying, began);
        tokio::spawn(executor.clone().run_pump());
        let life = Arc::new(self);
        for place in 0..life.scenario.actions.len() {
            tokio::spawn(life.clone().act(executor.clone(), place, began));
        }
        tokio::spawn(life.clone().people(executor.clone()));
        let ended = tokio::select! {
            biased;
            () = dying.dead.notified() => Ended::Died,
            ended = life.until_done() => ended,
        };
        let lived_ms = u64::try_from(began.elapsed().as_millis()).unwrap();
        (lived_ms, dying.commits.load(Ordering::Relaxed), ended)
    }

    fn executor(&self, dying: &Arc<Dying>, began: tokio::time::Instant) -> Arc<Executor> {
        let store = self.store.clone();
        let is_intended = move |run, step: &str, call: Option<&str>| is_intended(&store, run, step, call);
        let executor = Executor::new(Parts {
            components: Arc::new(Guests { outside: self.outside.clone() }),
            programs: self.book.clone(),
            store: dying.clone(),
            vault: Arc::new(NoSecrets),
            outbound: Arc::new(Servers { outside: self.outside.clone(), is_intended: Box::new(is_intended) }),
            clock: Arc::new(SimClock { base_ms: self.base_ms, began, outside: self.outside.clone() }),
            environment: Arc::new(Environment::new(jiff::tz::TimeZone::UTC)),
        });
        let faults = &executor.faults;
        faults.skip_intents.store(self.mistake == Some(Mistake::SkipIntents), Ordering::Relaxed);
        faults.lose_staged.store(self.mistake == Some(Mistake::LoseStaged), Ordering::Relaxed);
        faults.drop_events.store(self.mistake == Some(Mistake::DropEvents), Ordering::Relaxed);
        executor
    }

    /// Ends when every action was acknowledged, every run has ended, and nothing lies in the store for anybody.
    async fn until_done(&self) -> Ended {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let acknowledged = self.ledger.lock().unwrap().done.len() == self.scenario.actions.len();
            let goes_on = self.store.runs(&RunFilter { limit: 10_000, ..RunFilter::default() }).unwrap().0;
            let goes_on: Vec<RunHead> = goes_on.into_iter().filter(|head| head.place != Place::Ended).collect();
            let waits = self.store.arrived().unwrap().len() + self.store.asked_runs().unwrap().len();
            if acknowledged && goes_on.is_empty() && waits == 0 {
                return Ended::Done;
            }
            if tokio::time::Instant::now() > deadline {
                let runs: Vec<String> =
                    goes_on.iter().map(|head| format!("{} {} {:?}", head.id, head.workflow, head.place)).collect();
                let (arrived, asked) = (self.store.arrived().unwrap(), self.store.asked_runs().unwrap());
                let arrivals: Vec<String> =
                    arrived.iter().map(|run| format!("{run}: {:?}", self.store.arrivals(*run).unwrap())).collect();
                return Ended::Stuck(format!(
                    "all acknowledged: {acknowledged}; arrived: {arrivals:?}; asked for: {asked:?}; go on: {runs:?}"
                ));
            }
        }
    }

    /// Asks for something when its time has come, until it is acknowledged.
    async fn act(self: Arc<Self>, executor: Arc<Executor>, place: usize, began: tokio::time::Instant) {
        if self.ledger.lock().unwrap().done.contains(&place) {
            return;
        }
        let planned = &self.scenario.actions[place];
        let passed_ms = self.base_ms - BEGIN_MS;
        tokio::time::sleep_until(began + Duration::from_millis(planned.at_ms.saturating_sub(passed_ms))).await;
        match &planned.action {
            Action::Start { workflow, number, waits } => self.start(&executor, workflow, *number, *waits).await,
            Action::StartTwice { workflow, number } => {
                tokio::join!(self.start(&executor, workflow, *number, false), self.start(&executor, workflow, *number, false));
            }
            Action::Signal { name } => {
                if let Some(run) = self.newest(|head| head.place != Place::Ended) {
                    let _ = executor.signal_run(run, name, Json::null()).await;
                }
            }
            Action::SignalKey { workflow, key } => {
                let workflow: Key = workflow.parse().unwrap();
                let name = SignalName { workflow, name: "paid".into(), key: key.as_str().into() };
                let _ = executor.signal(&name, Json::null()).await;
            }
            Action::Cancel => {
                if let Some(run) = self.newest(|head| head.place != Place::Ended) {
                    let _ = executor.cancel(run, None).await;
                }
            }
            Action::Rerun { from } => {
                if let Some(run) = self.newest(|head| head.place == Place::Ended) {
                    let journal = self.store.journal(run).unwrap();
                    let called = |entry: &Entry| match entry {
                        Entry::Called(called) => Some(called.activation.clone()),
                        _ => None,
                    };
                    let from = journal.iter().filter_map(called).last().filter(|_| *from);
                    let _ = executor.rerun(run, from, None).await;
                }
            }
        }
        self.ledger.lock().unwrap().done.insert(place);
    }

    async fn start(&self, executor: &Arc<Executor>, workflow: &'static str, number: u64, waits: bool) {
        let start = || Start { dedup: Some(number.to_string().into()), ..Start::new(self.book.get(workflow), Json::null()) };
        loop {
            let run = if waits {
                match executor.begin_waiting(start(), Vec::new()) {
                    Ok(Begun::New(Waiting { run, outcome })) => outcome.await.ok().and_then(Result::ok).map(|_| run),
                    Ok(Begun::Duplicate(run)) => executor.wait_for_end(run).await.ok().map(|()| run),
                    Err(_) => None,
                }
            } else {
                match executor.begin(vec![start()], None, Staged::default(), Vec::new()).await {
                    Ok((begun, _)) => begun.first().map(|begun| match begun {
                        Begun::New(run) | Begun::Duplicate(run) => *run,
                    }),
                    Err(_) => None,
                }
            };
            match run {
                Some(run) => {
                    self.ledger.lock().unwrap().started.entry((workflow, number)).or_default().insert(run);
                    return;
                }
                // Refused: the host is busy.
                None => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    fn newest(&self, fits: impl Fn(&RunHead) -> bool) -> Option<RunId> {
        let runs = self.store.runs(&RunFilter { limit: 10_000, ..RunFilter::default() }).unwrap().0;
        runs.into_iter().find(|head| fits(head)).map(|head| head.id)
    }

    /// People look after a while at what only they can do.
    async fn people(self: Arc<Self>, executor: Arc<Executor>) {
        loop {
            tokio::time::sleep(Duration::from_millis(700)).await;
            let runs = self.store.runs(&RunFilter { limit: 10_000, ..RunFilter::default() }).unwrap().0;
            for head in runs.into_iter().filter(|head| head.place != Place::Ended) {
                let Some(state) = state_of(&self.store, &self.book, head.id) else { continue };
                for (_, activation) in state.activations() {
                    let path: Box<str> = (*activation.path).into();
                    if activation.phase == Phase::Unknown {
                        let decision = if self.outside.chance(50) { Decision::Retry } else { Decision::Succeed(Json::null()) };
                        let _ = executor.decide(head.id, path.clone(), decision, None).await;
                    }
                    if activation.waits.iter().any(|open| matches!(open.wait.kind, WaitKind::Task(_))) && self.outside.chance(50)
                    {
                        let (task, user, action) = ("other".into(), "ada".into(), "ok".into());
                        let act = ActOn { activation: path, task, user, action, values: serde_json::json!({}).into() };
                        let _ = executor.act(head.id, act).await;
                    }
                }
            }
        }
    }
}

/// The state that a run's stored journal folds to.
pub(super) fn state_of(store: &MemoryRunStore, book: &Book, run: RunId) -> Option<State> {
    let head = store.run(run).unwrap()?;
    crate::executor::fold(&book.get(head.workflow.as_str()), run, &store.journal(run).unwrap())
}

/// Whether a run's journal says that this request may leave: an intent of the call whose key it names, or a wait for it.
fn is_intended(store: &MemoryRunStore, run: RunId, step: &str, call: Option<&str>) -> bool {
    store.journal(run).unwrap().iter().any(|entry| match (entry, call) {
        (Entry::Intended { activation, .. }, Some(call)) => idempotency_key(run, activation, 0) == call,
        (Entry::Called(called), None) => {
            let is_of = called.activation.rsplit('/').next().and_then(|last| last.split('~').next()) == Some(step);
            let waits = |wait: &crate::run::Wait| matches!(wait.kind, WaitKind::Request(_));
            is_of && matches!(&called.outcome, Outcome::Pending { wait, .. } if wait.iter().any(waits))
        }
        _ => false,
    })
}
