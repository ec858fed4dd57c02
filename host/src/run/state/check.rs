//! Which answers of a component can be carried out.

use std::collections::BTreeSet;

use super::waits::{BRANCH, WAIT};
use super::{Activation, ActivationId, State};
use crate::limits::{BRANCH_ID_BYTES_MAX, OPEN_AT_ONCE_MAX};
use crate::run::called::{BranchStart, Failure, Outcome};
use crate::run::wait::{Wait, WaitKind};
use crate::workflow::{Key, Plan};

/// Whether an outcome can be carried out; if not, the failure that the step ends with instead.
///
/// Only outcomes that passed are journaled, so that folding needs no answer for the others. `is_synchronous` says whether
/// whoever caused the run waits for it.
pub fn check(plan: &Plan, state: &State, id: ActivationId, outcome: &Outcome, is_synchronous: bool) -> Result<(), Failure> {
    let Some(activation) = state.activations.get(&id) else { return Ok(()) };
    match outcome {
        Outcome::Pending { start, stop, wait, .. } => {
            check_branches(activation, start, stop)?;
            check_waits(activation, wait)?;
            let open = activation.branches.iter().filter(|(id, _)| !stop.contains(id)).count() + start.len() + wait.len();
            // The event that the call answered is still the first of the queue.
            let answered = usize::from(activation.calls > 0);
            if open == 0 && activation.events.len() <= answered {
                return Err(Failure::bad_answer("it goes on later, but nothing runs and nothing is waited for"));
            }
            if open > OPEN_AT_ONCE_MAX {
                return Err(Failure::bad_answer(format_args!("{open} branches and waits; at most {OPEN_AT_ONCE_MAX}")));
            }
            let may_wait = |wait: &&Wait| matches!(wait.kind, WaitKind::Request(_) | WaitKind::Child { .. });
            match wait.iter().find(|wait| !may_wait(wait)) {
                Some(wait) if state.is_atomic(id) => {
                    Err(Failure::bad_answer(format_args!("in an atomic branch it cannot wait for a {}", wait.kind.name())))
                }
                Some(wait) if is_synchronous => {
                    let kind = wait.kind.name();
                    Err(Failure::bad_answer(format_args!("somebody waits for this run, so it cannot wait for a {kind}")))
                }
                _ => Ok(()),
            }
        }
        Outcome::GoBack { step, .. } => check_target(plan, state, id, step),
        Outcome::EndRun { status, .. } if !status.is_end() => {
            Err(Failure::bad_answer("it ends the run with a status that is no end"))
        }
        Outcome::Done(_) | Outcome::EndRun { .. } | Outcome::Failed(_) => Ok(()),
    }
}

fn check_id(what: &str, id: &str) -> Result<(), Failure> {
    let good = !id.is_empty()
        && id.len() <= BRANCH_ID_BYTES_MAX
        && id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b'~');
    if good {
        return Ok(());
    }
    let message =
        format!("the {what}'s id `{id}` is not 1 to {BRANCH_ID_BYTES_MAX} characters of visible ASCII without `/` and `~`");
    Err(Failure::bad_answer(message))
}

fn check_branches(activation: &Activation, start: &[BranchStart], stop: &[Box<str>]) -> Result<(), Failure> {
    let mut started = BTreeSet::new();
    for branch in start {
        check_id("branch", &branch.id)?;
        if activation.is_spent(BRANCH, &branch.id) || !started.insert(&branch.id) {
            return Err(Failure::bad_answer(format_args!(
                "a branch had the id `{}` before; ids are never used again",
                branch.id
            )));
        }
    }
    match stop.iter().find(|id| !activation.is_spent(BRANCH, id)) {
        Some(unknown) => Err(Failure::bad_answer(format_args!("it stops a branch `{unknown}`, which it never started"))),
        None => Ok(()),
    }
}

fn check_waits(activation: &Activation, waits: &[Wait]) -> Result<(), Failure> {
    let answered = activation.event().and_then(super::Event::spends);
    let mut given = BTreeSet::new();
    for wait in waits {
        check_id("wait", &wait.id)?;
        if !given.insert(&wait.id) {
            return Err(Failure::bad_answer(format_args!("two waits have the id `{}`", wait.id)));
        }
        if activation.is_spent(WAIT, &wait.id) || answered == Some(&*wait.id) {
            return Err(Failure::bad_answer(format_args!("the wait `{}` is over; its id must not come again", wait.id)));
        }
        if let Some(known) = activation.wait(&wait.id)
            && known.wait.kind.name() != wait.kind.name()
        {
            let (id, was, is) = (&wait.id, known.wait.kind.name(), wait.kind.name());
            return Err(Failure::bad_answer(format_args!("the wait `{id}` is a {was}, and comes again as a {is}")));
        }
    }
    Ok(())
}

fn check_target(plan: &Plan, state: &State, from: ActivationId, step: &Key) -> Result<(), Failure> {
    let target = plan.find(step.as_str()).map(|target| plan.step(target));
    let mut at = state.activations.get(&from);
    while let (Some(target), Some(activation)) = (target, at) {
        let here = plan.step(activation.step);
        if target.list == here.list && target.position <= here.position {
            return Ok(());
        }
        let list = state.lists.get(&activation.list);
        if list.is_some_and(|list| list.atomic.is_some()) {
            return Err(Failure::bad_answer(format_args!("it goes back to `{step}`, out of an atomic branch")));
        }
        at = list.and_then(|list| state.activations.get(&list.owner.as_ref()?.activation));
    }
    Err(Failure::bad_answer(format_args!("it goes back to `{step}`, which is no step before this one")))
}
