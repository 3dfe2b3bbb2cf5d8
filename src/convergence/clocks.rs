//! How far this node's clock is ahead of the others'.
//!
//! Why it exists: where the later write wins, a clock that runs ahead wins unfairly; such a node refuses
//! to write there. A peer is asked for its time, and its answer is compared with this node's time when it
//! asked: however long the question was on its way, the difference is never more than the lead. So
//! of several comparisons with a peer the largest counts. Old ones count no more: a node that is cut
//! off goes on writing. Promises: delay fences nobody; one peer with a wrong clock among several
//! fences nobody.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;

use crate::model::NodeId;
use crate::runtime::Moment;
use crate::runtime::limits::{CLOCK_SAMPLE_KEPT, CLOCK_SAMPLES_MAX};

/// Comparisons with the peers' clocks.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    samples: Mutex<BTreeMap<NodeId, VecDeque<(Moment, i64)>>>,
}

impl Clocks {
    /// Heard what a peer's clock said when it was asked; `mine_ms` is this node's time of asking.
    pub(super) fn heard(&self, node: NodeId, theirs_ms: u64, mine_ms: u64, now: Moment) {
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let mut samples = self.samples.lock();
        let of_node = samples.entry(node).or_default();
        of_node.push_back((now, signed(mine_ms).saturating_sub(signed(theirs_ms))));
        while of_node.len() > CLOCK_SAMPLES_MAX {
            of_node.pop_front();
        }
    }

    /// By how many milliseconds this node's clock leads: the median over the peers that were heard
    /// lately, the lower one of two.
    pub(super) fn lead_ms(&self, now: Moment) -> u64 {
        let mut samples = self.samples.lock();
        for of_node in samples.values_mut() {
            of_node.retain(|(at, _)| now.since(*at) <= CLOCK_SAMPLE_KEPT);
        }
        samples.retain(|_, of_node| !of_node.is_empty());
        let most = |of_node: &VecDeque<(Moment, i64)>| of_node.iter().map(|(_, lead)| *lead).max();
        let mut leads: Vec<i64> = samples.values().filter_map(most).collect();
        leads.sort_unstable();
        let median = leads.get(leads.len().saturating_sub(1) / 2).copied().unwrap_or(0);
        u64::try_from(median).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Moment = Moment(1_000_000_000_000);

    #[test]
    fn delay_does_not_make_a_node_lead() {
        let clocks = Clocks::default();
        // Asked at 1,000, answered by an equal clock when 2,000 ms had passed on the way.
        clocks.heard(NodeId(2), 3_000, 1_000, NOW);
        assert_eq!(clocks.lead_ms(NOW), 0);
        // A clock that is 700 ms behind, first over a slow way and then over a quick one.
        clocks.heard(NodeId(3), 2_300, 1_000, NOW);
        clocks.heard(NodeId(3), 4_310, 5_000, NOW);
        clocks.heard(NodeId(2), 4_310, 5_000, NOW);
        assert_eq!(clocks.lead_ms(NOW), 690);
    }

    #[test]
    fn one_wrong_clock_among_several_fences_nobody_else() {
        let clocks = Clocks::default();
        clocks.heard(NodeId(2), 10_000_000 - 3_600_000, 10_000_000, NOW);
        assert_eq!(clocks.lead_ms(NOW), 3_600_000, "of two nodes nobody knows who is right");
        clocks.heard(NodeId(3), 10_000_000, 10_000_000, NOW);
        assert_eq!(clocks.lead_ms(NOW), 0);
    }

    #[test]
    fn who_leads_all_others_knows_it_and_who_was_cut_off_does_not_care() {
        let clocks = Clocks::default();
        for node in 2..=5 {
            clocks.heard(NodeId(node), 1_000, 6_000, NOW);
        }
        assert_eq!(clocks.lead_ms(NOW), 5_000);
        assert_eq!(clocks.lead_ms(NOW + CLOCK_SAMPLE_KEPT + Duration::from_secs(1)), 0);
    }

    #[test]
    fn a_clock_that_lags_is_no_lead() {
        let clocks = Clocks::default();
        clocks.heard(NodeId(2), 9_000, 1_000, NOW);
        assert_eq!(clocks.lead_ms(NOW), 0);
        assert_eq!(Clocks::default().lead_ms(NOW), 0);
    }
}
