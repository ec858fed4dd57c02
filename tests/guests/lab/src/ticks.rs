//! A vendor's trigger with timers: what is set, cleared and done when they fire is said by requests.

use weft_sdk::capability::kv;
use weft_sdk::prelude::*;
use weft_sdk::{HttpRoute, TriggerTimer};

use crate::effects::count;

/// Sets and clears timers as requests say: `{"set": [{"id", "in_ms" or "at_ms", "does"}], "clear": [id]}`. A timer that fires does
/// what its request said: `start` (by default), `again` (starts, and sets itself a second later), `fail`, `busy` (fails as something that
/// passes, until the value `calm` is set), `panic`, `wait` (breaks the contract), `count` (in the plugin's own state).
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Ticks {
    /// Sets the timer `first` when it is subscribed, so many milliseconds later.
    first_ms: Option<u64>,
    /// What that one does.
    #[serde(default)]
    does: String,
    /// Whether a timer that does `wait` just starts.
    #[serde(default)]
    forgives: bool,
    /// What runs are told.
    #[serde(default)]
    label: String,
    /// The counter that counts how often it was subscribed.
    counter: Option<String>,
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    set: Vec<Set>,
    #[serde(default)]
    clear: Vec<String>,
    #[serde(default)]
    calm: bool,
}

#[derive(Deserialize)]
struct Set {
    id: String,
    #[serde(default)]
    in_ms: u64,
    at_ms: Option<u64>,
    #[serde(default)]
    does: String,
}

impl Trigger for Ticks {
    const NAME: &str = "ticks";

    fn trigger_type() -> TriggerType {
        TriggerType::of::<Self>(Mode::Asynchronous, &["http", "timer"])
    }

    fn subscribe(self, call: &TriggerCall) -> Result<Vec<Subscription>, Failure> {
        let route = HttpRoute { methods: vec!["POST".into()], path: None, body_bytes_max: None };
        let mut all = vec![Subscription::Http(route)];
        if let Some(counter) = &self.counter {
            count(counter)?;
        }
        if let Some(first_ms) = self.first_ms {
            all.push(Subscription::Timer(TriggerTimer::new("first", call.now_ms() + first_ms, &self.does)?));
        }
        Ok(all)
    }

    fn fire(self, call: &TriggerCall, event: TriggerEvent) -> Result<Reaction, Failure> {
        match event {
            TriggerEvent::Http(request) => {
                let wanted: Wanted =
                    serde_json::from_slice(&request.body).map_err(|error| Failure::new("invalid", error.to_string()))?;
                if wanted.calm {
                    kv::set("calm", b"yes")?;
                }
                let mut reaction = Reaction::start(Vec::new());
                for set in wanted.set {
                    let at_ms = set.at_ms.unwrap_or(call.now_ms() + set.in_ms);
                    reaction = reaction.set_timer(TriggerTimer::new(&set.id, at_ms, &set.does)?);
                }
                reaction.clear_timers = wanted.clear;
                Ok(reaction)
            }
            TriggerEvent::Timer(timer) => {
                let does: String = serde_json::from_str(&timer.payload).unwrap_or_default();
                let late_ms = call.now_ms().saturating_sub(timer.at_ms());
                let context = json!({ "timer": timer.id, "at": timer.at, "label": self.label, "late_ms": late_ms, "number": call.runs_started });
                let start = Start { dedup_key: None, ..Start::with(&context)? };
                match does.as_str() {
                    "again" => {
                        let next = TriggerTimer::new(&timer.id, timer.at_ms() + 1_000, &does)?;
                        Ok(Reaction::start(vec![start]).set_timer(next))
                    }
                    "fail" => Err(Failure::new("no-tick", "this timer fails").status(Status::Failed)),
                    "busy" if kv::get("calm")?.is_none() => Err(Failure::new("busy", "it passes").transient()),
                    "panic" => panic!("a timer that breaks"),
                    "wait" if !self.forgives => Ok(Reaction::start(vec![start.wait(1_000)])),
                    "count" => {
                        count("ticks")?;
                        Ok(Reaction::start(vec![start]))
                    }
                    _ => Ok(Reaction::start(vec![start])),
                }
            }
            _ => Ok(Reaction::nothing("neither a request nor a timer")),
        }
    }
}
