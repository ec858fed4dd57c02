//! Plugins.

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, held};
use crate::admin::{Held, Options, Removable, Source, Standing};
use crate::http::error::Problem;
use crate::http::request::{Reply, json_reply};
use crate::plugin::{Grants, Plugin};
use crate::store::{Pinned, RequiredReplay};

/// `GET /plugins` → `{items: [plugin], refused: [{path, reason}], held: [plugin], unused: [{name, version, code, reason}]}`: every installed
/// version that is used (`quarantine`: why no run calls it, or null), files of the watched folder that are no plugins, versions that wait for
/// approval with what they ask for beyond what was approved (`wider`), and versions that this host could not take up when it started.
pub(super) async fn list(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    let standing = call.admin.standing().await?;
    let items: Vec<Value> = call.admin.registry().list().iter().map(|plugin| summary(plugin, &standing)).collect();
    let waits: Vec<Value> = standing.held.iter().map(|held| held::held(held, &standing)).collect();
    let unused: Vec<Value> = standing.unused.iter().map(held::unused).collect();
    let body = json!({ "items": items, "refused": call.admin.refused_files(), "held": waits, "unused": unused });
    Ok(json_reply(StatusCode::OK, &body))
}

/// `POST /plugins?allow_downgrade` with a component's bytes → plugin; 201, or 200 if it was installed before. Its `status` is `usable`, or
/// `held` until it is approved. `?allow_downgrade=true` takes a version that is older than an installed one.
pub(super) async fn add(call: Call) -> Result<Reply, Problem> {
    call.query.only(&["allow_downgrade"])?;
    let options = Options { allow_downgrade: call.query.get("allow_downgrade")?.unwrap_or(false) };
    if call.body.is_empty() {
        return Err(Problem::bad_request("the body is the plugin: the bytes of a .wasm file"));
    }
    let installed = call.admin.install_as(call.body.into(), Source::Outside, options).await?;
    let status = if installed.is_new { StatusCode::CREATED } else { StatusCode::OK };
    let standing = call.admin.standing().await?;
    let waits = standing.held.iter().find(|held| held.record.digest == installed.plugin.digest);
    let body = waits.map_or_else(|| inspected(&installed.plugin, &standing), |held| held::held(held, &standing));
    Ok(json_reply(status, &body))
}

/// `GET /plugins/{vendor}/{name}?version` → plugin with its types, schemas, imports and exports, its grants, `required_replay` (`{last}` or null), and what it has
/// `used` since it was added: `{calls, broken, cpu_us, memory_bytes, host_calls, bytes_in, bytes_out}`, over restarts too, but for the last
/// seconds before a crash; the keys that signed it, `signed_by: [{key, trusted}]`; and who uses it, `used_by: [{workflow, revision, is_active, unfinished_runs}]`, where revision 0 is a draft that runs
/// carry out. By default the newest version that is used.
pub(super) async fn inspect(call: Call) -> Result<Reply, Problem> {
    call.query.only(&["version"])?;
    let name = call.plugin()?;
    let wanted: Option<semver::Version> = call.query.get("version")?;
    let plugins = call.admin.registry().list();
    let mut versions = plugins.iter().filter(|plugin| plugin.description.name == name);
    let found = match &wanted {
        Some(version) => versions.find(|plugin| plugin.description.version == *version),
        None => versions.next_back(),
    };
    let standing = call.admin.standing().await?;
    let is_wanted =
        |held: &&Held| held.record.name == name && wanted.as_ref().is_none_or(|version| held.record.version == *version);
    if let (None, Some(held)) = (found, standing.held.iter().rfind(is_wanted)) {
        return Ok(json_reply(StatusCode::OK, &held::held(held, &standing)));
    }
    let wanted = wanted.map(|version| format!(" {version}")).unwrap_or_default();
    let missing = || Problem::not_found(format!("no plugin `{name}`{wanted} is installed; `weft plugin list` shows what is"));
    let found = found.ok_or_else(missing)?;
    let mut body = inspected(found, &standing);
    let used_by = call.admin.used_by(found.digest).await?;
    body["used_by"] = used_by.iter().map(pinned).collect();
    Ok(json_reply(StatusCode::OK, &body))
}

/// `DELETE /plugins/{vendor}/{name}?version&inactive` → `{name, version, digest}`. Refused while an active revision or an unfinished
/// run is pinned to the version; and while any revision is, unless `inactive=true`: then those cannot be activated or carried out again.
pub(super) async fn remove(call: Call) -> Result<Reply, Problem> {
    call.query.only(&["version", "inactive"])?;
    let name = call.plugin()?;
    let version: Option<semver::Version> = call.query.get("version")?;
    let version = version.ok_or_else(|| Problem::bad_request("say which version goes: ?version=1.0.0"))?;
    let inactive = call.query.get::<bool>("inactive")?.unwrap_or_default();
    let removed = call.admin.remove_plugin(&name, &version, removable(inactive)).await?;
    Ok(json_reply(StatusCode::OK, &removed))
}

/// `POST /plugins/prune` with `{inactive?, dry_run?}` → `{removed: [{name, version, digest}]}`. Every version goes that no revision is
/// pinned to and that is not its plugin's newest; with `inactive` also those that only revisions are pinned to which are not
/// active, and of which no run goes on.
pub(super) async fn prune(call: Call) -> Result<Reply, Problem> {
    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Prune {
        inactive: bool,
        dry_run: bool,
    }
    call.query.only(&[])?;
    let Prune { inactive, dry_run } = call.json_or_default()?;
    let removed = call.admin.prune(removable(inactive), dry_run).await?;
    Ok(json_reply(StatusCode::OK, &json!({ "removed": removed, "dry_run": dry_run })))
}

/// `POST /plugins/plan` with a component's bytes → what that version would change; nothing of it is kept. `{plugin: {name, version,
/// digest}, is_installed, not_granted: [capability], workflows: [{workflow, revision, is_active, from: [version], verdict, reason?,
/// problems?: [{pointer, message}]}]}`. A workflow's verdict by the definition of its active (else newest) revision: `current` (it is
/// there), `moves`, `breaks` (its requirements lead there, and it does not fit), `stays` (they lead elsewhere).
pub(super) async fn plan_file(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    if call.body.is_empty() {
        return Err(Problem::bad_request("the body is the plugin: the bytes of a .wasm file"));
    }
    Ok(json_reply(StatusCode::OK, &call.admin.plan_file(call.body.into()).await?))
}

/// `GET /plugins/{vendor}/{name}/plan?version` → the same of an installed version, by default the newest.
pub(super) async fn plan(call: Call) -> Result<Reply, Problem> {
    call.query.only(&["version"])?;
    let name = call.plugin()?;
    let version: Option<semver::Version> = call.query.get("version")?;
    Ok(json_reply(StatusCode::OK, &call.admin.plan(&name, version.as_ref()).await?))
}

/// `POST /plugins/{vendor}/{name}/upgrade` with `{to?, replay_last?, dry_run?}` → as `plan`, of the active workflows that use the plugin, with
/// `moved_to`: the revision that was published and activated. A workflow moves if its requirements take the version, by default the
/// newest, and everything fits; else it stays as it is. `replay_last`: and if so many calls of the version before come out the same; if that is
/// required of the plugin, at least as many as are. What else it is pinned to stays the same.
pub(super) async fn upgrade(call: Call) -> Result<Reply, Problem> {
    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Upgrade {
        to: Option<semver::Version>,
        replay_last: Option<u32>,
        dry_run: bool,
    }
    call.query.only(&[])?;
    let name = call.plugin()?;
    let Upgrade { to, replay_last, dry_run } = call.json_or_default()?;
    Ok(json_reply(StatusCode::OK, &call.admin.upgrade(&name, to.as_ref(), "admin", replay_last, dry_run).await?))
}

fn removable(inactive: bool) -> Removable {
    if inactive { Removable::Inactive } else { Removable::Unpinned }
}

fn pinned(pinned: &Pinned) -> Value {
    json!({
        "workflow": pinned.workflow,
        "revision": pinned.revision,
        "is_active": pinned.is_active,
        "unfinished_runs": pinned.unfinished_runs,
    })
}

/// `PUT /plugins/{vendor}/{name}/grants` with `{http?: [text], secrets?: [text], workflows?: [text], kv?: bool, limits?: {…}}` → the
/// grants. What the plugin may do from now on, in all its versions: send requests (`api.example.org`, `GET,HEAD *.example.org`, `*`,
/// `127.0.0.1:8080`), use secrets that its configs name (`github`, `verify github`, `sign,send acme-*`), start workflows (`orders`,
/// `orders-*`), keep values of its own; whether the host's answers are kept for replays (`record?: bool`); and what it may take, where that differs from what every plugin may: `memory_mib`, `cpu_ms`,
/// `wall_ms`, `http_calls`, `kv_calls` of one call, `cpu_ms_per_hour`, `http_calls_per_hour`, `http_kib_per_hour`, of one version in an hour
/// that goes on over restarts.
pub(super) async fn grant(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    let name = call.plugin()?;
    let grants: Grants = call.json()?;
    call.admin.set_grants(&name, grants).await?;
    Ok(json_reply(StatusCode::OK, &call.admin.grants(&name).await?))
}

/// `POST /plugins/{vendor}/{name}/release?version` → plugin: a version that broke again and again is called again, and runs that it held up
/// go on. By default the only version that is in quarantine.
pub(super) async fn release(call: Call) -> Result<Reply, Problem> {
    call.query.only(&["version"])?;
    let name = call.plugin()?;
    let version: Option<semver::Version> = call.query.get("version")?;
    let plugin = call.admin.release_plugin(&name, version.as_ref()).await?;
    Ok(json_reply(StatusCode::OK, &summary(&plugin, &call.admin.standing().await?)))
}

/// `POST /plugins/{vendor}/{name}/replay` with `{version, against, last?}` → `{calls, same, unrecorded, differences: [{run, activation, what, old,
/// new}], is_cut, old, new}`: the newest `last` (100) calls of the version `against` are made again with `version`, with the configs, events and
/// answers of the host that are recorded (`record` of the plugin's grants), and without effects. `old` and `new`: `{p50_us, p99_us, cpu_us,
/// memory_bytes}` of the calls then and now. Breaks of `version` count as ever.
pub(super) async fn replay(call: Call) -> Result<Reply, Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Replay {
        version: semver::Version,
        against: semver::Version,
        #[serde(default = "hundred")]
        last: u32,
    }
    fn hundred() -> u32 {
        100
    }
    call.query.only(&[])?;
    let name = call.plugin()?;
    let Replay { version, against, last } = call.json()?;
    Ok(json_reply(StatusCode::OK, &call.admin.replay(&name, &version, &against, last).await?))
}

/// `PUT /plugins/{vendor}/{name}/required-replay` with `{last}` → `{last}`. From now on another version of the plugin takes over in a workflow
/// (by activation, trial or upgrade) only if the `last` calls of the version before come out the same with it; until then 409 `replay-differs`, or
/// `replay-required` where too little could be compared. A workflow's way back to a version that it had is free. The host's answers are
/// kept as with the grant `record`.
pub(super) async fn require_replay(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    let name = call.plugin()?;
    let required: RequiredReplay = call.json()?;
    call.admin.require_replay(&name, Some(required.last)).await?;
    Ok(json_reply(StatusCode::OK, &required))
}

/// `DELETE /plugins/{vendor}/{name}/required-replay` → `{}`. That is required no more.
pub(super) async fn require_no_replay(call: Call) -> Result<Reply, Problem> {
    call.query.only(&[])?;
    let name = call.plugin()?;
    call.admin.require_replay(&name, None).await?;
    Ok(json_reply(StatusCode::OK, &json!({})))
}

fn summary(plugin: &Plugin, standing: &Standing) -> Value {
    let description = &plugin.description;
    let nodes: Vec<&str> = description.nodes.iter().map(|node| node.name.as_str()).collect();
    let triggers: Vec<&str> = description.triggers.iter().map(|trigger| trigger.name.as_str()).collect();
    json!({
        "name": description.name,
        "version": description.version,
        "title": description.title,
        "digest": plugin.digest,
        "signed_by": held::signed_by(plugin.digest, standing),
        "nodes": nodes,
        "triggers": triggers,
        "quarantine": plugin.quarantine_reason(),
    })
}

fn inspected(plugin: &Plugin, standing: &Standing) -> Value {
    let mut body = serde_json::to_value(&plugin.description).unwrap_or_default();
    body["digest"] = json!(plugin.digest);
    body["status"] = "usable".into();
    body["signed_by"] = held::signed_by(plugin.digest, standing);
    body["capabilities"] = json!(plugin.facts.capabilities());
    body["imports"] = json!(plugin.facts.imports);
    body["exports"] = json!(plugin.facts.exports);
    body["grants"] = json!(*plugin.grants());
    body["required_replay"] = json!(plugin.required_replay().map(|last| RequiredReplay { last }));
    body["quarantine"] = json!(plugin.quarantine_reason());
    body["used"] = json!(plugin.totals());
    body
}
