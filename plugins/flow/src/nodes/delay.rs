//! `delay`: waits for a time.

use weft_sdk::prelude::*;
use weft_sdk::time;

/// Waits for a while, or until a time, and then goes on or fails. Restarts of the host do not matter to it; a time that is past by then is
/// not waited for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Delay {
    /// How long.
    #[schemars(with = "Option<f64>", range(min = 0))]
    duration: Option<Value>,
    /// What `duration` counts.
    #[serde(default)]
    unit: Unit,
    /// A time, in the place of `duration`: RFC 3339 (`2026-11-25T08:00:00+07:00`), or milliseconds since 1970.
    until: Option<Value>,
    /// What comes then.
    #[serde(default)]
    end: End,
}

/// What a duration counts.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
enum Unit {
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Seconds.
    #[default]
    #[serde(rename = "s")]
    Seconds,
    /// Minutes.
    #[serde(rename = "min")]
    Minutes,
    /// Hours.
    #[serde(rename = "h")]
    Hours,
    /// Days of 24 hours.
    #[serde(rename = "d")]
    Days,
    /// Weeks.
    #[serde(rename = "w")]
    Weeks,
}

impl Unit {
    fn milliseconds(self) -> f64 {
        match self {
            Self::Milliseconds => 1.0,
            Self::Seconds => 1e3,
            Self::Minutes => 60e3,
            Self::Hours => 3_600e3,
            Self::Days => 86_400e3,
            Self::Weeks => 604_800e3,
        }
    }
}

/// What comes after the wait.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum End {
    /// The run goes on.
    #[default]
    Continue,
    /// The step fails.
    Fail,
}

/// Ten years: beyond it a mistake in the unit is likelier than intent.
const LONGEST_MS: f64 = 10.0 * 365.0 * 86_400e3;

impl Node for Delay {
    const NAME: &str = "delay";

    fn node_type() -> NodeType {
        NodeType::of::<Self>()
            .category("flow")
            .result::<u64>()
            .waits(&["timer"])
            .fails("delay-ended", "The time has come, and `end` is `fail`: status `failed`.", "/end")
            .fails(
                "invalid-config",
                "A variable gave no number of 0 or more, no time, or one that is more than ten years away; the message names the place.",
                "",
            )
    }

    fn check(config: &Value) -> Vec<Problem> {
        match (config.get("duration"), config.get("until")) {
            (Some(_), Some(_)) => vec![Problem::new("/until", "give `duration` or `until`, not both")],
            (None, None) => vec![Problem::new("", "give `duration` with a `unit`, or `until`")],
            (_, Some(Value::String(text))) if !text.contains("{{") && time::milliseconds(text).is_none() => {
                vec![Problem::new("/until", "no time as RFC 3339 writes it, `2026-11-25T08:00:00Z`")]
            }
            _ => Vec::new(),
        }
    }

    fn execute(self, call: &Call) -> Answer {
        let now_ms = call.now_ms();
        let delay_ms = self.delay_ms(now_ms)?;
        Pending::with(delay_ms)?.wait_until("due", now_ms + delay_ms).answer()
    }

    fn resume(self, _: &Call, state: State, event: Event) -> Answer {
        let Event::Woke(_) = event else { return Err(Failure::unexpected_event("its time")) };
        let delay_ms: u64 = state.get()?;
        match self.end {
            End::Continue => done(delay_ms),
            End::Fail => {
                let failure = Failure::new("delay-ended", "the time has come, and `end` is `fail`");
                Err(failure.status(Status::Failed).output(&delay_ms))
            }
        }
    }
}

impl Delay {
    fn delay_ms(&self, now_ms: u64) -> Result<u64, Failure> {
        let (delay_ms, at) = match (&self.until, &self.duration) {
            (Some(until), _) => (time_ms(until)? - now_ms as f64, "/until"),
            (None, Some(duration)) => (number(duration)? * self.unit.milliseconds(), "/duration"),
            (None, None) => return Err(Failure::invalid_config("", "give `duration` with a `unit`, or `until`")),
        };
        if delay_ms > LONGEST_MS {
            return Err(Failure::invalid_config(at, "this is more than ten years away: is the unit right?"));
        }
        // A time that is past is waited for no longer: it becomes 0.
        Ok(delay_ms.round() as u64)
    }
}

/// A number, also one that stands in a text.
fn number(value: &Value) -> Result<f64, Failure> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number
        .filter(|number| *number >= 0.0)
        .ok_or_else(|| Failure::invalid_config("/duration", format!("{value} is no duration: give a number of 0 or more")))
}

/// A time in milliseconds since 1970.
fn time_ms(value: &Value) -> Result<f64, Failure> {
    let time = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => time::milliseconds(text).map(|ms| ms as f64),
        _ => None,
    };
    time.ok_or_else(|| {
        Failure::invalid_config(
            "/until",
            format!("{value} is no time: give RFC 3339 (`2026-11-25T08:00:00Z`), or milliseconds since 1970"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delay_ms(config: Value) -> Result<u64, String> {
        let delay: Delay = serde_json::from_value(config).map_err(|error| error.to_string())?;
        delay.delay_ms(1_000_000).map_err(|failure| failure.message)
    }

    #[test]
    fn durations_and_times() {
        assert_eq!(delay_ms(json!({"duration": 2})), Ok(2_000));
        assert_eq!(delay_ms(json!({"duration": "1.5", "unit": "min"})), Ok(90_000));
        assert_eq!(delay_ms(json!({"duration": 1, "unit": "w"})), Ok(604_800_000));
        assert_eq!(delay_ms(json!({"until": 1_000_250})), Ok(250));
        assert_eq!(delay_ms(json!({"until": "1970-01-01T07:16:41+07:00"})), Ok(1_000));
        assert_eq!(delay_ms(json!({"until": "1970-01-01T00:00:00Z"})), Ok(0), "it is past");
        for wrong in
            [json!({"duration": -1}), json!({"duration": "soon"}), json!({"duration": true}), json!({"until": "tomorrow"})]
        {
            assert!(delay_ms(wrong).unwrap_err().contains("is no"));
        }
        assert!(delay_ms(json!({"duration": 600, "unit": "w"})).unwrap_err().contains("ten years"));
        assert!(delay_ms(json!({"until": "9999-01-01T00:00:00Z"})).unwrap_err().contains("/until"));
    }
}
