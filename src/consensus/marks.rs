//! Commit marks between nodes: what `freshness` needs to bound the age of local reads.
//!
//! Each node asks each other node, twice a second, for the commit marks of all groups that the other
//! leads: one small call per node pair, whatever the number of groups.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::Instant as _;
use openraft::async_runtime::watch::WatchReceiver;
use serde::{Deserialize, Serialize};

use super::channel::MARKS;
use super::codec;
use super::group::Group;
use super::groups::Groups;
use crate::model::{GroupId, NodeId};
use crate::peer::Lane;
use crate::runtime::limits::{MARKS_INTERVAL, RAFT_CALL_TIMEOUT_MIN};

/// A leader's word about one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitMark {
    /// The group.
    pub group: GroupId,
    /// The last committed entry.
    pub committed: u64,
    /// Microseconds since a quorum last confirmed this leader.
    pub age_us: u64,
}

/// The marks of all groups that this node leads.
pub fn own_marks(groups: &Groups) -> Vec<CommitMark> {
    let mut marks = Vec::new();
    for group in groups.all() {
        let Ok(leader) = group.raft().as_leader() else { continue };
        // A group with a single voter is confirmed by itself at any moment.
        let age_us = match leader.last_quorum_acked() {
            Some(acked) => micros(acked.elapsed()).min(quiet_for(groups, &group)),
            None if group.status().voters.len() == 1 => 0,
            None => continue,
        };
        let data = group.raft().data_metrics();
        let Some(committed) = data.borrow_watched().cluster_committed else { continue };
        // Until its first entry is committed, a new leader does not know how far the one before it
        // had committed: a quorum's word that it leads says nothing about that.
        if committed.leader_id != leader.to_committed_leader_id() {
            continue;
        }
        marks.push(CommitMark { group: group.id(), committed: committed.index, age_us });
    }
    marks
}

/// A quiet leader sends no heartbeats; what confirms it is that all others agreed to it. None of them
/// had then begun to write a vote for another, so none can have been elected before.
fn quiet_for(groups: &Groups, group: &Group) -> u64 {
    let now = groups.env().clock.now();
    let confirmed = groups.quiet().and_then(|quiet| quiet.confirmed(group.id(), group.view().vote));
    confirmed.map_or(u64::MAX, |at| micros(now.since(at)))
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Answers a peer that asks for our marks.
pub fn answer(groups: &Groups) -> Bytes {
    codec::encode(&own_marks(groups))
}

/// Asks one peer for its marks and notes them. A peer that does not answer is asked again later.
async fn ask(groups: &Groups, peer: NodeId) {
    let asked = groups.env().clock.now();
    let call = groups.transport().call(
        peer,
        MARKS,
        Lane::Control,
        Bytes::from_static(&[codec::VERSION]),
        RAFT_CALL_TIMEOUT_MIN * 4,
    );
    let Ok(answer) = call.await else { return };
    match codec::decode::<Vec<CommitMark>>("commit marks", &answer) {
        Ok(marks) => note(groups, &marks, asked),
        Err(error) => tracing::warn!(%peer, %error, "commit marks could not be read"),
    }
}

fn note(groups: &Groups, marks: &[CommitMark], asked: crate::runtime::Moment) {
    for mark in marks {
        if let Some(group) = groups.group(mark.group) {
            let moment = asked.0.saturating_sub(mark.age_us.saturating_mul(1000));
            group.freshness().mark(mark.committed, crate::runtime::Moment(moment));
        }
    }
}

/// Asks all peers, for ever.
pub async fn run(groups: Arc<Groups>) {
    let mut tick = tokio::time::interval(MARKS_INTERVAL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let now = groups.env().clock.now();
        note(&groups, &own_marks(&groups), now);
        let peers = groups.door().others();
        let asks = peers
            .into_iter()
            .filter(|peer| groups.transport().is_connected(*peer))
            .map(|peer| ask(&groups, peer));
        futures_util::future::join_all(asks).await;
    }
}
