//! The streams' figures for `/metrics`.
//!
//! Labels are node ids and a few words, never namespaces: there may be thousands of those. Relies on
//! `runtime::metrics`.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::model::NodeId;
use crate::runtime::metrics::Metrics;

/// Which peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PeerLabel {
    /// Its node id.
    pub peer: u64,
}

/// What bytes were for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct KindLabel {
    /// `ops`, `vectors` or `rows`.
    pub kind: &'static str,
}

/// What bytes on a stream are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Operations.
    Ops,
    /// Hellos, vectors, credit.
    Vectors,
    /// State sync.
    Rows,
}

/// Figures of all streams of a node. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct StreamMetrics {
    /// Bytes sent, by what they were for.
    bytes_sent: Family<KindLabel, Counter>,
    /// Operations that a peer lacks.
    lag_ops: Family<PeerLabel, Gauge>,
    /// For how long a peer has been lacking something.
    lag_seconds: Family<PeerLabel, Gauge>,
    /// Operations that had been known when they came.
    pub(super) redundant: Counter,
    /// Operations that came and were new.
    pub(super) received: Counter,
    /// Operations that wait for what they build on, or for their time.
    pub(super) held: Gauge,
    /// Streams that ended because too much would have waited.
    pub(super) overflows: Counter,
    /// Streams that broke the protocol, or could not be read.
    pub(super) broken: Counter,
    /// State syncs that were completed here.
    pub(super) state_syncs: Counter,
    /// State syncs that were cut off here.
    pub(super) state_syncs_cut: Counter,
    /// State syncs that began here.
    pub(super) state_syncs_begun: Counter,
    /// Namespaces whose replicas differ though they know the same.
    pub(super) diverged: Gauge,
    /// Actors whose clocks are ahead.
    pub(super) skewed: Gauge,
}

impl StreamMetrics {
    /// Registers the figures.
    pub fn new(metrics: &Metrics) -> Self {
        let new = Self::default();
        metrics.register(|registry| {
            let r = registry.sub_registry_with_prefix("convergence");
            r.register("bytes_sent", "Bytes sent on streams, by kind", new.bytes_sent.clone());
            r.register("lag_ops", "Operations that the peer lacks", new.lag_ops.clone());
            r.register(
                "lag_seconds",
                "For how long the peer has been lacking something",
                new.lag_seconds.clone(),
            );
            r.register(
                "redundant_ops",
                "Operations that had been known when they came",
                new.redundant.clone(),
            );
            r.register("received_ops", "Operations that came and were new", new.received.clone());
            r.register("held_ops", "Operations that wait for others", new.held.clone());
            r.register(
                "hold_overflows",
                "Streams ended because too much would have waited",
                new.overflows.clone(),
            );
            r.register("broken_streams", "Streams that broke the protocol", new.broken.clone());
            r.register("state_syncs", "State syncs completed here", new.state_syncs.clone());
            r.register("state_syncs_cut", "State syncs cut off here", new.state_syncs_cut.clone());
            r.register(
                "state_syncs_begun",
                "State syncs that began here",
                new.state_syncs_begun.clone(),
            );
            r.register(
                "diverged",
                "Namespaces whose replicas differ though they know the same",
                new.diverged.clone(),
            );
            r.register("skewed_actors", "Actors whose clocks are ahead", new.skewed.clone());
        });
        new
    }

    /// Bytes were sent.
    pub(super) fn sent(&self, kind: Kind, bytes: usize) {
        let kind = match kind {
            Kind::Ops => "ops",
            Kind::Vectors => "vectors",
            Kind::Rows => "rows",
        };
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.bytes_sent.get_or_create(&KindLabel { kind }).inc_by(bytes);
    }

    /// What a peer lacks, over all namespaces.
    pub(super) fn lag(&self, peer: NodeId, ops: u64, seconds: u64) {
        let label = PeerLabel { peer: peer.0 };
        self.lag_ops.get_or_create(&label).set(i64::try_from(ops).unwrap_or(i64::MAX));
        self.lag_seconds.get_or_create(&label).set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }

    /// A peer is gone, or linked no more.
    pub(super) fn forget(&self, peer: NodeId) {
        let label = PeerLabel { peer: peer.0 };
        self.lag_ops.remove(&label);
        self.lag_seconds.remove(&label);
    }

    /// Whether something is said of what a peer lacks.
    #[cfg(test)]
    pub(super) fn has_lag_of(&self, peer: NodeId) -> bool {
        self.lag_ops.get(&PeerLabel { peer: peer.0 }).is_some()
    }

    /// Bytes sent so far for operations, vectors and rows.
    pub fn bytes_sent(&self) -> [u64; 3] {
        ["ops", "vectors", "rows"]
            .map(|kind| self.bytes_sent.get_or_create(&KindLabel { kind }).get())
    }

    /// Operations that had been known when they came, and that were new.
    pub fn redundant_and_new(&self) -> (u64, u64) {
        (self.redundant.get(), self.received.get())
    }
}
