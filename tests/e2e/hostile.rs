//! Components that attack the host: each is stopped within its bounds, and nobody else notices.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bombs::plugin;
use crate::harness::{Host, built_in, guest, workflow};
use crate::process::Resident;
use crate::server::Server;

/// What one call of the attackers may take here.
const CPU_MS: u64 = 500;
const WALL_MS: u64 = 1_500;
const MEMORY_MIB: u64 = 64;

/// What a step that attacks the host comes to: a failure with a code and words, or a success.
enum End {
    Failed(&'static str, &'static str),
    Succeeded,
}

use End::{Failed, Succeeded};

/// Every way of `acme/rogue` that is stopped, or comes to nothing.
const ATTACKS: &[(&str, End)] = &[
    // Computing, memory, stack.
    ("spin", Failed("cpu-limit", "500 ms")),
    ("late-spin", Failed("cpu-limit", "500 ms")),
    ("grow", Failed("memory-limit", "64 MiB")),
    ("recurse", Failed("trapped", "wasm trap")),
    ("panic", Failed("trapped", "unreachable")),
    ("late-trap", Failed("trapped", "unreachable")),
    ("exit", Failed("trapped", "exit")),
    // Waiting.
    ("sleep", Failed("timed-out", "1500 ms")),
    ("sleep-long", Failed("timed-out", "1500 ms")),
    ("stuck-http", Failed("timed-out", "1500 ms")),
    // Answers.
    ("output", Failed("too-large", "at most 1048576")),
    ("output-huge", Failed("trapped", "")),
    ("no-json", Failed("bad-answer", "not a JSON document")),
    ("deep", Failed("bad-answer", "recursion limit")),
    ("unknown-branch", Failed("bad-answer", "`other`")),
    ("many-branches", Failed("bad-answer", "at most 1000")),
    ("unknown-wait", Failed("bad-answer", "signal")),
    ("wait-for-nothing", Failed("bad-answer", "nothing runs")),
    ("go-nowhere", Failed("bad-answer", "`nowhere`")),
    ("go-far", Failed("bad-answer", "at most 256")),
    ("long-message", Failed("long-message", "mmmm")),
    ("long-code", Failed("bad-answer", "at most 256")),
    ("split-header", Failed("invalid", "no header field")),
    ("many-headers", Failed("too-large", "10000 header fields")),
    ("fail-after-effects", Failed("on-purpose", "on purpose")),
    // Requests to the host.
    ("storm-http", Failed("over-limit", "at most 100")),
    ("long-url", Failed("too-large", "URL")),
    ("storm-kv", Failed("over-limit", "at most 1000")),
    ("storm-kv-bytes", Failed("over-limit", "in all")),
    ("storm-starts", Failed("over-limit", "at most 100")),
    ("storm-starts-bytes", Failed("over-limit", "in all")),
    ("storm-variables", Failed("cpu-limit", "500 ms")),
    ("storm-crypto", Failed("cpu-limit", "500 ms")),
    ("long-crypto", Failed("too-large", "are signed")),
    // WASI.
    ("handles", Failed("trapped", "")),
    ("poll-many", Failed("trapped", "")),
    ("random", Failed("trapped", "exceeds limit")),
    ("sockets", Succeeded),
    // More to say than is kept.
    ("flood", Succeeded),
    ("flood-output", Succeeded),
    ("flood-line", Succeeded),
];

/// A workflow that is called all the time, and how long each of its answers took.
struct Neighbour {
    took: Mutex<Vec<Duration>>,
    stop: AtomicBool,
}

impl Neighbour {
    fn set_up(host: &Host) -> Self {
        let steps = json!([
            {"key": "total", "type": "data", "config": {"fields": {"total": "{{$context.data.price}}"}}},
            {"key": "big", "type": "condition",
                "config": {"left": "{{$steps.total.result.total}}", "operator": "gt", "right": 100},
                "branches": {"yes": [{"key": "answer", "type": "response", "config": {"status": 200, "body": {"tier": "big"}}}],
                    "no": []}},
        ]);
        host.apply(&workflow("neighbour", &json!({"mode": "sync"}), &steps));
        Self { took: Mutex::default(), stop: AtomicBool::new(false) }
    }

    fn ask(&self, host: &Host) {
        let began = Instant::now();
        let answer = host.hook("neighbour", br#"{"price": 150}"#);
        assert_eq!((answer.status, &answer.body[..]), (200, &br#"{"tier":"big"}"#[..]));
        self.took.lock().unwrap().push(began.elapsed());
    }

    fn ask_until_stopped(&self, host: &Host) {
        while !self.stop.load(Ordering::Relaxed) {
            self.ask(host);
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// How long each answer took. Begins anew.
    fn took(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.took.lock().unwrap())
    }
}

/// What 99 of 100 took at most.
fn p99(took: &mut [Duration]) -> Duration {
    took.sort();
    took.get(took.len() * 99 / 100).copied().unwrap_or_default()
}

/// Stops the neighbour also when the test fails: whoever waits for it would wait for ever.
struct Stop<'a>(&'a Neighbour);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

/// A host with the attackers, which may do everything that has bounds.
fn host_with_rogue(server: &Server) -> Host {
    let host = Host::start();
    let rogue = host.add_bare_plugin("rogue");
    let limits = json!({"cpu_ms": CPU_MS, "wall_ms": WALL_MS, "memory_mib": MEMORY_MIB});
    host.set_grants(&rogue, &json!({"kv": true, "workflows": ["*"], "http": [server.address()], "limits": limits}));
    host.apply(&workflow("target", &json!({"mode": "async"}), &json!([])));
    let config = json!({"way": "{{$context.data.way}}", "target": "{{$context.data.target}}"});
    for (key, kind, config) in [("attack", "rogue", config), ("late", "late", json!({"way": "{{$context.data.way}}"}))] {
        let steps = json!([{"key": "a", "type": format!("acme/rogue/{kind}"), "config": config}]);
        host.apply(&workflow(key, &json!({"mode": "async"}), &steps));
    }
    host
}

fn attack(host: &Host, way: &str, server: &Server) -> Value {
    server.hold(way == "stuck-http");
    let target = if way.starts_with("storm-starts") { "target".to_owned() } else { server.url.clone() };
    let way = if way == "stuck-http" { "storm-http" } else { way };
    let (workflow, way) = way.strip_prefix("late-").map_or(("attack", way), |way| ("late", way));
    host.run_once(workflow, &json!({"data": {"way": way, "target": target}}))
}

/// By how much a step took more than it may, in milliseconds: of what it is limited by.
fn excess_ms(step: &Value) -> u64 {
    match step["failure"]["code"].as_str() {
        Some("cpu-limit") => (step["used"]["cpu_us"].as_u64().unwrap() / 1_000).saturating_sub(CPU_MS),
        Some("timed-out") => (step["took_us"].as_u64().unwrap() / 1_000).saturating_sub(WALL_MS),
        _ => 0,
    }
}

#[test]
fn each_attack_ends_within_its_bounds() {
    let server = Server::start();
    let host = host_with_rogue(&server);
    let neighbour = Neighbour::set_up(&host);
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let resident = Resident::of(host.pid());
    let (mut excess_most, mut growth_most) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| neighbour.ask_until_stopped(&host));
        let _stop = Stop(&neighbour);
        for (way, end) in ATTACKS {
            // The machine may be busy with other things: the neighbour is measured in turns, alone and beside an attack.
            neighbour.took();
            std::thread::sleep(Duration::from_millis(200));
            alone.extend(neighbour.took());
            resident.growth_mib();
            let run = attack(&host, way, &server);
            let mut took = neighbour.took();
            let step = &run["steps"][0];
            match end {
                Failed(code, part) => {
                    assert_eq!(step["failure"]["code"], *code, "{way}: {step:#}");
                    let message = step["failure"]["message"].as_str().unwrap();
                    assert!(message.contains(part) && message.len() <= 9 * 1024, "{way}: {message}");
                }
                Succeeded => assert_eq!(step["status"], "succeeded", "{way}: {step:#}"),
            }
            // A wide margin, as others use this machine, too.
            let (excess, growth) = (excess_ms(step), resident.growth_mib());
            // One answer that is none of a broken plugin's keeps it out of quarantine.
            assert_eq!(attack(&host, "print", &server)["status"], "succeeded");
            assert!(excess < 2_000, "{way}: {excess} ms more than it may: {step:#}");
            assert!(growth <= MEMORY_MIB + 16, "{way}: the host grew by {growth} MiB");
            let (p99, count) = (p99(&mut took), took.len());
            println!("{way}: {excess} ms more than it may, the host grew by {growth} MiB; neighbour: {p99:?} ({count} answers)");
            beside.extend(took);
            (excess_most, growth_most) = (excess_most.max(excess), growth_most.max(growth));
        }
    });
    let (alone, count, beside) = (p99(&mut alone), beside.len(), p99(&mut beside));
    println!("{} attacks: at most {excess_most} ms beyond the deadline, and {growth_most} MiB more in memory", ATTACKS.len());
    println!("neighbour: p99 {alone:?} alone, {beside:?} beside the attacks ({count} answers)");
    assert!(count > 100, "{count} answers");
    assert!(beside < Duration::from_secs(2), "{beside:?}");
    assert_eq!(host.request("GET", "/healthz", &[], b"").status, 200);
}

#[test]
fn what_is_said_at_too_great_length_is_cut() {
    let server = Server::start();
    let host = host_with_rogue(&server);
    let run = attack(&host, "long-end", &server);
    let kept = run.to_string().len();
    assert!(run["status"] == "failed" && kept < 32 * 1024, "{} in {kept} bytes", run["status"]);
    for (way, lines) in [("flood", 100_000), ("flood-output", 100_001), ("flood-line", 1)] {
        let step = attack(&host, way, &server)["steps"][0].clone();
        let log = step["log"].as_array().unwrap();
        let texts: Vec<&str> = log.iter().map(|line| line["message"].as_str().unwrap()).collect();
        let bytes: usize = texts.iter().map(|text| text.len()).sum();
        assert!(texts.len() <= 200 && bytes <= 64 * 1024, "{way}: {} lines, {bytes} bytes", texts.len());
        assert_eq!(texts.len() as u64 + step["log_dropped"].as_u64().unwrap_or(0), lines, "{way}: each line is kept or counted");
        assert!(!texts.iter().any(|text| text.contains('\u{1b}')), "{way}: no control characters");
    }
    // One instance serves both calls, and what it prints belongs to the call.
    let step = attack(&host, "late-print", &server)["steps"][0].clone();
    let texts: Vec<&Value> = step["log"].as_array().unwrap().iter().map(|line| &line["message"]).collect();
    assert_eq!(texts, ["printed first", "printed second"], "{step:#}");
    assert_eq!(attack(&host, "sockets", &server)["steps"][0]["output"], 0, "no socket is opened");
    let clocks = attack(&host, "clocks", &server)["steps"][0]["output"].clone();
    assert!(
        clocks["smallest_ns"].as_u64() >= Some(1_000_000) && clocks["fractions_ns"] == 0,
        "clocks tell milliseconds: {clocks}"
    );
}

/// The component `acme/liar`, which misbehaves in this way when it is asked who it is.
fn liar(way: &str) -> Vec<u8> {
    let mut wasm = guest("liar");
    let marker = b"liar-way:honest-----------------";
    let at = wasm.windows(marker.len()).position(|window| window == marker).expect("the marker");
    let text = format!("liar-way:{way:-<23}");
    wasm[at..at + marker.len()].copy_from_slice(text.as_bytes());
    wasm
}

#[test]
fn a_plugin_that_attacks_when_it_is_asked_who_it_is_is_refused() {
    let host = Host::start();
    let resident = Resident::of(host.pid());
    let spinning = plugin("", "(func (loop (br 0)))");
    let instances = "(core instance (instantiate $many))".repeat(20);
    let attacks = [
        ("a trap", liar("trap"), "unreachable"),
        ("endless computing", liar("spin"), "5000 ms"),
        ("endless waiting", liar("sleep"), "did not answer within"),
        ("memory without end", liar("grow"), "64 MiB of memory"),
        ("a description of 20 MiB", liar("huge"), ""),
        ("a description of 5 MiB", liar("long"), "bytes; at most 4194304"),
        ("ten thousand branches", liar("branches"), "at most 100"),
        ("a wait that there is not", liar("waits"), "`weather`"),
        ("a schema that is none", liar("bad-schema"), "not a JSON Schema"),
        ("a schema that wants to be fetched", liar("fetching"), "not a JSON Schema"),
        ("a schema with thousands of patterns", liar("patterns"), "patterns; at most 100"),
        ("a schema with an enormous pattern", liar("pattern"), "not a JSON Schema"),
        ("endless computing at its start", start("(loop (br 0))", ""), "000 ms"),
        ("memory without end at its start", start("(loop (drop (memory.grow (i32.const 16))) (br 0))", "(memory 1)"), "memory"),
        (
            "a table without end at its start",
            start("(loop (drop (table.grow 0 (ref.null func) (i32.const 1000))) (br 0))", "(table 1 funcref)"),
            "too large a table",
        ),
        ("recursion at its start", start("(call $start)", ""), "call stack exhausted"),
        (
            "a table of a million",
            plugin("(core module $many (table 1000000 funcref)) (core instance (instantiate $many))", ""),
            "",
        ),
        ("memory of 4 GiB", plugin("(core module $many (memory 65536)) (core instance (instantiate $many))", ""), ""),
        ("twenty memories", plugin(&format!("(core module $many (memory 1)) {instances}"), ""), "memories"),
        ("twenty tables", plugin(&format!("(core module $many (table 1 funcref)) {instances}"), ""), "tables"),
        ("shared memory", plugin("(core module (memory 1 1 shared))", ""), "threads"),
        ("functions of other types than the contract's", spinning, ""),
    ];
    let mut growth_most = 0;
    for (what, wasm, part) in &attacks {
        resident.growth_mib();
        let began = Instant::now();
        let answer = host.api("POST", "/plugins", wasm);
        answer.expect_problem(422, "plugin-refused");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(part) && detail.len() < 32 * 1024, "{what}: {detail}");
        assert!(began.elapsed() < Duration::from_secs(30), "{what}: {:?}", began.elapsed());
        let growth = resident.growth_mib();
        println!("{what}: {} ms, the host grew by {growth} MiB: {:.100}", began.elapsed().as_millis(), detail);
        assert!(growth <= MEMORY_MIB + 16, "{what}: the host grew by {growth} MiB");
        growth_most = growth_most.max(growth);
        assert_eq!(host.request("GET", "/healthz", &[], b"").status, 200);
    }
    println!("{} plugins refused; the host grew by {growth_most} MiB at most", attacks.len());
    assert_eq!(host.get("/plugins")["items"].as_array().unwrap().len(), built_in(), "the built-in ones");
}

/// A plugin that does something when it is instantiated.
fn start(code: &str, fields: &str) -> Vec<u8> {
    let module = format!("(core module $s {fields} (func $start {code}) (start $start)) (core instance (instantiate $s))");
    plugin(&module, "")
}

#[test]
fn a_plugin_whose_schema_lies_fails_its_own_steps() {
    let host = Host::start();
    assert_eq!(host.api("POST", "/plugins", &liar("lying")).status, 201);
    host.apply(&workflow("lied", &json!({"mode": "sync"}), &json!([{"key": "a", "type": "acme/liar/lie", "config": {}}])));
    let run = host.run_once("lied", &json!({}));
    assert_eq!(run["steps"][0]["failure"]["code"], "needed", "{run:#}");
}

#[test]
fn two_guests_that_compute_leave_the_host_reachable() {
    let host = Host::start();
    host.add_plugin("rogue");
    let steps = json!([{"key": "a", "type": "acme/rogue/rogue", "config": {"way": "spin"}}]);
    host.apply(&workflow("spin", &json!({"mode": "async"}), &steps));
    let cores = std::thread::available_parallelism().unwrap().get();
    for _ in 0..cores {
        assert_eq!(host.hook("spin", b"{}").status, 200);
    }
    let running = || host.runs().iter().filter(|run| run["status"] == "running").count();
    assert_eq!(running(), cores);
    let mut took: Vec<Duration> = (0..100)
        .map(|_| {
            let began = Instant::now();
            assert_eq!(host.request("GET", "/healthz", &[], b"").status, 200);
            began.elapsed()
        })
        .collect();
    assert!(running() > 0, "they still compute");
    took.sort();
    let (median, slowest) = (took[50], took[99]);
    println!("/healthz beside {cores} computing guests: {median:?} in the middle, {slowest:?} at most");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
}
