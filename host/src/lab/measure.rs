//! What calls of a plugin cost here. Printed, never judged: machines differ.

use std::time::Instant;

use serde::Serialize;

use super::bench::Bench;
use super::case::{Case, CaseError};
use super::example::example;
use super::step::Prepared;
use crate::limits::MEASURED_CALLS;
use crate::plugin::{CallError, Instance, Kind, NodeType};

/// What calls cost: of several the one in the middle.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Measured {
    /// Making the component ready: checking, compiling, asking who it is. Once, when it is added.
    pub load_ms: u64,
    /// A fresh instance and its first call.
    pub cold_us: u64,
    /// A call of an instance that was called before.
    pub warm_us: u64,
    /// Which call: `execute` of a node type, or `describe`.
    pub call: String,
    /// Memory of an instance before it does anything.
    pub memory_bytes: u64,
}

impl Bench {
    /// Measures.
    pub(super) async fn measure(&self) -> Result<Measured, CaseError> {
        let mut rested = self.instance().await?;
        let memory_bytes = rested.observed().used.memory_bytes;
        drop(rested);
        let node = self.plugin().description.nodes.iter().find_map(|node| Some((node, example(&node.config_schema)?)));
        let (mut cold, mut warm) = (Vec::new(), Vec::new());
        let mut call = "describe".to_owned();
        if let Some((node, config)) = node {
            self.measure_node(node, Case { config, unchecked: true, ..Case::default() }, &mut cold, &mut warm).await?;
            call = format!("execute of {}", node.name);
        }
        if warm.is_empty() {
            // Without a node that answers there is still a question that each plugin does.
            cold.clear();
            self.measure_describe(&mut cold, &mut warm).await?;
            call = "describe".into();
        }
        Ok(Measured { load_ms: self.loaded_ms, cold_us: middle(cold), warm_us: middle(warm), call, memory_bytes })
    }

    async fn measure_node(&self, node: &NodeType, case: Case, cold: &mut Vec<u64>, warm: &mut Vec<u64>) -> Result<(), CaseError> {
        let Ok(prepared) = self.prepare(&case, Kind::Node, &node.name).await? else { return Ok(()) };
        for _ in 0..MEASURED_CALLS {
            let began = Instant::now();
            let mut instance = self.instance().await?;
            if !self.execute(&mut instance, &prepared, node).await {
                return Ok(());
            }
            cold.push(micros(began));
            let began = Instant::now();
            if !self.execute(&mut instance, &prepared, node).await {
                return Ok(());
            }
            warm.push(micros(began));
        }
        Ok(())
    }

    /// Whether it answered.
    async fn execute(&self, instance: &mut Instance, prepared: &Prepared, node: &NodeType) -> bool {
        let (call, context) = self.call_of(prepared, node, 0, prepared.now_ms);
        let limit_ms = instance.limits().wall_ms;
        instance.call_node(call, None, context, limit_ms).await.0.is_ok()
    }

    async fn measure_describe(&self, cold: &mut Vec<u64>, warm: &mut Vec<u64>) -> Result<(), CallError> {
        for _ in 0..MEASURED_CALLS {
            let began = Instant::now();
            let mut instance = self.instance().await?;
            let _ = instance.describe().await?;
            cold.push(micros(began));
            let began = Instant::now();
            let _ = instance.describe().await?;
            warm.push(micros(began));
        }
        Ok(())
    }
}

fn micros(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn middle(mut times: Vec<u64>) -> u64 {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or(0)
}
