//! A shard, as others see it. Provisional bodies.
#![allow(
    missing_docs,
    clippy::unimplemented,
    clippy::unused_async,
    unused_variables,
    reason = "signatures first"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::words::*;
use crate::model::eventual::{Actor, DataType, Dot, Op, Reached, Shown, Vector};
use crate::model::{NamespaceId, NodeId};
use crate::runtime::Moment;

#[derive(Clone, Debug)]
pub struct Shard(Arc<()>);

/// What another node is known to have.
#[derive(Clone, Debug)]
pub struct Heard {
    pub vector: Arc<Vector>,
    pub at: Moment,
}

impl Shard {
    pub fn namespace(&self) -> NamespaceId {
        unimplemented!()
    }
    pub fn data_type(&self) -> DataType {
        unimplemented!()
    }
    pub fn actor(&self) -> Actor {
        unimplemented!()
    }
    pub fn members(&self) -> Arc<Vec<NodeId>> {
        unimplemented!()
    }
    pub async fn write(&self, request: WriteRequest) -> Result<Wrote, WriteError> {
        unimplemented!()
    }
    pub fn read(&self, key: &[u8]) -> Result<(Shown, Arc<Vector>), ReadError> {
        unimplemented!()
    }
    pub async fn page(&self, ask: PageAsk) -> Result<KeyPage, ReadError> {
        unimplemented!()
    }
    pub fn vector(&self) -> Arc<Vector> {
        unimplemented!()
    }
    pub fn vectors(&self) -> watch::Receiver<Arc<Vector>> {
        unimplemented!()
    }
    pub fn base(&self) -> Vector {
        unimplemented!()
    }
    pub fn log_first(&self) -> u64 {
        unimplemented!()
    }
    pub fn log_tail(&self) -> u64 {
        unimplemented!()
    }
    pub fn seek(&self, has: &Vector) -> Option<u64> {
        unimplemented!()
    }
    pub fn read_ops(&self, from: u64, bytes_max: usize) -> Result<Logged, LogGone> {
        unimplemented!()
    }
    pub async fn receive(&self, ops: Vec<Op>) -> Result<Received, Stop> {
        unimplemented!()
    }
    pub async fn snapshot_page(
        &self,
        from: Option<Bytes>,
        buckets: Option<Arc<BucketSet>>,
        bytes_max: usize,
    ) -> Result<SnapshotPage, ReadError> {
        unimplemented!()
    }
    pub fn heads(&self) -> Reached {
        unimplemented!()
    }
    pub async fn merge(&self, page: SnapshotPage) -> Result<(), Stop> {
        unimplemented!()
    }
    pub async fn reached(&self, v0: Vector, heads: Reached) -> Result<(), Stop> {
        unimplemented!()
    }
    pub fn digest(&self) -> Digest {
        unimplemented!()
    }
    pub async fn audit(&self) -> Result<Audit, ReadError> {
        unimplemented!()
    }
    pub fn heard(&self, node: NodeId, vector: Vector) {
        unimplemented!()
    }
    pub fn heard_vectors(&self) -> BTreeMap<NodeId, Heard> {
        unimplemented!()
    }
    pub async fn acknowledged(&self, dot: Dot, nodes: usize, deadline: Moment) -> bool {
        unimplemented!()
    }
    pub async fn covered(&self, vector: &Vector, deadline: Moment) -> bool {
        unimplemented!()
    }
}
