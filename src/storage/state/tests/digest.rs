//! Digests: equal where the rows are equal, whatever became of them; different where one differs.

use super::place::{Place, flush_all, put};
use crate::runtime::Moment;
use crate::storage::state::{Digest, State};

const LATE: Moment = Moment(u64::MAX);

fn digest(state: &State) -> Digest {
    state.digest(1, LATE).unwrap().unwrap()
}

/// The same five entries, with something else done after each: nothing, flush, checkpoint, digest.
fn state_of(place: &Place, chores: [usize; 5]) -> State {
    let state = place.open();
    let entries =
        [("a", Some("1")), ("b", Some("2")), ("a", Some("3")), ("b", None), ("c", Some("4"))];
    for (index, ((key, value), chore)) in (1..).zip(entries.into_iter().zip(chores)) {
        put(&state, 1, index, key, value);
        match chore {
            1 => flush_all(&state),
            2 => drop(state.checkpoint(1).unwrap()),
            3 => assert_eq!(digest(&state).applied, index),
            _ => {}
        }
    }
    state
}

#[test]
fn replicas_of_equal_rows_agree_in_whichever_layers_they_hold_them() {
    let seed = 7;
    let mut chance = fastrand::Rng::with_seed(seed);
    let expected = digest(&state_of(&Place::in_memory(), [0; 5]));
    assert_eq!((expected.applied, expected.rows), (5, 2));
    for _ in 0..40 {
        let chores = [(); 5].map(|()| chance.usize(0..4));
        let state = state_of(&Place::in_memory(), chores);
        assert_eq!(digest(&state), expected, "seed {seed}, chores {chores:?}");
    }
    let sled = Place::on_sled();
    assert_eq!(digest(&state_of(&sled, [2, 0, 1, 0, 3])), expected);
}

#[test]
fn a_replica_that_differs_in_one_row_is_seen() {
    let place = Place::in_memory();
    let state = state_of(&place, [2, 0, 1, 0, 0]);
    let before = digest(&state);
    put(&state, 1, 6, "b", Some(""));
    let other = state_of(&Place::in_memory(), [0; 5]);
    put(&other, 1, 6, "d", Some(""));
    let (one, two) = (digest(&state), digest(&other));
    assert_eq!((one.applied, one.rows), (two.applied, two.rows));
    assert!(one.digest != two.digest && one.digest != before.digest);
}

#[test]
fn a_digest_ends_at_its_deadline_and_leaves_few_tables_behind() {
    let place = Place::in_memory();
    let state = place.open();
    for index in 1..=2000 {
        put(&state, 1, index, &format!("{index}"), Some("v"));
    }
    assert_eq!(state.digest(1, Moment(0)).unwrap(), None);
    for index in 2001..=2100 {
        put(&state, 1, index, &format!("{index}"), Some("v"));
        assert_eq!(digest(&state).rows, index);
    }
    let found = state.0.inner.find(1).unwrap();
    assert!(found.layers.read().frozen.len() <= crate::runtime::limits::DIGEST_FROZEN_MAX);
    assert_eq!(state.digest(9, LATE).unwrap().unwrap().rows, 0, "nothing is known of this group");
}
