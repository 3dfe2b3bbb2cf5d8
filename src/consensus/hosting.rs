//! Which groups run on this node: those that the catalog places here, and no others.
//!
//! A group's founders start it with the same members, the preferred one at once and the others only
//! if it stays silent; whoever leads a group that owns no slots yet proposes the catalog's ranges as
//! its first command. A replica that the catalog no longer places here is stopped and freed.

use std::collections::BTreeSet;
use std::sync::Arc;

use openraft::EmptyNode;
use openraft::async_runtime::watch::WatchReceiver;

use super::group::Group;
use super::groups::{Groups, OpenError};
use super::identity::Charter;
use crate::model::{self, Command, GroupId, NodeId};
use crate::placement::{Catalog, GroupEntry, NodeState};
use crate::runtime::causes;
use crate::runtime::clock::Moment;
use crate::runtime::limits::{CATALOG_PROPOSE_MAX, HOSTING_REST, HOSTING_TICK};

/// Opens the system group; the founders start it.
///
/// # Errors
///
/// When it cannot be opened.
pub async fn open_system(groups: &Groups, charter: &Charter) -> Result<(), OpenError> {
    let system = groups.open(GroupId::SYSTEM).await?;
    let node = groups.node();
    let is_first = charter.members.first().is_some_and(|m| m.node == node);
    if is_first && charter.is_founders() && is_blank(&system) {
        initialize(&system, charter.members.iter().map(|m| m.node)).await;
    }
    Ok(())
}

/// Keeps what runs here in step with the catalog, for ever.
pub async fn run(groups: Arc<Groups>) {
    let mut catalog = groups.catalog();
    let started = groups.env().clock.now();
    let mut owned = BTreeSet::new();
    loop {
        let current = catalog.borrow_and_update().clone();
        let mut pause = HOSTING_TICK;
        if let Some(current) = current {
            match follow(&groups, &current, started, &mut owned).await {
                // Only the catalog can ask for something new.
                Ok(true) => pause = HOSTING_REST,
                Ok(false) => {}
                Err(error) => {
                    groups.env().tasks.fail(format!("a group cannot run: {}", causes(&error)));
                    return;
                }
            }
        }
        tokio::select! {
            changed = catalog.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Brings what runs here in step with the catalog, as far as it can be now; returns whether it is.
async fn follow(
    groups: &Groups,
    catalog: &Catalog,
    started: Moment,
    owned: &mut BTreeSet<GroupId>,
) -> Result<bool, OpenError> {
    let node = groups.node();
    let mut is_settled = true;
    for (id, entry) in &catalog.groups {
        let is_system = *id == GroupId::SYSTEM;
        if !is_system && !is_placed_here(catalog, entry, node) {
            if groups.group(*id).is_some() {
                is_settled = false;
                if is_gone(groups, *id, node) {
                    discard(groups, *id).await;
                }
            }
            continue;
        }
        let group = groups.open(*id).await?;
        if !is_system && owned.contains(id) {
            continue;
        }
        if entry.founders.contains(&node) && is_blank(&group) {
            is_settled = false;
            // The others wait: a founder that died before it started the group is rare.
            let patience = groups.timing().heartbeat * 20;
            let waited = groups.env().clock.now().since(started) >= patience;
            if entry.preferred == node || waited {
                initialize(&group, entry.founders.iter().copied()).await;
            }
        }
        if !is_system {
            if own(groups, &group, entry, catalog.epoch).await {
                owned.insert(*id);
            } else {
                is_settled = false;
            }
        }
    }
    Ok(is_settled)
}

fn is_placed_here(catalog: &Catalog, entry: &GroupEntry, node: NodeId) -> bool {
    entry.replicas.contains(&node)
        || entry.replicas.iter().any(|old| {
            let state = catalog.nodes.get(old).map(|n| &n.state);
            matches!(state, Some(NodeState::Replaced { by }) if *by == node)
        })
}

/// Whether the group itself, not only the catalog, has let this node go.
fn is_gone(groups: &Groups, id: GroupId, node: NodeId) -> bool {
    groups.group(id).is_some_and(|group| {
        let status = group.status();
        !status.learners.contains(&node) && !group.is_leader()
    })
}

async fn discard(groups: &Groups, id: GroupId) {
    match groups.discard(id).await {
        Ok(()) => tracing::info!(group = %id, "the replica was freed"),
        Err(error) => groups.env().tasks.fail(format!("a replica cannot be freed: {error}")),
    }
}

/// Whether the replica has never seen an entry.
fn is_blank(group: &Group) -> bool {
    let metrics = group.raft().metrics();
    metrics.borrow_watched().last_log_index.is_none()
}

async fn initialize(group: &Group, members: impl Iterator<Item = NodeId>) {
    let members: std::collections::BTreeMap<u64, EmptyNode> =
        members.map(|node| (node.0, EmptyNode {})).collect();
    if let Err(error) = group.raft().initialize(members).await {
        // Another founder was faster, which is as good.
        tracing::info!(group = %group.id(), %error, "not initialized here");
    }
}

/// Lets a group that this node leads own its slots; returns whether it does.
async fn own(groups: &Groups, group: &Group, entry: &GroupEntry, epoch: u64) -> bool {
    match groups.get(group.id(), model::OWNED_KEY) {
        Ok(read) if read.value.is_some() => return true,
        Ok(_) => {}
        Err(error) => {
            tracing::warn!(group = %group.id(), %error, "ownership cannot be read");
            return false;
        }
    }
    if group.is_leader() {
        let command = Command::Own { ranges: entry.ranges.clone(), epoch };
        let deadline = groups.env().clock.now() + CATALOG_PROPOSE_MAX;
        if let Err(error) = groups.propose(group.id(), command.encode(), deadline).await {
            tracing::info!(group = %group.id(), %error, "owning its slots is tried again");
        }
    }
    false
}
