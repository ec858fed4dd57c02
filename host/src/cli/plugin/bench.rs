//! `weft plugin test` and `weft plugin check`: a plugin without a host.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::Value;

use super::super::{Failure, print};
use crate::lab::{
    Bench, Case, GoldenCase, HttpAnswer, Mark, Report, Trial, Variables, Verdict, cases_beside, cases_in, check, mismatches,
    read_cases,
};
use crate::plugin::HttpGrant;
use crate::workflow::read_yaml;

/// What a type is given.
#[derive(Args)]
pub(in crate::cli) struct Test {
    /// A component: a `.wasm` file.
    file: PathBuf,
    /// The node type to call; by default the only type that there is.
    #[arg(long, value_name = "TYPE")]
    node: Option<String>,
    /// The trigger type to call.
    #[arg(long, value_name = "TYPE", conflicts_with = "node")]
    trigger: Option<String>,
    /// The config as a workflow has it, with `{{…}}`: YAML or JSON, or @FILE.
    #[arg(long, value_name = "YAML")]
    config: Option<String>,
    /// For a node the run's `$context`; for a trigger the event: `{http: {body: …}}`, `{called: {context: …}}`. Or @FILE.
    #[arg(long, value_name = "YAML")]
    input: Option<String>,
    /// Values for `{{…}}`: a file with `context`, `steps` (results by key) and `scopes`.
    #[arg(long, value_name = "FILE")]
    variables: Option<PathBuf>,
    /// A secret for `{{$secrets.NAME}}`. The plugin gets a token, as in a host.
    #[arg(long, value_name = "NAME=VALUE")]
    secret: Vec<String>,
    /// A value of the plugin's own that is there already.
    #[arg(long, value_name = "KEY=VALUE")]
    kv: Vec<String>,
    /// Let requests be sent there: `api.example.org`, `GET 127.0.0.1:8080`. Without it they are denied.
    #[arg(long, value_name = "HOST")]
    allow_http: Vec<String>,
    /// What servers answer instead: a file with a list of `method`, `url`, `status`, `headers`, `body` or `fault`.
    #[arg(long, value_name = "FILE", conflicts_with = "allow_http")]
    http: Option<PathBuf>,
    /// What a branch ends with; others end with null.
    #[arg(long, value_name = "BRANCH=YAML")]
    branch: Vec<String>,
    /// What happens while the step waits, in order: `{signalled: {id: paid, payload: 3}}`, `{woke: later}`, `{task-acted: …}`, `{branch-ended: …}`,
    /// `{child-ended: …}`, `{responded: …}`. What is not given happens by itself where it can: branches end, requests are sent, timers fire.
    #[arg(long, value_name = "EVENT")]
    resume: Vec<String>,
    /// For a trigger: how a run ended that somebody waits for, `{output: …}`.
    #[arg(long, value_name = "YAML")]
    settle: Option<String>,
    /// The time of the first call (RFC 3339); by default now.
    #[arg(long, value_name = "TIME")]
    now: Option<String>,
    /// Call the type although publishing would refuse its config.
    #[arg(long)]
    unchecked: bool,
    /// Begin with this golden case, and compare what comes of it; other options go before it. `FILE#NAME`: one of several.
    #[arg(long, value_name = "FILE")]
    case: Option<String>,
}

/// What is checked.
#[derive(Args)]
pub(in crate::cli) struct Check {
    /// A component: a `.wasm` file.
    file: PathBuf,
    /// A folder with golden cases; by default FILE-cases or `cases` beside the file, or `cases` in its crate.
    #[arg(long, value_name = "FOLDER")]
    golden: Option<PathBuf>,
}

/// Calls one type and prints what comes of it.
pub(super) async fn test(arguments: Test, json: bool) -> Result<(), Failure> {
    let bytes = read(&arguments.file)?;
    let allowed: Vec<HttpGrant> = arguments
        .allow_http
        .iter()
        .map(|server| server.parse().map_err(|error| Failure::Usage(format!("--allow-http: {error}"))))
        .collect::<Result<_, _>>()?;
    let case = arguments.case()?;
    let mut bench = Bench::load(bytes).await.map_err(|error| Failure::Refused(error.to_string()))?;
    bench.allow_http(allowed);
    let trial = bench.run(&case).await.map_err(|error| Failure::Usage(error.to_string()))?;
    if json {
        print::json(&serde_json::to_value(&trial).unwrap_or_default());
    } else {
        show_trial(&trial);
    }
    if !case.expect.is_empty() {
        return match &mismatches(&case.expect, &trial)[..] {
            [] => Ok(()),
            found => Err(Failure::Refused(format!("it is not as expected\n  {}", found.join("\n  ")))),
        };
    }
    match &trial.verdict {
        Verdict::Done | Verdict::Waits => Ok(()),
        Verdict::Failed(failure) => Err(Failure::Refused(format!("it failed: {} ({})", failure.message, failure.code))),
        Verdict::Broke(failure) => Err(Failure::Refused(format!("it broke: {} ({})", failure.message, failure.code))),
        Verdict::Refused(problems) => {
            let problems: Vec<String> =
                problems.iter().map(|problem| format!("\n  {}: {}", at(&problem.pointer), problem.message)).collect();
            Err(Failure::Refused(format!("publishing would refuse the config:{}", problems.concat())))
        }
    }
}

fn at(pointer: &str) -> &str {
    if pointer.is_empty() { "/" } else { pointer }
}

impl Test {
    /// The case of the file with what the command line says beside it.
    fn case(&self) -> Result<Case, Failure> {
        let mut case = match &self.case {
            Some(named) => case_of(named)?,
            None => Case::default(),
        };
        if self.node.is_some() || self.trigger.is_some() {
            (case.node, case.trigger) = (self.node.clone(), self.trigger.clone());
        }
        if let Some(config) = &self.config {
            case.config = value("--config", config)?;
        }
        if let Some(input) = &self.input {
            case.input = value("--input", input)?;
        }
        if let Some(file) = &self.variables {
            case.variables = from_file::<Variables>(file)?;
        }
        if let Some(file) = &self.http {
            case.http = from_file::<Vec<HttpAnswer>>(file)?;
        }
        if let Some(run) = &self.settle {
            case.settle = Some(typed("--settle", value("--settle", run)?)?);
        }
        for (option, given, kept) in [("--secret", &self.secret, &mut case.secrets), ("--kv", &self.kv, &mut case.kv)] {
            for text in given {
                let (name, value) = pair(option, text)?;
                kept.insert(name.into(), value.into());
            }
        }
        for text in &self.branch {
            let (branch, text) = pair("--branch", text)?;
            case.branches.insert(branch.into(), value("--branch", text)?);
        }
        for event in &self.resume {
            case.resume.push(typed("--resume", value("--resume", event)?)?);
        }
        if self.now.is_some() {
            case.now.clone_from(&self.now);
        }
        case.unchecked |= self.unchecked;
        Ok(case)
    }
}

/// Prints the conformance report of a component.
pub(super) async fn conformance(arguments: Check, json: bool) -> Result<(), Failure> {
    let report = examine(&arguments.file, arguments.golden.as_deref()).await?;
    if json {
        print::json(&serde_json::to_value(&report).unwrap_or_default());
    } else {
        show_report(&report);
    }
    let failed = report.checks.iter().filter(|row| row.mark == Mark::Failed).count();
    match report.passed {
        true => Ok(()),
        false => {
            Err(Failure::Refused(format!("{}: {failed} of {} checks failed", arguments.file.display(), report.checks.len())))
        }
    }
}

/// Checks a component with its golden cases.
pub(super) async fn examine(file: &Path, golden: Option<&Path>) -> Result<Report, Failure> {
    let bytes = read(file)?;
    let golden = match golden.map(Path::to_owned).or_else(|| cases_beside(file)) {
        Some(folder) => read_cases(&folder).map_err(|error| Failure::Refused(error.to_string()))?,
        None => Vec::<GoldenCase>::new(),
    };
    check(bytes, &golden).await.map_err(|error| Failure::Refused(error.to_string()))
}

pub(super) fn read(file: &Path) -> Result<Arc<[u8]>, Failure> {
    std::fs::read(file).map(Into::into).map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))
}

fn pair<'a>(option: &str, text: &'a str) -> Result<(&'a str, &'a str), Failure> {
    text.split_once('=').ok_or_else(|| Failure::Usage(format!("{option} `{text}`: write NAME=VALUE")))
}

/// A value of the command line, or of the file that it names with `@`.
pub(in crate::cli) fn value(option: &str, text: &str) -> Result<Value, Failure> {
    let text = match text.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file).map_err(|error| Failure::Usage(format!("{option}: {file}: {error}")))?,
        None => text.to_owned(),
    };
    read_yaml(&text).map_err(|error| Failure::Usage(format!("{option}: {error}")))
}

fn typed<T: serde::de::DeserializeOwned>(option: &str, value: Value) -> Result<T, Failure> {
    serde_json::from_value(value).map_err(|error| Failure::Usage(format!("{option}: {error}")))
}

fn from_file<T: serde::de::DeserializeOwned>(file: &Path) -> Result<T, Failure> {
    let shown = file.display().to_string();
    typed(&shown, value(&shown, &format!("@{shown}"))?)
}

/// The case of a file, or of several the one that is named after `#`.
fn case_of(named: &str) -> Result<Case, Failure> {
    let (file, name) = match named.split_once('#') {
        Some((file, name)) if !Path::new(named).exists() => (file, Some(name)),
        _ => (named, None),
    };
    let cases = cases_in(value(file, &format!("@{file}"))?);
    let mut cases = cases.map_err(|error| Failure::Usage(format!("{file}: {error}")))?;
    if let Some(name) = name {
        cases.retain(|case| case.name.as_deref() == Some(name));
    }
    match (cases.pop(), cases.is_empty()) {
        (Some(case), true) => Ok(case),
        (None, _) => Err(Failure::Usage(format!("{file}: no case is named `{}`", name.unwrap_or_default()))),
        (Some(_), false) => Err(Failure::Usage(format!("{file}: several cases; name one: {file}#NAME"))),
    }
}

fn show_trial(trial: &Trial) {
    for (name, value) in &trial.came_to {
        println!("{} {name}", trial.r#type);
        println!("{}", serde_json::to_string_pretty(value).unwrap_or_default());
    }
    if !trial.log.is_empty() {
        println!("\nlog");
        for line in &trial.log {
            println!("  {:<5} {}", format!("{:?}", line.level).to_lowercase(), line.message);
        }
    }
    let mut did: Vec<String> = trial.kv.iter().map(|(key, value)| format!("keeps {key} = {value}")).collect();
    did.extend(
        trial
            .files
            .iter()
            .map(|file| format!("makes the file {} ({}, {} bytes)", file["name"], file["media_type"], file["size"])),
    );
    did.extend(trial.starts.iter().map(|start| format!("starts {} with {}", start["workflow"], start["context"])));
    did.extend(trial.output.iter().map(|output| format!("sets the run's output to {output}")));
    did.extend(trial.results.iter().map(|(step, result)| format!("sets the result of {step} to {result}")));
    did.extend(trial.response.iter().map(|response| format!("responds {response}")));
    did.extend(trial.messages.iter().map(|message| format!("says {message}")));
    for request in &trial.requests {
        let came = request
            .status
            .map(|status| status.to_string())
            .or_else(|| request.fault.as_ref().map(|fault| fault.code.to_string()));
        did.push(format!("sends {} {} and gets {}", request.method, request.url, came.unwrap_or_default()));
    }
    if !did.is_empty() {
        println!("\nwhat it does\n  {}", did.join("\n  "));
    }
    println!("\ncalls");
    for call in &trial.calls {
        let event = call.event.as_ref().map(|event| format!(" {event}")).unwrap_or_default();
        let (cpu, memory, asked) = (call.used.cpu_us, call.used.memory_bytes / 1024, call.used.host_calls);
        println!(
            "  {}{event}: {} us, {cpu} us of computing, {memory} KiB, {asked} requests to the host",
            call.call, call.took_us
        );
    }
    if matches!(trial.verdict, Verdict::Waits) {
        println!("\nIt waits for what only somebody outside can do; --resume says what happens.");
    }
}

pub(super) fn show_report(report: &Report) {
    let rows = report.checks.iter().map(|row| {
        let mark = match row.mark {
            Mark::Passed => "ok",
            Mark::Failed => "FAILED",
            Mark::Noted => "-",
        };
        [
            row.check.clone(),
            mark.to_owned(),
            [row.said.as_str()]
                .into_iter()
                .chain(row.problems.iter().map(String::as_str))
                .filter(|said| !said.is_empty())
                .collect::<Vec<_>>()
                .join("\n"),
        ]
    });
    print::table(["check", "", ""], rows.collect(), "nothing was checked");
}
