//! A definition made ready to run: steps and lists by number, configs as templates.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::definition::{Definition, ON_FAILURE, OnFailure, Options, Problem, Retry, Step};
use super::name::Key;
use super::template::Template;

/// A definition in the form that runs use. Step and list numbers mean something within one plan only.
#[derive(Debug)]
pub struct Plan {
    /// The workflow's key.
    pub workflow: Key,
    /// The revision's number; 0 for a draft.
    pub revision: u32,
    /// The trigger's type as the definition names it.
    pub trigger_type: Arc<str>,
    /// The trigger's config.
    pub trigger: Template,
    /// How its runs are treated.
    pub options: Options,
    steps: Vec<PlanStep>,
    lists: Vec<PlanList>,
    by_key: HashMap<Key, StepId>,
}

/// A step by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StepId(u32);

impl StepId {
    /// The step's place in [`Plan::steps`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A list of steps by its number: the workflow's own or a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ListId(u32);

/// A step made ready to run.
#[derive(Debug)]
pub struct PlanStep {
    /// Its key.
    pub key: Key,
    /// Its type as the definition names it.
    pub type_name: Arc<str>,
    /// Its config.
    pub config: Template,
    /// The list it stands in.
    pub list: ListId,
    /// Its place in that list.
    pub position: usize,
    /// Whether and when a call that failed for a passing reason is made again.
    pub retry: Option<Retry>,
    /// How long it may take, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// How long one call may take, in milliseconds.
    pub call_timeout_ms: Option<u64>,
    /// What happens when it fails in the end, if it has no branch for that.
    pub on_failure: OnFailure,
    /// Whether a call with an external effect may not be made again after a crash, whatever its type says.
    pub at_most_once: bool,
    branches: HashMap<Box<str>, ListId>,
}

#[derive(Debug)]
struct PlanList {
    steps: Vec<StepId>,
    /// The step whose branch this is; none for the workflow's own list.
    owner: Option<StepId>,
}

impl Plan {
    /// Makes a definition ready, without schemas: every template of a config is filled in.
    pub fn new(definition: &Definition, revision: u32) -> Result<Self, Vec<Problem>> {
        Self::with_schemas(definition, revision, None, &|_| None)
    }

    /// Makes a definition ready. The schemas of its trigger's and steps' configs say which parts keep their templates. Problems are
    /// those of the others.
    pub fn with_schemas<'s>(
        definition: &Definition,
        revision: u32,
        trigger_schema: Option<&Value>,
        step_schema: &dyn Fn(&Step) -> Option<&'s Value>,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let trigger = read(&definition.trigger.config, trigger_schema, "/trigger/config", &mut problems);
        let mut plan = Self {
            workflow: definition.key.clone(),
            revision,
            trigger_type: definition.trigger.r#type.as_str().into(),
            trigger,
            options: definition.options.clone(),
            steps: Vec::new(),
            lists: Vec::new(),
            by_key: HashMap::new(),
        };
        plan.add_list(&definition.steps, None, "/steps", step_schema, &mut problems);
        if problems.is_empty() { Ok(plan) } else { Err(problems) }
    }

    fn add_list<'s>(
        &mut self,
        steps: &[Step],
        owner: Option<StepId>,
        at: &str,
        schema: &dyn Fn(&Step) -> Option<&'s Value>,
        problems: &mut Vec<Problem>,
    ) -> ListId {
        let list = ListId(number(self.lists.len()));
        self.lists.push(PlanList { steps: Vec::new(), owner });
        for (position, step) in steps.iter().enumerate() {
            let at = format!("{at}/{position}");
            let id = StepId(number(self.steps.len()));
            let config = read(&step.config, schema(step), &format!("{at}/config"), problems);
            let type_name = step.r#type.as_str().into();
            self.steps.push(PlanStep {
                key: step.key.clone(),
                type_name,
                config,
                list,
                position,
                retry: step.retry.clone(),
                timeout_ms: step.timeout_ms,
                call_timeout_ms: step.call_timeout_ms,
                on_failure: step.on_failure.unwrap_or_default(),
                at_most_once: step.repeat.is_some(),
                branches: HashMap::new(),
            });
            self.by_key.insert(step.key.clone(), id);
            for (branch, steps) in &step.branches {
                let at = format!("{at}/branches/{}", super::definition::escape(branch));
                let inner = self.add_list(steps, Some(id), &at, schema, problems);
                self.steps[id.0 as usize].branches.insert(branch.as_str().into(), inner);
            }
            self.lists[list.0 as usize].steps.push(id);
        }
        list
    }

    /// The workflow's own list of steps.
    pub fn root(&self) -> ListId {
        ListId(0)
    }

    /// The step at a place in a list; none past its end.
    pub fn step_at(&self, list: ListId, position: usize) -> Option<StepId> {
        self.lists[list.0 as usize].steps.get(position).copied()
    }

    /// A step by its number.
    pub fn step(&self, id: StepId) -> &PlanStep {
        &self.steps[id.0 as usize]
    }

    /// Every step, parents before what is in their branches.
    pub fn steps(&self) -> impl Iterator<Item = &PlanStep> {
        self.steps.iter()
    }

    /// The number of the step with a key.
    pub fn find(&self, key: &str) -> Option<StepId> {
        self.by_key.get(key).copied()
    }

    /// The list of steps of a step's branch; none where the definition gives none.
    pub fn branch(&self, step: StepId, branch: &str) -> Option<ListId> {
        self.step(step).branches.get(branch).copied()
    }

    /// The steps for when a step failed in the end; none where the definition gives none.
    pub fn failure_branch(&self, step: StepId) -> Option<ListId> {
        self.branch(step, ON_FAILURE)
    }

    /// The step whose branch a list is; none for the workflow's own.
    pub fn owner(&self, list: ListId) -> Option<StepId> {
        self.lists[list.0 as usize].owner
    }
}

fn read(config: &Value, schema: Option<&Value>, at: &str, problems: &mut Vec<Problem>) -> Template {
    let (template, found) = Template::read_with(config, schema);
    problems.extend(found.into_iter().map(|p| Problem::new(format!("{at}{}", p.pointer), p.message)));
    template
}

fn number(index: usize) -> u32 {
    u32::try_from(index).expect("a definition's number of steps is bounded far below 2^32")
}
