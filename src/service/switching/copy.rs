//! Copying the rows of a namespace to what it becomes.
//!
//! Why it exists: whoever copies may die at any moment, or be deposed without knowing it, and then
//! another node copies from the beginning. So a repetition must come to the same, and a late one must
//! do no harm. Promises: to the linearizable side rows are put, routed by a catalog in which the job is
//! copying; the groups refuse them once they were told of the next phase. To the eventual side
//! operations are planted that are the same whoever makes them, and what is known is passed over.
//! What was copied is read again and compared. Relies on [`cut`](super::cut): nothing changes
//! meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;

use crate::model::eventual::Vector;
use crate::model::{Action, Attach, Give, GroupId, KeyOp, KeyReply, Reply, Require, Row, WriteOp};
use crate::placement::{Mode, NamespaceEntry, Siblings, Switch, SwitchPhase, slot_of};
use crate::runtime::limits::SWITCH_ENTRY_KEYS;
use crate::service::ask::space_of;
use crate::service::error::ErrorKind;
use crate::service::pursue::{Plan, pursue};
use crate::service::route::{Map, Target};
use crate::service::{Service, ServiceError, check_key, no_catalog};

use super::Trouble;
use super::cut::context;
use super::forms::{Flat, Planting, Sum, flat, planter};
use super::pages::{Found, Pages};

/// One copying of one job.
pub(super) struct Copying<'a> {
    pub(super) service: &'a Service,
    pub(super) map: Arc<Map>,
    pub(super) name: &'a str,
    pub(super) switch: &'a Switch,
    pub(super) from: &'a NamespaceEntry,
    /// Told how many keys are copied.
    pub(super) told: &'a (dyn Fn(u64) + Send + Sync),
}

impl Copying<'_> {
    /// Copies all keys, reads them again and compares. Returns how many there are.
    pub(super) async fn run(&self) -> Result<u64, Trouble> {
        let catalog = &*self.map.catalog;
        let mut pages = Pages::of(self.service, catalog, (self.name, self.from)).await?;
        let mut sum = Sum::default();
        loop {
            let page = pages.next(self.service).await?;
            if page.is_empty() {
                break;
            }
            match self.switch.to.mode {
                Mode::Linearizable => self.put(page, &mut sum).await?,
                Mode::Eventual => self.plant(page, &mut sum).await?,
            }
            (self.told)(sum.keys);
        }
        let copied = self.read_back().await?;
        if copied != sum.total() {
            let (keys, found) = (sum.keys, copied.0);
            return Err(Trouble::Wait(format!(
                "what was copied does not read back as it was: {found} keys of {keys}"
            )));
        }
        Ok(sum.keys)
    }

    async fn read_back(&self) -> Result<(u64, u128), Trouble> {
        let catalog = &*self.map.catalog;
        let mut pages = Pages::of(self.service, catalog, (self.name, &self.switch.to)).await?;
        let mut sum = Sum::default();
        loop {
            let page = pages.next(self.service).await?;
            if page.is_empty() {
                return Ok(sum.total());
            }
            for (key, found) in page {
                match found {
                    Found::Row(Row { value, content_type, .. }) => {
                        sum.add(&key, &Flat { value, content_type });
                    }
                    Found::Shown(shown) => {
                        if let Some(flat) = blocked(&key, flat(shown, Siblings::Refuse))? {
                            sum.add(&key, &flat);
                        }
                    }
                }
            }
        }
    }

    /// To the linearizable side.
    async fn put(&self, page: Vec<(Bytes, Found)>, sum: &mut Sum) -> Result<(), Trouble> {
        let mut groups: BTreeMap<GroupId, Vec<(Bytes, Flat)>> = BTreeMap::new();
        for (key, found) in page {
            let Found::Shown(shown) = found else { continue };
            let Some(flat) = blocked(&key, flat(shown, self.switch.siblings))? else { continue };
            blocked(&key, fits(&self.switch.to, &key, &flat))?;
            sum.add(&key, &flat);
            let slot = slot_of(self.switch.to.id, self.switch.to.layout, &key);
            let group = self.map.group(slot).ok_or_else(no_catalog)?;
            groups.entry(group).or_default().push((key, flat));
        }
        let groups = groups.into_values().map(|rows| async move {
            for rows in rows.chunks(SWITCH_ENTRY_KEYS) {
                self.put_some(rows).await?;
            }
            Ok::<_, Trouble>(())
        });
        join_all(groups).await.into_iter().collect()
    }

    /// One entry of one group.
    async fn put_some(&self, rows: &[(Bytes, Flat)]) -> Result<(), Trouble> {
        let hall = &self.service.hall;
        let planner = |map: &Map| {
            let to = self.copying_in(map)?;
            let op = |(key, flat): &(Bytes, Flat)| KeyOp {
                slot: slot_of(to.id, to.layout, key),
                key: key.clone(),
                require: Require::None,
                op: WriteOp::Put {
                    value: flat.value.clone(),
                    content_type: flat.content_type.clone(),
                    attach: Attach::None,
                },
                give: Give::Nothing,
            };
            let ops: Vec<KeyOp> = rows.iter().map(op).collect();
            let slot = ops.first().map(|op| op.slot).ok_or_else(no_catalog)?;
            let action = Action::Many(space_of(to), ops);
            let plan = hall.proposal(map, Target::Slot(slot), to.id, action, None)?;
            // The same rows again are the same.
            Ok(Plan { repeatable: true, ..plan })
        };
        let answer = pursue(hall, &context(hall), &planner).await?.answer()?;
        let Reply::Many(replies) = &answer.reply else { return Err(answer.unexpected().into()) };
        for ((key, _), reply) in rows.iter().zip(replies) {
            if let KeyReply::Denied(denial) = reply {
                blocked(key, Err(denial.to_string()))?;
            }
        }
        Ok(())
    }

    /// What is copied to, if by this catalog it still is.
    fn copying_in<'m>(&self, map: &'m Map) -> Result<&'m NamespaceEntry, ServiceError> {
        let switch = map.catalog.namespace(self.name).and_then(NamespaceEntry::active_switch);
        match switch {
            Some(switch)
                if switch.job == self.switch.job && switch.phase == SwitchPhase::Copying =>
            {
                Ok(&switch.to)
            }
            _ => {
                let reason = "the switch is not copying any more".to_owned();
                Err(ErrorKind::Unavailable { reason }.into())
            }
        }
    }

    /// To the eventual side.
    async fn plant(&self, page: Vec<(Bytes, Found)>, sum: &mut Sum) -> Result<(), Trouble> {
        let to = &self.switch.to;
        let planting = self.planting()?;
        let mut ops = Vec::with_capacity(page.len());
        for (key, found) in page {
            let Found::Row(row) = found else { continue };
            let op = blocked(&key, planting.op(sum.keys + 1, key.clone(), row))?;
            let Some(flat) = blocked(&key, flat(planting.shown(&op), Siblings::Refuse))? else {
                blocked(&key, Err("nothing would be left of it".to_owned()))?;
                continue;
            };
            sum.add(&key, &flat);
            ops.push(op);
        }
        let exchange = self.service.hall.eventual.exchange(to.id);
        let exchange = exchange.ok_or_else(|| Trouble::wait("it is not open on this node yet"))?;
        exchange.plant(ops).await.map_err(|stop| Trouble::Wait(stop.to_string()))
    }

    fn planting(&self) -> Result<Planting, Trouble> {
        let to = &self.switch.to;
        let data_type = to.data_type.ok_or_else(|| Trouble::wait("it has no type"))?;
        Ok(Planting {
            actor: planter(self.map.catalog.cluster, to.id),
            data_type,
            value_bytes_max: to.limits.value_bytes_max,
            began_ms: self.switch.began_ms,
        })
    }

    /// What every node of an eventual namespace must have of so many keys.
    pub(super) fn planted(&self, keys: u64) -> Vector {
        let actor = planter(self.map.catalog.cluster, self.switch.to.id);
        Vector((keys > 0).then_some((actor, keys)).into_iter().collect())
    }
}

/// Whether a key can be put on the linearizable side.
pub(super) fn fits(to: &NamespaceEntry, key: &[u8], flat: &Flat) -> Result<(), String> {
    check_key(key, to.limits).map_err(|error| error.to_string())?;
    let (bytes, limit) = (flat.value.len() as u64, to.limits.value_bytes_max);
    if bytes > limit {
        return Err(format!("its value has {bytes} bytes, the limit is {limit}"));
    }
    Ok(())
}

/// What a key is in the way for.
fn blocked<T>(key: &[u8], result: Result<T, String>) -> Result<T, Trouble> {
    result.map_err(|why| {
        let key = key.get(..128).unwrap_or(key);
        Trouble::Blocked(format!("key {:?}: {why}", String::from_utf8_lossy(key)))
    })
}
