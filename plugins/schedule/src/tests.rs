//! Cron expressions and time zones: what others' implementations say, and moments at which clocks are set, looked up by hand.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use weft_sdk::prelude::*;

use crate::cron::Cron;

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

fn second(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_second()
}

fn shown(seconds: impl Iterator<Item = i64>) -> Vec<String> {
    seconds.map(|second| Timestamp::from_second(second).unwrap().to_string()).collect()
}

/// The moments after one; and the same ones backward from a second after the last.
#[track_caller]
fn check(zone_name: &str, expression: &str, after: &str, expected: &[&str]) {
    let cron = Cron::parse(expression, &zone(zone_name)).unwrap();
    let found = std::iter::successors(cron.after(second(after)), |last| cron.after(*last)).take(expected.len());
    assert_eq!(shown(found), expected, "{zone_name} {expression}");
    let end = second(expected[expected.len() - 1]) + 1;
    let backward = std::iter::successors(cron.before(end), |first| cron.before(*first)).take(expected.len());
    let mut backward: Vec<i64> = backward.collect();
    backward.reverse();
    assert_eq!(shown(backward.into_iter()), expected, "{zone_name} {expression}, backward");
}

#[test]
fn one_time_of_a_day_comes_once_when_clocks_are_set() {
    // 2026-03-29 02:00 → 03:00 (01:00 UTC); 2026-10-25 03:00 → 02:00 (01:00 UTC).
    check(
        "Europe/Berlin",
        "30 2 * * *",
        "2026-03-28T00:00:00Z",
        &["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"],
    );
    check("Europe/Berlin", "0 3 * * *", "2026-03-28T12:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T01:00:00Z"]);
    check("Europe/Berlin", "30 2 * * *", "2026-10-24T12:00:00Z", &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    // A day without the time is no other day: the fixed date stays.
    check("Europe/Berlin", "30 2 29 3 *", "2026-01-01T00:00:00Z", &["2026-03-29T01:00:00Z", "2027-03-29T00:30:00Z"]);
    // 2026-03-08 02:00 → 03:00 (07:00 UTC); 2026-11-01 02:00 → 01:00 (06:00 UTC).
    check("America/New_York", "15 2 * * *", "2026-03-07T12:00:00Z", &["2026-03-08T07:00:00Z", "2026-03-09T06:15:00Z"]);
    check("America/New_York", "30 1 * * *", "2026-10-31T12:00:00Z", &["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"]);
    // Half an hour: 2026-10-04 02:00 → 02:30 (15:30 UTC on the 3rd); 2026-04-05 02:00 → 01:30 (15:00 UTC on the 4th).
    check("Australia/Lord_Howe", "15 2 * * *", "2026-10-03T00:00:00Z", &["2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"]);
    check("Australia/Lord_Howe", "45 1 * * *", "2026-04-04T00:00:00Z", &["2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"]);
    // At midnight: 2026-09-06 00:00 → 01:00 (04:00 UTC); 2026-04-05 00:00 → 23:00 of the 4th (03:00 UTC).
    check("America/Santiago", "0 0 * * *", "2026-09-05T12:00:00Z", &["2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"]);
    check("America/Santiago", "30 23 * * *", "2026-04-04T12:00:00Z", &["2026-04-05T02:30:00Z", "2026-04-06T03:30:00Z"]);
    // Samoa left out 2011-12-30 as a whole.
    check(
        "Pacific/Apia",
        "0 12 * * *",
        "2011-12-29T12:00:00Z",
        &["2011-12-29T22:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z"],
    );
}

#[test]
fn what_is_shown_by_the_clock_comes_as_often_as_it_is_shown() {
    check(
        "Europe/Berlin",
        "*/30 * * * *",
        "2026-03-29T00:00:00Z",
        &["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"],
    );
    check(
        "Europe/Berlin",
        "30 * * * *",
        "2026-10-24T23:31:00Z",
        &["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"],
    );
    check("Europe/Berlin", "0,30 2 * * *", "2026-03-28T01:30:00Z", &["2026-03-30T00:00:00Z", "2026-03-30T00:30:00Z"]);
    check(
        "Europe/Berlin",
        "0,30 2 * * *",
        "2026-10-24T12:00:00Z",
        &["2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-26T01:00:00Z"],
    );
    check(
        "Australia/Lord_Howe",
        "*/15 * * * *",
        "2026-04-04T14:30:00Z",
        &["2026-04-04T14:45:00Z", "2026-04-04T15:00:00Z", "2026-04-04T15:15:00Z", "2026-04-04T15:30:00Z"],
    );
    check(
        "Australia/Lord_Howe",
        "*/15 * * * *",
        "2026-10-03T15:00:00Z",
        &["2026-10-03T15:15:00Z", "2026-10-03T15:30:00Z", "2026-10-03T15:45:00Z"],
    );
    check(
        "America/Santiago",
        "0 * * * *",
        "2026-04-05T01:30:00Z",
        &["2026-04-05T02:00:00Z", "2026-04-05T03:00:00Z", "2026-04-05T04:00:00Z"],
    );
    check(
        "America/New_York",
        "*/20 1 * * *",
        "2026-11-01T04:30:00Z",
        &[
            "2026-11-01T05:00:00Z",
            "2026-11-01T05:20:00Z",
            "2026-11-01T05:40:00Z",
            "2026-11-01T06:00:00Z",
            "2026-11-01T06:20:00Z",
            "2026-11-01T06:40:00Z",
            "2026-11-02T06:00:00Z",
        ],
    );
    // Every second of the second that is shown twice, and no other.
    check("America/New_York", "59 59 1 * * *", "2026-10-31T12:00:00Z", &["2026-11-01T05:59:59Z", "2026-11-02T06:59:59Z"]);
    check(
        "America/New_York",
        "58-59 59 1 * * *",
        "2026-11-01T05:00:00Z",
        &["2026-11-01T05:59:58Z", "2026-11-01T05:59:59Z", "2026-11-01T06:59:58Z", "2026-11-01T06:59:59Z"],
    );
}

#[test]
fn days_that_are_far_apart_are_found() {
    check("UTC", "0 0 29 2 *", "2096-03-01T00:00:00Z", &["2104-02-29T00:00:00Z"]);
    check("Europe/Berlin", "*/30 12 29 2 *", "2096-03-01T00:00:00Z", &["2104-02-29T11:00:00Z", "2104-02-29T11:30:00Z"]);
    check("UTC", "0 9 L * *", "2026-01-15T00:00:00Z", &["2026-01-31T09:00:00Z", "2026-02-28T09:00:00Z", "2026-03-31T09:00:00Z"]);
    check("UTC", "0 9 1W * *", "2026-07-15T00:00:00Z", &["2026-08-03T09:00:00Z", "2026-09-01T09:00:00Z"]);
    check("UTC", "0 9 * * FRI#2", "2026-01-01T00:00:00Z", &["2026-01-09T09:00:00Z", "2026-02-13T09:00:00Z"]);
    check("UTC", "0 9 * * 5#L", "2026-01-01T00:00:00Z", &["2026-01-30T09:00:00Z", "2026-02-27T09:00:00Z"]);
    check("UTC", "0 9 13 * +FRI", "2026-01-01T00:00:00Z", &["2026-02-13T09:00:00Z", "2026-03-13T09:00:00Z"]);
    check("UTC", "0 9 13 * FRI", "2026-01-05T00:00:00Z", &["2026-01-09T09:00:00Z", "2026-01-13T09:00:00Z"]);
}

#[test]
fn what_is_no_expression_or_means_no_time_is_refused() {
    for wrong in [
        "",
        "* * * *",
        "60 * * * *",
        "* 24 * * *",
        "0 0 32 * *",
        "0 0 0 * *",
        "0 0 * 13 *",
        "0 0 * * 8",
        "a b c d e",
        "*/0 * * * *",
        "5-1 * * * *",
        "0 0 30 2 *",
        "0 0 31 4,6,9,11 *",
        "@sometimes",
        "0 0 * * FRI#6",
        "* * * * * * 2026",
    ] {
        let error = Cron::parse(wrong, &TimeZone::UTC).err().unwrap_or_else(|| panic!("`{wrong}` is taken"));
        assert!(error.contains(wrong), "{error}");
    }
}

/// Backward is forward read from its end, over clocks that are set, for expressions of every kind.
#[test]
fn backward_is_forward_from_its_end() {
    let zones = [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "America/Santiago",
        "Asia/Kolkata",
        "Africa/Casablanca",
    ];
    let expressions =
        ["30 2 * * *", "*/20 0-3 * * *", "0 0 */7 * *", "15,45 1 * * SUN", "0 0 L * *", "7 */5 2 * * 1-5", "0 12 * * MON#1"];
    for name in zones {
        for expression in expressions {
            let cron = Cron::parse(expression, &zone(name)).unwrap();
            for from in ["2026-03-01T00:00:00Z", "2026-10-01T00:00:00Z"] {
                let found = std::iter::successors(cron.after(second(from)), |last| cron.after(*last)).take(400);
                let forward: Vec<i64> = found.collect();
                assert!(forward.windows(2).all(|pair| pair[0] < pair[1]), "{name} {expression}");
                let back = std::iter::successors(cron.before(forward[399] + 1), |first| cron.before(*first)).take(400);
                let mut back: Vec<i64> = back.collect();
                back.reverse();
                assert_eq!(back, forward, "{name} {expression}");
            }
        }
    }
}

const ZONES: &str = "UTC; Europe/Berlin; Europe/Dublin; America/New_York; America/Santiago; America/St_Johns; Australia/Lord_Howe; \
    Asia/Kolkata; Asia/Kathmandu; Pacific/Auckland; Pacific/Chatham; Europe/London";

const EXPRESSIONS: &str = "* * * * *; */5 * * * *; */7 * * * *; 0 * * * *; 59 * * * *; 0 */2 * * *; 15 */5 * * *; 30 2 * * *; 0 0 * * *; \
    30 0 * * *; 59 23 * * *; 0,30 1,2,3 * * *; */20 0-4 * * *; 0 9-17 * * 1-5; 0 12 * * SUN; 0 12 * * 7; \
    0 12 * * 0; 5 4 * * MON-FRI; 0 0 1 * *; 0 0 31 * *; 0 0 L * *; 0 0 29 2 *; 0 6 1,15 * *; 0 6 */10 * *; \
    0 6 * 1-3,12 *; 0 6 * JAN,JUL *; 0 6 13 * 5; 0 6 1-7 * MON; 0 6 * * 1#1; 0 6 * * 5#3; 10 0 6 * * *; \
    */15 30 2 * * *; 0 0 0 * * *; 30 59 23 * * *; 0,59 0,59 */6 * * *; */10 * * * * *";

/// One case, as the script takes it.
fn case(reader: &str, cron: &str, zone: &str, from: &str, count: usize) -> Value {
    serde_json::json!({ "reader": reader, "cron": cron, "zone": zone, "from": from, "count": count })
}

/// Two implementations that others wrote, from npm: `croner` also while clocks are set; `cron-parser`, which has another rule for that, at
/// other times.
#[test]
fn others_say_the_same() {
    let tests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests").canonicalize().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/others.cjs");
    let mut cases = Vec::new();
    for zone in ZONES.split("; ") {
        for cron in EXPRESSIONS.split("; ") {
            for from in ["2026-03-07T20:11:12Z", "2026-04-04T12:00:00Z", "2026-10-03T00:00:00Z", "2026-10-24T21:30:00Z"] {
                // Far ones take a while there.
                let count = if cron.ends_with(" 2 *") { 2 } else { 12 };
                cases.push(case("croner", cron, zone, from, count));
            }
            if cron != "0 0 29 2 *" && !cron.contains('L') {
                cases.push(case("cron-parser", cron, zone, "2026-05-11T10:11:12Z", 10));
            }
        }
    }
    let mut command = std::process::Command::new("node");
    command.arg(script).arg(&tests).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().expect("`node`, and `npm ci` in tests/");
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), serde_json::to_string(&cases).unwrap().as_bytes()).unwrap();
    let said = child.wait_with_output().unwrap();
    assert!(said.status.success(), "`npm ci` in tests/ brings what this compares with");
    let said: Vec<Vec<i64>> =
        String::from_utf8(said.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(said.len(), cases.len());
    let mut wrong = Vec::new();
    for (case, expected) in cases.iter().zip(&said) {
        assert!(!expected.is_empty(), "{case}: nothing to compare with");
        let text = |member: &str| case[member].as_str().unwrap();
        let cron = Cron::parse(text("cron"), &zone(text("zone"))).unwrap();
        let first = cron.after(second(text("from")));
        let found: Vec<i64> = std::iter::successors(first, |last| cron.after(*last)).take(expected.len()).collect();
        if found != *expected {
            let at = found.iter().zip(expected).position(|(a, b)| a != b).unwrap_or(0);
            let both = [found[at], expected[at]].map(|second| Timestamp::from_second(second).unwrap().to_string());
            wrong.push(format!("{case}: number {at} is {} here, {} there", both[0], both[1]));
        }
    }
    println!("{} cases, {} times", cases.len(), said.iter().map(Vec::len).sum::<usize>());
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong[..wrong.len().min(40)].join("\n"));
}
