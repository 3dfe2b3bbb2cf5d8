//! Types and topologies of eventual namespaces, between JSON and the catalog.
//!
//! Promises: what is shown reads back as what it was; whether a plan fits the cluster is the
//! catalog's to say.

use std::time::Duration;

use crate::model::NodeId;
use crate::model::eventual::DataType;
use crate::placement::{LinkMode, SiteLink, Topology};
use crate::service::ceil_ms;
use crate::wire;

use super::parse::time::{duration_of, duration_text};
use super::problem::Failure;

/// The type of this name.
pub(super) fn type_of(name: &str) -> Result<DataType, Failure> {
    let types = [DataType::Lww, DataType::Mv, DataType::Counter, DataType::Set, DataType::Map];
    types.into_iter().find(|data_type| data_type.name() == name).ok_or_else(|| {
        Failure::invalid(format!("type {name:?} is not lww, mv, counter, set or map"))
    })
}

/// A plan as the catalog keeps it.
pub(super) fn plan(wanted: wire::Topology) -> Result<Topology, Failure> {
    Ok(match wanted {
        wire::Topology::Mesh => Topology::Mesh,
        wire::Topology::Ring => Topology::Ring,
        wire::Topology::Hub(node) => Topology::Hub(NodeId(node)),
        wire::Topology::Links(links) => {
            Topology::Links(links.into_iter().map(link).collect::<Result<_, _>>()?)
        }
    })
}

fn link(wanted: wire::SiteLink) -> Result<SiteLink, Failure> {
    let wire::SiteLink { from, to, mode, bytes_per_s, hours } = wanted;
    let mode = match mode {
        wire::LinkMode::Push => LinkMode::Push,
        wire::LinkMode::Manual => LinkMode::Manual,
        wire::LinkMode::Interval(text) => {
            LinkMode::Interval(ceil_ms(duration_of("interval", &text)?))
        }
    };
    Ok(SiteLink { from: NodeId(from), to: NodeId(to), mode, bytes_per_s, hours })
}

/// A plan as clients read it.
pub(super) fn shown(plan: &Topology) -> wire::Topology {
    match plan {
        Topology::Mesh => wire::Topology::Mesh,
        Topology::Ring => wire::Topology::Ring,
        Topology::Hub(node) => wire::Topology::Hub(node.0),
        Topology::Links(links) => wire::Topology::Links(links.iter().map(shown_link).collect()),
    }
}

fn shown_link(link: &SiteLink) -> wire::SiteLink {
    let SiteLink { from, to, mode, bytes_per_s, hours } = *link;
    let mode = match mode {
        LinkMode::Push => wire::LinkMode::Push,
        LinkMode::Manual => wire::LinkMode::Manual,
        LinkMode::Interval(ms) => {
            wire::LinkMode::Interval(duration_text(Duration::from_millis(ms)))
        }
    };
    wire::SiteLink { from: from.0, to: to.0, mode, bytes_per_s, hours }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topology_is_shown_as_it_was_said() {
        for text in [
            r#""mesh""#,
            r#""ring""#,
            r#"{"hub":3}"#,
            r#"{"links":[{"from":1,"to":2,"mode":"push"},{"from":2,"to":1,"mode":{"interval":"5m"},"bytes_per_s":1000,"hours":[22,6]},{"from":1,"to":3,"mode":"manual"}]}"#,
        ] {
            let said: wire::Topology = serde_json::from_str(text).unwrap();
            let told = shown(&plan(said).unwrap());
            assert_eq!(serde_json::to_string(&told).unwrap(), text);
        }
        let mode: wire::Topology =
            serde_json::from_str(r#"{"links":[{"from":1,"to":2,"mode":{"interval":"soon"}}]}"#)
                .unwrap();
        assert_eq!(plan(mode).unwrap_err().code, "invalid");
    }

    #[test]
    fn a_type_has_one_name() {
        for name in ["lww", "mv", "counter", "set", "map"] {
            assert_eq!(type_of(name).unwrap().name(), name);
        }
        type_of("text").unwrap_err();
    }
}
