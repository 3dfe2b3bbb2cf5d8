//! Leases: grant, renew, revoke, look.
//!
//! Promises: a repeated grant finds what the first left (the id derives from the once key, and an id
//! says its home group); "it does not live" is said only behind a barrier of the home group. Does not
//! promise: exact remaining times; leaders count them by their own clock and start anew when they
//! take over. Relies on the home group's leader to end a lease, and on ids never being given twice.

use std::time::Duration;

use bytes::Bytes;

use crate::model::{
    Action, LeaseId, LeaseOp, LeaseReply, LeaseRow, NamespaceId, Reply, Slot, once_key,
};
use crate::placement::slot_of;
use crate::runtime::limits::{LEASE_TTL_MAX, LEASE_TTL_MIN};

use super::answer::{LeaseGranted, LeaseRevoked, LeaseView};
use super::ask::{Context, OnceKey};
use super::denied::denied;
use super::error::{ErrorKind, ServiceError};
use super::forward::{Done, Find, Freshness, Work};
use super::pursue::{Plan, Reached, pursue};
use super::route::{Map, Target};
use super::write::Answer;
use super::{Service, ceil_ms, check_key, internal};

/// Leases are nobody's: their once keys share one scope.
const SCOPE: NamespaceId = NamespaceId(0);

impl Service {
    /// Makes a lease, at home in the group of `near` when that is given.
    ///
    /// # Errors
    ///
    /// Ask the error for its outcome.
    pub async fn lease_grant(
        &self,
        ttl: Duration,
        near: Option<(&str, Bytes)>,
        context: Context,
    ) -> Result<LeaseGranted, ServiceError> {
        let once = self.hall.once(&context);
        let slot = match near {
            Some((namespace, key)) => {
                let map = self.hall.map_with(namespace, &context).await?;
                let entry = map.namespace(namespace)?;
                check_key(&key, entry.limits)?;
                slot_of(entry.id, entry.layout, &key)
            }
            None => Slot::of_hash(once.part("lease slot", 0).number()),
        };
        self.grant(ttl, slot, &once.part("lease", 0), &context).await
    }

    /// Makes a lease in a slot, with an id that derives from the once key.
    pub(super) async fn grant(
        &self,
        ttl: Duration,
        slot: Slot,
        once: &OnceKey,
        context: &Context,
    ) -> Result<LeaseGranted, ServiceError> {
        if !(LEASE_TTL_MIN..=LEASE_TTL_MAX).contains(&ttl) {
            let (least, most) = (LEASE_TTL_MIN.as_secs(), LEASE_TTL_MAX.as_secs());
            let reason = format!("a lease lives between {least} and {most} seconds");
            return Err(ErrorKind::Invalid { reason }.into());
        }
        let id = LeaseId::new(slot, once.number());
        let op = LeaseOp::Grant { id, ttl_ms: ceil_ms(ttl) };
        let answer = self.lease_op(id, op, Some(once), context).await?;
        let (group, index) = (answer.group, answer.index);
        match &answer.reply {
            Reply::Lease(LeaseReply::Granted { id, ttl_ms, .. }) => {
                let ttl = Duration::from_millis(*ttl_ms);
                Ok(LeaseGranted { id: *id, ttl, group, index, replayed: answer.replayed })
            }
            _ => Err(lease_error(id, answer)),
        }
    }

    /// Begins a lease's life anew.
    ///
    /// # Errors
    ///
    /// `NoLease` when it does not live. Renewing twice is harmless.
    pub async fn lease_renew(
        &self,
        id: LeaseId,
        context: Context,
    ) -> Result<LeaseGranted, ServiceError> {
        let once = self.hall.once(&context);
        let answer = self.lease_op(id, LeaseOp::Renew { id }, Some(&once), &context).await?;
        let (group, index) = (answer.group, answer.index);
        match &answer.reply {
            Reply::Lease(LeaseReply::Renewed { ttl_ms, .. }) => {
                let ttl = Duration::from_millis(*ttl_ms);
                Ok(LeaseGranted { id, ttl, group, index, replayed: answer.replayed })
            }
            _ => Err(lease_error(id, answer)),
        }
    }

    /// Ends a lease, and with it all that hangs on it.
    ///
    /// # Errors
    ///
    /// `NoLease` when it does not live.
    pub async fn lease_revoke(
        &self,
        id: LeaseId,
        context: Context,
    ) -> Result<LeaseRevoked, ServiceError> {
        let once = self.hall.once(&context);
        let answer = self.lease_op(id, LeaseOp::Revoke { id }, Some(&once), &context).await?;
        let (group, index) = (answer.group, answer.index);
        match &answer.reply {
            Reply::Lease(LeaseReply::Revoked { keys, .. }) => {
                Ok(LeaseRevoked { keys: *keys, group, index, replayed: answer.replayed })
            }
            _ => Err(lease_error(id, answer)),
        }
    }

    /// Looks at a lease.
    ///
    /// # Errors
    ///
    /// `NoLease` when it does not live.
    pub async fn lease_get(
        &self,
        id: LeaseId,
        context: Context,
    ) -> Result<LeaseView, ServiceError> {
        let planner = |_: &Map| Ok(Plan::read(Target::Slot(id.slot()), Work::Lease(id)));
        let Reached { group, by, done } = pursue(&self.hall, &context, &planner).await?;
        let Done::Lease { index, row, remaining } = done else {
            return Err(internal(group, "a lease was looked at and something else seen"));
        };
        let Some(row) = row else {
            return Err(ServiceError::from(ErrorKind::NoLease { id }).about(group, Some(by)));
        };
        let row = LeaseRow::decode(&row).map_err(|error| internal(group, &error.to_string()))?;
        Ok(LeaseView { id, ttl: Duration::from_millis(row.ttl_ms), remaining, group, index })
    }

    /// Refuses a lease that does not live, when its home is another group than that of the slot: only
    /// the home group knows. What was done before is let pass: it gets its first answer.
    pub(super) async fn lives_elsewhere(
        &self,
        map: &Map,
        id: LeaseId,
        (space, slot): (NamespaceId, Slot),
        once: Option<&OnceKey>,
        context: &Context,
    ) -> Result<(), ServiceError> {
        if map.group(id.slot()) == map.group(slot) {
            return Ok(());
        }
        let Err(error) = self.lease_get(id, context.clone()).await else { return Ok(()) };
        let Some(once) = once.filter(|_| matches!(error.kind, ErrorKind::NoLease { .. })) else {
            return Err(error);
        };
        let key = once_key(space, &once.key);
        let find_in =
            |_: &Map| Ok(Find { slot, key: key.clone(), freshness: Freshness::Now, at_least: 0 });
        match self.find(&find_in, context).await?.done {
            Done::Read { row: Some(_), .. } => Ok(()),
            _ => Err(error),
        }
    }

    async fn lease_op(
        &self,
        id: LeaseId,
        op: LeaseOp,
        once: Option<&OnceKey>,
        context: &Context,
    ) -> Result<Answer, ServiceError> {
        self.hall.founded(context).await?;
        let planner = |map: &Map| {
            let target = Target::Slot(id.slot());
            self.hall.proposal(map, target, SCOPE, Action::Lease(op), once)
        };
        pursue(&self.hall, context, &planner).await?.answer()
    }
}

fn lease_error(id: LeaseId, answer: Answer) -> ServiceError {
    let (group, by, replayed) = (answer.group, answer.by, answer.replayed);
    let kind = match answer.reply {
        Reply::Lease(LeaseReply::Missing) => ErrorKind::NoLease { id },
        Reply::Lease(LeaseReply::Denied(denial)) => denied("", group, denial),
        _ => return answer.unexpected(),
    };
    ServiceError::from(kind).about(group, Some(by)).again(replayed)
}
