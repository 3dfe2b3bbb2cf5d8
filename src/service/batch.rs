//! Batches: many independent operations, few entries.
//!
//! ```text
//!   ops -> by group (in parallel) -> stages (one after the other): no key twice in a stage
//!          stage -> writes: one entry, or with a once key one entry each; gets beside them
//! ```
//!
//! Promises: operations on the same key happen in the order given; every operation has its own
//! outcome, and what befalls one entry says nothing of the others, but an operation on a key whose
//! earlier write is unknown is not begun. With a once key each operation has its own, derived from
//! the request's and its number, so that a repetition need not be cut the same way. Does not
//! promise: anything between operations on different keys. Relies on the group to apply each entry.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;

use crate::model::{
    Action, Command, GroupId, KeyOp, KeyReply, NamespaceId, Reply, Request, Slot, Space,
};
use crate::placement::slot_of;
use crate::runtime::limits::{
    BATCH_ENTRY_BYTES_MAX, BATCH_ENTRY_OPS_MAX, BATCH_ONCE_MAX, BATCH_PORTION,
};

use super::answer::{BatchDone, BatchResult};
use super::ask::{BatchOp, Context, KeyRequest, ReadMode, Step};
use super::error::{ErrorKind, Outcome, ServiceError};
use super::pursue::pursue;
use super::route::{Map, Target};
use super::write::{Answer, op_bytes, settled};
use super::{Service, check_key};

/// A batch in one namespace, portion by portion.
#[derive(Clone, Debug)]
pub struct Batch {
    service: Service,
    namespace: String,
}

impl Service {
    /// A batch in a namespace.
    pub fn batch(&self, namespace: &str) -> Batch {
        Batch { service: self.clone(), namespace: namespace.to_owned() }
    }
}

/// An operation with its place in the portion.
type Placed = (usize, BatchOp);

/// An operation's place in the portion, and what it came to.
type Settled = (usize, BatchResult);

impl Batch {
    /// Does a portion of at most [`BATCH_PORTION`] operations; the results stand in their order. A
    /// dropped future says nothing of what was begun: it may go on.
    pub async fn run(&self, ops: Vec<BatchOp>, context: Context) -> Vec<BatchResult> {
        let count = ops.len();
        if count > BATCH_PORTION {
            let reason = format!("a portion has at most {BATCH_PORTION} operations");
            return vec![Err(ErrorKind::Invalid { reason }.into()); count];
        }
        let map = match self.service.hall.map_with(&self.namespace, &context).await {
            Ok(map) => map,
            Err(error) => return vec![Err(error); count],
        };
        let mut results: Vec<Option<BatchResult>> = vec![None; count];
        let mut groups: BTreeMap<GroupId, Vec<Placed>> = BTreeMap::new();
        for (at, op) in ops.into_iter().enumerate() {
            match self.group_of(&map, &op.step.key) {
                Ok(group) => groups.entry(group).or_default().push((at, op)),
                Err(error) => {
                    if let Some(result) = results.get_mut(at) {
                        *result = Some(Err(error));
                    }
                }
            }
        }
        let groups = groups.into_values().map(|ops| self.run_group(ops, &context));
        for (at, result) in join_all(groups).await.into_iter().flatten() {
            if let Some(place) = results.get_mut(at) {
                *place = Some(result);
            }
        }
        let lost =
            || Err(ErrorKind::Internal { reason: "an operation got no answer".into() }.into());
        results.into_iter().map(|result| result.unwrap_or_else(lost)).collect()
    }

    fn group_of(&self, map: &Map, key: &Bytes) -> Result<GroupId, ServiceError> {
        let entry = map.namespace(&self.namespace)?;
        check_key(key, entry.limits)?;
        map.group(slot_of(entry.id, entry.layout, key)).ok_or_else(super::no_catalog)
    }

    /// One stage after the other.
    async fn run_group(&self, ops: Vec<Placed>, context: &Context) -> Vec<Settled> {
        let mut settled = Vec::with_capacity(ops.len());
        let mut doubtful: BTreeSet<Bytes> = BTreeSet::new();
        for stage in stages(ops) {
            let (held, stage): (Vec<_>, Vec<_>) =
                stage.into_iter().partition(|(_, op)| doubtful.contains(&op.step.key));
            settled.extend(held.into_iter().map(|(at, _)| (at, Err(after_doubt()))));
            let keys: BTreeMap<usize, Bytes> =
                stage.iter().map(|(at, op)| (*at, op.step.key.clone())).collect();
            let done = self.run_stage(stage, context).await;
            for (at, result) in &done {
                let unknown = result.as_ref().is_err_and(|e| e.outcome() == Outcome::Unknown);
                if let (true, Some(key)) = (unknown, keys.get(at)) {
                    doubtful.insert(key.clone());
                }
            }
            settled.extend(done);
        }
        settled
    }

    async fn run_stage(&self, stage: Vec<Placed>, context: &Context) -> Vec<Settled> {
        let mut writes = Vec::new();
        let mut gets = Vec::new();
        for (at, BatchOp { number, step }) in stage {
            match step.step {
                Step::Write(request) => writes.push(Write { at, number, key: step.key, request }),
                Step::Get => gets.push(self.get(at, step.key, context)),
            }
        }
        let writes = async {
            match &context.once {
                Some(_) => self.write_each(writes, context).await,
                None => self.write_all(writes, context).await,
            }
        };
        let (mut settled, read) = tokio::join!(writes, join_all(gets));
        settled.extend(read);
        settled
    }

    async fn get(&self, at: usize, key: Bytes, context: &Context) -> Settled {
        let got =
            self.service.get(&self.namespace, key, ReadMode::Linearizable, context.clone()).await;
        let result = got.map(|got| BatchDone {
            reply: KeyReply::Found(got.row),
            group: got.group,
            index: got.index,
            replayed: false,
        });
        (at, result)
    }

    /// With a once key: each write by itself, so that it is found again however a repetition is cut.
    async fn write_each(&self, writes: Vec<Write>, context: &Context) -> Vec<Settled> {
        let each = writes.into_iter().map(|write| async move {
            let mut context = context.clone();
            context.once =
                context.once.map(|once| once.part("op", write.number).of_content(&content(&write)));
            let wrote =
                self.service.write(&self.namespace, write.key, write.request, context).await;
            let result = wrote.map(|wrote| BatchDone {
                reply: wrote.reply,
                group: wrote.group,
                index: wrote.index,
                replayed: wrote.replayed,
            });
            (write.at, result)
        });
        stream::iter(each).buffer_unordered(BATCH_ONCE_MAX).collect().await
    }

    /// Without one: all writes in one entry, but for those that are refused here.
    async fn write_all(&self, writes: Vec<Write>, context: &Context) -> Vec<Settled> {
        let mut settled = Vec::new();
        let mut admitted = Vec::new();
        for write in writes {
            match self.admit(&write, context).await {
                Ok(()) => admitted.push(write),
                Err(error) => settled.push((write.at, Err(error))),
            }
        }
        if admitted.is_empty() {
            return settled;
        }
        match self.propose(&admitted, context).await {
            Ok((group, index, replayed, replies)) => {
                for (write, reply) in admitted.iter().zip(replies) {
                    let result = settle(&self.namespace, group, index, replayed, reply);
                    let result = result.map_err(|error| self.service.hall.with_figures(error));
                    settled.push((write.at, result));
                }
            }
            Err(error) => {
                settled.extend(admitted.iter().map(|write| (write.at, Err(error.clone()))));
            }
        }
        settled
    }

    async fn admit(&self, write: &Write, context: &Context) -> Result<(), ServiceError> {
        let map = self.service.hall.map_with(&self.namespace, context).await?;
        let op = &write.request.op;
        self.service.borrowed(&map, &self.namespace, &write.key, op, context).await?;
        self.service.hall.key_op(&map, &self.namespace, &write.key, &write.request).map(drop)
    }

    async fn propose(
        &self,
        writes: &[Write],
        context: &Context,
    ) -> Result<(GroupId, u64, bool, Vec<KeyReply>), ServiceError> {
        let hall = &self.service.hall;
        let planner = |map: &Map| {
            let entry = map.writable(&self.namespace)?;
            let mut ops = Vec::with_capacity(writes.len());
            for write in writes {
                ops.push(hall.key_op(map, &self.namespace, &write.key, &write.request)?.1);
            }
            let slot = ops.first().map(|op| op.slot).ok_or_else(super::no_catalog)?;
            let action = Action::Many(hall.space_of(entry), ops);
            hall.proposal(map, Target::Slot(slot), entry.id, action, None)
        };
        let answer = pursue(hall, context, &planner).await?.answer()?;
        let Answer { group, index, replayed, .. } = answer;
        match answer.reply {
            Reply::Many(replies) if replies.len() == writes.len() => {
                Ok((group, index, replayed, replies))
            }
            _ => Err(answer.unexpected()),
        }
    }
}

/// A write with its place in the portion and its number in the request.
#[derive(Debug)]
struct Write {
    at: usize,
    number: u64,
    key: Bytes,
    request: KeyRequest,
}

fn settle(
    namespace: &str,
    group: GroupId,
    index: u64,
    replayed: bool,
    reply: KeyReply,
) -> BatchResult {
    let reply = settled(namespace, group, reply)
        .map_err(|error| error.about(group, None).again(replayed))?;
    Ok(BatchDone { reply, group, index, replayed })
}

fn after_doubt() -> ServiceError {
    let reason = "not begun: an earlier operation on the key has an unknown outcome".to_owned();
    ErrorKind::Unavailable { reason }.into()
}

/// What an operation asks for, as bytes: the same for the same operation, whatever the catalog says.
fn content(write: &Write) -> Bytes {
    let op = KeyOp {
        slot: Slot::of_hash(0),
        key: write.key.clone(),
        require: write.request.require.of_any(),
        op: write.request.op.clone(),
        give: write.request.give,
    };
    let space = Space {
        id: NamespaceId(0),
        ordered: false,
        recorded: false,
        quota: None,
        value_bytes_max: 0,
    };
    let request = Request { epoch: 0, at_ms: 0, once: None, action: Action::Key(space, op) };
    Command::Request(request).encode()
}

/// Cuts operations into stages: in order, no key twice in a stage, few enough and small enough for
/// one entry.
fn stages(ops: Vec<Placed>) -> Vec<Vec<Placed>> {
    let mut stages: Vec<Stage> = Vec::new();
    // The first stage that an operation on this key may be in: the one after its last.
    let mut after: BTreeMap<Bytes, usize> = BTreeMap::new();
    // No operation goes into a stage that is full, nor into one before it: looking is then cheap.
    let mut open = 0;
    for (at, op) in ops {
        let bytes = op_size(&op);
        let mut stage = after.get(&op.step.key).copied().unwrap_or(0).max(open);
        while stages.get(stage).is_some_and(|stage| !stage.takes(bytes)) {
            stage += 1;
            open = open.max(stage);
        }
        after.insert(op.step.key.clone(), stage + 1);
        if stages.len() <= stage {
            stages.resize_with(stage + 1, Stage::default);
        }
        if let Some(stage) = stages.get_mut(stage) {
            stage.bytes += bytes;
            stage.ops.push((at, op));
        }
    }
    stages.into_iter().map(|stage| stage.ops).collect()
}

#[derive(Default)]
struct Stage {
    ops: Vec<Placed>,
    bytes: usize,
}

impl Stage {
    fn takes(&self, bytes: usize) -> bool {
        self.ops.is_empty()
            || (self.ops.len() < BATCH_ENTRY_OPS_MAX && self.bytes + bytes <= BATCH_ENTRY_BYTES_MAX)
    }
}

fn op_size(op: &BatchOp) -> usize {
    let value = match &op.step.step {
        Step::Write(write) => op_bytes(&write.op),
        Step::Get => 0,
    };
    op.step.key.len() + value
}

#[cfg(test)]
mod tests;
