//! Any sequence of operations against a map: the state never differs from the plain one.
//!
//! A failing case is printed by proptest, shrunk, with the line that replays it.

use std::collections::BTreeMap;
use std::ops::Bound;

use proptest::prelude::*;

use super::place::{Place, flush_all, put, send};
use crate::storage::State;

#[derive(Clone, Debug)]
enum Step {
    Put(u64, u8, u16),
    Remove(u64, u8),
    Flush,
    Checkpoint(u64),
    /// Installs the checkpoint of one's own group again.
    Reinstall(u64),
    Reopen,
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    let group = 1..3u64;
    prop_oneof![
        8 => (group.clone(), 0..40u8, any::<u16>()).prop_map(|(g, k, v)| Step::Put(g, k, v)),
        4 => (group.clone(), 0..40u8).prop_map(|(g, k)| Step::Remove(g, k)),
        2 => Just(Step::Flush),
        2 => group.clone().prop_map(Step::Checkpoint),
        1 => group.prop_map(Step::Reinstall),
        1 => Just(Step::Reopen),
        1 => Just(Step::Kill),
    ]
}

type Rows = BTreeMap<String, String>;

/// What a group must hold, and what its newest checkpoint does.
#[derive(Clone, Debug, Default)]
struct Expected {
    index: u64,
    rows: Rows,
    durable: (u64, Rows),
}

fn compare(state: &State, expected: &BTreeMap<u64, Expected>) {
    for (group, expected) in expected {
        let (rows, index) = state.scan(*group, Bound::Unbounded, Bound::Unbounded, 1000).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let rows: Rows = rows.iter().map(|(key, value)| (text(key), text(value))).collect();
        assert_eq!((index, &rows), (expected.index, &expected.rows), "group {group}");
        for (key, value) in &expected.rows {
            let read = state.get(*group, key.as_bytes()).unwrap();
            assert_eq!(read.value.as_deref(), Some(value.as_bytes()));
        }
    }
}

fn run(place: &Place, clean_stop_keeps: bool, steps: Vec<Step>) {
    let mut state = place.open();
    let mut expected: BTreeMap<u64, Expected> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Put(group, key, value) => {
                let (key, value) = (format!("key {key}"), value.to_string());
                let group_rows = expected.entry(group).or_default();
                group_rows.index += 1;
                put(&state, group, group_rows.index, &key, Some(&value));
                group_rows.rows.insert(key, value);
            }
            Step::Remove(group, key) => {
                let key = format!("key {key}");
                let group_rows = expected.entry(group).or_default();
                group_rows.index += 1;
                put(&state, group, group_rows.index, &key, None);
                group_rows.rows.remove(&key);
            }
            Step::Flush => flush_all(&state),
            Step::Checkpoint(group) => {
                if let Some(e) = expected.get_mut(&group).filter(|e| e.index > 0) {
                    let checkpoint = state.checkpoint(group).unwrap();
                    assert_eq!(checkpoint.rows(), e.rows.len() as u64);
                    e.durable = (e.index, e.rows.clone());
                }
            }
            Step::Reinstall(group) => {
                if let Some(checkpoint) = state.current_checkpoint(group) {
                    send(&checkpoint, &state);
                    let e = expected.get_mut(&group).unwrap();
                    (e.index, e.rows) = e.durable.clone();
                }
            }
            Step::Reopen | Step::Kill => {
                let clean = matches!(step, Step::Reopen);
                if clean {
                    state.close().unwrap();
                }
                drop(state);
                state = place.open();
                let believed = state.rebuilt().is_none();
                let why = state.rebuilt();
                assert!(believed || !(clean && clean_stop_keeps), "a clean stop: {why:?}");
                if !(clean && clean_stop_keeps) {
                    for e in expected.values_mut() {
                        (e.index, e.rows) = e.durable.clone();
                    }
                }
            }
        }
        compare(&state, &expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn any_history_reads_like_a_map_with_an_index_in_memory(
        steps in proptest::collection::vec(step(), 1..60)
    ) {
        run(&Place::in_memory(), false, steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn any_history_reads_like_a_map_with_sled(
        steps in proptest::collection::vec(step(), 1..60)
    ) {
        run(&Place::on_sled(), true, steps);
    }
}
