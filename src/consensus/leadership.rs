//! Leadership comes home: this node hands back the groups that it leads for another.
//!
//! `placement::plan::transfers` decides, from what this leader sees: only to the preferred node, only
//! when that has been connected for a while and holds everything, only a few at a time. Each leader
//! decides for its own groups, because only a leader knows how far its followers are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::groups::Groups;
use crate::model::GroupId;
use crate::placement::{Led, NodeState, TransferLimits, transfers};
use crate::runtime::Moment;
use crate::runtime::limits::{
    TRANSFER_REST, TRANSFER_STABLE_MIN, TRANSFER_TICK, TRANSFERS_IN_FLIGHT_MAX,
};

/// Hands groups back, for ever.
pub async fn run(groups: Arc<Groups>) {
    let in_flight = Arc::new(AtomicUsize::new(0));
    let failed = Arc::new(Mutex::new(BTreeMap::new()));
    // A node that stops hands its groups over and is still connected then: they stay for a while.
    let mut led_since = BTreeMap::new();
    let limits = TransferLimits {
        stable_ms: u64::try_from(TRANSFER_STABLE_MIN.as_millis()).unwrap_or(u64::MAX),
        in_flight_max: TRANSFERS_IN_FLIGHT_MAX,
    };
    let mut tick = tokio::time::interval(TRANSFER_TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let now = groups.env().clock.now();
        let leading: Vec<GroupId> =
            groups.all().iter().filter(|group| group.is_leader()).map(|group| group.id()).collect();
        led_since.retain(|id, _| leading.contains(id));
        for id in leading {
            led_since.entry(id).or_insert(now);
        }
        let led = led(&groups, &failed.lock(), &led_since);
        if led.is_empty() {
            tick.reset_after(TRANSFER_REST);
        }
        for (id, target) in transfers(&led, in_flight.load(Ordering::Acquire), &limits) {
            let Some(group) = groups.group(id) else { continue };
            in_flight.fetch_add(1, Ordering::AcqRel);
            // A transfer that failed waits as long as a node that has just come back.
            let failed = Arc::clone(&failed);
            let in_flight = Arc::clone(&in_flight);
            let hand_overs = groups.metrics().hand_overs.clone();
            let clock = Arc::clone(&groups.env().clock);
            groups.env().tasks.spawn("hand over", async move {
                let taken = group.hand_over(target).await;
                tracing::info!(group = %group.id(), %target, taken, "leadership handed over");
                if taken {
                    hand_overs.inc();
                } else {
                    failed.lock().insert(group.id(), clock.now());
                }
                in_flight.fetch_sub(1, Ordering::AcqRel);
            });
        }
    }
}

type Since = BTreeMap<GroupId, Moment>;

fn led(groups: &Groups, failed: &Since, led_since: &Since) -> Vec<Led> {
    let Some(catalog) = groups.catalog().borrow().clone() else { return Vec::new() };
    let (node, now) = (groups.node(), groups.env().clock.now());
    let away = groups.all().into_iter().filter(|group| group.is_leader());
    away.filter_map(|group| {
        let preferred = catalog.groups.get(&group.id())?.preferred;
        let state = catalog.nodes.get(&preferred)?.state;
        // A node that is being emptied, or is gone, leads nothing more.
        let leaves = matches!(state, NodeState::Replaced { .. } | NodeState::Removed);
        if preferred == node || leaves {
            return None;
        }
        let since = groups.transport().connected_since(preferred);
        let fit_since =
            since.max(failed.get(&group.id()).copied()).max(led_since.get(&group.id()).copied());
        let stable = fit_since.map_or(0, |since| now.since(since).as_millis());
        Some(Led {
            group: group.id(),
            preferred,
            target_matched: group.is_close(preferred),
            target_connected: since.is_some(),
            target_stable_ms: u64::try_from(stable).unwrap_or(u64::MAX),
        })
    })
    .collect()
}
