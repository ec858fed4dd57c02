//! `weft plugin`

use std::path::PathBuf;

use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};

mod add;
mod bench;
mod docs;
mod grant;
mod new;
mod oci;
mod remove;
mod replay;
mod sign;
mod source;
mod upgrade;
mod watch;

pub(super) use bench::value as given_value;

use super::Failure;
use super::client::{Client, segment};
use super::print;

#[derive(Subcommand)]
pub(super) enum Plugin {
    /// Install plugins from files, folders and registries.
    ///
    /// A registry's credentials are WEFT_REGISTRY_USER and WEFT_REGISTRY_PASSWORD, else what `docker login` wrote down.
    Add {
        /// A component (`.wasm` file), a folder of them, or `oci://HOST/REPO:TAG`, `oci://HOST/REPO:TAG@sha256:…`.
        #[arg(required = true, value_name = "FILE|FOLDER|oci://…")]
        sources: Vec<String>,
        /// Take a version also if a newer one is installed.
        #[arg(long)]
        allow_downgrade: bool,
        #[command(flatten)]
        access: source::Access,
    },
    /// Put a plugin into a registry, as `wkg` does.
    Push {
        /// A component: a `.wasm` file.
        file: String,
        /// `oci://HOST/REPO:TAG`.
        target: String,
        #[command(flatten)]
        access: source::Access,
    },
    /// Approve of what a held version asks for: from then on it is used.
    Approve {
        /// `vendor/name`.
        name: String,
        /// The version, as the list shows it.
        #[arg(value_name = "VERSION")]
        which: String,
    },
    /// Make a key to sign plugins with. No host is needed.
    Keygen {
        /// The file for the private key; the public one gets `.pub` behind the name. PEM, as OpenSSL reads it.
        #[arg(long, value_name = "FILE", default_value = "weft-signing.pem")]
        out: PathBuf,
    },
    /// Sign a plugin's file: what it is, and what it asks for. No host is needed.
    Sign {
        /// The file.
        file: PathBuf,
        /// The private key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Where the signed file goes; by default in the place of the other.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Look whether a plugin's file is as somebody signed it. No host is needed.
    Verify {
        /// The file.
        file: PathBuf,
        /// The public key of whoever should have signed.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Make a folder with a new plugin that builds. No host is needed.
    New(new::New),
    /// Build a plugin at each save, carry out its golden cases, and swap it in the running host.
    Watch(watch::Watch),
    /// Call one type of a component without a host, and print what comes of it.
    Test(Box<bench::Test>),
    /// Check that a component is fit for a host: contract, schemas, odd inputs, golden cases, and what calls cost. No host is needed.
    Check(bench::Check),
    /// Print a page about a component's types, in Markdown: configs, results, branches, and every way to fail. No host is needed.
    Docs {
        /// A component: a `.wasm` file, or `weft/NAME` for one that is built in.
        file: PathBuf,
        /// Only what each type is for and how it can fail.
        #[arg(long)]
        brief: bool,
    },
    /// List installed plugins, and files of the watched folder that were refused.
    List,
    /// Say what a plugin may do beyond its runs, in all its versions. What was granted before is replaced.
    Grant {
        /// `vendor/name`.
        name: String,
        /// Keep what was granted before.
        #[arg(long)]
        add: bool,
        #[command(flatten)]
        grants: grant::Granted,
    },
    /// Take everything back that a plugin may do.
    Revoke {
        /// `vendor/name`.
        name: String,
    },
    /// Make the newest calls of one version again with another, without any effect, and compare. Exit code 1: some came out differently.
    Replay {
        /// `vendor/name@version`, the version to try.
        name: String,
        /// The version whose calls are made again.
        #[arg(long, value_name = "VERSION")]
        against: semver::Version,
        /// So many calls.
        #[arg(long, default_value_t = 100, value_name = "N")]
        last: u32,
    },
    /// Have no version of a plugin take over from another before the last N calls of that come out the same with it (see `replay`): no revision
    /// with it is activated or put on trial, and `upgrade` moves nobody to it. A version that a workflow had before may always come back.
    RequireReplay {
        /// `vendor/name`.
        name: String,
        /// So many calls.
        #[arg(long, default_value_t = 100, value_name = "N")]
        last: u32,
        /// Require it no more.
        #[arg(long, conflicts_with = "last")]
        stop: bool,
    },
    /// Call a version again that broke again and again and is in quarantine. Runs that it held up go on.
    Release {
        /// `vendor/name`, or `vendor/name@version` where several are in quarantine.
        name: String,
    },
    /// Show what a version of a plugin would change: which workflows would move to it when they are published again, which would
    /// break and where, which stay, and what it asks for that is not granted.
    Plan {
        /// `vendor/name@version` of an installed plugin, by default its newest version; or a `.wasm` file or `oci://…`, of which
        /// nothing is kept.
        plugin: String,
        #[command(flatten)]
        access: source::Access,
    },
    /// Move every active workflow that uses a plugin to its newest version: publish it again and activate that, where its
    /// requirements take the version and everything fits. Runs that go on finish on what they began with.
    Upgrade {
        /// `vendor/name`.
        name: String,
        /// Which version, also an older one.
        #[arg(long, value_name = "VERSION")]
        to: Option<String>,
        /// Move only from versions of which the last N calls come out the same with this one, made again without effects (see `replay`);
        /// by default as many as are required (see `require-replay`).
        #[arg(long, value_name = "N")]
        replay_last: Option<u32>,
        /// Say what would move, and move nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove a version of a plugin. Refused while an active revision or an unfinished run is pinned to it.
    ///
    /// With a plugin's last version go its grants and the values that it kept.
    Remove {
        /// `vendor/name@version`.
        name: String,
        /// Also if revisions are pinned to it that are not active. These can be activated and carried out again only when the same
        /// component is added again.
        #[arg(long)]
        inactive: bool,
    },
    /// Remove every version that no revision is pinned to and that is not the newest of its plugin.
    Prune {
        /// Also those that only revisions are pinned to which are not active; see `remove`.
        #[arg(long)]
        inactive: bool,
        /// Say what would go, and remove nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Show a plugin: its types, what it imports and exports, what it may do, and who uses it.
    Inspect {
        /// `vendor/name`, or `vendor/name@version`; by default the newest version.
        name: String,
    },
}

pub(super) async fn run(verb: Plugin, client: &Client) -> Result<(), Failure> {
    match verb {
        Plugin::Add { sources, allow_downgrade, access } => add::add(client, &sources, allow_downgrade, &access).await?,
        Plugin::Push { file, target, access } => add::push(client, &file, &target, &access).await?,
        Plugin::New(new) => new::new(&new)?,
        Plugin::Watch(watch) => watch::watch(watch, client).await?,
        Plugin::Test(test) => bench::test(*test, client.json).await?,
        Plugin::Check(check) => bench::conformance(check, client.json).await?,
        Plugin::Docs { file, brief } => docs::docs(&file, brief, client.json).await?,
        Plugin::Approve { name, which } => {
            check_name(&name)?;
            let approved = client.post(&format!("/plugins/{name}/approve"), &json!({ "version": which })).await?;
            if client.json {
                print::json(&approved);
            } else {
                println!("{name} {which} is used from now on");
            }
        }
        Plugin::Keygen { out } => sign::keygen(&out, client.json)?,
        Plugin::Sign { file, key, out } => sign::sign(&file, &key, out.as_deref(), client.json).await?,
        Plugin::Verify { file, key } => sign::verify(&file, &key, client.json)?,
        Plugin::Grant { name, add, grants } => grant::grant(client, &name, &grants, add).await?,
        Plugin::Revoke { name } => grant::put(client, &name, &json!({})).await?,
        Plugin::List => list(client).await?,
        Plugin::Inspect { name } => {
            let (name, version) = name_and_version(&name)?;
            shown(client, &client.get(&format!("/plugins/{name}{}", query(version))).await?);
        }
        Plugin::Replay { name, against, last } => replay::replay(client, &name, &against, last).await?,
        Plugin::RequireReplay { name, last, stop } => replay::require(client, &name, (!stop).then_some(last)).await?,
        Plugin::Plan { plugin, access } => upgrade::plan(client, &plugin, &access).await?,
        Plugin::Upgrade { name, to, replay_last, dry_run } => {
            upgrade::upgrade(client, &name, &json!({ "to": to, "replay_last": replay_last, "dry_run": dry_run })).await?;
        }
        Plugin::Remove { name, inactive } => remove::remove(client, &name, inactive).await?,
        Plugin::Prune { inactive, dry_run } => remove::prune(client, inactive, dry_run).await?,
        Plugin::Release { name } => {
            let (name, version) = name_and_version(&name)?;
            let version = query(version);
            let released = client.send(Method::POST, &format!("/plugins/{name}/release{version}"), bytes::Bytes::new()).await?;
            if client.json {
                print::json(&released);
            } else {
                println!("{name} {} is called again; runs that it held up go on", print::text(&released, "version"));
            }
        }
    }
    Ok(())
}

/// The query that names a version.
fn query(version: Option<&str>) -> String {
    version.map(|version| format!("?version={}", segment(version))).unwrap_or_default()
}

/// `vendor/name@version`, taken apart.
fn name_and_version(text: &str) -> Result<(&str, Option<&str>), Failure> {
    let (name, version) = text.split_once('@').map_or((text, None), |(name, version)| (name, Some(version)));
    check_name(name)?;
    Ok((name, version))
}

fn check_name(name: &str) -> Result<(), Failure> {
    match name.split('/').count() {
        2 => Ok(()),
        _ => Err(Failure::Usage(format!("`{name}` is no plugin: write vendor/name"))),
    }
}

async fn list(client: &Client) -> Result<(), Failure> {
    let page = client.get("/plugins").await?;
    if client.json {
        print::json(&page);
        return Ok(());
    }
    let rows = print::items(&page).map(|plugin| {
        let digest: String = print::text(plugin, "digest").chars().take(19).collect();
        let [name, version, triggers, nodes] = ["name", "version", "triggers", "nodes"].map(|name| print::text(plugin, name));
        [name, version, digest, triggers, nodes]
    });
    print::table(["plugin", "version", "digest", "triggers", "nodes"], rows.collect(), "no plugins");
    for plugin in print::items(&page).filter(|plugin| plugin["quarantine"].is_string()) {
        let [name, version, reason] = ["name", "version", "quarantine"].map(|member| print::text(plugin, member));
        println!("in quarantine: {name} {version}: {reason}");
    }
    for held in page["held"].as_array().into_iter().flatten() {
        let [name, version, wider] = ["name", "version", "wider"].map(|member| print::text(held, member));
        println!(
            "held: {name} {version} asks for {wider}, which no version before it did: `weft plugin approve {name} {version}`"
        );
    }
    for unused in page["unused"].as_array().into_iter().flatten() {
        let [name, version, reason] = ["name", "version", "reason"].map(|member| print::text(unused, member));
        println!("not used: {name} {version}: {reason}");
    }
    for file in page["refused"].as_array().into_iter().flatten() {
        println!("refused: {}: {}", print::text(file, "path"), print::text(file, "reason"));
    }
    Ok(())
}

/// Who uses a plugin, in words.
fn used_by(user: &Value) -> String {
    let workflow = print::text(user, "workflow");
    let name = match user["revision"].as_u64() {
        Some(number @ 1..) => format!("{workflow}-{number:05}"),
        _ => format!("a draft of {workflow}"),
    };
    let active = if user["is_active"] == true { ", active" } else { "" };
    format!("{name}{active}, {} unfinished runs", user["unfinished_runs"])
}

fn shown(client: &Client, plugin: &Value) {
    if client.json {
        print::json(plugin);
        return;
    }
    println!("{} {}  {}", print::text(plugin, "name"), print::text(plugin, "version"), print::text(plugin, "title"));
    println!("{}", print::text(plugin, "summary"));
    println!("\ndigest   {}", print::text(plugin, "digest"));
    println!("asks for {}", print::text(plugin, "capabilities"));
    if plugin["status"] == "held" {
        println!("held     since no version before it asked for {}", print::text(plugin, "wider"));
    }
    for signer in plugin["signed_by"].as_array().into_iter().flatten() {
        let trusted = if signer["trusted"] == true { "trusted" } else { "not trusted" };
        println!("signed   with {} ({trusted})", print::text(signer, "key"));
    }
    for (what, member) in [("imports", "imports"), ("exports", "exports")] {
        for (index, interface) in plugin[member].as_array().into_iter().flatten().filter_map(Value::as_str).enumerate() {
            println!("{:<8} {interface}", if index == 0 { what } else { "" });
        }
    }
    println!("{:<8} {}", "grants", plugin["grants"]);
    if let Some(last) = plugin["required_replay"]["last"].as_u64() {
        println!("replay   another version takes over only if the last {last} calls come out the same");
    }
    println!("{:<8} {}", "used", plugin["used"]);
    if let Some(reason) = plugin["quarantine"].as_str() {
        println!("in quarantine: {reason}");
    }
    for (index, user) in plugin["used_by"].as_array().into_iter().flatten().enumerate() {
        println!("{:<8} {}", if index == 0 { "used by" } else { "" }, used_by(user));
    }
    for (what, member) in [("trigger", "triggers"), ("node", "nodes")] {
        for kind in plugin[member].as_array().into_iter().flatten() {
            println!("\n{what} {}: {}", print::text(kind, "name"), print::text(kind, "summary"));
            let required: Vec<&str> =
                kind["config_schema"]["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            for (name, field) in kind["config_schema"]["properties"].as_object().into_iter().flatten() {
                let mark = if required.contains(&name.as_str()) { " (required)" } else { "" };
                println!("  {name}{mark}: {}", field["description"].as_str().unwrap_or("-").replace('\n', " "));
            }
            let branches: Vec<&str> =
                kind["branches"].as_array().into_iter().flatten().filter_map(|branch| branch["key"].as_str()).collect();
            if !branches.is_empty() {
                println!("  branches: {}", branches.join(", "));
            }
        }
    }
}
