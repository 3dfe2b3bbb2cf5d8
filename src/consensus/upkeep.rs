//! Checkpoints, so that the log can be purged.
//!
//! The live log of all groups together may grow to a budget; beyond it, the group that holds the
//! most is checkpointed, and what the durable checkpoint covers is purged but for a few entries. A
//! budget for the node, not for the group, keeps the log small whether few or many groups write. The
//! state's figures are published at the same pace, and it asks for checkpoints too, when the changes since the last one weigh much against it; and
//! each change of the catalog is checkpointed at once, so that a node knows its peers as soon as it
//! starts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use openraft::async_runtime::watch::WatchReceiver;

use super::groups::Groups;
use crate::model::GroupId;
use crate::runtime::limits::{
    CHECKPOINT_WAIT_MAX, EVENTUAL_GROUP_BASE, PURGE_WAIT_MAX, UPKEEP_TICK,
};
use crate::runtime::planted::{self, Bug};

/// Watches the log's size, for ever. `budget` is in bytes of live log.
pub async fn run(groups: Arc<Groups>, budget: u64) {
    let mut tick = tokio::time::interval(UPKEEP_TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut epoch = None;
    loop {
        tick.tick().await;
        let now = groups.catalog().borrow().as_ref().map(|catalog| catalog.epoch);
        if now != epoch && checkpoint(&groups, GroupId::SYSTEM).await {
            epoch = now;
        }
        for id in groups.state().checkpoints_due() {
            checkpoint(&groups, GroupId(id)).await;
        }
        if of_checkpoints() {
            for group in groups.all() {
                checkpoint(&groups, group.id()).await;
            }
        }
        shrink(&groups, budget).await;
        // To look at the state's figures is to publish them.
        groups.state().stats();
    }
}

/// Whether a planted bug is on that shows only where checkpoints are written.
fn of_checkpoints() -> bool {
    planted::active(Bug::SnapshotMissesLast)
        || planted::active(Bug::OnceNotInSnapshots)
        || planted::active(Bug::RemovedRowReappears)
}

/// Brings the node's live log below its budget, as far as one round over the groups can.
async fn shrink(groups: &Groups, budget: u64) {
    let mut visited = BTreeSet::new();
    while let Some(id) = fattest(groups, budget, &visited) {
        visited.insert(id);
        checkpoint(groups, id).await;
    }
    // Few and large entries: to keep the usual number for late followers keeps the log's weight too.
    let few = groups.timing().keep_entries / 16;
    for id in visited {
        if total(groups) <= budget {
            return;
        }
        purge(groups, id, few).await;
    }
}

/// Bytes of live log by group. Eventual namespaces cut their logs themselves, by bounds of their own.
fn live(groups: &Groups) -> BTreeMap<u64, u64> {
    let mut live = groups.log().stats().live_bytes;
    live.split_off(&EVENTUAL_GROUP_BASE);
    live
}

fn total(groups: &Groups) -> u64 {
    live(groups).values().sum()
}

/// The group with the most live log that was not visited, while the log exceeds its budget.
fn fattest(groups: &Groups, budget: u64, visited: &BTreeSet<GroupId>) -> Option<GroupId> {
    let live = live(groups);
    if live.values().sum::<u64>() <= budget {
        return None;
    }
    let open = live.iter().map(|(id, bytes)| (GroupId(*id), *bytes));
    let open = open.filter(|(id, _)| groups.group(*id).is_some() && !visited.contains(id));
    open.max_by_key(|(_, bytes)| *bytes).map(|(id, _)| id)
}

/// Checkpoints one group and waits for it; returns whether it is done.
async fn checkpoint(groups: &Groups, id: GroupId) -> bool {
    let Some(group) = groups.group(id) else { return false };
    let mut metrics = group.raft().data_metrics();
    let applied = metrics.borrow_watched().last_applied.map(|log_id| log_id.index);
    let Some(applied) = applied else { return false };
    if let Err(error) = group.raft().trigger().snapshot().await {
        tracing::error!(group = %id, %error, "the group has stopped");
        return false;
    }
    let written = async {
        loop {
            let snapshot = metrics.borrow_watched().snapshot.map(|log_id| log_id.index);
            if snapshot >= Some(applied) {
                return true;
            }
            if metrics.changed().await.is_err() {
                return false;
            }
        }
    };
    match tokio::time::timeout(CHECKPOINT_WAIT_MAX, written).await {
        Ok(true) => {}
        Ok(false) => return false,
        Err(_elapsed) => {
            tracing::warn!(group = %id, "a checkpoint takes long; it is looked at again later");
            return false;
        }
    }
    purge(groups, id, groups.timing().keep_entries).await
}

/// Cuts a group's log behind its checkpoint but for the last `keep` entries, for followers that are
/// late; returns when the cut is durable.
async fn purge(groups: &Groups, id: GroupId, keep: u64) -> bool {
    let Some(group) = groups.group(id) else { return false };
    let mut metrics = group.raft().data_metrics();
    let (snapshot, purged) = {
        let metrics = metrics.borrow_watched();
        (metrics.snapshot.map(|id| id.index), metrics.purged.map(|id| id.index))
    };
    let upto = snapshot.and_then(|index| index.checked_sub(keep));
    // openraft forbids a mark that moves backwards.
    let Some(upto) = upto.filter(|upto| Some(*upto) > purged) else { return true };
    if let Err(error) = group.raft().trigger().purge_log(upto).await {
        tracing::error!(group = %id, %error, "the group has stopped");
        return false;
    }
    let done = async {
        while metrics.borrow_watched().purged.map(|id| id.index) < Some(upto) {
            if metrics.changed().await.is_err() {
                return;
            }
        }
        groups.flush_log().await;
    };
    tokio::time::timeout(PURGE_WAIT_MAX, done).await.is_ok()
}
