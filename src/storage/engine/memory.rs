//! An engine in memory: the double of sled in simulations and unit tests.
//!
//! Promises: the engine contract, deterministically. It forgets everything with its last handle,
//! which is exactly what a node must survive.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use parking_lot::RwLock;

use super::{Engine, EngineRow, Space};
use crate::storage::StorageError;

/// Rows in ordered maps.
#[derive(Debug, Default)]
pub struct MemoryEngine {
    spaces: RwLock<BTreeMap<Space, BTreeMap<Bytes, Bytes>>>,
}

impl Engine for MemoryEngine {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        Ok(self.spaces.read().get(&space).and_then(|rows| rows.get(key)).cloned())
    }

    fn insert(
        &self,
        space: Space,
        key: &[u8],
        value: &[u8],
    ) -> Result<Option<Bytes>, StorageError> {
        let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        Ok(self.spaces.write().entry(space).or_default().insert(key, value))
    }

    fn remove(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        Ok(self.spaces.write().get_mut(&space).and_then(|rows| rows.remove(key)))
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<EngineRow>, StorageError> {
        let from = Bytes::copy_from_slice(from);
        let spaces = self.spaces.read();
        let rows = spaces.get(&space).into_iter().flat_map(|rows| rows.range(from.clone()..));
        Ok(rows.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn scan_back(
        &self,
        space: Space,
        below: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<EngineRow>, StorageError> {
        let end =
            below.map_or(Bound::Unbounded, |key| Bound::Excluded(Bytes::copy_from_slice(key)));
        let spaces = self.spaces.read();
        let rows = spaces.get(&space).into_iter();
        let rows = rows.flat_map(|rows| rows.range((Bound::Unbounded, end.clone())).rev());
        Ok(rows.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn clear(&self, space: Space) -> Result<(), StorageError> {
        self.spaces.write().remove(&space);
        Ok(())
    }

    fn flush(&self) -> Result<(), StorageError> {
        Ok(())
    }

    fn disk_bytes(&self) -> u64 {
        0
    }

    fn close(&self) -> Result<(), StorageError> {
        Ok(())
    }
}
