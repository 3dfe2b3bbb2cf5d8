//! Slots: fixed for all time, spread evenly, each with exactly one group.

use proptest::prelude::*;

use super::*;
use crate::placement::assign::assign;

const NS: NamespaceId = NamespaceId(1);

fn spread(key: &str) -> u16 {
    slot_of(NS, Layout::Spread, key.as_bytes()).get()
}

#[test]
fn the_slots_of_keys_are_what_earlier_releases_computed() {
    // The reference value of XXH3-64 of no bytes: this is the hash that we think it is.
    assert_eq!(xxh3_64(b""), 0x2d06_8005_38d3_94c2);
    // A change here would misplace every stored key.
    let found: Vec<u16> = ["", "a", "user/1", "user/2", "{tag}x", "\u{fffd}"].map(spread).to_vec();
    assert_eq!(found, PINNED);
    assert_eq!(slot_of(NamespaceId(2), Layout::Spread, b"a").get(), PINNED_OTHER_NAMESPACE);
}

const PINNED: [u16; 6] = [14_638, 1233, 5677, 15_416, 10_412, 7990];
const PINNED_OTHER_NAMESPACE: u16 = 6518;

#[test]
fn keys_with_the_same_tag_live_together() {
    for (key, partition) in [
        ("plain", "plain"),
        ("{tag}", "tag"),
        ("a{tag}b", "tag"),
        ("a{tag}b{other}", "tag"),
        ("a}b{tag}", "tag"),
        ("{{tag}}", "{tag"),
        // No tag: nothing between the braces, or no closing one.
        ("{}tag", "{}tag"),
        ("{}{tag}", "{}{tag}"),
        ("a{tag", "a{tag"),
        ("a}tag{", "a}tag{"),
    ] {
        assert_eq!(partition_key(key.as_bytes()), partition.as_bytes(), "key {key}");
    }
    assert_eq!(spread("cart/{42}/items"), spread("cart/{42}/total"));
    assert_eq!(spread("cart/{42}/items"), spread("42"));
}

#[test]
fn an_ordered_namespace_is_one_slot() {
    let one = slot_of(NS, Layout::Ordered, b"a");
    for key in ["", "b", "{tag}", "zzz"] {
        assert_eq!(slot_of(NS, Layout::Ordered, key.as_bytes()), one, "key {key}");
    }
    assert_ne!(slot_of(NamespaceId(2), Layout::Ordered, b"a"), one, "namespaces differ");
}

/// Keys fall into 64 buckets of slots as chance would have it: chi-squared with 63 degrees of freedom
/// exceeds 120 once in a hundred thousand times, and these keys are always the same.
#[test]
fn similar_keys_spread_evenly() {
    const BUCKETS: usize = 64;
    const KEYS: usize = 64_000;
    let expected = 1000.0;
    for pattern in ["user/", "2026-11-21T00:00:", ""] {
        let mut counts = [0_u32; BUCKETS];
        for n in 0..KEYS {
            counts[usize::from(spread(&format!("{pattern}{n}"))) * BUCKETS / 16_384] += 1;
        }
        let chi: f64 = counts.iter().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum();
        assert!(chi < 120.0, "keys {pattern}N: chi-squared is {chi}");
    }
}

#[test]
fn every_slot_is_reached() {
    let mut reached = vec![false; usize::from(Slot::COUNT)];
    for n in 0..400_000 {
        reached[usize::from(spread(&n.to_string()))] = true;
    }
    assert_eq!(reached.iter().filter(|&&r| !r).count(), 0);
}

fn covers_all_slots_evenly(groups: u64) {
    let ranges = ranges(groups);
    let mut next = 0_u16;
    let mut sizes = Vec::new();
    for (n, (group, range)) in (1..).zip(&ranges) {
        assert_eq!((group.0, range.first.get()), (n, next), "of {groups} groups");
        assert!(range.first <= range.last, "group {group} of {groups} is empty");
        next = range.last.get() + 1;
        sizes.push(next - range.first.get());
    }
    assert_eq!((sizes.len() as u64, next), (groups, Slot::COUNT));
    assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{groups} groups");
}

#[test]
fn the_groups_hold_every_slot_exactly_once() {
    for groups in (1..=1000).chain([1024, 5000, 8191, 16_383, 16_384]) {
        covers_all_slots_evenly(groups);
    }
}

#[test]
#[should_panic(expected = "not 16385")]
fn more_groups_than_slots_are_a_fault() {
    drop(ranges(16_385));
}

proptest! {
    #[test]
    fn any_number_of_groups_holds_every_slot_exactly_once(groups in 1u64..=16_384) {
        covers_all_slots_evenly(groups);
    }

    #[test]
    fn any_key_has_a_slot(namespace: u64, key: Vec<u8>) {
        let namespace = NamespaceId(namespace);
        let slot = slot_of(namespace, Layout::Spread, &key);
        prop_assert!(slot.get() < Slot::COUNT);
        // A tag without braces in it is its own partition key.
        if !key.is_empty() && !key.contains(&b'{') && !key.contains(&b'}') {
            let tagged = [b"before{".as_slice(), &key, b"}after"].concat();
            prop_assert_eq!(slot_of(namespace, Layout::Spread, &tagged), slot);
        }
    }

    #[test]
    fn the_table_and_the_catalog_route_alike(groups in 1u64..=300, number in 0..Slot::COUNT) {
        let nodes = [1, 2, 3].map(crate::model::NodeId);
        let catalog = Catalog { groups: assign(&nodes, groups, 3), ..Catalog::unfounded() };
        let slot = Slot::new(number).unwrap();
        let group = SlotTable::of(&catalog).group_of(slot);
        prop_assert!(group.is_some());
        prop_assert_eq!(group, catalog.group_of(slot));
    }
}

#[test]
fn before_the_cluster_is_founded_no_slot_has_a_group() {
    let catalog = Catalog::unfounded();
    let slot = Slot::new(0).unwrap();
    assert_eq!(catalog.group_of(slot), None);
    assert_eq!(SlotTable::of(&catalog).group_of(slot), None);
}
