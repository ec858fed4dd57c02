//! What one instance of a component has: its bounds, an empty WASI, and the call that it is carrying out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, Store, UpdateDeadline};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::WasiHttpCtx;
use zeroize::Zeroizing;

use super::background::computes_long;
use super::cpu::CpuMeter;
use super::engine::Engine;
use super::grants::Grants;
use super::host_pattern::HostPattern;
use super::limits::CallLimits;
use super::output::Output;
use super::side_requests::SideRequests;
use crate::limits::{
    BACKGROUND_CPU_MIN, CALL_BYTES_MAX, CORE_INSTANCES_PER_COMPONENT_MAX, GUEST_CLOCK_RESOLUTION_MS, GUESTS_MEMORY_BYTES_MAX,
    HEAD_BYTES_MAX, LOG_BYTES_MAX, LOG_LINE_BYTES_MAX, LOG_LINES_MAX, MEMORIES_PER_COMPONENT_MAX, MEMORY_REFUSALS_MAX,
    RANDOM_BYTES_MAX, RESOURCE_HANDLES_MAX, SECRET_MASKED_BYTES_MIN, STAGED_BYTES_MAX, STEP_TABLE_ELEMENTS_MAX,
    TABLES_PER_COMPONENT_MAX,
};
use crate::run::{
    Effects, Fault, FileFacts, FileId, KvKey, LogLevel, LogLine, Request, Response, RunId, SecretUse, Seen, Staged, Usage,
};
use crate::workflow::{Key, Scope};

/// The data of one instance. Capabilities are functions of it.
pub struct Guest {
    /// What the call that is being carried out may use and has done.
    pub call: CallContext,
    bounds: Bounds,
    limits: CallLimits,
    cpu: CpuMeter,
    table: ResourceTable,
    wasi_http: WasiHttpCtx,
    /// Made when the guest first uses it: many never do.
    wasi: Option<(WasiCtx, Output)>,
}

/// What a call may use, and what it has done.
#[derive(Default)]
pub struct CallContext {
    /// Whose call it is.
    pub kind: CallKind,
    /// The plugin's name, `vendor/name`.
    pub plugin: Arc<str>,
    /// The workflow that it is for.
    pub workflow: Option<Key>,
    /// What requests to servers outside are told apart by.
    pub idempotency_key: Box<str>,
    /// What its plugin may do.
    pub grants: Arc<Grants>,
    /// Variables, for nodes.
    pub scope: Option<Arc<dyn Scope + Send + Sync>>,
    /// Texts in the config that stand for secrets.
    pub secrets: Vec<SecretUse>,
    /// Where secrets are.
    pub vault: Option<Arc<dyn SecretSource>>,
    /// The host's state, other runs, and the world outside.
    pub services: Option<Arc<dyn Services>>,
    /// What earlier calls in the atomic branches around it staged: it sees that.
    pub around: Staged,
    /// How many requests it made for values of the plugin's own.
    pub kv_calls: u32,
    /// How many requests it made for files.
    pub file_calls: u32,
    /// The file that it read last, so that reading it in parts does not fetch it again and again.
    pub opened: Option<(FileId, Bytes)>,
    /// How many requests to servers outside it may send.
    pub http_calls_max: u32,
    /// Its requests that go on while it computes.
    pub side_requests: Option<Arc<SideRequests>>,
    /// How many bytes it and the calls around it staged; none: not counted yet.
    pub staged_bytes: Option<usize>,
    /// What it took.
    pub used: Usage,
    /// Who sent the request, for triggers.
    pub remote_address: Option<Box<str>>,
    /// What it did to its run and to the host.
    pub effects: Effects,
    /// What it logged.
    pub log: Log,
}

impl CallContext {
    /// On whose behalf a request of this call is sent, which follows so many redirects.
    pub fn sender(&self, redirects_max: u32) -> Sender {
        Sender { grants: self.grants.clone(), secrets: self.secrets.clone(), vault: self.vault.clone(), redirects_max }
    }

    /// Stops what still goes on side by side, and counts it.
    fn end_side_requests(&mut self) {
        let Some(side_requests) = self.side_requests.take() else { return };
        let ended = side_requests.end();
        self.used.bytes_out += ended.bytes_out;
        self.used.bytes_in += ended.bytes_in;
        for fault in ended.faults {
            self.log.add(LogLevel::Warn, &format!("a request by wasi:http failed: {}: {}", fault.code, fault.message));
        }
    }

    /// Makes room for what the call stages, in the place of what it staged before.
    pub fn stage(&mut self, bytes: usize, replaced: usize) -> Result<(), Fault> {
        let staged = self.staged_bytes.unwrap_or_else(|| self.around.bytes());
        let total = staged.saturating_sub(replaced) + bytes;
        if total > STAGED_BYTES_MAX {
            let message =
                format!("a call reads and stages at most {STAGED_BYTES_MAX} bytes in all, atomic branches around it included");
            return Err(Fault::new("over-limit", message));
        }
        self.staged_bytes = Some(total);
        Ok(())
    }

    /// Takes the call's secrets out of its log, however they came there.
    fn mask(&mut self) {
        let Some(vault) = self.vault.as_ref().filter(|_| !self.log.lines.is_empty()) else { return };
        for SecretUse { name, .. } in &self.secrets {
            let Some(secret) = vault.reveal(name).ok().filter(|secret| secret.len() >= SECRET_MASKED_BYTES_MIN) else { continue };
            let Ok(secret) = str::from_utf8(&secret) else { continue };
            for line in self.log.lines.iter_mut().filter(|line| line.message.contains(secret)) {
                line.message = line.message.replace(secret, &masked(name)).into();
            }
        }
    }
}

/// What stands in the place of a secret's value.
pub fn masked(name: &str) -> String {
    format!("[secret {name}]")
}

/// What a call can ask the host for. Given anew for each call, so that it knows whose it is.
pub trait Services: Send + Sync {
    /// A value of the plugin's own, as it is stored.
    fn kv(&self, key: &KvKey) -> Result<(Seen, Option<Bytes>), Fault>;

    /// The id of a run of this workflow that this call starts. It starts with the call's commit.
    fn start(&self, workflow: &Key) -> Result<RunId, Fault>;

    /// The id of a file that this call makes. It is kept with the call's commit.
    fn new_file(&self, _: &FileFacts) -> Result<FileId, Fault> {
        Err(Fault::new("invalid", "files belong to runs, and this call has none"))
    }

    /// A file of this run, or one that it was told of.
    fn file(&self, id: &FileId) -> Result<(FileFacts, Bytes), Fault> {
        Err(Fault::new("not-found", format!("files belong to runs, and this call has none; it knows no file `{id}`")))
    }

    /// Sends a request to a server outside, where that is granted. What the call is about to do is durable before.
    fn send(&self, sender: Sender, request: Request) -> BoxFuture<'_, Result<Response, Fault>>;

    /// Says how far the step is, to whoever looks now. Where nobody can, it comes to nothing.
    fn report(&self, done: u32, total: Option<u32>, message: &str) {
        let _ = (done, total, message);
    }
}

/// On whose behalf a request is sent.
#[derive(Clone, Default)]
pub struct Sender {
    /// What the plugin may do.
    pub grants: Arc<Grants>,
    /// Texts in the request that stand for secrets.
    pub secrets: Vec<SecretUse>,
    /// Where secrets are.
    pub vault: Option<Arc<dyn SecretSource>>,
    /// How many redirects are followed.
    pub redirects_max: u32,
}

/// Whose call it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallKind {
    /// A question about the component itself or about a config. Nothing is granted.
    #[default]
    Describe,
    /// A step.
    Node,
    /// A trigger.
    Trigger,
}

/// Where the host's capabilities get secrets from.
pub trait SecretSource: Send + Sync {
    /// The secret with a name: `not-found` if there is none (any more), `denied` if it cannot be opened.
    fn reveal(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, Fault>;

    /// The servers that the secret with a name may be sent to.
    fn destinations(&self, name: &str) -> Vec<HostPattern>;

    /// Whether somebody at this address may still guess at this secret.
    fn may_guess(&self, name: &str, remote_address: Option<&str>) -> bool;

    /// Somebody at this address guessed wrong.
    fn guessed_wrong(&self, name: &str, remote_address: Option<&str>);
}

/// Log lines within their bounds.
#[derive(Default)]
pub struct Log {
    /// The lines that were kept.
    pub lines: Vec<LogLine>,
    /// How many were not.
    pub dropped: u32,
    bytes: usize,
}

impl Log {
    /// Adds a line without its control characters, cut at its bound, or counts it as dropped.
    pub fn add(&mut self, level: LogLevel, message: &str) {
        if self.lines.len() >= LOG_LINES_MAX || self.bytes >= LOG_BYTES_MAX {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        let room = LOG_LINE_BYTES_MAX.min(LOG_BYTES_MAX - self.bytes);
        let cut = message.floor_char_boundary(room);
        let message: String = message[..cut].chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }).collect();
        self.bytes += message.len();
        self.lines.push(LogLine { level, message: message.into() });
    }
}

/// What stopped a guest, beside its own traps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Exceeded {
    #[default]
    Nothing,
    Memory,
    /// All guests together have as much memory as they may.
    HostMemory,
    Table,
    Cpu,
}

/// The memory of all guests of a host, in bytes.
pub(super) type HostMemory = Arc<AtomicUsize>;

struct Bounds {
    exceeded: Exceeded,
    /// How often the call was refused more memory.
    refusals: u32,
    memory_bytes: usize,
    memory_bytes_max: usize,
    of_host: HostMemory,
}

impl Drop for Bounds {
    fn drop(&mut self) {
        self.of_host.fetch_sub(self.memory_bytes, Ordering::Relaxed);
    }
}

impl Guest {
    /// A store for a new instance.
    pub(super) fn store(engine: &Engine, limits: CallLimits, of_host: HostMemory) -> Store<Self> {
        let memory_bytes_max = limits.memory_bytes;
        let bounds = Bounds { exceeded: Exceeded::Nothing, refusals: 0, memory_bytes: 0, memory_bytes_max, of_host };
        let cpu_max = Duration::from_millis(limits.cpu_ms);
        let cpu = CpuMeter::default();
        let guest = Self {
            call: CallContext::default(),
            bounds,
            limits,
            cpu: cpu.clone(),
            table: table(),
            wasi_http: wasi_http(),
            wasi: None,
        };
        let mut store = Store::new(engine.wasmtime(), guest);
        store.limiter(|guest| &mut guest.bounds);
        store.set_hostcall_fuel(CALL_BYTES_MAX);
        store.set_max_component_handles(RESOURCE_HANDLES_MAX);
        store.set_epoch_deadline(1);
        // Each tick that finds the guest computing looks at what it has computed, in the host also, and lets other tasks go
        // first. What it waited is not counted.
        store.epoch_deadline_callback(move |mut store| {
            let computed = cpu.now();
            if computed > cpu_max {
                store.data_mut().bounds.exceeded = Exceeded::Cpu;
                return Ok(UpdateDeadline::Interrupt);
            }
            if computed > BACKGROUND_CPU_MIN {
                computes_long();
            }
            // Tokio's way to yield: whoever waits for the network is looked after first. A task that only puts itself last in
            // the queue leaves the network alone for as long as sixty tasks take, which is half a second of guests that compute.
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
        });
        store
    }

    /// Begins another call: what the one before used and did is gone.
    pub(super) fn begin(&mut self, call: CallContext) {
        self.call = call;
        self.call.http_calls_max = self.limits.http_calls;
        self.bounds.exceeded = Exceeded::Nothing;
        self.bounds.refusals = 0;
        self.cpu.reset();
    }

    /// What the call did, with what it wrote to its standard output and error as log lines.
    pub(super) fn finish(&mut self) -> CallContext {
        let mut call = std::mem::take(&mut self.call);
        call.end_side_requests();
        call.used.memory_bytes = self.bounds.memory_bytes as u64;
        if let Some((_, output)) = &self.wasi {
            let Log { lines, dropped, .. } = output.take();
            for line in lines {
                call.log.add(line.level, &line.message);
            }
            call.log.dropped = call.log.dropped.saturating_add(dropped);
        }
        call.mask();
        call
    }

    /// What counts its computing.
    pub(super) fn cpu(&self) -> &CpuMeter {
        &self.cpu
    }

    /// What a call may take.
    pub fn limits(&self) -> &CallLimits {
        &self.limits
    }

    /// What `wasi:http` is carried out with.
    pub fn wasi_http(&mut self) -> (&mut CallContext, &mut ResourceTable, &mut WasiHttpCtx) {
        (&mut self.call, &mut self.table, &mut self.wasi_http)
    }

    pub(super) fn exceeded(&self) -> Exceeded {
        self.bounds.exceeded
    }

    /// The most memory that it had.
    pub fn memory_bytes(&self) -> usize {
        self.bounds.memory_bytes
    }
}

fn table() -> ResourceTable {
    let mut table = ResourceTable::new();
    table.set_max_capacity(RESOURCE_HANDLES_MAX);
    table
}

fn wasi_http() -> WasiHttpCtx {
    let mut ctx = WasiHttpCtx::new();
    ctx.set_field_size_limit(HEAD_BYTES_MAX);
    ctx
}

impl ResourceLimiter for Bounds {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.memory_bytes + desired.saturating_sub(current);
        if total > self.memory_bytes_max {
            // As WebAssembly has it: most guests give up then, and this is why; one that can do without says so itself. But none asks for ever.
            self.exceeded = Exceeded::Memory;
            self.refusals += 1;
            if self.refusals > MEMORY_REFUSALS_MAX {
                return Err(wasmtime::Error::msg("memory limit"));
            }
            return Ok(false);
        }
        let more = total - self.memory_bytes;
        if self.of_host.fetch_add(more, Ordering::Relaxed) + more > GUESTS_MEMORY_BYTES_MAX {
            self.of_host.fetch_sub(more, Ordering::Relaxed);
            self.exceeded = Exceeded::HostMemory;
            return Err(wasmtime::Error::msg("memory limit of the host"));
        }
        self.memory_bytes = total;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        if desired > STEP_TABLE_ELEMENTS_MAX {
            self.exceeded = Exceeded::Table;
            return Err(wasmtime::Error::msg("table limit"));
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_PER_COMPONENT_MAX as usize
    }

    fn tables(&self) -> usize {
        TABLES_PER_COMPONENT_MAX as usize
    }

    fn memories(&self) -> usize {
        MEMORIES_PER_COMPONENT_MAX as usize
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let (ctx, _) = self.wasi.get_or_insert_with(empty_wasi);
        WasiCtxView { ctx, table: &mut self.table }
    }
}

/// Clocks that are coarse, random numbers, and an output that becomes log lines; no files, environment or network.
fn empty_wasi() -> (WasiCtx, Output) {
    let output = Output::default();
    let wasi = WasiCtx::builder()
        .stdout(output.clone())
        .stderr(output.clone())
        .wall_clock(CoarseClock)
        .monotonic_clock(CoarseMonotonicClock(Instant::now()))
        .allow_tcp(false)
        .allow_udp(false)
        .max_random_size(RANDOM_BYTES_MAX)
        .build();
    (wasi, output)
}

/// A clock too coarse to time the host's caches with.
struct CoarseClock;

impl HostWallClock for CoarseClock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(GUEST_CLOCK_RESOLUTION_MS)
    }

    fn now(&self) -> Duration {
        coarse(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

struct CoarseMonotonicClock(Instant);

impl HostMonotonicClock for CoarseMonotonicClock {
    fn resolution(&self) -> u64 {
        GUEST_CLOCK_RESOLUTION_MS * 1_000_000
    }

    fn now(&self) -> u64 {
        u64::try_from(coarse(self.0.elapsed()).as_nanos()).unwrap_or(u64::MAX)
    }
}

fn coarse(time: Duration) -> Duration {
    let resolution = u128::from(GUEST_CLOCK_RESOLUTION_MS);
    let millis = time.as_millis() / resolution * resolution;
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_guests_together_have_so_much_memory_and_give_it_back() {
        let of_host = HostMemory::default();
        let bounds = || Bounds {
            exceeded: Exceeded::Nothing,
            refusals: 0,
            memory_bytes: 0,
            memory_bytes_max: GUESTS_MEMORY_BYTES_MAX,
            of_host: of_host.clone(),
        };
        let (mut first, mut second) = (bounds(), bounds());
        assert!(first.memory_growing(0, GUESTS_MEMORY_BYTES_MAX - 1, None).unwrap());
        assert!(second.memory_growing(0, 2, None).is_err());
        assert_eq!(second.exceeded, Exceeded::HostMemory);
        assert!(second.memory_growing(0, 1, None).unwrap(), "what was refused is not counted");
        drop(first);
        assert!(second.memory_growing(1, 1000, None).unwrap());
        drop(second);
        assert_eq!(of_host.load(Ordering::Relaxed), 0);
    }
}
