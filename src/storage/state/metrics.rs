//! The state's figures at `/metrics`.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

use crate::runtime::metrics::Metrics;

/// Handles to the figures; cheap to clone.
#[derive(Clone, Debug)]
pub struct StateMetrics {
    pub(super) memtable_bytes: Gauge,
    pub(super) index_rows: Gauge,
    pub(super) index_disk_bytes: Gauge,
    pub(super) checkpoint_bytes: Gauge,
    pub(super) rows: Gauge,
    pub(super) history_bytes: Gauge,
    pub(super) history_changes: Gauge,
    pub(super) history_forgotten: Counter,
    pub(super) flush_seconds: Histogram,
    pub(super) checkpoint_seconds: Histogram,
    pub(super) apply_waits: Counter,
    pub(super) rebuilds: Counter,
}

impl StateMetrics {
    /// Registers the figures.
    pub fn new(metrics: &Metrics) -> Self {
        // From 1 ms to about 16 s.
        let histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 15));
        let figures = Self {
            memtable_bytes: Gauge::default(),
            index_rows: Gauge::default(),
            index_disk_bytes: Gauge::default(),
            checkpoint_bytes: Gauge::default(),
            rows: Gauge::default(),
            history_bytes: Gauge::default(),
            history_changes: Gauge::default(),
            history_forgotten: Counter::default(),
            flush_seconds: histogram(),
            checkpoint_seconds: histogram(),
            apply_waits: Counter::default(),
            rebuilds: Counter::default(),
        };
        metrics.register(|r| {
            let f = &figures;
            let mut gauge = |name: &str, help: &str, figure: &Gauge| {
                r.register(name, help, figure.clone());
            };
            gauge("state_memtable_bytes", "Bytes of all memtables", &f.memtable_bytes);
            gauge("state_index_rows", "Rows of the working index", &f.index_rows);
            gauge("state_index_disk_bytes", "Working index on disk", &f.index_disk_bytes);
            gauge("state_checkpoint_bytes", "Checkpoints on disk", &f.checkpoint_bytes);
            gauge("state_rows", "Rows, at most", &f.rows);
            gauge("state_history_bytes", "Recorded changes in memory", &f.history_bytes);
            gauge("state_history_changes", "Recorded changes", &f.history_changes);
            r.register(
                "state_history_forgotten",
                "Chunks of recorded changes forgotten for want of room",
                f.history_forgotten.clone(),
            );
            r.register(
                "state_flush_seconds",
                "Writing one memtable to the working index",
                f.flush_seconds.clone(),
            );
            r.register(
                "state_checkpoint_seconds",
                "Writing one checkpoint",
                f.checkpoint_seconds.clone(),
            );
            r.register(
                "state_apply_waits",
                "Applies that waited because the memtables were full",
                f.apply_waits.clone(),
            );
            r.register(
                "state_rebuilds",
                "Starts that threw the working index away",
                f.rebuilds.clone(),
            );
        });
        figures
    }
}

/// A figure for a gauge.
pub(super) fn gauge_value(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
