//! Which workflow a request to `/hooks/…` belongs to.

use std::sync::Arc;

use http::Method;
use serde::{Deserialize, Serialize};

use crate::executor::Program;
use crate::limits::{BODY_BYTES_DEFAULT, BODY_BYTES_MAX, HOOK_PATH_BYTES_MAX};
use crate::plugin::exports::triggers;
use crate::run::Failure;
use crate::workflow::Key;

/// A route that a trigger subscribed to. Stored with the workflow, so that a start asks no trigger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRoute {
    /// Upper case.
    pub methods: Vec<String>,
    /// Below `/hooks/`, with `{name}` for one segment; none: the workflow's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The longest body.
    pub body_bytes_max: usize,
}

impl HttpRoute {
    /// The path below `/hooks/`.
    pub fn path<'a>(&'a self, workflow: &'a Key) -> &'a str {
        self.path.as_deref().unwrap_or(workflow.as_str())
    }
}

/// The routes of active workflows.
#[derive(Clone, Default)]
pub struct Routes {
    by_path: matchit::Router<Arc<Route>>,
    programs: Vec<Arc<Program>>,
}

/// A route and the revision that it starts.
pub struct Route {
    /// The revision.
    pub program: Arc<Program>,
    /// Methods that it takes.
    pub methods: Vec<Method>,
    /// The longest body.
    pub body_bytes_max: usize,
}

/// A route that was found, and the segments that vary.
pub struct Matched {
    /// The route.
    pub route: Arc<Route>,
    /// Names and values as they stand in the path, still encoded.
    pub params: Vec<(String, String)>,
}

/// Two workflows want the same path.
#[derive(Debug, thiserror::Error)]
#[error("the path `/hooks/{path}` of `{workflow}` is taken by another active workflow, or is no path: {reason}")]
pub struct RouteConflict {
    workflow: Key,
    path: String,
    reason: String,
}

impl Routes {
    /// Adds the routes of a workflow.
    pub fn add(&mut self, program: &Arc<Program>, routes: &[HttpRoute]) -> Result<(), RouteConflict> {
        for route in routes {
            let workflow = &program.plan.workflow;
            let path = route.path(workflow);
            let methods = route.methods.iter().filter_map(|method| method.parse().ok()).collect();
            let entry = Route { program: program.clone(), methods, body_bytes_max: route.body_bytes_max };
            self.by_path.insert(path, Arc::new(entry)).map_err(|error| RouteConflict {
                workflow: workflow.clone(),
                path: path.to_owned(),
                reason: error.to_string(),
            })?;
        }
        self.programs.push(program.clone());
        Ok(())
    }

    /// A revision that is listened for.
    pub fn program(&self, workflow: &Key, revision: u32) -> Option<Arc<Program>> {
        self.programs.iter().find(|program| program.plan.workflow == *workflow && program.plan.revision == revision).cloned()
    }

    /// The route of a path below `/hooks/`.
    pub fn find(&self, path: &str) -> Option<Matched> {
        let found = self.by_path.at(path).ok()?;
        let params = found.params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Some(Matched { route: found.value.clone(), params })
    }
}

/// What a trigger asked for, if this host can do it: a route, or none where it only wants to be called.
pub(super) fn read(subscription: triggers::Subscription, declared: &[String]) -> Result<Option<HttpRoute>, Failure> {
    let is_declared = |name: &str| declared.iter().any(|declared| declared == name);
    let undeclared = |name: &str| Failure::bad_answer(format_args!("it subscribes to `{name}`, which its type does not declare"));
    let route = match subscription {
        triggers::Subscription::Http(route) if is_declared("http") => route,
        triggers::Subscription::Http(_) => return Err(undeclared("http")),
        triggers::Subscription::Callable if is_declared("callable") => return Ok(None),
        triggers::Subscription::Callable => return Err(undeclared("callable")),
        _ => return Err(Failure::bad_answer("this host delivers requests and starts by name only, so far")),
    };
    let is_method = |method: &String| method.parse::<Method>().is_ok_and(|parsed| parsed.as_str() == method);
    if route.methods.is_empty() || !route.methods.iter().all(is_method) {
        return Err(Failure::bad_answer(format_args!("`{}` are no HTTP methods", route.methods.join(", "))));
    }
    if let Some(path) = &route.path {
        let good = !path.is_empty()
            && path.len() <= HOOK_PATH_BYTES_MAX
            && !path.starts_with('/')
            && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~/{}".contains(&byte));
        if !good {
            let message = format!("the path `{path}` is not segments of letters, digits, `-`, `_`, `.` and `~`, or `{{name}}`");
            return Err(Failure::error("invalid-path", message));
        }
    }
    let body_bytes_max = route.body_bytes_max.map_or(BODY_BYTES_DEFAULT, |bytes| bytes as usize).min(BODY_BYTES_MAX);
    Ok(Some(HttpRoute { methods: route.methods, path: route.path, body_bytes_max }))
}
