//! Components: compiled for WebAssembly in workspaces of their own, and put where the host and the tests look for them.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::setup::{self, TARGET, WasmToolchain};
use crate::{languages, libraries, root, run_command, target};

/// Builds the built-in plugins into `target/plugins`, where the host's build script embeds them from.
pub(crate) fn build_plugins() -> Result<()> {
    // For QuickJS, which is C.
    setup::program(languages::CLANG, &[languages::CLANG])?;
    if !Path::new("/usr/include/wasm32-wasi").is_dir() {
        setup::packages(&["wasi-libc"])?;
    }
    let built = build(&root().join("plugins"))?;
    collect(&libraries::initialise(built)?, &target().join("plugins"))
}

/// Builds the components that the tests use into `target/test-guests`.
pub(crate) fn build_test_guests() -> Result<()> {
    let mut components = build(&root().join("tests/guests"))?;
    components.extend([languages::build_c()?, languages::build_js()?]);
    collect(&components, &target().join("test-guests"))
}

/// Builds a workspace of components. All share a target folder, since they have most of their dependencies in common.
pub(crate) fn build(workspace: &Path) -> Result<Vec<PathBuf>> {
    let mut command = Command::new("cargo");
    command.args(["build", "--quiet", "--release", "--workspace", "--target", TARGET]).current_dir(workspace);
    let target = match setup::wasm_toolchain()? {
        WasmToolchain::Rustup => target().join("guests"),
        WasmToolchain::Debian => {
            use_debian(&mut command)?;
            target().join("guests-debian")
        }
    };
    let built = target.join(TARGET).join("release");
    // What the other workspace built goes; what this one has built before comes back without being built again.
    for path in components(&built) {
        fs::remove_file(path)?;
    }
    run_command(command.env("CARGO_TARGET_DIR", &target))?;
    Ok(components(&built))
}

/// Debian's compiler for the web with its own sources of the standard library, and the linker of the rustup toolchain.
fn use_debian(command: &mut Command) -> Result<()> {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output().context("`rustc` cannot be started")?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&sysroot.stdout).trim());
    let host = Command::new("rustc").args(["--print", "host-tuple"]).output().context("`rustc` cannot be started")?;
    let tools = sysroot.join("lib/rustlib").join(String::from_utf8_lossy(&host.stdout).trim()).join("bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [tools.clone(), tools.join("gcc-ld")].into_iter().chain(std::env::split_paths(&path));
    let path: OsString = std::env::join_paths(folders).context("PATH")?;
    let flags = "-Clink-self-contained=no -Clink-arg=-L/usr/lib/wasm32-wasi -Clink-arg=/usr/lib/wasm32-wasi/crt1-reactor.o";
    // Its version of the language lacks what became stable later; the standard library switches that on by itself.
    let wrapper = target().join("rustc-with-let-chains.sh");
    fs::write(&wrapper, "#!/bin/sh\nexec \"$@\" '-Zcrate-attr=feature(let_chains)'\n")?;
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755))?;
    command
        .env("PATH", path)
        .env("RUSTC", "/usr/bin/rustc")
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_WASM32_WASIP2_LINKER", "wasm-component-ld")
        .env("RUSTFLAGS", flags)
        .env("RUSTC_WORKSPACE_WRAPPER", wrapper)
        // It is older than some crates say that they need, and compiles them all the same.
        .args(["-Z", "build-std=std,panic_abort", "--ignore-rust-version"]);
    Ok(())
}

fn components(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "wasm")).collect()
}

/// Makes a folder hold these components and no others, but leaves alone what is the same, so that nothing is rebuilt for it.
fn collect(built: &[PathBuf], folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    for stale in components(folder) {
        if !built.iter().any(|path| path.file_name() == stale.file_name()) {
            fs::remove_file(stale)?;
        }
    }
    for path in built {
        let bytes = fs::read(path)?;
        let copy = folder.join(path.file_name().unwrap_or_default());
        if fs::read(&copy).ok().as_deref() != Some(&bytes[..]) {
            fs::write(&copy, bytes)?;
        }
    }
    Ok(())
}
