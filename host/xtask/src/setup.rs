//! What a fresh machine lacks: found out, and installed where an ordinary package client can.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::run_command;

/// The target that plugins are built for.
pub(crate) const TARGET: &str = "wasm32-wasip2";

/// How to compile for [`TARGET`] on this machine.
pub(crate) enum WasmToolchain {
    /// The standard library came by rustup.
    Rustup,
    /// The standard library is built from Debian's sources.
    Debian,
}

/// Finds a way to compile for [`TARGET`], or makes one: by rustup, else with Debian's packages. `WEFT_WASM=debian` skips
/// the first.
pub(crate) fn wasm_toolchain() -> Result<WasmToolchain> {
    let forced = std::env::var("WEFT_WASM").is_ok_and(|way| way == "debian");
    if !forced && (has_target() || (try_quietly("rustup", &["target", "add", TARGET]) && has_target())) {
        return Ok(WasmToolchain::Rustup);
    }
    if Path::new("/usr/bin/apt-get").exists() {
        packages(&["rustc-web", "rust-web-src", "wasi-libc"])?;
        return Ok(WasmToolchain::Debian);
    }
    bail!("there is no Rust standard library for {TARGET}: install it with `rustup target add {TARGET}`")
}

fn has_target() -> bool {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output();
    let sysroot = sysroot.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    PathBuf::from(sysroot).join("lib/rustlib").join(TARGET).join("lib").is_dir()
}

/// Makes sure that a program is there, by Debian's packages if need be.
pub(crate) fn program(name: &str, packages: &[&str]) -> Result<()> {
    if is_on_path(name) {
        return Ok(());
    }
    if Path::new("/usr/bin/apt-get").exists() {
        install(packages)?;
        if is_on_path(name) {
            return Ok(());
        }
    }
    bail!("`{name}` is missing: install it, on Debian with `apt-get install {}`", packages.join(" "))
}

/// Makes sure that Debian's packages are there.
pub(crate) fn packages(names: &[&str]) -> Result<()> {
    if names.iter().all(|name| is_installed(name)) { Ok(()) } else { install(names) }
}

/// Makes sure that a folder has what its `package-lock.json` names.
pub(crate) fn node_modules(folder: &Path) -> Result<()> {
    let changed = |name: &str| folder.join(name).metadata().and_then(|facts| facts.modified()).ok();
    let installed = changed("node_modules/.package-lock.json");
    if installed.is_some() && installed >= changed("package-lock.json") {
        return Ok(());
    }
    run_command(Command::new("npm").args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(folder))
}

fn is_on_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

fn is_installed(package: &str) -> bool {
    try_quietly("dpkg", &["--status", package])
}

fn install(packages: &[&str]) -> Result<()> {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    let apt = |arguments: &[&str]| {
        let mut command = if is_root { Command::new("apt-get") } else { Command::new("sudo") };
        if !is_root {
            command.args(["--non-interactive", "apt-get"]);
        }
        run_command(command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments).stdin(Stdio::null()))
    };
    let wanted = [&["install", "--yes", "--no-install-recommends"], packages].concat();
    if apt(&wanted).is_ok() {
        return Ok(());
    }
    // A new machine's lists may be empty or old.
    if apt(&["update"]).and_then(|()| apt(&wanted)).is_err() {
        bail!("these packages are needed and could not be installed: `apt-get install {}`", packages.join(" "));
    }
    Ok(())
}

fn try_quietly(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
