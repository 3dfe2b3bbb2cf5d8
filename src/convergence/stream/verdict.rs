//! Whether the replicas of a namespace are the same, and if not, what is between them.
//!
//! Why it exists: "eventually" is no answer. All members are asked what they have and what that comes
//! to. Promises: `Converged` means that all who answered had the same operations and the same rows;
//! `Diverged` that two had the same operations and not the same rows, which must never be; who did
//! not answer is named. Relies on digests that are taken together with their vectors.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::exchange::Exchange;
use super::follow::Streams;
use super::inbox::CONVERGE_CALL;
use super::message::State;
use crate::convergence::decode_op;
use crate::model::codec;
use crate::model::eventual::Vector;
use crate::model::{NamespaceId, NodeId};
use crate::peer::{Lane, Refused};
use crate::runtime::Moment;
use crate::runtime::limits::{CONVERGENCE_CALL_MAX, OLDEST_LOOK_BYTES, STREAM_BATCH_BYTES};

/// What a node asks another one. New questions go to the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Question {
    /// What time it is.
    Clock,
    /// What it has.
    State {
        /// Of which namespace.
        namespace: NamespaceId,
    },
    /// The sums of its buckets.
    Buckets {
        /// Of which namespace.
        namespace: NamespaceId,
    },
    /// How old the oldest operation is that it has and others lack.
    Oldest {
        /// Of which namespace.
        namespace: NamespaceId,
        /// What those others have.
        vectors: Vec<Vector>,
    },
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Convergence {
    /// In one word.
    pub verdict: Verdict,
    /// Every member.
    pub members: Vec<MemberState>,
    /// Who lacks how much of what whom has; only pairs that do.
    pub lags: Vec<Lag>,
    /// Buckets of keys in which replicas differ though they know the same.
    pub buckets: BTreeSet<u16>,
}

/// How the members that answered stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They have the same.
    Converged,
    /// Some lack what others have.
    Lagging,
    /// Some differ though they know the same. This must never be.
    Diverged,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberState {
    /// Which node.
    pub node: NodeId,
    /// What it has; `None`: it did not answer.
    pub vector: Option<Vector>,
    /// What that comes to: rows, and losses; `None` also in a state sync.
    pub root: Option<(u128, u128)>,
}

/// What one member lacks of what another one has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lag {
    /// Who has it.
    pub from: NodeId,
    /// Who lacks it.
    pub to: NodeId,
    /// How many operations.
    pub missing: u64,
    /// How old the oldest of them is; `None`: it is no more in the log.
    pub age: Option<Duration>,
}

impl Streams {
    /// Asks every member of a namespace what it has. `None`: the namespace is not here.
    pub async fn convergence(
        &self,
        namespace: NamespaceId,
        deadline: Moment,
    ) -> Option<Convergence> {
        let exchange = self.exchange(namespace)?;
        let others: Vec<NodeId> = self.others().into_iter().collect();
        let asked = others.iter().map(|&node| async move {
            (node, self.ask::<State>(node, &Question::State { namespace }, deadline).await)
        });
        let mut states: BTreeMap<NodeId, Option<State>> =
            join_all(asked).await.into_iter().collect();
        states.insert(self.me(), Some(exchange.state()));
        let known: Vec<(NodeId, &State)> =
            states.iter().filter_map(|(&node, state)| Some((node, state.as_ref()?))).collect();
        let lags = self.lags(namespace, &exchange, &known, deadline).await;
        let differing = differing(&known);
        let mut buckets = BTreeSet::new();
        for (one, other) in &differing {
            let (one, other) = tokio::join!(
                self.buckets(&exchange, *one, deadline),
                self.buckets(&exchange, *other, deadline)
            );
            if let (Some(one), Some(other)) = (one, other) {
                buckets.extend((0..).zip(one.iter().zip(&other)).filter_map(
                    |(bucket, (one, other)): (u16, _)| (one != other).then_some(bucket),
                ));
            }
        }
        let verdict = match (differing.is_empty(), lags.is_empty()) {
            (false, _) => Verdict::Diverged,
            (true, false) => Verdict::Lagging,
            (true, true) => Verdict::Converged,
        };
        let members = states.into_iter().map(|(node, state)| MemberState {
            node,
            root: state.as_ref().and_then(|state| state.root),
            vector: state.map(|state| state.vector),
        });
        Some(Convergence { verdict, members: members.collect(), lags, buckets })
    }

    async fn lags(
        &self,
        namespace: NamespaceId,
        exchange: &Exchange,
        known: &[(NodeId, &State)],
        deadline: Moment,
    ) -> Vec<Lag> {
        let asked = known.iter().map(|(from, has)| async move {
            let lacking: Vec<_> =
                known.iter().filter(|(_, lacks)| !lacks.vector.includes(&has.vector)).collect();
            if lacking.is_empty() {
                return Vec::new();
            }
            let vectors: Vec<Vector> = lacking.iter().map(|(_, l)| l.vector.clone()).collect();
            let ages = if *from == self.me() {
                Some(oldest(exchange, &vectors).await)
            } else {
                let question = Question::Oldest { namespace, vectors };
                self.ask::<Vec<Option<u64>>>(*from, &question, deadline).await
            };
            let ages = ages.unwrap_or_default().into_iter().chain(std::iter::repeat(None));
            let lag = |((to, lacks), age): (&&(NodeId, &State), Option<u64>)| Lag {
                from: *from,
                to: *to,
                missing: lacks.vector.missing(&has.vector),
                age: age.map(Duration::from_millis),
            };
            lacking.iter().zip(ages).map(lag).collect()
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    async fn buckets(
        &self,
        exchange: &Exchange,
        node: NodeId,
        deadline: Moment,
    ) -> Option<Vec<u128>> {
        if node == self.me() {
            return Some(buckets(exchange));
        }
        let namespace = exchange.shard.namespace();
        self.ask(node, &Question::Buckets { namespace }, deadline).await
    }

    async fn ask<A: DeserializeOwned>(
        &self,
        node: NodeId,
        question: &Question,
        deadline: Moment,
    ) -> Option<A> {
        let left = deadline.since(self.env().clock.now()).min(CONVERGENCE_CALL_MAX);
        let body = codec::seal(question, &[]);
        let asked = self.transport().call(node, CONVERGE_CALL, Lane::Data, body, left);
        let answer = asked.await.ok()?;
        codec::open("answer about convergence", &answer).ok().map(|(answer, _)| answer)
    }
}

/// One pair of members for each two kinds of rows that stand for the same operations.
fn differing(known: &[(NodeId, &State)]) -> Vec<(NodeId, NodeId)> {
    let mut found = Vec::new();
    for (index, (node, state)) in known.iter().enumerate() {
        let first = known.iter().take(index).find(|(_, other)| {
            other.vector == state.vector
                && other.root.is_some()
                && state.root.is_some()
                && other.root != state.root
        });
        found.extend(first.map(|(first, _)| (*first, *node)));
    }
    found
}

fn here(streams: &Streams, namespace: NamespaceId) -> Result<Arc<Exchange>, Refused> {
    streams
        .exchange(namespace)
        .ok_or_else(|| Refused::new(format!("namespace {namespace} is not here")))
}

/// What this node has.
pub(super) fn answer_state(streams: &Streams, namespace: NamespaceId) -> Result<Bytes, Refused> {
    Ok(codec::seal(&here(streams, namespace)?.state(), &[]))
}

/// The sums of this node's buckets.
pub(super) fn answer_buckets(streams: &Streams, namespace: NamespaceId) -> Result<Bytes, Refused> {
    let exchange = here(streams, namespace)?;
    Ok(codec::seal(&buckets(&exchange), &[]))
}

/// How old the oldest operation is that each of these lacks.
pub(super) async fn answer_oldest(
    streams: &Streams,
    namespace: NamespaceId,
    vectors: &[Vector],
) -> Result<Bytes, Refused> {
    let exchange = here(streams, namespace)?;
    Ok(codec::seal(&oldest(&exchange, vectors).await, &[]))
}

fn buckets(exchange: &Exchange) -> Vec<u128> {
    let digest = exchange.shard.digest();
    let both = digest.buckets.iter().zip(digest.losses.iter());
    both.map(|(rows, losses)| rows.rotate_left(1) ^ losses).collect()
}

async fn oldest(exchange: &Exchange, vectors: &[Vector]) -> Vec<Option<u64>> {
    let wall_ms = exchange.env.clock.wall_ms();
    let mut ages = Vec::with_capacity(vectors.len());
    for vector in vectors {
        let stamp = oldest_beyond(exchange, vector);
        ages.push(stamp.map(|stamp| wall_ms.saturating_sub(stamp)));
        tokio::task::yield_now().await;
    }
    ages
}

/// When the first operation in our log was written that is not covered.
fn oldest_beyond(exchange: &Exchange, vector: &Vector) -> Option<u64> {
    let shard = &exchange.shard;
    let mut from = shard.seek(vector)?;
    let mut looked = 0;
    while looked < OLDEST_LOOK_BYTES && from <= shard.log_tail() {
        let part = shard.read_ops(from, STREAM_BATCH_BYTES).ok()?;
        if let Some(op) = part.ops.iter().find(|op| !vector.covers(op.dot)) {
            return decode_op(&op.bytes).ok().map(|op| op.hlc.ms());
        }
        if part.next <= from {
            break;
        }
        looked += STREAM_BATCH_BYTES;
        from = part.next;
    }
    None
}
