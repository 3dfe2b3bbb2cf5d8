//! When a deleted namespace may be forgotten: no group holds a row of it any more.
//!
//! Each leader purges its own group and then claims it empty. A claim is final whoever makes it: it
//! follows an applied entry that left no row, behind the epoch below which the group accepts
//! nothing, so no later leader can undo it. The leader of the system group collects the claims of
//! all nodes and has the catalog forget what every group is rid of. Claims live in memory; a new
//! leader purges once more, finds nothing, and claims again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::consensus::channel::EMPTIED;
use crate::consensus::codec;
use crate::consensus::groups::Groups;
use crate::model::{Command, GroupId, NamespaceId, NodeId};
use crate::peer::Lane;
use crate::placement::{Catalog, CatalogCommand};
use crate::runtime::limits::{CATALOG_PROPOSE_MAX, FIGURES_CALL_MAX};

/// What groups claim to be rid of.
pub(super) type Claims = BTreeMap<GroupId, BTreeSet<NamespaceId>>;

fn claims_here(groups: &Groups) -> Claims {
    let claims = groups.all().into_iter().map(|group| (group.id(), group.emptied()));
    claims.filter(|(_, emptied)| !emptied.is_empty()).collect()
}

/// Answers the leader of the system group.
pub fn answer(groups: &Groups) -> Bytes {
    codec::encode(&claims_here(groups))
}

async fn ask(groups: &Groups, node: NodeId) -> Claims {
    let question = Bytes::from_static(&[codec::VERSION]);
    let call = groups.transport().call(node, EMPTIED, Lane::Data, question, FIGURES_CALL_MAX);
    let Ok(answer) = call.await else { return Claims::new() };
    codec::decode("claims of empty groups", &answer).unwrap_or_else(|error| {
        tracing::warn!(%node, %error, "claims of empty groups could not be read");
        Claims::new()
    })
}

/// Collects the claims and has the catalog forget what no group holds. For the system group's leader.
pub(super) async fn collect(groups: Arc<Groups>, catalog: Arc<Catalog>) {
    let peers = groups.door().others();
    let asks = peers.into_iter().map(|peer| ask(&groups, peer));
    let mut claims = claims_here(&groups);
    for heard in futures_util::future::join_all(asks).await {
        for (group, emptied) in heard {
            claims.entry(group).or_default().extend(emptied);
        }
    }
    for namespace in gone_everywhere(&catalog, &claims) {
        let command = CatalogCommand::Purged { namespace }.encode();
        let deadline = groups.env().clock.now() + CATALOG_PROPOSE_MAX;
        let proposed =
            groups.propose(GroupId::SYSTEM, Command::Catalog(command).encode(), deadline);
        match proposed.await {
            Ok(_) => tracing::info!(%namespace, "a deleted namespace is gone"),
            Err(error) => {
                tracing::info!(%namespace, %error, "forgetting it is tried again");
                return;
            }
        }
    }
}

/// The doomed namespaces that every group which may hold rows is rid of.
fn gone_everywhere(catalog: &Catalog, claims: &Claims) -> Vec<NamespaceId> {
    let is_rid = |group: &GroupId, namespace: &NamespaceId| {
        *group == GroupId::SYSTEM || claims.get(group).is_some_and(|c| c.contains(namespace))
    };
    let doomed = catalog.doomed.keys();
    doomed.filter(|id| catalog.groups.keys().all(|group| is_rid(group, id))).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ClusterId, Incarnation};

    #[test]
    fn a_namespace_is_gone_only_when_every_group_claims_it() {
        let mut catalog = Catalog::unfounded();
        let nodes = vec![(NodeId(1), "h:1".to_owned(), Incarnation(1))];
        catalog.apply(&CatalogCommand::Found {
            cluster: ClusterId(1),
            nodes,
            groups: 2,
            replicas: 1,
        });
        catalog.doomed = [(NamespaceId(2), 1), (NamespaceId(3), 1)].into();
        let claim = |ids: &[u64]| ids.iter().map(|id| NamespaceId(*id)).collect::<BTreeSet<_>>();
        let mut claims = Claims::from([(GroupId(1), claim(&[2, 3]))]);
        assert_eq!(gone_everywhere(&catalog, &claims), [], "group 2 says nothing");
        claims.insert(GroupId(2), claim(&[3, 9]));
        assert_eq!(gone_everywhere(&catalog, &claims), [NamespaceId(3)]);
    }
}
