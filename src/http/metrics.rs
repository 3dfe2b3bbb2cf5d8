//! Figures of the front door: requests by route, method, status and outcome, and their times.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use crate::runtime::metrics::Metrics;
use crate::service::Outcome;

/// Upper ends of the latency buckets in seconds: fine where a healthy node answers.
const BUCKETS: [f64; 14] = [
    0.000_25, 0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.5, 1.0, 5.0, 15.0,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    method: &'static str,
    status: u16,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TimeLabels {
    route: &'static str,
    method: &'static str,
}

/// Figures of the front door.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    requests: Family<RequestLabels, Counter>,
    seconds: Family<TimeLabels, Histogram, fn() -> Histogram>,
    running: Gauge,
}

impl HttpMetrics {
    /// Registers the figures.
    pub fn new(metrics: &Metrics) -> Self {
        let this = Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            running: Gauge::default(),
        };
        metrics.register(|registry| {
            registry.register(
                "http_requests",
                "Requests by route, method, status and outcome",
                this.requests.clone(),
            );
            registry.register(
                "http_request_seconds",
                "Time from a request's head to its answer's head",
                this.seconds.clone(),
            );
            registry.register(
                "http_requests_running",
                "Requests being served",
                this.running.clone(),
            );
        });
        this
    }

    pub(super) fn began(&self) -> Running {
        self.running.inc();
        Running(self.running.clone())
    }

    pub(super) fn answered(
        &self,
        route: &'static str,
        method: &'static str,
        status: u16,
        outcome: Outcome,
        time: Duration,
    ) {
        let outcome = match outcome {
            Outcome::Applied => "applied",
            Outcome::NotApplied => "not_applied",
            Outcome::Unknown => "unknown",
        };
        self.requests.get_or_create(&RequestLabels { route, method, status, outcome }).inc();
        self.seconds.get_or_create(&TimeLabels { route, method }).observe(time.as_secs_f64());
    }
}

/// A request being served; also one whose client left is counted out when its future is dropped.
#[derive(Debug)]
pub(super) struct Running(Gauge);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}
