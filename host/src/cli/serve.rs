//! `weft serve`

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, anyhow};
use clap::Args;
use jiff::tz::TimeZone;

use super::Failure;
use crate::admin::{self, Admin, Janitor, Keep, Rules, Source};
use crate::capability::{self, HttpClient, Lost, Outbound, open_sealed};
use crate::executor::{Clock as _, Environment, Executor, Parts, StoredPrograms, SystemClock};
use crate::http::{AdminToken, App, Network, Server, TrustedProxies};
use crate::limits::COMPILE_SECONDS_DEFAULT;
use crate::plugin::{Cache, Compiler, Engine, Factory, OWN_PROGRAM, Registry};
use crate::store::{Store, Who};
use crate::trigger::Triggers;
use crate::watch::Folder;

/// What stands in the environment beside the options.
const ENVIRONMENT: &str = "Environment:
  WEFT_MASTER_KEY  What secrets are sealed with: 64 hexadecimal digits. By default the file `master.key`
                   of the data folder, made when nothing is sealed yet. Keep a copy elsewhere
  WEFT_LOG         What is logged: `warn`, `info,weft::trigger=debug`";

#[derive(Args)]
#[command(after_help = ENVIRONMENT)]
pub(super) struct Serve {
    /// The folder that holds everything. Made if it is not there; on a local file system (ext4, xfs).
    #[arg(long, env = "WEFT_DATA", value_name = "DIR", default_value = "weft-data")]
    data: PathBuf,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, env = "WEFT_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8420")]
    listen: SocketAddr,
    /// Where the host is reached from outside. By default the address that it listens at.
    #[arg(long, env = "WEFT_PUBLIC_URL", value_name = "URL", value_parser = public_url)]
    public_url: Option<String>,
    /// The time zone in which days begin and end (`$system.dateRange`), such as `Europe/Berlin`. By default the system's.
    #[arg(long, env = "WEFT_TIME_ZONE", value_name = "NAME")]
    time_zone: Option<String>,
    /// A proxy in front of this host, or a network of them: what it says in `X-Forwarded-For` or `Forwarded` of where a request comes
    /// from is taken. May be given again; in the variable with commas between.
    #[arg(long, env = "WEFT_TRUSTED_PROXIES", value_name = "CIDR", value_delimiter = ',')]
    trusted_proxy: Vec<Network>,
    /// The folder whose `.wasm` files are installed while the host runs. By default `plugins` in the data folder.
    #[arg(long, env = "WEFT_PLUGINS", value_name = "DIR")]
    plugins: Option<PathBuf>,
    /// Use no plugin of another vendor that a key of its vendor did not sign (`weft vendor trust`), those included that are installed.
    #[arg(long, env = "WEFT_REQUIRE_SIGNED", value_parser = clap::builder::BoolishValueParser::new())]
    require_signed: bool,
    /// Remove the secrets and connections that the master key does not open, because the one that they were sealed with is lost for good.
    #[arg(long)]
    remove_lost_secrets: bool,
    /// Seconds that compiling a plugin may take, when it is installed.
    #[arg(long, env = "WEFT_COMPILE_SECONDS", value_name = "N", default_value_t = COMPILE_SECONDS_DEFAULT, value_parser = clap::value_parser!(u32).range(1..))]
    compile_seconds: u32,
    /// Bytes of the disk below which no new run begins, so that those under way find room. By default 1 GiB, or 5 % of the
    /// disk if that is less.
    #[arg(long, env = "WEFT_MIN_FREE_BYTES", value_name = "N")]
    min_free_bytes: Option<u64>,
    /// Delete runs that ended more than so many days ago; 0: soon after they end. Workflows may keep theirs for a shorter time (`options.history`).
    #[arg(long, env = "WEFT_HISTORY_DAYS", value_name = "N")]
    history_days: Option<u32>,
    /// Delete the oldest runs that ended, when there are more than so many.
    #[arg(long, env = "WEFT_HISTORY_RUNS", value_name = "N")]
    history_runs: Option<u64>,
    /// Delete the oldest runs that ended, when their journals have more than so many bytes together.
    #[arg(long, env = "WEFT_HISTORY_BYTES", value_name = "N")]
    history_bytes: Option<u64>,
}

/// Where a path can be appended.
fn public_url(text: &str) -> Result<String, String> {
    match url::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.fragment().is_none() => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        Ok(_) => Err("give an http or https URL without a query".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// Runs the host until it is told to stop.
pub(super) fn serve(serve: Serve) -> Result<(), Failure> {
    super::log("info");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("weft").build();
    let runtime = runtime.map_err(|error| Failure::Refused(error.to_string()))?;
    runtime.block_on(run(serve)).map_err(|error| Failure::Refused(format!("{error:#}")))
}

async fn run(serve: Serve) -> anyhow::Result<()> {
    let began = Instant::now();
    let server = Server::bind(serve.listen).await.with_context(|| format!("cannot listen at {}", serve.listen))?;
    let address = server.address()?;
    let started = server.starter();
    let stop = stopped()?;
    let serving = tokio::spawn(server.serve(stop));

    std::fs::create_dir_all(&serve.data).with_context(|| format!("cannot make {}", serve.data.display()))?;
    let public_url = serve.public_url.unwrap_or_else(|| format!("http://{address}"));
    let rules = Rules { signed_only: serve.require_signed };
    let zone = match &serve.time_zone {
        Some(name) => TimeZone::get(name).with_context(|| format!("--time-zone {name}"))?,
        None => TimeZone::try_system().unwrap_or(TimeZone::UTC),
    };
    let (admin, store) = start(&serve.data, serve.remove_lost_secrets, public_url, rules, serve.compile_seconds, zone).await?;
    store.keep_free(serve.min_free_bytes);
    let token = AdminToken::open(&serve.data).context("the admin token")?;
    let workflows = admin.listen().await?;
    admin.restore_queues().await?;
    let executor = admin.triggers().executor().clone();
    let interrupted = executor.interrupted_runs()?;
    let keep = Keep { days: serve.history_days, runs: serve.history_runs, bytes: serve.history_bytes };
    tokio::spawn(Janitor::new(store.clone(), executor.clock().clone(), keep).run());
    tokio::spawn(executor.run_pump());
    tokio::spawn(admin.triggers().clone().run_timers());
    tokio::spawn(admin.clone().keep_quarantine());
    tokio::spawn(admin.clone().keep_totals());
    tokio::spawn(admin.clone().watch_canaries());
    let folder = serve.plugins.unwrap_or_else(|| serve.data.join("plugins"));
    let _watching = Folder::watch(&folder, admin.acting(Who::WatchedFolder))
        .await
        .with_context(|| format!("cannot watch {}", folder.display()))?;
    started(App { admin: admin.clone(), token, proxies: TrustedProxies(serve.trusted_proxy) });
    tracing::info!(
        "listening at http://{address} after {} ms: {workflows} active workflows, {interrupted} runs go on; data in {}",
        began.elapsed().as_millis(),
        serve.data.display(),
    );

    serving.await?;
    if let Err(error) = admin.keep_totals_now().await {
        tracing::warn!(%error, "the last of what plugins have taken is not kept");
    }
    store.close();
    tracing::info!("stopped");
    Ok(())
}

/// Everything but the outside.
async fn start(
    data: &Path,
    remove_lost: bool,
    public_url: String,
    rules: Rules,
    compile_seconds: u32,
    zone: TimeZone,
) -> anyhow::Result<(Arc<Admin>, Store)> {
    let store = {
        let data = data.to_owned();
        // What is in memory and what is on disk may differ after a failed write, so nothing may go on from there.
        let die = |error: &crate::store::Error| {
            tracing::error!(%error, "the store failed; the host stops, and goes on at the next start");
            std::process::exit(70);
        };
        tokio::task::spawn_blocking(move || Store::open(&data, die)).await??
    };
    let lost = if remove_lost { Lost::Remove(SystemClock.now_ms()) } else { Lost::Keep };
    let (vault, connections) = open_sealed(data, std::env::var("WEFT_MASTER_KEY").ok(), &store, lost).await?;
    let engine = Engine::start().map_err(|error| anyhow!("the WebAssembly engine: {error:#}"))?;
    let cache = Cache::open(&data.join("cache"), vault.derive_key("weft compiled components"), &engine)
        .context("the cache of compiled components")?;
    let factory = Factory::new(engine, capability::link).map_err(|error| anyhow!("the WebAssembly engine: {error:#}"))?;
    let registry = Arc::new(Registry::new(factory, Compiler::children_of(OWN_PROGRAM).within(compile_seconds), cache));
    let outbound: Arc<dyn Outbound> = Arc::new(HttpClient::new(Some(connections.clone())).context("the system's certificates")?);
    let executor = Executor::new(Parts {
        components: registry.clone(),
        programs: Arc::new(StoredPrograms::new(store.clone(), registry.clone())),
        store: Arc::new(store.clone()),
        vault: vault.clone(),
        outbound: outbound.clone(),
        clock: Arc::new(SystemClock),
        environment: Arc::new(Environment::new(zone)),
    });
    let triggers = Triggers::new(executor, registry, public_url);
    let admin = Arc::new(Admin::new(admin::Parts { store: store.clone(), vault, connections, outbound, triggers, rules }));
    admin.use_environment().await?;
    admin.restore_plugins().await?;
    for (name, bytes) in crate::built_in::PLUGINS {
        admin.install(bytes.to_vec(), Source::BuiltIn).await.with_context(|| format!("the built-in plugin {name}"))?;
    }
    if crate::built_in::PLUGINS.is_empty() {
        tracing::warn!("this program was built without plugins; `cargo xtask build` builds it with them");
    }
    Ok((admin, store))
}

/// Ends when the process is told to stop.
fn stopped() -> std::io::Result<impl Future<Output = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
