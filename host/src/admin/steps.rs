//! One step of a draft: what it can name, and what it does with data that a person gives.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::publish::{Choice, Found, pin};
use super::{Admin, Error};
use crate::executor::Start;
use crate::limits::{CONTEXT_BYTES_MAX, VARIABLES_LISTED_MAX};
use crate::plugin::{Kind, NodeType};
use crate::run::{RunId, Shown, Staged};
use crate::store::Store;
use crate::workflow::{DateRange, Json, Key, Member, ON_FAILURE, Options, Problem, Step, TypeRef, members, pinned};

/// A variable that a step can name.
#[derive(Debug, Serialize)]
pub struct Visible {
    /// Where it comes from: `context`, `step`, `scope`, `system`, `env` or `secret`.
    pub source: &'static str,
    /// The title of what gives it: of the trigger, or of a step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Its name, its type, and what it is.
    #[serde(flatten)]
    pub member: Member,
}

/// What a single step is tested with.
#[derive(Debug, Default)]
pub struct Given {
    /// A run whose context and results are taken, where the others give none.
    pub run: Option<RunId>,
    /// `$context`.
    pub context: Option<Value>,
    /// `$steps.<key>.result`.
    pub steps: BTreeMap<String, Value>,
    /// `$scopes.<key>`.
    pub scopes: BTreeMap<String, Value>,
    /// The step's config, in place of the draft's.
    pub config: Option<Value>,
}

/// Where a step stands: what comes before it, and what is around it.
#[derive(Clone, Default)]
struct Place<'a> {
    finished: Vec<&'a Step>,
    /// Steps around it, the outermost first, and in which branch of theirs it stands.
    around: Vec<(&'a Step, &'a str)>,
}

impl Admin {
    /// The variables that a step of a workflow's draft can name, in the order of its steps; at most [`VARIABLES_LISTED_MAX`] of each source.
    pub async fn visible(&self, workflow: &Key, step: &Key) -> Result<Vec<Visible>, Error> {
        let (draft, _) = self.draft(workflow).await?;
        let definition = draft.definition;
        let place = place_of(&definition.steps, step, &Place::default()).ok_or_else(|| missing(step))?;
        let mut all = Vec::new();
        let mut add = |source: &'static str, title: Option<&str>, found: Vec<Member>| {
            all.extend(found.into_iter().map(|member| Visible { source, title: title.map(str::to_owned), member }));
        };
        let trigger = &definition.trigger;
        let kind = self.newest(Kind::Trigger, &trigger.r#type);
        let kind = kind.as_ref().and_then(|(plugin, name)| plugin.trigger(name));
        let schema = kind.and_then(|kind| kind.context_schema.as_ref());
        let title = kind.map(|kind| kind.title.as_str());
        add("context", title, members("$context", schema, &trigger.config, VARIABLES_LISTED_MAX));
        for step in &place.finished {
            let schema = self.node_type(step).and_then(|kind| kind.result_schema);
            let found = members(&format!("$steps.{}.result", step.key), schema.as_ref(), &step.config, VARIABLES_LISTED_MAX);
            add("step", Some(step.title.as_deref().unwrap_or(step.key.as_str())), found);
        }
        for (step, branch) in &place.around {
            let schema = self.scope_schema(step, branch);
            let found = members(&format!("$scopes.{}", step.key), schema.as_ref(), &step.config, VARIABLES_LISTED_MAX);
            add("scope", Some(step.title.as_deref().unwrap_or(step.key.as_str())), found);
        }
        add("system", None, of_system());
        let named = |variable: String| Member { variable, r#type: "string".into(), description: None };
        add(
            "env",
            None,
            self.environment()
                .await?
                .into_iter()
                .take(VARIABLES_LISTED_MAX)
                .map(|(name, _)| named(format!("$env.{name}")))
                .collect(),
        );
        let secrets = self.read(Store::secrets).await?;
        add(
            "secret",
            None,
            secrets.into_iter().take(VARIABLES_LISTED_MAX).map(|secret| named(format!("$secrets.{}", secret.name))).collect(),
        );
        Ok(all)
    }

    /// Carries out one step of a workflow's draft with data that is given, as a run of its own, which is marked as one of a draft. What the step
    /// does is done: requests are sent, where its plugin may. Its branches have no steps.
    pub async fn test_step(&self, workflow: &Key, step: &Key, given: Given) -> Result<RunId, Error> {
        self.executor().check_space()?;
        let (draft, _) = self.draft(workflow).await?;
        let mut definition = draft.definition;
        let mut wanted = find(&definition.steps, step).ok_or_else(|| missing(step))?.clone();
        wanted.branches.clear();
        if let Some(config) = &given.config {
            wanted.config = config.clone();
        }
        let held = self.standing().await?.held;
        let found = |kind, type_name: &str, at: &str| {
            let found = self.find(kind, type_name, Choice::Newest, &held);
            found.map_err(|problem| Error::Invalid(vec![Problem { pointer: at.into(), ..problem }]))
        };
        let (trigger_plugin, trigger_name) = found(Kind::Trigger, &definition.trigger.r#type, "/trigger/type")?;
        let (plugin, name) = found(Kind::Node, &wanted.r#type, "/type")?;
        let mut problems = Vec::new();
        self.check_config(Kind::Node, &plugin, &name, &wanted.config, "/config", &mut problems).await?;
        if !problems.is_empty() {
            return Err(Error::Invalid(problems));
        }
        let context = Json::from(self.given_context(workflow, given).await?);
        if context.text().len() > CONTEXT_BYTES_MAX {
            let bytes = context.text().len();
            return Err(Error::Setting(format!("what is given has {bytes} bytes; at most {CONTEXT_BYTES_MAX}")));
        }
        wanted.config = pinned(&wanted.config, step);
        let pins = (pin(&trigger_plugin, trigger_name), BTreeMap::from([(wanted.r#type.clone(), pin(&plugin, name))]));
        definition.steps = vec![wanted];
        definition.options = Options::default();
        let program = self.unpublished_program(definition, pins).await?;
        Ok(self.begin(Start::new(program, context), Staged::default()).await?)
    }

    /// What [`pinned`] reads.
    async fn given_context(&self, workflow: &Key, given: Given) -> Result<Value, Error> {
        let mut context = Value::Null;
        let mut steps = serde_json::Map::new();
        if let Some(run) = given.run {
            let (head, seen) = self.history(run, Shown::all()).await?;
            if head.workflow != *workflow {
                return Err(Error::Setting(format!("run {run} is one of `{}`", head.workflow)));
            }
            let read = |raw: &serde_json::value::RawValue| serde_json::from_str::<Value>(raw.get()).unwrap_or_default();
            context = seen.context.as_deref().map(read).unwrap_or_default();
            // In the order of their first calls: the newest visit of a step counts.
            for activation in &seen.steps {
                if let Some(output) = activation.output.as_deref() {
                    steps.insert(activation.step.to_string(), read(output));
                }
            }
        }
        steps.extend(given.steps);
        let context = given.context.unwrap_or(context);
        Ok(json!({ "context": context, "steps": steps, "scopes": given.scopes }))
    }

    fn newest(&self, kind: Kind, type_name: &str) -> Option<Found> {
        let reference: TypeRef = type_name.parse().ok()?;
        Some((self.registry.resolve(kind, &reference).ok()?, reference.name))
    }

    fn node_type(&self, step: &Step) -> Option<NodeType> {
        let (plugin, name) = self.newest(Kind::Node, &step.r#type)?;
        plugin.node(&name).cloned()
    }

    fn scope_schema(&self, step: &Step, branch: &str) -> Option<Value> {
        if branch == ON_FAILURE {
            let failure = json!({
                "type": "object",
                "properties": {
                    "status": {"type": "string"}, "code": {"type": "string"}, "message": {"type": "string"}, "output": {},
                },
            });
            return Some(json!({"type": "object", "properties": {"failure": failure}}));
        }
        let kind = self.node_type(step)?;
        kind.branches.into_iter().find(|known| known.key == branch)?.scope_schema
    }
}

fn missing(step: &Key) -> Error {
    Error::not_found("step", step, " in the workflow's draft")
}

fn find<'a>(steps: &'a [Step], key: &Key) -> Option<&'a Step> {
    steps.iter().find_map(
        |step| {
            if step.key == *key { Some(step) } else { step.branches.values().find_map(|steps| find(steps, key)) }
        },
    )
}

fn place_of<'a>(steps: &'a [Step], key: &Key, outside: &Place<'a>) -> Option<Place<'a>> {
    let mut place = outside.clone();
    for step in steps {
        if step.key == *key {
            return Some(place);
        }
        for (branch, steps) in &step.branches {
            let mut inside = place.clone();
            inside.around.push((step, branch));
            if let Some(found) = place_of(steps, key, &inside) {
                return Some(found);
            }
        }
        for steps in step.branches.values() {
            add_all(steps, &mut place.finished);
        }
        place.finished.push(step);
    }
    None
}

fn add_all<'a>(steps: &'a [Step], all: &mut Vec<&'a Step>) {
    for step in steps {
        step.branches.values().for_each(|steps| add_all(steps, all));
        all.push(step);
    }
}

fn of_system() -> Vec<Member> {
    let named = |name: &str, kind: &str, what: &str| Member {
        variable: format!("$system.{name}"),
        r#type: kind.into(),
        description: Some(what.into()),
    };
    let mut all = vec![
        named("now", "string", "The time, RFC 3339 in UTC."),
        named("epoch", "number", "The time, in milliseconds since 1970."),
        named("instanceId", "number", "The number of this host in its cluster."),
        named("genSnowflakeId", "string", "A new id, greater than those before it."),
    ];
    let what = "When it begins, and the first moment after it (RFC 3339).";
    all.extend(DateRange::names().map(|name| named(&format!("dateRange.{name}"), "list of string", what)));
    all
}
