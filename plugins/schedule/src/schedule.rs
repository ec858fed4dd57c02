//! `schedule`: runs that begin at planned times.

use jiff::tz::TimeZone;
use weft_sdk::TriggerTimer;
use weft_sdk::prelude::*;

use crate::cron::Cron;
use crate::plan::{Due, Every, Plan};
use crate::time::{checked_moment, checked_zone, is_template, local, moment, rfc3339, zone};

/// Starts runs at fixed times, at intervals, and by cron expressions; what several of these plan is one schedule. Runs are asynchronous.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Fixed times: `2026-12-24T18:00:00Z`, or without an offset in the time zone. Those that are past when the workflow is activated never come.
    #[serde(default)]
    #[schemars(length(max = 1_000))]
    times: Vec<String>,
    /// An interval in milliseconds, counted from `starts_at`; without that from 1970-01-01T00:00:00Z, so that an hour begins on the hour.
    #[schemars(range(min = 1_000, max = 31_536_000_000_u64))]
    every_ms: Option<i64>,
    /// Cron expressions: minute, hour, day of the month, month, day of the week, with seconds before them if there are six fields. Names (`MON-FRI`,
    /// `JAN`), lists, ranges, steps, `L` (last day), `15W` (nearest weekday), `FRI#2`, `5#L`, `+` before the weekday (both must be so), and
    /// `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`. Where the clock is set forward, an expression that means one time of a day
    /// (`30 2 * * *`) comes at the first moment after the gap, and any other leaves the gap out; where it is set back, the one comes at the
    /// first of the two times, and any other at both.
    #[serde(default)]
    #[schemars(length(max = 20))]
    cron: Vec<String>,
    /// The time zone of `cron` and of times without an offset, by its IANA name (`Europe/Berlin`).
    #[serde(default = "utc")]
    time_zone: String,
    /// Nothing is planned before this time.
    starts_at: Option<String>,
    /// Nothing is planned after this time.
    ends_at: Option<String>,
    /// It ends when the workflow has had so many runs, over all its revisions and however they were started.
    #[schemars(range(min = 1))]
    limit: Option<u32>,
    /// What becomes of times that were missed, since the host was down or the workflow held up.
    #[serde(default)]
    missed: Missed,
    /// How many missed times are made up for with `missed: all`: the newest.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 1_000))]
    missed_max: usize,
    /// How late the newest planned time may be met before it counts as missed, in milliseconds. Those before it always do.
    #[serde(default = "minute")]
    #[schemars(range(min = 0, max = 86_400_000))]
    late_ms: i64,
}

/// What becomes of times that were missed.
#[derive(Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Missed {
    /// Nothing: the next planned time starts the next run.
    #[default]
    Skip,
    /// One run makes up for all of them.
    Once,
    /// Each starts a run, oldest first.
    All,
}

/// The time zone where none is given.
pub(crate) fn utc() -> String {
    "UTC".into()
}

fn hundred() -> usize {
    100
}

/// How late a time may be met by default, in milliseconds.
pub(crate) fn minute() -> i64 {
    60_000
}

/// What the run's steps see as `$context`.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// The planned time (RFC 3339, UTC).
    pub(crate) date: String,
    /// The same on the clock of the time zone, with its offset.
    pub(crate) local: String,
    /// How many planned times before this one were missed and start no run of their own; 1,000 stands for that or more.
    pub(crate) missed: usize,
    /// Whether this time was missed, and the run makes up for it.
    pub(crate) made_up: bool,
}

/// What the timer hands back.
#[derive(Serialize, Deserialize)]
struct Planned {
    /// The first planned time that has started no run.
    planned: String,
}

/// The one timer.
pub(crate) const TIMER: &str = "next";

/// Runs that one event of the host may start.
const STARTS_MAX: usize = 100;

/// Missed times that are counted.
const COUNTED_MAX: usize = 1_000;

impl Trigger for Schedule {
    const NAME: &str = "schedule";

    fn trigger_type() -> TriggerType {
        TriggerType::of::<Self>(Mode::Asynchronous, &["timer"])
            .category("time")
            .context::<Context>()
            .fails(
                "invalid-config",
                "A variable gave a cron expression, a time or a time zone that cannot be used; the message names the place.",
                "",
            )
            .fails("unexpected-event", "The host told it of something else than its timer: please report it.", "")
    }

    fn check(config: &Value) -> Vec<Problem> {
        let mut problems = Vec::new();
        let list = |name: &str| config.get(name).and_then(Value::as_array).into_iter().flatten().enumerate();
        if list("times").next().is_none() && list("cron").next().is_none() && config.get("every_ms").is_none_or(Value::is_null) {
            problems.push(Problem::new("", "nothing is planned: give `times`, `every_ms` or `cron`"));
        }
        let Some(zone) = checked_zone(config, &mut problems) else { return problems };
        for (nth, time) in list("times") {
            checked_moment(Some(time), &format!("/times/{nth}"), &zone, &mut problems);
        }
        for (nth, text) in list("cron").filter_map(|(nth, text)| Some((nth, text.as_str().filter(|text| !is_template(text))?))) {
            if let Err(message) = Cron::parse(text, &zone) {
                problems.push(Problem::new(&format!("/cron/{nth}"), message));
            }
        }
        let starts = checked_moment(config.get("starts_at"), "/starts_at", &zone, &mut problems);
        let ends = checked_moment(config.get("ends_at"), "/ends_at", &zone, &mut problems);
        if starts.zip(ends).is_some_and(|(starts, ends)| ends < starts) {
            problems.push(Problem::new("/ends_at", "it ends before it starts"));
        }
        problems
    }

    fn subscribe(self, call: &TriggerCall) -> Result<Vec<Subscription>, Failure> {
        let (plan, _) = self.plan()?;
        let first = if self.left(call.runs_started) == 0 { None } else { plan.after(now(call)) };
        Ok(first.map(timer).transpose()?.map(Subscription::Timer).into_iter().collect())
    }

    fn fire(self, call: &TriggerCall, event: TriggerEvent) -> Result<Reaction, Failure> {
        let planned = planned(event)?;
        let (plan, zone) = self.plan()?;
        let left = self.left(call.runs_started);
        if left == 0 {
            return Ok(Reaction::nothing("the workflow has had as many runs as its schedule allows"));
        }
        let now = now(call).max(planned);
        let (chosen, more) = self.choose(&plan, planned, now);
        let mut starts = Vec::new();
        for (nth, (time, missed, made_up)) in chosen.iter().take(left.min(STARTS_MAX)).enumerate() {
            let missed = if nth == 0 { missed + more } else { *missed };
            starts.push(start(*time, missed, *made_up, &zone)?);
        }
        let next = match chosen.get(starts.len()) {
            _ if starts.len() >= left => None,
            // What does not fit into one event comes with the next one, at once.
            Some((time, ..)) => Some(*time),
            None => plan.after(now),
        };
        let note = starts.is_empty().then(|| "the planned time was missed".to_owned());
        let reaction = Reaction { note, ..Reaction::start(starts) };
        Ok(match next {
            Some(next) => reaction.set_timer(timer(next)?),
            None => reaction,
        })
    }
}

impl Schedule {
    fn plan(&self) -> Result<(Plan, TimeZone), Failure> {
        let zone = zone(&self.time_zone).map_err(|message| Failure::invalid_config("/time_zone", message))?;
        let time = |text: &Option<String>, at: &str| {
            text.as_deref().map(|text| moment(text, &zone).map_err(|message| Failure::invalid_config(at, message))).transpose()
        };
        let (starts, ends) = (time(&self.starts_at, "/starts_at")?, time(&self.ends_at, "/ends_at")?);
        let each = |(nth, text): (usize, &String)| {
            moment(text, &zone).map_err(|message| Failure::invalid_config(&format!("/times/{nth}"), message))
        };
        let mut times = self.times.iter().enumerate().map(each).collect::<Result<Vec<_>, _>>()?;
        times.sort_unstable();
        let cron = |(nth, text): (usize, &String)| {
            Cron::parse(text, &zone).map_err(|message| Failure::invalid_config(&format!("/cron/{nth}"), message))
        };
        let crons = self.cron.iter().enumerate().map(cron).collect::<Result<_, _>>()?;
        let every = self.every_ms.map(|ms| Every { ms: ms.max(1_000), from: starts.unwrap_or(0) });
        Ok((Plan { times, every, crons, starts, ends }, zone))
    }

    /// How many runs more there may be.
    fn left(&self, runs_started: u32) -> usize {
        self.limit.map_or(usize::MAX, |limit| limit.saturating_sub(runs_started) as usize)
    }

    /// Which of the times that are due start a run, each with how many before it do not, and whether it makes up for one that was missed; and how many
    /// there are before all of them.
    fn choose(&self, plan: &Plan, planned: i64, now: i64) -> (Vec<(i64, usize, bool)>, usize) {
        let kept = if self.missed == Missed::All { self.missed_max.saturating_add(1) } else { 1 };
        let Due { times, more } = plan.due(planned, now, kept, COUNTED_MAX + 1);
        let newest = times.last().copied().filter(|newest| now - newest <= self.late_ms);
        let is_missed = |time: i64| Some(time) != newest;
        let missed_max = if self.missed == Missed::Skip { 0 } else { self.missed_max };
        let missed = times.iter().filter(|time| is_missed(**time)).count();
        let dropped = match self.missed {
            Missed::Once => 0,
            _ => missed.saturating_sub(missed_max),
        };
        let chosen = times.into_iter().skip(dropped).map(|time| (time, 0, is_missed(time))).collect();
        (chosen, more + dropped)
    }
}

/// A run for a planned time.
pub(crate) fn start(time: i64, missed: usize, made_up: bool, zone: &TimeZone) -> Result<Start, Failure> {
    let date = rfc3339(time);
    // Whatever happens to revisions and hosts, each planned time starts one run.
    let dedup_key = Some(format!("at/{date}"));
    let context = Context { date, local: local(time, zone), missed: missed.min(COUNTED_MAX), made_up };
    Ok(Start { dedup_key, ..Start::with(&context)? })
}

pub(crate) fn timer(time: i64) -> Result<TriggerTimer, Failure> {
    TriggerTimer::new(TIMER, u64::try_from(time).unwrap_or(0), &Planned { planned: rfc3339(time) })
}

/// The planned time of the timer that fired.
pub(crate) fn planned(event: TriggerEvent) -> Result<i64, Failure> {
    let TriggerEvent::Timer(timer) = event else {
        return Err(Failure::unexpected_event("its timer"));
    };
    let planned = serde_json::from_str::<Planned>(&timer.payload).ok();
    let planned = planned.and_then(|planned| moment(&planned.planned, &TimeZone::UTC).ok());
    Ok(planned.unwrap_or_else(|| i64::try_from(timer.at_ms()).unwrap_or(i64::MAX)))
}

pub(crate) fn now(call: &TriggerCall) -> i64 {
    i64::try_from(call.now_ms()).unwrap_or(i64::MAX)
}
