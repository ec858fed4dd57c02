//! `/api/v1`: what a token may do. Every route stands in [`routes`].

mod audit;
mod connections;
mod environment;
mod events;
mod files;
mod fires;
mod held;
mod plugins;
mod queues;
mod runs;
mod secrets;
mod steps;
mod vendors;
mod workflows;

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, Request, header};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::error::Problem;
use super::request::{Query, Reply, header_text, read_body};
use super::server::Stopping;
use crate::admin::Admin;
use crate::executor::to_its_end;
use crate::limits::{API_BODY_BYTES_MAX, LIST_LIMIT_DEFAULT, LIST_LIMIT_MAX, PLUGIN_BYTES_MAX};
use crate::store::Who;

/// A request to a route.
struct Call {
    admin: Arc<Admin>,
    /// Ends when the host is told to stop.
    stopping: Stopping,
    params: Vec<(String, String)>,
    query: Query,
    headers: HeaderMap,
    body: Bytes,
}

type Handler = fn(Call) -> BoxFuture<'static, Result<Reply, Problem>>;

struct Route {
    method: Method,
    handler: Handler,
    body_bytes_max: usize,
}

static ROUTES: LazyLock<matchit::Router<Vec<Route>>> = LazyLock::new(routes);

fn routes() -> matchit::Router<Vec<Route>> {
    let mut table: Vec<(&str, Vec<Route>)> = Vec::new();
    let mut add = |method: Method, path: &'static str, handler: Handler| {
        let is_plugin = ["/plugins", "/plugins/plan"].contains(&path);
        let body_bytes_max = if is_plugin { PLUGIN_BYTES_MAX + 1 } else { API_BODY_BYTES_MAX };
        let route = Route { method, handler, body_bytes_max };
        match table.iter_mut().find(|(known, _)| *known == path) {
            Some((_, routes)) => routes.push(route),
            None => table.push((path, vec![route])),
        }
    };
    add(Method::GET, "/workflows", |call| Box::pin(workflows::list(call)));
    add(Method::GET, "/workflows/{key}", |call| Box::pin(workflows::show(call)));
    add(Method::GET, "/workflows/{key}/draft", |call| Box::pin(workflows::draft(call)));
    add(Method::PUT, "/workflows/{key}/draft", |call| Box::pin(workflows::save_draft(call)));
    add(Method::POST, "/workflows/{key}/check", |call| Box::pin(workflows::check(call)));
    add(Method::GET, "/workflows/{key}/revisions", |call| Box::pin(workflows::revisions(call)));
    add(Method::POST, "/workflows/{key}/revisions", |call| Box::pin(workflows::publish(call)));
    add(Method::GET, "/workflows/{key}/revisions/{number}", |call| Box::pin(workflows::revision(call)));
    add(Method::POST, "/workflows/{key}/activate", |call| Box::pin(workflows::activate(call)));
    add(Method::PUT, "/workflows/{key}/canary", |call| Box::pin(workflows::begin_canary(call)));
    add(Method::DELETE, "/workflows/{key}/canary", |call| Box::pin(workflows::end_canary(call)));
    add(Method::POST, "/workflows/{key}/pause", |call| Box::pin(workflows::pause(call)));
    add(Method::POST, "/workflows/{key}/restore", |call| Box::pin(workflows::restore(call)));
    add(Method::GET, "/workflows/{key}/diff", |call| Box::pin(workflows::diff(call)));
    add(Method::GET, "/workflows/{key}/requests", |call| Box::pin(workflows::requests(call)));
    add(Method::GET, "/workflows/{key}/export", |call| Box::pin(workflows::export(call)));
    add(Method::GET, "/workflows/{key}/steps/{step}/variables", |call| Box::pin(steps::variables(call)));
    add(Method::POST, "/workflows/{key}/steps/{step}/test", |call| Box::pin(steps::test(call)));
    add(Method::GET, "/workflows/{key}/fires", |call| Box::pin(fires::next(call)));
    add(Method::GET, "/workflows/{key}/set-aside", |call| Box::pin(fires::set_aside(call)));
    add(Method::POST, "/workflows/{key}/set-aside/{number}/retry", |call| Box::pin(fires::retry(call)));
    add(Method::DELETE, "/workflows/{key}/set-aside/{number}", |call| Box::pin(fires::drop(call)));
    add(Method::GET, "/runs", |call| Box::pin(runs::list(call)));
    add(Method::GET, "/runs/{id}", |call| Box::pin(runs::show(call)));
    add(Method::DELETE, "/runs/{id}", |call| Box::pin(runs::delete(call)));
    add(Method::POST, "/runs/{id}/cancel", |call| Box::pin(runs::cancel(call)));
    add(Method::POST, "/runs/{id}/rerun", |call| Box::pin(runs::rerun(call)));
    add(Method::POST, "/runs/{id}/signals", |call| Box::pin(runs::signal(call)));
    add(Method::POST, "/runs/{id}/tasks", |call| Box::pin(runs::act(call)));
    add(Method::POST, "/runs/{id}/decide", |call| Box::pin(runs::decide(call)));
    add(Method::GET, "/runs/{id}/events", |call| Box::pin(events::of_run(call)));
    add(Method::GET, "/files/{id}", |call| Box::pin(files::show(call)));
    add(Method::GET, "/events", |call| Box::pin(events::of_all(call)));
    add(Method::POST, "/workflows/{key}/runs", |call| Box::pin(runs::start(call)));
    add(Method::POST, "/workflows/{key}/signals", |call| Box::pin(runs::signal_workflow(call)));
    add(Method::GET, "/queues", |call| Box::pin(queues::list(call)));
    add(Method::PUT, "/queues/{name}", |call| Box::pin(queues::set(call)));
    add(Method::GET, "/plugins", |call| Box::pin(plugins::list(call)));
    add(Method::POST, "/plugins", |call| Box::pin(plugins::add(call)));
    add(Method::POST, "/plugins/prune", |call| Box::pin(plugins::prune(call)));
    add(Method::POST, "/plugins/plan", |call| Box::pin(plugins::plan_file(call)));
    add(Method::GET, "/plugins/{vendor}/{name}/plan", |call| Box::pin(plugins::plan(call)));
    add(Method::POST, "/plugins/{vendor}/{name}/upgrade", |call| Box::pin(plugins::upgrade(call)));
    add(Method::DELETE, "/plugins/{vendor}/{name}", |call| Box::pin(plugins::remove(call)));
    add(Method::GET, "/plugins/{vendor}/{name}", |call| Box::pin(plugins::inspect(call)));
    add(Method::POST, "/plugins/{vendor}/{name}/replay", |call| Box::pin(plugins::replay(call)));
    add(Method::PUT, "/plugins/{vendor}/{name}/required-replay", |call| Box::pin(plugins::require_replay(call)));
    add(Method::DELETE, "/plugins/{vendor}/{name}/required-replay", |call| Box::pin(plugins::require_no_replay(call)));
    add(Method::POST, "/plugins/{vendor}/{name}/release", |call| Box::pin(plugins::release(call)));
    add(Method::PUT, "/plugins/{vendor}/{name}/grants", |call| Box::pin(plugins::grant(call)));
    add(Method::POST, "/plugins/{vendor}/{name}/approve", |call| Box::pin(held::approve(call)));
    add(Method::GET, "/vendors", |call| Box::pin(vendors::list(call)));
    add(Method::POST, "/vendors/{name}/keys", |call| Box::pin(vendors::trust(call)));
    add(Method::DELETE, "/vendors/{name}/keys/{fingerprint}", |call| Box::pin(vendors::distrust(call)));
    add(Method::GET, "/secrets", |call| Box::pin(secrets::list(call)));
    add(Method::PUT, "/secrets/{name}", |call| Box::pin(secrets::set(call)));
    add(Method::PUT, "/secrets/{name}/hosts", |call| Box::pin(secrets::allow(call)));
    add(Method::DELETE, "/secrets/{name}", |call| Box::pin(secrets::remove(call)));
    add(Method::GET, "/connections", |call| Box::pin(connections::list(call)));
    add(Method::GET, "/connections/{name}", |call| Box::pin(connections::show(call)));
    add(Method::PUT, "/connections/{name}", |call| Box::pin(connections::set(call)));
    add(Method::DELETE, "/connections/{name}", |call| Box::pin(connections::remove(call)));
    add(Method::POST, "/connections/{name}/test", |call| Box::pin(connections::test(call)));
    add(Method::POST, "/samples", |call| Box::pin(workflows::sample(call)));
    add(Method::GET, "/env", |call| Box::pin(environment::list(call)));
    add(Method::PUT, "/env/{name}", |call| Box::pin(environment::set(call)));
    add(Method::DELETE, "/env/{name}", |call| Box::pin(environment::remove(call)));
    add(Method::GET, "/audit", |call| Box::pin(audit::list(call)));
    add(Method::GET, "/audit/verify", |call| Box::pin(audit::verify(call)));
    let mut router = matchit::Router::new();
    for (path, routes) in table {
        router.insert(path, routes).expect("the table above has no conflicts; every start shows it");
    }
    router
}

/// Serves a request whose path below `/api/v1` is `path`.
pub(super) async fn serve(
    admin: &Arc<Admin>,
    stopping: &Stopping,
    path: &str,
    request: Request<Incoming>,
) -> Result<Reply, Problem> {
    let Ok(found) = ROUTES.at(path) else {
        return Err(Problem::not_found(format!("the API has no `{path}`")));
    };
    let Some(route) = found.value.iter().find(|route| route.method == request.method()) else {
        let methods: Vec<&str> = found.value.iter().map(|route| route.method.as_str()).collect();
        return Err(Problem::method_not_allowed(&methods.join(", ")));
    };
    let decode = |(name, value): (&str, &str)| (name.to_owned(), percent_decode_str(value).decode_utf8_lossy().into_owned());
    let params = found.params.iter().map(decode).collect();
    let (parts, body) = request.into_parts();
    let body = read_body(body, route.body_bytes_max).await?;
    let (admin, stopping) = (admin.acting(who(&parts.headers)), stopping.clone());
    let call = Call { admin, stopping, params, query: Query::of(&parts.uri), headers: parts.headers, body };
    to_its_end((route.handler)(call)).await
}

/// Who the audit log says it was: the command line names itself, and whoever else holds the token can do so too.
fn who(headers: &HeaderMap) -> Who {
    match header_text(headers, header::USER_AGENT) {
        Some(agent) if agent.starts_with("weft/") => Who::CommandLine,
        _ => Who::AdminToken,
    }
}

impl Call {
    /// A segment of the path.
    fn param<T: std::str::FromStr>(&self, name: &str) -> Result<T, Problem>
    where
        T::Err: std::fmt::Display,
    {
        let text = self.params.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value);
        text.parse().map_err(|error| Problem::not_found(format!("{name}: {error}")))
    }

    /// The plugin that the path names: `vendor/name`.
    fn plugin(&self) -> Result<String, Problem> {
        Ok(format!("{}/{}", self.param::<String>("vendor")?, self.param::<String>("name")?))
    }

    /// The body as a JSON object.
    fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        if self.body.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
            // A list of members' values would be taken for them.
            return Err(Problem::bad_request("the body is not the JSON that is wanted: an object".to_owned()));
        }
        serde_json::from_slice(&self.body)
            .map_err(|error| Problem::bad_request(format!("the body is not the JSON that is wanted: {error}")))
    }

    /// The body as JSON, or the default where there is none.
    fn json_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, Problem> {
        if self.body.is_empty() { Ok(T::default()) } else { self.json() }
    }

    /// How many items a page has at most.
    fn limit(&self) -> Result<usize, Problem> {
        match self.query.get::<usize>("limit")? {
            None => Ok(LIST_LIMIT_DEFAULT),
            Some(limit @ 1..=LIST_LIMIT_MAX) => Ok(limit),
            Some(limit) => Err(Problem::bad_request(format!("?limit={limit}: a page has 1 to {LIST_LIMIT_MAX} items"))),
        }
    }
}

/// A page of a list, and what to give as `after` for the next one.
fn page(items: Vec<Value>, next: Option<impl ToString>) -> Value {
    json!({ "items": items, "next": next.map(|next| next.to_string()) })
}
