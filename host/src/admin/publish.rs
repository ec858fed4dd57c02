//! Whether a definition can be run: every problem at once, and the plugins that it will run with.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::approve::Held;
use super::{Admin, Error};
use crate::plugin::contract::types;
use crate::plugin::{Description, Kind, Pace, Plugin};
use crate::store::{Pin, Revision};
use crate::workflow::{
    Definition, ON_FAILURE, OPEN_WITH, Problem, Root, Schema, Step, Template, TypeRef, Variable, escape, is_raw,
};

/// The cases of `subscription` that this host delivers.
const DELIVERED: [&str; 3] = ["http", "timer", "callable"];

/// What a run cannot wait for while somebody waits for it.
const NOT_IN_SYNCHRONOUS: [&str; 3] = ["timer", "signal", "task"];

/// A plugin that carries out a type, and the type's name within it.
pub(super) type Found = (Arc<Plugin>, String);

/// Which plugins carry out the types of a definition.
#[derive(Clone, Copy)]
pub(super) enum Choice<'a> {
    /// The newest that its requirements allow.
    Newest,
    /// Those that this revision is pinned to, but this plugin in place of its other versions, whatever the requirements say.
    Instead(&'a Revision, &'a Arc<Plugin>),
}

/// The plugins of a definition: its trigger's, and each type's that its steps name.
pub(super) type Pins = (Pin, BTreeMap<String, Pin>);

/// What the trigger of a definition is known to give.
struct Surroundings {
    /// The members of the context, where its schema names them all.
    context: Option<HashSet<String>>,
    secrets: HashSet<String>,
    environment: HashSet<String>,
}

/// Which steps a step sees.
#[derive(Clone, Default)]
struct Sight {
    /// Steps that are finished when it begins.
    results: HashSet<String>,
    /// Steps that it is in a branch of.
    scopes: HashSet<String>,
}

impl Admin {
    /// The plugins of a definition, or everything that is wrong with it.
    pub(super) async fn resolve(&self, definition: &Definition, choice: Choice<'_>) -> Result<Pins, Error> {
        let mut problems = Vec::new();
        let mut nodes: HashMap<&str, Option<Found>> = HashMap::new();
        let held = self.standing().await?.held;
        let find = |kind: Kind, type_name: &str, at: &str, problems: &mut Vec<Problem>| match self
            .find(kind, type_name, choice, &held)
        {
            Ok(found) => Some(found),
            Err(problem) => {
                problems.push(Problem { pointer: format!("{at}/type"), ..problem });
                None
            }
        };
        let trigger = find(Kind::Trigger, &definition.trigger.r#type, "/trigger", &mut problems);
        let mut steps: Vec<(&Step, String)> = Vec::new();
        definition.each_step(|step, at, _| steps.push((step, at.to_owned())));
        for (step, at) in &steps {
            nodes.entry(&step.r#type).or_insert_with(|| find(Kind::Node, &step.r#type, at, &mut problems));
        }

        let kind = trigger.as_ref().and_then(|(plugin, name)| plugin.trigger(name));
        let is_synchronous = kind.is_some_and(|kind| kind.is_synchronous(&definition.trigger.config));
        if let Some((plugin, name)) = &trigger {
            let config = &definition.trigger.config;
            self.check_config(Kind::Trigger, plugin, name, config, "/trigger/config", &mut problems).await?;
            let undelivered = plugin
                .trigger(name)
                .into_iter()
                .flat_map(|kind| &kind.subscribes)
                .find(|what| !DELIVERED.contains(&what.as_str()));
            if let Some(what) = undelivered {
                let message = format!("its plugin wants `{what}` events, which this host does not deliver yet");
                problems.push(Problem::new("/trigger/type", message));
            }
        }
        for (step, at) in &steps {
            let Some(Some((plugin, name))) = nodes.get(step.r#type.as_str()) else { continue };
            let config_at = format!("{at}/config");
            self.check_config(Kind::Node, plugin, name, &step.config, &config_at, &mut problems).await?;
            let Some(kind) = plugin.node(name) else { continue };
            let known: Vec<&str> = kind.branch_keys(&step.config).collect();
            if known.contains(&ON_FAILURE) {
                problems
                    .push(Problem::new(&config_at, format!("no branch can have the key `{ON_FAILURE}`, which every step has")));
            }
            let is_unknown = |branch: &&String| !known.contains(&branch.as_str()) && *branch != ON_FAILURE;
            for branch in step.branches.keys().filter(is_unknown) {
                let message = match &known[..] {
                    [] => format!("a step of type `{}` has no branches", step.r#type),
                    known => format!("a step of type `{}` has the branches {}, not `{branch}`", step.r#type, known.join(", ")),
                };
                problems.push(Problem::new(format!("{at}/branches"), message));
            }
            if is_synchronous && let Some(what) = kind.waits.iter().find(|what| NOT_IN_SYNCHRONOUS.contains(&what.as_str())) {
                let message = format!("a step of type `{}` may wait for a {what}, and this workflow is synchronous", step.r#type);
                problems.push(Problem::new(format!("{at}/type"), message));
            }
        }

        let surroundings = self.surroundings(trigger.as_ref(), &definition.trigger.config).await?;
        check_trigger_variables(&definition.trigger.config, &surroundings, &mut problems);
        let schema = |step: &Step| {
            let (plugin, name) = nodes.get(step.r#type.as_str())?.as_ref()?;
            plugin.config_schema(Kind::Node, name)
        };
        let variables = Variables { surroundings: &surroundings, schema: &schema };
        variables.check(&definition.steps, "/steps", &mut Sight::default(), &mut problems);

        match trigger {
            Some((plugin, name)) if problems.is_empty() => {
                let nodes = nodes.into_iter().filter_map(|(type_name, found)| {
                    let (plugin, name) = found?;
                    Some((type_name.to_owned(), pin(&plugin, name)))
                });
                Ok((pin(&plugin, name), nodes.collect()))
            }
            _ => Err(Error::Invalid(problems)),
        }
    }

    pub(super) fn find(&self, kind: Kind, type_name: &str, choice: Choice<'_>, held: &[Held]) -> Result<Found, Problem> {
        let wrong = |error: String| Problem::new("", error);
        let reference: TypeRef = type_name.parse().map_err(|error: crate::workflow::TypeRefError| wrong(error.to_string()))?;
        let plugin = match choice {
            Choice::Newest => self.registry.resolve(kind, &reference).map_err(|error| {
                let held = Self::held_for(held, kind, &reference);
                let code = held.is_some().then(|| "plugin-held".into());
                Problem { code, ..wrong(held.unwrap_or_else(|| error.to_string())) }
            })?,
            Choice::Instead(revision, plugin) => {
                self.find_instead(kind, type_name, &reference.name, revision, plugin).map_err(wrong)?
            }
        };
        if let Some(reason) = plugin.quarantine_reason() {
            let Description { name, version, .. } = &plugin.description;
            return Err(wrong(format!(
                "`{name}` {version} is in quarantine ({reason}): name another version, or see `weft plugin release`"
            )));
        }
        Ok((plugin, reference.name))
    }

    fn find_instead(
        &self,
        kind: Kind,
        type_name: &str,
        name: &str,
        revision: &Revision,
        instead: &Arc<Plugin>,
    ) -> Result<Arc<Plugin>, String> {
        let pin = revision.pin(kind == Kind::Trigger, type_name);
        let pin = pin.ok_or_else(|| format!("the revision does not say which plugin carries out `{type_name}`"))?;
        let description = &instead.description;
        if pin.plugin != description.name {
            return self.registry.get(&pin.digest).ok_or_else(|| format!("`{}` {} is not installed", pin.plugin, pin.version));
        }
        let gone = || format!("{} {} has no {} type `{name}` any more", description.name, description.version, kind.as_str());
        if instead.has(kind, name) { Ok(instead.clone()) } else { Err(gone()) }
    }

    pub(super) async fn check_config(
        &self,
        kind: Kind,
        plugin: &Plugin,
        name: &str,
        config: &Value,
        at: &str,
        problems: &mut Vec<Problem>,
    ) -> Result<(), Error> {
        let add = |problems: &mut Vec<Problem>, pointer: &str, message: String| {
            problems.push(Problem::new(format!("{at}{pointer}"), message));
        };
        let before = problems.len();
        if let Some(schema) = plugin.schema(kind, name) {
            for problem in Schema::problems(&schema, config) {
                add(problems, &problem.pointer, problem.message);
            }
        }
        for problem in self.connection_problems(plugin, kind, name, config).await? {
            add(problems, &problem.pointer, problem.message);
        }
        if problems.len() > before {
            // The plugin's own check may take for granted what its schema says.
            return Ok(());
        }
        let asked = match kind {
            Kind::Node => types::Kind::Node,
            Kind::Trigger => types::Kind::Trigger,
        };
        let checked = match self.registry.instantiate(plugin).await {
            Ok(mut instance) => {
                let (name, config) = (name.to_owned(), config.to_string());
                self.registry.carry(&Pace::default(), async move { instance.check(asked, &name, &config).await }).await
            }
            Err(error) => Err(error),
        };
        match checked {
            Ok(found) => {
                for problem in found {
                    add(problems, &problem.pointer, problem.message);
                }
            }
            Err(error) => add(problems, "", format!("the plugin could not check it: {error}")),
        }
        Ok(())
    }

    async fn surroundings(&self, trigger: Option<&Found>, config: &Value) -> Result<Surroundings, Error> {
        let schema = trigger.and_then(|(plugin, name)| plugin.trigger(name)?.context_schema.clone());
        let is_open = |schema: &Value| {
            let opener = schema.get(OPEN_WITH).and_then(|at| config.pointer(at.as_str()?));
            schema.get("additionalProperties") != Some(&Value::Bool(false)) || opener.is_some_and(|opener| !opener.is_null())
        };
        let context = schema.filter(|schema| !is_open(schema)).and_then(|schema| {
            let members = schema.get("properties")?.as_object()?;
            Some(members.keys().cloned().collect())
        });
        let secrets = self.read(crate::store::Store::secrets).await?;
        let secrets = secrets.into_iter().map(|secret| secret.name.into()).collect();
        let environment = self.environment().await?.into_iter().map(|(name, _)| name).collect();
        Ok(Surroundings { context, secrets, environment })
    }
}

pub(super) fn pin(plugin: &Plugin, name: String) -> Pin {
    let description = &plugin.description;
    Pin { plugin: description.name.clone(), version: description.version.clone(), digest: plugin.digest, name }
}

fn check_trigger_variables(config: &Value, surroundings: &Surroundings, problems: &mut Vec<Problem>) {
    each_variable(config, "/trigger/config", problems, |_, variable| match &variable.root {
        Root::Secret(name) => surroundings.secret(name),
        Root::Env(name) => surroundings.variable(name, variable),
        Root::System(_) => None,
        _ => Some("a trigger has no run yet: it can use $secrets, $env and $system".into()),
    });
}

/// The check of every variable in the steps of a definition.
struct Variables<'a> {
    surroundings: &'a Surroundings,
    /// The schema of a step's config.
    schema: &'a dyn Fn(&Step) -> Option<&'a Value>,
}

impl Variables<'_> {
    /// Checks a list of steps in order; when it returns, `sight` holds its steps too.
    fn check(&self, steps: &[Step], at: &str, sight: &mut Sight, problems: &mut Vec<Problem>) {
        for (index, step) in steps.iter().enumerate() {
            let at = format!("{at}/{index}");
            let key = step.key.to_string();
            let mut finished = Vec::new();
            for (branch, steps) in &step.branches {
                let mut inside = sight.clone();
                inside.scopes.insert(key.clone());
                let branch_at = format!("{at}/branches/{}", escape(branch));
                self.check(steps, &branch_at, &mut inside, problems);
                finished.push(inside.results);
            }
            // A raw part is filled in while the step goes on: it sees what its own branches gave, and what they see of it.
            let mut within = sight.clone();
            within.results.extend(finished.iter().flatten().cloned());
            within.scopes.insert(key.clone());
            let schema = (self.schema)(step);
            each_variable(&step.config, &format!("{at}/config"), problems, |pointer, variable| {
                match schema.is_some_and(|schema| is_raw(schema, pointer)) {
                    true if matches!(variable.root, Root::Secret(_)) => {
                        Some("no secret can stand in a part of a config that its step fills in itself".into())
                    }
                    true => within.problem(variable, self.surroundings),
                    false => sight.problem(variable, self.surroundings),
                }
            });
            sight.results.extend(finished.into_iter().flatten());
            sight.results.insert(key);
        }
    }
}

impl Sight {
    /// What is wrong with a variable that stands in a step with this sight.
    fn problem(&self, variable: &Variable, surroundings: &Surroundings) -> Option<String> {
        match &variable.root {
            Root::Step(key) if !self.results.contains(key.as_str()) => {
                Some(format!("no step `{key}` is finished before this one; a step sees those before it and those around it"))
            }
            Root::Scope(key) if !self.scopes.contains(key.as_str()) => {
                Some(format!("this step is in no branch of a step `{key}`"))
            }
            Root::Context => {
                let (member, known) = (variable.path().next()?, surroundings.context.as_ref()?);
                let mut names: Vec<&str> = known.iter().map(String::as_str).collect();
                names.sort_unstable();
                (!known.contains(member)).then(|| format!("the trigger gives {}, and no `{member}`", names.join(", ")))
            }
            Root::Secret(name) => surroundings.secret(name),
            Root::Env(name) => surroundings.variable(name, variable),
            Root::Step(_) | Root::Scope(_) | Root::System(_) => None,
        }
    }
}

impl Surroundings {
    fn secret(&self, name: &str) -> Option<String> {
        (!self.secrets.contains(name)).then(|| format!("there is no secret `{name}`: set it with `weft secret set {name}`"))
    }

    /// One that is not there is no problem for a variable with a default.
    fn variable(&self, name: &str, variable: &Variable) -> Option<String> {
        (!self.environment.contains(name) && variable.default().is_none())
            .then(|| format!("there is no variable `{name}`: set it with `weft env set {name} VALUE`, or give a default"))
    }
}

/// Checks each variable of a config, by the pointer of its text.
pub(super) fn each_variable(
    config: &Value,
    at: &str,
    problems: &mut Vec<Problem>,
    check: impl Fn(&str, &Variable) -> Option<String>,
) {
    let (template, found) = Template::read(config);
    problems.extend(found.into_iter().map(|problem| Problem::new(format!("{at}{}", problem.pointer), problem.message)));
    for (pointer, variable) in template.variables() {
        if let Some(message) = check(&pointer, variable) {
            problems.push(Problem::new(format!("{at}{pointer}"), format!("{variable}: {message}")));
        }
    }
}
