//! Tells a run's journal to people, entry by entry.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::called::{Called, Effects, Failure, Outcome, Status};
use super::entry::{Arrival, Decision, Entry};
use super::id::RunId;
use super::view::{ActivationView, ArrivalView, FileView, ResponseView, View, named, raw};

/// What a run or a file takes in a list of them.
const REFERENCE_BYTES: usize = 200;

/// Which activations are shown with what is in them.
#[derive(Clone, Debug)]
pub struct Shown {
    /// By their places in the order of first calls.
    pub places: Range<usize>,
    /// Bytes of their documents: the first that exceeds them is the last.
    pub bytes_max: usize,
}

impl Shown {
    /// All of them.
    pub fn all() -> Self {
        Self { places: 0..usize::MAX, bytes_max: usize::MAX }
    }
}

/// Follows a journal from its first entry on, in one pass.
pub struct Teller<'a> {
    run: RunId,
    /// Writes a time in milliseconds since 1970.
    at: &'a dyn Fn(u64) -> String,
    view: View,
    /// The newest activation of each path.
    newest: BTreeMap<Box<str>, usize>,
    shown: Shown,
    /// Of the documents of those that are shown.
    bytes: usize,
}

impl<'a> Teller<'a> {
    /// One who has heard nothing yet. `at` writes a time in milliseconds since 1970.
    pub fn new(run: RunId, shown: Shown, at: &'a dyn Fn(u64) -> String) -> Self {
        Self { run, at, view: View::default(), newest: BTreeMap::new(), shown, bytes: 0 }
    }

    /// What was heard.
    pub fn finish(self) -> View {
        let Self { mut view, newest, shown, .. } = self;
        let is_over = |place: &usize| view.steps.get(*place).is_some_and(|step| step.status.is_end());
        let over: BTreeSet<Box<str>> = newest.into_iter().filter(|(_, place)| is_over(place)).map(|(path, _)| path).collect();
        let end = shown.places.end.min(view.steps.len());
        let next = (end < view.steps.len()).then_some(end);
        view.steps.truncate(end);
        view.steps.drain(..shown.places.start.min(end));
        View { over, next, ..view }
    }

    /// Hears of the next entry.
    pub fn add(&mut self, entry: &Entry) {
        match entry {
            Entry::Accepted(accepted) => self.view.context = Some(raw(&accepted.context)),
            Entry::Started { .. } => {}
            Entry::Intended { at_ms, activation, .. } => {
                let place = self.place(activation, *at_ms);
                self.view.steps[place].is_outside = true;
            }
            Entry::Called(called) => self.called(called),
            Entry::Woke { activation, id, .. } | Entry::Responded { activation, id, .. } => self.fired(activation, id),
            Entry::Arrived { at_ms, arrival } => self.arrived((self.at)(*at_ms), arrival),
            Entry::TimedOut { activation: None, .. } => self.aborted(),
            Entry::TimedOut { at_ms, activation: Some(path) } => {
                let place = self.place(path, *at_ms);
                self.change(place, |step| step.failed(&Failure::timed_out("the step did not end in time")));
                self.end_inside(path);
            }
            Entry::Lost { at_ms, activation } => {
                let place = self.place(activation, *at_ms);
                self.view.steps[place].status = Status::Unknown;
            }
            Entry::Restarted { activation, branch, .. } => self.end_inside(&format!("{activation}/{branch}")),
        }
    }

    /// The place of an activation, which is made when it is first heard of. One that is over and comes again is another: an atomic
    /// branch began again.
    fn place(&mut self, path: &str, at_ms: u64) -> usize {
        match self.newest.get(path) {
            Some(place) if !self.view.steps[*place].status.is_end() => *place,
            _ => {
                let place = self.view.steps.len();
                self.view.steps.push(ActivationView::new(path, (self.at)(at_ms)));
                self.newest.insert(path.into(), place);
                place
            }
        }
    }

    /// Changes what is told of an activation, as far as it is shown.
    fn change(&mut self, place: usize, change: impl FnOnce(&mut ActivationView)) {
        let step = &mut self.view.steps[place];
        let before = step.bytes();
        change(step);
        if !self.shown.places.contains(&place) {
            step.forget();
            return;
        }
        self.bytes = self.bytes - before + step.bytes();
        while self.bytes > self.shown.bytes_max {
            let last = self.shown.places.end.min(self.view.steps.len()) - 1;
            if last <= self.shown.places.start {
                break;
            }
            self.bytes -= self.view.steps[last].bytes();
            self.view.steps[last].forget();
            self.shown.places.end = last;
        }
    }

    fn called(&mut self, called: &Called) {
        let Effects { output, response, messages, started, files, .. } = &called.effects;
        let (run, at) = (self.run, self.at);
        let place = self.place(&called.activation, called.at_ms);
        self.change(place, |step| {
            if let Some(config) = &called.config {
                step.input = Some(raw(&named(config, &called.secrets)));
            }
            step.is_outside = false;
            step.took_us += u64::from(called.took_us);
            step.calls += 1;
            let texts = called.log.iter().map(|line| line.message.len()).chain(messages.iter().map(|message| message.len()));
            step.grown += texts.sum::<usize>() + REFERENCE_BYTES * (started.len() + files.len());
            step.log.extend(called.log.iter().cloned());
            step.log_dropped += called.log_dropped;
            step.used.add(&called.used);
            step.run_output = output.as_ref().map(raw).or(step.run_output.take());
            step.messages.extend(messages.iter().cloned());
            step.runs.extend(started.iter().map(ToString::to_string));
            step.files.extend(files.iter().map(|(id, facts)| FileView { id: id.to_string(), facts: facts.clone() }));
            if let Some(response) = response {
                let body = String::from_utf8_lossy(&response.body).into_owned();
                step.response = Some(ResponseView { status: response.status, headers: response.headers.clone(), body });
            }
            match &called.outcome {
                Outcome::Failed(failure) if called.retry_at_ms.is_some() => {
                    step.failed(failure);
                    step.status = Status::Retrying;
                }
                Outcome::Failed(failure) => step.failed(failure),
                Outcome::Pending { wait, .. } => {
                    (step.status, step.failure) = (Status::Waiting, None);
                    step.wait_for(run, called.at_ms, wait, at);
                }
                Outcome::Done(output) | Outcome::GoBack { output, .. } => step.succeeded(output),
                Outcome::EndRun { status, .. } => step.end(*status),
            }
            step.retry_at = called.retry_at_ms.map(at);
        });
        if let Some(output) = output {
            self.view.output = Some(raw(output));
        }
        match &called.outcome {
            Outcome::Pending { .. } => {}
            Outcome::EndRun { status, .. } => self.end_run(&called.activation, *status),
            _ if called.retry_at_ms.is_some() => {}
            _ => self.end_inside(&called.activation),
        }
    }

    fn fired(&mut self, path: &str, id: &str) {
        if let Some(place) = self.newest.get(path) {
            self.change(*place, |step| step.waits.retain(|wait| &*wait.id != id));
        }
    }

    fn arrived(&mut self, at: String, arrival: &Arrival) {
        let (kind, activation, what, by) = match arrival {
            Arrival::Signal { name, .. } => ("signal", None, Some(name.clone()), None),
            Arrival::TaskActed { activation, user, action, .. } => {
                ("task-acted", Some(activation), Some(action.clone()), Some(user.clone()))
            }
            Arrival::ChildEnded { activation, id, .. } => {
                self.fired(activation, id);
                ("child-ended", Some(activation), None, None)
            }
            Arrival::Cancel { reason, by } => {
                self.aborted();
                ("cancel", None, Some(reason.as_str().into()), by.clone())
            }
            Arrival::Decided { activation, decision, by } => {
                if let Some(place) = self.newest.get(activation) {
                    self.change(*place, |step| {
                        step.is_outside = false;
                        match decision {
                            Decision::Retry => step.status = Status::Waiting,
                            Decision::Succeed(output) => step.succeeded(output),
                            Decision::Fail(message) => step.failed(&Failure::error("outcome-unknown", message.clone())),
                        }
                    });
                }
                ("decided", Some(activation), None, by.clone())
            }
        };
        self.view.arrivals.push(ArrivalView { at, kind, activation: activation.cloned(), what, by });
    }

    /// The run was stopped: so is everything in it, but of a call that reached outside nobody knows.
    fn aborted(&mut self) {
        self.view.steps.iter_mut().for_each(ActivationView::abort);
    }

    /// With the run everything ends; the steps around the one that ended it take the run's status.
    fn end_run(&mut self, ended: &str, status: Status) {
        for (place, _) in ended.match_indices('/') {
            let around = self.newest.get(&ended[..place]).map(|place| &mut self.view.steps[*place]);
            if let Some(step) = around.filter(|step| !step.status.is_end()) {
                step.end(status);
            }
        }
        self.aborted();
    }

    /// What ends with a step or a branch: whatever still ran in it.
    fn end_inside(&mut self, ended: &str) {
        // `0` comes after `/`.
        let inside = self.newest.range(Box::from(format!("{ended}/"))..Box::from(format!("{ended}0")));
        for (_, place) in inside {
            self.view.steps[*place].abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::run::{BranchStart, Reason, SecretUse, Usage, Wait, WaitKind};
    use crate::workflow::Json;

    fn called(path: &str, outcome: Outcome) -> Called {
        Called {
            activation: path.into(),
            at_ms: 0,
            took_us: 7,
            attempt: 1,
            retry_at_ms: None,
            config: Some(json!("weft-secret-1").into()),
            secrets: vec![SecretUse { token: "weft-secret-1".into(), name: "x".into() }],
            outcome,
            effects: Effects::default(),
            log: Vec::new(),
            log_dropped: 0,
            used: Usage::default(),
            recorded: None,
        }
    }

    fn entry(path: &str, outcome: Outcome) -> Entry {
        Entry::Called(Box::new(called(path, outcome)))
    }

    fn pending() -> Outcome {
        let start = BranchStart { branch: "b".into(), id: "1".into(), scope: Json::null(), atomic: false };
        let timer = Wait { id: "t".into(), kind: WaitKind::Timer(5) };
        Outcome::Pending { state: Json::null(), start: vec![start], stop: Vec::new(), wait: vec![timer] }
    }

    fn told_of(entries: &[Entry], shown: Shown) -> View {
        let mut teller = Teller::new(RunId::new(1, [0; 10]), shown, &|ms| ms.to_string());
        entries.iter().for_each(|entry| teller.add(entry));
        teller.finish()
    }

    fn told(entries: &[Entry]) -> View {
        told_of(entries, Shown::all())
    }

    fn statuses(entries: &[Entry]) -> Vec<(String, &'static str)> {
        told(entries).steps.into_iter().map(|step| (step.path.into(), step.status.as_str())).collect()
    }

    fn owned<const N: usize>(want: [(&str, &'static str); N]) -> Vec<(String, &'static str)> {
        want.map(|(path, status)| (path.to_owned(), status)).to_vec()
    }

    #[test]
    fn what_ends_with_a_step_or_a_run_is_shown_so() {
        let end = Outcome::EndRun { status: Status::Failed, message: None };
        let entries = [entry("a", pending()), entry("a/1/b", pending()), entry("a/2/c", pending()), entry("a/1/b/1/d", end)];
        let want = [("a", "failed"), ("a/1/b", "failed"), ("a/2/c", "aborted"), ("a/1/b/1/d", "failed")];
        assert_eq!(statuses(&entries), owned(want));

        let failed = Outcome::Failed(Failure::error("x", "y"));
        let entries = [entry("a", pending()), entry("a/1/b", pending()), entry("ab", pending()), entry("a", failed)];
        assert_eq!(statuses(&entries), owned([("a", "error"), ("a/1/b", "aborted"), ("ab", "waiting")]));
    }

    #[test]
    fn of_a_call_that_reached_outside_a_cancelled_run_knows_nothing() {
        let intended = Entry::Intended { at_ms: 1, activation: "b".into(), attempt: 1 };
        let cancel =
            Entry::Arrived { at_ms: 2, arrival: Arrival::Cancel { reason: Reason::ManualCancel, by: Some("ada".into()) } };
        let entries = [entry("a", pending()), intended, cancel];
        assert_eq!(statuses(&entries), owned([("a", "aborted"), ("b", "unknown")]));
        let view = told(&entries);
        assert_eq!((view.arrivals[0].what.as_deref(), view.arrivals[0].by.as_deref()), (Some("manual-cancel"), Some("ada")));
        assert!(view.steps[0].waits.is_empty());
    }

    #[test]
    fn waits_are_shown_until_they_are_over() {
        let woke = Entry::Woke { at_ms: 5, activation: "a".into(), id: "t".into() };
        let view = told(&[entry("a", pending())]);
        assert_eq!((view.steps[0].waits[0].kind, view.steps[0].waits[0].at.as_deref()), ("timer", Some("5")));
        assert!(told(&[entry("a", pending()), woke]).steps[0].waits.is_empty());
    }

    #[test]
    fn a_call_that_is_made_again_says_when_and_why() {
        let failed = Outcome::Failed(Failure::error("x", "y"));
        let retried = Called { retry_at_ms: Some(9), ..called("a", failed) };
        let view = told(&[Entry::Called(Box::new(retried))]);
        let step = &view.steps[0];
        assert_eq!((step.status, step.retry_at.as_deref()), (Status::Retrying, Some("9")));
        assert_eq!(&*step.failure.as_ref().unwrap().code, "x");
    }

    #[test]
    fn a_part_of_the_steps_is_shown_and_where_the_next_begins() {
        let done = |number: u32| entry(&format!("loop/{number}/x"), Outcome::Done(json!("y".repeat(98)).into()));
        let mut entries = vec![entry("loop", pending())];
        entries.extend((1..=9).map(done));
        entries.push(entry("loop", Outcome::Done(json!("z".repeat(98)).into())));
        let shown = |places, bytes_max| {
            let View { steps, next, over, .. } = told_of(&entries, Shown { places, bytes_max });
            assert_eq!(over.len(), 10, "also of those that are not shown");
            assert!(steps.iter().all(|step| step.output.is_some() && step.calls > 0), "{steps:?}");
            (steps.iter().map(|step| step.path.to_string()).collect::<Vec<_>>(), next)
        };
        let named = |places: Range<usize>| -> Vec<String> {
            places.map(|place| if place == 0 { "loop".into() } else { format!("loop/{place}/x") }).collect()
        };
        assert_eq!(shown(0..usize::MAX, usize::MAX), (named(0..10), None));
        assert_eq!(shown(0..4, usize::MAX), (named(0..4), Some(4)));
        assert_eq!(shown(4..8, usize::MAX), (named(4..8), Some(8)));
        assert_eq!(shown(8..12, usize::MAX), (named(8..10), None));
        assert_eq!(shown(10..12, usize::MAX), (named(0..0), None));
        // Each has 100 bytes of output and 19 of config; the first is shown whatever it has.
        assert_eq!(shown(2..9, 3 * 119), (named(2..5), Some(5)));
        assert_eq!(shown(2..9, 0), (named(2..3), Some(3)));
        assert_eq!(shown(0..9, 0), (named(0..1), Some(1)), "what is said of a step later counts as well");
    }

    #[test]
    fn a_secret_is_named_and_calls_are_added_up() {
        let view = told(&[entry("a", pending()), entry("a", Outcome::Done(json!(1).into()))]);
        let step = &view.steps[0];
        assert_eq!(step.input.as_ref().unwrap().get(), "\"{{$secrets.x}}\"");
        assert_eq!((step.calls, step.took_us, step.step.as_ref()), (2, 14, "a"));
    }
}
