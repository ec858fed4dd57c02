//! `variables`: the run's variables, for parts of a config that keep their templates.

use serde_json::Value;

use super::fault;
use crate::limits::OUTPUT_BYTES_MAX;
use crate::plugin::contract::types::Fault;
use crate::plugin::contract::variables;
use crate::plugin::{CallKind, Guest};
use crate::workflow::{Json, Key, Root, Scope, Template};

impl variables::Host for Guest {
    fn resolve(&mut self, template: String, own_scope: Option<String>) -> Result<String, Fault> {
        let own = own_scope.map(|text| Json::parse(text).map_err(|error| fault("invalid", format!("own-scope is {error}"))));
        Ok(resolve(self, template, own.transpose()?)?.text().to_owned())
    }

    fn slice(&mut self, template: String, offset: u32, limit: u32) -> Result<variables::Part, Fault> {
        let resolved = resolve(self, template, None)?;
        let Value::Array(items) = resolved.value() else {
            return Ok(variables::Part { length: None, items: vec![resolved.text().to_owned()] });
        };
        let length = u32::try_from(items.len()).ok();
        let items = items.iter().skip(offset as usize).take(limit as usize).map(Value::to_string).collect();
        Ok(variables::Part { length, items })
    }
}

fn resolve(guest: &mut Guest, template: String, own_scope: Option<Json>) -> Result<Json, Fault> {
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
            let resolved = template.render(&WithOwn { scope: &**scope, own: own_scope }, OUTPUT_BYTES_MAX);
            resolved.map_err(|error| fault("too-large", error.to_string()))
        }
        (CallKind::Describe, _) => Err(fault("denied", "nothing is granted here")),
        _ => Err(fault("invalid", "a trigger has no variables")),
    }
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
