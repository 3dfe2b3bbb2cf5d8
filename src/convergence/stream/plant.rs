//! Operations that no node made: what another namespace held, planted in a new one.
//!
//! Why it exists: whoever copies a namespace to this side may die and be followed by another node that
//! copies anew. Operations of an actor that belongs to the copy, numbered in the order of keys, are the
//! same whoever makes them, and what is known is passed over. Promises: other nodes hear of them at
//! once; none is taken twice. Relies on its callers to plant the same things in the same order.

use super::exchange::Exchange;
use crate::convergence::words::Stop;
use crate::model::eventual::Op;

impl Exchange {
    /// Takes the next operations; returns when they are flushed here.
    ///
    /// # Errors
    ///
    /// When the shard has stopped, or something before them is missing.
    pub async fn plant(&self, ops: Vec<Op>) -> Result<(), Stop> {
        self.adopt(ops.iter().map(|op| op.dot.actor));
        let received = self.shard.receive(ops).await?;
        match received.early.first() {
            None => Ok(()),
            Some(op) => Err(Stop { reason: format!("something before {} is missing", op.dot) }),
        }
    }
}
