//! Three nodes over one truthful log, with leaders that change and nodes that stand still: no lease
//! ends early, every lease ends, and a purge goes on after a leader that was lost.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::{ClusterId, Incarnation, NodeId};
use crate::placement::CatalogCommand;
use crate::runtime::clock::ManualClock;
use crate::runtime::limits::{TEND_LATE, TEND_TICK};

/// A group's agreed state, and what was really promised to the holders of leases.
#[derive(Debug, Default)]
struct World {
    index: u64,
    term: u64,
    leader: usize,
    elected_at: Moment,
    leases: BTreeMap<LeaseId, Lease>,
    epoch: u64,
    rows: BTreeMap<NamespaceId, u32>,
    once: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Lease {
    state: LeaseState,
    /// When its holder was told that it lives on.
    renewed_at: Moment,
}

/// One node's view: what it believes of its leading may be old.
#[derive(Debug)]
struct Node {
    charge: RefCell<Charge>,
    events: RefCell<Vec<LeaseEvent>>,
    believes: Cell<Option<u64>>,
    awake_again: Moment,
}

struct Seen<'a>(&'a World, &'a Node);

impl Facts for Seen<'_> {
    fn group(&self) -> GroupId {
        GroupId(1)
    }
    fn led_term(&self) -> Option<u64> {
        self.1.believes.get()
    }
    fn applied(&self) -> Option<u64> {
        Some(self.0.index)
    }
    fn leases(&self) -> Vec<LeaseState> {
        self.0.leases.values().map(|lease| lease.state).collect()
    }
    fn lease_changes(&self) -> Option<Vec<LeaseEvent>> {
        Some(self.1.events.take())
    }
    fn ownership(&self) -> Option<Ownership> {
        Some(Ownership { ranges: Vec::new(), epoch: self.0.epoch })
    }
    fn once_oldest(&self) -> Option<u64> {
        self.0.once
    }
}

struct Group {
    clock: ManualClock,
    world: World,
    nodes: Vec<Node>,
    catalog: Catalog,
    /// Proposed by whom, in which term, and not yet applied.
    under_way: Vec<(usize, u64, Step)>,
    ended: Vec<LeaseId>,
}

impl Group {
    fn new() -> Self {
        let mut catalog = Catalog::unfounded();
        catalog.apply(&CatalogCommand::Found {
            cluster: ClusterId(1),
            nodes: vec![(NodeId(1), "h:1".to_owned(), Incarnation(1))],
            groups: 1,
            replicas: 1,
        });
        let node = || Node {
            charge: RefCell::new(Charge::new(Moment::default(), SharedDeadlines::default())),
            events: RefCell::default(),
            believes: Cell::default(),
            awake_again: Moment::default(),
        };
        let nodes = vec![node(), node(), node()];
        let mut group = Self {
            clock: ManualClock::default(),
            world: World::default(),
            nodes,
            catalog,
            under_way: Vec::new(),
            ended: Vec::new(),
        };
        group.elect(0);
        group
    }

    fn now(&self) -> Moment {
        self.clock.now()
    }

    /// The old leader hears of it only with its next look.
    fn elect(&mut self, node: usize) {
        self.world.term += 1;
        self.world.leader = node;
        self.world.elected_at = self.now();
    }

    fn tell(&self, event: LeaseEvent) {
        for node in &self.nodes {
            node.events.borrow_mut().push(event);
        }
    }

    fn renew(&mut self, number: u64, ttl_ms: u64) {
        self.world.index += 1;
        let id = LeaseId(number);
        let ttl_ms = self.world.leases.get(&id).map_or(ttl_ms, |known| known.state.ttl_ms);
        let renewed = self.world.index;
        let state = LeaseState { id, ttl_ms, renewed, borrowed: false, own: false };
        self.world.leases.insert(id, Lease { state, renewed_at: self.now() });
        self.tell(LeaseEvent::Lives(state));
    }

    /// A node that is not stopped looks and proposes.
    fn look(&mut self, number: usize) {
        let node = &self.nodes[number];
        if self.now() < node.awake_again {
            return;
        }
        let seen = Seen(&self.world, node);
        let mut charge = node.charge.borrow_mut();
        charge.look(&seen, &self.clock);
        if let Some(step) = charge.next(&seen, &self.catalog, self.now()) {
            charge.begin();
            let term = node.believes.get().expect("only who believes to lead proposes");
            self.under_way.push((number, term, step));
        }
        drop(charge);
        let leads = self.world.leader == number;
        node.believes.set(leads.then_some(self.world.term));
    }

    /// What was proposed is agreed on, or lost with its leader.
    fn deliver(&mut self) -> Result<(), TestCaseError> {
        for (number, term, step) in std::mem::take(&mut self.under_way) {
            let reply = if term == self.world.term { Some(self.apply(&step)?) } else { None };
            self.nodes[number].charge.borrow_mut().end(&step, reply);
        }
        Ok(())
    }

    fn apply(&mut self, step: &Step) -> Result<TendReply, TestCaseError> {
        self.world.index += 1;
        let mut reply = TendReply::default();
        match step {
            Step::Own { epoch, .. } => self.world.epoch = self.world.epoch.max(*epoch),
            Step::Tend(tend) => {
                prop_assert!(tend.expire.len() <= TEND_EXPIRE_MAX);
                for (id, renewed) in &tend.expire {
                    let known = self.world.leases.get(id).copied();
                    let Some(lease) = known.filter(|l| l.state.renewed == *renewed) else {
                        continue;
                    };
                    let lived = self.now().since(lease.renewed_at);
                    let ttl = Duration::from_millis(lease.state.ttl_ms);
                    prop_assert!(lived >= ttl, "{id} ended after {lived:?} of {ttl:?}");
                    let led = self.now().since(self.world.elected_at);
                    prop_assert!(led >= ttl, "{id} ended after {led:?} under a new leader");
                    self.world.leases.remove(id);
                    self.tell(LeaseEvent::Ended(*id));
                    self.ended.push(*id);
                }
                if let Some((namespace, rows)) = tend.purge {
                    let left = self.world.rows.entry(namespace).or_default();
                    *left = left.saturating_sub(rows);
                    reply.purged_all = *left == 0;
                }
            }
        }
        Ok(reply)
    }

    fn pass(&mut self, ticks: u32) -> Result<(), TestCaseError> {
        for _ in 0..ticks {
            self.clock.advance(TEND_TICK);
            for node in 0..self.nodes.len() {
                self.look(node);
            }
            self.deliver()?;
        }
        Ok(())
    }
}

#[test]
fn a_lease_ends_soon_after_its_time_and_not_before() {
    let mut group = Group::new();
    group.pass(2).unwrap();
    group.renew(1, 1000);
    group.pass(9).unwrap();
    assert_eq!(group.ended, []);
    group.renew(1, 1000);
    group.pass(9).unwrap();
    assert_eq!(group.ended, []);
    group.pass(4).unwrap();
    assert_eq!(group.ended, [LeaseId(1)]);
}

#[test]
fn a_new_leader_gives_the_full_time_again() {
    let mut group = Group::new();
    group.pass(2).unwrap();
    group.renew(1, 1000);
    group.pass(9).unwrap();
    group.elect(1);
    group.pass(9).unwrap();
    assert_eq!(group.ended, [], "the new leader counts from its election");
    // The same node in another term is another leader, though it never saw the gap.
    group.elect(1);
    group.pass(9).unwrap();
    assert_eq!(group.ended, []);
    group.pass(5).unwrap();
    assert_eq!(group.ended, [LeaseId(1)]);
}

#[test]
fn what_waits_while_a_leader_stands_still_is_read_before_a_lease_ends() {
    let mut group = Group::new();
    group.pass(2).unwrap();
    group.renew(1, 1000);
    group.pass(8).unwrap();
    // Stopped for long; the holder renewed all the time, into sockets that nobody read.
    group.clock.advance(Duration::from_secs(60));
    group.look(0);
    assert_eq!(group.under_way, [], "the first look after a pause ends nothing");
    group.renew(1, 1000);
    group.pass(9).unwrap();
    assert_eq!(group.ended, []);
    group.pass(4).unwrap();
    assert_eq!(group.ended, [LeaseId(1)]);
}

#[test]
fn a_hundred_leases_more_than_fit_into_one_proposal_all_end() {
    let mut group = Group::new();
    group.pass(2).unwrap();
    let count = u64::try_from(TEND_EXPIRE_MAX).unwrap() + 100;
    for number in 0..count {
        group.renew(number, 500);
    }
    group.pass(8).unwrap();
    assert_eq!(group.ended.len(), TEND_EXPIRE_MAX + 100);
}

#[test]
fn a_purge_goes_on_under_the_next_leader() {
    let mut group = Group::new();
    let doomed = NamespaceId(2);
    group.catalog.doomed.insert(doomed, 7);
    group.world.rows.insert(doomed, TEND_PURGE_ROWS_MAX * 4);
    group.pass(2).unwrap();
    assert_eq!((group.world.epoch, group.world.rows[&doomed]), (7, TEND_PURGE_ROWS_MAX * 4));
    group.pass(2).unwrap();
    assert_eq!(group.world.rows[&doomed], TEND_PURGE_ROWS_MAX * 2, "half is done");
    group.elect(2);
    group.pass(5).unwrap();
    assert_eq!(group.world.rows[&doomed], 0);
    assert!(group.nodes[0].charge.borrow().emptied().is_empty(), "the first never saw the end");
    assert!(group.nodes[2].charge.borrow().emptied().contains(&doomed));
    // A third one finds nothing left, and claims so all the same.
    group.elect(1);
    group.pass(4).unwrap();
    assert!(group.nodes[1].charge.borrow().emptied().contains(&doomed));
    let index = group.world.index;
    group.pass(50).unwrap();
    assert_eq!(group.world.index, index, "nothing more is written once it is empty");
}

#[test]
fn nothing_is_purged_below_the_epoch_of_the_deletion() {
    let mut group = Group::new();
    group.catalog.doomed.insert(NamespaceId(2), 7);
    group.clock.advance(TEND_TICK);
    group.look(0);
    group.clock.advance(TEND_TICK);
    group.look(0);
    let own = Step::Own { ranges: Vec::new(), epoch: 7 };
    assert_eq!(group.under_way, [(0, 1, own)], "first the epoch, alone");
}

#[test]
fn records_are_forgotten_only_when_they_are_old() {
    let mut group = Group::new();
    group.world.once = Some(3);
    group.world.index = 5;
    let forgets = |group: &Group| match group.under_way.first() {
        Some((_, _, Step::Tend(tend))) => tend.forget,
        _ => 0,
    };
    let start = group.now();
    while group.now().since(start) < ONCE_KEEP {
        assert_eq!(forgets(&group), 0);
        group.clock.advance(TEND_TICK);
        group.look(0);
    }
    while group.now().since(start) < ONCE_KEEP + ONCE_FORGET_TICK * 2 {
        group.clock.advance(TEND_TICK);
        group.look(0);
    }
    assert_eq!(forgets(&group), 5);
}

#[test]
fn a_borrowed_lease_goes_when_its_home_knows_it_no_more() {
    let mut group = Group::new();
    group.pass(2).unwrap();
    let borrowed =
        |id| LeaseState { id: LeaseId(id), ttl_ms: 0, renewed: 1, borrowed: true, own: false };
    group.tell(LeaseEvent::Lives(borrowed(1)));
    group.tell(LeaseEvent::Lives(borrowed(2)));
    group.pass(30).unwrap();
    let node = &group.nodes[0];
    let asked = node.charge.borrow_mut().check();
    assert_eq!(asked, Some(vec![LeaseId(1), LeaseId(2)]));
    assert_eq!(node.charge.borrow_mut().check(), None, "one question at a time");
    node.charge.borrow_mut().checked(vec![LeaseId(2), LeaseId(9)]);
    group.clock.advance(TEND_TICK);
    group.look(0);
    let gone = Tend { gone: vec![LeaseId(2)], ..Tend::default() };
    assert_eq!(group.under_way, [(0, 1, Step::Tend(gone))]);
    assert_eq!(group.nodes[1].charge.borrow_mut().check(), None, "only the leader asks");
}

/// A replica that takes its time: a renewal is applied while it is being asked.
struct Slow<'a>(&'a Group, Cell<Duration>);

impl Facts for Slow<'_> {
    fn group(&self) -> GroupId {
        GroupId(1)
    }
    fn led_term(&self) -> Option<u64> {
        Some(1)
    }
    fn applied(&self) -> Option<u64> {
        None
    }
    fn leases(&self) -> Vec<LeaseState> {
        Vec::new()
    }
    fn lease_changes(&self) -> Option<Vec<LeaseEvent>> {
        self.0.clock.advance(self.1.take());
        let id = LeaseId(1);
        let state = LeaseState { id, ttl_ms: 100, renewed: 1, borrowed: false, own: false };
        Some(vec![LeaseEvent::Lives(state)])
    }
    fn ownership(&self) -> Option<Ownership> {
        None
    }
    fn once_oldest(&self) -> Option<u64> {
        None
    }
}

#[test]
fn a_renewal_is_never_taken_for_older_than_it_is() {
    let group = Group::new();
    let mut charge = Charge::new(group.now(), SharedDeadlines::default());
    let slow = Slow(&group, Cell::default());
    charge.look(&slow, &group.clock);
    slow.1.set(Duration::from_millis(50));
    charge.look(&slow, &group.clock);
    let renewed_at = group.now();
    while charge.next(&slow, &group.catalog, group.now()).is_none() {
        group.clock.advance(Duration::from_millis(10));
        charge.look(&slow, &group.clock);
    }
    assert_eq!(group.now().since(renewed_at), Duration::from_millis(100));
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Pass(u32),
    Renew(u64, u64),
    Elect(usize),
    /// A node stands still for so many milliseconds, whatever happens meanwhile.
    Stop(usize, u64),
    /// Time passes and a node looks, but what it proposes is not agreed on yet.
    Slow(usize, u64),
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (1u32..20).prop_map(Act::Pass),
        4 => (0u64..5, 200u64..3000).prop_map(|(id, ttl)| Act::Renew(id, ttl)),
        1 => (0usize..3).prop_map(Act::Elect),
        1 => (0usize..3, 1u64..8000).prop_map(|(node, ms)| Act::Stop(node, ms)),
        3 => (0usize..3, 0u64..900).prop_map(|(node, ms)| Act::Slow(node, ms)),
    ]
}

proptest! {
    // A failure prints its schedule and is kept in proptest-regressions, which runs it again.
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn no_lease_ends_early_and_every_lease_ends(
        acts in prop::collection::vec(any_act(), 1..80),
    ) {
        let mut group = Group::new();
        for act in acts {
            match act {
                Act::Pass(ticks) => group.pass(ticks)?,
                Act::Renew(id, ttl) => group.renew(id, ttl),
                Act::Elect(node) => group.elect(node),
                Act::Stop(node, ms) => {
                    let until = group.now() + Duration::from_millis(ms);
                    group.nodes[node].awake_again = until;
                }
                Act::Slow(node, ms) => {
                    group.clock.advance(Duration::from_millis(ms));
                    group.look(node);
                }
            }
        }
        // Nobody renews any more; whoever leads is awake within the longest stop.
        let patience = Duration::from_millis(8000 + 3000) + TEND_LATE * 2;
        let ticks = patience.as_millis() / TEND_TICK.as_millis() + 10;
        group.pass(u32::try_from(ticks).unwrap())?;
        prop_assert!(group.world.leases.is_empty(), "{:?} never end", group.world.leases);
    }
}
