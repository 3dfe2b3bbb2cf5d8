//! What groups hold of each namespace, between nodes.
//!
//! A replica's own figures are exact for its applied index, so a node asks nobody about a group that
//! it hosts. About the others it asks the nodes that lead them, and only for the namespaces that
//! somebody wants to know of.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::consensus::channel::FIGURES;
use crate::consensus::codec;
use crate::consensus::groups::Groups;
use crate::model::{GroupId, NamespaceId, NodeId};
use crate::peer::{Lane, Refused};
use crate::runtime::limits::FIGURES_CALL_MAX;

/// What one group holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupFigures {
    /// The group.
    pub group: GroupId,
    /// The entry up to which this is so.
    pub applied: u64,
    /// Bytes and keys of each namespace that it holds something of.
    pub namespaces: Vec<(NamespaceId, u64, u64)>,
}

/// The figures of the replicas here, of the wanted namespaces; of all when none is named.
pub fn here(groups: &Groups, wanted: &[NamespaceId]) -> Vec<GroupFigures> {
    let replicas = groups.all().into_iter().map(|group| group.id());
    let of = |group: GroupId| {
        // Read before the figures: they may then be newer than said, never older.
        let applied = groups.state().applied(group.0).map_or(0, |applied| applied.index);
        // A replica that has just gone, or cannot be read, says nothing here and stops elsewhere.
        let all = groups.figures(group).unwrap_or_default().into_iter();
        let namespaces = all
            .filter(|(namespace, _)| wanted.is_empty() || wanted.contains(namespace))
            .map(|(namespace, figures)| (namespace, figures.bytes, figures.keys))
            .collect();
        GroupFigures { group, applied, namespaces }
    };
    replicas.filter(|group| *group != GroupId::SYSTEM).map(of).collect()
}

/// Asks a node for the figures of the groups that it leads. `None` when it does not answer.
pub async fn ask(
    groups: &Groups,
    node: NodeId,
    wanted: &[NamespaceId],
) -> Option<Vec<GroupFigures>> {
    let question = codec::encode(&wanted);
    let call = groups.transport().call(node, FIGURES, Lane::Data, question, FIGURES_CALL_MAX);
    match codec::decode("figures of groups", &call.await.ok()?) {
        Ok(figures) => Some(figures),
        Err(error) => {
            tracing::warn!(%node, %error, "figures of groups could not be read");
            None
        }
    }
}

/// Answers a node that does not host these groups.
///
/// # Errors
///
/// When the question cannot be read.
pub fn answer(groups: &Groups, body: &Bytes) -> Result<Bytes, Refused> {
    let wanted: Vec<NamespaceId> = codec::decode("question for figures", body)
        .map_err(|error| Refused::new(error.to_string()))?;
    let mut figures = here(groups, &wanted);
    figures.retain(|f| groups.group(f.group).is_some_and(|group| group.is_leader()));
    Ok(codec::encode(&figures))
}
