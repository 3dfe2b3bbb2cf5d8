//! Tests of the streams, over real shards on disks and a network in memory, in virtual time.
//!
//! A failing test prints its seed; `SEED=…` runs that one only.

mod bounds;
mod copies;
mod faults;
mod links;
mod rows;
mod world;

use std::future::Future;

/// Runs a test over seeds, each in a runtime of its own whose time is virtual.
fn for_seeds<F: Future<Output = ()>>(seeds: std::ops::Range<u64>, test: impl Fn(u64) -> F) {
    let seeds = match std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => seeds,
    };
    for seed in seeds {
        println!("SEED={seed}");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(test(seed));
    }
}
