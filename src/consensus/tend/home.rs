//! Which borrowed leases have ended at their home.
//!
//! A lease lives in one group, its home; keys and locks of other groups attach to it by a borrowed
//! row. The leaders of those groups ask the home from time to time. An id is never given twice, so
//! "not there" is final, provided that the answer is no older than the question: the home's leader
//! passes the read barrier first. A lease that is being attached was seen alive at its home before,
//! so a home that does not know it has ended it.
//!
//! Promises: a silent home ends nothing.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::consensus::channel::LEASES;
use crate::consensus::codec;
use crate::consensus::groups::Groups;
use crate::model::{GroupId, LeaseId, NodeId};
use crate::peer::{Lane, Refused};
use crate::runtime::limits::LEASE_CHECK_MAX;

/// No leader of the home group answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("group {group}, the home of borrowed leases, did not answer")]
pub struct HomeSilent {
    /// The home.
    pub group: GroupId,
}

/// Asks the homes of leases.
#[async_trait]
pub trait LeaseHome: Send + Sync + std::fmt::Debug {
    /// Those of the leases that their home knows no more.
    ///
    /// # Errors
    ///
    /// When no leader of the home answers; nothing may be concluded then.
    async fn missing(&self, home: GroupId, ids: Vec<LeaseId>) -> Result<Vec<LeaseId>, HomeSilent>;
}

/// The homes, wherever they are led.
#[derive(Clone, Debug)]
pub struct Homes {
    groups: Arc<Groups>,
}

impl Homes {
    /// Asks through these groups and their corridor.
    pub fn new(groups: Arc<Groups>) -> Self {
        Self { groups }
    }

    /// Who may lead the home, the likeliest first.
    fn candidates(&self, home: GroupId) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> = self.groups.leader(home).into_iter().collect();
        if let Some(catalog) = &*self.groups.catalog().borrow()
            && let Some(entry) = catalog.groups.get(&home)
        {
            nodes.push(entry.preferred);
            nodes.extend(&entry.replicas);
        }
        let mut seen = std::collections::BTreeSet::new();
        nodes.retain(|node| seen.insert(*node));
        nodes
    }

    async fn ask(&self, node: NodeId, home: GroupId, ids: &[LeaseId]) -> Option<Vec<LeaseId>> {
        if node == self.groups.node() {
            return missing_here(&self.groups, home, ids).await;
        }
        let question = codec::encode(&(home, ids));
        let call =
            self.groups.transport().call(node, LEASES, Lane::Data, question, LEASE_CHECK_MAX);
        let answer = call.await.ok()?;
        match codec::decode::<Option<Vec<LeaseId>>>("ended leases", &answer) {
            Ok(missing) => missing,
            Err(error) => {
                tracing::warn!(%node, %error, "an answer about leases could not be read");
                None
            }
        }
    }
}

#[async_trait]
impl LeaseHome for Homes {
    async fn missing(&self, home: GroupId, ids: Vec<LeaseId>) -> Result<Vec<LeaseId>, HomeSilent> {
        for node in self.candidates(home) {
            if let Some(missing) = self.ask(node, home, &ids).await {
                return Ok(missing);
            }
        }
        Err(HomeSilent { group: home })
    }
}

/// `None` when this node does not lead the home.
async fn missing_here(groups: &Groups, home: GroupId, ids: &[LeaseId]) -> Option<Vec<LeaseId>> {
    let group = groups.group(home).filter(|group| group.is_leader())?;
    let deadline = groups.env().clock.now() + LEASE_CHECK_MAX;
    group.barrier(deadline).await.ok()?;
    let leases = groups.leases(home)?;
    Some(ids.iter().filter(|id| leases.get(**id).is_none()).copied().collect())
}

/// Answers a peer that borrows leases of a group led here.
///
/// # Errors
///
/// When the question cannot be read.
pub async fn answer(groups: &Groups, body: &Bytes) -> Result<Bytes, Refused> {
    let question = codec::decode::<(GroupId, Vec<LeaseId>)>("question about leases", body);
    let (home, ids) = question.map_err(|error| Refused::new(error.to_string()))?;
    Ok(codec::encode(&missing_here(groups, home, &ids).await))
}
