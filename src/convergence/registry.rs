//! Provisional.
#![allow(missing_docs, clippy::unimplemented, unused_variables, reason = "signatures first")]
use super::Shard;
use crate::model::{NamespaceId, NodeId};
use tokio::sync::watch;
#[derive(Debug)]
pub struct Shards(());
impl Shards {
    pub fn get(&self, namespace: NamespaceId) -> Option<Shard> {
        unimplemented!()
    }
    pub fn all(&self) -> Vec<Shard> {
        unimplemented!()
    }
    pub fn changed(&self) -> watch::Receiver<u64> {
        unimplemented!()
    }
    pub fn clock_heard(&self, node: NodeId, wall_ms: u64) {
        unimplemented!()
    }
}
