//! Components that are small to send and endless to compile: the compiler is stopped, and the host never notices.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{Answer, Data, Host, built_in, connect, eventually, workflow};
use crate::process::{Resident, children};

/// A component that looks like a plugin, with something in it.
pub(crate) fn plugin(inside: &str, module: &str) -> Vec<u8> {
    let text = format!(
        "(component
            {inside}
            (core module $m (func (export \"f\")) {module})
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i \"f\")))
            (instance $x (export \"describe\" (func $f)) (export \"node-types\" (func $f)) (export \"check\" (func $f))
                (export \"execute\" (func $f)) (export \"resume\" (func $f)))
            (export \"weft:plugin/info@0.1.0\" (instance $x))
            (export \"weft:plugin/nodes@0.1.0\" (instance $x)))"
    );
    wat::parse_str(text).unwrap()
}

/// Functions in which hundreds of variables live across thousands of blocks.
fn takes_time(functions: usize) -> Vec<u8> {
    let (locals, blocks) = (300, 1_500);
    let mut body = format!("(local {})", "i32 ".repeat(locals));
    body.push_str(&"(block ".repeat(blocks));
    for block in 0..blocks {
        let (a, b, c) = (block % locals, (block * 7 + 1) % locals, (block * 13 + 5) % locals);
        body.push_str(&format!(
            "local.get {a} local.get {b} i32.add local.tee {c} (br_if {}) )\n",
            (block * 31) % (blocks - block)
        ));
    }
    plugin("", &format!("(func {body})").repeat(functions))
}

/// A hundred tables a module, of which each element is written down when the module is compiled.
fn takes_memory(modules: usize) -> Vec<u8> {
    let tables = "(table 1048576 funcref)".repeat(100);
    let elements: String = (0..100).map(|table| format!("(elem (table {table}) (i32.const 1048575) func $f)")).collect();
    plugin(&format!("(core module (func $f) {tables} {elements})").repeat(modules), "")
}

/// Installs a component while somebody asks how the host is. The answer, and the longest that the host took to say.
fn install(host: &Host, wasm: &[u8], seen: impl Fn(u32) + Sync) -> (Answer, Duration) {
    let (done, began) = (AtomicBool::new(false), Instant::now());
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut slowest = Duration::ZERO;
            while !done.load(Ordering::Relaxed) {
                let began = Instant::now();
                assert_eq!(host.request("GET", "/healthz", &[], b"").status, 200);
                slowest = slowest.max(began.elapsed());
                children(host.pid()).into_iter().for_each(&seen);
                std::thread::sleep(Duration::from_millis(10));
            }
            slowest
        });
        let answer = host.api("POST", "/plugins", wasm);
        done.store(true, Ordering::Relaxed);
        println!("answered after {} ms", began.elapsed().as_millis());
        (answer, asking.join().unwrap())
    })
}

#[test]
fn a_bomb_is_refused_and_the_host_goes_on() {
    let bombs = [
        ("time", takes_time(60), "5", "compile-timeout", true),
        ("memory", takes_memory(40), "60", "compile-memory", true),
        ("output", takes_memory(1), "60", "plugin-refused", true),
        ("count", plugin("", &"(func)".repeat(100_001)), "60", "plugin-too-complex", false),
    ];
    let key = ("WEFT_MASTER_KEY", &*"ab".repeat(32));
    // The built-in plugins may take longer to compile than a bomb is given.
    let compiled = Host::start_in(Data::new(), &[key]).stop();
    for (name, wasm, seconds, code, is_compiled) in &bombs {
        // A secret in its environment, which the compiler must not see.
        let host = Host::start_in(compiled.copy(), &[("WEFT_COMPILE_SECONDS", *seconds), key]);
        host.apply(&workflow("neighbour", &serde_json::json!({"mode": "sync"}), &serde_json::json!([])));
        let resident = Resident::of(host.pid());
        let was_seen = AtomicBool::new(false);
        let look = |child: u32| {
            let limits = std::fs::read_to_string(format!("/proc/{child}/limits")).unwrap_or_default();
            let environment = std::fs::read(format!("/proc/{child}/environ")).unwrap_or_default();
            let environment = String::from_utf8_lossy(&environment);
            // Before it has set its bounds there is nothing to look at yet.
            if limits.contains("Max address space         4294967296") {
                was_seen.store(true, Ordering::Relaxed);
                assert!(
                    environment.split('\0').all(|one| one.is_empty() || one.starts_with("RAYON_NUM_THREADS=")),
                    "{environment}"
                );
            }
        };
        let (answer, slowest) = install(&host, wasm, look);
        answer.expect_problem(422, code);
        assert_eq!(was_seen.load(Ordering::Relaxed), *is_compiled, "{name}: compiled by a child with bounds");
        eventually("the compiler is gone", || children(host.pid()).is_empty());
        let (sent, growth) = (wasm.len() as u64 / 1024 / 1024, resident.growth_mib());
        println!("{name}: {sent} MiB sent, the host grew by {growth} MiB, /healthz took {} ms at most", slowest.as_millis());
        // What was sent is in memory once or twice.
        assert!(growth <= 3 * sent + 16, "{name}: the host grew by {growth} MiB");
        assert!(slowest < Duration::from_secs(5), "{name}: {slowest:?}");
        assert_eq!(host.hook("neighbour", b"{}").status, 200);
        assert_eq!(host.get("/plugins")["items"].as_array().unwrap().len(), built_in(), "the built-in ones");
        let kept = std::fs::read_dir(host.data.path().join("cache")).unwrap().count();
        assert_eq!(kept, built_in(), "{name}: nothing of it is kept");
    }
}

#[test]
fn a_compiler_does_not_outlive_its_host() {
    let host = Host::start();
    let (wasm, token) = (takes_time(60), host.data.token());
    let mut stream = connect(&host.url);
    let length = wasm.len();
    let head = format!(
        "POST /api/v1/plugins HTTP/1.1\r\nhost: weft\r\nauthorization: Bearer {token}\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), &wasm].concat()).unwrap();
    let compiles =
        |child: u32| std::fs::read(format!("/proc/{child}/cmdline")).is_ok_and(|line| line.starts_with(b"weft\0compile"));
    let limited =
        |child: u32| std::fs::read_to_string(format!("/proc/{child}/limits")).is_ok_and(|text| text.contains("4294967296"));
    eventually("a compiler runs", || children(host.pid()).into_iter().any(|child| compiles(child) && limited(child)));
    let child = children(host.pid())[0];
    std::thread::sleep(Duration::from_millis(100));
    host.kill();
    eventually("it is gone", || !compiles(child));
}

#[test]
fn what_was_compiled_is_not_compiled_again() {
    let host = Host::start();
    let cache = host.data.path().join("cache");
    let written = || {
        let files = std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap());
        let mut files: Vec<_> = files.map(|file| (file.file_name(), file.metadata().unwrap().modified().unwrap())).collect();
        files.sort();
        files
    };
    let before = written();
    assert_eq!(before.len(), built_in(), "the built-in plugins");
    let data = host.stop();
    let host = Host::start_in(data, &[]);
    assert_eq!(written(), before);
    // A file that somebody changed is not believed.
    let path = host.data.path().join("cache").join(&before[0].0);
    let data = host.stop();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let host = Host::start_in(data, &[]);
    assert!(host.log().contains("was changed on disk") || std::fs::read(&path).unwrap() != bytes, "{}", host.log());
    assert_ne!(std::fs::read(&path).unwrap(), bytes, "compiled again");
}
