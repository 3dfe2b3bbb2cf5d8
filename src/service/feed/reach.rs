//! Having a question answered by some replica of its group.
//!
//! Promises: the replica here goes first, then those that are connected; only when every replica
//! that can be reached has said that its history is trimmed is it gone, and the others have a moment to
//! come back before; whoever could not answer is asked again until the deadline. Relies on `answer` here and there; questions have no effect, so repeating is harmless.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::consensus::channel::FEED;
use crate::model::{GroupId, NodeId};
use crate::peer::{Lane, Transport};
use crate::runtime::limits::{FEED_ATTEMPT_MAX, FEED_DOUBT_MAX, FEED_RETRY, FORWARD_MARGIN};
use crate::runtime::{Env, Moment};
use crate::service::wing::Wing;

use super::answer::answer;
use super::ask::{Answer, Ask, Asked, Declined};
use super::{FeedError, Reach};

/// The way through this node's wing and the corridor.
#[derive(Debug)]
pub(in crate::service) struct HallReach {
    pub(in crate::service) env: Env,
    pub(in crate::service) node: NodeId,
    pub(in crate::service) wing: Arc<dyn Wing>,
    pub(in crate::service) transport: Arc<dyn Transport>,
}

/// What one pass over the replicas came to, while none has answered.
#[derive(Debug, Default)]
struct Pass {
    floor: Option<u64>,
    reason: Option<String>,
    hint: Option<NodeId>,
}

impl HallReach {
    fn order(&self, group: GroupId, ask: &Ask, hint: Option<NodeId>) -> Vec<NodeId> {
        let catalog = self.wing.catalog().borrow().clone();
        let Some(catalog) = catalog else { return Vec::new() };
        let Some(entry) = catalog.groups.get(&group) else { return Vec::new() };
        let mut order: Vec<NodeId> = Vec::new();
        if matches!(ask, Ask::ReadIndex) {
            order.extend(hint.or_else(|| self.wing.leader(group)));
            order.push(entry.preferred);
        } else if self.wing.hosts(group) {
            order.push(self.node);
        }
        let connected = |node: &&NodeId| self.transport.is_connected(**node);
        // The one that should lead is least likely to lag.
        order.extend(Some(&entry.preferred).filter(connected));
        order.extend(entry.replicas.iter().filter(connected));
        order.extend(entry.replicas.iter());
        let mut seen = Vec::new();
        order.retain(|node| {
            let new = !seen.contains(node);
            seen.push(*node);
            new
        });
        order
    }

    async fn attempt(&self, node: NodeId, group: GroupId, ask: &Ask, patience: Duration) -> Answer {
        if node == self.node {
            let deadline = self.env.clock.now() + patience;
            return answer(&self.wing, &self.env, group, ask.clone(), deadline).await;
        }
        let inside = patience.saturating_sub(FORWARD_MARGIN.min(patience / 4));
        let patience_ms = u64::try_from(inside.as_millis()).unwrap_or(u64::MAX);
        let asked = Asked { group, patience_ms, ask: ask.clone() };
        match self.transport.call(node, FEED, Lane::Data, asked.encode(), patience).await {
            Ok(bytes) => Answer::decode(&bytes)
                .unwrap_or_else(|error| Answer::Declined(Declined::Failed(error.to_string()))),
            Err(error) => Answer::Declined(Declined::Failed(format!("node {node}: {error}"))),
        }
    }

    fn left(&self, deadline: Moment) -> Duration {
        deadline.since(self.env.clock.now())
    }
}

impl Pass {
    fn note(&mut self, node: NodeId, declined: Declined) {
        match declined {
            Declined::Gone { floor } => {
                self.floor = Some(self.floor.map_or(floor, |known| known.min(floor)));
            }
            Declined::NotHere => {}
            Declined::NotLeader(leader) => {
                self.hint = leader.or(self.hint);
                self.reason = Some(format!("node {node} does not lead it"));
            }
            Declined::Behind(at) => {
                self.reason = Some(format!("node {node} has only reached index {at}"));
            }
            Declined::Failed(reason) => self.reason = Some(reason),
        }
    }
}

#[async_trait]
impl Reach for HallReach {
    async fn ask(&self, group: GroupId, ask: Ask, deadline: Moment) -> Result<Answer, FeedError> {
        let waits = match &ask {
            Ask::Changes(changes) => Duration::from_millis(changes.wait_ms),
            Ask::ReadIndex | Ask::Page(_) | Ask::Count(_) => Duration::ZERO,
        };
        let mut hint = None;
        // The oldest floor that was heard of, and since when.
        let mut gone: Option<(u64, Moment)> = None;
        loop {
            let mut pass = Pass::default();
            for node in self.order(group, &ask, hint) {
                let left = self.left(deadline);
                if left.is_zero() {
                    break;
                }
                let patience = left.min(FEED_ATTEMPT_MAX + waits);
                match self.attempt(node, group, &ask, patience).await {
                    Answer::Declined(declined) => pass.note(node, declined),
                    answer => return Ok(answer),
                }
            }
            let out_of_time = self.left(deadline).is_zero() || self.env.tasks.is_stopping();
            let now = self.env.clock.now();
            if let Some(floor) = pass.floor {
                gone = Some(gone.map_or((floor, now), |(known, at)| (known.min(floor), at)));
            }
            if let Some((floor, since)) = gone {
                let all = pass.floor.is_some() && pass.reason.is_none();
                if all || out_of_time || now.since(since) >= FEED_DOUBT_MAX {
                    return Err(FeedError::Gone { group, floor, all });
                }
            }
            if out_of_time {
                let reason = pass.reason.unwrap_or_else(|| "no replica was found".to_owned());
                return Err(FeedError::Unavailable { group, reason });
            }
            // One that named the leader is taken at its word at once.
            if pass.hint.is_none() || pass.hint == hint {
                tokio::time::sleep(FEED_RETRY.min(self.left(deadline))).await;
            }
            hint = pass.hint;
        }
    }
}
