//! Checkpoints, so that the log can be purged.
//!
//! The live log of all groups together may grow to a budget; beyond it, the group that holds the
//! most is checkpointed, and what the durable checkpoint covers is purged but for a few entries. A
//! budget for the node, not for the group, keeps the log small whether few or many groups write. The
//! state asks for checkpoints too, when the changes since the last one weigh much against it; and
//! each change of the catalog is checkpointed at once, so that a node knows its peers as soon as it
//! starts.

use std::sync::Arc;

use openraft::async_runtime::watch::WatchReceiver;

use super::groups::Groups;
use crate::model::GroupId;
use crate::runtime::limits::{CHECKPOINT_WAIT_MAX, UPKEEP_TICK};

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
        while let Some(id) = fattest(&groups, budget) {
            let before = live_bytes(&groups, id);
            if !checkpoint(&groups, id).await || live_bytes(&groups, id) >= before {
                break;
            }
        }
    }
}

/// The group with the most live log, when the node's log exceeds its budget.
fn fattest(groups: &Groups, budget: u64) -> Option<GroupId> {
    let live = groups.log().stats().live_bytes;
    if live.values().sum::<u64>() <= budget {
        return None;
    }
    let open = live.iter().filter(|(id, _)| groups.group(GroupId(**id)).is_some());
    open.max_by_key(|(_, bytes)| **bytes).map(|(id, _)| GroupId(*id))
}

fn live_bytes(groups: &Groups, id: GroupId) -> u64 {
    groups.log().stats().live_bytes.get(&id.0).copied().unwrap_or(0)
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
    let first = groups.log().state(id.0).first_index.unwrap_or(applied);
    let upto = applied.saturating_sub(kept(applied.saturating_sub(first), groups));
    if let Err(error) = group.raft().trigger().purge_log(upto).await {
        tracing::error!(group = %id, %error, "the group has stopped");
        return false;
    }
    true
}

/// How many entries stay behind a checkpoint of a log of this many, for followers that are late.
fn kept(entries: u64, groups: &Groups) -> u64 {
    let keep = groups.timing().keep_entries;
    // Few and large entries: to keep the usual number would keep the log's weight.
    if keep > entries / 2 { keep / 16 } else { keep }
}
