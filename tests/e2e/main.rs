//! Weft from outside: the real binary, real components, real connections.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod grants;
mod harness;
mod parcel;
mod process;
mod server;
mod versions;
mod web;

mod api_calls;
mod approvals;
mod audit;
mod authors;
mod bodies;
mod bombs;
mod built_in;
mod calc;
mod callables;
mod canary;
mod care;
mod cli;
mod connections;
mod contract;
mod control;
mod effects;
mod examples;
mod faults;
mod feed;
mod files;
mod flow;
mod formulas;
mod hooks;
mod hostile;
mod imports;
mod kill;
mod languages;
mod lifecycle;
mod load;
mod mixed;
mod oracle;
mod outgoing;
mod pauses;
mod payloads;
mod plugins;
mod power;
mod quarantine;
mod refusals;
mod registry;
mod replay;
mod requests;
mod required_replay;
mod revisions;
mod sandbox;
mod scale;
mod schedule;
mod script;
mod secrets;
mod senders;
mod side_by_side;
mod signatures;
mod steps;
mod store;
mod suites;
mod swap;
mod timers;
mod totals;
mod upgrade;
mod vendors;
mod waits;

/// Every file of this folder is a module above: a test that nobody runs is worse than none.
#[test]
fn no_file_is_forgotten() {
    let here = harness::repository().join("tests/e2e");
    let main = std::fs::read_to_string(here.join("main.rs")).unwrap();
    for entry in std::fs::read_dir(here).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.strip_suffix(".rs").unwrap();
        assert!(module == "main" || main.contains(&format!("mod {module};")), "{name} is in no `mod`");
    }
}
