//! `cargo xtask`: everything a developer does, each with its own set-up on a fresh machine.

mod check;
mod freeze;
mod guests;
mod languages;
mod libraries;
mod run;
mod setup;
mod test;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

const HELP: &str = "\
cargo xtask build [--release]   build the plugins and the host with them
cargo xtask run [PORT]          build, start the host, apply a sample workflow, print a signed request
cargo xtask test [FILTER]       run every test
cargo xtask guests [FOLDER]     build the components of the tests, or of another folder in the same way
cargo xtask check               format, clippy, documentation, licences and advisories, layering
cargo xtask freeze              keep the contract as it is released, in wit/released
cargo xtask bench               measure; figures are printed side by side";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["build"] => guests::build_plugins().and_then(|()| host(&[])),
        ["build", "--release"] => guests::build_plugins().and_then(|()| host(&["--release"])),
        ["run"] => run::run("8420"),
        ["run", port] => run::run(port),
        ["test"] => test::test(None),
        ["guests"] => guests::build_test_guests(),
        ["guests", folder] => guests::build(Path::new(folder)).map(drop),
        ["test", filter] => test::test(Some(filter)),
        ["check"] => check::check(),
        ["freeze"] => freeze::freeze(),
        ["bench"] => bench(),
        _ => {
            eprintln!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The folder of the workspace.
fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.ancestors().nth(2).unwrap_or(xtask).to_owned()
}

/// The folder of everything that is built.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

fn host(arguments: &[&str]) -> Result<()> {
    // Not by package: that leaves out what others of the workspace want of the same dependencies, and those would be built twice.
    cargo(&[&["build", "--workspace", "--bin", "weft"], arguments].concat())
}

fn bench() -> Result<()> {
    guests::build_plugins()?;
    guests::build_test_guests()?;
    cargo(&["bench", "--workspace", "--bench", "dispatch", "--bench", "nodes", "--bench", "webhook", "--bench", "engine"])
}

fn cargo(arguments: &[&str]) -> Result<()> {
    run_command(Command::new(env!("CARGO")).args(arguments).current_dir(root()))
}

/// Runs a command to its end, shown, and fails if it does.
fn run_command(command: &mut Command) -> Result<()> {
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    eprintln!("xtask: {}", words.join(" "));
    // What cargo says of xtask is not about what it builds: build scripts that look at it (ring's) would run again whenever somebody calls
    // cargo now with and now without xtask, and with them the host would be built again.
    for (name, _) in std::env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|beginning| name.to_string_lossy().starts_with(beginning)) {
            command.env_remove(name);
        }
    }
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => bail!("`{}` failed ({status})", words.join(" ")),
        Err(error) => bail!("`{}` cannot be started: {error}", words[0]),
    }
}
