//! What a version of a plugin would change for the workflows that use the plugin, and how they move to it.
//!
//! A workflow moves by a new revision: its active one's definition, with this plugin in the new version and everything else as it
//! is. Nothing here looks at drafts, and nothing in flight is touched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use semver::{Version, VersionReq};
use serde::Serialize;

use super::publish::{Choice, Pins, each_variable};
use super::replay::{Tried, check_last};
use super::{Admin, Error, PluginVersion, Source};
use crate::digest::Digest;
use crate::plugin::{Grants, Kind, Plugin};
use crate::store::{Pin, Revision, WorkflowHead};
use crate::workflow::{Definition, Key, Problem, Root, Step, TypeRef, names_path};

/// What a version of a plugin would change.
#[derive(Debug, Serialize)]
pub struct UpgradePlan {
    /// The version.
    pub plugin: PluginVersion,
    /// Whether it is installed.
    pub is_installed: bool,
    /// What it could do by its imports that no other installed version could, and that is not granted: calls of it answer `denied`.
    pub not_granted: Vec<&'static str>,
    /// Workflows whose active (else newest) revision uses the plugin.
    pub workflows: Vec<Move>,
}

/// What would become of a workflow, or became of it.
#[derive(Debug, Serialize)]
pub struct Move {
    /// The workflow.
    pub workflow: Key,
    /// Its active revision, else its newest.
    pub revision: u32,
    /// Whether that is active.
    pub is_active: bool,
    /// The versions of the plugin that it is pinned to.
    pub from: BTreeSet<Version>,
    /// See there.
    pub verdict: Verdict,
    /// Why it does not move.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What does not fit, by pointers into the definition; also where it does not move.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
    /// The revision that it moved to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moved_to: Option<u32>,
}

/// What becomes of a workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is there.
    Current,
    /// Its requirements lead to the version, and everything fits.
    Moves,
    /// Its requirements lead to the version, and something does not fit: it cannot be published like this.
    Breaks,
    /// Its requirements lead elsewhere.
    Stays,
}

/// An active workflow, and what would become of it.
struct Weighed {
    head: WorkflowHead,
    revision: Revision,
    moved: Move,
    /// What it would be pinned to; none: it does not move.
    pins: Option<Pins>,
}

impl Admin {
    /// What a plugin would change that is not installed; nothing of it is kept.
    pub async fn plan_file(&self, bytes: Vec<u8>) -> Result<UpgradePlan, Error> {
        let bytes: Arc<[u8]> = bytes.into();
        if let Some(plugin) = self.registry.get(&Digest::of(&bytes)) {
            return self.plan_of(&plugin).await;
        }
        let plugin = Arc::new(self.examine(bytes, Source::Outside).await?.0);
        let plan = self.plan_of(&plugin).await;
        let _changing = self.changing.lock().await;
        if self.registry.get(&plugin.digest).is_none() {
            self.registry.forget_compiled(&plugin.digest);
        }
        plan
    }

    /// What an installed version of a plugin would change; by default the newest.
    pub async fn plan(&self, name: &str, version: Option<&Version>) -> Result<UpgradePlan, Error> {
        self.plan_of(&self.version_of(name, version)?).await
    }

    /// Moves every active workflow that uses a plugin to a version of it, by default the newest: publishes it again and activates
    /// that, one workflow after the other, each wholly or not at all. Says of each what became of it. `replay_last`: only from versions of
    /// which so many calls come out the same. `dry_run`: moves none.
    pub async fn upgrade(
        &self,
        name: &str,
        to: Option<&Version>,
        author: &str,
        replay_last: Option<u32>,
        dry_run: bool,
    ) -> Result<UpgradePlan, Error> {
        if let Some(last) = replay_last {
            check_last(last)?;
        }
        let plugin = self.version_of(name, to)?;
        let mut tried = Tried::default();
        if replay_last.or(plugin.required_replay()).is_some() {
            for Weighed { head, pins, .. } in self.weigh_active(&plugin).await? {
                if let Some(pins) = pins {
                    self.try_out(self.takeovers(&head, &all(&pins), replay_last).await?, &mut tried).await?;
                }
            }
        }
        let _changing = self.changing.lock().await;
        // Making calls again takes its time, and the version may have been removed meanwhile.
        let plugin = self.version_of(name, Some(&plugin.description.version))?;
        let mut moves = Vec::new();
        for Weighed { head, revision, mut moved, pins } in self.weigh_active(&plugin).await? {
            if let Some(pins) = pins {
                let takeovers = self.takeovers(&head, &all(&pins), replay_last).await?;
                if let Some((_, unlike)) = tried.refused(&takeovers).next() {
                    (moved.verdict, moved.reason) = (Verdict::Stays, Some(unlike.reason));
                } else if !dry_run {
                    match self.move_to(&head, &revision, pins, &moved, &plugin, author).await {
                        Ok(number) => moved.moved_to = Some(number),
                        Err(Error::Store(error)) => return Err(error.into()),
                        Err(error) => (moved.verdict, moved.reason) = (Verdict::Breaks, Some(error.to_string())),
                    }
                }
            }
            moves.push(moved);
        }
        Ok(self.plan_with(&plugin, moves))
    }

    /// What would become of the active workflows that use a plugin with this version of it.
    async fn weigh_active(&self, plugin: &Arc<Plugin>) -> Result<Vec<Weighed>, Error> {
        let mut all = Vec::new();
        for (head, revision) in self.users_of(&plugin.description.name).await? {
            if head.active_revision != Some(revision.number) {
                continue;
            }
            let (mut moved, pins) = self.weigh_move(&head, &revision, plugin, true).await?;
            if let Some(canary) = head.canary.as_ref().filter(|_| moved.verdict == Verdict::Moves) {
                let reason = format!("revision {} is on trial: activate it or take it back first", canary.revision);
                (moved.verdict, moved.reason) = (Verdict::Stays, Some(reason));
            }
            let pins = pins.filter(|_| moved.verdict == Verdict::Moves);
            all.push(Weighed { head, revision, moved, pins });
        }
        Ok(all)
    }

    async fn move_to(
        &self,
        head: &WorkflowHead,
        revision: &Revision,
        pins: Pins,
        moved: &Move,
        plugin: &Plugin,
        author: &str,
    ) -> Result<u32, Error> {
        let from = moved.from.iter().map(Version::to_string).collect::<Vec<_>>().join(", ");
        let message = format!("{} {from} → {}", plugin.description.name, plugin.description.version);
        let published = self.store_revision(head, revision.definition.clone(), pins, author, Some(message)).await?;
        let number = published.revision.number;
        self.make_active(&head.key, Some(number)).await?;
        tracing::info!(workflow = %head.key, revision = number, plugin = plugin.description.name, version = %plugin.description.version, "moved a workflow");
        Ok(number)
    }

    /// A version of a plugin; by default its newest release, else its newest pre-release.
    fn version_of(&self, name: &str, version: Option<&Version>) -> Result<Arc<Plugin>, Error> {
        let mut versions = self.registry.list();
        versions.retain(|plugin| plugin.description.name == name);
        let found = match version {
            Some(version) => versions.iter().find(|plugin| plugin.description.version == *version),
            None => versions.iter().rfind(|plugin| plugin.description.version.pre.is_empty()).or(versions.last()),
        };
        let wanted = version.map(|version| format!("@{version}")).unwrap_or_default();
        let missing = || Error::not_found("plugin", format!("{name}{wanted}"), "; `weft plugin list` shows what is installed");
        found.cloned().ok_or_else(missing)
    }

    async fn plan_of(&self, plugin: &Arc<Plugin>) -> Result<UpgradePlan, Error> {
        let mut moves = Vec::new();
        for (head, revision) in self.users_of(&plugin.description.name).await? {
            moves.push(self.weigh_move(&head, &revision, plugin, false).await?.0);
        }
        Ok(self.plan_with(plugin, moves))
    }

    fn plan_with(&self, plugin: &Plugin, workflows: Vec<Move>) -> UpgradePlan {
        let description = &plugin.description;
        let installed = self.registry.list();
        let others =
            || installed.iter().filter(|other| other.description.name == description.name && other.digest != plugin.digest);
        let grants = installed.iter().rfind(|other| other.description.name == description.name).map(|other| other.grants());
        let is_new = |asked: &&str| !others().any(|other| asks(other).contains(asked));
        let is_granted = |asked: &&str| grants.as_ref().is_some_and(|grants| allows(grants, asked));
        UpgradePlan {
            plugin: PluginVersion { name: description.name.clone(), version: description.version.clone(), digest: plugin.digest },
            is_installed: self.registry.get(&plugin.digest).is_some(),
            not_granted: asks(plugin).into_iter().filter(is_new).filter(|asked| !is_granted(asked)).collect(),
            workflows,
        }
    }

    /// Workflows whose active revision, else their newest, is pinned to a plugin, with that revision.
    async fn users_of(&self, name: &str) -> Result<Vec<(WorkflowHead, Revision)>, Error> {
        let name = name.to_owned();
        self.read(move |store| {
            let mut users = Vec::new();
            for head in store.workflows(None, usize::MAX)? {
                let number = head.active_revision.unwrap_or(head.latest_revision);
                if let Some(revision) = store.revision(&head.key, number)?
                    && revision.pins().any(|pin| pin.plugin == name)
                {
                    users.push((head, revision));
                }
            }
            Ok(users)
        })
        .await
    }

    /// What would become of a revision with a plugin; and what it would be pinned to, where everything fits. `is_asked_for`: the
    /// version is taken though there is a newer one.
    async fn weigh_move(
        &self,
        head: &WorkflowHead,
        revision: &Revision,
        plugin: &Arc<Plugin>,
        is_asked_for: bool,
    ) -> Result<(Move, Option<Pins>), Error> {
        let name = &plugin.description.name;
        let of_plugin = || revision.pins().filter(|pin| pin.plugin == *name);
        let (pins, mut problems) = match self.resolve(&revision.definition, Choice::Instead(revision, plugin)).await {
            Ok(pins) => (Some(pins), Vec::new()),
            Err(Error::Invalid(problems)) => (None, problems),
            Err(error) => return Err(error),
        };
        problems.extend(self.members_gone(revision, plugin));
        let reason = self.leads_elsewhere(&revision.definition, plugin, is_asked_for);
        let verdict = match () {
            () if of_plugin().all(|pin| pin.digest == plugin.digest) => Verdict::Current,
            () if reason.is_some() => Verdict::Stays,
            () if !problems.is_empty() => Verdict::Breaks,
            () => Verdict::Moves,
        };
        let moved = Move {
            workflow: head.key.clone(),
            revision: revision.number,
            is_active: head.active_revision == Some(revision.number),
            from: of_plugin().map(|pin| pin.version.clone()).collect(),
            verdict,
            reason: reason.filter(|_| verdict == Verdict::Stays),
            problems: if verdict == Verdict::Current { Vec::new() } else { problems },
            moved_to: None,
        };
        Ok((moved, pins))
    }

    /// Why a definition's requirements do not lead to a version; none: they do.
    fn leads_elsewhere(&self, definition: &Definition, plugin: &Plugin, is_asked_for: bool) -> Option<String> {
        let (name, version) = (&plugin.description.name, &plugin.description.version);
        let installed = self.registry.list();
        let mut names: BTreeSet<&str> = BTreeSet::from([definition.trigger.r#type.as_str()]);
        definition.each_step(|step, _, _| {
            names.insert(&step.r#type);
        });
        let references = names.into_iter().filter_map(|text| Some((text, text.parse::<TypeRef>().ok()?)));
        for (text, reference) in references.filter(|(_, reference)| reference.plugin.as_ref() == Some(name)) {
            let will_do = |version: &Version| match &reference.requirement {
                Some(requirement) => requirement.matches(version),
                None => version.pre.is_empty(),
            };
            if !will_do(version) {
                let requirement = reference.requirement.clone().unwrap_or(VersionReq::STAR);
                return Some(format!("`{text}` takes {requirement}, which {version} is not"));
            }
            let is_newer = |other: &&Arc<Plugin>| {
                other.description.name == *name && other.description.version > *version && will_do(&other.description.version)
            };
            if let Some(newer) = installed.iter().rfind(is_newer).filter(|_| !is_asked_for) {
                return Some(format!("`{text}` takes {}, which is newer", newer.description.version));
            }
        }
        None
    }

    /// Variables that name what the plugin's types gave in the version that a revision is pinned to, and do not give any more.
    fn members_gone(&self, revision: &Revision, plugin: &Plugin) -> Vec<Problem> {
        let definition = &revision.definition;
        let mut steps: BTreeMap<&str, &Step> = BTreeMap::new();
        let mut configs = vec![(&definition.trigger.config, "/trigger/config".to_owned())];
        definition.each_step(|step, at, _| {
            steps.insert(step.key.as_str(), step);
            configs.push((&step.config, format!("{at}/config")));
        });
        // The plugin before, for a type that it carries out.
        let before = |kind: Kind, type_name: &str| {
            let pin = revision.pin(kind == Kind::Trigger, type_name).filter(|pin| pin.plugin == plugin.description.name)?;
            Some((self.registry.get(&pin.digest)?, pin.name.clone()))
        };
        let mut problems = Vec::new();
        for (config, at) in configs {
            each_variable(config, &at, &mut problems, |_, variable| {
                let path: Vec<&str> = variable.path().collect();
                let (kind, type_name) = match &variable.root {
                    Root::Context => (Kind::Trigger, definition.trigger.r#type.as_str()),
                    Root::Step(key) | Root::Scope(key) => (Kind::Node, steps.get(key.as_str())?.r#type.as_str()),
                    Root::System(_) | Root::Env(_) | Root::Secret(_) => return None,
                };
                let (old, name) = before(kind, type_name)?;
                let is_gone = gives(&old, &variable.root, &name, &path) == Some(true)
                    && gives(plugin, &variable.root, &name, &path) == Some(false);
                let version = &plugin.description.version;
                is_gone.then(|| format!("`{type_name}` gave this up to {}, and {version} does not", old.description.version))
            });
        }
        problems
    }
}

fn all((trigger, nodes): &Pins) -> Vec<&Pin> {
    nodes.values().chain([trigger]).collect()
}

/// Whether what a type gives has something at a path; none: its schemas do not say.
fn gives(plugin: &Plugin, root: &Root, name: &str, path: &[&str]) -> Option<bool> {
    match root {
        Root::Context => names_path(plugin.trigger(name)?.context_schema.as_ref()?, path),
        Root::Step(_) => names_path(plugin.node(name)?.result_schema.as_ref()?, path),
        Root::Scope(_) => {
            let scopes = plugin.node(name)?.branches.iter().filter_map(|branch| branch.scope_schema.as_ref());
            scopes.filter_map(|schema| names_path(schema, path)).reduce(|one, other| one || other)
        }
        Root::System(_) | Root::Env(_) | Root::Secret(_) => None,
    }
}

/// What a plugin can do beyond its run, by its imports, if it is granted.
fn asks(plugin: &Plugin) -> Vec<&'static str> {
    let asked = [
        ("http", plugin.facts.uses("http") || plugin.facts.uses_wasi("http")),
        ("secrets", plugin.facts.uses("crypto")),
        ("workflows", plugin.facts.uses("workflows")),
        ("kv", plugin.facts.uses("kv")),
        ("files", plugin.facts.uses("files")),
    ];
    asked.into_iter().filter(|(_, asks)| *asks).map(|(name, _)| name).collect()
}

/// Whether anything of that is granted.
fn allows(grants: &Grants, asked: &str) -> bool {
    match asked {
        "http" => !grants.http.is_empty() || !grants.connections.is_empty(),
        "secrets" => !grants.secrets.is_empty(),
        "workflows" => !grants.workflows.is_empty(),
        "files" => grants.files,
        _ => grants.kv,
    }
}
