//! What the driver keeps of one group, and what the group needs next.
//!
//! Promises: the decision is a function of what was seen and of the clock, so that it can be tried
//! against any schedule; nothing here is needed after a crash, since all of it is found again in the
//! replicated state (leases, doomed namespaces, ownership) or only makes upkeep later (samples).
//! One proposal at a time: what is done is seen in the state before more is asked for.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::awake::Awake;
use super::deadlines::{Deadlines, SharedDeadlines};
use super::samples::Samples;
use crate::model::{
    GroupId, LeaseEvent, LeaseId, LeaseState, NamespaceId, Ownership, SlotRange, Tend, TendReply,
};
use crate::placement::Catalog;
use crate::runtime::limits::{
    ONCE_FORGET_TICK, ONCE_KEEP, SAMPLE_TICK, TEND_EXPIRE_MAX, TEND_PURGE_ROWS_MAX,
};
use crate::runtime::planted::{self, Bug};
use crate::runtime::{Clock, Moment};

/// What the driver may know of a replica.
pub trait Facts {
    /// Which group.
    fn group(&self) -> GroupId;
    /// The term in which this replica leads, if it does.
    fn led_term(&self) -> Option<u64>;
    /// The last applied entry.
    fn applied(&self) -> Option<u64>;
    /// All leases.
    fn leases(&self) -> Vec<LeaseState>;
    /// Leases that changed since this was last asked; `None` when only a look at all tells.
    fn lease_changes(&self) -> Option<Vec<LeaseEvent>>;
    /// What the group owns, and the epoch below which it accepts nothing.
    fn ownership(&self) -> Option<Ownership>;
    /// The index of the oldest record of a request that may be retried.
    fn once_oldest(&self) -> Option<u64>;
}

/// What a group needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Raises the epoch below which it accepts nothing.
    Own {
        /// The slots that it owns already.
        ranges: Vec<SlotRange>,
        /// The epoch of the newest deletion of a namespace.
        epoch: u64,
    },
    /// Upkeep.
    Tend(Tend),
}

/// The driver's memory of one group.
#[derive(Debug)]
pub struct Charge {
    awake: Awake,
    term: Option<u64>,
    time: Moment,
    deadlines: SharedDeadlines,
    gone: BTreeSet<LeaseId>,
    samples: Samples,
    sampled: Option<Moment>,
    forgotten: Option<Moment>,
    trimmed: u64,
    emptied: BTreeSet<NamespaceId>,
    under_way: bool,
    checking: bool,
}

impl Charge {
    /// Nothing is known yet. The deadlines are written here and looked at elsewhere.
    pub fn new(now: Moment, deadlines: SharedDeadlines) -> Self {
        Self {
            awake: Awake::new(now),
            term: None,
            time: Moment::default(),
            deadlines,
            gone: BTreeSet::new(),
            samples: Samples::default(),
            sampled: None,
            forgotten: None,
            trimmed: 0,
            emptied: BTreeSet::new(),
            under_way: false,
            checking: false,
        }
    }

    /// Takes in what the replica says. The clock is read last, here: a lease that was renewed while
    /// the facts were gathered must not be taken for renewed before that.
    pub fn look(&mut self, facts: &dyn Facts, clock: &dyn Clock) {
        let term = facts.led_term();
        let changes = facts.lease_changes();
        let is_new = term != self.term;
        let all = (term.is_some() && (is_new || changes.is_none())).then(|| facts.leases());
        let now = clock.now();
        self.time = self.awake.wake(now);
        self.sample(facts, now);
        self.term = term;
        let mut deadlines = self.deadlines.lock();
        if term.is_none() {
            *deadlines = Deadlines::default();
            self.gone.clear();
            return;
        }
        match (is_new, all, changes) {
            (true, Some(all), _) => {
                self.gone.clear();
                deadlines.begin(self.time, all);
            }
            (false, Some(all), _) => deadlines.replace(self.time, all),
            (_, None, changes) => {
                for event in changes.into_iter().flatten() {
                    deadlines.note(self.time, event);
                }
            }
        }
        deadlines.pass(self.time);
        let borrowed = deadlines.borrowed();
        self.gone.retain(|id| borrowed.contains(id));
    }

    fn sample(&mut self, facts: &dyn Facts, now: Moment) {
        if self.sampled.is_some_and(|last| now.since(last) < SAMPLE_TICK) {
            return;
        }
        self.sampled = Some(now);
        if let Some(applied) = facts.applied() {
            self.samples.note(now, applied);
        }
    }

    /// What the group needs now, if this node leads it and nothing is under way.
    pub fn next(&mut self, facts: &dyn Facts, catalog: &Catalog, now: Moment) -> Option<Step> {
        self.emptied.retain(|namespace| catalog.doomed.contains_key(namespace));
        if self.term.is_none() || self.under_way {
            return None;
        }
        let floor = if catalog.doomed.is_empty() { None } else { facts.ownership() };
        let doomed_epoch = catalog.doomed_epoch();
        if let Some(Ownership { ranges, epoch }) = &floor
            && *epoch < doomed_epoch
        {
            return Some(Step::Own { ranges: ranges.clone(), epoch: doomed_epoch });
        }
        // A group that owns nothing yet hears the epoch with its first command. The system group
        // holds no namespace's rows.
        let is_floored = floor.is_some() && facts.group() != GroupId::SYSTEM;
        let purge = catalog.doomed.keys().find(|id| is_floored && !self.emptied.contains(id));
        let purge = purge.filter(|_| !planted::active(Bug::DeletedNamespaceKept));
        let expire = self.deadlines.lock().expired(self.time, TEND_EXPIRE_MAX);
        let tend = Tend {
            expire,
            gone: self.gone.iter().take(TEND_EXPIRE_MAX).copied().collect(),
            forget: self.forget(facts, now),
            purge: purge.map(|namespace| (*namespace, TEND_PURGE_ROWS_MAX)),
        };
        (tend != Tend::default()).then_some(Step::Tend(tend))
    }

    /// Up to where records of requests are dropped; 0 when there is nothing to drop.
    fn forget(&mut self, facts: &dyn Facts, now: Moment) -> u64 {
        if self.forgotten.is_some_and(|last| now.since(last) < ONCE_FORGET_TICK) {
            return 0;
        }
        self.forgotten = Some(now);
        let Some(oldest) = facts.once_oldest() else { return 0 };
        self.samples.older_than(now, ONCE_KEEP).filter(|upto| *upto >= oldest).unwrap_or(0)
    }

    /// A step was proposed; no other one is until it has ended.
    pub fn begin(&mut self) {
        self.under_way = true;
    }

    /// The step has ended: with what it came to, or without being known to have had any effect.
    pub fn end(&mut self, step: &Step, reply: Option<TendReply>) {
        self.under_way = false;
        let Some(reply) = reply else { return };
        // Whoever said so: it was applied above the epoch, so no row can come back.
        if let Step::Tend(Tend { purge: Some((namespace, _)), .. }) = step
            && reply.purged_all
        {
            self.emptied.insert(*namespace);
        }
    }

    /// The borrowed leases to ask their homes for, unless that is under way.
    pub fn check(&mut self) -> Option<Vec<LeaseId>> {
        let deadlines = self.deadlines.lock();
        let borrowed = deadlines.borrowed();
        if self.term.is_none() || self.checking || borrowed.is_empty() {
            return None;
        }
        self.checking = true;
        Some(borrowed.iter().copied().collect())
    }

    /// The homes were asked; these leases exist no more, which is final.
    pub fn checked(&mut self, gone: Vec<LeaseId>) {
        self.checking = false;
        let deadlines = self.deadlines.lock();
        let borrowed = deadlines.borrowed();
        self.gone.extend(gone.into_iter().filter(|id| borrowed.contains(id)));
    }

    /// Doomed namespaces of which the group holds nothing any more, for good.
    pub fn emptied(&self) -> &BTreeSet<NamespaceId> {
        &self.emptied
    }

    /// The newest index whose history is older than anyone may ask for, if it has moved.
    pub fn history_floor(&mut self, catalog: &Catalog, now: Moment) -> Option<u64> {
        let kept = catalog.history_kept();
        self.samples.trim(now, kept.max(ONCE_KEEP));
        let floor = self.samples.older_than(now, kept).filter(|floor| *floor > self.trimmed)?;
        self.trimmed = floor;
        Some(floor)
    }

    /// How many leases this node looks after here.
    pub fn leases(&self) -> usize {
        self.deadlines.lock().len()
    }

    /// Whether this is the charge of the replica with these deadlines, not of one before it.
    pub fn is_of(&self, deadlines: &SharedDeadlines) -> bool {
        Arc::ptr_eq(&self.deadlines, deadlines)
    }
}

#[cfg(test)]
mod tests;
