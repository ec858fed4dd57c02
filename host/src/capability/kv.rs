//! `kv`: small state of a plugin's own, by workflow.

use super::{charge, fault, services};
use crate::limits::{KV_KEY_BYTES_MAX, KV_VALUE_BYTES_MAX};
use crate::plugin::Guest;
use crate::plugin::contract::kv;
use crate::plugin::contract::types::Fault;
use crate::run::KvKey;

impl kv::Host for Guest {
    fn get(&mut self, key: String) -> Result<Option<Vec<u8>>, Fault> {
        let key = begin(self, key)?;
        let staged = &mut self.call.effects.staged;
        if let Some(written) = staged.kv_writes.get(&key) {
            return Ok(written.as_ref().map(|value| value.to_vec()));
        }
        if let Some(written) = self.call.around.kv_writes.get(&key).cloned() {
            staged.kv_reads_around.insert(key, written.clone());
            return Ok(written.map(|value| value.to_vec()));
        }
        let (seen, value) = services(&self.call)?.kv(&key)?;
        if !self.call.effects.staged.kv_reads.contains_key(&key) {
            self.call.stage(seen.as_ref().map_or(0, Vec::len), 0)?;
        }
        // The first reading counts: if the value changes meanwhile, the commit is refused and the call made again.
        self.call.effects.staged.kv_reads.entry(key).or_insert(seen);
        Ok(value.map(|value| value.to_vec()))
    }

    fn set(&mut self, key: String, value: Vec<u8>) -> Result<(), Fault> {
        let key = begin(self, key)?;
        if value.len() > KV_VALUE_BYTES_MAX {
            return Err(fault("too-large", format!("{} bytes; a value has at most {KV_VALUE_BYTES_MAX}", value.len())));
        }
        let before = self.call.effects.staged.kv_writes.get(&key).and_then(Option::as_ref).map_or(0, bytes::Bytes::len);
        self.call.stage(value.len(), before)?;
        self.call.effects.staged.kv_writes.insert(key, Some(value.into()));
        Ok(())
    }

    fn remove(&mut self, key: String) -> Result<(), Fault> {
        let key = begin(self, key)?;
        self.call.effects.staged.kv_writes.insert(key, None);
        Ok(())
    }
}

fn begin(guest: &mut Guest, key: String) -> Result<KvKey, Fault> {
    guest.call.used.host_calls += 1;
    services(&guest.call)?;
    guest.call.grants.check_kv()?;
    let max = guest.limits().kv_calls;
    charge(&mut guest.call.kv_calls, max, "kv")?;
    if key.is_empty() || key.len() > KV_KEY_BYTES_MAX {
        return Err(fault("invalid", format!("a key has 1 to {KV_KEY_BYTES_MAX} bytes, not {}", key.len())));
    }
    let workflow = guest.call.workflow.clone().ok_or_else(|| fault("invalid", "this call is for no workflow"))?;
    Ok(KvKey { plugin: (*guest.call.plugin).into(), workflow, key: key.into() })
}
