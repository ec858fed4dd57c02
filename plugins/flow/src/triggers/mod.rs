//! Workflows that are started by name: by a step, a person or the API.

mod function;
mod job;
mod manual_start;

pub(crate) use function::Function;
pub(crate) use job::Job;
pub(crate) use manual_start::ManualStart;

use weft_sdk::prelude::*;

use crate::parameters::{self, Parameter};

/// What comes of a call with these parameters: the context of its one run, or why there is none.
fn react(parameters: &[Parameter], event: TriggerEvent, start: impl FnOnce(Start) -> Start) -> Result<Reaction, Failure> {
    let TriggerEvent::Called(called) = event else { return Ok(Reaction::nothing("this workflow is started by name only")) };
    Ok(match parameters::read(parameters, &called.context) {
        Ok(context) => Reaction::start(vec![start(Start::with(&context)?)]),
        Err(wrong) => Reaction::nothing(&wrong),
    })
}

/// The declaration that all of them share.
fn describe(described: TriggerType) -> TriggerType {
    let message =
        "What the caller gives does not fit the parameters: one is missing, unknown or of another type; the message says which.";
    described.category("flow").context::<parameters::Given>().fails("not-started", message, "/parameters")
}
