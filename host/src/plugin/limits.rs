//! What an operator lets a plugin take, where that differs from what every plugin may.

use serde::{Deserialize, Serialize};

use crate::limits::{
    BREAKS_IN_A_ROW_MAX, HTTP_CALLS_MAX, KV_CALLS_MAX, STEP_CPU_MS_CEILING, STEP_CPU_MS_MAX, STEP_MEMORY_BYTES_CEILING,
    STEP_MEMORY_BYTES_MAX, STEP_WALL_MS_CEILING, STEP_WALL_MS_MAX,
};

/// What a plugin may take. Each member stands for itself; one that is missing is as for every plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory of one instance, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u32>,
    /// Computing in one call, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u32>,
    /// How long one call takes, waiting included, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_ms: Option<u32>,
    /// Requests to servers outside in one call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_calls: Option<u32>,
    /// Requests for values of its own in one call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_calls: Option<u32>,
    /// Calls that break off or overrun one after the other before the version is put in quarantine; 0: it never is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaks_in_a_row: Option<u32>,
    /// Computing in an hour, in milliseconds; none: as much as there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ms_per_hour: Option<u32>,
    /// Requests to servers outside in an hour; none: as many as it sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_calls_per_hour: Option<u32>,
    /// KiB sent to servers outside and received from them in an hour; none: as much as there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_kib_per_hour: Option<u32>,
}

/// What one call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// Memory, in bytes.
    pub memory_bytes: usize,
    /// Computing, in milliseconds.
    pub cpu_ms: u64,
    /// Computing and waiting, in milliseconds.
    pub wall_ms: u64,
    /// Requests to servers outside.
    pub http_calls: u32,
    /// Requests for values of its own.
    pub kv_calls: u32,
}

impl Default for CallLimits {
    fn default() -> Self {
        Limits::default().of_call()
    }
}

impl Limits {
    /// Whether they say nothing.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// What one call may take.
    pub fn of_call(&self) -> CallLimits {
        let memory_bytes = self.memory_mib.map_or(STEP_MEMORY_BYTES_MAX, |mib| mib as usize * 1024 * 1024);
        CallLimits {
            memory_bytes: memory_bytes.min(STEP_MEMORY_BYTES_CEILING),
            cpu_ms: self.cpu_ms.map_or(STEP_CPU_MS_MAX, u64::from),
            wall_ms: self.wall_ms.map_or(STEP_WALL_MS_MAX, u64::from),
            http_calls: self.http_calls.unwrap_or(HTTP_CALLS_MAX),
            kv_calls: self.kv_calls.unwrap_or(KV_CALLS_MAX),
        }
    }

    /// Calls that break one after the other before a version is put in quarantine.
    pub fn breaks_in_a_row(&self) -> u32 {
        self.breaks_in_a_row.unwrap_or(BREAKS_IN_A_ROW_MAX)
    }

    /// Everything that cannot be, one sentence each.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |name: &str, value: Option<u32>, min: u32, max: u64| {
            if let Some(value) = value.filter(|value| *value < min || u64::from(*value) > max) {
                problems.push(format!("`{name}` is {value}; it is {min} to {max}"));
            }
        };
        check("memory_mib", self.memory_mib, 1, (STEP_MEMORY_BYTES_CEILING / 1024 / 1024) as u64);
        check("cpu_ms", self.cpu_ms, 10, STEP_CPU_MS_CEILING);
        check("wall_ms", self.wall_ms, 10, STEP_WALL_MS_CEILING);
        check("http_calls", self.http_calls, 0, 10_000);
        check("kv_calls", self.kv_calls, 0, 100_000);
        check("breaks_in_a_row", self.breaks_in_a_row, 0, 1_000_000);
        problems
    }
}
