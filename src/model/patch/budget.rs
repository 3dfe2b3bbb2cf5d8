//! What the patches of one entry may cost.
//!
//! Why it exists: a state machine that works on one entry answers nobody else, at every replica. A
//! thousand steps that each shift an array of some 100,000 items, or copy, compare or look through a
//! large part of a document, would take it seconds. Promises: whoever spends what a thing costs
//! before doing it does a bounded amount in total. It counts and never measures time, so that all
//! replicas come to the same.

use crate::model::denial::{Denial, PatchFault};
use crate::model::json::Json;
use crate::runtime::limits::{PATCH_COPY_BYTES, PATCH_WORK_MAX};

/// Work that may still be done: bytes read or compared, items and members passed or shifted.
#[derive(Debug)]
pub(in crate::model) struct Budget {
    left: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: PATCH_WORK_MAX }
    }
}

impl Budget {
    /// Takes what something costs.
    pub(super) fn spend(&mut self, cost: usize) -> Result<(), Denial> {
        let Some(left) = self.left.checked_sub(cost) else { return Err(self.too_much()) };
        self.left = left;
        Ok(())
    }

    /// Takes what copying plain bytes costs.
    pub(super) fn spend_copying(&mut self, bytes: usize) -> Result<(), Denial> {
        self.spend(bytes / PATCH_COPY_BYTES)
    }

    /// Takes what it costs to go through a value, and stops going through it where that ends.
    pub(super) fn spend_on(&mut self, value: &Json) -> Result<(), Denial> {
        if value.takes(&mut self.left) { Ok(()) } else { Err(self.too_much()) }
    }

    /// The place of a member, for what looking for it costs.
    pub(super) fn place_of(
        &mut self,
        members: &[(String, Json)],
        name: &str,
    ) -> Result<Option<usize>, Denial> {
        let mut cost = 0;
        let place = members.iter().position(|(known, _)| {
            cost += 1 + known.len() / PATCH_COPY_BYTES;
            known == name
        });
        self.spend(cost)?;
        Ok(place)
    }

    /// After too much was asked for, nothing is left: a smaller patch behind it is not tried either.
    fn too_much(&mut self) -> Denial {
        self.left = 0;
        let reason = "too much work: patch smaller values, with fewer steps, or fewer at once";
        Denial::Patch { fault: PatchFault::Invalid, reason: reason.to_owned() }
    }
}
