//! The command line: one file per verb. All but `serve`, `store` and what is for authors of plugins talk to the API of a running host.

mod audit;
mod client;
mod connection;
mod env;
mod fires;
mod plugin;
mod print;
mod queue;
mod run;
mod secret;
mod serve;
mod step;
mod store;
mod vendor;
mod workflow;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::plugin::{COMPILE_VERB, compile_as_child};
use client::{Client, ClientError};

/// Weft: an automation host whose triggers and steps are sandboxed WebAssembly components.
#[derive(Parser)]
#[command(name = "weft", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    target: client::Target,
    /// Print JSON, for programs.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the host.
    Serve(serve::Serve),
    /// Write, publish, activate and compare workflows.
    #[command(subcommand)]
    Workflow(workflow::Workflow),
    /// Look at runs, start them, stop them, bring them what they wait for.
    #[command(subcommand)]
    Run(run::Run),
    /// Try single steps of a draft.
    #[command(subcommand)]
    Step(step::Step),
    /// Set how job queues are treated.
    #[command(subcommand)]
    Queue(queue::Queue),
    /// Add plugins and look at them.
    #[command(subcommand)]
    Plugin(plugin::Plugin),
    /// Say whose keys are trusted for which vendor's plugins.
    #[command(subcommand)]
    Vendor(vendor::Vendor),
    /// Set secrets; nothing shows them again.
    #[command(subcommand)]
    Secret(secret::Secret),
    /// Set connections: named ways to servers, with credentials that nothing shows again.
    #[command(subcommand)]
    Connection(connection::Connection),
    /// Set variables of the host: `{{$env.NAME}}`.
    #[command(subcommand)]
    Env(env::Env),
    /// See what was changed and by whom, and whether that record is whole.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Check a data folder, copy it and make it small, while its host is stopped.
    #[command(subcommand)]
    Store(store::Store),
    /// Compile a component from standard input to standard output: the host starts this for each plugin.
    #[command(hide = true, name = COMPILE_VERB)]
    Compile {
        /// How long it may take.
        seconds: u32,
    },
    /// Print a script that completes this command line in a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Why a verb failed, with its exit code.
enum Failure {
    /// The host said no, or something failed: 1.
    Refused(String),
    /// The command line is wrong: 2.
    Usage(String),
    /// The host cannot be reached: 3.
    Unreachable(String),
    /// There is no such thing: 4.
    NotFound(String),
    /// It was changed meanwhile, or is taken: 5.
    Conflict(String),
}

impl Failure {
    /// What went wrong.
    fn text(&self) -> &str {
        match self {
            Self::Refused(text) | Self::Usage(text) | Self::Unreachable(text) | Self::NotFound(text) | Self::Conflict(text) => {
                text
            }
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Unreachable(text) => Self::Unreachable(text),
            ClientError::Problem { status: 404, text } => Self::NotFound(text),
            ClientError::Problem { status: 409 | 412, text } => Self::Conflict(text),
            ClientError::Problem { text, .. } => Self::Refused(text),
            ClientError::Usage(text) => Self::Usage(text),
        }
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let Cli { verb, target, json } = Cli::parse();
    let result = match verb {
        Verb::Serve(serve) => serve::serve(serve),
        Verb::Compile { seconds } => return ExitCode::from(compile_as_child(seconds)),
        Verb::Store(verb) => store::run(verb, json),
        Verb::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "weft", &mut std::io::stdout());
            Ok(())
        }
        Verb::Workflow(verb) => with_client(&target, json, |client| async move { workflow::run(verb, &client).await }),
        Verb::Run(verb) => with_client(&target, json, |client| async move { run::run(verb, &client).await }),
        Verb::Queue(verb) => with_client(&target, json, |client| async move { queue::run(verb, &client).await }),
        Verb::Plugin(verb) => with_client(&target, json, |client| async move { plugin::run(verb, &client).await }),
        Verb::Vendor(verb) => with_client(&target, json, |client| async move { vendor::run(verb, &client).await }),
        Verb::Audit(verb) => with_client(&target, json, |client| async move { audit::run(verb, &client).await }),
        Verb::Connection(verb) => with_client(&target, json, |client| async move { connection::run(verb, &client).await }),
        Verb::Step(verb) => with_client(&target, json, |client| async move { step::run(verb, &client).await }),
        Verb::Env(verb) => with_client(&target, json, |client| async move { env::run(verb, &client).await }),
        Verb::Secret(verb) => with_client(&target, json, |client| async move { secret::run(verb, &client).await }),
    };
    let (code, text) = match result {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Refused(text)) => (1, text),
        Err(Failure::Usage(text)) => (2, text),
        Err(Failure::Unreachable(text)) => (3, text),
        Err(Failure::NotFound(text)) => (4, text),
        Err(Failure::Conflict(text)) => (5, text),
    };
    eprintln!("error: {text}");
    ExitCode::from(code)
}

/// Logs to standard error, what is above this level unless WEFT_LOG says otherwise.
fn log(level: &str) {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_env("WEFT_LOG").unwrap_or_else(|_| EnvFilter::new(level)))
        .with_target(false)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
}

fn with_client<F: Future<Output = Result<(), Failure>>>(
    target: &client::Target,
    json: bool,
    verb: impl FnOnce(Client) -> F,
) -> Result<(), Failure> {
    let client = Client::new(target, json)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::Refused(error.to_string()))?.block_on(verb(client))
}
