//! Who to ask: the endpoints in turn, and the leaders of the groups as far as they are known.
//!
//! Why it exists: any node answers any request, but asking the leader saves a hop. The table of
//! slots and leaders is read once from `/v1/cluster`, corrected by the hints that answers carry,
//! and read again when an answer shows that it is out of date.
//!
//! Promises: a hint is only a hint; a wrong one costs a hop, never a wrong answer. An address that
//! could not be reached is passed over for a moment, unless there is no other.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::model::NamespaceId;
use crate::placement::catalog::Layout;
use crate::placement::slots::slot_of;
use crate::runtime::{Moment, limits};
use crate::wire::{ClusterView, base_url};

/// The id of the namespace `default`, the only one whose slots a client can compute by itself.
pub(super) const DEFAULT_NAMESPACE: NamespaceId = NamespaceId(1);

#[derive(Debug)]
pub(super) struct Routes {
    endpoints: Vec<String>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// First slot, last slot, group; by first slot.
    ranges: Vec<(u16, u16, u64)>,
    leaders: HashMap<u64, String>,
    resting: HashMap<String, Moment>,
    /// Who asked not to be asked before when.
    told: HashMap<String, Moment>,
    turn: usize,
    looked_at: Option<Moment>,
    outdated: bool,
}

impl Known {
    fn group(&self, ns: &str, key: &[u8]) -> Option<u64> {
        if ns != "default" {
            return None;
        }
        let slot = slot_of(DEFAULT_NAMESPACE, Layout::Spread, key).get();
        let after = self.ranges.partition_point(|(first, _, _)| *first <= slot);
        let (_, last, group) = self.ranges.get(after.checked_sub(1)?)?;
        (slot <= *last).then_some(*group)
    }

    fn rests(&self, endpoint: &str, now: Moment) -> bool {
        self.wakes(endpoint).is_some_and(|until| until > now)
    }

    fn wakes(&self, endpoint: &str) -> Option<Moment> {
        self.told.get(endpoint).copied().max(self.resting.get(endpoint).copied())
    }
}

impl Routes {
    pub(super) fn new(endpoints: Vec<String>) -> Self {
        Self { endpoints, known: Mutex::new(Known { outdated: true, ..Known::default() }) }
    }

    /// The leader of the key's group, if it is known and was reachable lately.
    pub(super) fn leader_for(&self, ns: &str, key: &[u8], now: Moment) -> Option<String> {
        let known = self.known.lock();
        let leader = known.leaders.get(&known.group(ns, key)?)?;
        (!known.rests(leader, now)).then(|| leader.clone())
    }

    /// The next endpoint in turn that neither rests nor is the one to avoid; when there is none, the
    /// one that may be asked first.
    pub(super) fn next_but(&self, now: Moment, avoid: Option<&str>) -> String {
        let mut known = self.known.lock();
        known.turn = known.turn.wrapping_add(1);
        let turn = known.turn;
        let count = self.endpoints.len();
        let in_turn = || self.endpoints.iter().cycle().skip(turn % count).take(count);
        let free = || in_turn().filter(|endpoint| !known.rests(endpoint, now));
        free()
            .find(|endpoint| avoid != Some(endpoint.as_str()))
            .or_else(|| free().next())
            .or_else(|| in_turn().min_by_key(|endpoint| known.wakes(endpoint)))
            .cloned()
            .expect("a client has at least one endpoint")
    }

    /// Takes an endpoint at its word that it should not be asked before `until`.
    pub(super) fn obey(&self, endpoint: &str, until: Moment) {
        self.known.lock().told.insert(endpoint.to_owned(), until);
    }

    /// Whether an address neither rests nor asked for patience.
    pub(super) fn may_ask(&self, endpoint: &str, now: Moment) -> bool {
        !self.known.lock().rests(endpoint, now)
    }

    /// How long until one of the endpoints may be asked that asked for patience; zero when one did not.
    pub(super) fn all_wait(&self, now: Moment) -> Duration {
        let mut known = self.known.lock();
        known.told.retain(|_, until| *until > now);
        let waits = self.endpoints.iter().map(|endpoint| known.told.get(endpoint));
        let waits = waits.map(|until| until.map_or(Duration::ZERO, |until| until.since(now)));
        waits.min().unwrap_or_default()
    }

    /// Passes over an address for a moment.
    pub(super) fn rest(&self, endpoint: &str, now: Moment) {
        let mut known = self.known.lock();
        let until = now + Duration::from_millis(limits::ENDPOINT_REST_MS);
        known.resting.insert(endpoint.to_owned(), until);
        known.leaders.retain(|_, leader| leader != endpoint);
        known.resting.retain(|_, until| *until > now);
    }

    /// Learns from an answer which group it came from and who leads that group.
    pub(super) fn learn(&self, target: Option<(&str, &[u8])>, group: u64, leader: Option<String>) {
        let mut known = self.known.lock();
        if let Some((ns, key)) = target {
            let expected = known.group(ns, key);
            if ns == "default" && expected.is_some_and(|expected| expected != group) {
                known.outdated = true;
            }
        }
        if let Some(leader) = leader {
            known.leaders.insert(group, leader);
        }
    }

    /// Whether the table should be read now; says so to one caller at a time.
    pub(super) fn should_look(&self, now: Moment) -> bool {
        let mut known = self.known.lock();
        let pause = Duration::from_millis(limits::ROUTES_REFRESH_MS);
        let lately = known.looked_at.is_some_and(|then| now.since(then) < pause);
        if !known.outdated || lately {
            return false;
        }
        known.looked_at = Some(now);
        true
    }

    /// Takes over what a node says about the cluster.
    pub(super) fn take(&self, view: &ClusterView) {
        let addresses: HashMap<u64, &str> =
            view.nodes.iter().map(|node| (node.id, node.address.as_str())).collect();
        let mut known = self.known.lock();
        known.ranges = view
            .groups
            .iter()
            .flat_map(|group| group.slots.iter().map(|[first, last]| (*first, *last, group.id)))
            .collect();
        known.ranges.sort_unstable();
        known.leaders = view
            .groups
            .iter()
            .filter_map(|g| Some((g.id, base_url(addresses.get(&g.leader?)?))))
            .collect();
        known.outdated = known.ranges.is_empty();
    }
}
