//! `weft plugin watch`: build at each save, carry out the golden cases, swap the plugin in a running host.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::SystemTime;

use clap::Args;
use http::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use super::super::Failure;
use super::super::client::Client;
use super::bench;
use crate::lab::{Mark, cases_beside};
use crate::watch::Sources;

/// What to watch.
#[derive(Args)]
pub(in crate::cli) struct Watch {
    /// The plugin's folder: with a Cargo.toml, or a package.json with a `build` script.
    folder: PathBuf,
    /// How to build it instead, by the shell. WEFT_PLUGIN_VERSION holds the version that the component must say that it has.
    #[arg(long, value_name = "COMMAND")]
    build: Option<String>,
    /// The component that comes of it; by default the newest `.wasm` file that the build wrote.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Builds once, and again at each save, until it is interrupted. What fails is shown, and the host keeps what it has.
pub(super) async fn watch(watch: Watch, client: &Client) -> Result<(), Failure> {
    let folder = watch.folder.canonicalize().map_err(|error| Failure::Usage(format!("{}: {error}", watch.folder.display())))?;
    let recipe = Recipe::of(&folder, watch.build, watch.file)?;
    let unwatched = |error: anyhow::Error| Failure::Refused(format!("{} cannot be watched: {error}", folder.display()));
    let mut sources = Sources::watch(&folder).map_err(unwatched)?;
    loop {
        if let Err(failure) = round(&folder, &recipe, client).await {
            eprintln!("not added: {}", text_of(failure));
        }
        println!("waiting for a change below {}", folder.display());
        sources.changed().await;
    }
}

/// Builds, checks and adds once.
async fn round(folder: &Path, recipe: &Recipe, client: &Client) -> Result<(), Failure> {
    let began = SystemTime::now();
    let version = recipe.version(folder, began);
    println!("building version {version}");
    let component = recipe.build(folder, &version, began).await?;
    let cases = Some(folder.join("cases")).filter(|cases| cases.is_dir()).or_else(|| cases_beside(&component));
    let report = bench::examine(&component, cases.as_deref()).await?;
    if !report.passed {
        bench::show_report(&report);
        return Err(Failure::Refused("it does not pass its check, and the host keeps what it has".into()));
    }
    let passed = report.checks.iter().filter(|row| row.mark == Mark::Passed).count();
    let bytes = std::fs::read(&component).map_err(|error| Failure::Refused(format!("{}: {error}", component.display())))?;
    let plugin = client.send(Method::POST, "/plugins", bytes.into()).await?;
    let (name, added) = (plugin["name"].as_str().unwrap_or_default(), plugin["version"].as_str().unwrap_or_default());
    let note = if added == version {
        ""
    } else {
        " (the build does not heed WEFT_PLUGIN_VERSION: the next one must have another version)"
    };
    println!("added {name} {added}, {passed} checks passed{note}");
    move_workflows(client, name, added).await
}

/// Moves the active workflows that use the plugin to the new version.
async fn move_workflows(client: &Client, name: &str, version: &str) -> Result<(), Failure> {
    let plan = client.post(&format!("/plugins/{name}/upgrade"), &json!({ "to": version })).await?;
    for moved in plan["workflows"].as_array().into_iter().flatten() {
        let workflow = moved["workflow"].as_str().unwrap_or_default();
        match moved["moved_to"].as_u64() {
            Some(number) => println!("{workflow} moved to revision {number}"),
            None => println!("{workflow} did not move: {}", moved["reason"].as_str().unwrap_or("it is there")),
        }
    }
    Ok(())
}

/// How a plugin is built.
enum Recipe {
    Cargo,
    Npm,
    Shell { command: String, component: Option<PathBuf> },
}

impl Recipe {
    fn of(folder: &Path, command: Option<String>, component: Option<PathBuf>) -> Result<Self, Failure> {
        match command {
            Some(command) => Ok(Self::Shell { command, component }),
            None if folder.join("Cargo.toml").is_file() => Ok(Self::Cargo),
            None if folder.join("package.json").is_file() => Ok(Self::Npm),
            None => {
                let what =
                    format!("{} has neither a Cargo.toml nor a package.json: say with --build how to build it", folder.display());
                Err(Failure::Usage(what))
            }
        }
    }

    /// A version above every one before: the plugin's own with the time as build metadata, by which versions are ordered last.
    fn version(&self, folder: &Path, now: SystemTime) -> String {
        let own = match self {
            Self::Cargo => std::fs::read_to_string(folder.join("Cargo.toml")).ok().and_then(|text| {
                let line = text.lines().find_map(|line| line.strip_prefix("version")?.trim_start().strip_prefix('='));
                Some(line?.trim().trim_matches('"').to_owned())
            }),
            _ => std::fs::read_to_string(folder.join("package.json")).ok().and_then(|text| {
                let package: Value = serde_json::from_str(&text).ok()?;
                Some(package["version"].as_str()?.to_owned())
            }),
        };
        let own = own.and_then(|text| semver::Version::parse(&text).ok()).unwrap_or(semver::Version::new(0, 1, 0));
        let ms = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let dev = semver::Version { build: semver::BuildMetadata::EMPTY, ..own };
        format!("{dev}+dev.{ms}")
    }

    /// Builds, with everything that the tools say shown, and finds the component.
    async fn build(&self, folder: &Path, version: &str, began: SystemTime) -> Result<PathBuf, Failure> {
        let mut command = match self {
            Self::Cargo => {
                let mut cargo = Command::new("cargo");
                cargo.args(["build", "--release", "--target", "wasm32-wasip2", "--message-format", "json-render-diagnostics"]);
                cargo
            }
            Self::Npm => {
                let mut npm = Command::new("npm");
                npm.args(["run", "--silent", "build"]);
                npm
            }
            Self::Shell { command, .. } => {
                let mut shell = Command::new("sh");
                shell.arg("-c").arg(command);
                shell
            }
        };
        command.current_dir(folder).env("WEFT_PLUGIN_VERSION", version).stdin(Stdio::null()).stderr(Stdio::inherit());
        command.kill_on_drop(true);
        let unstarted = |error| Failure::Refused(format!("the build cannot be started: {error}"));
        let child = command.stdout(Stdio::piped()).spawn().map_err(unstarted)?;
        let output = child.wait_with_output().await.map_err(unstarted)?;
        if !matches!(self, Self::Cargo) {
            print!("{}", String::from_utf8_lossy(&output.stdout));
        }
        if !output.status.success() {
            return Err(Failure::Refused("the build failed, and the host keeps what it has".into()));
        }
        let component = match self {
            Self::Cargo => built_by_cargo(&output.stdout),
            Self::Shell { component: Some(component), .. } => Some(folder.join(component)),
            Self::Npm | Self::Shell { component: None, .. } => newest(folder, began, 4).map(|(_, path)| path),
        };
        component.ok_or_else(|| Failure::Refused("the build wrote no `.wasm` file: say with --file where it is".into()))
    }
}

/// The component that cargo says it made.
fn built_by_cargo(messages: &[u8]) -> Option<PathBuf> {
    let messages = messages.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let mut files = messages.filter(|message| message["reason"] == "compiler-artifact").flat_map(|message| {
        let names = message["filenames"].as_array().cloned().unwrap_or_default();
        names.into_iter().filter_map(|name| name.as_str().map(PathBuf::from))
    });
    files.rfind(|file| file.extension().is_some_and(|extension| extension == "wasm"))
}

/// The `.wasm` file below a folder that was written last, since a time.
fn newest(folder: &Path, since: SystemTime, depth: usize) -> Option<(SystemTime, PathBuf)> {
    let entries = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    entries
        .filter_map(|path| {
            if path.is_dir() {
                return if depth > 0 && !path.ends_with("node_modules") { newest(&path, since, depth - 1) } else { None };
            }
            let written = path.metadata().ok()?.modified().ok()?;
            (path.extension().is_some_and(|extension| extension == "wasm") && written >= since).then_some((written, path))
        })
        .max()
}

fn text_of(failure: Failure) -> String {
    match failure {
        Failure::Refused(text)
        | Failure::Usage(text)
        | Failure::Unreachable(text)
        | Failure::NotFound(text)
        | Failure::Conflict(text) => text,
    }
}
