//! The wing's figures for `/metrics`.
//!
//! Counters are counted where things happen; the marks of each group (leader, term, committed,
//! applied, lag) are read from the groups when somebody scrapes, so that 1,000 idle groups cost
//! nothing in between.

use std::fmt;
use std::sync::{Arc, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

use super::groups::Groups;
use super::status::{GroupStatus, Role};
use crate::runtime::metrics::Metrics;

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ProposalLabels {
    /// `applied`, `not_applied` or `unknown`.
    pub outcome: &'static str,
}

/// Counters of the wing.
#[derive(Clone, Debug)]
pub struct ConsensusMetrics {
    /// Proposals of this node's leaders, by outcome.
    pub proposals: Family<ProposalLabels, Counter>,
    /// Proposals handed to openraft together.
    pub batch_entries: Histogram,
    /// Quorum rounds made for reads.
    pub barrier_rounds: Counter,
    /// Reads that passed a barrier.
    pub barrier_reads: Counter,
    /// Changes of leader seen here, in all groups.
    pub leader_changes: Counter,
    /// Leaderships handed to the preferred node.
    pub hand_overs: Counter,
    /// Leases of the groups led here.
    pub leases: Gauge,
    /// Leases ended because their time was over.
    pub lease_expirations: Counter,
    /// Rows of deleted namespaces removed.
    pub purged_rows: Counter,
    /// Replicas here that rest because nobody uses their group.
    pub quiet_groups: Gauge,
    /// Replicas here that were woken.
    pub quiet_wakes: Counter,
}

impl Default for ConsensusMetrics {
    fn default() -> Self {
        Self {
            proposals: Family::default(),
            batch_entries: Histogram::new(exponential_buckets(1.0, 2.0, 10)),
            barrier_rounds: Counter::default(),
            barrier_reads: Counter::default(),
            leader_changes: Counter::default(),
            hand_overs: Counter::default(),
            leases: Gauge::default(),
            lease_expirations: Counter::default(),
            purged_rows: Counter::default(),
            quiet_groups: Gauge::default(),
            quiet_wakes: Counter::default(),
        }
    }
}

impl ConsensusMetrics {
    /// Registers the counters.
    pub fn register(metrics: &Metrics) -> Self {
        let figures = Self::default();
        metrics.register(|r| {
            r.register("proposals", "Proposals by outcome", figures.proposals.clone());
            r.register(
                "proposal_batch_entries",
                "Proposals handed to a group together",
                figures.batch_entries.clone(),
            );
            r.register(
                "read_barrier_rounds",
                "Quorum rounds made for linearizable reads",
                figures.barrier_rounds.clone(),
            );
            r.register(
                "read_barrier_reads",
                "Linearizable reads that passed a barrier",
                figures.barrier_reads.clone(),
            );
            r.register(
                "leader_changes",
                "Changes of leader seen by this node",
                figures.leader_changes.clone(),
            );
            r.register(
                "hand_overs",
                "Leaderships handed to the preferred node",
                figures.hand_overs.clone(),
            );
            r.register("leases", "Leases of the groups led here", figures.leases.clone());
            r.register(
                "lease_expirations",
                "Leases that this node's leaders ended because their time was over",
                figures.lease_expirations.clone(),
            );
            r.register(
                "purged_rows",
                "Rows of deleted namespaces that this node's leaders removed",
                figures.purged_rows.clone(),
            );
            r.register(
                "quiet_groups",
                "Replicas of this node that rest because nobody uses their group",
                figures.quiet_groups.clone(),
            );
            r.register(
                "quiet_wakes",
                "Replicas of this node woken by a lost leader or another reason than a request",
                figures.quiet_wakes.clone(),
            );
        });
        figures
    }

    /// Counts a proposal's end.
    pub fn proposal(&self, outcome: &'static str) {
        self.proposals.get_or_create(&ProposalLabels { outcome }).inc();
    }
}

/// Reads the groups' marks when somebody scrapes.
#[derive(Debug)]
pub struct GroupMarks {
    groups: Weak<Groups>,
}

type Mark = (&'static str, &'static str, fn(&GroupStatus) -> u64);

const MARKS: [Mark; 7] = [
    ("group_is_leader", "1 where this node leads the group", |s| u64::from(s.role == Role::Leader)),
    ("group_term", "The group's term", |s| s.term),
    ("group_last_index", "The last appended entry", |s| s.last.unwrap_or(0)),
    ("group_committed_index", "The last committed entry", |s| s.committed.unwrap_or(0)),
    ("group_applied_index", "The last applied entry", |s| s.applied.unwrap_or(0)),
    ("group_apply_lag", "Committed entries not yet applied", GroupStatus::apply_lag),
    ("group_waiting_proposals", "Proposals that wait", |s| s.waiting as u64),
];

impl GroupMarks {
    /// Registers the marks of these groups.
    pub fn register(metrics: &Metrics, groups: &Arc<Groups>) {
        let marks = Self { groups: Arc::downgrade(groups) };
        metrics.register(|r| r.register_collector(Box::new(marks)));
    }
}

impl Collector for GroupMarks {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(groups) = self.groups.upgrade() else { return Ok(()) };
        let mut gauge = |name: &str, help: &str, value: u64| {
            let encoder = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(encoder)
        };
        // Not 0 but nothing while no catalog is known: nobody must take that for the end of a purge.
        if let Some(catalog) = &*groups.catalog().borrow() {
            let doomed = u64::try_from(catalog.doomed.len()).unwrap_or(u64::MAX);
            gauge("namespaces_doomed", "Deleted namespaces whose data is being removed", doomed)?;
        }
        gauge(
            "once_records",
            "Results of requests that may be retried, in the groups of this node",
            groups.once_records(),
        )?;
        let statuses = groups.statuses();
        for (name, help, read) in MARKS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for status in &statuses {
                let labels = [("group", status.group.to_string())];
                let value = i64::try_from(read(status)).unwrap_or(i64::MAX);
                ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
