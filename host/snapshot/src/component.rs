//! Calls the function that initialises a component, and reads what it left.

use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use wasmtime::component::{Component, Instance, Lift, Linker, WasmList, types};
use wasmtime::error::Context as _;
use wasmtime::{Config, Engine, Store, StoreContextMut};
use wasmtime::{Result, bail, format_err};
use wasmtime_wizer::{ComponentInstanceState, Wizer};

/// The export that compiles a library.
pub(crate) const COMPILE: &str = "compile-library";

/// The export that initialises.
pub(crate) const INITIALISE: &str = "initialize-snapshot";

/// A component that begins as this one is after its function was called with the compiled libraries.
pub(crate) fn initialise(wasm: &[u8], libraries: Vec<String>) -> Result<Vec<u8>> {
    let mut wizer = Wizer::new();
    // The tool takes the core module's function of that name out too, to which the component still refers.
    wizer.init_func(INITIALISE).keep_init_func(true);
    let (context, instrumented) = wizer.instrument_component(wasm)?;
    let mut config = Config::new();
    config.cranelift_opt_level(wasmtime::OptLevel::None).concurrency_support(false);
    let engine = Engine::new(&config)?;
    let component = Component::new(&engine, &instrumented)?;
    let linker = linker(&engine, &component)?;
    // In an instance of its own, so that nothing is left of the compiler's work in the memory that is kept.
    let mut store = Store::new(&engine, ());
    let compiler = linker.instantiate(&mut store, &component)?;
    let compile = compiler.get_typed_func::<(String,), (Result<Vec<u8>, String>,)>(&mut store, COMPILE)?;
    let mut compiled = Vec::new();
    for library in libraries {
        let (result,) = compile.call(&mut store, (library,)).context("a library could not be compiled")?;
        compiled.push(result.map_err(|message| format_err!("a library could not be compiled: {message}"))?);
    }
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &component)?;
    let function = instance.get_typed_func::<(Vec<Vec<u8>>,), (Result<(), String>,)>(&mut store, INITIALISE)?;
    let (initialised,) = function.call(&mut store, (compiled,)).context("the component could not be initialised")?;
    initialised.map_err(|message| format_err!("the component could not be initialised: {message}"))?;
    let mut state = State { store, instance };
    let snapshot = pin!(wizer.snapshot_component(&context, &mut state));
    match snapshot.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(snapshot) => Ok(snapshot?),
        Poll::Pending => bail!("the snapshot waits for something"),
    }
}

/// Clocks that stand still, and a seed for Rust's hash tables, which is no secret within a sandbox; all else is a trap.
fn linker(engine: &Engine, component: &Component) -> Result<Linker<()>> {
    let mut linker = Linker::new(engine);
    linker.allow_shadowing(true);
    linker.define_unknown_imports_as_traps(component)?;
    for (name, item) in component.component_type().imports(engine) {
        let types::ComponentItem::ComponentInstance(interface) = item.ty else { continue };
        let defines = |function: &str| interface.get_export(engine, function).is_some();
        match name.split_once('@').map_or(name, |(name, _)| name) {
            "wasi:clocks/wall-clock" if defines("now") => {
                let now = |_: Caller<'_>, (): ()| Ok((Datetime { seconds: 0, nanoseconds: 0 },));
                linker.instance(name)?.func_wrap("now", now)?;
            }
            "wasi:clocks/monotonic-clock" if defines("now") => {
                linker.instance(name)?.func_wrap("now", |_: Caller<'_>, (): ()| Ok((0_u64,)))?;
            }
            "wasi:random/insecure-seed" if defines("insecure-seed") => {
                linker.instance(name)?.func_wrap("insecure-seed", |_: Caller<'_>, (): ()| Ok(((0_u64, 0_u64),)))?;
            }
            // The same seed, where Rust's library asks for bytes.
            "wasi:random/random" if defines("get-random-bytes") => {
                let zeros =
                    |_: Caller<'_>, (length,): (u64,)| Ok((vec![0_u8; usize::try_from(length.min(64)).unwrap_or_default()],));
                linker.instance(name)?.func_wrap("get-random-bytes", zeros)?;
            }
            _ => {}
        }
    }
    Ok(linker)
}

type Caller<'a> = StoreContextMut<'a, ()>;

/// `wasi:clocks/wall-clock.datetime`.
#[derive(wasmtime::component::ComponentType, wasmtime::component::Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

/// What the snapshot is read from.
struct State {
    store: Store<()>,
    instance: Instance,
}

impl State {
    fn call<R: Lift + 'static, T>(&mut self, interface: &str, function: &str, read: impl FnOnce(&Store<()>, R) -> T) -> T {
        let (_, interface) = self.instance.get_export(&mut self.store, None, interface).expect("the tool exports it");
        let (_, function) = self.instance.get_export(&mut self.store, Some(&interface), function).expect("the tool exports it");
        let function = self.instance.get_typed_func::<(), (R,)>(&mut self.store, function).expect("it has that type");
        let (returned,) = function.call(&mut self.store, ()).expect("it only reads");
        read(&self.store, returned)
    }
}

impl ComponentInstanceState for State {
    async fn call_func_ret_list_u8(&mut self, instance: &str, func: &str, contents: impl FnOnce(&[u8]) + Send) {
        self.call(instance, func, |store, bytes: WasmList<u8>| contents(bytes.as_le_slice(store)));
    }

    async fn call_func_ret_s32(&mut self, instance: &str, func: &str) -> i32 {
        self.call(instance, func, |_, value| value)
    }

    async fn call_func_ret_s64(&mut self, instance: &str, func: &str) -> i64 {
        self.call(instance, func, |_, value| value)
    }

    async fn call_func_ret_f32(&mut self, instance: &str, func: &str) -> u32 {
        self.call(instance, func, |_, value: f32| value.to_bits())
    }

    async fn call_func_ret_f64(&mut self, instance: &str, func: &str) -> u64 {
        self.call(instance, func, |_, value: f64| value.to_bits())
    }
}
