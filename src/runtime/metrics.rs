//! The registry of figures that an operator reads at `/metrics`.
//!
//! Each room registers its own figures, all under the prefix `tetrarch_`; this file owns the
//! registry and its text form.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

/// All figures of one node.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { registry: Arc::new(Mutex::new(Registry::with_prefix("tetrarch"))) }
    }
}

impl Metrics {
    /// Lets a room register its figures.
    pub fn register<T>(&self, register: impl FnOnce(&mut Registry) -> T) -> T {
        register(&mut self.registry.lock())
    }

    /// The figures in the OpenMetrics text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail; an encoder's own error would leave the text short.
        if let Err(error) = encode(&mut text, &self.registry.lock()) {
            tracing::error!(%error, "metrics could not be encoded");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::metrics::counter::Counter;

    #[test]
    fn figures_carry_the_prefix() {
        let metrics = Metrics::default();
        let counter = metrics.register(|r| {
            let c: Counter = Counter::default();
            r.register("tries", "how often", c.clone());
            c
        });
        counter.inc();
        assert!(metrics.text().contains("tetrarch_tries_total 1"));
    }
}
