//! `weft run`

use clap::Subcommand;
use serde_json::Value;

use super::Failure;
use super::client::Client;
use super::print;

#[derive(Subcommand)]
pub(super) enum Run {
    /// List runs, newest first.
    List {
        /// Of this workflow.
        #[arg(long)]
        workflow: Option<String>,
        /// With this status: running, succeeded, failed, error, aborted, canceled, rejected.
        #[arg(long)]
        status: Option<String>,
        /// Older than this run.
        #[arg(long)]
        after: Option<String>,
        /// So many at most.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Show a run: each step with input, output, duration and log.
    Show {
        /// The run's id.
        id: String,
    },
}

pub(super) async fn run(verb: Run, client: &Client) -> Result<(), Failure> {
    match verb {
        Run::List { workflow, status, after, limit } => {
            list(client, [("workflow", workflow), ("status", status), ("after", after)], limit).await
        }
        Run::Show { id } => show(client, &id).await,
    }
}

async fn list(client: &Client, filters: [(&str, Option<String>); 3], limit: usize) -> Result<(), Failure> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("limit", &limit.to_string());
    for (name, value) in filters {
        if let Some(value) = value {
            query.append_pair(name, &value);
        }
    }
    let page = client.get(&format!("/runs?{}", query.finish())).await?;
    if client.json {
        print::json(&page);
        return Ok(());
    }
    let rows = print::items(&page).map(|run| {
        let revision = format!("{}-{:05}", print::text(run, "workflow"), run["revision"].as_u64().unwrap_or_default());
        let [id, status, at, message] = ["id", "status", "accepted_at", "message"].map(|name| print::text(run, name));
        [id, revision, status, at, message]
    });
    print::table(["run", "revision", "status", "accepted", "message"], rows.collect(), "no runs");
    print::more(&page);
    Ok(())
}

async fn show(client: &Client, id: &str) -> Result<(), Failure> {
    let run =
        client.get(&format!("/runs/{}", percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC))).await?;
    if client.json {
        print::json(&run);
        return Ok(());
    }
    let revision = run["revision"].as_u64().unwrap_or_default();
    println!("run       {}", print::text(&run, "id"));
    println!("workflow  {}-{revision:05}", print::text(&run, "workflow"));
    println!("status    {}", print::text(&run, "status"));
    println!("accepted  {}", print::text(&run, "accepted_at"));
    println!("ended     {}", print::text(&run, "ended_at"));
    if !run["message"].is_null() {
        println!("message   {}", print::text(&run, "message"));
    }
    println!("context   {}", short(&run["context"]));
    for step in run["steps"].as_array().into_iter().flatten() {
        let took_ms = step["took_us"].as_f64().unwrap_or_default() / 1_000.0;
        println!("\n{}  {}  {took_ms:.2} ms", print::text(step, "path"), print::text(step, "status"));
        println!("  input   {}", short(&step["input"]));
        println!("  output  {}", short(&step["output"]));
        if let Value::Object(failure) = &step["failure"] {
            println!(
                "  failure {}: {}",
                failure["code"].as_str().unwrap_or_default(),
                failure["message"].as_str().unwrap_or_default()
            );
        }
        if let Value::Object(response) = &step["response"] {
            println!("  answer  {} {}", response["status"], short(&response["body"]));
        }
        for message in step["messages"].as_array().into_iter().flatten() {
            println!("  message {}", message.as_str().unwrap_or_default());
        }
        for line in step["log"].as_array().into_iter().flatten() {
            println!("  log     {}: {}", print::text(line, "level"), print::text(line, "message"));
        }
        if let Some(dropped) = step["log_dropped"].as_u64() {
            println!("  log     {dropped} more lines were dropped at the limit");
        }
    }
    Ok(())
}

/// A document in one line of bounded length; `--json` shows all of it.
fn short(document: &Value) -> String {
    const CHARS_MAX: usize = 400;
    let text = document.to_string();
    match text.char_indices().nth(CHARS_MAX) {
        Some((cut, _)) => format!("{}… ({} bytes; --json shows all)", &text[..cut], text.len()),
        None => text,
    }
}
