//! `weft store`: care for a data folder whose host is stopped.

use std::panic::catch_unwind;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Failure, print};
use crate::store::care::{self, Compacted, Exported, Kind, Report};

#[derive(Subcommand)]
pub(super) enum Store {
    /// Look whether everything in a store is whole; exit code 1 if not.
    Verify {
        #[command(flatten)]
        folder: Folder,
    },
    /// Write a store to one file, from which `import` makes it anew, whatever the engine.
    ///
    /// The secrets in it are sealed with `master.key`, which is not part of it: keep a copy of that file too, and keep it elsewhere.
    Export {
        /// The file: JSON lines with a checksum. One that is there is replaced when the new one is whole.
        file: PathBuf,
        #[command(flatten)]
        folder: Folder,
    },
    /// Make the store of a new data folder from a file that `export` wrote.
    ///
    /// The secrets in it can be opened with the `master.key` that they were sealed with: copy that file into the folder too.
    Import {
        /// The file.
        file: PathBuf,
        #[command(flatten)]
        folder: Folder,
    },
    /// Give disk space back that deleted runs had, and remove files that nothing refers to.
    ///
    /// The store is copied, so as much must be free on the disk as the copy takes. Killed at any moment it leaves the old store or
    /// the new one.
    Compact {
        #[command(flatten)]
        folder: Folder,
    },
}

#[derive(Args)]
pub(super) struct Folder {
    /// The data folder.
    #[arg(long, env = "WEFT_DATA", value_name = "DIR", default_value = "weft-data")]
    data: PathBuf,
}

/// Runs a verb.
pub(super) fn run(verb: Store, json: bool) -> Result<(), Failure> {
    super::log("warn");
    // An engine that finds its files damaged may panic, which says as much as an error.
    catch_unwind(|| match verb {
        Store::Verify { folder } => verify(&folder, json),
        Store::Export { file, folder } => {
            let Exported { pairs, blobs, bytes } = care::export(&folder.data, &file)?;
            let text = format!("{}: {pairs} records and {blobs} plugins, {}", file.display(), size(bytes));
            let hint = "secrets in it can only be opened with master.key, which is not in it: keep a copy of that too";
            tell(json, &json!({"pairs": pairs, "blobs": blobs, "bytes": bytes}), &format!("{text}\n{hint}"))
        }
        Store::Import { file, folder } => {
            let Exported { pairs, blobs, bytes } = care::import(&folder.data, &file)?;
            let data = folder.data.display();
            let text = format!("{data}: {pairs} records and {blobs} plugins from {}", size(bytes));
            let hint = format!("copy the master.key that its secrets were sealed with to {data}, then start a host there");
            tell(json, &json!({"pairs": pairs, "blobs": blobs, "bytes": bytes}), &format!("{text}\n{hint}"))
        }
        Store::Compact { folder } => {
            let compacted = care::compact(&folder.data)?;
            let Compacted { bytes_before, bytes_after, pairs, blobs_removed } = compacted;
            let text = format!("{} before, {} after: {pairs} keys", size(bytes_before), size(bytes_after));
            let text = if blobs_removed > 0 { format!("{text}; removed {blobs_removed} files without use") } else { text };
            tell(json, &json!(compacted), &text)
        }
    })
    .unwrap_or_else(|_| {
        Err(Failure::Refused("the store is damaged: the engine gave up reading it; restore it from a copy".into()))
    })
}

impl From<care::Error> for Failure {
    fn from(error: care::Error) -> Self {
        Self::Refused(match std::error::Error::source(&error) {
            Some(source) if !error.to_string().contains(&source.to_string()) => format!("{error}: {source}"),
            _ => error.to_string(),
        })
    }
}

fn tell(json: bool, document: &serde_json::Value, text: &str) -> Result<(), Failure> {
    if json {
        print::json(document);
    } else {
        println!("{text}");
    }
    Ok(())
}

fn verify(folder: &Folder, json: bool) -> Result<(), Failure> {
    let report = care::verify(&folder.data)?;
    if json {
        print::json(&json!(report));
    } else {
        show(&report);
    }
    match report.problems_found {
        0 => Ok(()),
        found => Err(Failure::Refused(format!("{} has {found} problem(s)", folder.data.display()))),
    }
}

fn show(report: &Report) {
    let row = |kind: &Kind| [kind.name.to_owned(), kind.count.to_string(), size(kind.bytes)];
    let files = [&report.blobs, &report.unreferenced_blobs].into_iter().filter(|kind| kind.count > 0);
    let rows = report.kinds.iter().chain(files).map(row).collect();
    print::table(["kind", "count", "size"], rows, "the store is empty");
    println!("\n{} in it, {} on disk", size(report.live_bytes), size(report.disk_bytes));
    if report.is_worth_compacting() {
        println!("`weft store compact` would make it smaller");
    }
    if report.snapshots_of_other_forms > 0 {
        println!("{} snapshots are of another version and are not used", report.snapshots_of_other_forms);
    }
    for problem in &report.problems {
        println!("\n{} {}\n  {}\n  {}", problem.kind, problem.key, problem.problem, problem.remedy);
    }
    match report.problems_found {
        0 => println!("no problems"),
        found if found > report.problems.len() as u64 => println!("\nand {} more", found - report.problems.len() as u64),
        _ => {}
    }
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut amount, mut unit) = (bytes as f64 / 1024.0, UNITS[0]);
    for larger in &UNITS[1..] {
        if amount < 1024.0 {
            break;
        }
        (amount, unit) = (amount / 1024.0, larger);
    }
    format!("{amount:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_for_people() {
        assert_eq!([0, 1023, 1536, 5 << 20, 3 << 41].map(size), ["0 B", "1023 B", "1.5 KiB", "5.0 MiB", "6.0 TiB"]);
    }
}
