//! One key that is added to, each time with an idempotency key and repeated until it is certain.
//!
//! What is shown is at least what was acknowledged before, at most what was asked for so far, and never
//! falls; at the end, when nothing is uncertain any more, it is exact.

/// All that is known of a counter.
#[derive(Debug, Default)]
pub struct Counter {
    asked: u64,
    acknowledged: u64,
    floor: u64,
}

impl Counter {
    /// What an operation that begins now must show at least.
    pub fn floor(&self) -> u64 {
        self.floor.max(self.acknowledged)
    }

    /// An addition begins.
    pub fn begin(&mut self, amount: u64) {
        self.asked += amount;
    }

    /// An addition was acknowledged, with the sum that it made.
    pub fn done(&mut self, amount: u64, sum: u64) -> Result<(), String> {
        self.acknowledged += amount;
        self.shown(sum)
    }

    /// A linearizable read showed this sum; `floor` was complete when it began.
    pub fn read(&mut self, sum: u64, floor: u64) -> Result<(), String> {
        if sum < floor {
            return Err(format!("{sum} was shown after {floor}"));
        }
        self.shown(sum)
    }

    fn shown(&mut self, sum: u64) -> Result<(), String> {
        if sum > self.asked {
            return Err(format!("no request applied twice: {sum} of {} asked for", self.asked));
        }
        self.floor = self.floor.max(sum);
        Ok(())
    }

    /// The end: every addition was acknowledged.
    pub fn at_end(&self, sum: u64) -> Result<(), String> {
        if self.asked == self.acknowledged && sum != self.asked {
            return Err(format!("the sum is {sum}, and {} was added", self.asked));
        }
        Ok(())
    }
}
