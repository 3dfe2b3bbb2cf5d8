//! What a quorum is, and whom a promise serves.

use proptest::prelude::*;

use super::*;
use crate::consensus::types::Membership;

fn asked(configs: &[&[u64]]) -> Asked {
    let configs: Vec<BTreeSet<u64>> =
        configs.iter().map(|config| config.iter().copied().collect()).collect();
    let membership = Membership::new_with_defaults(configs, BTreeSet::from([9]));
    Asked {
        claim: Claim {
            group: GroupId(4),
            leader: LeaderId { term: 3, node_id: 1 },
            membership: Arc::new(StoredMembership::new(None, membership)),
        },
        granted: BTreeSet::new(),
        denied: BTreeSet::new(),
        waiting: Vec::new(),
    }
}

#[test]
fn a_majority_of_voters_confirms_and_a_learner_counts_for_nothing() {
    let mut asked = asked(&[&[1, 2, 3]]);
    asked.granted.extend([1, 9]);
    assert_eq!(asked.word(), None);
    asked.granted.insert(3);
    assert_eq!(asked.word(), Some(Word::Leads));
}

#[test]
fn a_claim_is_given_up_once_no_majority_can_come() {
    let mut asked = asked(&[&[1, 2, 3]]);
    asked.granted.insert(1);
    asked.denied.insert(2);
    assert_eq!(asked.word(), None);
    asked.denied.insert(3);
    assert_eq!(asked.word(), Some(Word::Unproved));
}

#[test]
fn a_joint_membership_needs_both_majorities() {
    let mut asked = asked(&[&[1, 2, 3], &[3, 4, 5]]);
    asked.granted.extend([1, 2, 3]);
    assert_eq!(asked.word(), None);
    asked.granted.insert(4);
    assert_eq!(asked.word(), Some(Word::Leads));
}

#[test]
fn nobody_confirms_a_claim_without_voters() {
    assert_eq!(asked(&[]).word(), Some(Word::Unproved));
}

#[test]
fn a_promise_is_to_the_newest_leader_alone() {
    let promised = Promised::default();
    let (old, new) = (LeaderId { term: 2, node_id: 1 }, LeaderId { term: 3, node_id: 1 });
    assert!(!promised.is_to(old));
    promised.note(old);
    assert!(promised.is_to(old) && !promised.is_to(new));
    promised.note(new);
    assert!(!promised.is_to(old) && promised.is_to(new));
}

proptest! {
    #[test]
    fn no_two_claims_are_confirmed_by_the_same_promises(
        voters in proptest::collection::btree_set(1u64..8, 1..6),
        extra in proptest::collection::btree_set(1u64..8, 0..6),
        promises in proptest::collection::vec(any::<bool>(), 8),
    ) {
        let voters: Vec<u64> = voters.into_iter().collect();
        let extra: Vec<u64> = extra.into_iter().collect();
        let mut configs: Vec<&[u64]> = vec![&voters];
        if !extra.is_empty() {
            configs.push(&extra);
        }
        let (mut one, mut other) = (asked(&configs), asked(&configs));
        for (voter, to_one) in (1u64..).zip(promises) {
            let (yes, no) = if to_one { (&mut one, &mut other) } else { (&mut other, &mut one) };
            yes.granted.insert(voter);
            no.denied.insert(voter);
        }
        let both = (one.word(), other.word()) == (Some(Word::Leads), Some(Word::Leads));
        prop_assert!(!both);
        prop_assert!(one.word().is_some() && other.word().is_some());
    }
}
