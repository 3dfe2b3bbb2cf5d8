//! Who streams to whom, as a namespace's owner wants it.
//!
//! Why it exists: between sites it matters which links carry the writes, when, and how many of them.
//! Promises: any plan is safe, since streams carry what their reader lacks whatever way it came; a
//! plan only decides how fast and over which links. Relies on the catalog for the nodes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::catalog::NodeEntry;
use crate::model::NodeId;
use crate::runtime::limits::SITE_LINKS_MAX;

/// How the nodes of an eventual namespace are linked. New plans go to the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Topology {
    /// Every node from every other one.
    #[default]
    Mesh,
    /// Every node from its neighbours in the order of ids.
    Ring,
    /// Every node from this one, and this one from all.
    Hub(NodeId),
    /// Over these links, and no others.
    Links(Vec<SiteLink>),
}

/// One direction of one link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteLink {
    /// Who sends.
    pub from: NodeId,
    /// Who receives.
    pub to: NodeId,
    /// When.
    pub mode: LinkMode,
    /// How much it may carry; `None`: no bound.
    pub bytes_per_s: Option<u64>,
    /// From which hour of the day (UTC) on, and before which; `None`: always. Over midnight when the
    /// second is the smaller one.
    pub hours: Option<(u8, u8)>,
}

/// When a link carries. New modes go to the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkMode {
    /// At once.
    #[default]
    Push,
    /// Every so many milliseconds.
    Interval(u64),
    /// When somebody says so.
    Manual,
}

impl Topology {
    /// Whether it makes sense among these nodes; if not, what to change.
    pub(super) fn check(&self, nodes: &BTreeMap<NodeId, NodeEntry>) -> Result<(), String> {
        let known = |node: &NodeId| match nodes.contains_key(node) {
            true => Ok(()),
            false => Err(format!("the topology names node {node}, which there is not")),
        };
        match self {
            Self::Mesh | Self::Ring => Ok(()),
            Self::Hub(node) => known(node),
            Self::Links(links) if links.len() > SITE_LINKS_MAX => {
                Err(format!("a topology has at most {SITE_LINKS_MAX} links, not {}", links.len()))
            }
            Self::Links(links) => links.iter().try_for_each(|link| {
                known(&link.from)?;
                known(&link.to)?;
                link.check()
            }),
        }
    }
}

impl SiteLink {
    fn check(&self) -> Result<(), String> {
        let Self { from, to, mode, bytes_per_s, hours } = self;
        if from == to {
            return Err(format!("a link leads from node {from} to itself"));
        }
        if *bytes_per_s == Some(0) {
            return Err("a link that carries 0 bytes per second is none: leave it out".to_owned());
        }
        if *mode == LinkMode::Interval(0) {
            return Err("a link's interval is at least 1 ms; for at once say push".to_owned());
        }
        if hours.is_some_and(|(since, until)| since > 23 || until > 24 || since == until) {
            return Err("a link's hours are two different ones of 0 to 24".to_owned());
        }
        Ok(())
    }
}
