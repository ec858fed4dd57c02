//! `variables`: the run's variables, for parts of a config that keep their templates.

use std::sync::Arc;

use super::fault;
use crate::limits::OUTPUT_BYTES_MAX;
use crate::plugin::contract::types::Fault;
use crate::plugin::contract::variables;
use crate::plugin::{CallKind, Guest};
use crate::workflow::{Json, Key, Root, Scope, Template, TooLarge};

impl variables::Host for Guest {
    fn resolve(&mut self, template: String, own_scope: Option<String>) -> Result<String, Fault> {
        let own = own_scope.map(|text| Json::parse(text).map_err(|error| fault("invalid", format!("own-scope is {error}"))));
        let (template, scope) = begin(self, template)?;
        let resolved = template.render(&WithOwn { scope: &**scope, own: own.transpose()? }, OUTPUT_BYTES_MAX);
        Ok(resolved.map_err(too_large)?.text().to_owned())
    }

    fn slice(&mut self, template: String, offset: u32, limit: u32) -> Result<variables::Part, Fault> {
        let (template, scope) = begin(self, template)?;
        let slice = template.slice(&**scope, offset as usize, limit as usize, OUTPUT_BYTES_MAX).map_err(too_large)?;
        Ok(variables::Part { length: slice.length.and_then(|length| u32::try_from(length).ok()), items: slice.items })
    }
}

/// The template of a step that has a run, and what it sees.
fn begin(guest: &mut Guest, template: String) -> Result<(Template, &Arc<dyn Scope + Send + Sync>), Fault> {
    guest.call.used.host_calls += 1;
    match (guest.call.kind, &guest.call.scope) {
        (CallKind::Node, Some(scope)) => {
            let template = Json::parse(template).map_err(|error| fault("invalid", format!("the template is {error}")))?;
            let template = Template::parse(template.value()).map_err(|problems| {
                let problem = problems.into_iter().next();
                fault("invalid", problem.map(|problem| problem.message).unwrap_or_default())
            })?;
            if template.variables().iter().any(|(_, variable)| matches!(variable.root, Root::Secret(_))) {
                return Err(fault("denied", "a secret is only given by a config that the host resolves"));
            }
            Ok((template, scope))
        }
        (CallKind::Describe, _) => Err(fault("denied", "nothing is granted here")),
        _ => Err(fault("invalid", "a trigger has no variables")),
    }
}

fn too_large(error: TooLarge) -> Fault {
    fault("too-large", error.to_string())
}

/// A scope in which the step sees what it is going to give its own branch.
struct WithOwn<'a> {
    scope: &'a dyn Scope,
    own: Option<Json>,
}

impl Scope for WithOwn<'_> {
    fn get(&self, root: &Root) -> Option<Json> {
        match (root, &self.own) {
            (Root::Scope(key), Some(own)) if self.scope.is_own(key) => Some(own.clone()),
            _ => self.scope.get(root),
        }
    }

    fn is_own(&self, key: &Key) -> bool {
        self.scope.is_own(key)
    }
}
