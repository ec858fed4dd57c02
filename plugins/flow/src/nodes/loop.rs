//! `loop`: one branch again and again.

use weft_sdk::capability::{progress, variables};
use weft_sdk::prelude::serde_json::Map;
use weft_sdk::prelude::*;

use crate::condition::Condition;

/// Carries out its branch for each item of a list, for each character of a text, or so many times, one round after the other.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Loop {
    /// What to go through: each item of a list, each character of a text, so many rounds for a number, one round for an object, and none
    /// for null. It is looked at anew before each round.
    #[schemars(extend("x-weft-raw" = true))]
    target: Value,
    /// A condition that is looked at in each round.
    #[schemars(extend("x-weft-raw" = true))]
    condition: Option<Checkpoint>,
    /// What to do when a round fails.
    #[serde(default)]
    exit: Exit,
    /// How many rounds there may be at most; with more the step fails.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = LIMIT_MAX))]
    limit: u32,
}

/// Rounds that `limit` may allow.
const LIMIT_MAX: u32 = 100_000;

fn limit() -> u32 {
    10_000
}

/// A condition that is looked at in each round; in its variables `$scopes` has this step, too.
#[derive(Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Checkpoint {
    /// When it is looked at.
    #[serde(default)]
    checkpoint: When,
    /// What to do if it does not hold.
    #[serde(default)]
    on_false: OnFalse,
    /// Its variables are filled in each time.
    #[serde(flatten)]
    #[schemars(with = "Condition")]
    raw: Map<String, Value>,
}

/// When a round's condition is looked at.
#[derive(Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum When {
    /// Before the round.
    #[default]
    Before,
    /// After the round; it sees what the round's steps came to.
    After,
}

/// What to do if a round's condition does not hold.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum OnFalse {
    /// Leave the loop, and go on below it.
    #[default]
    Break,
    /// Go on with the next item.
    Skip,
}

/// What to do when a round fails.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Exit {
    /// Fail like the round.
    #[default]
    Return,
    /// Leave the loop, and go on below it.
    Break,
    /// Go on with the next item.
    Continue,
}

/// How a loop went.
#[derive(Serialize, JsonSchema)]
struct Looped {
    /// How many items it went through, skipped ones included.
    looped: u32,
    /// Whether it came to the end of what it goes through.
    done: bool,
    /// It was left before the end.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    broken: bool,
    /// There were more rounds than its limit.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    exceeded: bool,
}

/// What the steps of a round see as `$scopes.<loop>`.
#[derive(Serialize, JsonSchema)]
struct Round {
    /// The item; the index where a number of rounds was asked for.
    item: Value,
    /// The number of the round, from 0.
    index: u32,
    /// The number of the round, from 1.
    sequence: u32,
    /// How many rounds there are.
    length: u32,
}

impl Node for Loop {
    const NAME: &str = "loop";

    fn node_type() -> NodeType {
        NodeType::of::<Self>()
            .category("flow")
            .result::<Looped>()
            .branch_with_scope::<Round>("do", "Each round")
            .fails("loop-limit", "There are more rounds than `limit` allows: raise it, or go through less. The result says `exceeded`.", "/limit")
            .fails(
                "invalid-config",
                "The target is a negative number, or a variable gave a limit or a condition that cannot be used; the message names the place.",
                "",
            )
            .fails("too-large", "An item, or what the condition looks at, is longer than a value may be: pick the parts that are needed.", "/target")
    }

    fn check(config: &Value) -> Vec<Problem> {
        let condition = config.get("condition").filter(|condition| condition.is_object());
        condition.map_or_else(Vec::new, |condition| Condition::check(condition, "/condition"))
    }

    fn execute(self, _: &Call) -> Answer {
        self.go_on(0)
    }

    /// The state is the number of the round that ended.
    fn resume(self, _: &Call, state: State, event: Event) -> Answer {
        let Event::BranchEnded(ended) = event else { return Err(Failure::unexpected_event("its branch")) };
        let index: u32 = state.get()?;
        match (ended.output, self.exit) {
            (Err(failure), Exit::Return) => return Err(failure.output(&Looped::broken(index + 1))),
            (Err(_), Exit::Break) => return done(Looped::broken(index + 1)),
            (Err(_), Exit::Continue) | (Ok(_), _) => {}
        }
        if let Some(condition) = self.condition_of(When::After)
            && let Some(round) = self.round(index)?
            && let Some(OnFalse::Break) = condition.stops(&round)?
        {
            return done(Looped::broken(index + 1));
        }
        self.go_on(index + 1)
    }
}

impl Loop {
    /// Begins the first round, from this one on, that is to be carried out.
    fn go_on(self, from: u32) -> Answer {
        if !(1..=LIMIT_MAX).contains(&self.limit) {
            return Err(Failure::invalid_config("/limit", format!("{} is no limit: give 1 to {LIMIT_MAX}", self.limit)));
        }
        let mut index = from;
        while let Some(round) = self.round(index)? {
            if index >= self.limit {
                let message = format!(
                    "after {} rounds there are still more, and `limit` allows no more: raise it, or go through less",
                    self.limit
                );
                return Err(Failure::new("loop-limit", message).output(&Looped {
                    looped: index,
                    done: false,
                    broken: false,
                    exceeded: true,
                }));
            }
            let stopped = self.condition_of(When::Before).map_or(Ok(None), |condition| condition.stops(&round))?;
            match stopped {
                None => {
                    progress::report(index, Some(round.length), "");
                    return Pending::with(index)?.start("do", &index.to_string(), round)?.answer();
                }
                Some(OnFalse::Break) => return done(Looped::broken(index)),
                Some(OnFalse::Skip) => index += 1,
            }
        }
        done(Looped { looped: index, done: true, broken: false, exceeded: false })
    }

    /// A round; none: the loop is at its end. Of a list in a variable one item is copied each time, whatever
    /// its length; a text is copied whole.
    fn round(&self, index: u32) -> Result<Option<Round>, Failure> {
        let part = variables::slice(&self.target.to_string(), index, 1)?;
        let first = part.items.into_iter().next().map(|item| serde_json::from_str(&item).unwrap_or_default());
        let (item, length) = match (part.length, first) {
            (Some(length), item) => (item, length),
            (None, None | Some(Value::Null)) => (None, 0),
            (None, Some(Value::Number(number))) => (Some(index.into()), rounds(&number)?),
            (None, Some(Value::String(text))) => {
                let length = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
                (text.chars().nth(index as usize).map(|c| c.to_string().into()), length)
            }
            (None, Some(value)) => (Some(value), 1),
        };
        Ok(item.filter(|_| index < length).map(|item| Round { item, index, sequence: index + 1, length }))
    }

    /// The condition that is looked at then.
    fn condition_of(&self, when: When) -> Option<&Checkpoint> {
        self.condition.as_ref().filter(|condition| condition.checkpoint == when)
    }
}

impl Checkpoint {
    /// What to do because the condition does not hold for a round; none: it holds.
    fn stops(&self, round: &Round) -> Result<Option<OnFalse>, Failure> {
        let scope = json!(round);
        let holds = Condition::read(&self.raw, &scope)?.holds();
        Ok((!holds).then_some(self.on_false))
    }
}

impl Looped {
    fn broken(looped: u32) -> Self {
        Self { looped, done: false, broken: true, exceeded: false }
    }
}

/// How many rounds a number asks for.
fn rounds(number: &serde_json::Number) -> Result<u32, Failure> {
    let count = number.as_f64().unwrap_or(f64::NAN);
    if count.is_nan() || count < 0.0 {
        return Err(Failure::invalid_config("/target", format!("{number} is no number of rounds: give 0 or more")));
    }
    // Beyond the range of the type it becomes the largest number, which no limit allows.
    Ok(count.floor() as u32)
}
