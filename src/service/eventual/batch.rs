//! Many independent operations of an eventual namespace.
//!
//! Promises: operations on one key happen in the order given, each with its own outcome; with a once
//! key each has its own, derived from the request's and its number. Relies on the shard, which puts
//! what waits at the same time into one entry of its log.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::future::join_all;

use crate::model::eventual::Ask;
use crate::runtime::limits::BATCH_PORTION;
use crate::service::ask::Context;
use crate::service::error::{ErrorKind, ServiceError};

use super::{Held, Order, Space, SpaceWrote};

/// An operation.
#[derive(Clone, Debug)]
pub struct SpaceOp {
    /// Its place in the whole request.
    pub number: u64,
    /// The key.
    pub key: Bytes,
    /// What to do with it.
    pub step: SpaceStep,
}

/// What an operation does.
#[derive(Clone, Debug)]
pub enum SpaceStep {
    /// Reads.
    Get,
    /// Writes; and the bytes that tell it from another one under the same once key.
    Write(Order, Bytes),
}

/// What an operation came to.
#[derive(Clone, Debug)]
pub enum SpaceResult {
    /// It was read.
    Got(Held),
    /// It was written.
    Wrote(SpaceWrote),
    /// There was nothing to delete.
    Missing,
}

impl Space {
    /// Does a portion of at most [`BATCH_PORTION`] operations; the results stand in their order.
    pub async fn run(
        &self,
        ops: Vec<SpaceOp>,
        context: &Context,
    ) -> Vec<Result<SpaceResult, ServiceError>> {
        if ops.len() > BATCH_PORTION {
            let reason = format!("a portion has at most {BATCH_PORTION} operations");
            return vec![Err(ErrorKind::Invalid { reason }.into()); ops.len()];
        }
        let mut results = Vec::with_capacity(ops.len());
        let mut stage: Vec<SpaceOp> = Vec::new();
        let mut keys: BTreeSet<Bytes> = BTreeSet::new();
        for op in ops {
            if !keys.insert(op.key.clone()) {
                results.extend(self.stage(std::mem::take(&mut stage), context).await);
                keys = BTreeSet::from([op.key.clone()]);
            }
            stage.push(op);
        }
        results.extend(self.stage(stage, context).await);
        results
    }

    /// All at once: no key stands twice.
    async fn stage(
        &self,
        ops: Vec<SpaceOp>,
        context: &Context,
    ) -> Vec<Result<SpaceResult, ServiceError>> {
        join_all(ops.into_iter().map(|op| self.one(op, context))).await
    }

    async fn one(&self, op: SpaceOp, context: &Context) -> Result<SpaceResult, ServiceError> {
        let SpaceOp { number, key, step } = op;
        match step {
            SpaceStep::Get => self.get(&key, None, context).await.map(SpaceResult::Got),
            SpaceStep::Write(order, content) => {
                let once = context.once.clone();
                let once = once.map(|once| once.part("op", number).of_content(&content));
                let context = Context { once, ..context.clone() };
                let wrote = match order.ask {
                    Ask::Delete => self.delete(key, order, &context).await?,
                    _ => Some(self.write(key, order, &context).await?),
                };
                Ok(wrote.map_or(SpaceResult::Missing, SpaceResult::Wrote))
            }
        }
    }
}
