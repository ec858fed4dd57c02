//! The wasmtime engine: one for the whole process, with a thread that ticks its epochs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::Semaphore;
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::limits::{
    CORE_INSTANCES_PER_COMPONENT_MAX, EPOCH_TICK_MS, IDLE_TICK_MS, INSTANCES_MAX, MEMORIES_PER_COMPONENT_MAX,
    STEP_MEMORY_BYTES_CEILING, STEP_STACK_BYTES_MAX, STEP_TABLE_ELEMENTS_MAX, TABLES_PER_COMPONENT_MAX,
};

/// An engine and its ticker.
pub struct Engine {
    wasmtime: wasmtime::Engine,
    /// One for each instance that may be.
    instances: Arc<Semaphore>,
    stop: Arc<AtomicBool>,
    ticker: Option<JoinHandle<()>>,
}

impl Engine {
    /// Starts an engine.
    pub fn start() -> Result<Self, wasmtime::Error> {
        let wasmtime = wasmtime::Engine::new(&config())?;
        let stop = Arc::new(AtomicBool::new(false));
        let instances = Arc::new(Semaphore::new(INSTANCES_MAX as usize));
        let ticker = {
            let (wasmtime, instances, stop) = (wasmtime.clone(), instances.clone(), stop.clone());
            // A thread of its own: a computing guest must be interrupted although every async thread computes.
            std::thread::Builder::new().name("weft-epochs".into()).spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let is_idle = instances.available_permits() == INSTANCES_MAX as usize;
                    std::thread::sleep(Duration::from_millis(if is_idle { IDLE_TICK_MS } else { EPOCH_TICK_MS }));
                    wasmtime.increment_epoch();
                }
            })?
        };
        Ok(Self { wasmtime, instances, stop, ticker: Some(ticker) })
    }

    /// What every instance holds one permit of.
    pub(super) fn instances(&self) -> &Arc<Semaphore> {
        &self.instances
    }

    pub(super) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(ticker) = self.ticker.take() {
            let _ = ticker.join();
        }
    }
}

/// Compiles the same code as the host's engine does, and reserves nothing to run it in.
pub(super) fn compiler_config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(STEP_STACK_BYTES_MAX)
        .async_stack_size(2 * STEP_STACK_BYTES_MAX)
        // The contract has no async functions; without their bookkeeping a call is cheaper.
        .concurrency_support(false)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(20));
    config
}

fn config() -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCES_MAX)
        .total_stacks(INSTANCES_MAX)
        .total_core_instances(INSTANCES_MAX * 4)
        .total_memories(INSTANCES_MAX * 2)
        .total_tables(INSTANCES_MAX * 4)
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT_MAX)
        .max_memories_per_component(MEMORIES_PER_COMPONENT_MAX)
        .max_tables_per_component(TABLES_PER_COMPONENT_MAX)
        .max_memory_size(STEP_MEMORY_BYTES_CEILING)
        .table_elements(STEP_TABLE_ELEMENTS_MAX)
        .max_component_instance_size(8 * 1024 * 1024)
        .max_core_instance_size(8 * 1024 * 1024)
        // With the kernel's page-map scan only the pages that a guest wrote are reset, and they stay mapped for the next
        // one: half the cost of a fresh instance. Without it, keeping pages costs more than it saves.
        .pagemap_scan(Enabled::Auto);
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.linear_memory_keep_resident(4 * 1024 * 1024).table_keep_resident(64 * 1024);
    }
    let mut config = compiler_config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};

    use super::*;

    /// What decides whether code that one engine compiled is code of another.
    fn hash(config: &Config) -> u64 {
        let mut hasher = DefaultHasher::new();
        wasmtime::Engine::new(config).unwrap().precompile_compatibility_hash().hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn a_compiler_makes_code_for_the_host() {
        assert_eq!(hash(&config()), hash(&compiler_config()));
    }

    #[test]
    fn the_mitigations_of_spectre_are_on() {
        for flag in ["enable_heap_access_spectre_mitigation", "enable_table_access_spectre_mitigation"] {
            let with = |value: &str| {
                let mut config = compiler_config();
                #[expect(unsafe_code, reason = "nothing is compiled by it")]
                // SAFETY: the setting exists, and the engine only tells its hash.
                unsafe {
                    config.cranelift_flag_set(flag, value);
                }
                hash(&config)
            };
            assert_eq!(hash(&config()), with("true"), "{flag}");
            assert_ne!(hash(&config()), with("false"), "{flag}: nothing would show it");
        }
    }

    #[test]
    fn guests_share_no_memory_and_have_no_threads() {
        let engine = wasmtime::Engine::new(&config()).unwrap();
        for module in ["(memory 1 1 shared)", "(memory 1) (func (drop (i32.atomic.load (i32.const 0))))"] {
            let wasm = wat::parse_str(format!("(component (core module {module}))")).unwrap();
            let error = engine.precompile_component(&wasm).expect_err(module);
            assert!(format!("{error:#}").contains("threads"), "{error:#}");
        }
    }
}
