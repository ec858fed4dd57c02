//! Texts of dates, with the letters of Day.js and its plugin `advancedFormat`.

use jiff::Zoned;

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
#[rustfmt::skip]
const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];

/// Longer ones first: `MMM` is not `MM` and `M`.
#[rustfmt::skip]
const TOKENS: [&str; 40] = [
    "YYYY", "YY", "MMMM", "MMM", "MM", "M", "DD", "Do", "D", "dddd", "ddd", "dd", "d", "HH", "H", "hh", "h", "kk", "k", "mm", "m", "ss", "s", "SSS", "A", "a",
    "ZZ", "Z", "zzz", "z", "Q", "wo", "ww", "w", "WW", "W", "gggg", "GGGG", "X", "x",
];

/// The date as a text. What is in brackets stays as it is, and so does what is no letter of the format's.
pub(super) fn format(date: &Zoned, format: &str) -> String {
    let (mut text, mut rest) = (String::new(), format);
    while let Some(next) = rest.chars().next() {
        if next == '['
            && let Some(end) = rest.find(']')
        {
            text.push_str(&rest[1..end]);
            rest = &rest[end + 1..];
        } else if let Some(token) = TOKENS.iter().find(|token| rest.starts_with(**token)) {
            text.push_str(&part(date, token));
            rest = &rest[token.len()..];
        } else {
            text.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    text
}

fn part(date: &Zoned, token: &str) -> String {
    let weekday = usize::from(date.weekday().to_sunday_zero_offset().unsigned_abs());
    let (day, month) = (DAYS[weekday % 7], MONTHS[usize::from(date.month().unsigned_abs() - 1) % 12]);
    let twelve = match date.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    let twenty_four = if date.hour() == 0 { 24 } else { date.hour() };
    let offset = |colon: &str| {
        let minutes = date.offset().seconds() / 60;
        let sign = if minutes < 0 { '-' } else { '+' };
        format!("{sign}{:02}{colon}{:02}", minutes.abs() / 60, minutes.abs() % 60)
    };
    let iso = date.date().iso_week_date();
    // Weeks from Sunday; the one with the first of January is the first.
    let week = || {
        let first = i16::from(date.date().first_of_year().weekday().to_sunday_zero_offset());
        let days_in_year = date.days_in_year();
        let number = (date.day_of_year() + first - 1) / 7 + 1;
        let next_begins = days_in_year - (i16::from(date.date().last_of_year().weekday().to_sunday_zero_offset()));
        if date.day_of_year() >= next_begins && date.date().last_of_year().weekday() != jiff::civil::Weekday::Saturday {
            (date.year() + 1, 1)
        } else {
            (date.year(), number)
        }
    };
    match token {
        "YYYY" => format!("{:04}", date.year()),
        "YY" => format!("{:02}", date.year().rem_euclid(100)),
        "MMMM" => month.into(),
        "MMM" => month[..3].into(),
        "MM" => format!("{:02}", date.month()),
        "M" => date.month().to_string(),
        "DD" => format!("{:02}", date.day()),
        "Do" => ordinal(date.day().into()),
        "D" => date.day().to_string(),
        "dddd" => day.into(),
        "ddd" => day[..3].into(),
        "dd" => day[..2].into(),
        "d" => weekday.to_string(),
        "HH" => format!("{:02}", date.hour()),
        "H" => date.hour().to_string(),
        "hh" => format!("{twelve:02}"),
        "h" => twelve.to_string(),
        "kk" => format!("{twenty_four:02}"),
        "k" => twenty_four.to_string(),
        "mm" => format!("{:02}", date.minute()),
        "m" => date.minute().to_string(),
        "ss" => format!("{:02}", date.second()),
        "s" => date.second().to_string(),
        "SSS" => format!("{:03}", date.millisecond()),
        "A" => if date.hour() < 12 { "AM" } else { "PM" }.into(),
        "a" => if date.hour() < 12 { "am" } else { "pm" }.into(),
        "ZZ" => offset(""),
        "Z" => offset(":"),
        "z" | "zzz" => date.time_zone().iana_name().map_or_else(|| offset(":"), |_| date.strftime("%Z").to_string()),
        "Q" => ((date.month() - 1) / 3 + 1).to_string(),
        "wo" => ordinal(week().1.into()),
        "ww" => format!("{:02}", week().1),
        "w" => week().1.to_string(),
        "WW" => format!("{:02}", iso.week()),
        "W" => iso.week().to_string(),
        "gggg" => week().0.to_string(),
        "GGGG" => iso.year().to_string(),
        "X" => date.timestamp().as_second().to_string(),
        "x" => date.timestamp().as_millisecond().to_string(),
        other => other.into(),
    }
}

fn ordinal(number: i64) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}
