//! Counts of a phase of a load, while it goes on and when it is over.
//!
//! Promises: a failure counts as unknown unless it is certain that nothing was done; the latency of what
//! failed is in no quantile. Relies on: whoever counts to say from when a latency counts.

use hdrhistogram::Histogram;

use crate::bench::target::Failed;

/// What a phase came to.
#[derive(Debug)]
pub struct Phase {
    /// Keys written or read with success.
    pub ok: u64,
    /// Keys of which that surely failed.
    pub not_applied: u64,
    /// Writes of unknown outcome.
    pub unknown: u64,
    /// Reads that did not show what was acknowledged.
    pub wrong: u64,
    /// How long it lasted.
    pub seconds: f64,
    /// Of requests, in microseconds, from the intended start.
    pub times: Histogram<u64>,
    /// CPU time of the nodes.
    pub cpu_us: Option<u64>,
    /// CPU time of this program.
    pub own_cpu_us: Option<u64>,
    /// Why the first one failed that did.
    pub why: Option<String>,
}

impl Phase {
    /// Operations a second.
    #[allow(clippy::cast_precision_loss, reason = "a figure for display needs no more digits")]
    pub fn per_second(&self) -> f64 {
        self.ok as f64 / self.seconds.max(1e-9)
    }

    /// A quantile of the latency of requests.
    #[allow(clippy::cast_precision_loss, reason = "a figure for display needs no more digits")]
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        self.times.value_at_quantile(quantile) as f64 / 1_000.0
    }

    /// CPU of the nodes for one operation, in microseconds.
    pub fn cpu_us_per_op(&self) -> Option<f64> {
        self.per_op(self.cpu_us)
    }

    /// CPU of the generator for one operation, in microseconds.
    pub fn own_us_per_op(&self) -> Option<f64> {
        self.per_op(self.own_cpu_us)
    }

    #[allow(clippy::cast_precision_loss, reason = "a figure for display needs no more digits")]
    fn per_op(&self, us: Option<u64>) -> Option<f64> {
        (self.ok > 0).then_some(us? as f64 / self.ok as f64)
    }

    /// What failed.
    pub const fn failed(&self) -> u64 {
        self.not_applied + self.unknown
    }
}

#[derive(Debug)]
pub(super) struct Tally {
    pub(super) times: Histogram<u64>,
    pub(super) ok: u64,
    not_applied: u64,
    unknown: u64,
    pub(super) wrong: u64,
    why: Option<String>,
}

impl Tally {
    pub(super) fn new() -> Self {
        let times = Histogram::new_with_bounds(1, 600_000_000, 3);
        let times = times.expect("the bounds are fixed and proper");
        Self { times, ok: 0, not_applied: 0, unknown: 0, wrong: 0, why: None }
    }

    /// Counts so many that failed for this reason.
    pub(super) fn fail(&mut self, count: u64, failed: &Failed) {
        match failed {
            Failed::Unknown(_) => self.unknown += count,
            Failed::NotApplied(_) | Failed::Unmet => self.not_applied += count,
        }
        self.why.get_or_insert_with(|| failed.to_string());
    }

    /// Adds all of another.
    pub(super) fn add(&mut self, other: &Self) {
        self.times.add(&other.times).expect("all histograms have the same bounds");
        self.ok += other.ok;
        self.not_applied += other.not_applied;
        self.unknown += other.unknown;
        self.wrong += other.wrong;
        self.why = self.why.take().or_else(|| other.why.clone());
    }

    /// The phase that was counted; what it took is left open.
    pub(super) fn into_phase(self) -> Phase {
        let Self { times, ok, not_applied, unknown, wrong, why } = self;
        let (cpu_us, own_cpu_us) = (None, None);
        Phase { ok, not_applied, unknown, wrong, seconds: 0.0, times, cpu_us, own_cpu_us, why }
    }
}
