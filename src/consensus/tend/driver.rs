//! The task that looks after the groups: looks, decides, proposes, and never waits for one group
//! while another needs something.
//!
//! Promises: per group one proposal and one question to lease homes at a time; a group that is gone
//! from here is forgotten; while no group has a lease, it looks once a second. Relies on `charge` for every decision.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use super::charge::{Charge, Facts, Step};
use super::doomed;
use super::home::LeaseHome;
use crate::consensus::group::Group;
use crate::consensus::groups::Groups;
use crate::consensus::leases::LeaseNews;
use crate::model::{
    self, Command, GroupId, LeaseEvent, LeaseId, LeaseState, Ownership, Reply, TendReply,
};
use crate::placement::{Catalog, SlotTable};
use crate::runtime::Moment;
use crate::runtime::limits::{
    DOOMED_TICK, LEASE_CHECK_BATCH, LEASE_CHECK_TICK, SAMPLE_TICK, TEND_PROPOSE_MAX, TEND_TICK,
};

/// Looks after the groups of this node, for ever.
pub async fn run(groups: Arc<Groups>, home: Arc<dyn LeaseHome>) {
    let mut driver = Driver {
        groups,
        home,
        charges: BTreeMap::new(),
        running: FuturesUnordered::new(),
        collecting: false,
    };
    let mut tick = tokio::time::interval(TEND_TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut pace = Pace::default();
    let stirred = Arc::clone(driver.groups.leases_stirred());
    let mut rests = false;
    loop {
        tokio::select! {
            _ = tick.tick() => {
                driver.round(&mut pace);
                rests = driver.may_rest();
                if rests {
                    tick.reset_after(SAMPLE_TICK);
                }
            }
            () = stirred.notified(), if rests => {
                rests = false;
                tick.reset_after(TEND_TICK);
            }
            Some(done) = driver.running.next(), if !driver.running.is_empty() => driver.end(done),
        }
    }
}

/// When the rarer duties were last done.
#[derive(Debug, Default)]
struct Pace {
    trimmed: Option<Moment>,
    checked: Option<Moment>,
    collected: Option<Moment>,
}

impl Pace {
    fn is_due(last: &mut Option<Moment>, every: std::time::Duration, now: Moment) -> bool {
        let is_due = last.is_none_or(|last| now.since(last) >= every);
        if is_due {
            *last = Some(now);
        }
        is_due
    }
}

/// What has come to its end.
enum Done {
    Stepped { group: GroupId, step: Step, reply: Option<TendReply> },
    Checked { group: GroupId, gone: Vec<LeaseId> },
    Collected,
}

struct Driver {
    groups: Arc<Groups>,
    home: Arc<dyn LeaseHome>,
    charges: BTreeMap<GroupId, Charge>,
    running: FuturesUnordered<BoxFuture<'static, Done>>,
    collecting: bool,
}

impl Driver {
    /// Whether nothing here needs the short tick: it is for leases, and for what is being removed.
    fn may_rest(&self) -> bool {
        let is_doomed = |catalog: &Arc<Catalog>| !catalog.doomed.is_empty();
        self.running.is_empty()
            && !self.groups.has_leases()
            && !self.groups.catalog().borrow().as_ref().is_some_and(is_doomed)
    }

    fn round(&mut self, pace: &mut Pace) {
        let Some(catalog) = self.groups.catalog().borrow().clone() else { return };
        let now = self.groups.env().clock.now();
        let trims = Pace::is_due(&mut pace.trimmed, SAMPLE_TICK, now);
        let checks = Pace::is_due(&mut pace.checked, LEASE_CHECK_TICK, now);
        let collects = Pace::is_due(&mut pace.collected, DOOMED_TICK, now);
        let here = self.groups.all();
        self.charges.retain(|id, charge| {
            let found = here.binary_search_by_key(id, |group| group.id());
            let found = found.ok().and_then(|at| here.get(at));
            found.is_some_and(|group| charge.is_of(group.deadlines()))
        });
        for group in &here {
            self.attend(group, &catalog);
            if trims {
                self.trim(group, &catalog);
            }
        }
        if checks {
            self.check(&catalog);
        }
        if collects && !catalog.doomed.is_empty() && !self.collecting {
            self.collect(catalog);
        }
        if trims {
            let figures = self.groups.metrics();
            let leases: usize = self.charges.values().map(Charge::leases).sum();
            figures.leases.set(i64::try_from(leases).unwrap_or(i64::MAX));
        }
    }

    /// Looks at a group and proposes what it needs.
    fn attend(&mut self, group: &Arc<Group>, catalog: &Catalog) {
        let id = group.id();
        let clock = Arc::clone(&self.groups.env().clock);
        let charge = self
            .charges
            .entry(id)
            .or_insert_with(|| Charge::new(clock.now(), Arc::clone(group.deadlines())));
        let facts = Replica { groups: &self.groups, group };
        charge.look(&facts, &*clock);
        let Some(step) = charge.next(&facts, catalog, clock.now()) else { return };
        charge.begin();
        self.running.push(Box::pin(propose(Arc::clone(&self.groups), id, step)));
    }

    fn end(&mut self, done: Done) {
        match done {
            Done::Collected => self.collecting = false,
            Done::Checked { group, gone } => {
                if let Some(charge) = self.charges.get_mut(&group) {
                    charge.checked(gone);
                }
            }
            Done::Stepped { group: id, step, reply } => {
                let Some(charge) = self.charges.get_mut(&id) else { return };
                charge.end(&step, reply);
                let Some(group) = self.groups.group(id) else { return };
                group.set_emptied(charge.emptied().clone());
                if let Some(reply) = reply {
                    let figures = self.groups.metrics();
                    figures.lease_expirations.inc_by(reply.expired);
                    figures.purged_rows.inc_by(reply.purged);
                    // There may be more of the same. What came to nothing waits for the next round:
                    // entries without effect must not follow each other as fast as they can.
                    let progress = reply.expired > 0 || reply.purged > 0;
                    let catalog = self.groups.catalog().borrow().clone();
                    if let Some(catalog) = catalog.filter(|_| progress) {
                        self.attend(&group, &catalog);
                    }
                }
            }
        }
    }

    fn trim(&mut self, group: &Group, catalog: &Catalog) {
        let now = self.groups.env().clock.now();
        let Some(charge) = self.charges.get_mut(&group.id()) else { return };
        if let Some(floor) = charge.history_floor(catalog, now) {
            self.groups.state().trim_history(group.id().0, floor);
        }
        group.set_emptied(charge.emptied().clone());
    }

    /// Asks the homes of borrowed leases whether these still live.
    fn check(&mut self, catalog: &Catalog) {
        let slots = SlotTable::of(catalog);
        for (group, charge) in &mut self.charges {
            let Some(borrowed) = charge.check() else { continue };
            let mut homes: BTreeMap<GroupId, Vec<LeaseId>> = BTreeMap::new();
            for id in borrowed {
                if let Some(home) = slots.group_of(id.slot()) {
                    homes.entry(home).or_default().push(id);
                }
            }
            let (group, home) = (*group, Arc::clone(&self.home));
            self.running.push(Box::pin(async move {
                let gone = ended(&*home, homes).await;
                Done::Checked { group, gone }
            }));
        }
    }

    fn collect(&mut self, catalog: Arc<Catalog>) {
        if !self.groups.group(GroupId::SYSTEM).is_some_and(|system| system.is_leader()) {
            return;
        }
        self.collecting = true;
        let groups = Arc::clone(&self.groups);
        self.running.push(Box::pin(async move {
            doomed::collect(groups, catalog).await;
            Done::Collected
        }));
    }
}

/// The leases that their homes no longer know. One home after the other: what is late by a tick is
/// late by a tick.
async fn ended(home: &dyn LeaseHome, homes: BTreeMap<GroupId, Vec<LeaseId>>) -> Vec<LeaseId> {
    let mut gone = Vec::new();
    for (group, ids) in homes {
        for portion in ids.chunks(LEASE_CHECK_BATCH) {
            match home.missing(group, portion.to_vec()).await {
                Ok(missing) => gone.extend(missing),
                Err(error) => {
                    tracing::debug!(%error, "borrowed leases are asked for again");
                    break;
                }
            }
        }
    }
    gone
}

async fn propose(groups: Arc<Groups>, group: GroupId, step: Step) -> Done {
    let command = match &step {
        Step::Own { ranges, epoch } => Command::Own { ranges: ranges.clone(), epoch: *epoch },
        Step::Tend(tend) => Command::Tend(tend.clone()),
    };
    let deadline = groups.env().clock.now() + TEND_PROPOSE_MAX;
    let reply = match groups.propose(group, command.encode(), deadline).await {
        Ok(proposed) => match Reply::decode(&proposed.reply) {
            Ok(Reply::Tended(reply)) => Some(reply),
            Ok(_) => Some(TendReply::default()),
            Err(error) => {
                tracing::warn!(%group, %error, "the answer to upkeep cannot be read");
                None
            }
        },
        // Whether it had an effect shows in the state, which is looked at before anything is asked
        // for again.
        Err(error) => {
            tracing::debug!(%group, %error, "upkeep is tried again");
            None
        }
    };
    Done::Stepped { group, step, reply }
}

/// A replica as the driver sees it.
struct Replica<'a> {
    groups: &'a Groups,
    group: &'a Group,
}

impl Facts for Replica<'_> {
    fn group(&self) -> GroupId {
        self.group.id()
    }

    fn led_term(&self) -> Option<u64> {
        self.group.led_term()
    }

    fn applied(&self) -> Option<u64> {
        self.groups.state().applied(self.group.id().0).map(|applied| applied.index)
    }

    fn leases(&self) -> Vec<LeaseState> {
        self.groups.leases(self.group.id()).map(|table| table.all()).unwrap_or_default()
    }

    fn lease_changes(&self) -> Option<Vec<LeaseEvent>> {
        match self.groups.leases(self.group.id())?.news() {
            LeaseNews::All(_) => None,
            LeaseNews::Some(news) => {
                let event = |(id, lease): (_, Option<_>)| {
                    lease.map_or(LeaseEvent::Ended(id), LeaseEvent::Lives)
                };
                Some(news.into_iter().map(event).collect())
            }
        }
    }

    fn ownership(&self) -> Option<Ownership> {
        let read = self.groups.get(self.group.id(), model::OWNED_KEY).ok()?;
        read.value.and_then(|bytes| Ownership::decode(&bytes).ok())
    }

    fn once_oldest(&self) -> Option<u64> {
        self.groups.once_oldest(self.group.id()).ok().flatten()
    }
}
