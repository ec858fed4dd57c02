//! `cargo xtask check`: what a change must be clean of.

use std::process::Command;

use anyhow::Result;

use crate::{cargo, guests, root, run_command, setup};

pub(crate) fn check() -> Result<()> {
    guests::build_plugins()?;
    let guests = ["plugins", "tests/guests"];
    cargo(&["fmt", "--all", "--check"])?;
    for workspace in guests {
        run_command(Command::new("cargo").args(["fmt", "--all", "--check"]).current_dir(root().join(workspace)))?;
    }
    let tool = root().join("tests/guests/c/componentize");
    run_command(Command::new("cargo").args(["fmt", "--check"]).current_dir(&tool))?;
    cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    for workspace in guests {
        let target = crate::target().join("guests");
        let mut clippy = Command::new("cargo");
        clippy.args(["clippy", "--workspace", "--target", setup::TARGET, "--", "-D", "warnings"]);
        run_command(clippy.env("CARGO_TARGET_DIR", target).current_dir(root().join(workspace)))?;
    }
    run_command(
        Command::new("cargo").args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings").current_dir(root()),
    )?;
    if Command::new("cargo").args(["deny", "--version"]).output().is_ok_and(|output| output.status.success()) {
        cargo(&["deny", "check", "licenses", "bans", "sources"])?;
    } else {
        cargo(&["install", "--locked", "cargo-deny", "--version", "0.20.2"])?;
        cargo(&["deny", "check", "licenses", "bans", "sources"])?;
    }
    cargo(&["test", "--workspace", "--test", "layering"])
}
