//! `weft run`

use bytes::Bytes;
use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};

use super::Failure;
use super::client::{Client, segment};
use super::print;

#[derive(Subcommand)]
pub(super) enum Run {
    /// List runs, newest first.
    List {
        /// Of this workflow.
        #[arg(long)]
        workflow: Option<String>,
        /// Of this revision of the workflow.
        #[arg(long, requires = "workflow")]
        revision: Option<u32>,
        /// With this status: queued, running, succeeded, failed, error, aborted, canceled, rejected.
        #[arg(long)]
        status: Option<String>,
        /// Accepted at this time or later (RFC 3339).
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// Accepted before this time.
        #[arg(long, value_name = "TIME")]
        before: Option<String>,
        /// Older than this run.
        #[arg(long)]
        after: Option<String>,
        /// So many at most.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Show a run: each step with input, output, duration and log, and what it waits for.
    Show {
        /// The run's id.
        id: String,
        /// Steps from this place on, in the order of their first calls.
        #[arg(long, value_name = "PLACE")]
        after: Option<u32>,
    },
    /// Follow a run until it ends; exits with 1 if it did not succeed.
    Watch {
        /// The run's id.
        id: String,
    },
    /// Start a run by hand, also of a workflow that is paused.
    Start {
        /// The workflow's key.
        workflow: String,
        /// What its trigger is given, as JSON, or `-` for standard input.
        #[arg(long, default_value = "null")]
        context: String,
        /// This revision; by default the active one, else the newest.
        #[arg(long, conflicts_with = "draft")]
        revision: Option<u32>,
        /// The draft as it is now.
        #[arg(long)]
        draft: bool,
        /// Wait for its end, up to ten minutes.
        #[arg(long)]
        wait: bool,
    },
    /// Stop a run, also while a step computes. It ends as `aborted`.
    Cancel {
        /// The run's id.
        id: String,
    },
    /// Carry a run out again, as a new run.
    Rerun {
        /// The run's id.
        id: String,
        /// The path of the step to begin with (`loop/3/mail`); what was done before it is kept. By default the first.
        #[arg(long, value_name = "STEP")]
        from: Option<String>,
        /// On another revision than its own: a number, `newest` or `draft`.
        #[arg(long)]
        revision: Option<String>,
    },
    /// Send a message to a run by name.
    Signal {
        /// The run's id.
        id: String,
        /// What its step calls the message.
        name: String,
        /// What it holds, as JSON, or `-` for standard input.
        #[arg(default_value = "null")]
        payload: String,
    },
    /// Act on a task for one of its assignees.
    Act {
        /// The run's id.
        id: String,
        /// The path of the step that waits.
        step: String,
        /// The task's id.
        task: String,
        /// The button.
        action: String,
        /// The assignee.
        #[arg(long)]
        user: String,
        /// What the form holds, as a JSON object, or `-` for standard input.
        #[arg(long, default_value = "{}")]
        values: String,
    },
    /// Say what came of a step whose outcome a crash has hidden.
    Decide {
        /// The run's id.
        id: String,
        /// The path of the step.
        step: String,
        /// Make the call again, take it for done, or for failed.
        #[arg(value_parser = ["retry", "succeed", "fail"])]
        decision: String,
        /// The step's result, as JSON, for `succeed`.
        #[arg(long, default_value = "null")]
        output: String,
        /// Why it failed, for `fail`.
        #[arg(long, default_value = "")]
        message: String,
    },
    /// Download a file that a step made; `show` lists them.
    File {
        /// The file's id.
        id: String,
        /// Where to write it; by default to standard output.
        #[arg(long, value_name = "FILE")]
        output: Option<std::path::PathBuf>,
    },
    /// Delete a run that has ended, with its history and its files.
    Delete {
        /// The run's id.
        id: String,
    },
}

pub(super) async fn run(verb: Run, client: &Client) -> Result<(), Failure> {
    match verb {
        Run::List { workflow, revision, status, from, before, after, limit } => {
            let revision = revision.map(|number| number.to_string());
            let filters = [
                ("workflow", workflow),
                ("revision", revision),
                ("status", status),
                ("from", from),
                ("before", before),
                ("after", after),
            ];
            list(client, &filters, limit).await
        }
        Run::Show { id, after } => {
            let after = after.map(|place| format!("?after={place}")).unwrap_or_default();
            show(client, &client.get(&path(&id, &after)).await?)
        }
        Run::Watch { id } => watch(client, &id).await,
        Run::Start { workflow, context, revision, draft, wait } => {
            let wait_ms = if wait { 600_000 } else { 0 };
            let given = json!({ "context": read_json(&context)?, "revision": revision, "draft": draft, "wait_ms": wait_ms });
            started(client, &client.post(&format!("/workflows/{}/runs", segment(&workflow)), &given).await?, wait)
        }
        Run::Cancel { id } => told(client, client.post(&path(&id, "/cancel"), &json!({})).await?, "is being cancelled"),
        Run::Rerun { id, from, revision } => {
            let revision = revision.map(|word| word.parse::<u32>().map_or_else(|_| Value::from(word), Value::from));
            started(client, &client.post(&path(&id, "/rerun"), &json!({ "from": from, "revision": revision })).await?, false)
        }
        Run::Signal { id, name, payload } => {
            let given = json!({ "name": name, "payload": read_json(&payload)? });
            heard(client, &name, client.post(&path(&id, "/signals"), &given).await?)
        }
        Run::Act { id, step, task, action, user, values } => {
            let given = json!({ "step": step, "task": task, "user": user, "action": action, "values": read_json(&values)? });
            told(client, client.post(&path(&id, "/tasks"), &given).await?, "gets the answer")
        }
        Run::Decide { id, step, decision, output, message } => {
            let output = read_json(&output)?;
            let given = json!({ "step": step, "decision": decision, "output": output, "message": message });
            told(client, client.post(&path(&id, "/decide"), &given).await?, "goes on")
        }
        Run::File { id, output } => {
            let content = client.bytes(&format!("/files/{}", segment(&id))).await?;
            let written = match &output {
                Some(path) => std::fs::write(path, &content),
                None => std::io::Write::write_all(&mut std::io::stdout(), &content),
            };
            let place = || output.as_ref().map_or_else(|| "standard output".to_owned(), |path| path.display().to_string());
            written.map_err(|error| Failure::Refused(format!("{}: {error}", place())))
        }
        Run::Delete { id } => told(client, client.send(Method::DELETE, &path(&id, ""), Bytes::new()).await?, "is deleted"),
    }
}

fn path(id: &str, rest: &str) -> String {
    format!("/runs/{}{rest}", segment(id))
}

/// JSON from the command line, or from standard input for `-`.
pub(super) fn read_json(text: &str) -> Result<Value, Failure> {
    let read = if text == "-" {
        std::io::read_to_string(std::io::stdin()).map_err(|error| Failure::Usage(format!("standard input: {error}")))?
    } else {
        text.to_owned()
    };
    serde_json::from_str(&read).map_err(|error| Failure::Usage(format!("`{text}` is not JSON: {error}")))
}

/// What was asked for is going to happen.
fn told(client: &Client, answer: Value, what: &str) -> Result<(), Failure> {
    if client.json {
        print::json(&answer);
    } else {
        println!("the run {what}");
    }
    Ok(())
}

/// What comes of a message.
fn heard(client: &Client, name: &str, answer: Value) -> Result<(), Failure> {
    if client.json || answer["waits"] != false {
        return told(client, answer, "gets the message");
    }
    println!("kept: no step of the run waits for `{name}` now");
    if answer["with_key"].is_string() {
        let [workflow, key] = ["workflow", "with_key"].map(|member| print::text(&answer, member));
        println!("one waits for it with the key `{key}`: `weft workflow signal {workflow} {name} {key}` reaches that");
    }
    Ok(())
}

fn started(client: &Client, run: &Value, whole: bool) -> Result<(), Failure> {
    if !client.json && run["is_deleted"] == true {
        println!("run {} was deleted when it ended", print::text(run, "id"));
        return Ok(());
    }
    if client.json || whole {
        show(client, run)?;
        return if whole { ended(run) } else { Ok(()) };
    }
    println!("started {}", print::text(run, "id"));
    Ok(())
}

/// Whether a run that was waited for succeeded, for scripts: one that goes on did not fail.
fn ended(run: &Value) -> Result<(), Failure> {
    match run["status"].as_str() {
        Some(status) if !run["ended_at"].is_null() => verdict(status),
        _ => Ok(()),
    }
}

fn verdict(status: &str) -> Result<(), Failure> {
    if status == "succeeded" { Ok(()) } else { Err(Failure::Refused(format!("the run ended: {status}"))) }
}

async fn watch(client: &Client, id: &str) -> Result<(), Failure> {
    let mut status = None;
    client
        .follow(&path(id, "/events"), |event, data| {
            if event == "end" {
                status = Some(data["status"].as_str().map(ToOwned::to_owned));
            }
            if client.json {
                // A line each: it is read while it comes.
                println!("{}", json!({ "event": event, "data": data }));
                return;
            }
            let word = |name: &str| data[name].as_str().unwrap_or_default();
            match event {
                "entry" => {
                    let failure = data["failure"]["message"].as_str().map(|text| format!(": {text}")).unwrap_or_default();
                    let output = data.get("output").map(|output| format!(" {}", short(output))).unwrap_or_default();
                    let about = [word("activation"), word("kind"), word("what")].into_iter().filter(|text| !text.is_empty());
                    println!("{}  {}{output}{failure}", word("at"), about.collect::<Vec<_>>().join(" "));
                }
                "progress" => println!("{}  {}", word("at"), progress(data)),
                "end" if data["status"].is_null() => println!("ended, and was deleted"),
                "end" => println!("ended: {}", word("status")),
                _ => {}
            }
        })
        .await?;
    match status {
        None => Err(Failure::Refused("the host stopped before the run ended; watch it again".into())),
        Some(Some(status)) => verdict(&status),
        Some(None) => Ok(()),
    }
}

/// How far a step is: `parts 3 of 10: rebuilding`.
fn progress(said: &Value) -> String {
    let of = said["total"].as_u64().map(|total| format!(" of {total}")).unwrap_or_default();
    let message = said["message"].as_str().filter(|text| !text.is_empty()).map(|text| format!(": {text}")).unwrap_or_default();
    format!("{} {}{of}{message}", print::text(said, "step"), said["done"])
}

async fn list(client: &Client, filters: &[(&str, Option<String>)], limit: usize) -> Result<(), Failure> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("limit", &limit.to_string());
    for (name, value) in filters {
        if let Some(value) = value {
            query.append_pair(name, value);
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

pub(super) fn show(client: &Client, run: &Value) -> Result<(), Failure> {
    if client.json {
        print::json(run);
        return Ok(());
    }
    let revision = run["revision"].as_u64().unwrap_or_default();
    println!("run       {}", print::text(run, "id"));
    println!("workflow  {}-{revision:05}", print::text(run, "workflow"));
    println!("status    {}", print::text(run, "status"));
    println!("accepted  {}", print::text(run, "accepted_at"));
    println!("ended     {}", print::text(run, "ended_at"));
    if !run["message"].is_null() {
        println!("message   {}", print::text(run, "message"));
    }
    for (label, member) in
        [("reason", "reason"), ("wakes", "wakes_at"), ("queue", "queue"), ("parent", "parent"), ("rerun of", "rerun_of")]
    {
        if !run[member].is_null() {
            println!("{label:<9} {}", print::text(run, member));
        }
    }
    for held in run["held_up_by"].as_array().into_iter().flatten() {
        let [plugin, version, reason] = ["plugin", "version", "reason"].map(|member| print::text(held, member));
        println!("held up   by {plugin} {version}, which is in quarantine: {reason}");
    }
    for said in run["progress"].as_array().into_iter().flatten() {
        println!("progress  {}", progress(said));
    }
    println!("context   {}", short(&run["context"]));
    if !run["output"].is_null() {
        println!("output    {}", short(&run["output"]));
    }
    for step in run["steps"].as_array().into_iter().flatten() {
        let took_ms = step["took_us"].as_f64().unwrap_or_default() / 1_000.0;
        println!("\n{}  {}  {took_ms:.2} ms", print::text(step, "path"), print::text(step, "status"));
        if step["status"] == "unknown" && run["ended_at"].is_null() {
            println!("  decide  weft run decide {} {} retry|succeed|fail", print::text(run, "id"), print::text(step, "path"));
        }
        println!("  input   {}", short(&step["input"]));
        println!("  output  {}", short(&step["output"]));
        for wait in step["waits"].as_array().into_iter().flatten() {
            println!("  waits   {}", short(wait));
        }
        if !step["retry_at"].is_null() {
            println!("  again   {}", print::text(step, "retry_at"));
        }
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
        for file in step["files"].as_array().into_iter().flatten() {
            let [id, name, media_type] = ["id", "name", "media_type"].map(|member| print::text(file, member));
            println!("  file    {name} ({media_type}, {} bytes): {id}", file["size"]);
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
    print::more(run);
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
