//! How far each other node's log has been seen flushed: the memory by which a data directory that
//! was restored from an old copy is recognised.
//!
//! Why it exists: an old copy has forgotten votes and entries that it acknowledged; letting it vote
//! could elect a leader that lacks committed writes. Its log's batch number (LSN) then lies below
//! one that it has told somebody before. Every answer to a Raft call carries the LSN; the highest
//! per node is kept in memory and, now and then, in this node's own log.
//!
//! Promises: `seen` never falls. Does not promise: to recognise a copy so fresh that nobody alive
//! has seen anything newer (docs/operations.md says what that means).

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::codec;
use crate::model::{Incarnation, NodeId};
use crate::runtime::limits::WITNESS_NOTE_EVERY;
use crate::storage::log::Log;

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    incarnation: Option<Incarnation>,
    run: Option<u64>,
    lsn: u64,
    noted: u64,
}

/// What is kept of a node over this node's own restarts: its directory, the run of it that was seen,
/// and how far that run's log was flushed. Without the run, a node that has not restarted since
/// would be asked to have recovered at its start what it wrote only later.
type Note = (Incarnation, u64, u64);

/// What this node has seen of the others' logs.
#[derive(Debug)]
#[cfg_attr(test, derive(Default))]
pub struct Witness {
    /// Where it is noted; `None` only in unit tests.
    log: Option<Log>,
    seen: Mutex<BTreeMap<NodeId, Seen>>,
}

impl Witness {
    /// Reads what earlier runs noted.
    pub fn open(log: Log) -> Self {
        let mut seen = BTreeMap::new();
        for (node, bytes) in log.notes() {
            match codec::decode::<Note>("witness note", &bytes) {
                Ok((incarnation, run, lsn)) => {
                    let incarnation = Some(incarnation);
                    let entry = Seen { incarnation, run: Some(run), lsn, noted: lsn };
                    seen.insert(NodeId(node), entry);
                }
                Err(error) => tracing::warn!(node, %error, "a witness note was ignored"),
            }
        }
        Self { log: Some(log), seen: Mutex::new(seen) }
    }

    /// A node told its flushed LSN, over a connection whose hello was admitted.
    pub fn saw(&self, node: NodeId, lsn: u64) {
        let mut seen = self.seen.lock();
        let Some(entry) = seen.get_mut(&node) else { return };
        entry.lsn = entry.lsn.max(lsn);
        let (Some(incarnation), Some(run)) = (entry.incarnation, entry.run) else { return };
        if entry.lsn >= entry.noted + WITNESS_NOTE_EVERY {
            entry.noted = entry.lsn;
            if let Some(log) = &self.log {
                let note: Note = (incarnation, run, entry.lsn);
                log.note(node.0, codec::encode(&note));
            }
        }
    }

    /// Checks what a node says of its log when it connects, and remembers it. `Err` carries the LSN
    /// that was seen of the same directory before and that it no longer has.
    ///
    /// Within one run of a node its hellos may overtake one another, so only the first of a run is
    /// held against what was seen: what a run recovered must cover all that earlier runs flushed.
    pub fn greet(&self, node: NodeId, claim: Claim) -> Result<(), u64> {
        let mut seen = self.seen.lock();
        let entry = seen.entry(node).or_default();
        if entry.incarnation != Some(claim.incarnation) {
            // Another directory under this id: the catalog decides whether it may speak at all.
            *entry = Seen { incarnation: Some(claim.incarnation), ..Seen::default() };
        }
        if entry.run != Some(claim.run) {
            if claim.recovered_lsn < entry.lsn {
                return Err(entry.lsn);
            }
            entry.run = Some(claim.run);
        }
        entry.lsn = entry.lsn.max(claim.flushed_lsn);
        Ok(())
    }
}

/// What a node says of its log.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// Its data directory.
    pub incarnation: Incarnation,
    /// Its process: a random number made at start.
    pub run: u64,
    /// The last durable batch that it found when it started.
    pub recovered_lsn: u64,
    /// The last durable batch now.
    pub flushed_lsn: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(run: u64, recovered_lsn: u64, flushed_lsn: u64) -> Claim {
        Claim { incarnation: Incarnation(7), run, recovered_lsn, flushed_lsn }
    }

    #[test]
    fn a_log_that_forgot_is_recognised_and_an_overtaken_hello_is_not() {
        let witness = Witness { log: None, seen: Mutex::default() };
        let node = NodeId(2);
        witness.greet(node, claim(1, 10, 20)).unwrap();
        witness.saw(node, 35);
        // The same run, an older hello that was overtaken.
        witness.greet(node, claim(1, 10, 30)).unwrap();
        // The next run has everything.
        witness.greet(node, claim(2, 35, 36)).unwrap();
        // A copy that was taken before.
        assert_eq!(witness.greet(node, claim(3, 20, 21)).unwrap_err(), 36);
        // It stays refused, also when it asks again.
        assert_eq!(witness.greet(node, claim(3, 20, 40)).unwrap_err(), 36);
        // Another directory is another matter.
        let other = Claim { incarnation: Incarnation(8), ..claim(4, 0, 0) };
        witness.greet(node, other).unwrap();
    }

    #[test]
    fn a_node_that_ran_on_while_this_one_restarted_is_not_taken_for_a_copy() {
        let noted = Seen { incarnation: Some(Incarnation(7)), run: Some(1), lsn: 516, noted: 516 };
        let witness = Witness { log: None, seen: Mutex::new(BTreeMap::from([(NodeId(2), noted)])) };
        witness.greet(NodeId(2), claim(1, 169, 520)).unwrap();
        assert_eq!(witness.greet(NodeId(2), claim(2, 400, 401)).unwrap_err(), 520);
    }
}
