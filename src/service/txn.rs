//! Transactions: one entry of one group.
//!
//! Promises: a txn whose keys belong to several groups is refused before anything is proposed, and
//! says which they are; so is one that writes a key twice, or is too large for one entry. Relies on
//! the group to compare and to do all or nothing.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::model::{Action, Compare, GroupId, Reply, Slot, Test, Txn, TxnOp};
use crate::placement::{NamespaceEntry, slot_of};
use crate::runtime::limits::{TXN_BYTES_MAX, TXN_OPS_MAX};

use super::answer::TxnDone;
use super::ask::{Check, Comparison, Context, KeyStep, Step, TxnRequest};
use super::denied::denied;
use super::error::{ErrorKind, ServiceError};
use super::pursue::pursue;
use super::route::{Map, Target};
use super::write::{Answer, op_bytes};
use super::{Hall, Service, check_key};

impl Service {
    /// Compares, then does one list of operations or the other, in one step. A dropped future says
    /// nothing of it: it may go on.
    ///
    /// # Errors
    ///
    /// Ask the error for its outcome. A denied operation is an error: nothing was done then.
    pub async fn txn(
        &self,
        namespace: &str,
        request: TxnRequest,
        context: Context,
    ) -> Result<TxnDone, ServiceError> {
        check_bounds(&request)?;
        let map = self.hall.map_with(namespace, &context).await?;
        for KeyStep { key, step } in request.then.iter().chain(&request.or_else) {
            if let Step::Write(write) = step {
                self.borrowed(&map, namespace, key, &write.op, &context).await?;
            }
        }
        let planner = |map: &Map| {
            let entry = map.writable(namespace)?;
            let (group, slot) = one_group(map, entry, &request)?;
            let txn = self.hall.txn_of(map, namespace, group, &request)?;
            let action = Action::Txn(self.hall.space_of(entry), txn);
            self.hall.proposal(map, Target::Slot(slot), entry.id, action, context.once.as_ref())
        };
        let answer = pursue(&self.hall, &context, &planner).await?.answer()?;
        let Answer { group, by, index, replayed, .. } = answer;
        let Reply::Txn(mut reply) = answer.reply else { return Err(answer.unexpected()) };
        if let Some((op, denial)) = reply.failed.take() {
            let error = ServiceError::from(denied(namespace, group, denial)).about(group, Some(by));
            let error = self.hall.with_figures(error).again(replayed);
            return Err(ServiceError { op: Some(op), ..error });
        }
        Ok(TxnDone { reply, group, index, leader: Some(by), replayed })
    }
}

impl Hall {
    fn txn_of(
        &self,
        map: &Map,
        namespace: &str,
        group: GroupId,
        request: &TxnRequest,
    ) -> Result<Txn, ServiceError> {
        let entry = map.namespace(namespace)?;
        let slot = |key: &Bytes| slot_of(entry.id, entry.layout, key);
        let ops = |steps: &[KeyStep]| -> Result<Vec<TxnOp>, ServiceError> {
            let op = |(at, KeyStep { key, step }): (usize, &KeyStep)| match step {
                Step::Write(write) => match self.key_op(map, namespace, key, write) {
                    Ok((_, op)) => Ok(TxnOp::Write(op)),
                    Err(error) => Err(ServiceError { op: Some(at), ..error }),
                },
                Step::Get => Ok(TxnOp::Get { slot: slot(key), key: key.clone() }),
            };
            steps.iter().enumerate().map(op).collect()
        };
        let compare = |Comparison { key, check }: &Comparison| Compare {
            slot: slot(key),
            key: key.clone(),
            test: test_of(check, group),
        };
        Ok(Txn {
            compare: request.compare.iter().map(compare).collect(),
            then: ops(&request.then)?,
            or_else: ops(&request.or_else)?,
        })
    }
}

fn test_of(check: &Check, group: GroupId) -> Test {
    match check {
        Check::Exists(exists) => Test::Exists(*exists),
        Check::Tag(tag) => Test::Tag(tag.of_group(group)),
        Check::Value(cmp, value) => Test::Value(*cmp, value.clone()),
        Check::Revision(cmp, revision) => Test::Revision(*cmp, *revision),
        Check::Created(cmp, revision) => Test::Created(*cmp, *revision),
        Check::Version(cmp, version) => Test::Version(*cmp, *version),
    }
}

fn keys(request: &TxnRequest) -> impl Iterator<Item = &Bytes> {
    let steps = request.then.iter().chain(&request.or_else).map(|step| &step.key);
    request.compare.iter().map(|comparison| &comparison.key).chain(steps)
}

/// The group of all keys, and a slot of it.
fn one_group(
    map: &Map,
    entry: &NamespaceEntry,
    request: &TxnRequest,
) -> Result<(GroupId, Slot), ServiceError> {
    let mut groups = BTreeSet::new();
    let mut place = None;
    for key in keys(request) {
        check_key(key, entry.limits)?;
        let slot = slot_of(entry.id, entry.layout, key);
        let group = map.group(slot).ok_or_else(super::no_catalog)?;
        groups.insert(group);
        place = Some((group, slot));
    }
    if groups.len() > 1 {
        return Err(ErrorKind::CrossGroup { groups: groups.into_iter().collect() }.into());
    }
    place.ok_or_else(|| ErrorKind::Invalid { reason: "the txn names no key".into() }.into())
}

/// What can be refused whatever the catalog says.
fn check_bounds(request: &TxnRequest) -> Result<(), ServiceError> {
    let ops = keys(request).count();
    if ops > TXN_OPS_MAX {
        let reason =
            format!("{ops} comparisons and operations are more than the {TXN_OPS_MAX} of a txn");
        return Err(ErrorKind::Invalid { reason }.into());
    }
    let compared = request.compare.iter().map(|comparison| match &comparison.check {
        Check::Value(_, value) => value.len(),
        _ => 0,
    });
    let steps = request.then.iter().chain(&request.or_else).map(|step| match &step.step {
        Step::Write(write) => op_bytes(&write.op),
        Step::Get => 0,
    });
    let bytes: usize = keys(request).map(Bytes::len).chain(compared).chain(steps).sum();
    if bytes > TXN_BYTES_MAX {
        return Err(ErrorKind::TooLarge { limit: TXN_BYTES_MAX as u64 }.into());
    }
    written_once(&request.then)?;
    written_once(&request.or_else)
}

fn written_once(steps: &[KeyStep]) -> Result<(), ServiceError> {
    let mut written = BTreeSet::new();
    for KeyStep { key, step } in steps {
        if matches!(step, Step::Write(_)) && !written.insert(key) {
            return Err(ErrorKind::DuplicateKey { key: key.clone() }.into());
        }
    }
    Ok(())
}
