//! Randomness from one seed per node.
//!
//! Why it exists: a run that cannot be repeated cannot be debugged; everything random asks here,
//! and the simulation hands out the seeds. Not for secrets.
//!
//! Promises: the same seed gives the same numbers in the same order. Never used by replicated code.

use parking_lot::Mutex;

/// A seeded source of random numbers, shared by all tasks of a node.
#[derive(Debug)]
pub struct Rng {
    inner: Mutex<fastrand::Rng>,
}

impl Rng {
    /// Repeats the same numbers for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self { inner: Mutex::new(fastrand::Rng::with_seed(seed)) }
    }

    /// Seeded by the operating system.
    #[allow(clippy::disallowed_methods, reason = "this is the one place that asks for entropy")]
    pub fn from_entropy() -> Self {
        let mut seed = [0u8; 8];
        getrandom::fill(&mut seed).expect("the operating system provides entropy");
        Self::seeded(u64::from_le_bytes(seed))
    }

    /// A number in `0..bound`; `bound` must not be zero.
    pub fn below(&self, bound: u64) -> u64 {
        self.inner.lock().u64(0..bound)
    }

    /// Any number.
    pub fn next(&self) -> u64 {
        self.inner.lock().u64(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let (a, b) = (Rng::seeded(7), Rng::seeded(7));
        for _ in 0..100 {
            assert_eq!(a.next(), b.next());
        }
        assert!(a.below(10) < 10);
        assert_ne!(Rng::from_entropy().next(), Rng::from_entropy().next());
    }
}
