//! The cut: nobody writes to the old namespace any more, and what anybody wrote is known.
//!
//! ```text
//!   eventual      every node closes its replica, durably, and says what it has; what all of them have
//!                 together is waited for here
//!   linearizable  every group that can hold its keys takes nothing that was routed before the freeze
//! ```
//!
//! Why it exists: a write that was acknowledged must be among what is copied. Promises: once
//! [`Cut::close`] has returned, every write of the namespace that was or will ever be acknowledged is
//! in what is read here. A node that does not answer is named, and waited for: what it had
//! acknowledged is nowhere else perhaps. Relies on `convergence::gate` for what survives a crash of a
//! node, and on `floors`.

use futures_util::future::join_all;

use crate::consensus::channel::SWITCH;
use crate::convergence::{Passage, Shard};
use crate::model::eventual::{Gate, Vector};
use crate::model::{NamespaceId, NodeId};
use crate::peer::Lane;
use crate::placement::{Catalog, Mode, NamespaceEntry};
use crate::runtime::limits::{SWITCH_CALL_MAX, SWITCH_STEP_MAX};
use crate::service::floors::holders_of;
use crate::service::pursue::until;
use crate::service::{Context, Hall};

use super::Trouble;
use super::word::{Asked, Said};

/// Whom to close, and for which job.
pub(super) struct Cut<'a> {
    pub(super) hall: &'a Hall,
    pub(super) catalog: &'a Catalog,
    /// What is left.
    pub(super) from: &'a NamespaceEntry,
    /// The epoch as of which it is closed.
    pub(super) epoch: u64,
    /// Whether nothing is read there any more either.
    pub(super) sealed: bool,
}

impl Cut<'_> {
    /// Closes the old namespace everywhere, and waits until all of it is here.
    pub(super) async fn close(&self) -> Result<(), Trouble> {
        let Self { hall, catalog, from, epoch, sealed } = *self;
        if from.mode == Mode::Linearizable {
            let context = context(hall);
            return Ok(hall.raise(holders_of(catalog, from), epoch, &context).await?);
        }
        let asked = Asked::Close { namespace: from.id, epoch, sealed };
        let vector = all_say(hall, catalog, &asked, "has not closed it yet").await?;
        let shard = shard(hall, from.id)?;
        let deadline = hall.env.clock.now() + SWITCH_CALL_MAX;
        if shard.covered(&vector, deadline).await {
            return Ok(());
        }
        let missing = shard.vector().missing(&vector);
        let here = hall.node;
        Err(Trouble::Wait(format!("node {here} has not heard of {missing} writes of others yet")))
    }
}

/// Waits until every node has all of this.
pub(super) async fn everywhere(
    hall: &Hall,
    catalog: &Catalog,
    namespace: NamespaceId,
    vector: &Vector,
) -> Result<(), Trouble> {
    let asked = Asked::Has { namespace, vector: vector.clone() };
    all_say(hall, catalog, &asked, "does not have the copy yet").await.map(drop)
}

pub(super) fn context(hall: &Hall) -> Context {
    Context::new(hall.env.clock.now() + SWITCH_STEP_MAX, "switch")
}

pub(super) fn shard(hall: &Hall, namespace: NamespaceId) -> Result<Shard, Trouble> {
    hall.eventual.shard(namespace).ok_or_else(|| Trouble::wait("it is not open on this node yet"))
}

/// Asks every node of the cluster; what all of them have together.
async fn all_say(
    hall: &Hall,
    catalog: &Catalog,
    asked: &Asked,
    lacks: &str,
) -> Result<Vector, Trouble> {
    let ask = |node: NodeId| async move {
        let said = if node == hall.node {
            answer(hall, asked.clone()).await
        } else {
            pass(hall, node, asked).await
        };
        (node, said)
    };
    let nodes = catalog.present_nodes().map(|(node, _)| ask(node));
    let (mut all, mut missing) = (Vector::default(), Vec::new());
    for (node, said) in join_all(nodes).await {
        match said {
            Said::Has(vector) => all.join(&vector),
            Said::Not(reason) => missing.push(format!("node {node} {lacks}: {reason}")),
        }
    }
    if missing.is_empty() { Ok(all) } else { Err(Trouble::Wait(missing.join("; "))) }
}

async fn pass(hall: &Hall, node: NodeId, asked: &Asked) -> Said {
    let patience = SWITCH_CALL_MAX;
    let call = hall.transport.call(node, SWITCH, Lane::Data, asked.encode(), patience);
    match tokio::time::timeout(patience, call).await {
        Ok(Ok(bytes)) => Said::decode(&bytes).unwrap_or_else(|error| Said::Not(error.to_string())),
        Ok(Err(error)) => Said::Not(error.to_string()),
        Err(_elapsed) => Said::Not("it does not answer".to_owned()),
    }
}

/// What this node says to whoever drives a switch.
pub(super) async fn answer(hall: &Hall, asked: Asked) -> Said {
    // Earlier than the asker gives up, so that it hears why.
    let patience = SWITCH_CALL_MAX * 3 / 4;
    let said = async {
        match asked {
            Asked::Close { namespace, epoch, sealed } => {
                close(hall, namespace, Gate { epoch, sealed }).await
            }
            Asked::Has { namespace, vector } => has(hall, namespace, &vector).await,
        }
    };
    match tokio::time::timeout(patience, said).await {
        Ok(said) => said,
        Err(_elapsed) => Said::Not("not in time".to_owned()),
    }
}

async fn close(hall: &Hall, namespace: NamespaceId, gate: Gate) -> Said {
    let shard = open(hall, namespace).await;
    // The shard must go by a catalog that closes it, before it is written down that it is closed.
    let mut changes = hall.eventual.changed();
    while shard.part().epoch < gate.epoch {
        if changes.changed().await.is_err() {
            return Said::Not("the node is stopping".to_owned());
        }
    }
    let closed = match shard.passage() {
        Passage::Open => false,
        Passage::Frozen => !gate.sealed,
        Passage::Sealed => true,
    };
    if !closed {
        return Said::Not("by its catalog the switch was given up".to_owned());
    }
    match shard.close_gate(gate).await {
        Ok(()) => Said::Has((*shard.vector()).clone()),
        Err(stop) => Said::Not(stop.to_string()),
    }
}

async fn has(hall: &Hall, namespace: NamespaceId, vector: &Vector) -> Said {
    let shard = open(hall, namespace).await;
    until(shard.vectors(), |seen| seen.includes(vector)).await;
    Said::Has((*shard.vector()).clone())
}

/// The shard, once it is open here.
async fn open(hall: &Hall, namespace: NamespaceId) -> Shard {
    let mut changes = hall.eventual.changed();
    loop {
        if let Some(shard) = hall.eventual.shard(namespace) {
            return shard;
        }
        if changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
