//! `wait-signal`: waits for a message.

use serde::Deserializer;
use weft_sdk::prelude::*;

use super::text;

/// Waits for a message by its name, for this run or, with a key, for whichever run waits for both. The result is what the sender gave.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WaitSignal {
    /// What the sender calls the message: `paid`.
    #[schemars(length(min = 1, max = 256))]
    name: String,
    /// What tells runs apart, such as an order's number. Without it the message must be for this run.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Option<String>")]
    key: Option<Value>,
    /// How long it waits at most, in milliseconds; without it as long as the run may take.
    #[schemars(range(min = 1, max = LONGEST_MS))]
    timeout_ms: Option<u64>,
    /// What comes when no message came in time.
    #[serde(default)]
    on_timeout: OnTimeout,
}

/// 180 days.
const LONGEST_MS: u64 = 15_552_000_000;

/// What comes when no message came in time.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum OnTimeout {
    /// The step fails.
    #[default]
    Fail,
    /// The run goes on; the result is null.
    Continue,
}

/// A variable that gives nothing is not the same as no key at all: it would be a message for this run only.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl Node for WaitSignal {
    const NAME: &str = "wait-signal";

    fn node_type() -> NodeType {
        NodeType::of::<Self>()
            .category("flow")
            .waits(&["signal", "timer"])
            .fails(
                "no-signal",
                "No message came in time: status `failed`. With `on_timeout: continue` the run goes on instead.",
                "/timeout_ms",
            )
            .fails(
                "invalid-config",
                "A variable gave a `name`, a `key` or a `timeout_ms` that cannot be used; the message names the place.",
                "",
            )
    }

    fn execute(self, call: &Call) -> Answer {
        if let Some(timeout_ms) = self.timeout_ms.filter(|timeout_ms| !(1..=LONGEST_MS).contains(timeout_ms)) {
            return Err(Failure::invalid_config(
                "/timeout_ms",
                format!("{timeout_ms} is no time to wait: give 1 to {LONGEST_MS} (180 days)"),
            ));
        }
        let key = match &self.key {
            None => None,
            Some(key @ (Value::String(_) | Value::Number(_))) => Some(text(key)),
            Some(other) => {
                return Err(Failure::invalid_config("/key", format!("{other} tells no runs apart: give a text or a number")));
            }
        };
        for (at, text) in [("/name", Some(&self.name)), ("/key", key.as_ref())] {
            if text.is_some_and(|text| text.is_empty() || text.len() > 256) {
                return Err(Failure::invalid_config(at, "give a text of 1 to 256 bytes"));
            }
        }
        let pending = Pending::with(Value::Null)?.wait_signal("message", &self.name, key.as_deref());
        match self.timeout_ms {
            Some(timeout_ms) => pending.wait_until("late", call.now_ms() + timeout_ms).answer(),
            None => pending.answer(),
        }
    }

    fn resume(self, _: &Call, _: State, event: Event) -> Answer {
        match (event, self.on_timeout) {
            (Event::Signalled(signalled), _) => Ok(Outcome::Done(signalled.payload)),
            (Event::Woke(_), OnTimeout::Continue) => done(Value::Null),
            (Event::Woke(_), OnTimeout::Fail) => {
                let message = format!("no message `{}` came in time (`timeout_ms`)", self.name);
                Err(Failure::new("no-signal", message).status(Status::Failed))
            }
            _ => Err(Failure::unexpected_event("its message")),
        }
    }
}
