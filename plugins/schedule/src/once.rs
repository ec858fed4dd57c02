//! `once`: one run, at one time.

use weft_sdk::prelude::*;

use crate::schedule::{Context, minute, now, planned, start, timer, utc};
use crate::time::{checked_moment, checked_zone, moment, zone};

/// Starts one run at one time. The run is asynchronous.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Once {
    /// The time: `2026-12-24T18:00:00Z`, or without an offset in the time zone. If it is past when the workflow is activated, it never comes.
    at: String,
    /// The time zone of a time without an offset, by its IANA name (`Europe/Berlin`).
    #[serde(default = "utc")]
    time_zone: String,
    /// What becomes of it if it was missed, since the host was down or the workflow held up.
    #[serde(default)]
    missed: Missed,
    /// How late it may be met before it counts as missed, in milliseconds.
    #[serde(default = "minute")]
    #[schemars(range(min = 0, max = 86_400_000))]
    late_ms: i64,
}

/// What becomes of a time that was missed.
#[derive(Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Missed {
    /// The run starts late.
    #[default]
    Run,
    /// No run starts.
    Skip,
}

impl Trigger for Once {
    const NAME: &str = "once";

    fn trigger_type() -> TriggerType {
        TriggerType::of::<Self>(Mode::Asynchronous, &["timer"])
            .category("time")
            .context::<Context>()
            .fails(
                "invalid-config",
                "A variable gave a time or a time zone that cannot be used; the message names the place.",
                "",
            )
            .fails("unexpected-event", "The host told it of something else than its timer: please report it.", "")
    }

    fn check(config: &Value) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(zone) = checked_zone(config, &mut problems) {
            checked_moment(config.get("at"), "/at", &zone, &mut problems);
        }
        problems
    }

    fn subscribe(self, call: &TriggerCall) -> Result<Vec<Subscription>, Failure> {
        let zone = zone(&self.time_zone).map_err(|message| Failure::invalid_config("/time_zone", message))?;
        let at = moment(&self.at, &zone).map_err(|message| Failure::invalid_config("/at", message))?;
        if at <= now(call) {
            return Ok(Vec::new());
        }
        Ok(vec![Subscription::Timer(timer(at)?)])
    }

    fn fire(self, call: &TriggerCall, event: TriggerEvent) -> Result<Reaction, Failure> {
        let planned = planned(event)?;
        let zone = zone(&self.time_zone).map_err(|message| Failure::invalid_config("/time_zone", message))?;
        let is_missed = now(call) - planned > self.late_ms;
        if is_missed && self.missed == Missed::Skip {
            return Ok(Reaction::nothing("the time was missed"));
        }
        Ok(Reaction::start(vec![start(planned, 0, is_missed, &zone)?]))
    }
}
