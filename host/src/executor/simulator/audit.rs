//! What must be true when everything is done.

use std::collections::BTreeMap;

use super::guests::Outside;
use super::life::{Book, Ledger};
use crate::run::{Called, Entry, KvKey, Outcome, RunId, Staged, State};
use crate::store::{MemoryRunStore, Place, RunFilter, RunHead, RunStore};

/// Adds what is wrong, and returns the number of runs.
pub(super) fn audit(store: &MemoryRunStore, book: &Book, ledger: &Ledger, outside: &Outside, wrong: &mut Vec<String>) -> usize {
    let runs = store.runs(&RunFilter { limit: 100_000, ..RunFilter::default() }).unwrap().0;
    let mut counters: BTreeMap<KvKey, u64> = BTreeMap::new();
    let mut children: BTreeMap<String, Vec<RunId>> = BTreeMap::new();
    let mut retries: BTreeMap<RunId, usize> = BTreeMap::new();
    for head in &runs {
        if head.place != Place::Ended || !head.status.is_end() {
            wrong.push(format!("{} of {} has not ended: {:?} {}", head.id, head.workflow, head.place, head.status));
        }
        let journal = store.journal(head.id).unwrap();
        audit_journal(head, &journal, book, &mut counters, wrong);
        if let Some(Entry::Accepted(accepted)) = journal.first()
            && let Some(parent) = &accepted.parent
        {
            children.entry(format!("{} {} {}", parent.run, parent.activation, parent.id)).or_default().push(head.id);
        }
        for entry in &journal {
            if let Entry::Called(called) = entry {
                for started in &called.effects.started {
                    if is_first_journal_of(head, &journal, called) && store.run(*started).unwrap().is_none() {
                        wrong.push(format!("{started}, which {} started, is not there", head.id));
                    }
                }
            }
        }
        retries.insert(head.id, journal.len());
    }
    for (wait, runs) in children.iter().filter(|(_, runs)| runs.len() > 1) {
        wrong.push(format!("the wait {wait} has {} runs", runs.len()));
    }
    for (key, expected) in &counters {
        let stored = store.kv(key).unwrap().1.map_or(0, |bytes| String::from_utf8_lossy(&bytes).parse::<u64>().unwrap());
        if stored != *expected {
            wrong.push(format!("the counter {} of {} is {stored}, and {expected} were counted", key.key, key.workflow));
        }
    }
    for ((workflow, number), runs) in &ledger.started {
        let first = store.run_of_dedup(&workflow.parse().unwrap(), &number.to_string()).unwrap();
        if runs.len() != 1 || first != runs.first().copied() {
            wrong.push(format!("start {number} of {workflow} was answered with {runs:?}, and its key stands for {first:?}"));
        }
        if runs.iter().any(|run| store.run(*run).unwrap().is_none()) {
            wrong.push(format!("start {number} of {workflow} was acknowledged and is lost"));
        }
    }
    audit_requests(store, outside, wrong);
    runs.len()
}

/// A run that repeats another's entries shows what that one started, and starts nothing itself by them.
fn is_first_journal_of(head: &RunHead, journal: &[Entry], called: &Called) -> bool {
    head.rerun_of.is_none() || journal.iter().rev().find_map(as_called).is_some_and(|last| std::ptr::eq(last, called))
}

fn as_called(entry: &Entry) -> Option<&Called> {
    match entry {
        Entry::Called(called) => Some(called),
        _ => None,
    }
}

/// Folds a journal entry by entry, and adds what its calls counted and kept.
fn audit_journal(head: &RunHead, journal: &[Entry], book: &Book, counters: &mut BTreeMap<KvKey, u64>, wrong: &mut Vec<String>) {
    // `WEFT_SIM_JOURNAL` names a run or a workflow whose journals are to be seen.
    if std::env::var("WEFT_SIM_JOURNAL").is_ok_and(|wanted| wanted == head.id.to_string() || wanted == head.workflow.as_str()) {
        println!("{head:?}");
        journal.iter().for_each(|entry| println!("{entry:?}"));
    }
    let program = book.get(head.workflow.as_str());
    let Some(mut state) = journal.first().and_then(|first| State::begin(&program.plan, head.id, first)) else {
        return wrong.push(format!("the journal of {} does not begin", head.id));
    };
    for entry in &journal[1..] {
        if state.end().is_some() {
            return wrong.push(format!("the journal of {} goes on after its end", head.id));
        }
        let mut entry = entry.clone();
        if let Entry::Called(called) = &mut entry {
            // What a re-run repeats was counted by the run before it, which was earlier.
            let is_own = called.at_ms >= head.accepted_ms && called.retry_at_ms.is_none();
            called.effects.staged = if is_own { counted(called, &program, &state) } else { Staged::default() };
            if state.find(&called.activation).is_none() {
                wrong.push(format!("{} was called in {} and was not open", called.activation, head.id));
            }
        }
        state.apply(&program.plan, &entry);
    }
    // Whatever a branch that was dropped had counted is in no outgoing.
    for start in state.take_outgoing().staged.starts {
        let key: KvKey = KvKey { plugin: "sim/guests".into(), workflow: head.workflow.clone(), key: name_of(&start.workflow) };
        *counters.entry(key).or_default() += 1;
    }
    match state.end() {
        None => wrong.push(format!("the journal of {} does not end", head.id)),
        Some(end) if end.status != head.status => {
            wrong.push(format!("{} ended {} by its journal, and its head says {}", head.id, end.status, head.status));
        }
        Some(_) => {}
    }
}

/// The counter that a call added to, as a start: starts are kept one by one, where writes to one key would become one.
fn counted(called: &Called, program: &crate::executor::Program, state: &State) -> Staged {
    let mut staged = Staged::default();
    let Some(activation) = state.find(&called.activation).and_then(|id| state.activation(id)) else { return staged };
    let step = program.plan.step(activation.step);
    let kind = &*program.node(activation.step).name;
    let name = match (kind, &called.outcome) {
        ("count", Outcome::Done(_)) => {
            let config = activation.config.as_ref().map(|(config, _)| config.clone()).or_else(|| called.config.clone());
            match config.as_ref().and_then(|config| config.value()["counter"].as_str()) {
                Some("shared") => "shared".to_owned(),
                _ => step.key.to_string(),
            }
        }
        ("flaky" | "slow" | "delay" | "signal" | "signal-key" | "task", Outcome::Done(_)) => step.key.to_string(),
        ("ticks", Outcome::Done(_)) => step.key.to_string(),
        // The first call only begins to wait.
        ("ticks", Outcome::Pending { .. }) if activation.calls > 0 => step.key.to_string(),
        _ => return staged,
    };
    let workflow = format!("c-{}", hex::encode(name)).parse().unwrap();
    staged.starts.push(crate::run::StagedStart { run: RunId::new(0, [0; 10]), workflow, context: crate::workflow::Json::null() });
    staged
}

fn name_of(workflow: &crate::workflow::Key) -> Box<str> {
    let bytes = hex::decode(workflow.as_str().trim_start_matches("c-")).unwrap();
    String::from_utf8(bytes).unwrap().into()
}

/// A request is made again only after a crash, a failure that passes, or a person's word.
fn audit_requests(store: &MemoryRunStore, outside: &Outside, wrong: &mut Vec<String>) {
    for (target, count) in outside.requests().into_values() {
        let (run, rest) = target.split_once('/').unwrap_or_default();
        let run: RunId = run.parse().unwrap();
        let step = rest.split('?').next().unwrap_or_default();
        let journal = store.journal(run).unwrap();
        if journal.is_empty() {
            wrong.push(format!("{target} was sent by a run that is not there"));
            continue;
        }
        let is_of = |path: &str| path.rsplit('/').next().and_then(|last| last.split('~').next()) == Some(step);
        let intents = journal.iter().filter(|entry| matches!(entry, Entry::Intended { activation, .. } if is_of(activation)));
        let intents = intents.count();
        if intents > 0 && count > intents {
            wrong.push(format!("{target} was sent {count} times with {intents} intents"));
        }
    }
}
