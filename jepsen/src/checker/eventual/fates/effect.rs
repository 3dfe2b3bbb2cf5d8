//! How many writes have no effect any more, by the harness's own record.
//!
//! Why it exists: a write whose value was replaced by one who had seen it is not lost, unless that one is:
//! then all that it stood on is lost with it. Of each key it is the writes less the chain that the value
//! which is shown stands on.
//!
//! Promises: bounds that what is certain leaves; they are one number when it is certain of each link of
//! the chain whether it holds. A link that is not certain by itself is, if its write is on record as lost
//! (it does not hold), or as replaced and only one writer can have replaced it (it holds).

use std::collections::{BTreeMap, BTreeSet};

use super::super::record::Key;
use crate::history::Kind;

/// Least and most writes without effect, over all keys.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds {
    pub(super) least: u64,
    pub(super) most: u64,
}

impl Bounds {
    /// Adds a key: its writes with their fates, the write that is shown, and which values (by key) are on
    /// record as lost.
    pub(super) fn add<'f>(
        &mut self,
        key: &Key<'_>,
        fate: impl Fn(&str) -> Option<&'f str>,
        current: Option<&str>,
        recorded: &BTreeSet<(i64, i64)>,
    ) {
        let lost: BTreeSet<i64> = recorded.iter().map(|(_, value)| *value).collect();
        let shown = |place: usize| key.writes.iter().any(|write| write.shown == Some(place));
        // A write without an answer has happened if anything shows it, and may have otherwise.
        let (mut sure, mut possible) = (0_u64, 0_u64);
        for (place, write) in key.writes.iter().enumerate() {
            let traced = lost.contains(&write.value)
                || shown(place)
                || (write.receipt.is_some() && write.receipt == current);
            if write.kind == Kind::Ok || traced { sure += 1 } else { possible += 1 }
        }
        let fates: Vec<Option<&str>> =
            key.writes.iter().map(|write| write.receipt.and_then(&fate)).collect();
        let mut chains = Chains { key, fates, known: BTreeMap::new() };
        let place = key.writes.iter().position(|w| w.receipt.is_some() && w.receipt == current);
        let (shortest, longest) = place.map_or((0, 0), |place| chains.of(place));
        self.least += sure.saturating_sub(longest);
        self.most += (sure + possible).saturating_sub(shortest);
    }
}

struct Chains<'a> {
    key: &'a Key<'a>,
    fates: Vec<Option<&'a str>>,
    /// How many writes each stands on, itself included: at least and at most.
    known: BTreeMap<usize, (u64, u64)>,
}

impl Chains<'_> {
    /// The chain of a write; without recursion, since a chain may be as long as the history.
    fn of(&mut self, place: usize) -> (u64, u64) {
        let mut stack = vec![place];
        let mut open = BTreeSet::new();
        while let Some(place) = stack.last().copied() {
            let links = self.links(place);
            let next = links
                .iter()
                .find(|(parent, _)| !self.known.contains_key(parent) && !open.contains(parent));
            if let Some((parent, _)) = next {
                open.insert(place);
                stack.push(*parent);
                continue;
            }
            let length = |parent: &usize| self.known.get(parent).copied().unwrap_or((0, 0));
            let holds = links.iter().find(|(_, holds)| *holds).map(|(parent, _)| length(parent));
            let longest = links.iter().map(|(parent, _)| length(parent).1).max().unwrap_or(0);
            let chain = match holds {
                Some((least, most)) => (least + 1, most + 1),
                None => (1, longest + 1),
            };
            self.known.insert(place, chain);
            stack.pop();
        }
        self.known.get(&place).copied().unwrap_or((1, 1))
    }

    /// What a write may stand on, and whether it certainly does.
    fn links(&self, place: usize) -> Vec<(usize, bool)> {
        let Some(write) = self.key.writes.get(place) else { return Vec::new() };
        let rivals = write.rivals.iter().copied().filter(|rival| write.may_have_seen(*rival));
        let parents: BTreeSet<usize> = write.shown.into_iter().chain(rivals).collect();
        let mut links = Vec::new();
        for parent in parents {
            let fate = self.fates.get(parent).copied().flatten();
            if write.is_certain() {
                links.push((parent, true));
            } else if fate != Some("lost") {
                let seers = self.key.writes.iter().filter(|other| other.may_have_seen(parent));
                let is_only = fate == Some("superseded") && seers.count() == 1;
                links.push((parent, is_only));
            }
        }
        links
    }
}
