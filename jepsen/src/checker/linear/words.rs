//! What the searches share: their limit, their outcome, and a fast hash.
//!
//! Why a hash of its own: the keys are a few machine words that nobody chooses to harm us; the
//! standard one takes most of the time of a search.

use std::hash::{BuildHasherDefault, Hasher};

/// What a search says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// There is an order.
    Linearizable,
    /// There is none; where it became impossible, if the search knows.
    Refuted(Option<usize>),
    /// Given up.
    Unfinished,
}

/// How many steps between two looks at the clock.
const LOOK_EVERY: u64 = 1 << 12;

/// When a search gives up.
pub(super) struct Limit<'a> {
    steps: u64,
    most: u64,
    stop: &'a (dyn Fn() -> bool + Sync),
}

impl<'a> Limit<'a> {
    /// After this many steps, or when `stop` says so.
    pub(super) fn new(most: u64, stop: &'a (dyn Fn() -> bool + Sync)) -> Self {
        Self { steps: 0, most, stop }
    }

    /// One step more; whether that was one too many.
    pub(super) fn reached(&mut self) -> bool {
        self.steps += 1;
        self.steps > self.most || (self.steps.is_multiple_of(LOOK_EVERY) && (self.stop)())
    }
}

/// A hasher for small keys of machine words.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mix(u64);

/// Builds [`Mix`].
pub(super) type Fast = BuildHasherDefault<Mix>;

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(23) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_usize(&mut self, number: usize) {
        self.write(&number.to_le_bytes());
    }
}
