//! Steps with branches, and steps that fail.

use weft_sdk::capability::run;
use weft_sdk::prelude::*;

/// Carries out its branch for each number up to a bound, one after the other.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Each {
    /// How often.
    rounds: u32,
}

impl Node for Each {
    const NAME: &str = "each";

    fn node_type() -> NodeType {
        NodeType::of::<Self>().branch("do", "Do")
    }

    fn execute(self, _: &Call) -> Answer {
        self.round(0)
    }

    fn resume(self, _: &Call, state: State, event: Event) -> Answer {
        if let Event::BranchEnded(ended) = event {
            ended.output?;
        }
        let round = state.get::<u32>()?;
        self.round(round)
    }
}

impl Each {
    fn round(self, round: u32) -> Answer {
        if round >= self.rounds {
            return done(round);
        }
        Pending::with(round + 1)?.start("do", &round.to_string(), json!({ "index": round }))?.answer()
    }
}

/// Carries out its branch several times side by side, and waits for all.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Side {
    /// How often.
    branches: u32,
}

impl Node for Side {
    const NAME: &str = "side";

    fn node_type() -> NodeType {
        NodeType::of::<Self>().branch("do", "Do")
    }

    fn execute(self, _: &Call) -> Answer {
        let mut pending = Pending::with(0)?;
        for branch in 0..self.branches {
            pending = pending.start("do", &branch.to_string(), json!({ "index": branch }))?;
        }
        pending.answer()
    }

    fn resume(self, _: &Call, state: State, event: Event) -> Answer {
        if let Event::BranchEnded(ended) = event {
            ended.output?;
        }
        let ended = state.get::<u32>()? + 1;
        if ended == self.branches { done(ended) } else { Pending::with(ended)?.answer() }
    }
}

/// Starts both branches, and is done with the first that ends.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct First {}

impl Node for First {
    const NAME: &str = "first";

    fn node_type() -> NodeType {
        NodeType::of::<Self>().branch("a", "A").branch("b", "B")
    }

    fn execute(self, _: &Call) -> Answer {
        Pending::with(0)?.start("a", "a", Value::Null)?.start("b", "b", Value::Null)?.answer()
    }

    fn resume(self, _: &Call, _: State, event: Event) -> Answer {
        match event {
            Event::BranchEnded(ended) => {
                ended.output?;
                done(ended.id)
            }
            _ => Err(Failure::new("unexpected-event", "only branches end")),
        }
    }
}

/// Carries out its branch as a whole: what is done in it is kept together or not at all.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Whole {}

impl Node for Whole {
    const NAME: &str = "whole";

    fn node_type() -> NodeType {
        NodeType::of::<Self>().branch("do", "Do")
    }

    fn execute(self, _: &Call) -> Answer {
        Pending::with(0)?.start_atomic("do", "do", Value::Null)?.answer()
    }

    fn resume(self, _: &Call, _: State, event: Event) -> Answer {
        match event {
            Event::BranchEnded(ended) => Ok(Outcome::Done(ended.output?)),
            _ => Err(Failure::new("unexpected-event", "only branches end")),
        }
    }
}

/// Fails for a passing reason, so many times, and then does not.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Flaky {
    /// How often it fails.
    failures: u32,
}

impl Node for Flaky {
    const NAME: &str = "flaky";

    fn execute(self, call: &Call) -> Answer {
        if call.attempt <= self.failures {
            return Err(Failure::new("flaky", format!("try {} fails", call.attempt)).transient());
        }
        done(json!({ "attempt": call.attempt, "key": call.idempotency_key }))
    }
}

/// Fails.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Fail {
    /// The code.
    #[serde(default)]
    code: String,
}

impl Node for Fail {
    const NAME: &str = "fail";

    fn execute(self, _: &Call) -> Answer {
        let failure = Failure::new(if self.code.is_empty() { "on-purpose" } else { &self.code }, "fails on purpose");
        Err(failure.output(&json!({ "half": "done" })))
    }
}

/// Ends the run.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct End {
    /// Whether it ends well.
    well: bool,
}

impl Node for End {
    const NAME: &str = "end";

    fn execute(self, _: &Call) -> Answer {
        end_run(if self.well { Status::Succeeded } else { Status::Failed }, Some("enough".into()))
    }
}

/// Computes for ever.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Spin {}

impl Node for Spin {
    const NAME: &str = "spin";

    fn execute(self, _: &Call) -> Answer {
        loop {
            std::hint::black_box(0);
        }
    }
}

/// Sets the run's output.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Out {
    /// What it is.
    value: Value,
}

impl Node for Out {
    const NAME: &str = "out";

    fn execute(self, _: &Call) -> Answer {
        run::set_output(&self.value.to_string())?;
        done(self.value)
    }
}
