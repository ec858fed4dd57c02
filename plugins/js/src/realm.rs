//! A realm: the language's objects, as one script sees them.

use rquickjs::context::EvalOptions;
use rquickjs::module::{Module, WriteOptions};
use rquickjs::promise::{Promise, PromiseState};
use rquickjs::{CatchResultExt as _, CaughtError, Context, Ctx, Function, Object, Persistent, Runtime, Value};

use crate::engine::Engine;
use crate::thrown::Thrown;

/// The language's objects, `console`, and what the libraries left.
pub struct Realm {
    context: Context,
    to_json: Persistent<Function<'static>>,
    thrown: Persistent<Function<'static>>,
    log: LogTo,
}

/// Where `console` writes: levels from 0 (debug) to 3 (error).
type LogTo = std::rc::Rc<std::cell::Cell<Option<fn(u8, &str)>>>;

/// The name of the user's text in stacks.
pub(crate) const USERS: &str = "script";

impl Realm {
    pub(crate) fn new(runtime: &Runtime) -> Self {
        let context = Context::full(runtime).expect("there is memory for a realm");
        let log = LogTo::default();
        let (to_json, thrown) = context.with(|ctx| {
            let write = log.clone();
            let write = move |level: u8, message: String| {
                if let Some(write) = write.get() {
                    write(level, &message);
                }
            };
            let make = || -> rquickjs::Result<_> {
                let write = Function::new(ctx.clone(), write)?;
                let random = Function::new(ctx.clone(), random)?.with_name("random")?;
                let prelude: Function = evaluate(&ctx, include_str!("prelude.js"), "prelude", true)?;
                let made: Object = prelude.call((write, random))?;
                let to_json: Function = made.get("toJson")?;
                let thrown: Function = made.get("thrown")?;
                Ok((Persistent::save(&ctx, to_json), Persistent::save(&ctx, thrown)))
            };
            make().catch(&ctx).map_err(|error| error.to_string()).expect("the prelude is our own")
        });
        Self { context, to_json, thrown, log }
    }

    /// Compiles a library of our own. Of its functions only what is carried out is kept, neither source nor lines.
    pub(crate) fn compile(&self, source: &str) -> Result<Vec<u8>, String> {
        let stripped = WriteOptions { strip_source: true, strip_debug: true, ..WriteOptions::default() };
        self.context.with(|ctx| {
            let compiled = Module::declare(ctx.clone(), "library", source).and_then(|module| module.write(stripped));
            compiled.catch(&ctx).map_err(|error| error.to_string())
        })
    }

    /// Runs a library that was compiled.
    pub(crate) fn load(&self, compiled: &[u8]) -> Result<(), String> {
        // What it makes of random numbers now is the same in every instance: they are no better than fixed ones.
        RANDOM.set(1);
        let loaded = self.context.with(|ctx| {
            let load = || {
                #[expect(unsafe_code, reason = "this engine, in another instance, wrote it when the plugin was built")]
                // SAFETY: the bytes are what this engine compiled.
                let module = unsafe { Module::load(ctx.clone(), compiled)? };
                module.eval()?.1.finish::<()>()
            };
            load().catch(&ctx).map_err(|error| error.to_string())
        });
        RANDOM.set(0);
        loaded
    }

    /// Sets where `console` writes, and global variables from JSON.
    pub fn set_up<'a>(&self, log: fn(u8, &str), globals: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<(), Thrown> {
        self.log.set(Some(log));
        self.with(|ctx| {
            let target = ctx.globals();
            for (name, json) in globals {
                target.set(name, ctx.json_parse(json)?)?;
            }
            Ok(())
        })
    }

    /// Reads the body of a function, without carrying it out.
    pub fn check(&self, body: &str) -> Result<(), Thrown> {
        self.with(|ctx| function(ctx, body).map(drop))
    }

    /// Carries out the body of an asynchronous function and gives what it returned, as JSON.
    pub fn run(&self, body: &str) -> Result<String, Thrown> {
        self.with(|ctx| {
            let returned: Value = function(ctx, body)?.call(())?;
            self.settled(ctx, returned)
        })?
    }

    /// Calls a function that a library left in the global object, with JSON, and gives what it returned, as JSON.
    pub fn call(&self, function: &str, arguments: &[&str]) -> Result<String, Thrown> {
        self.with(|ctx| {
            let function: Function = ctx.globals().get(function)?;
            let mut parsed = rquickjs::function::Args::new(ctx.clone(), arguments.len());
            for argument in arguments {
                parsed.push_arg(ctx.json_parse(*argument)?)?;
            }
            let returned: Value = function.call_arg(parsed)?;
            self.settled(ctx, returned)
        })?
    }

    /// The JSON of a value, or of what a promise becomes.
    fn settled<'js>(&self, ctx: &Ctx<'js>, value: Value<'js>) -> rquickjs::Result<Result<String, Thrown>> {
        let value = match Promise::from_value(value.clone()) {
            Err(_) => value,
            Ok(promise) => {
                let engine = Engine::get();
                while promise.state() == PromiseState::Pending {
                    if engine.is_late() {
                        return Ok(Err(Thrown::timed_out()));
                    }
                    if !ctx.execute_pending_job() {
                        return Ok(Err(Thrown::never_settled()));
                    }
                }
                promise.result().unwrap_or_else(|| Ok(Value::new_undefined(ctx.clone())))?
            }
        };
        let to_json = self.to_json.clone().restore(ctx)?;
        to_json.call((value,)).map(Ok)
    }

    fn with<T>(&self, work: impl FnOnce(&Ctx<'_>) -> rquickjs::Result<T>) -> Result<T, Thrown> {
        self.context.with(|ctx| work(&ctx).catch(&ctx).map_err(|error| self.read_thrown(&ctx, error)))
    }

    fn read_thrown<'js>(&self, ctx: &Ctx<'js>, error: CaughtError<'js>) -> Thrown {
        let value = match error {
            CaughtError::Exception(exception) => exception.into_value(),
            CaughtError::Value(value) => value,
            CaughtError::Error(error) => return Thrown::of_engine(&error.to_string()),
        };
        if value.is_null() && is_full() {
            Engine::get().use_reserve();
            return Thrown::of_engine("out of memory");
        }
        let describe = self.thrown.clone().restore(ctx).and_then(|thrown| thrown.call::<_, String>((value.clone(),)));
        let told = describe.or_else(|_| {
            // Without memory for that: what was thrown is let go of by now, and there is some again.
            let _ = ctx.catch();
            Engine::get().use_reserve();
            self.thrown.clone().restore(ctx)?.call((value,))
        });
        told.map_or_else(|error| Thrown::of_engine(&error.to_string()), |json| Thrown::read(&json))
    }
}

/// Whether there is much in the component's memory: then a thrown `null` is the engine's word that it has no more, not even for an error.
fn is_full() -> bool {
    #[cfg(target_family = "wasm")]
    return std::arch::wasm32::memory_size::<0>() * 64 > 32 * 1024;
    #[cfg(not(target_family = "wasm"))]
    false
}

/// The function with a body. The first line is ours; what is in it is on the lines after.
fn function<'js>(ctx: &Ctx<'js>, body: &str) -> rquickjs::Result<Function<'js>> {
    evaluate(ctx, &format!("(async function () {{\n{body}\n}})"), USERS, false)
}

fn evaluate<'js, T: rquickjs::FromJs<'js>>(ctx: &Ctx<'js>, source: &str, name: &str, strict: bool) -> rquickjs::Result<T> {
    let mut options = EvalOptions::default();
    options.strict = strict;
    options.filename = Some(name.into());
    ctx.eval_with_options(source, options)
}

thread_local! {
    static RANDOM: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// A number from 0 to 1. The seed is taken when it is first asked for: in the instance, not when the plugin is built.
fn random() -> f64 {
    RANDOM.with(|state| {
        if state.get() == 0 {
            state.set(getrandom::u64().unwrap_or(1) | 1);
        }
        // SplitMix64.
        let next = state.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        state.set(next);
        let mut mixed = (next ^ (next >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    })
}
