//! Figures of the log at `/metrics`.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

use crate::runtime::metrics::Metrics;

/// What the log counts. Clones share the figures.
#[derive(Clone, Debug)]
pub struct LogMetrics {
    pub(super) fsync_seconds: Histogram,
    pub(super) batch_records: Histogram,
    pub(super) batch_bytes: Histogram,
    pub(super) rewritten_bytes: Counter,
    pub(super) segments: Gauge,
    pub(super) spares: Gauge,
    pub(super) poisoned: Gauge,
    pub(super) queue_bytes: Gauge,
}

impl LogMetrics {
    /// Registers the figures.
    pub fn new(metrics: &Metrics) -> Self {
        metrics.register(|registry| {
            let figures = Self {
                fsync_seconds: Histogram::new(exponential_buckets(0.000_02, 2.0, 18)),
                batch_records: Histogram::new(exponential_buckets(1.0, 4.0, 8)),
                batch_bytes: Histogram::new(exponential_buckets(512.0, 4.0, 9)),
                rewritten_bytes: Counter::default(),
                segments: Gauge::default(),
                spares: Gauge::default(),
                poisoned: Gauge::default(),
                queue_bytes: Gauge::default(),
            };
            let seconds = prometheus_client::registry::Unit::Seconds;
            let bytes = || prometheus_client::registry::Unit::Bytes;
            registry.register_with_unit(
                "log_fsync",
                "Time of one sync of the log",
                seconds,
                figures.fsync_seconds.clone(),
            );
            registry.register(
                "log_batch_records",
                "Records written with one sync",
                figures.batch_records.clone(),
            );
            registry.register_with_unit(
                "log_batch",
                "Bytes written with one sync",
                bytes(),
                figures.batch_bytes.clone(),
            );
            registry.register_with_unit(
                "log_rewritten",
                "Entry bytes written anew so that old segments can go",
                bytes(),
                figures.rewritten_bytes.clone(),
            );
            let help = "Segment files in use";
            registry.register("log_segments", help, figures.segments.clone());
            let help = "Empty segment files in stock";
            registry.register("log_spares", help, figures.spares.clone());
            let help = "1 after a write or sync failed: the node must be restarted";
            registry.register("log_poisoned", help, figures.poisoned.clone());
            let help = "Bytes that wait for the writer";
            registry.register_with_unit("log_queue", help, bytes(), figures.queue_bytes.clone());
            figures
        })
    }
}
