//! The shard's worker: takes what waits, folds it into a draft, flushes once, shows it, answers.
//!
//! Why it exists: one writer gives operations their places; one sync for all that wait makes many small
//! writes cheap. Promises: nothing is visible or answered before its records are flushed (rule R4), and
//! then all of a batch at once; after the first failure nothing more is taken and the node stops.
//!
//! An actor ends when this directory cannot be sure of its last counter: after any stop that was not
//! clean, and as soon as others turn out to know more of it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::batch::{Answer, Batch};
use super::draft::{Draft, Finished, content_bytes};
use super::shard::{Inner, Waiting, stopped};
use super::sync::Incoming;
use super::words::{ReadError, Received, Stop, WriteError, WriteRequest, Wrote};
use crate::model::eventual::{
    Act, Actor, Ask, CellChange, Cells, DataType, Field, FieldEdit, Gate, HybridClock, LocalError,
    Member, Op, Origin, Reached, Record, Vector, Write, encode_op, local, read,
};
use crate::runtime::Moment;
use crate::runtime::limits::{
    EVENTUAL_BATCH_BYTES, EVENTUAL_BATCH_MAX, KEY_CELLS_MAX, MAX_DRIFT_MS,
};
use crate::storage::StorageError;
use crate::storage::checkpoint::Applied;
use crate::storage::log::Entry;

/// What the worker is asked.
#[derive(Debug)]
pub(super) enum Command {
    /// A client's write.
    Write(Box<WriteRequest>, oneshot::Sender<Result<Wrote, WriteError>>, Waiting),
    /// Operations of others.
    Receive(Vec<Op>, oneshot::Sender<Result<Received, Stop>>),
    /// A part of a page of a state sync from a row on; answers with the row to go on at.
    Merge(Arc<Incoming>, Bytes, oneshot::Sender<Result<Option<Bytes>, Stop>>),
    /// The end of a state sync.
    Reached(Reached, oneshot::Sender<Result<(), Stop>>),
    /// No more writes of this node's clients.
    Gate(Gate, oneshot::Sender<Result<(), Stop>>),
    /// Look whether a beat or final losses are due.
    Tick,
}

impl Command {
    fn bytes(&self) -> usize {
        match self {
            Self::Write(request, _, _) => request.key.len() + ask_bytes(&request.ask),
            Self::Receive(ops, _) => ops.iter().map(op_bytes).sum(),
            Self::Merge(..) => EVENTUAL_BATCH_BYTES,
            Self::Reached(..) | Self::Gate(..) | Self::Tick => 0,
        }
    }
}

/// Bytes of what is asked.
pub(super) fn ask_bytes(ask: &Ask) -> usize {
    let names = |names: &[Bytes]| names.iter().map(|name| name.len() + 32).sum::<usize>();
    match ask {
        Ask::Put { value, .. } | Ask::Merge(value) => value.len(),
        Ask::SetEdit { add, remove } => names(add) + names(remove),
        Ask::Fields(fields) => fields
            .iter()
            .map(|field| {
                names(&field.path)
                    + match &field.edit {
                        FieldEdit::Put(value) => value.len(),
                        FieldEdit::SetEdit { add, remove } => names(add) + names(remove),
                        FieldEdit::Delete | FieldEdit::Add(_) => 0,
                    }
            })
            .sum(),
        Ask::Delete | Ask::Add(_) => 0,
    }
}

fn op_bytes(op: &Op) -> usize {
    match &op.act {
        Act::Write { key, changes, .. } => {
            let bytes = |change: &CellChange| {
                let value = change.put.as_ref().map_or(0, |put| content_bytes(&put.content));
                128 + usize::try_from(value).unwrap_or(usize::MAX)
            };
            key.len() + changes.iter().map(bytes).sum::<usize>()
        }
        Act::Beat { vector, .. } => vector.0.len() * 32,
    }
}

/// The one that changes a shard.
pub(super) struct Worker {
    pub(super) inner: Arc<Inner>,
    inbox: mpsc::Receiver<Command>,
    clock: HybridClock,
    /// The counter that was given last to the present actor.
    issued: u64,
    pub(super) last_beat: Option<Moment>,
    /// Where the look for final losses goes on.
    pub(super) look_from: Option<Bytes>,
    /// The list of members under which this node's beats bear witness.
    pub(super) witness: Option<u64>,
}

impl Worker {
    pub(super) fn new(inner: Arc<Inner>, inbox: mpsc::Receiver<Command>) -> Self {
        let (stamp, seen, issued) = {
            let live = inner.live.read();
            (live.own.stamp, live.head.hlc, live.vector.of(*inner.actor.lock()))
        };
        let mut clock = HybridClock::new(stamp, MAX_DRIFT_MS);
        clock.observe(seen, inner.env.clock.wall_ms());
        Self { inner, inbox, clock, issued, last_beat: None, look_from: None, witness: None }
    }

    /// Works until the shard is closed or fails.
    pub(super) async fn run(mut self) {
        let _ended = self.inner.ended.clone().drop_guard();
        let stop = self.inner.stop.clone();
        loop {
            let first = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                command = self.inbox.recv() => command,
            };
            let Some(first) = first else { break };
            if self.work(first).await.is_break() {
                return;
            }
        }
        self.inbox.close();
        if self.inner.is_clean_stop.load(Ordering::Acquire) {
            let mut batch = self.batch();
            let closed = batch.record(&Record::Closed);
            if closed.is_ok() {
                // If it fails the next start takes a new actor, which is as good.
                drop(self.commit(batch).await);
            }
        }
    }

    async fn work(&mut self, first: Command) -> ControlFlow<()> {
        let mut batch = self.batch();
        let (mut bytes, mut count) = (0, 0);
        let mut next = Some(first);
        while let Some(command) = next {
            bytes += command.bytes();
            count += 1;
            if let Err(error) = self.take(command, &mut batch) {
                return self.fail(batch, &error.reason);
            }
            let is_full = bytes >= EVENTUAL_BATCH_BYTES || count >= EVENTUAL_BATCH_MAX;
            next = if is_full { None } else { self.inbox.try_recv().ok() };
        }
        match self.commit(batch).await {
            Ok(()) => ControlFlow::Continue(()),
            Err(_stop) => ControlFlow::Break(()),
        }
    }

    /// The rows cannot be read, or not be understood: a replica that guesses is worse than none.
    fn fail(&mut self, batch: Batch, reason: &str) -> ControlFlow<()> {
        let stop = Stop { reason: reason.to_owned() };
        let namespace = self.inner.namespace;
        self.inner.env.tasks.fail(format!("the shard of namespace {namespace} failed: {reason}"));
        for answer in batch.answers {
            answer(&Err(stop.clone()));
        }
        ControlFlow::Break(())
    }

    fn batch(&self) -> Batch {
        let live = self.inner.live.read();
        let draft = Draft::new(self.inner.place.clone(), live.head.clone(), live.own.clone());
        Batch::new(draft, live.index + 1, self.inner.log.entry_bytes_max())
    }

    fn take(&mut self, command: Command, batch: &mut Batch) -> Result<(), ReadError> {
        // What follows a look for final losses may be news for the next one.
        batch.is_settled = false;
        match command {
            Command::Write(request, answer, _waiting) => {
                let result = self.write(*request, batch)?;
                batch.answers.push(Box::new(move |shown| {
                    let result = result.and_then(|mut wrote| {
                        // Its record may be on the disk, and then the next start applies it.
                        wrote.vector = shown.as_ref().map_err(|_stop| WriteError::TimeUp)?.clone();
                        Ok(wrote)
                    });
                    drop(answer.send(result));
                }));
            }
            Command::Receive(ops, answer) => {
                let received = self.receive(ops, batch)?;
                batch.answers.push(said(answer, received));
            }
            Command::Merge(incoming, from, answer) => {
                let rest = incoming.merge_into(batch, &from)?;
                batch.answers.push(said(answer, rest));
            }
            Command::Reached(reached, answer) => {
                batch.record(&Record::Reached(reached))?;
                batch.answers.push(said(answer, ()));
            }
            Command::Gate(gate, answer) => {
                batch.close(gate)?;
                batch.answers.push(said(answer, ()));
            }
            Command::Tick => {
                self.beat(batch)?;
                self.settle(batch)?;
            }
        }
        Ok(())
    }

    // --- operations of others -------------------------------------------------------------------

    fn receive(&mut self, ops: Vec<Op>, batch: &mut Batch) -> Result<Received, ReadError> {
        let mut received = Received::default();
        let wall_ms = self.inner.env.clock.wall_ms();
        for op in ops {
            let vector = &batch.draft.head.vector;
            if vector.covers(op.dot) {
                received.known += 1;
            } else if !follows(vector, &op) {
                received.early.push(op);
            } else {
                if self.clock.observe(op.hlc, wall_ms) {
                    self.inner.counts.skewed.fetch_add(1, Ordering::Relaxed);
                }
                received.applied += 1;
                batch.record(&Record::Op(op))?;
            }
        }
        Ok(received)
    }

    // --- operations of our own ------------------------------------------------------------------

    /// The next dot's actor: a new one if others know more of the present one than this directory.
    pub(super) fn actor(&mut self, batch: &Batch) -> Actor {
        let vector = &batch.draft.head.vector;
        let mut actor = self.inner.actor.lock();
        let is_forked = self.inner.is_forked.swap(false, Ordering::AcqRel);
        if is_forked || vector.of(*actor) > self.issued {
            let next = next_run(vector, *actor, self.inner.env.clock.wall_ms());
            tracing::warn!(
                namespace = %self.inner.namespace, was = %*actor, now = %next,
                "others know writes of this data directory that it does not: it is an old copy, or \
                 its disk has lost flushed writes; it goes on under a new name"
            );
            self.inner.counts.forks.fetch_add(1, Ordering::Relaxed);
            *actor = next;
            self.issued = vector.of(next);
        }
        *actor
    }

    pub(super) fn own_op(&mut self, batch: &Batch, act: Act) -> Op {
        let actor = *self.inner.actor.lock();
        self.issued += 1;
        let dot = crate::model::eventual::Dot { actor, counter: self.issued };
        assert!(
            self.issued == batch.draft.head.vector.of(actor) + 1,
            "an actor's operations follow each other"
        );
        Op { dot, hlc: self.clock.tick(self.inner.env.clock.wall_ms()), act }
    }

    fn write(
        &mut self,
        request: WriteRequest,
        batch: &mut Batch,
    ) -> Result<Result<Wrote, WriteError>, ReadError> {
        let now = self.inner.env.clock.now();
        if now >= request.deadline {
            return Ok(Err(WriteError::TimeUp));
        }
        let WriteRequest { key, ask, context, once, show, .. } = request;
        if let Some((hash, body)) = once
            && let Some(once) = batch.draft.asked(hash, self.inner.env.clock.wall_ms())?
        {
            if once.body != body {
                return Ok(Err(WriteError::OnceMismatch));
            }
            let shown = self.shown(batch, &key, show)?;
            let wrote = Wrote { dot: once.dot, hlc: once.hlc, replayed: true, ..shown };
            return Ok(Ok(wrote));
        }
        if let Err(error) = self.admit(&key, batch, now) {
            return Ok(Err(error));
        }
        let value_bytes_max = self.inner.part.read().limits.value_bytes_max;
        let write = Write { key, ask, context, once, value_bytes_max };
        let actor = self.actor(batch);
        let head = &batch.draft.head;
        let beat = head.beats.get(&self.inner.place.member);
        let is_witness = self.witness == Some(self.inner.part.read().members.version);
        let witnessed = beat.filter(|_| is_witness).map(|beat| &beat.vector);
        let origin = Origin { actor, vector: &head.vector, witnessed };
        let act = match local(self.inner.place.data_type, &batch.draft, origin, &write) {
            Ok(act) => act,
            Err(LocalError::Refused(refusal)) => return Ok(Err(refusal.into())),
            Err(LocalError::View(error)) => return Err(error),
        };
        let op = self.own_op(batch, act);
        let (bytes, max) = (encode_op(&op).len(), self.inner.log.entry_bytes_max());
        if bytes > max {
            // Its dot was never used: the next operation gets it.
            self.issued -= 1;
            let (bytes, max) = (bytes as u64, max as u64);
            return Ok(Err(WriteError::TooLarge { what: "the whole operation", bytes, max }));
        }
        let (dot, hlc) = (op.dot, op.hlc);
        batch.record(&Record::Op(op))?;
        let shown = self.shown(batch, &write.key, show)?;
        Ok(Ok(Wrote { dot, hlc, ..shown }))
    }

    /// What an answer says of the key as it is in the draft.
    fn shown(&self, batch: &Batch, key: &[u8], show: bool) -> Result<Wrote, ReadError> {
        let data_type = self.inner.place.data_type;
        let siblings = match data_type {
            DataType::Lww | DataType::Mv => batch.draft.cell(key, &Field::default())?,
            DataType::Counter | DataType::Set | DataType::Map => None,
        };
        let after = match show {
            // More than a read gives out is not shown here either.
            true => {
                let cells = batch.draft.some_cells_of(key, KEY_CELLS_MAX + 1)?;
                (cells.len() <= KEY_CELLS_MAX).then(|| read(data_type, &cells))
            }
            false => None,
        };
        Ok(Wrote {
            dot: Default::default(),
            hlc: Default::default(),
            replayed: false,
            vector: Arc::default(),
            siblings: siblings.map_or(0, |cell| cell.live.len()),
            after,
        })
    }

    /// Whether a write may be made at all.
    fn admit(&self, key: &[u8], batch: &Batch, now: Moment) -> Result<(), WriteError> {
        batch.draft.admits(&self.inner.part.read(), key)?;
        let ms = self.inner.clocks.lead_ms(now);
        if ms > MAX_DRIFT_MS && self.inner.place.data_type.ranks() {
            return Err(WriteError::ClockAhead { ms });
        }
        Ok(())
    }

    // --- the end of a batch ---------------------------------------------------------------------

    /// Flushes, shows and answers.
    async fn commit(&mut self, batch: Batch) -> Result<(), Stop> {
        let Batch { draft, entries, answers, has_beat, is_settled, .. } = batch;
        let shown = match entries.last().map(|entry| entry.index) {
            None => {
                if is_settled {
                    self.inner.live.write().may_settle = false;
                }
                Ok(self.vector())
            }
            Some(last) => match self.flush(entries).await {
                Ok(()) => self.show(last, draft.finish(), has_beat, is_settled).await,
                Err(stop) => Err(stop),
            },
        };
        for answer in answers {
            answer(&shown);
        }
        shown.map(drop)
    }

    fn vector(&self) -> Arc<Vector> {
        Arc::clone(&self.inner.live.read().vector)
    }

    async fn flush(&self, entries: Vec<Entry>) -> Result<(), Stop> {
        let (done, flushed) = oneshot::channel();
        let group = self.inner.place.group;
        // The worker may be gone with its runtime; the log does not care.
        self.inner.log.append(group, entries, Box::new(move |result| drop(done.send(result))));
        match flushed.await {
            Ok(Ok(())) => Ok(()),
            // A log that failed stops the node by itself.
            Ok(Err(error)) => Err(Stop { reason: error.to_string() }),
            Err(_gone) => Err(stopped()),
        }
    }

    async fn show(
        &self,
        last: u64,
        finished: Finished,
        has_beat: bool,
        is_settled: bool,
    ) -> Result<Arc<Vector>, Stop> {
        let inner = &self.inner;
        if inner.place.state.is_overloaded() {
            let state = inner.place.state.clone();
            let room = inner.env.tasks.blocking(move || state.wait_for_room()).await;
            room.map_err(|error| self.broken(&error))?;
        }
        let Finished { effects, head, own, change, is_news, ops } = finished;
        let vector = Arc::new(head.vector.clone());
        let mut live = inner.live.write();
        let applied = inner.place.state.apply(inner.place.group, |applying| {
            applying.put_effects(last, effects);
            applying.set_applied(Applied { index: last, mark: Bytes::new() });
            Ok(())
        });
        applied.map_err(|error| self.broken(&error))?;
        let mut trail = inner.trail.lock();
        trail.jump(&own.jumped);
        trail.reached(last, &vector);
        drop(trail);
        live.sums.add(&change);
        live.head = head;
        live.own = own;
        live.vector = Arc::clone(&vector);
        live.index = last;
        live.is_news = is_news || (live.is_news && !has_beat);
        live.may_settle = !is_settled;
        drop(live);
        inner.counts.ops.fetch_add(ops, Ordering::Relaxed);
        inner.counts.batches.fetch_add(1, Ordering::Relaxed);
        inner.seen.send_replace(Arc::clone(&vector));
        Ok(vector)
    }

    fn broken(&self, error: &StorageError) -> Stop {
        // While the node stops its state closes first, and that is no failure.
        if !self.inner.stop.is_cancelled() && !self.inner.env.tasks.is_stopping() {
            self.inner.env.tasks.fail(format!("eventual rows cannot be kept: {error}"));
        }
        Stop { reason: error.to_string() }
    }
}

fn said<T: Send + 'static>(answer: oneshot::Sender<Result<T, Stop>>, said: T) -> Answer {
    Box::new(move |shown| {
        // Who asked may have given up.
        drop(answer.send(shown.as_ref().map(|_| said).map_err(Clone::clone)));
    })
}

/// Whether an operation may be applied next: no gap before it, and nothing that it removes is unknown.
fn follows(vector: &Vector, op: &Op) -> bool {
    let is_next = op.dot.counter == vector.of(op.dot.actor) + 1;
    let knows = match &op.act {
        Act::Write { changes, .. } => changes
            .iter()
            .flat_map(|change| &change.removes)
            .all(|removed| vector.covers(removed.dot)),
        Act::Beat { .. } => true,
    };
    is_next && knows
}

/// A run of the same directory that nobody has heard of: also not if the directory is an old copy,
/// unless two of them are started within a second.
pub(super) fn next_run(vector: &Vector, actor: Actor, wall_ms: u64) -> Actor {
    let member = Member::from(actor);
    let mine = vector.0.keys().filter(|known| Member::from(**known) == member);
    let last = mine.map(|known| known.run).max().unwrap_or(0).max(actor.run);
    let now = u32::try_from(wall_ms / 1000).unwrap_or(u32::MAX);
    Actor { run: last.saturating_add(1).max(now), ..actor }
}
