//! One run, from where it stands to its end or to where it waits.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::call::{Answered, Frame, idempotency_key};
use super::commit::Unstored;
use super::flights::{Flight, Flights, Landed, side_by_side};
use super::live::{Caller, LiveRun};
use super::program::{Program, ProgramError};
use super::scheduler::Slot;
use super::services::Intent;
use super::{Error, Executor, Finished, Outcome};
use crate::capability::with_key;
use crate::digest::Digest;
use crate::limits::{HTTP_REDIRECTS_MAX, QUARANTINE_LOOK_MS, RUN_UNSTORED_ENTRIES_MAX, RUN_UNSTORED_MS_MAX};
use crate::plugin::{Instance, Sender};
use crate::run::{
    ActivationId, Arrival, Command, Effects, Entry, Fault, Outcome as CallOutcome, Request, Response, State, Status, Usage, check,
};
use crate::store::{Change, CommitError, KeptSignal, Place, SignalName};
use crate::workflow::Key;

/// A run that is being carried out.
pub(super) struct Running {
    pub(super) executor: Arc<Executor>,
    pub(super) program: Arc<Program>,
    pub(super) state: State,
    /// What is not stored yet, and what the store has.
    pub(super) unstored: Unstored,
    /// The workflows of the runs that led to this one.
    pub(super) stack: Arc<[Key]>,
    pub(super) live: Arc<LiveRun>,
    pub(super) slot: Option<Slot>,
    pub(super) caller: Option<Caller>,
    /// Instances of this run that wait for its next call, so that one serves several steps of a component.
    pub(super) idle: Vec<Instance>,
    /// Whether somebody else may carry it out.
    pub(super) has_left: bool,
    /// Plugins in quarantine that it would call.
    pub(super) held_up_by: BTreeSet<Digest>,
}

/// How far a run came.
enum Reached {
    /// Its end.
    End(Finished),
    /// A wait: the run is not carried out any more.
    Wait,
}

impl Running {
    /// Carries out the run as far as it goes now.
    pub(super) async fn drive(mut self) {
        let result = self.go().await;
        let run = self.unstored.head.id;
        self.leave();
        match result {
            Ok(Reached::Wait) => {}
            Ok(Reached::End(finished)) => {
                self.executor.live.ended(run);
                self.executor.progress.forget(run);
                self.executor.forget_held_up(run);
                self.executor.tallies.ended(&self.program.plan.workflow, self.program.plan.revision, finished.end.status);
                if self.live.take_mail() {
                    // It came too late, and is to be thrown away.
                    self.executor.poke(run);
                }
                if let Some(caller) = self.caller.take() {
                    let _ = caller.send(Ok(Outcome::Ended(Box::new(finished), std::mem::take(&mut self.idle))));
                }
            }
            Err(error) => {
                tracing::error!(%run, %error, "a run stopped; it goes on at the next start");
                if let Some(caller) = self.caller.take() {
                    let _ = caller.send(Err(error));
                }
            }
        }
    }

    /// Somebody else may carry out the run from now on.
    fn leave(&mut self) {
        self.slot = None;
        if !std::mem::replace(&mut self.has_left, true) {
            self.executor.live.remove(self.unstored.head.id);
        }
        // Its dedup key is in the store now, or will never be.
        self.executor.unreserve(&mut self.unstored);
    }

    async fn go(&mut self) -> Result<Reached, Error> {
        let mut flights = Flights::default();
        let (intents, mut intended) = mpsc::unbounded_channel();
        let mut unstored = std::pin::pin!(tokio::time::sleep(RUN_UNSTORED_MS_MAX));
        loop {
            if self.live.take_mail() {
                self.take_mail().await?;
            }
            self.pass_time().await?;
            if self.state.end().is_some() {
                return self.finish().await.map(Reached::End);
            }
            if self.program.is_bare {
                // It was to end by what had come for it.
                return Err(ProgramError::MissingPin(self.program.plan.workflow.to_string()).into());
            }
            flights.keep(&self.state);
            self.executor.progress.keep(self.unstored.head.id, |step| self.state.find(step).is_some());
            self.start_flights(&mut flights, &intents).await?;
            if flights.is_empty() && !self.held_up_by.is_empty() {
                self.tell_held_up().await?;
            }
            if flights.is_empty() && !self.state.has_atomic_branch() {
                if self.park().await? {
                    return Ok(Reached::Wait);
                }
                continue;
            }
            let wake = self.until_wake();
            tokio::select! {
                biased;
                landed = flights.next() => if let Some(landed) = landed { self.landed(landed).await? },
                Some(intent) = intended.recv() => self.intended(intent).await?,
                () = self.live.bell.notified() => {}
                () = given_up(self.caller.as_mut()), if self.caller.is_some() => {
                    self.caller = None;
                    self.store().await?;
                }
                () = &mut unstored, if !self.unstored.entries.is_empty() => {
                    self.store().await?;
                    unstored.as_mut().reset(tokio::time::Instant::now() + RUN_UNSTORED_MS_MAX);
                }
                () = sleep(wake), if wake.is_some() => {}
            }
        }
    }

    /// How long until time alone brings something about.
    fn until_wake(&self) -> Option<Duration> {
        let now_ms = self.executor.clock.now_ms();
        self.wake_ms().map(|at_ms| Duration::from_millis(at_ms.saturating_sub(now_ms)))
    }

    /// When time alone brings something about.
    fn wake_ms(&self) -> Option<u64> {
        let wake_ms = self.state.wake_ms(&self.program.plan);
        if self.held_up_by.is_empty() {
            return wake_ms;
        }
        // The time of a call that is held up may be past, and comes again and again.
        let now_ms = self.executor.clock.now_ms();
        let look_ms = now_ms + QUARANTINE_LOOK_MS;
        Some(wake_ms.filter(|at_ms| *at_ms > now_ms).map_or(look_ms, |at_ms| at_ms.min(look_ms)))
    }

    /// Takes up what time has brought about.
    async fn pass_time(&mut self) -> Result<(), Error> {
        let now_ms = self.executor.clock.now_ms();
        while let Some(entry) = self.state.due(&self.program.plan, now_ms) {
            self.take(entry).await?;
        }
        Ok(())
    }

    /// Folds an entry that keeps nothing but itself.
    pub(super) fn note(&mut self, entry: Entry) {
        if self.state.end().is_some() {
            // It came too late: nothing follows the end.
            return;
        }
        self.state.apply(&self.program.plan, &entry);
        Arc::make_mut(&mut self.unstored.entries).push(entry);
    }

    /// Folds an entry, and if calls did something inside the host that is now to be kept (the entry's own, or those of an
    /// atomic branch that it brings to its end), commits that.
    async fn take(&mut self, entry: Entry) -> Result<(), Error> {
        let does = matches!(&entry, Entry::Called(called) if !called.effects.staged.is_empty());
        // What was staged is refused if what a call read has changed: then the state must be what it was.
        if self.state.end().is_some() {
            return Ok(());
        }
        let before = (does || self.state.has_atomic_branch()).then(|| self.state.clone());
        let activation = entry.activation().map(Into::into);
        self.note(entry);
        if self.state.has_staged() {
            match self.try_store().await {
                Err(CommitError::Changed) => self.undo(before, activation),
                other => other?,
            }
        }
        Ok(())
    }

    /// What a call read was changed by others: it is as if it had not been made, and it is made again. In an atomic branch the
    /// whole branch is.
    fn undo(&mut self, before: Option<State>, activation: Option<Box<str>>) {
        Arc::make_mut(&mut self.unstored.entries).pop();
        if let Some(before) = before {
            self.state = before;
        }
        let around = activation.and_then(|path| self.state.find(&path));
        if let Some((activation, branch)) = around.and_then(|id| self.state.atomic_branch(id)) {
            let at_ms = self.executor.clock.now_ms();
            self.note(Entry::Restarted { at_ms, activation, branch });
        }
    }

    async fn start_flights(&mut self, flights: &mut Flights, intents: &mpsc::UnboundedSender<Intent>) -> Result<(), Error> {
        let now_ms = self.executor.clock.now_ms();
        self.held_up_by.clear();
        let is_new = |command: &Command| match command {
            Command::Call(id, _) => !flights.contains(&Flight::Call(*id)),
            Command::Send(id, wait, _) => !flights.contains(&Flight::Request(*id, wait.clone())),
        };
        let mut commands: Vec<Command> = self.state.commands(now_ms).filter(is_new).collect();
        self.hold_up(&mut commands);
        let is_alone = flights.is_empty() && commands.len() == 1;
        if commands.iter().any(|command| matches!(command, Command::Send(..))) && !self.unstored.is_stored() {
            // What is stored is the intent.
            self.store().await?;
        }
        for command in commands {
            match command {
                Command::Call(id, event) => {
                    let frame = Frame { program: &self.program, run: self.unstored.head.id, stack: &self.stack, intents };
                    let Some(prepared) = self.executor.prepare(&frame, &self.state, id, event) else { continue };
                    self.state.calling(id, prepared.at_ms);
                    let digest = self.program.node(prepared.step).digest;
                    let at = self.idle.iter().position(|instance| *instance.digest() == digest);
                    let instance = at.map(|at| self.idle.swap_remove(at));
                    if instance.is_none() && self.executor.components.is_crowded() {
                        // Whoever waits for an instance must hold none.
                        self.idle.clear();
                    }
                    let call = self.executor.clone().call(self.program.clone(), prepared, instance);
                    let call = async move { Landed::Call(Box::new(call.await)) };
                    flights.start(Flight::Call(id), if is_alone { Box::pin(call) } else { side_by_side(call) });
                }
                Command::Send(id, wait, request) => {
                    self.state.calling(id, now_ms);
                    let sending = self.send(id, &wait, *request);
                    let landed = wait.clone();
                    let sending = async move { Landed::Request(id, landed, sending.await) };
                    flights.start(Flight::Request(id, wait), Box::pin(sending));
                }
            }
        }
        Ok(())
    }

    /// Takes out calls of plugins that are in quarantine.
    fn hold_up(&mut self, commands: &mut Vec<Command>) {
        self.held_up_by.clear();
        commands.retain(|command| {
            let Command::Call(id, _) = command else { return true };
            let Some(activation) = self.state.activation(*id) else { return true };
            let digest = self.program.node(activation.step).digest;
            let is_held_up = self.executor.components.is_quarantined(&digest);
            if is_held_up && self.held_up_by.insert(digest) {
                self.executor.hold_up(self.unstored.head.id, digest);
            }
            !is_held_up
        });
    }

    /// Whoever waits for the run is told that it may take days.
    async fn tell_held_up(&mut self) -> Result<(), Error> {
        if let Some(caller) = self.caller.take() {
            self.store().await?;
            let _ = caller.send(Ok(Outcome::HeldUp));
        }
        Ok(())
    }

    /// Sends the request that an activation waits for.
    fn send(
        &self,
        id: ActivationId,
        wait: &str,
        request: Request,
    ) -> impl Future<Output = Result<Response, Fault>> + Send + 'static {
        let executor = self.executor.clone();
        let activation = self.state.activation(id);
        let digest = activation.map(|activation| self.program.node(activation.step).digest);
        let secrets = activation.and_then(|activation| activation.config.as_ref()).map(|(_, secrets)| secrets.clone());
        let key = activation.map(|activation| idempotency_key(self.unstored.head.id, &activation.path, 0)).unwrap_or_default();
        let request = with_key(request, &key, wait);
        async move {
            let Some(digest) = digest else { return Err(Fault::new("invalid", "the step is over")) };
            let (grants, vault) = (executor.components.grants(&digest), Some(executor.vault.clone()));
            let sender = Sender { grants, secrets: secrets.unwrap_or_default(), vault, redirects_max: HTTP_REDIRECTS_MAX };
            let bytes_out = request.bytes();
            let answered = executor.outbound.send(&sender, request).await;
            let bytes_in = answered.as_ref().map_or(0, Response::bytes);
            executor.components.took(&digest, &Usage { http_calls: 1, bytes_in, bytes_out, ..Usage::default() });
            answered
        }
    }

    async fn landed(&mut self, landed: Landed) -> Result<(), Error> {
        match landed {
            Landed::Call(answered) => self.answered(*answered).await,
            Landed::Request(id, wait, response) => {
                if let Some(activation) = self.state.activation(id) {
                    let (at_ms, activation) = (self.executor.clock.now_ms(), (*activation.path).into());
                    self.note(Entry::Responded { at_ms, activation, id: wait, response });
                }
                Ok(())
            }
        }
    }

    async fn answered(&mut self, answered: Answered) -> Result<(), Error> {
        let Answered { activation: id, mut entry, is_hidden, instance } = answered;
        self.idle.extend(instance);
        if self.state.is_atomic(id) && entry.effects.staged.is_outdated(&self.state.staged(id)) {
            // Beside it in the same atomic branch others changed what it read: it is made again.
            return Ok(());
        }
        let is_synchronous = self.unstored.head.synchronous;
        if let Err(failure) = check(&self.program.plan, &self.state, id, &entry.outcome, is_synchronous) {
            entry.outcome = CallOutcome::Failed(failure);
            entry.effects = Effects::default();
        }
        if is_hidden {
            let at_ms = self.executor.clock.now_ms();
            self.note(Entry::Lost { at_ms, activation: entry.activation });
            return self.store().await;
        }
        self.take(Entry::Called(Box::new(entry))).await?;
        if self.state.end().is_some() {
            return Ok(());
        }
        if self.caller.is_some()
            && let Some(response) = self.state.response().cloned()
        {
            self.store().await?;
            if let Some(caller) = self.caller.take() {
                let _ = caller.send(Ok(Outcome::Responded(response)));
            }
        } else if self.unstored.entries.len() >= RUN_UNSTORED_ENTRIES_MAX {
            self.store().await?;
        }
        Ok(())
    }

    async fn intended(&mut self, intent: Intent) -> Result<(), Error> {
        let Some(activation) = self.state.activation(intent.activation) else { return Ok(()) };
        let activation = (*activation.path).into();
        self.note(Entry::Intended { at_ms: intent.at_ms, activation, attempt: intent.attempt });
        self.store().await?;
        let _ = intent.stored.send(());
        Ok(())
    }

    /// Takes up what has come for the run. It is taken off the store with the next commit.
    async fn take_mail(&mut self) -> Result<(), Error> {
        let run = self.unstored.head.id;
        for (number, arrival) in self.executor.store.arrivals(run)? {
            if self.unstored.taken.contains(&number) {
                continue;
            }
            self.unstored.taken.push(number);
            #[cfg(test)]
            if self.executor.faults.drop_events.load(std::sync::atomic::Ordering::Relaxed)
                && matches!(arrival, Arrival::ChildEnded { .. })
            {
                continue;
            }
            if self.state.end().is_some() {
                continue;
            }
            if let Some(kept) = self.not_for_us(&arrival) {
                self.unstored.returned.push(kept);
                continue;
            }
            let at_ms = self.executor.clock.now_ms();
            self.take(Entry::Arrived { at_ms, arrival }).await?;
        }
        self.take_kept_signals().await
    }

    /// A message by name and key that nothing here waits for any more: it is for others.
    fn not_for_us(&self, arrival: &Arrival) -> Option<KeptSignal> {
        let Arrival::Signal { name, key: Some(key), payload } = arrival else { return None };
        if self.state.keyed_signals().contains(&(name.clone(), key.clone())) {
            return None;
        }
        let name = SignalName { workflow: self.program.plan.workflow.clone(), name: name.clone(), key: key.clone() };
        Some(KeptSignal { name, payload: payload.clone(), sent_ms: self.executor.clock.now_ms() })
    }

    /// Takes messages that came before anybody waited for them.
    async fn take_kept_signals(&mut self) -> Result<(), Error> {
        for (name, key) in self.state.keyed_signals() {
            let name = SignalName { workflow: self.program.plan.workflow.clone(), name, key };
            for (number, kept) in self.executor.kept_signals(&name)? {
                // Whoever is first has it.
                match self.executor.store.commit(vec![Change::TakeSignal(name.clone(), number), arrive(self, &kept)]).await {
                    Ok(()) => self.executor.poke(self.unstored.head.id),
                    Err(CommitError::Gone) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<Finished, Error> {
        let Some(finished) = Finished::of(&self.state) else { unreachable!("called when the state has an end") };
        if self.unstored.head.place != Place::Ended || !self.unstored.is_stored() {
            self.store().await?;
        }
        Ok(finished)
    }

    /// Stores everything and stops carrying the run out, until time or somebody else brings something about. False: that is
    /// the case already.
    async fn park(&mut self) -> Result<bool, Error> {
        let wake_ms = self.wake_ms();
        self.unstored.head.place = Place::Parked(wake_ms);
        self.unstored.head.status = Status::Running;
        if !self.unstored.is_stored() {
            self.unstored.wants_snapshot = true;
        }
        self.store().await?;
        if !self.unstored.waits.is_empty() {
            // One may have come between the last look and the commit that says who waits.
            self.take_kept_signals().await?;
        }
        if let Some(caller) = self.caller.take() {
            self.executor.live.keep_caller(self.unstored.head.id, caller);
        }
        let run = self.unstored.head.id;
        self.has_left = self.executor.live.leave(run);
        if !self.has_left {
            self.unstored.head.place = Place::Active;
            self.caller = self.executor.live.take_caller(run);
            return Ok(false);
        }
        if let Some(wake_ms) = wake_ms {
            self.executor.alarm(wake_ms);
        }
        Ok(true)
    }
}

impl Drop for Running {
    /// Also when the host made a mistake and the run breaks off.
    fn drop(&mut self) {
        self.leave();
    }
}

fn arrive(running: &Running, kept: &KeptSignal) -> Change {
    let SignalName { name, key, .. } = kept.name.clone();
    let arrival = Arrival::Signal { name, key: Some(key), payload: kept.payload.clone() };
    Change::Arrive(running.unstored.head.id, arrival)
}

async fn given_up(caller: Option<&mut Caller>) {
    if let Some(caller) = caller {
        caller.closed().await;
    }
}

/// Waits, but looks at the clock again from time to time, since it may be set.
async fn sleep(until_wake: Option<Duration>) {
    if let Some(wait) = until_wake {
        tokio::time::sleep(wait.min(Duration::from_secs(60))).await;
    }
}
