//! The leader's side: which groups led here have been idle, and who has agreed that they are quiet.
//!
//! Promises: a group is quiet only after every other replica agreed to exactly the leadership and the
//! log that this one has, and only as long as each of them goes on to do so; whatever changes ends it.

use super::words::{Mark, Reign, Vouched};
use super::{Act, ByGroup, QuietTimes, Replicas, View};
use crate::consensus::status::Role;
use crate::model::{GroupId, NodeId};
use crate::runtime::Moment;
use std::collections::BTreeMap;

/// What must not change while a group is idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    reign: Reign,
    last: Mark,
    touched: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Used, or not yet idle for long.
    Busy,
    /// Idle: the others are asked to agree.
    Offered,
    /// All have agreed.
    Quiet,
}

#[derive(Debug)]
struct Led {
    seen: Option<Seen>,
    since: Moment,
    stage: Stage,
    others: Vec<NodeId>,
    /// When what each of the others last agreed to was sent.
    agreed: BTreeMap<NodeId, Moment>,
}

impl Led {
    fn busy(now: Moment, seen: Option<Seen>) -> Self {
        let (others, agreed) = (Vec::new(), BTreeMap::new());
        Self { seen, since: now, stage: Stage::Busy, others, agreed }
    }

    fn vouches(&self, group: GroupId) -> Option<Vouched> {
        let Seen { reign, last, .. } = self.seen.filter(|_| self.stage != Stage::Busy)?;
        Some(Vouched { group, reign, last })
    }

    /// Ends idleness; tells whether the leader must be roused.
    fn stir(&mut self, now: Moment, seen: Option<Seen>) -> bool {
        let was_quiet = self.stage == Stage::Quiet;
        *self = Self::busy(now, seen);
        was_quiet
    }
}

/// The groups that this node leads.
#[derive(Debug)]
pub(super) struct Leads {
    times: QuietTimes,
    led: ByGroup<Led>,
}

impl Leads {
    pub(super) fn new(times: QuietTimes) -> Self {
        Self { times, led: ByGroup::new() }
    }

    /// Forgets the groups that are no longer here. `groups` is in order.
    pub(super) fn keep(&mut self, groups: &[GroupId]) {
        self.led.retain(|group, _| groups.binary_search(group).is_ok());
    }

    /// This node does not lead the group.
    pub(super) fn forget(&mut self, group: GroupId) {
        self.led.remove(&group);
    }

    pub(super) fn look(
        &mut self,
        now: Moment,
        group: GroupId,
        view: &View,
        replicas: &dyn Replicas,
    ) -> Option<Act> {
        if view.role != Role::Leader {
            // Its ticker is started by whoever sees that it neither leads nor is parked.
            self.forget(group);
            return None;
        }
        let seen = view.whole().filter(|_| view.is_settled).map(|last| Seen {
            reign: view.vote,
            last,
            touched: view.touched,
        });
        let led = self.led.entry(group).or_insert_with(|| Led::busy(now, seen));
        if seen.is_none() || led.seen != seen {
            // One that was asked something woke up by that.
            let must_wake = led.stir(now, seen) && !view.is_ticking;
            return must_wake.then_some(Act::Rouse(group));
        }
        if led.stage == Stage::Busy && now.since(led.since) >= self.times.idle {
            let Some(others) = replicas.others(group) else {
                led.since = now;
                return None;
            };
            led.others = others;
            led.stage = Stage::Offered;
            // A group of one needs nobody's word.
            return Self::settle(group, led);
        }
        None
    }

    /// Makes a group quiet once all others have agreed.
    fn settle(group: GroupId, led: &mut Led) -> Option<Act> {
        let all = led.others.iter().all(|other| led.agreed.contains_key(other));
        let seen = led.seen.filter(|_| all && led.stage == Stage::Offered)?;
        led.stage = Stage::Quiet;
        Some(Act::Quieten(group, seen.touched))
    }

    pub(super) fn vouch(&self, peer: NodeId) -> Vec<Vouched> {
        let of_peer = self.led.iter().filter(|(_, led)| led.others.contains(&peer));
        of_peer.filter_map(|(group, led)| led.vouches(*group)).collect()
    }

    pub(super) fn answered(
        &mut self,
        now: Moment,
        (peer, sent): (NodeId, Moment),
        vouched: &[Vouched],
        refused: &[GroupId],
    ) -> Vec<Act> {
        let mut acts = Vec::new();
        for word in vouched {
            let Some(led) = self.led.get_mut(&word.group) else { continue };
            // An answer to what this node no longer says means nothing.
            if led.vouches(word.group) != Some(*word) {
                continue;
            }
            if refused.contains(&word.group) {
                let seen = led.seen;
                acts.extend(led.stir(now, seen).then_some(Act::Rouse(word.group)));
                continue;
            }
            let agreed = led.agreed.entry(peer).or_insert(sent);
            *agreed = sent.max(*agreed);
            acts.extend(Self::settle(word.group, led));
        }
        acts
    }

    pub(super) fn unanswered(&mut self, now: Moment, peer: NodeId) -> Vec<Act> {
        let of_peer = self.led.iter_mut().filter(|(_, led)| led.others.contains(&peer));
        let stirred = of_peer.filter_map(|(group, led)| {
            let seen = led.seen;
            led.stir(now, seen).then_some(Act::Rouse(*group))
        });
        stirred.collect()
    }

    pub(super) fn is_quiet(&self, group: GroupId) -> bool {
        self.led.get(&group).is_some_and(|led| led.stage == Stage::Quiet)
    }

    pub(super) fn confirmed(&self, group: GroupId) -> Option<(Reign, Moment)> {
        let led = self.led.get(&group).filter(|led| led.stage == Stage::Quiet)?;
        let earliest = led.agreed.values().copied().min()?;
        Some((led.seen?.reign, earliest))
    }

    pub(super) fn count(&self) -> usize {
        self.led.values().filter(|led| led.stage == Stage::Quiet).count()
    }
}
