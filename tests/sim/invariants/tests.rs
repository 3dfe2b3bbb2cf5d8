//! Each invariant sees the violation that it is there for, and keeps quiet before it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tetrarch::consensus::codec::{encode, encode_entry, log_id};
use tetrarch::consensus::types::{Entry, EntryPayload, LeaderId, LogId, Vote};
use tetrarch::consensus::{GroupStatus, Role};
use tetrarch::model::{GroupId, NodeId, Ownership, Slot, SlotRange};
use tetrarch::runtime::metrics::Metrics;
use tetrarch::runtime::{Env, Tasks};
use tetrarch::storage::disk::SimDisk;
use tetrarch::storage::log::{Entry as Record, Log, LogMetrics, LogOptions};
use tetrarch::storage::state::{State, StateMetrics, StateOptions};

use super::{Invariant, View, all};
use crate::simulation::look::{Digest, Replica};
use crate::simulation::mirror::Mirror;

fn status(role: Role, term: u64, committed: u64) -> GroupStatus {
    GroupStatus {
        group: GroupId(1),
        leader: None,
        term,
        role,
        last: Some(committed),
        committed: Some(committed),
        applied: Some(committed),
        snapshot: None,
        purged: None,
        replication: BTreeMap::new(),
        voters: vec![NodeId(1), NodeId(2), NodeId(3)],
        learners: Vec::new(),
        waiting: 0,
    }
}

fn entry(term: u64, node: u64, index: u64) -> Record {
    let entry = Entry { log_id: log_id(term, node, index), payload: EntryPayload::Blank };
    Record { index, bytes: encode_entry(&entry) }
}

/// A log with these entries (term and node) from index 1 on, all flushed.
fn log(entries: &[(u64, u64)]) -> Log {
    let env = Env { tasks: Tasks::inline(), ..Env::system() };
    let options = LogOptions { segment_bytes: 64 << 10, inline: true, ..Default::default() };
    let metrics = LogMetrics::new(&Metrics::default());
    let log = Log::open(Arc::new(SimDisk::new()), "log".into(), options, &env, metrics).unwrap();
    // Where a group's log begins, as a purge says it.
    let mark = tetrarch::storage::log::Mark { index: 0, bytes: encode(&log_id(0, 0, 0)) };
    log.purge(1, mark, Box::new(|_| {}));
    let records = (1..).zip(entries).map(|(index, (term, node))| entry(*term, *node, index));
    log.append(1, records.collect(), Box::new(|_| {}));
    log.drive();
    log
}

fn replica(node: u64, life: u64, status: GroupStatus, entries: &[(u64, u64)]) -> Replica {
    let env = Env { tasks: Tasks::inline(), ..Env::system() };
    let (disk, metrics) = (Arc::new(SimDisk::new()), StateMetrics::new(&Metrics::default()));
    let state = State::open(disk, None, StateOptions::default(), &env, metrics, &|_| {}).unwrap();
    Replica { node, life, status, log: log(entries), state, commits: Vec::new(), digest: None }
}

fn follower(node: u64) -> Replica {
    replica(node, node, status(Role::Follower, 1, 1), &[(1, 1)])
}

fn commits(replica: &mut Replica, ids: &[LogId]) {
    replica.commits = ids.iter().map(|id| (*id, id.index)).collect();
}

fn digest(replica: &mut Replica, applied: u64, hash: u64) {
    replica.digest = Some(Digest { applied, hash, rows: 1, owned: None });
}

/// What the invariants say to looks, one after the other.
fn said(looks: Vec<(Vec<Replica>, BTreeMap<u64, Mirror>)>) -> Vec<Option<String>> {
    let mut invariants: Vec<Box<dyn Invariant>> = all();
    let mut said = Vec::new();
    for (replicas, mirrors) in looks {
        let view = View { replicas, mirrors: &mirrors };
        said.push(invariants.iter_mut().find_map(|invariant| {
            invariant.check(&view).err().map(|what| format!("{}: {what}", invariant.name()))
        }));
    }
    said
}

fn mirrors(logs: &[(u64, &[(u64, u64)])]) -> BTreeMap<u64, Mirror> {
    let mirror = |entries: &[(u64, u64)]| {
        let mut mirror = Mirror::default();
        mirror.refresh(&log(entries));
        mirror
    };
    logs.iter().map(|(node, entries)| (*node, mirror(entries))).collect()
}

#[track_caller]
fn quiet_then(name: &str, before: Vec<Replica>, after: Vec<Replica>) {
    quiet_then_on_disks(name, (before, BTreeMap::new()), (after, BTreeMap::new()));
}

#[track_caller]
fn quiet_then_on_disks(
    name: &str,
    before: (Vec<Replica>, BTreeMap<u64, Mirror>),
    after: (Vec<Replica>, BTreeMap<u64, Mirror>),
) {
    let said = said(vec![before, after]);
    assert_eq!(said[0], None);
    let heard = said[1].as_deref().unwrap_or("nothing");
    assert!(heard.starts_with(name), "{name}: {heard}");
}

#[test]
fn a_leadership_that_comes_again_after_a_restart_is_seen() {
    let leader = |life| replica(1, life, status(Role::Leader, 4, 1), &[(4, 1)]);
    quiet_then("election safety", vec![leader(1)], vec![leader(2)]);
}

#[test]
fn logs_that_part_and_meet_again_are_seen() {
    let one = mirrors(&[(1, &[(1, 1), (3, 1)]), (2, &[(1, 1), (2, 2)])]);
    let two = mirrors(&[(1, &[(1, 1), (3, 1), (3, 1)]), (2, &[(1, 1), (2, 2), (3, 1)])]);
    quiet_then_on_disks("log matching", (vec![], one), (vec![], two));
}

#[test]
fn two_entries_committed_at_one_place_are_seen() {
    let (mut one, mut other) = (follower(1), follower(2));
    one.status.voters.clear();
    other.status.voters.clear();
    // The last one counts as everywhere, so that only this invariant speaks.
    commits(&mut one, &[log_id(1, 1, 1)]);
    commits(&mut other, &[log_id(2, 2, 1)]);
    let invariant = |looks: Vec<Replica>| {
        let mut all = super::committed_stays::CommittedStays::default();
        let none = BTreeMap::new();
        all.check(&View { replicas: looks, mirrors: &none })
    };
    assert!(invariant(vec![one, other]).unwrap_err().contains("is committed"));
}

#[test]
fn a_commit_on_too_few_disks_is_seen() {
    let committed = || {
        let mut replica = follower(1);
        commits(&mut replica, &[log_id(1, 1, 1)]);
        vec![replica]
    };
    let enough = mirrors(&[(1, &[(1, 1)]), (2, &[(1, 1)])]);
    let too_few = mirrors(&[(1, &[(1, 1)]), (2, &[])]);
    quiet_then_on_disks("committed on a quorum", (committed(), enough), (committed(), too_few));
}

#[test]
fn a_leader_without_a_committed_entry_is_seen() {
    let disks = || mirrors(&[(1, &[(1, 1), (1, 1)]), (2, &[(1, 1), (1, 1)])]);
    let mut knowing = replica(1, 1, status(Role::Follower, 1, 2), &[(1, 1), (1, 1)]);
    commits(&mut knowing, &[log_id(1, 1, 1), log_id(1, 1, 2)]);
    let leader = replica(3, 3, status(Role::Leader, 2, 1), &[(1, 1)]);
    quiet_then_on_disks("leader completeness", (vec![knowing], disks()), (vec![leader], disks()));
}

#[test]
fn different_rows_at_one_applied_index_are_seen() {
    let (mut one, mut other) = (follower(1), follower(2));
    digest(&mut one, 7, 1);
    digest(&mut other, 7, 2);
    quiet_then("state machine safety", vec![one], vec![other]);
}

#[test]
fn marks_out_of_order_are_seen() {
    let mut wrong = follower(1);
    wrong.status.applied = Some(2);
    quiet_then("marks are in order", vec![follower(1)], vec![wrong]);
}

#[test]
fn marks_that_fall_are_seen() {
    let later = || replica(1, 1, status(Role::Follower, 5, 1), &[(1, 1)]);
    let earlier = || replica(1, 1, status(Role::Follower, 4, 1), &[(1, 1)]);
    quiet_then("marks never fall", vec![later()], vec![earlier()]);
}

#[test]
fn a_vote_that_falls_is_seen() {
    let disk = |term| {
        let mut mirror = Mirror::default();
        let vote = Vote { leader_id: LeaderId { term, node_id: 1 }, committed: false };
        mirror.groups.entry(1).or_default().vote = Some(vote);
        (vec![], BTreeMap::from([(1, mirror)]))
    };
    quiet_then_on_disks("marks never fall", disk(5), disk(4));
}

#[test]
fn a_slot_of_two_groups_is_seen() {
    let slot = |number| Slot::new(number).unwrap();
    let owner = |group, first, last| {
        let mut replica = follower(1);
        replica.status.group = GroupId(group);
        let ranges = vec![SlotRange { first: slot(first), last: slot(last) }];
        let owned = Some(Ownership { ranges, epoch: 1 });
        replica.digest = Some(Digest { applied: 1, hash: group, rows: 1, owned });
        replica
    };
    quiet_then(
        "a slot is owned by one group",
        vec![owner(1, 0, 9), owner(2, 10, 19)],
        vec![owner(3, 19, 30)],
    );
}
