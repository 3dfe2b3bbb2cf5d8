//! Reads beside applies: the index that a read returns is exactly the one its value reflects.

use std::sync::atomic::{AtomicBool, Ordering};

use super::place::{Place, put};

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
