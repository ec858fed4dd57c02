//! An engine that keeps nothing: for tests of what stands above.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};

use super::Error;
use super::kv::{Kv, Op, Order, Pair};

/// A map in memory.
#[derive(Default)]
pub struct MemoryKv(Mutex<BTreeMap<Vec<u8>, Vec<u8>>>);

impl Kv for MemoryKv {
    fn apply(&self, ops: Vec<Op>) -> Result<(), Error> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for op in ops {
            match op {
                Op::Put(key, value) => map.insert(key, value),
                Op::Remove(key) => map.remove(&key),
            };
        }
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned())
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, order: Order, limit: usize) -> Result<Vec<Pair>, Error> {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
        let inside = |(key, _): &(&Vec<u8>, &Vec<u8>)| key.starts_with(prefix);
        let first = Bound::Included(prefix.to_vec());
        let pairs = match order {
            Order::Ascending => {
                let from = after.map_or(first, |after| Bound::Excluded(after.to_vec()));
                map.range((from, Bound::Unbounded)).take_while(inside).take(limit).map(pair).collect()
            }
            Order::Descending => {
                let to = match after {
                    Some(after) => Bound::Excluded(after.to_vec()),
                    None => super::sled::end_of(prefix).map_or(Bound::Unbounded, Bound::Excluded),
                };
                map.range((first, to)).rev().take(limit).map(pair).collect()
            }
        };
        Ok(pairs)
    }
}
