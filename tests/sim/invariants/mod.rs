//! What must hold at any moment, whatever goes wrong; one file each.
//!
//! Why it exists: an invariant over all replicas finds a bug where it happens, in the moment it happens,
//! while a client would have to read the right key at the right node. Two more invariants are checked
//! where they are cheapest: that what was acknowledged is on a majority of disks (`World::acknowledged`,
//! at each acknowledgement) and that what was flushed is there after any crash (`World::opened`, at each
//! start); and the oracle holds that no idempotent request is applied twice.
//!
//! Promises: a check that fails says what, where, and what it was before. Relies on: `look`.

mod committed_on_quorum;
mod committed_stays;
mod election_safety;
mod leader_completeness;
mod log_matching;
mod marks_ordered;
mod monotonic;
mod slot_owned_once;
mod state_machine_safety;

#[cfg(test)]
mod tests;

use super::look::View;

/// A property of all replicas together.
pub trait Invariant: Send {
    /// In words.
    fn name(&self) -> &'static str;

    /// Looks at what there is now.
    ///
    /// # Errors
    ///
    /// In words, what is wrong.
    fn check(&mut self, view: &View<'_>) -> Result<(), String>;
}

/// All invariants.
pub fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::<election_safety::ElectionSafety>::default(),
        Box::<log_matching::LogMatching>::default(),
        Box::<committed_stays::CommittedStays>::default(),
        Box::<committed_on_quorum::CommittedOnQuorum>::default(),
        Box::<leader_completeness::LeaderCompleteness>::default(),
        Box::<state_machine_safety::StateMachineSafety>::default(),
        Box::<marks_ordered::MarksOrdered>::default(),
        Box::<monotonic::Monotonic>::default(),
        Box::<slot_owned_once::SlotOwnedOnce>::default(),
    ]
}
