//! A stand-in for the state machine: the few effects that the hall's tests look at.
//!
//! Why it exists: the hall is tried against what a group answers, not against how it comes to the
//! answer; the model has tests of its own. Promises: once keys, conditions, transactions, leases and
//! locks answer as the model says they do, in the simplest way. Relies on `model` for all types.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::model::{
    Action, Attach, Cmp, Command, Denial, GroupId, Holder, KeyOp, KeyReply, LeaseId, LeaseOp,
    LeaseReply, LeaseRow, LockOp, LockPlace, LockReply, LockRow, NamespaceId, OWNED_KEY, Once,
    Ownership, Reply, Request, Require, Row, Slot, Space, Tag, Test, TxnOp, TxnReply, WriteOp,
    data_key, lease_key, lock_key,
};

/// One group's rows as one entry sees and changes them.
pub(super) struct Group<'a> {
    pub(super) rows: &'a mut BTreeMap<(GroupId, Bytes), Bytes>,
    pub(super) once: &'a mut BTreeMap<(NamespaceId, Bytes), ([u8; 16], u64, Reply)>,
    pub(super) id: GroupId,
    pub(super) index: u64,
}

impl Group<'_> {
    pub(super) fn apply(&mut self, command: Command) -> Reply {
        let Command::Request(Request { epoch, once, action, .. }) = command else {
            panic!("{command:?} is nothing that a hall proposes to a data group");
        };
        let owned = self.get(OWNED_KEY).map(|row| Ownership::decode(&row).unwrap());
        let owned = owned.unwrap_or_default();
        if epoch < owned.epoch || slots(&action).iter().any(|slot| !owned.owns(*slot)) {
            return Reply::NotOwner { epoch: owned.epoch };
        }
        let Some(Once { space, key, fingerprint }) = once else { return self.act(action, &owned) };
        if let Some((known, index, reply)) = self.once.get(&(space, key.clone())) {
            if *known != fingerprint {
                return Reply::OnceMismatch;
            }
            return Reply::Replayed { index: *index, reply: Box::new(reply.clone()) };
        }
        let reply = self.act(action, &owned);
        self.once.insert((space, key), (fingerprint, self.index, reply.clone()));
        reply
    }

    fn act(&mut self, action: Action, owned: &Ownership) -> Reply {
        match action {
            Action::Key(space, op) => Reply::Key(self.key(&space, op, owned)),
            Action::Many(space, ops) => {
                Reply::Many(ops.into_iter().map(|op| self.key(&space, op, owned)).collect())
            }
            Action::Txn(space, txn) => {
                let row = |key: &Bytes| self.row(&space, key);
                let succeeded = txn.compare.iter().all(|compare| match &compare.test {
                    Test::Version(Cmp::Eq, version) => {
                        row(&compare.key).map_or(0, |row| row.version) == *version
                    }
                    other => panic!("no test of the hall compares by {other:?}"),
                });
                let ops = if succeeded { txn.then } else { txn.or_else };
                let results = ops.into_iter().map(|op| match op {
                    TxnOp::Write(op) => self.key(&space, op, owned),
                    TxnOp::Get { key, .. } => KeyReply::Found(self.row(&space, &key)),
                });
                let results = results.collect();
                let (at, revision) = (self.index, self.index);
                Reply::Txn(TxnReply { succeeded, results, at, revision, failed: None })
            }
            Action::Lease(op) => Reply::Lease(self.lease(op)),
            Action::Lock(space, op) => Reply::Lock(self.lock(space.id, op)),
            Action::Catalog(_) => panic!("the catalog is applied elsewhere"),
        }
    }

    fn key(&mut self, space: &Space, op: KeyOp, owned: &Ownership) -> KeyReply {
        let before = self.row(space, &op.key);
        let tag = before.as_ref().map(|row| Tag(row.at));
        let holds = match &op.require {
            Require::None => true,
            Require::Exists => tag.is_some(),
            Require::Missing => tag.is_none(),
            Require::Any(tags) => tag.is_some_and(|tag| tags.contains(&tag)),
            Require::NoneOf(tags) => tag.is_none_or(|tag| !tags.contains(&tag)),
        };
        if !holds {
            let found = tag.map(|tag| tag.0);
            return KeyReply::Unmet { row_at: found, revision: found };
        }
        let (at, revision, row) = (self.index, self.index, None);
        match op.op {
            WriteOp::Put { value, content_type, attach } => {
                let lease = match attach {
                    Attach::Lease(id) if owned.owns(id.slot()) && !self.lives(id) => {
                        return KeyReply::Denied(Denial::NoLease(id));
                    }
                    Attach::Lease(id) => Some(id),
                    Attach::None | Attach::Ttl(_) => None,
                };
                let new = Row {
                    created: before.as_ref().map_or(at, |row| row.created),
                    at,
                    revision,
                    version: before.as_ref().map_or(1, |row| row.version + 1),
                    modified_ms: 0,
                    lease,
                    content_type,
                    value,
                };
                self.set(data_key(space.id, &op.key), Some(new.encode()));
                KeyReply::Put { created: before.is_none(), at, revision, row }
            }
            WriteOp::Delete => {
                self.set(data_key(space.id, &op.key), None);
                KeyReply::Deleted { existed: before.is_some(), at, revision, row }
            }
            WriteOp::Patch { .. } => panic!("no test of the hall patches"),
        }
    }

    fn lease(&mut self, op: LeaseOp) -> LeaseReply {
        let (at, id) = (self.index, op.id());
        match op {
            LeaseOp::Grant { ttl_ms, .. } => {
                let row = LeaseRow { ttl_ms, granted: at, renewed: at, borrowed: false, keys: 0 };
                self.set(lease_key(id), Some(row.encode()));
                LeaseReply::Granted { id, ttl_ms, at }
            }
            LeaseOp::Renew { .. } | LeaseOp::Revoke { .. } if !self.lives(id) => {
                LeaseReply::Missing
            }
            LeaseOp::Renew { .. } => {
                let row = LeaseRow::decode(&self.get(&lease_key(id)).unwrap()).unwrap();
                LeaseReply::Renewed { ttl_ms: row.ttl_ms, at }
            }
            LeaseOp::Revoke { .. } => {
                self.set(lease_key(id), None);
                let all: Vec<_> =
                    self.rows.iter().map(|(at, row)| (at.clone(), row.clone())).collect();
                for ((group, key), row) in all {
                    if group == self.id && key.first() == lock_key(NamespaceId(0), b"").first() {
                        self.leave(key, &row, &|place| place.lease == id);
                    }
                }
                LeaseReply::Revoked { keys: 0, at }
            }
        }
    }

    fn lock(&mut self, space: NamespaceId, op: LockOp) -> LockReply {
        match op {
            LockOp::Acquire { name, lease, owner, queue, .. } => {
                let key = lock_key(space, &name);
                let row = self.get(&key).map(|row| LockRow::decode(&row).unwrap());
                let mut row = row.unwrap_or_default();
                if let (Some(holder), false) = (row.holder(), queue) {
                    return LockReply::Busy { holder: holder.clone(), waiting: 0 };
                }
                let token = self.index;
                let ahead = u64::try_from(row.queue.len()).unwrap();
                row.queue.push(LockPlace { lease, token, owner });
                self.set(key, Some(row.encode()));
                if ahead == 0 {
                    LockReply::Held { token }
                } else {
                    LockReply::Queued { token, ahead }
                }
            }
            LockOp::Release { name, by, .. } => {
                let key = lock_key(space, &name);
                let Some(row) = self.get(&key) else { return LockReply::NotHeld };
                let left = self.leave(key, &row, &|place| match by {
                    Holder::Token(token) => place.token == token,
                    Holder::Lease(lease) => place.lease == lease,
                });
                if left { LockReply::Released } else { LockReply::NotHeld }
            }
        }
    }

    fn leave(&mut self, key: Bytes, row: &Bytes, gone: &dyn Fn(&LockPlace) -> bool) -> bool {
        let mut row = LockRow::decode(row).unwrap();
        let before = row.queue.len();
        row.queue.retain(|place| !gone(place));
        let left = row.queue.len() < before;
        self.set(key, (!row.queue.is_empty()).then(|| row.encode()));
        left
    }

    fn lives(&self, id: LeaseId) -> bool {
        self.get(&lease_key(id)).is_some()
    }

    fn row(&self, space: &Space, key: &Bytes) -> Option<Row> {
        self.get(&data_key(space.id, key)).map(|row| Row::decode(&row).unwrap())
    }

    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.rows.get(&(self.id, Bytes::copy_from_slice(key))).cloned()
    }

    fn set(&mut self, key: Bytes, row: Option<Bytes>) {
        match row {
            Some(row) => self.rows.insert((self.id, key), row),
            None => self.rows.remove(&(self.id, key)),
        };
    }
}

fn slots(action: &Action) -> Vec<Slot> {
    match action {
        Action::Key(_, op) => vec![op.slot],
        Action::Many(_, ops) => ops.iter().map(|op| op.slot).collect(),
        Action::Txn(_, txn) => txn.compare.iter().map(|compare| compare.slot).collect(),
        Action::Lease(op) => vec![op.id().slot()],
        Action::Lock(_, op) => vec![op.slot()],
        Action::Catalog(_) => Vec::new(),
    }
}
