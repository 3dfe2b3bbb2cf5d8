//! Who leads which keys of the namespace `default`, as one look at the cluster has shown it.
//!
//! Why it exists: a program that keeps its own connections (a load generator does) can still ask
//! leaders directly, without the table of this client, which is shared and under a lock.
//!
//! Promises: what it says is a hint: a wrong one costs a hop, never a wrong answer. It does not
//! change; who finds it out of date takes another look.

use super::routes::DEFAULT_NAMESPACE;
use crate::placement::catalog::Layout;
use crate::placement::slots::slot_of;
use crate::wire::{ClusterView, base_url};

/// Leaders by ranges of slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leaders {
    /// First slot, last slot, which of the endpoints; by first slot.
    ranges: Vec<(u16, u16, usize)>,
}

impl Leaders {
    /// Takes what a node says about the cluster; leaders that are none of the endpoints are unknown.
    pub fn of(view: &ClusterView, endpoints: &[String]) -> Self {
        let number = |leader: u64| {
            let node = view.nodes.iter().find(|node| node.id == leader)?;
            let url = base_url(&node.address);
            endpoints.iter().position(|endpoint| *endpoint == url)
        };
        let led = view.groups.iter().filter_map(|group| Some((group, number(group.leader?)?)));
        let mut ranges: Vec<_> = led
            .flat_map(|(group, at)| {
                group.slots.iter().map(move |[first, last]| (*first, *last, at))
            })
            .collect();
        ranges.sort_unstable();
        Self { ranges }
    }

    /// Which of the endpoints leads the group of this key, counted from 0.
    pub fn of_key(&self, key: &[u8]) -> Option<usize> {
        let slot = slot_of(DEFAULT_NAMESPACE, Layout::Spread, key).get();
        let after = self.ranges.partition_point(|(first, _, _)| *first <= slot);
        let (_, last, at) = self.ranges.get(after.checked_sub(1)?)?;
        (slot <= *last).then_some(*at)
    }

    /// Whether it knows any.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn a_key_is_led_by_who_leads_its_slot() {
        let node = |id: u64| {
            json!({ "id": id, "address": format!("h:{id}"), "state": "active", "reachable": true,
                "incarnation": "0", "leads": 1, "replicas": 1, "moves_left": 0, "uptime_ms": null,
                "version": null })
        };
        let group = |id: u64, leader: Option<u64>, slots: [u16; 2]| {
            json!({ "id": id, "leader": leader, "preferred": 1, "term": 1, "committed": 1,
                "applied": 1, "last": 1, "voters": [], "learners": [], "slots": [slots],
                "replicas": [] })
        };
        let view = ClusterView {
            nodes: [1, 2, 3].map(|id| from_value(node(id)).unwrap()).into(),
            groups: [
                (1, Some(2), [0, 9_999]),
                (2, Some(3), [10_000, 19_999]),
                (3, None, [20_000, 65_535]),
            ]
            .map(|(id, leader, slots)| from_value(group(id, leader, slots)).unwrap())
            .into(),
            ..ClusterView::default()
        };
        // The third node is none of ours: it leads keys of which nothing is known.
        let leaders = Leaders::of(&view, &["http://h:1".to_owned(), "http://h:2".to_owned()]);
        let all: Vec<_> = (0..200_u32).map(|key| leaders.of_key(&key.to_le_bytes())).collect();
        assert!(all.contains(&Some(1)) && all.contains(&None) && !all.contains(&Some(0)));
        for key in 0..200_u32 {
            let slot = slot_of(DEFAULT_NAMESPACE, Layout::Spread, &key.to_le_bytes()).get();
            assert_eq!(leaders.of_key(&key.to_le_bytes()) == Some(1), slot <= 9_999, "{slot}");
        }
        assert!(Leaders::default().is_empty() && Leaders::default().of_key(b"x").is_none());
    }
}
