//! Components in other languages than Rust: with none of our SDK, against the contract alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::Result;

use crate::{root, run_command, setup, target};

/// What Debian calls clang with what it needs for WebAssembly.
pub(crate) const CLANG: &str = "clang-19";
const CLANG_PACKAGES: [&str; 4] = ["clang-19", "lld-19", "libclang-rt-19-dev-wasm32", "wasi-libc"];

/// Builds the plugin in C: bindings from the WIT, clang, and the core module made a component.
pub(crate) fn build_c() -> Result<PathBuf> {
    let source = root().join("tests/guests/c");
    let folder = target().join("guests-c");
    let component = folder.join("counter.wasm");
    if is_newer(&component, &[&source, &root().join("wit")]) {
        return Ok(component);
    }
    setup::packages(&CLANG_PACKAGES)?;
    let tool = |arguments: &[&Path]| {
        let mut command = Command::new(env!("CARGO"));
        command.args(["run", "--quiet", "--manifest-path"]).arg(source.join("componentize/Cargo.toml")).arg("--");
        run_command(command.args(arguments).env("CARGO_TARGET_DIR", folder.join("tool")))
    };
    let (bindings, core) = (folder.join("bindings"), folder.join("counter.core.wasm"));
    tool(&["bind".as_ref(), &root().join("wit"), &source.join("world.wit"), &bindings])?;
    let mut clang = Command::new(CLANG);
    clang.args(["--target=wasm32-wasi", "--sysroot=/usr", "-isystem", "/usr/include/wasm32-wasi", "-mexec-model=reactor"]);
    clang.args(["-std=c17", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Oz", "-fuse-ld=lld", "-Wl,--strip-all,--gc-sections"]);
    clang.arg("-I").arg(&bindings).arg(source.join("counter.c")).arg(bindings.join("counter.c"));
    run_command(clang.arg(bindings.join("counter_component_type.o")).arg("-o").arg(&core))?;
    tool(&["join".as_ref(), &core, &component])?;
    Ok(component)
}

/// Builds the plugin in JavaScript: QuickJS with the script in it.
pub(crate) fn build_js() -> Result<PathBuf> {
    let source = root().join("tests/guests/js");
    // A test of new plugins uses them, too.
    setup::program("npm", &["nodejs", "npm"])?;
    setup::node_modules(&source)?;
    let component = target().join("guests-js/shout.wasm");
    if is_newer(&component, &[&source, &root().join("wit")]) {
        return Ok(component);
    }
    // A folder as the tools of the component model know it: the world, and the packages that it uses.
    let wit = target().join("guests-js/wit");
    let contract = wit.join("deps/weft-plugin");
    fs::create_dir_all(&contract)?;
    fs::copy(source.join("world.wit"), wit.join("world.wit"))?;
    for entry in fs::read_dir(root().join("wit"))? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "wit") {
            fs::copy(&file, contract.join(file.file_name().unwrap_or_default()))?;
        }
    }
    let mut componentize = Command::new(source.join("node_modules/.bin/componentize-qjs"));
    componentize.arg("--wit").arg(&wit).args(["--world", "shout", "--sync", "--js"]).arg(source.join("shout.js"));
    run_command(componentize.arg("--output").arg(&component))?;
    Ok(component)
}

/// Whether a file was made after the last change of these files and folders.
pub(crate) fn is_newer(file: &Path, sources: &[&Path]) -> bool {
    let made = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    let changed = sources.iter().flat_map(|folder| files(folder)).filter_map(|path| made(&path)).max();
    made(file) > Some(changed.unwrap_or_else(SystemTime::now))
}

/// The files of a folder and of those in it, but not what was fetched or built there; of a file itself.
fn files(folder: &Path) -> Vec<PathBuf> {
    if folder.is_file() {
        return vec![folder.to_owned()];
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let own = entries.filter(|path| !path.ends_with("node_modules") && !path.ends_with("target"));
    own.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
