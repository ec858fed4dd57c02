//! `run`: what a step does to its own run.

use super::fault;
use crate::limits::{MESSAGE_BYTES_MAX, MESSAGES_MAX, OUTPUT_BYTES_MAX};
use crate::plugin::contract::run;
use crate::plugin::contract::types::{Fault, HttpResponse};
use crate::plugin::{CallKind, Guest, response};
use crate::workflow::{Json, Key};

impl run::Host for Guest {
    fn set_output(&mut self, value: String) -> Result<(), Fault> {
        in_step(self)?;
        let value = json(value)?;
        let before = self.call.effects.output.as_ref().map_or(0, |before| before.text().len());
        self.call.stage(value.text().len(), before)?;
        self.call.effects.output = Some(value);
        Ok(())
    }

    fn set_result(&mut self, step: String, value: String) -> Result<(), Fault> {
        in_step(self)?;
        let step: Key = step.parse().map_err(|_| fault("not-found", format!("there is no step `{step}`")))?;
        let Some(scope) = &self.call.scope else { return Err(fault("not-found", "this step has no run")) };
        if !scope.may_set_result(&step) {
            let message = format!("`{step}` is no earlier step of the same type as this one that this step can see");
            return Err(fault("not-found", message));
        }
        let value = json(value)?;
        let results = &self.call.effects.results;
        // The last one counts, so one before it need not be kept.
        let at = results.iter().position(|(set, _)| *set == step);
        let before = at.map_or(0, |at| results[at].1.text().len());
        self.call.stage(value.text().len(), before)?;
        match at {
            Some(at) => self.call.effects.results[at].1 = value,
            None => self.call.effects.results.push((step, value)),
        }
        Ok(())
    }

    fn respond(&mut self, given: HttpResponse) -> Result<(), Fault> {
        in_step(self)?;
        let response = response(given).map_err(|failure| match &*failure.code {
            "too-large" => fault("too-large", failure.message),
            _ => fault("invalid", failure.message),
        })?;
        if self.call.effects.response.is_none() {
            self.call.effects.response = Some(response);
        }
        Ok(())
    }

    fn add_message(&mut self, message: String) -> Result<(), Fault> {
        in_step(self)?;
        if message.len() > MESSAGE_BYTES_MAX || self.call.effects.messages.len() >= MESSAGES_MAX {
            let message = format!("at most {MESSAGES_MAX} messages of {MESSAGE_BYTES_MAX} bytes a call");
            return Err(fault("too-large", message));
        }
        self.call.effects.messages.push(message.into());
        Ok(())
    }
}

fn in_step(guest: &mut Guest) -> Result<(), Fault> {
    guest.call.used.host_calls += 1;
    match guest.call.kind {
        CallKind::Node => Ok(()),
        CallKind::Trigger => Err(fault("invalid", "a trigger has no run yet")),
        CallKind::Describe => Err(fault("denied", "nothing is granted here")),
    }
}

fn json(text: String) -> Result<Json, Fault> {
    if text.len() > OUTPUT_BYTES_MAX {
        return Err(fault("too-large", format!("{} bytes; at most {OUTPUT_BYTES_MAX} are kept", text.len())));
    }
    Json::parse(text).map_err(|error| fault("invalid", error.to_string()))
}
