//! The eventual wing's figures for `/metrics`, read from the shards when somebody scrapes.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::registry::Shards;
use super::shard::Shard;
use crate::runtime::metrics::Metrics;

/// Reads the shards' figures when somebody scrapes.
#[derive(Debug)]
pub struct ShardFigures {
    shards: Weak<Shards>,
}

type Figure = (&'static str, &'static str, fn(&Shard) -> u64);

const FIGURES: [Figure; 15] = [
    ("eventual_ops", "Operations applied since the start", |s| {
        s.inner.counts.ops.load(Ordering::Relaxed)
    }),
    ("eventual_batches", "Batches flushed since the start", |s| {
        s.inner.counts.batches.load(Ordering::Relaxed)
    }),
    ("eventual_refused", "Writes refused because too much waited", |s| {
        s.inner.counts.refused.load(Ordering::Relaxed)
    }),
    ("eventual_skewed_ops", "Operations whose stamps were far ahead of this node's clock", |s| {
        s.inner.counts.skewed.load(Ordering::Relaxed)
    }),
    ("eventual_forks", "Times that others knew more of this data directory than itself", |s| {
        s.inner.counts.forks.load(Ordering::Relaxed)
    }),
    ("eventual_log_bytes", "Bytes of the namespace's log", |s| {
        s.inner.counts.log_bytes.load(Ordering::Relaxed)
    }),
    ("eventual_distrusted", "Digests that were not those of their rows when last compared", |s| {
        s.inner.counts.distrusted.load(Ordering::Relaxed)
    }),
    ("eventual_cells", "Cells", |s| s.figures().cells),
    ("eventual_bytes", "Bytes of cells", |s| s.figures().bytes),
    ("eventual_siblings", "Registers in which several versions stand", |s| s.figures().siblings),
    ("eventual_open_losses", "Swept writes whose fate is not final", |s| s.figures().marks),
    ("eventual_lost", "Lost writes on record", |s| s.figures().lost),
    ("eventual_without_effect", "Writes that what is shown does not stand on", |s| {
        s.figures().without_effect
    }),
    ("eventual_lag_ops", "Operations that others are known to have and this node has not", |s| {
        let (vector, heard) = (s.vector(), s.heard_vectors());
        heard.values().map(|heard| vector.missing(&heard.vector)).max().unwrap_or(0)
    }),
    ("eventual_actors", "Actors in the namespace's vector", |s| s.vector().0.len() as u64),
];

impl ShardFigures {
    /// Registers the figures of these shards.
    pub fn register(metrics: &Metrics, shards: &Arc<Shards>) {
        let figures = Self { shards: Arc::downgrade(shards) };
        metrics.register(|r| r.register_collector(Box::new(figures)));
    }
}

impl Collector for ShardFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(shards) = self.shards.upgrade() else { return Ok(()) };
        let value = |value: u64| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        let all = shards.all();
        for (name, help, read) in FIGURES {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for shard in &all {
                let labels = [("namespace", shard.namespace().to_string())];
                value(read(shard)).encode(family.encode_family(&labels)?)?;
            }
        }
        let name = "eventual_clock_lead_ms";
        let help = "By how much this node's clock leads the others'";
        let encoder = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        value(shards.clock_lead_ms()).encode(encoder)
    }
}
