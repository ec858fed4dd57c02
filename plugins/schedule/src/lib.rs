//! `weft/schedule`: runs that begin at times.

mod cron;
mod once;
mod plan;
mod schedule;
#[cfg(test)]
mod tests;
mod time;

weft_sdk::plugin! {
    name: "weft/schedule",
    title: "Schedule",
    triggers: [schedule::Schedule, once::Once],
}
