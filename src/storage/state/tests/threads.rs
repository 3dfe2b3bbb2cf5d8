//! Reads beside applies: the index that a read returns is exactly the one its value reflects.

use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};

use super::place::{Place, put};
use crate::runtime::Env;
use crate::runtime::metrics::Metrics;
use crate::storage::state::{State, StateMetrics, StateOptions};

#[test]
fn a_read_returns_exactly_the_index_that_its_value_reflects() {
    let place = Place::on_sled();
    let state = place.open();
    put(&state, 1, 1, "counter", Some("1"));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = 0;
                while !done.load(Ordering::Acquire) {
                    let read = state.get(1, b"counter").unwrap();
                    assert_eq!(read.value.unwrap(), read.index.to_string());
                    assert!(read.index >= last);
                    last = read.index;
                }
            });
        }
        scope.spawn(|| {
            // Rows move through every layer meanwhile.
            while !done.load(Ordering::Acquire) {
                super::place::flush_all(&state);
                state.checkpoint(1).unwrap();
            }
        });
        for index in 2..20_000u64 {
            put(&state, 1, index, "counter", Some(&index.to_string()));
        }
        done.store(true, Ordering::Release);
    });
}

#[test]
fn a_checkpoint_holds_every_row_that_the_flusher_moved_meanwhile() {
    let place = Place::on_sled();
    let options = StateOptions { memtable_bytes: 256 * 1024, ..StateOptions::default() };
    let metrics = StateMetrics::new(&Metrics::default());
    let (root, env) = (Some(place.root().to_owned()), Env::system());
    let state = State::open(place.disk(), root, options, &env, metrics, &|_| {}).unwrap();
    let rows = 20_000u64;
    for index in 1..=rows {
        let key = format!("k{:023}", index.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        put(&state, 1, index, &key, Some(&"v".repeat(128)));
    }
    let scanned = state.scan(1, Bound::Unbounded, Bound::Unbounded, 100_000).unwrap().0;
    assert_eq!(scanned.len() as u64, rows);
    assert_eq!(state.checkpoint(1).unwrap().rows(), rows);
}
