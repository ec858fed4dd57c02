//! Plugins with JavaScript in them: the libraries are bundled, and the engine that runs them is initialised, when the plugin is built.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::languages::is_newer;
use crate::{cargo, root, run_command, setup, target};

/// The plugins that are initialised, with the libraries of `plugins/js/libraries` that are loaded then.
const INITIALISED: [(&str, &[&str]); 2] = [("weft_calc", &["expressions", "queries"]), ("weft_script", &[])];

/// Puts initialised components in the place of those that are to be.
pub(crate) fn initialise(mut built: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    // In one go with the workspace's other packages, so that wasmtime is built once for all of them.
    cargo(&["build", "--quiet", "--workspace", "--bin", "weft-snapshot"])?;
    let tool = target().join("debug/weft-snapshot");
    let folder = target().join("initialised");
    fs::create_dir_all(&folder)?;
    for path in &mut built {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let Some((_, names)) = INITIALISED.iter().find(|(plugin, _)| *plugin == name) else { continue };
        let libraries = names.iter().map(|name| bundle(name)).collect::<Result<Vec<PathBuf>>>()?;
        let initialised = folder.join(path.file_name().context("a file has a name")?);
        let inputs: Vec<&Path> = [path.as_path(), &tool].into_iter().chain(libraries.iter().map(PathBuf::as_path)).collect();
        if !is_newer(&initialised, &inputs) {
            run_command(Command::new(&tool).arg(&*path).arg(&initialised).args(&libraries))?;
        }
        *path = initialised;
    }
    Ok(built)
}

/// A library with all that it imports, in one script.
fn bundle(name: &str) -> Result<PathBuf> {
    let folder = root().join("plugins/js");
    let bundled = target().join("libraries").join(name).with_extension("js");
    let (lock, script) = (folder.join("package-lock.json"), folder.join("bundle.mjs"));
    if is_newer(&bundled, &[&folder.join("libraries"), &lock, &script]) {
        return Ok(bundled);
    }
    setup::program("npm", &["nodejs", "npm"])?;
    setup::node_modules(&folder)?;
    run_command(Command::new("node").arg(&script).arg(name).arg(&bundled))?;
    Ok(bundled)
}
