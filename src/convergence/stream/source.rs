//! The sending end: my log, minus what your vector covers.
//!
//! Why it exists: see the module above. Promises: operations are sent in the log's order, each actor's
//! without a gap after what the reader has; a log that does not reach back to what the reader lacks of
//! an actor is not used for that actor (R2, actor by actor: the reader's shard checks what each
//! operation stands on). Reads what the reader says also while it waits to send, so that two full
//! directions cannot stop each other. Relies on the reader to end the stream when it cannot follow.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;

use super::exchange::Exchange;
use super::message::{Asked, Hello, Said, Terms};
use super::metrics::Kind;
use super::relay::Relay;
use super::rows;
use crate::convergence::words::{LogGone, LoggedOp, ReadError};
use crate::model::NodeId;
use crate::model::codec::CodecError;
use crate::model::eventual::{Actor, Vector};
use crate::peer::PeerStream;
use crate::runtime::Moment;
use crate::runtime::limits::{
    STATE_SYNC_PART_BYTES, STATE_SYNC_STALL_MAX, STREAM_BATCH_BYTES, STREAM_MESSAGE_COST,
    STREAM_SILENCE_MAX, VECTOR_EVERY,
};

/// Why a source's end of a stream is over.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// The reader has gone, or the connection.
    #[error("the reader has gone")]
    Gone,
    /// What was sent is not taken.
    #[error("the reader is silent")]
    Silent,
    /// What was asked makes no sense now.
    #[error("the reader broke the protocol: {0}")]
    Protocol(&'static str),
    /// What was asked cannot be read.
    #[error(transparent)]
    Unreadable(#[from] CodecError),
    /// The shard cannot be read, or is closed.
    #[error(transparent)]
    Shard(#[from] ReadError),
}

/// One stream to one reader.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) exchange: Arc<Exchange>,
    peer: NodeId,
    pub(super) terms: Terms,
    stream: PeerStream,
    relay: Relay,
    /// Where in the log it goes on.
    cursor: u64,
    /// What was sent, and is thus had or on its way.
    pub(super) sent: Vector,
    /// What was sent and not yet taken, in bytes.
    pub(super) outstanding: u64,
    /// What the reader has asked in the course of a state sync.
    pub(super) asked: Option<Asked>,
    next_tick: Moment,
    told: Vector,
    /// When something was last sent or heard.
    lively_at: Moment,
    /// Whether the reader has said what it has, and waits for our word.
    must_answer: bool,
}

impl Source {
    /// Serves a reader until it has gone, or has what it wanted.
    pub(super) async fn serve(
        exchange: Arc<Exchange>,
        peer: NodeId,
        hello: Hello,
        stream: PeerStream,
    ) -> Result<(), Ended> {
        exchange.begins(peer, &hello.vector);
        let Hello { terms, .. } = hello;
        let lively_at = exchange.env.clock.now();
        let next_tick = lively_at + VECTOR_EVERY;
        let source = Self {
            peer,
            relay: Relay::new(terms.all, terms.rank),
            terms,
            stream,
            cursor: 0,
            sent: Vector::default(),
            outstanding: 0,
            asked: None,
            next_tick,
            told: Vector::default(),
            lively_at,
            must_answer: false,
            exchange,
        };
        source.run().await
    }

    async fn run(mut self) -> Result<(), Ended> {
        let mut vectors = self.exchange.shard.vectors();
        let goal = self.exchange.shard.log_tail();
        // A reader that hears nothing at all has not been heard.
        self.tell().await?;
        self.begin().await?;
        loop {
            vectors.borrow_and_update();
            self.feed().await?;
            if self.terms.pass && self.cursor > goal && self.outstanding == 0 {
                return self.push(Kind::Vectors, Said::Passed.encode()).await;
            }
            if self.must_answer {
                self.tell().await?;
                continue;
            }
            let now = self.exchange.env.clock.now();
            if now >= self.next_tick {
                self.next_tick = now + VECTOR_EVERY;
                self.tick().await?;
                continue;
            }
            let wait = self.next_tick.since(now);
            tokio::select! {
                () = self.stream.send.closed() => return Err(Ended::Gone),
                asked = self.stream.recv.recv() => self.hear(asked)?,
                changed = vectors.changed() => changed.map_err(|_closed| Ended::Gone)?,
                () = tokio::time::sleep(wait), if self.must_tick() => {}
            }
        }
    }

    /// An idle stream has no ticks.
    fn must_tick(&self) -> bool {
        let vector = self.exchange.shard.vector();
        self.outstanding > 0
            || (self.terms.tell && *vector != self.told)
            || !self.exchange.known(self.peer).includes(&vector)
    }

    /// What the reader has, or has on its way.
    fn has(&self) -> Vector {
        let mut has = self.exchange.known(self.peer);
        has.join(&self.sent);
        has
    }

    /// Finds the place in the log to begin at, by way of rows if there is none.
    async fn begin(&mut self) -> Result<(), Ended> {
        while !self.place() {
            rows::give(self).await?;
        }
        Ok(())
    }

    /// Whether the log reaches back to what the reader has; if so the cursor stands there.
    fn place(&mut self) -> bool {
        let (has, base) = (self.has(), self.exchange.shard.base());
        for (&actor, &counter) in &base.vector.0 {
            if has.of(actor) >= counter {
                continue;
            }
            // Others' operations most likely come some other way; if they do not, ticks will tell.
            if self.terms.pass || self.exchange.is_own(actor) {
                return false;
            }
            self.relay.prune(actor);
        }
        self.cursor = self.exchange.shard.seek(&has).unwrap_or(base.index + 1);
        true
    }

    /// Sends what there is, as far as there is credit.
    async fn feed(&mut self) -> Result<(), Ended> {
        while self.has_credit() && self.cursor <= self.exchange.shard.log_tail() {
            let part = match self.exchange.shard.read_ops(self.cursor, STREAM_BATCH_BYTES) {
                Ok(part) => part,
                Err(LogGone::Trimmed) => {
                    self.begin().await?;
                    continue;
                }
                Err(LogGone::Unreadable(error)) => return Err(error.into()),
            };
            if part.next <= self.cursor {
                return Ok(());
            }
            self.cursor = part.next;
            let ops = self.choose(part.ops);
            if ops.is_empty() {
                // Much of the log may be passed over; others want the thread, too.
                tokio::task::yield_now().await;
            } else {
                self.push_counted(Kind::Ops, Said::Ops(ops)).await?;
            }
        }
        Ok(())
    }

    fn choose(&mut self, ops: Vec<LoggedOp>) -> Vec<Bytes> {
        let known = self.exchange.known(self.peer);
        let mut chosen = Vec::with_capacity(ops.len());
        for op in ops {
            let actor = op.dot.actor;
            let had = known.of(actor).max(self.sent.of(actor));
            if op.dot.counter <= had {
                continue;
            }
            // What came in here from outside has no other way; but no gap may be passed over.
            let is_adopted = op.dot.counter == had + 1
                && !self.relay.is_pruned(actor)
                && self.exchange.is_adopted(actor);
            if !is_adopted && !self.relay.is_eager(actor, self.exchange.is_own(actor)) {
                continue;
            }
            self.sent.0.insert(actor, op.dot.counter);
            chosen.push(op.bytes);
        }
        chosen
    }

    async fn tick(&mut self) -> Result<(), Ended> {
        let silence = self.exchange.env.clock.now().since(self.lively_at);
        if self.outstanding > 0 && silence > STREAM_SILENCE_MAX {
            return Err(Ended::Silent);
        }
        let (vector, known) = (self.exchange.shard.vector(), self.exchange.known(self.peer));
        let exchange = Arc::clone(&self.exchange);
        let lacking = self.relay.tick(&vector, &known, |actor| exchange.is_own(actor));
        let (has, base) = (self.has(), self.exchange.shard.base().vector);
        let in_log = |actor: Actor| base.of(actor) <= has.of(actor);
        let wants_rows = lacking.iter().any(|lacks| lacks.for_long && !in_log(lacks.actor));
        let grafted: Vec<_> = lacking.iter().map(|l| l.actor).filter(|a| in_log(*a)).collect();
        for &actor in &grafted {
            tracing::debug!(peer = %self.peer, %actor, "operations are passed on");
            self.relay.graft(actor);
        }
        if wants_rows {
            rows::give(self).await?;
        }
        if wants_rows || !grafted.is_empty() {
            self.begin().await?;
        }
        if self.terms.tell && *vector != self.told {
            self.tell().await?;
        }
        Ok(())
    }

    async fn tell(&mut self) -> Result<(), Ended> {
        let state = self.exchange.state();
        self.told = state.vector.clone();
        self.must_answer = false;
        self.push(Kind::Vectors, Said::State(state).encode()).await
    }

    pub(super) fn has_credit(&self) -> bool {
        self.outstanding < self.terms.window.max(1)
    }

    /// Takes what the reader says, in the course of sending.
    pub(super) fn hear(&mut self, asked: Option<Bytes>) -> Result<(), Ended> {
        self.lively_at = self.exchange.env.clock.now();
        match Asked::decode(&asked.ok_or(Ended::Gone)?)? {
            Asked::Taken { bytes, reached, pruned } => {
                self.outstanding = self.outstanding.saturating_sub(bytes);
                self.exchange.has(self.peer, &Vector(reached.into_iter().collect()));
                for actor in pruned {
                    if !self.exchange.is_own(actor) {
                        self.relay.prune(actor);
                    }
                }
            }
            Asked::State(state) => {
                self.exchange.compare(self.peer, &state);
                self.must_answer = true;
            }
            asked if self.asked.is_none() => self.asked = Some(asked),
            _ => return Err(Ended::Protocol("it asks before it was answered")),
        }
        Ok(())
    }

    /// Waits for the next thing that the reader says.
    pub(super) async fn listen(&mut self) -> Result<(), Ended> {
        let heard = tokio::time::timeout(STATE_SYNC_STALL_MAX, self.stream.recv.recv()).await;
        self.hear(heard.map_err(|_late| Ended::Silent)?)
    }

    /// Sends something that the reader must take before much more is sent.
    pub(super) async fn push_counted(&mut self, kind: Kind, said: Said) -> Result<(), Ended> {
        let bytes = said.encode();
        self.outstanding += cost(&bytes);
        self.push(kind, bytes).await
    }

    /// The same of what may be too long for one message.
    pub(super) async fn push_in_parts(&mut self, kind: Kind, said: Said) -> Result<(), Ended> {
        let whole = said.encode();
        if whole.len() <= STATE_SYNC_PART_BYTES {
            self.outstanding += cost(&whole);
            return self.push(kind, whole).await;
        }
        let starts = (0..whole.len()).step_by(STATE_SYNC_PART_BYTES);
        let lefts = (0..u32::try_from(starts.len()).unwrap_or(u32::MAX)).rev();
        for (start, left) in starts.zip(lefts) {
            let bytes = whole.slice(start..whole.len().min(start + STATE_SYNC_PART_BYTES));
            while !self.has_credit() {
                self.listen().await?;
            }
            self.push_counted(kind, Said::Part { left, bytes }).await?;
        }
        Ok(())
    }

    /// Sends, at the link's pace.
    pub(super) async fn push(&mut self, kind: Kind, bytes: Bytes) -> Result<(), Ended> {
        self.exchange.metrics.sent(kind, bytes.len());
        loop {
            let wait = self.exchange.pace(self.peer, self.terms.pace, bytes.len());
            if wait.is_zero() {
                break;
            }
            let mut paced = pin!(tokio::time::sleep(wait));
            loop {
                tokio::select! {
                    biased;
                    asked = self.stream.recv.recv() => self.hear(asked)?,
                    () = &mut paced => break,
                }
            }
        }
        let send = self.stream.send.clone();
        loop {
            tokio::select! {
                biased;
                asked = self.stream.recv.recv() => self.hear(asked)?,
                room = send.reserve() => {
                    room.map_err(|_closed| Ended::Gone)?.send(bytes);
                    self.lively_at = self.exchange.env.clock.now();
                    return Ok(());
                }
                () = tokio::time::sleep(STREAM_SILENCE_MAX) => return Err(Ended::Silent),
            }
        }
    }
}

/// What a message costs of the window.
pub(super) fn cost(message: &Bytes) -> u64 {
    u64::try_from(message.len()).unwrap_or(u64::MAX).saturating_add(STREAM_MESSAGE_COST)
}
