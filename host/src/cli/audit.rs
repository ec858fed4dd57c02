//! `weft audit`

use clap::Subcommand;
use serde_json::Value;

use super::Failure;
use super::client::Client;
use super::print;

#[derive(Subcommand)]
pub(super) enum Audit {
    /// List what was changed and by whom, newest first.
    List {
        /// Entries at most.
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// Those before this one: the number at the end of the page before.
        #[arg(long)]
        after: Option<u64>,
    },
    /// Look whether every entry is as it was written; exit code 1 if not.
    ///
    /// Who can write to the data folder can make the whole log anew. Note the newest number and hash elsewhere, and give them here later.
    Verify {
        /// An entry's number and its hash, as they were noted: `12:sha256:…`.
        #[arg(long, value_name = "NUMBER:HASH")]
        noted: Option<String>,
    },
}

pub(super) async fn run(verb: Audit, client: &Client) -> Result<(), Failure> {
    match verb {
        Audit::List { limit, after } => {
            let after = after.map(|after| format!("&after={after}")).unwrap_or_default();
            let page = client.get(&format!("/audit?limit={limit}{after}")).await?;
            if client.json {
                print::json(&page);
                return Ok(());
            }
            let rows = print::items(&page).map(|entry| {
                let details = if entry["problem"].is_string() { &entry["problem"] } else { &entry["details"] };
                let [number, at, who, what, on] = ["number", "at", "who", "what", "on"].map(|name| print::text(entry, name));
                [number, at, who, what, on, details.to_string()].map(|text| escaped(&text))
            });
            print::table(["number", "at", "who", "what", "on", "details"], rows.collect(), "nothing was changed yet");
            print::more(&page);
        }
        Audit::Verify { noted } => {
            let query = match noted.as_deref().map(|noted| noted.split_once(':')) {
                None => String::new(),
                Some(Some((number, hash))) => format!("?number={number}&hash={hash}"),
                Some(None) => return Err(Failure::Usage("--noted takes NUMBER:HASH, such as 12:sha256:…".into())),
            };
            let report = client.get(&format!("/audit/verify{query}")).await?;
            let found = report["problems_found"].as_u64().unwrap_or_default();
            if client.json {
                print::json(&report);
            } else {
                show(&report);
            }
            if found > 0 {
                return Err(Failure::Refused(format!("the audit log has {found} problem(s)")));
            }
        }
    }
    Ok(())
}

fn show(report: &Value) {
    for problem in report["problems"].as_array().into_iter().flatten() {
        println!("{}", print::text(problem, "problem"));
    }
    println!("{} entries", report["entries"]);
    if let (number, Some(hash)) = (&report["newest"]["number"], report["newest"]["hash"].as_str()) {
        println!("note the newest one elsewhere: {number}:{hash}");
    }
}

/// Without characters that a terminal would take for commands: names of files come from outside.
fn escaped(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_unicode().collect::<Vec<_>>() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn a_terminal_gets_no_commands() {
        assert_eq!(escaped("a\u{1b}[31m\u{9b}b\nc"), "a\\u{1b}[31m\\u{9b}b\\u{a}c");
    }
}
