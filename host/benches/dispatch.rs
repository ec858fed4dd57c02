//! What it costs to dispatch one pure step into its component, in microseconds: median of many calls in one process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use weft::limits::STEP_WALL_MS_MAX;
use weft::plugin::exports::nodes;
use weft::plugin::{Cache, CallContext, Compiler, Engine, Factory, Instance, Kind, Plugin, Registry};

const ROUNDS: usize = 20_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(measure());
}

async fn measure() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = Engine::start().expect("an engine");
    let cache = Cache::open(folder.path(), [0; 32], &engine).expect("a cache");
    let factory = Factory::new(engine, weft::capability::link).expect("a factory");
    let registry = Arc::new(Registry::new(factory, Compiler::here(), cache));
    for (name, bytes) in weft::built_in::PLUGINS {
        let plugin = registry.examine((*bytes).into()).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        registry.add(plugin);
    }
    let flow = registry.resolve(Kind::Node, &"data".parse().expect("a type")).expect("run `cargo xtask build` first");

    let call = nodes::Call {
        node: "data".into(),
        workflow: "bench".into(),
        run: "01a2095b-fd56-70a5-a684-f2388faa3b99".into(),
        step: "total".into(),
        attempt: 1,
        idempotency_key: "0123456789abcdef0123456789abcdef".into(),
        now: "2026-11-23T17:01:57.037Z".into(),
        config: r#"{"fields":{"total":150}}"#.into(),
        more: None,
    };
    let instantiate = median(&registry, &flow, &call, 0).await;
    let fresh = median(&registry, &flow, &call, 1).await;
    let second = median(&registry, &flow, &call, 2).await;
    println!("fresh instance, made and dropped      {:7.2} µs", micros(instantiate));
    println!("one pure step, fresh instance included {:6.2} µs", micros(fresh));
    println!("each further step of the same run      {:6.2} µs", micros(second.saturating_sub(fresh)));
}

/// The median time to make an instance, call it so many times, and drop it.
async fn median(registry: &Registry, plugin: &Plugin, call: &nodes::Call, calls: usize) -> Duration {
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let mut instance: Instance = registry.instantiate(plugin).await.expect("an instance");
        for _ in 0..calls {
            let (answer, _) = instance.call_node(call.clone(), None, CallContext::default(), STEP_WALL_MS_MAX).await;
            answer.expect("an answer").expect("a result");
        }
        drop(instance);
        times.push(began.elapsed());
    }
    times.sort();
    times[times.len() / 2]
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
