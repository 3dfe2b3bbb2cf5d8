//! The peer room's figures at `/metrics`.
//!
//! Labels are node ids, of which a cluster has few. Relies on: `runtime::metrics`.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

use super::Lane;
use crate::model::NodeId;
use crate::runtime::metrics::Metrics;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PeerLabel {
    peer: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LaneLabels {
    peer: u64,
    lane: &'static str,
}

/// Figures of all connections of a node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PeerMetrics {
    connected: Family<PeerLabel, Gauge>,
    queue_bytes: Family<LaneLabels, Gauge>,
    reconnects: Family<PeerLabel, Counter>,
    /// Frames written to all peers.
    pub(super) frames_sent: Counter,
    /// Frames read from all peers.
    pub(super) frames_received: Counter,
    /// Bytes written to all peers.
    pub(super) bytes_sent: Counter,
    /// Bytes read from all peers.
    pub(super) bytes_received: Counter,
    /// Calls and long bodies refused here for overload.
    pub(super) overloaded: Counter,
    /// Time from a call to its answer.
    pub(super) round_trip: Histogram,
}

impl PeerMetrics {
    /// Registers the figures.
    pub fn new(metrics: &Metrics) -> Self {
        let new = Self {
            connected: Family::default(),
            queue_bytes: Family::default(),
            reconnects: Family::default(),
            frames_sent: Counter::default(),
            frames_received: Counter::default(),
            bytes_sent: Counter::default(),
            bytes_received: Counter::default(),
            overloaded: Counter::default(),
            // 20 us to 10 s, in factors of 2.
            round_trip: Histogram::new(exponential_buckets(0.000_02, 2.0, 20)),
        };
        metrics.register(|registry| {
            let r = registry.sub_registry_with_prefix("peer");
            r.register(
                "connected",
                "1 while our connection to the peer is up",
                new.connected.clone(),
            );
            r.register("queue_bytes", "Bytes that wait to be written", new.queue_bytes.clone());
            r.register("reconnects", "Connections made to the peer", new.reconnects.clone());
            r.register("frames_sent", "Frames written", new.frames_sent.clone());
            r.register("frames_received", "Frames read", new.frames_received.clone());
            r.register("bytes_sent", "Bytes written", new.bytes_sent.clone());
            r.register("bytes_received", "Bytes read", new.bytes_received.clone());
            r.register("overloaded", "Calls refused here for overload", new.overloaded.clone());
            r.register(
                "round_trip_seconds",
                "Time from a call to its answer",
                new.round_trip.clone(),
            );
        });
        new
    }

    pub(super) fn set_connected(&self, peer: NodeId, connected: bool) {
        self.connected.get_or_create(&PeerLabel { peer: peer.0 }).set(i64::from(connected));
    }

    pub(super) fn count_connection(&self, peer: NodeId) {
        self.reconnects.get_or_create(&PeerLabel { peer: peer.0 }).inc();
    }

    /// The gauges of one peer's queues, both directions together.
    pub(super) fn queue_gauges(&self, peer: NodeId) -> QueueGauges {
        let gauge = |lane: Lane| {
            let labels = LaneLabels { peer: peer.0, lane: lane.name() };
            self.queue_bytes.get_or_create(&labels).clone()
        };
        QueueGauges { control: gauge(Lane::Control), data: gauge(Lane::Data) }
    }
}

/// Bytes that wait in the two lanes of one peer.
#[derive(Clone, Debug, Default)]
pub(super) struct QueueGauges {
    control: Gauge,
    data: Gauge,
}

impl QueueGauges {
    fn gauge(&self, lane: Lane) -> &Gauge {
        match lane {
            Lane::Control => &self.control,
            Lane::Data => &self.data,
        }
    }

    pub(super) fn add(&self, lane: Lane, bytes: usize) {
        self.gauge(lane).inc_by(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(super) fn remove(&self, lane: Lane, bytes: usize) {
        self.gauge(lane).dec_by(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}
