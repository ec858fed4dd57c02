//! Compiles components, in processes of their own that can be killed.
//!
//! A compiler's time and memory do not grow in proportion to what it is given, and nobody calls that a fault of the compiler. So a
//! vendor's file is compiled by a child of this program with bounds on its time and memory, a few at once, and nothing of the
//! host's in it: no data folder, no environment, no secret. The host runs what the child made; it never compiles itself.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setpriority_process, setrlimit};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

use super::engine;
use crate::limits::{
    COMPILE_MEMORY_BYTES_MAX, COMPILE_NICENESS, COMPILE_REPORT_BYTES_MAX, COMPILE_SECONDS_DEFAULT, COMPILE_THREADS_MAX,
    COMPILED_BYTES_MAX, COMPILERS_MAX, PLUGIN_BYTES_MAX,
};

/// The hidden verb of this program that compiles standard input to standard output.
pub const COMPILE_VERB: &str = "compile";

/// The program that runs here, also when another was put in its file's place: what it compiles must fit it.
pub const OWN_PROGRAM: &str = "/proc/self/exe";

/// What a component is compiled by.
pub struct Compiler {
    place: Place,
    permits: Semaphore,
    seconds: u32,
}

enum Place {
    Child(PathBuf),
    Here,
}

/// Why a component was not compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// Its bytes are wrong, or it wants what this host's engine does not have.
    #[error("the component does not compile: {0}")]
    Invalid(String),
    /// It took too long.
    #[error("the component was not compiled within {0} s and was given up; make it smaller, or split its largest functions")]
    Timeout(u32),
    /// It took too much memory.
    #[error(
        "compiling the component wants more than {} MiB of memory; make it smaller, or split its largest functions",
        COMPILE_MEMORY_BYTES_MAX / 1024 / 1024
    )]
    Memory,
    /// The compiler broke off.
    #[error("the compiler broke off: {0}")]
    Broken(String),
}

impl CompileError {
    /// A stable word.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "plugin-refused",
            Self::Timeout(_) => "compile-timeout",
            Self::Memory => "compile-memory",
            Self::Broken(_) => "compile-broken",
        }
    }
}

impl Compiler {
    /// Each component in a process of its own, which this program starts with the verb [`COMPILE_VERB`].
    pub fn children_of(program: impl Into<PathBuf>) -> Self {
        Self::new(Place::Child(program.into()))
    }

    /// In this process, without bounds: for tests and benches, whose components are known.
    pub fn here() -> Self {
        Self::new(Place::Here)
    }

    /// The same with another bound on the time that one component may take.
    #[must_use]
    pub fn within(mut self, seconds: u32) -> Self {
        self.seconds = seconds.max(1);
        self
    }

    fn new(place: Place) -> Self {
        Self { place, permits: Semaphore::new(COMPILERS_MAX), seconds: COMPILE_SECONDS_DEFAULT }
    }

    /// The compiled form of a component. Waits while too many are being compiled; dropping this kills the child.
    pub(super) async fn compile(&self, wasm: Arc<[u8]>) -> Result<Vec<u8>, CompileError> {
        let broken = |error: &dyn std::fmt::Display| CompileError::Broken(error.to_string());
        let _permit = self.permits.acquire().await.map_err(|error| broken(&error))?;
        match &self.place {
            Place::Child(program) => {
                let child = start(program, self.seconds).map_err(|error| broken(&error))?;
                match tokio::time::timeout(Duration::from_secs(self.seconds.into()), in_child(child, &wasm)).await {
                    Ok(compiled) => compiled,
                    // What was dropped with the child killed it.
                    Err(_) => Err(CompileError::Timeout(self.seconds)),
                }
            }
            Place::Here => {
                let compile = move || precompile(&wasm).map_err(CompileError::Invalid);
                tokio::task::spawn_blocking(compile).await.unwrap_or_else(|error| Err(broken(&error)))
            }
        }
    }
}

fn start(program: &PathBuf, seconds: u32) -> std::io::Result<Child> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(COMPILE_THREADS_MAX);
    Command::new(program)
        .arg0("weft")
        .args([COMPILE_VERB, &seconds.to_string()])
        .env_clear()
        // How Cranelift's thread pool is bounded.
        .env("RAYON_NUM_THREADS", threads.to_string())
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}

/// Hands a component to a child, and takes what it makes of it.
async fn in_child(mut child: Child, wasm: &[u8]) -> Result<Vec<u8>, CompileError> {
    let broken = |error: std::io::Error| CompileError::Broken(error.to_string());
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let give = async {
        if let Some(mut stdin) = stdin {
            // A child that reads no further says why itself.
            let _ = stdin.write_all(wasm).await;
        }
    };
    let ((), compiled, report) = tokio::join!(give, read(stdout, COMPILED_BYTES_MAX), read(stderr, COMPILE_REPORT_BYTES_MAX));
    let (compiled, report) = (compiled.map_err(broken)?, report.map_err(broken)?);
    if compiled.len() > COMPILED_BYTES_MAX {
        return Err(CompileError::Broken(format!("it made more than {COMPILED_BYTES_MAX} bytes of the component")));
    }
    let status = child.wait().await.map_err(broken)?;
    let report = String::from_utf8_lossy(&report);
    if status.success() { Ok(compiled) } else { Err(verdict(status, report.trim())) }
}

/// What comes through a pipe, and one byte beyond the bound if there is more; then the pipe is closed.
async fn read(pipe: Option<impl AsyncRead + Unpin>, bytes_max: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(bytes_max as u64 + 1).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// Why a child ended without its work done.
fn verdict(status: ExitStatus, report: &str) -> CompileError {
    use std::os::unix::process::ExitStatusExt as _;
    // A Rust program that gets no memory says so and aborts; a thread that gets none cannot be started.
    let lacks_memory = ["memory allocation of", "Cannot allocate memory", "out of memory"];
    // The kernel kills what is largest when the machine has no memory left. The host's own killing drops the child.
    let is_killed = status.signal() == Some(Signal::KILL.as_raw());
    if is_killed || lacks_memory.iter().any(|words| report.contains(words)) {
        return CompileError::Memory;
    }
    match status.code() {
        Some(code) if code == i32::from(REFUSED) => CompileError::Invalid(report.to_owned()),
        _ => CompileError::Broken(format!("{status}: {}", report.lines().find(|line| !line.is_empty()).unwrap_or_default())),
    }
}

/// The exit code of a child whose component does not compile.
const REFUSED: u8 = 3;

/// What a child of [`Compiler`] does: sets its own bounds, and compiles standard input to standard output. Its exit code.
pub fn compile_as_child(seconds: u32) -> u8 {
    let compiled = bound_this_process(seconds).and_then(|()| {
        let mut wasm = Vec::new();
        std::io::stdin().take(PLUGIN_BYTES_MAX as u64 + 1).read_to_end(&mut wasm)?;
        Ok(wasm)
    });
    let wasm = match compiled {
        Ok(wasm) => wasm,
        Err(error) => return report(&error, 1),
    };
    match precompile(&wasm) {
        Ok(compiled) => match std::io::stdout().write_all(&compiled) {
            Ok(()) => 0,
            Err(error) => report(&error, 1),
        },
        Err(error) => report(&error, REFUSED),
    }
}

fn report(error: &dyn std::fmt::Display, code: u8) -> u8 {
    eprintln!("{error}");
    code
}

/// The host stops a child that takes too long. A child whose host is gone is stopped by the system, or by its limit on computing.
fn bound_this_process(seconds: u32) -> std::io::Result<()> {
    let limit = |max: u64| Rlimit { current: Some(max), maximum: Some(max) };
    setrlimit(Resource::As, limit(COMPILE_MEMORY_BYTES_MAX as u64))?;
    setrlimit(Resource::Cpu, limit(u64::from(seconds) * COMPILE_THREADS_MAX as u64))?;
    setrlimit(Resource::Core, limit(0))?;
    // The system looks at the thread that started this process: one of the host's runtime, which lasts as long as the host.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    setpriority_process(None, COMPILE_NICENESS)?;
    Ok(())
}

fn precompile(wasm: &[u8]) -> Result<Vec<u8>, String> {
    let compile = || wasmtime::Engine::new(&engine::compiler_config())?.precompile_component(wasm);
    let compiled = compile().map_err(|error: wasmtime::Error| format!("{error:#}"))?;
    match compiled.len() {
        // Here, so that the host need not take it in to see.
        bytes if bytes > COMPILED_BYTES_MAX => Err(format!("{bytes} bytes come of it; at most {COMPILED_BYTES_MAX}")),
        _ => Ok(compiled),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(script: &str) -> Child {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true).spawn().unwrap()
    }

    #[tokio::test]
    async fn the_end_of_a_child_says_what_was_wrong() {
        let cases = [
            ("echo 'memory allocation of 99 bytes failed' >&2; kill -ABRT $$", "compile-memory"),
            ("kill -KILL $$", "compile-memory"),
            ("kill -SEGV $$", "compile-broken"),
            ("exit 1", "compile-broken"),
            ("echo 'not a component' >&2; exit 3", "plugin-refused"),
        ];
        for (script, code) in cases {
            let error = in_child(child(script), b"wasm").await.unwrap_err();
            assert_eq!(error.code(), code, "{script}: {error}");
        }
        assert_eq!(in_child(child("exec cat"), b"wasm").await.unwrap(), b"wasm");
    }

    #[tokio::test]
    async fn a_child_that_writes_without_end_is_left() {
        let error = in_child(child("exec cat /dev/zero"), b"wasm").await.unwrap_err();
        assert!(error.to_string().contains("bytes of the component"), "{error}");
    }

    #[tokio::test]
    async fn a_child_that_is_left_is_killed() {
        let child = child("exec sleep 1000");
        let pid = child.id().unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(100), in_child(child, b"wasm")).await.is_err());
        let gone = || !std::path::Path::new(&format!("/proc/{pid}/exe")).exists();
        for _ in 0..1_000 {
            if gone() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the child goes on");
    }
}
