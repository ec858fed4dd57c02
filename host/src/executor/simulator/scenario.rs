//! A random world: workflows, and what is asked of them.

use serde_json::{Value, json};

use super::Random;

/// Something that a person or a program asks for.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// Starts a run, and waits for it or not. The number makes the dedup key.
    Start { workflow: &'static str, number: u64, waits: bool },
    /// Starts two runs with one key at once.
    StartTwice { workflow: &'static str, number: u64 },
    /// Sends a message by name to whichever run is newest.
    Signal { name: &'static str },
    /// Sends a message by name and key.
    SignalKey { workflow: &'static str, key: String },
    /// Stops the newest run that goes on.
    Cancel,
    /// Carries the newest run that ended out again.
    Rerun { from: bool },
}

/// What is asked for, and when (milliseconds from the beginning).
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) at_ms: u64,
    pub(super) action: Action,
}

/// A world.
#[derive(Debug)]
pub(super) struct Scenario {
    /// Definitions, by key.
    pub(super) workflows: Vec<Value>,
    pub(super) actions: Vec<Planned>,
    /// After how many commits the process dies, life by life; then it lives on.
    pub(super) lives: Vec<u64>,
    /// How often a server outside answers with a passing failure, in percent.
    pub(super) outages: u64,
    /// The longest a commit, a call and a request take, in milliseconds.
    pub(super) slow_ms: u64,
}

/// The workflows that a world has. `leaf` starts nobody, `mid` may start `leaf`, the others both.
pub(super) const ASYNC: [&str; 4] = ["leaf", "mid", "top", "wide"];
pub(super) const SYNC: [&str; 2] = ["quick", "front"];

struct Maker<'a> {
    random: &'a mut Random,
    steps: u32,
}

impl Scenario {
    pub(super) fn of(seed: u64) -> Self {
        let mut random = Random(seed);
        let workflows = ASYNC.iter().chain(&SYNC).map(|key| workflow(&mut random, key)).collect();
        let mut actions = Vec::new();
        for number in 0..6 + random.below(10) {
            let at_ms = random.below(3_000);
            let is_sync = random.chance(35);
            let workflow = if is_sync { *random.pick(&SYNC) } else { *random.pick(&ASYNC) };
            let action = match random.below(10) {
                0 => Action::StartTwice { workflow, number },
                _ => Action::Start { workflow, number, waits: is_sync && random.chance(80) },
            };
            actions.push(Planned { at_ms, action });
        }
        for _ in 0..random.below(8) {
            let action = match random.below(6) {
                0 => Action::Cancel,
                1 => Action::Rerun { from: random.chance(60) },
                2 => Action::SignalKey { workflow: random.pick::<&str>(&ASYNC), key: random.below(3).to_string() },
                _ => Action::Signal { name: "go" },
            };
            actions.push(Planned { at_ms: random.below(6_000), action });
        }
        actions.sort_by_key(|planned| planned.at_ms);
        let lives = (0..random.below(5)).map(|_| 1 + random.below(40)).collect();
        Self { workflows, actions, lives, outages: random.below(30), slow_ms: random.below(30) }
    }
}

fn workflow(random: &mut Random, key: &str) -> Value {
    let is_sync = SYNC.contains(&key);
    let mut maker = Maker { random, steps: 0 };
    let depth = if key == "leaf" || is_sync { 1 } else { 2 };
    let mut steps = maker.list(key, depth, false);
    if steps.is_empty() {
        steps.push(json!({"key": "only", "type": "count", "config": {"counter": "shared"}}));
    }
    let mut options = json!({"stack_limit": 1 + random.below(2)});
    if random.chance(20) {
        options["concurrency"] = json!(1 + random.below(2));
    }
    if random.chance(15) {
        options["timeout_ms"] = json!(200 + random.below(4_000));
    }
    json!({"weft": 1, "key": key, "trigger": {"type": "any"}, "steps": steps, "options": options})
}

impl Maker<'_> {
    fn list(&mut self, workflow: &str, depth: u32, atomic: bool) -> Vec<Value> {
        let count = 1 + self.random.below(if depth == 2 { 4 } else { 3 });
        (0..count).filter_map(|_| self.step(workflow, depth, atomic)).collect()
    }

    fn step(&mut self, workflow: &str, depth: u32, atomic: bool) -> Option<Value> {
        if self.steps > 12 {
            return None;
        }
        self.steps += 1;
        let key = format!("s{}", self.steps);
        let is_sync = SYNC.contains(&workflow);
        let mut kinds = vec!["done", "count", "count", "send", "request", "flaky", "slow", "set"];
        if !atomic && !is_sync {
            kinds.extend(["delay", "ticks", "signal", "signal-key", "task", "once"]);
        }
        if !atomic && workflow != "leaf" && workflow != "quick" {
            kinds.extend(["child", "child"]);
            if !is_sync {
                kinds.push("start");
            }
        }
        if depth > 0 {
            kinds.extend(["loop", "parallel", "race"]);
            if !atomic {
                kinds.extend(["atomic", "atomic"]);
            }
        }
        if self.random.chance(8) {
            kinds = vec!["fail", "end"];
        }
        let kind = *self.random.pick(&kinds);
        let target = match workflow {
            "front" => "quick",
            "mid" => "leaf",
            _ => *self.random.pick(&["leaf", "mid"]),
        };
        let config = match kind {
            "count" => json!({"counter": if self.random.chance(50) { "shared" } else { "own" }}),
            "set" => json!({"value": self.random.below(100)}),
            "delay" => json!({"ms": self.random.below(1_500)}),
            "ticks" => json!({"ticks": 1 + self.random.below(4), "ms": 1 + self.random.below(60)}),
            "slow" => json!({"ms": 1 + self.random.below(300)}),
            "flaky" => json!({"failures": self.random.below(4)}),
            "signal" | "task" => json!({"ms": 100 + self.random.below(2_000)}),
            "signal-key" => json!({"ms": 100 + self.random.below(2_000), "signal": self.random.below(3).to_string()}),
            "child" | "start" => json!({"workflow": target}),
            "loop" => json!({"rounds": self.random.below(4)}),
            "race" => json!({"branches": 2}),
            "end" => json!({"well": self.random.chance(50)}),
            _ => json!({}),
        };
        let mut step = json!({"key": key, "type": kind, "config": config});
        if ["loop", "parallel", "race", "atomic"].contains(&kind) {
            let branches = if kind == "parallel" || kind == "race" { vec!["a", "b"] } else { vec!["a"] };
            let is_atomic = atomic || kind == "atomic";
            let branches =
                branches.into_iter().map(|branch| (branch.to_owned(), self.list(workflow, depth - 1, is_atomic).into()));
            step["branches"] = Value::Object(branches.collect());
        }
        if self.random.chance(30) || kind == "flaky" {
            step["retry"] = json!({"attempts": 1 + self.random.below(5), "backoff_ms": 1 + self.random.below(200),
                "jitter": self.random.chance(50)});
        }
        if self.random.chance(10) {
            step["timeout_ms"] = json!(50 + self.random.below(1_500));
        }
        if self.random.chance(10) {
            step["call_timeout_ms"] = json!(20 + self.random.below(200));
        }
        match self.random.below(8) {
            0 => step["on_failure"] = json!("continue"),
            1 if depth > 0 => {
                let handler = self.list(workflow, 0, atomic);
                step["branches"]["on_failure"] = handler.into();
            }
            _ => {}
        }
        Some(step)
    }
}
