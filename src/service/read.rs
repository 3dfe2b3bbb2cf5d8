//! Reading one key, as new as the client asks for.
//!
//! Promises: a linearizable read reflects all that was acknowledged before it began, also when a
//! follower answers it; a bounded one is never older than its bound, or is refused; none is older
//! than the context's session. Reads have no effect, so they are repeated until the deadline.

use bytes::Bytes;

use crate::model::{Row, data_key};
use crate::placement::slot_of;
use crate::runtime::planted::{self, Bug};

use super::answer::Got;
use super::ask::{Context, ReadMode};
use super::error::ServiceError;
use super::forward::{Done, Find, Freshness, Work};
use super::pursue::{Plan, Reached, pursue};
use super::read_index::read_here;
use super::route::{Map, Target};
use super::{Service, check_key, internal};

impl Service {
    /// Reads a key. Cancel-safe.
    ///
    /// # Errors
    ///
    /// Reads have no effect, so every error but `Internal` may be retried.
    pub async fn get(
        &self,
        namespace: &str,
        key: Bytes,
        read: ReadMode,
        context: Context,
    ) -> Result<Got, ServiceError> {
        let find_in = |map: &Map| {
            let entry = map.namespace(namespace)?;
            check_key(&key, entry.limits)?;
            let slot = slot_of(entry.id, entry.layout, &key);
            let group = map.group(slot);
            Ok(Find {
                slot,
                key: data_key(entry.id, &key),
                freshness: freshness(read),
                at_least: group
                    .filter(|_| !planted::active(Bug::SessionIgnored))
                    .map_or(0, |group| context.session.of(group)),
            })
        };
        let reached = self.find(&find_in, &context).await?;
        let Reached { group, by, done } = reached;
        let leader = self.hall.wing.leader(group);
        let Done::Read { index, row, age } = done else {
            return Err(internal(group, "a read was answered as something else"));
        };
        let row = row
            .map(|bytes| Row::decode(&bytes))
            .transpose()
            .map_err(|error| internal(group, &error.to_string()))?;
        Ok(Got { row, group, index, read, staleness: age, served_by: by, leader })
    }

    /// Reads a row, here if that is good enough.
    pub(super) async fn find(
        &self,
        find_in: &(dyn Fn(&Map) -> Result<Find, ServiceError> + Send + Sync),
        context: &Context,
    ) -> Result<Reached, ServiceError> {
        let hall = &self.hall;
        let map = hall.founded(context).await?;
        // What this catalog does not know, a newer one may: that is looked up below.
        if let Ok(find) = find_in(&map)
            && find.freshness == Freshness::Now
            && hall.reads_by_followers()
            && let Some(group) = map.group(find.slot)
            && let Some(done) = read_here(hall, group, map.catalog.epoch, &find, context).await
        {
            return Ok(Reached { group, by: hall.node, done });
        }
        let planner = |map: &Map| {
            let find = find_in(map)?;
            Ok(Plan::read(Target::Slot(find.slot), Work::Read(find)))
        };
        pursue(hall, context, &planner).await
    }
}

fn freshness(read: ReadMode) -> Freshness {
    match read {
        ReadMode::Linearizable => Freshness::Now,
        ReadMode::Stale | ReadMode::Session => Freshness::Any,
        // Rounded down: the bound must not grow on the wire.
        ReadMode::Bounded(bound) => {
            Freshness::Within(u64::try_from(bound.as_millis()).unwrap_or(u64::MAX))
        }
    }
}
