//! `weft workflow`

use std::path::PathBuf;

use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};

use super::client::{Client, segment};
use super::{Failure, fires, print};
use crate::workflow::read_yaml;

#[derive(Subcommand)]
pub(super) enum Workflow {
    /// Save a file as a workflow's draft, making the workflow if it is new.
    Apply {
        /// A definition in YAML or JSON; `-` for standard input.
        file: PathBuf,
        /// Then publish it: an immutable, numbered revision.
        #[arg(long)]
        publish: bool,
        /// Then make that revision the active one. Publishes too.
        #[arg(long)]
        activate: bool,
        /// Why, for the list of revisions.
        #[arg(long, short)]
        message: Option<String>,
    },
    /// Say what would keep a file from being published. Nothing is saved.
    Check {
        /// A definition in YAML or JSON; `-` for standard input.
        file: PathBuf,
    },
    /// List workflows.
    List {
        /// Begin after this key.
        #[arg(long)]
        after: Option<String>,
        /// So many at most.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Show a workflow: its state, and where it listens.
    Show {
        /// The workflow's key.
        key: String,
    },
    /// Show the last requests to a workflow since the host started, also those that were refused, and what became of each.
    Requests {
        /// The workflow's key.
        key: String,
    },
    /// Name the places in a sample of what a workflow is sent, for configs that name some of them.
    Sample {
        /// A document in JSON; `-` for standard input.
        file: PathBuf,
        /// What follows `?` in a URL.
        #[arg(long, default_value = "")]
        query: String,
    },
    /// List a workflow's revisions, newest first.
    Revisions {
        /// The workflow's key.
        key: String,
        /// Begin before this number.
        #[arg(long)]
        after: Option<u32>,
        /// So many at most.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Say when a workflow's timers fire next, and how many runs that starts.
    Next {
        /// The workflow's key.
        key: String,
        /// So many at most.
        #[arg(long, default_value_t = 10)]
        limit: usize,
    },
    /// List events that the workflow's trigger could not take, deliver one once more, or drop it.
    SetAside {
        /// The workflow's key.
        key: String,
        /// Deliver the event with this number once more, to the active revision.
        #[arg(long, value_name = "NUMBER")]
        retry: Option<String>,
        /// Drop the event with this number.
        #[arg(long, value_name = "NUMBER", conflicts_with = "retry")]
        drop: Option<String>,
        /// Begin after this number.
        #[arg(long)]
        after: Option<String>,
        /// So many at most.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Send a message to every run of a workflow that waits for this name and key; if none does, it is kept for a day.
    Signal {
        /// The workflow's key.
        key: String,
        /// What the steps call the message.
        name: String,
        /// What tells runs apart.
        message_key: String,
        /// What it holds, as JSON, or `-` for standard input.
        #[arg(default_value = "null")]
        payload: String,
    },
    /// Make a revision the active one: the next event starts it.
    Activate {
        /// The workflow's key.
        key: String,
        /// The revision; by default the newest.
        #[arg(long)]
        revision: Option<u32>,
    },
    /// Put a revision on trial: it has a share of the requests, is compared with the active one, and taken back if it fails more.
    Canary {
        /// The workflow's key.
        key: String,
        /// The revision; by default the newest.
        #[arg(long)]
        revision: Option<u32>,
        /// Its share of the requests, in percent.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..=99))]
        share: u8,
        /// Do not judge it before so many of its runs have ended.
        #[arg(long, default_value_t = 20)]
        runs_min: u32,
        /// Take it back if its percentage of failed runs is more than so many points above the active revision's.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(0..=100))]
        worse_by: u8,
        /// Make it the active revision after so many of its runs, if it is not worse.
        #[arg(long)]
        promote_after: Option<u32>,
        /// Take the one on trial back.
        #[arg(long, conflicts_with_all = ["revision", "promote_after"])]
        stop: bool,
    },
    /// Stop listening; runs that go on finish.
    Pause {
        /// The workflow's key.
        key: String,
    },
    /// Make an older revision the active one again.
    Restore {
        /// The workflow's key.
        key: String,
        /// The revision.
        revision: u32,
    },
    /// Show what differs between two revisions, or a revision and the draft.
    Diff {
        /// The workflow's key.
        key: String,
        /// A revision's number, or `draft`; by default the active revision.
        from: Option<String>,
        /// A revision's number, or `draft`; by default the draft.
        to: Option<String>,
    },
    /// Print a definition as `apply` takes it: YAML, or JSON with --json.
    Export {
        /// The workflow's key.
        key: String,
        /// The revision; by default the draft.
        #[arg(long)]
        revision: Option<u32>,
    },
}

pub(super) async fn run(verb: Workflow, client: &Client) -> Result<(), Failure> {
    match verb {
        Workflow::Apply { file, publish, activate, message } => {
            let publish = publish || activate;
            if message.is_some() && !publish {
                return Err(Failure::Usage(
                    "--message says why a revision is published: give --publish or --activate too".into(),
                ));
            }
            apply(client, &file, publish, activate, message).await
        }
        Workflow::Check { file } => check(client, &file).await,
        Workflow::List { after, limit } => list(client, after, limit).await,
        Workflow::Show { key } => shown(client, &client.get(&format!("/workflows/{}", segment(&key))).await?),
        Workflow::Sample { file, query } => sample(client, &file, &query).await,
        Workflow::Requests { key } => requests(client, &key).await,
        Workflow::Revisions { key, after, limit } => revisions(client, &key, after, limit).await,
        Workflow::Next { key, limit } => fires::next(client, &key, limit).await,
        Workflow::SetAside { key, retry: Some(number), .. } => fires::retry(client, &key, &number).await,
        Workflow::SetAside { key, drop: Some(number), .. } => fires::drop(client, &key, &number).await,
        Workflow::SetAside { key, after, limit, .. } => fires::set_aside(client, &key, after, limit).await,
        Workflow::Signal { key, name, message_key, payload } => {
            let given = json!({ "name": name, "key": message_key, "payload": super::run::read_json(&payload)? });
            let told = client.post(&format!("/workflows/{}/signals", segment(&key)), &given).await?;
            if client.json {
                print::json(&told);
            } else {
                println!("{} runs get the message", told["runs"]);
            }
            Ok(())
        }
        Workflow::Activate { key, revision } => {
            let body = revision.map_or_else(|| json!({}), |revision| json!({ "revision": revision }));
            shown(client, &client.post(&format!("/workflows/{}/activate", segment(&key)), &body).await?)
        }
        Workflow::Canary { key, stop: true, .. } => {
            let path = format!("/workflows/{}/canary", segment(&key));
            shown(client, &client.send(Method::DELETE, &path, bytes::Bytes::new()).await?)
        }
        Workflow::Canary { key, revision, share, runs_min, worse_by, promote_after, stop: false } => {
            let body = json!({ "revision": revision.unwrap_or(0), "share_percent": share, "runs_min": runs_min,
                "worse_by_percent": worse_by, "promote_after_runs": promote_after });
            let path = format!("/workflows/{}/canary", segment(&key));
            shown(client, &client.send(Method::PUT, &path, body.to_string().into()).await?)
        }
        Workflow::Pause { key } => shown(client, &client.post(&format!("/workflows/{}/pause", segment(&key)), &json!({})).await?),
        Workflow::Restore { key, revision } => {
            let path = format!("/workflows/{}/restore", segment(&key));
            shown(client, &client.post(&path, &json!({ "revision": revision })).await?)
        }
        Workflow::Diff { key, from, to } => diff(client, &key, from, to).await,
        Workflow::Export { key, revision } => {
            let side = revision.map_or_else(|| "draft".to_owned(), |revision| revision.to_string());
            let definition = client.get(&format!("/workflows/{}/export?revision={side}", segment(&key))).await?;
            if client.json {
                print::json(&definition);
            } else {
                let yaml = serde_saphyr::to_string(&definition).map_err(|error| Failure::Refused(error.to_string()))?;
                print!("{yaml}");
            }
            Ok(())
        }
    }
}

async fn apply(client: &Client, file: &PathBuf, publish: bool, activate: bool, message: Option<String>) -> Result<(), Failure> {
    let definition = read(file)?;
    let key = key_of(&definition)?;
    let saved = client.send(Method::PUT, &format!("/workflows/{key}/draft"), definition.to_string().into()).await?;
    let mut result = json!({ "key": saved["key"], "is_new": saved["is_new"] });
    if !client.json {
        println!("{key}: draft saved");
    }
    if publish {
        let revision = client.post(&format!("/workflows/{key}/revisions"), &json!({ "message": message })).await?;
        if !client.json {
            let how = if revision["is_new"] == true { "published as" } else { "unchanged since" };
            println!("{key}: {how} {}", print::text(&revision, "id"));
        }
        result["revision"] = revision;
    }
    if activate {
        let number = &result["revision"]["number"];
        let active = client.post(&format!("/workflows/{key}/activate"), &json!({ "revision": number })).await?;
        if !client.json {
            println!("{key}: revision {number} is active");
            for url in active["urls"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                println!("{key}: listens at {url}");
            }
        }
        result["workflow"] = active;
    }
    if client.json {
        print::json(&result);
    }
    Ok(())
}

async fn check(client: &Client, file: &PathBuf) -> Result<(), Failure> {
    let definition = read(file)?;
    let checked = client.post(&format!("/workflows/{}/check", key_of(&definition)?), &definition).await?;
    let problems: Vec<&Value> = checked["problems"].as_array().into_iter().flatten().collect();
    if client.json {
        print::json(&checked);
    } else if problems.is_empty() {
        println!("no problems");
    }
    if problems.is_empty() {
        return Ok(());
    }
    let lines =
        problems.iter().map(|problem| format!("\n  {}: {}", print::text(problem, "pointer"), print::text(problem, "message")));
    Err(Failure::Refused(format!("{} problem(s){}", problems.len(), lines.collect::<String>())))
}

async fn list(client: &Client, after: Option<String>, limit: usize) -> Result<(), Failure> {
    let after = after.map(|after| format!("&after={}", segment(&after))).unwrap_or_default();
    let page = client.get(&format!("/workflows?limit={limit}{after}")).await?;
    if client.json {
        print::json(&page);
        return Ok(());
    }
    let rows = print::items(&page).map(|head| {
        let [key, status, active, latest, updated, title] =
            ["key", "status", "active_revision", "latest_revision", "updated_at", "title"].map(|name| print::text(head, name));
        let status = if head["not_listening"].is_string() { format!("{status}, not listening") } else { status };
        let status = if head["set_aside"].is_u64() { format!("{status}, {} set aside", head["set_aside"]) } else { status };
        [key, status, active, latest, updated, title]
    });
    print::table(
        ["key", "status", "active", "latest", "updated", "title"],
        rows.collect(),
        "no workflows yet: `weft workflow apply FILE`",
    );
    print::more(&page);
    Ok(())
}

async fn sample(client: &Client, file: &PathBuf, query: &str) -> Result<(), Failure> {
    let found = client.post("/samples", &json!({ "body": read(file)?, "query": query })).await?;
    if client.json {
        print::json(&found);
        return Ok(());
    }
    let rows = ["body", "query"].into_iter().flat_map(|part| {
        let places = found[part].as_array().into_iter().flatten();
        places.map(move |place| {
            [part.to_owned(), print::text(place, "path"), print::text(place, "alias"), print::text(place, "sample")]
        })
    });
    print::table(["in", "path", "alias", "sample"], rows.collect(), "nothing in it has a name");
    Ok(())
}

async fn requests(client: &Client, key: &str) -> Result<(), Failure> {
    let page = client.get(&format!("/workflows/{}/requests", segment(key))).await?;
    if client.json {
        print::json(&page);
        return Ok(());
    }
    let rows = print::items(&page)
        .map(|asked| ["at", "method", "target", "remote_address", "status", "run", "note"].map(|name| print::text(asked, name)));
    print::table(
        ["at", "method", "target", "from", "status", "run", "note"],
        rows.collect(),
        "no requests since the host started",
    );
    Ok(())
}

async fn revisions(client: &Client, key: &str, after: Option<u32>, limit: usize) -> Result<(), Failure> {
    let after = after.map(|after| format!("&after={after}")).unwrap_or_default();
    let page = client.get(&format!("/workflows/{}/revisions?limit={limit}{after}", segment(key))).await?;
    if client.json {
        print::json(&page);
        return Ok(());
    }
    let rows = print::items(&page).map(|revision| {
        let active = if revision["is_active"] == true { "active" } else { "" };
        let [id, at, author, message] = ["id", "published_at", "author", "message"].map(|name| print::text(revision, name));
        [id, active.to_owned(), at, author, message]
    });
    print::table(
        ["revision", "", "published", "by", "message"],
        rows.collect(),
        "no revisions yet: `weft workflow apply FILE --publish`",
    );
    print::more(&page);
    Ok(())
}

async fn diff(client: &Client, key: &str, from: Option<String>, to: Option<String>) -> Result<(), Failure> {
    let sides = [("from", from), ("to", to)]
        .map(|(name, side)| side.map(|side| format!("{name}={}&", segment(&side))).unwrap_or_default());
    let found = client.get(&format!("/workflows/{}/diff?{}", segment(key), sides.concat().trim_end_matches('&'))).await?;
    if client.json {
        print::json(&found);
        return Ok(());
    }
    println!("{key}: {} → {}", print::text(&found, "from"), print::text(&found, "to"));
    let changes: Vec<&Value> = found["changes"].as_array().into_iter().flatten().collect();
    for change in &changes {
        let path = print::text(change, "path");
        match change["kind"].as_str().unwrap_or_default() {
            "added" => println!("+ {path}  {}", change["to"]),
            "removed" => println!("- {path}  {}", change["from"]),
            "moved" => println!("~ {path}  moved from {} to {}", change["from"], change["to"]),
            _ => println!("~ {path}  {} → {}", change["from"], change["to"]),
        }
    }
    if changes.is_empty() {
        println!("no difference");
    }
    Ok(())
}

fn shown(client: &Client, head: &Value) -> Result<(), Failure> {
    if client.json {
        print::json(head);
        return Ok(());
    }
    for member in ["key", "title", "status", "active_revision", "latest_revision", "runs_started", "created_at", "updated_at"] {
        if !head[member].is_null() {
            println!("{:<16} {}", member.replace('_', " "), print::text(head, member));
        }
    }
    for url in head["urls"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        println!("{:<16} {url}", "listens at");
    }
    if !head["not_listening"].is_null() {
        println!("{:<16} {}", "not listening", print::text(head, "not_listening"));
    }
    if let Some(set_aside) = head["set_aside"].as_u64() {
        println!("{:<16} {}", "events", fires::waiting(set_aside, &print::text(head, "key")));
    }
    let ends = |of: &Value| format!("{} of {} failed", of["failed"], of["ended"]);
    let canary = &head["canary"];
    if canary.is_object() {
        let (runs, others) = (ends(&canary["runs"]), ends(&canary["runs_of_active"]));
        let [revision, share] = ["revision", "share_percent"].map(|member| print::text(canary, member));
        println!("{:<16} revision {revision} with {share} % of the requests: {runs}; active: {others}", "on trial");
    }
    let last = &head["last_canary"];
    if last.is_object() {
        let [revision, at, why] = ["revision", "ended_at", "why"].map(|member| print::text(last, member));
        println!("{:<16} revision {revision}, at {at}: {why}", "was taken back");
    }
    Ok(())
}

/// A definition from a file. JSON is YAML too.
fn read(file: &PathBuf) -> Result<Value, Failure> {
    let shown = file.display();
    let text = if file.as_os_str() == "-" { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(file) };
    let text = text.map_err(|error| Failure::Usage(format!("{shown}: {error}")))?;
    read_yaml(&text).map_err(|error| Failure::Refused(format!("{shown}: {error}")))
}

fn key_of(definition: &Value) -> Result<String, Failure> {
    let key = definition["key"].as_str().map(segment);
    key.ok_or_else(|| Failure::Refused("the definition has no `key`, which names the workflow".into()))
}
