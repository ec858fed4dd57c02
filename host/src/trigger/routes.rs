//! Which workflow a request to `/hooks/…` belongs to.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http::Method;
use matchit::{InsertError, Router};
use serde::{Deserialize, Serialize};

use crate::executor::Program;
use crate::limits::{BODY_BYTES_DEFAULT, BODY_BYTES_MAX, HOOK_PATH_BYTES_MAX, SUBSCRIPTIONS_MAX};
use crate::plugin::exports::triggers;
use crate::run::Failure;
use crate::workflow::{Json, Key};

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
    /// Header fields, in lower case, that the trigger's config says hold a signature or the like: nobody is shown their values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden_headers: Vec<String>,
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
    by_path: Router<Arc<Route>>,
    by_workflow: HashMap<Key, Arc<Active>>,
    /// Active workflows that nobody listens for, and why.
    left_out: HashMap<Key, Box<str>>,
}

/// A route and the revisions that it starts.
pub struct Route {
    active: Arc<Active>,
    /// Methods that it takes.
    pub methods: Vec<Method>,
    /// The longest body.
    pub body_bytes_max: usize,
    hidden_headers: Vec<String>,
}

/// The revisions that a workflow's events start.
pub(super) struct Active {
    program: Arc<Program>,
    /// The revision on trial beside it.
    trial: Option<Trial>,
}

/// A revision that has a share of the starts.
struct Trial {
    program: Arc<Program>,
    share_percent: u8,
    starts: AtomicU32,
}

impl Route {
    /// The workflow that it belongs to.
    pub fn workflow(&self) -> &Key {
        &self.active.program.plan.workflow
    }

    /// Whether nobody is shown the value of this header field.
    pub fn hides(&self, header: &str) -> bool {
        self.hidden_headers.iter().any(|hidden| hidden == header)
    }

    /// The revision that the next request starts.
    pub fn program(&self) -> &Arc<Program> {
        self.active.next()
    }
}

impl Active {
    /// The revision that the next event starts.
    pub(super) fn next(&self) -> &Arc<Program> {
        match &self.trial {
            Some(trial) if is_of_share(trial.starts.fetch_add(1, Ordering::Relaxed), trial.share_percent) => &trial.program,
            _ => &self.program,
        }
    }

    /// The active one.
    pub(super) fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// Whether events start this revision.
    pub(super) fn has(&self, revision: u32) -> bool {
        let trial = self.trial.as_ref().map(|trial| trial.program.plan.revision);
        self.program.plan.revision == revision || trial == Some(revision)
    }
}

/// Whether the nth start belongs to a share of so many percent, which is spread evenly.
fn is_of_share(nth: u32, percent: u8) -> bool {
    (u64::from(nth) * u64::from(percent)) % 100 + u64::from(percent) >= 100
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
#[error("the path `/hooks/{path}` of `{workflow}` cannot be listened at: {reason}")]
pub struct RouteConflict {
    workflow: Key,
    path: String,
    reason: String,
}

impl Routes {
    /// Adds the routes of a workflow; beside its revision another may have so many percent of the starts.
    pub fn add(
        &mut self,
        program: &Arc<Program>,
        trial: Option<(Arc<Program>, u8)>,
        routes: &[HttpRoute],
    ) -> Result<(), RouteConflict> {
        let trial = trial.map(|(program, share_percent)| Trial { program, share_percent, starts: AtomicU32::new(0) });
        let active = Arc::new(Active { program: program.clone(), trial });
        let workflow = &program.plan.workflow;
        self.by_workflow.insert(workflow.clone(), active.clone());
        for route in routes {
            let path = route.path(workflow);
            let methods = route.methods.iter().filter_map(|method| method.parse().ok()).collect();
            let hidden_headers = route.hidden_headers.clone();
            let entry = Route { active: active.clone(), methods, body_bytes_max: route.body_bytes_max, hidden_headers };
            if let Err(error) = self.by_path.insert(path, Arc::new(entry)) {
                let reason = match &error {
                    InsertError::Conflict { with } => self.taken(with, workflow),
                    error => error.to_string(),
                };
                return Err(RouteConflict { workflow: workflow.clone(), path: path.to_owned(), reason });
            }
        }
        Ok(())
    }

    /// Who listens at a path that another one cannot stand beside.
    fn taken(&self, path: &str, by: &Key) -> String {
        let found = self.by_path.at(path).ok().map(|found| &found.value.active.program.plan.workflow);
        match found {
            Some(workflow) if workflow == by => format!("it listens at `/hooks/{path}` already; one route takes several methods"),
            Some(workflow) => format!("the active workflow `{workflow}` listens at `/hooks/{path}`"),
            None => format!("another route, `/hooks/{path}`, is in the way"),
        }
    }

    /// Leaves out an active workflow.
    pub fn leave_out(&mut self, workflow: &Key, why: impl Into<Box<str>>) {
        self.left_out.insert(workflow.clone(), why.into());
    }

    /// Why nobody listens for an active workflow; none: somebody does.
    pub fn why_left_out(&self, workflow: &Key) -> Option<&str> {
        self.left_out.get(workflow).map(AsRef::as_ref)
    }

    /// The revisions that a workflow's events start; none: it is paused, or cannot be run.
    pub(super) fn of(&self, workflow: &Key) -> Option<&Arc<Active>> {
        self.by_workflow.get(workflow)
    }

    /// The route of a path below `/hooks/`.
    pub fn find(&self, path: &str) -> Option<Matched> {
        let found = self.by_path.at(path).ok()?;
        let params = found.params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Some(Matched { route: found.value.clone(), params })
    }
}

/// What a trigger asked for.
pub(super) enum Wanted {
    /// Requests to a route.
    Route(HttpRoute),
    /// A timer, by its id, with its time and its payload.
    Timer((Box<str>, u64, Json)),
    /// To be called by name.
    Call,
}

/// What a trigger asked for, if this host can do it.
pub(super) fn read(subscription: triggers::Subscription, declared: &[String]) -> Result<Wanted, Failure> {
    use triggers::Subscription;
    let name = match &subscription {
        Subscription::Http(_) => "http",
        Subscription::Timer(_) => "timer",
        Subscription::Callable => "callable",
        _ => return Err(Failure::bad_answer("this host delivers requests, timers and starts by name only, so far")),
    };
    if declared.iter().all(|declared| declared != name) {
        return Err(Failure::bad_answer(format_args!("it subscribes to `{name}`, which its type does not declare")));
    }
    let route = match subscription {
        Subscription::Http(route) => route,
        Subscription::Timer(timer) => return Ok(Wanted::Timer(crate::plugin::timer(timer)?)),
        _ => return Ok(Wanted::Call),
    };
    let is_method = |method: &String| method.parse::<Method>().is_ok_and(|parsed| parsed.as_str() == method);
    if route.methods.is_empty() || route.methods.len() > SUBSCRIPTIONS_MAX || !route.methods.iter().all(is_method) {
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
    Ok(Wanted::Route(HttpRoute { methods: route.methods, path: route.path, body_bytes_max, hidden_headers: Vec::new() }))
}

#[cfg(test)]
mod tests {
    use super::is_of_share;

    #[test]
    fn a_share_is_exact_and_spread_evenly() {
        for percent in [1_u8, 7, 20, 33, 50, 99] {
            for from in [0, 100, 4_000] {
                let starts = (from..from + 100).filter(|nth| is_of_share(*nth, percent)).count();
                assert_eq!(starts, usize::from(percent));
            }
            let longest = (0..1_000).collect::<Vec<u32>>().split(|nth| is_of_share(*nth, percent)).map(<[u32]>::len).max();
            assert!(longest.unwrap() <= 100 / usize::from(percent) + 1, "{percent}: {longest:?}");
        }
    }
}
