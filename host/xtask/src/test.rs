//! `cargo xtask test`: everything that shows that Weft works.

use std::process::Command;

use anyhow::Result;

use crate::{cargo, guests, root, run_command, setup, target};

pub(crate) fn test(filter: Option<&str>) -> Result<()> {
    setup::program("cc", &["gcc", "libc6-dev"])?;
    setup::program("npm", &["nodejs", "npm"])?;
    setup::program("docker-registry", &["docker-registry"])?;
    guests::build_plugins()?;
    guests::build_test_guests()?;
    setup::node_modules(&root().join("tests"))?;
    cargo(&["fetch", "--quiet", "--manifest-path", "tests/suites/Cargo.toml"])?;
    let mut arguments = vec!["test", "--workspace"];
    arguments.extend(filter);
    // What the plugins have of their own is tested as code of this machine.
    let mut plugins = Command::new(env!("CARGO"));
    plugins.args(&arguments).current_dir(root().join("plugins")).env("CARGO_TARGET_DIR", target().join("guests"));
    run_command(&mut plugins)?;
    cargo(&arguments)
}
