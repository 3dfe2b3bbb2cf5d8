//! How many writes have no effect any more, by the harness's own record.
//!
//! Why it exists: a write whose value was replaced by one who had seen it is not lost, unless that one is:
//! then all that it stood on is lost with it. Of each key it is the writes less the chain that the value
//! which is shown stands on.
//!
//! Promises: bounds that what is certain leaves; they are one number when it is certain of each link of
//! the chain whether it holds. Where nothing came between what a writer was shown and its write, its link
//! holds. Where rivals came in between, it follows from what became of them and of what was shown:
//!
//! * nothing stands on what is lost, and what is replaced stands under the only one who can have seen it;
//! * a rival that had been shown the same and that this write swept was there first, and had taken its place;
//! * what this write would have swept first is lost to it or to an earlier name, since of all who sweep the
//!   least name is told: rivals that are lost to greater names came later;
//! * who says nothing of what it was shown stands on what was there: on no rival that is lost.
//!
//! Relies on fates that all nodes agree on, which is judged beside this.

use std::collections::{BTreeMap, BTreeSet};

use super::super::heard::Dot;
use super::super::record::Key;
use crate::history::Kind;

/// What a node says of a write: its fate, and to whom it was lost.
pub(super) type Said<'a> = (&'a str, Option<&'a str>);

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
        key: &'f Key<'f>,
        fate: impl Fn(&'f str) -> Option<Said<'f>>,
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
        let fates: Vec<Option<Said<'f>>> =
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
    fates: Vec<Option<Said<'a>>>,
    /// How many writes each stands on, itself included: at least and at most.
    known: BTreeMap<usize, (u64, u64)>,
}

impl<'a> Chains<'a> {
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
            // Who says nothing stands on something, where there is anything: nobody deletes.
            let blind = self.key.writes.get(place).is_some_and(|w| !w.context && w.shown.is_some());
            let shortest = links.iter().map(|(parent, _)| length(parent).0).min().unwrap_or(0);
            let chain = match holds {
                Some((least, most)) => (least + 1, most + 1),
                None if blind => (shortest + 1, longest + 1),
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
            if write.is_certain() {
                links.push((parent, true));
                continue;
            }
            let fate = self.word(parent);
            if fate == Some("lost") || self.gave_way(place, parent) {
                continue;
            }
            let seers = self.key.writes.iter().filter(|other| other.may_have_seen(parent));
            let is_only = seers.count() == 1 || self.came_late(place, parent);
            links.push((parent, fate == Some("superseded") && is_only));
        }
        links
    }

    fn word(&self, place: usize) -> Option<&'a str> {
        self.fates.get(place).copied().flatten().map(|(word, _)| word)
    }

    fn receipt(&self, place: usize) -> Option<&'a str> {
        self.key.writes.get(place).and_then(|write| write.receipt)
    }

    /// Whether what was shown had been replaced by a rival, which this write swept.
    fn gave_way(&self, place: usize, shown: usize) -> bool {
        let Some(write) = self.key.writes.get(place) else { return false };
        let own = self.receipt(place);
        // What is current may just outrank a rival that came later.
        let swept = |rival: &usize| {
            let said = self.fates.get(*rival).copied().flatten();
            said == Some(("lost", own)) && own.is_some() && self.word(place) != Some("current")
        };
        let replaces = |rival: &usize| {
            self.key.writes.get(*rival).is_some_and(|rival| rival.shown == Some(shown))
        };
        write.shown == Some(shown) && write.rivals.iter().any(|r| swept(r) && replaces(r))
    }

    /// Whether all rivals certainly came after this write, or did not outrank what it was shown.
    fn came_late(&self, place: usize, shown: usize) -> bool {
        let Some(write) = self.key.writes.get(place) else { return false };
        let own = self.receipt(place).and_then(Dot::read);
        let late = |rival: &usize| match self.fates.get(*rival).copied().flatten() {
            Some(("lost", _)) if !write.context => true,
            Some(("lost", by)) => by.and_then(Dot::read).zip(own).is_some_and(|(by, own)| by > own),
            _ => false,
        };
        write.shown == Some(shown) && write.rivals.iter().all(late)
    }
}
