//! `parallel`: branches side by side.

use std::collections::HashSet;

use weft_branching::listed;
use weft_sdk::capability::progress;
use weft_sdk::prelude::*;

/// Carries out its branches side by side, and goes on when they have decided it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parallel {
    /// When it goes on. Branches that still run then are stopped.
    #[serde(default)]
    mode: Mode,
    /// The branches.
    #[schemars(length(min = 2, max = 1_000))]
    branches: Vec<Branch>,
}

/// When it goes on.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    /// When all succeeded; the first that fails fails the step, with its status.
    #[default]
    All,
    /// When one succeeded; the step fails when all failed.
    Any,
    /// When one has ended, as that one did.
    Race,
    /// When all have ended, however that was.
    AllSettled,
}

/// A branch.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Branch {
    /// Its key: lower-case letters, digits and hyphens.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9-]{0,63}$"))]
    key: String,
    /// Its name, for people.
    #[serde(default)]
    #[expect(dead_code, reason = "the editor shows it")]
    title: String,
}

/// How each branch ended, in their order: `succeeded`, `failed` and so on; null where it had not ended.
type Statuses = Vec<Option<String>>;

impl Node for Parallel {
    const NAME: &str = "parallel";

    fn node_type() -> NodeType {
        let all_failed = "No branch succeeded, in the mode `any`: status `failed`, and the result is the list of statuses. The branches say why.";
        NodeType::of::<Self>()
            .category("flow")
            .result::<Statuses>()
            .branches_from("/branches")
            .fails("all-failed", all_failed, "/mode")
            .fails("invalid-config", "There are not two branches or more, each with a key of its own.", "/branches")
    }

    fn check(config: &Value) -> Vec<Problem> {
        listed::check(config, "branches", &[])
    }

    fn execute(self, _: &Call) -> Answer {
        let keys: HashSet<&str> = self.branches.iter().map(|branch| branch.key.as_str()).collect();
        if keys.len() < self.branches.len() || keys.len() < 2 {
            return Err(Failure::invalid_config("/branches", "give two branches or more, each with a key of its own"));
        }
        let statuses: Statuses = vec![None; self.branches.len()];
        let pending = Pending::with(statuses)?;
        self.branches.iter().try_fold(pending, |pending, branch| pending.start(&branch.key, &branch.key, Value::Null))?.answer()
    }

    fn resume(self, _: &Call, state: State, event: Event) -> Answer {
        let Event::BranchEnded(ended) = event else { return Err(Failure::unexpected_event("its branches")) };
        let mut statuses: Statuses = state.get()?;
        let status = ended.output.as_ref().map_or_else(|failure| failure.status, |_| Status::Succeeded);
        let known = self.branches.iter().zip(&mut statuses).find(|(branch, _)| branch.key == ended.id);
        if let Some((_, ended)) = known {
            *ended = Some(status.as_str().to_owned());
        }
        let all_ended = statuses.iter().all(Option::is_some);
        match (self.mode, ended.output) {
            (Mode::All | Mode::Race, Err(failure)) => Err(failure.output(&statuses)),
            (Mode::Any | Mode::Race, Ok(_)) => done(statuses),
            (Mode::All | Mode::AllSettled, _) if all_ended => done(statuses),
            (Mode::Any, Err(_)) if all_ended => {
                Err(Failure::new("all-failed", "no branch succeeded; each says why").status(Status::Failed).output(&statuses))
            }
            _ => {
                let ended = statuses.iter().filter(|status| status.is_some()).count();
                progress::report(ended as u32, u32::try_from(statuses.len()).ok(), "");
                Pending::with(statuses)?.answer()
            }
        }
    }
}
