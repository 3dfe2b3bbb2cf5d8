//! Seeds: where a test's random choices come from, and how to make the same ones again.
//!
//! Promises: the seed is printed before it is used. Does not promise: the same interleaving; the
//! processes under test have clocks and threads of their own.

use std::env;

/// The variable that fixes the seed of every test of a run.
const VARIABLE: &str = "TETRARCH_SEED";

/// A test's random choices: from `TETRARCH_SEED`, else fresh; printed either way.
pub(crate) fn seeded(test: &str) -> fastrand::Rng {
    let given = env::var(VARIABLE).ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| fastrand::Rng::new().u64(..));
    println!("{test}: seed {seed}; replay: {VARIABLE}={seed} cargo test {test} -- --nocapture");
    fastrand::Rng::with_seed(seed)
}

/// How often a test repeats itself: from a variable, else the number for everyday runs.
pub(crate) fn rounds(variable: &str, everyday: u64) -> u64 {
    env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(everyday)
}
