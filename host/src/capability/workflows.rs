//! `workflows`: starts other workflows.

use super::{fault, services};
use crate::limits::{CONTEXT_BYTES_MAX, STARTS_MAX};
use crate::plugin::contract::types::Fault;
use crate::plugin::contract::workflows;
use crate::plugin::{CallKind, Guest};
use crate::run::StagedStart;
use crate::workflow::{Json, Key};

impl workflows::Host for Guest {
    fn start(&mut self, workflow: String, context: String) -> Result<String, Fault> {
        self.call.used.host_calls += 1;
        let services = services(&self.call)?;
        if self.call.kind == CallKind::Trigger {
            return Err(fault("invalid", "a trigger starts runs by its reaction"));
        }
        self.call.grants.check_start(&workflow)?;
        if self.call.effects.staged.starts.len() >= STARTS_MAX {
            return Err(fault("over-limit", format!("a call starts at most {STARTS_MAX} runs")));
        }
        if context.len() > CONTEXT_BYTES_MAX {
            return Err(fault("too-large", format!("{} bytes; a context has at most {CONTEXT_BYTES_MAX}", context.len())));
        }
        let workflow: Key = workflow.parse().map_err(|error| fault("not-found", format!("{error}")))?;
        let context = Json::parse(context).map_err(|error| fault("invalid", format!("the context is {error}")))?;
        self.call.stage(context.text().len(), 0)?;
        let run = services.start(&workflow)?;
        self.call.effects.staged.starts.push(StagedStart { run, workflow, context });
        self.call.effects.started.push(run);
        Ok(run.to_string())
    }
}
