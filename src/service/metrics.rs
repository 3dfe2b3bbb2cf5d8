//! Figures of the hall: what was passed on, and how often a request had to wait.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::runtime::metrics::Metrics;

/// What became of a request that was passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    Answered,
    NotSent,
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PassedLabel {
    result: &'static str,
}

/// Figures of the hall.
#[derive(Clone, Debug)]
pub struct ServiceMetrics {
    answered: Counter,
    not_sent: Counter,
    unknown: Counter,
    waits: Counter,
}

impl ServiceMetrics {
    /// Registers the figures.
    pub fn new(metrics: &Metrics) -> Self {
        let forwards = Family::<PassedLabel, Counter>::default();
        let waits = Counter::default();
        metrics.register(|registry| {
            registry.register(
                "forwards",
                "Requests passed to another node, by what became of them",
                forwards.clone(),
            );
            registry.register(
                "waits",
                "Times that a request waited for a leader or a newer catalog",
                waits.clone(),
            );
        });
        let counter = |result| forwards.get_or_create(&PassedLabel { result }).clone();
        Self {
            answered: counter("answered"),
            not_sent: counter("not_sent"),
            unknown: counter("unknown"),
            waits,
        }
    }

    pub(super) fn passed(&self, passed: Passed) {
        match passed {
            Passed::Answered => self.answered.inc(),
            Passed::NotSent => self.not_sent.inc(),
            Passed::Unknown => self.unknown.inc(),
        };
    }

    pub(super) fn waited(&self) {
        self.waits.inc();
    }
}
