//! A term and node name one leadership, and a leadership has one life of a node.
//!
//! openraft's advanced leader ids order leaders by term and node, so two nodes may win one term, one
//! after the other. What must never be is one id for two leaderships: a node that forgot its vote in a
//! crash and won the same term again would write other entries under the same names.

use std::collections::BTreeMap;

use tetrarch::consensus::Role;

use super::{Invariant, View};

#[derive(Default)]
pub(super) struct ElectionSafety {
    /// Group, term, node -> life.
    led: BTreeMap<(u64, u64, u64), u64>,
}

impl Invariant for ElectionSafety {
    fn name(&self) -> &'static str {
        "election safety"
    }

    fn check(&mut self, view: &View<'_>) -> Result<(), String> {
        for replica in &view.replicas {
            if replica.status.role != Role::Leader {
                continue;
            }
            let leadership = (replica.group(), replica.status.term, replica.node);
            let life = *self.led.entry(leadership).or_insert(replica.life);
            if life != replica.life {
                return Err(format!(
                    "{} leads term {}, which life {life} of the node has led before",
                    replica.name(),
                    replica.status.term
                ));
            }
        }
        Ok(())
    }
}
