//! The reading end: asks one source for one namespace's operations, for as long as a link leads here.
//!
//! Why it exists: see the module above. Promises: a stream that ends, for whatever reason, is asked
//! for again after a pause, from what is flushed here; a site link carries at its times only. Relies
//! on its task being ended when the link goes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use super::exchange::{Exchange, Intake};
use super::inbox::CONVERGE_STREAM;
use super::message::{Asked, Hello, Said, Terms};
use super::metrics::Kind;
use super::pace::{Hours, hours, time_of};
use super::pulse::Pulse;
use super::rows::{self, Cut};
use super::source::cost;
use crate::convergence::decode_op;
use crate::convergence::words::Stop;
use crate::model::codec::CodecError;
use crate::model::eventual::{Actor, Op};
use crate::peer::{Lane, PeerError, PeerStream, Transport};
use crate::placement::LinkMode;
use crate::placement::links::{Carries, Link};
use crate::runtime::limits::{
    STATE_SYNC_STALL_MAX, STREAM_MESSAGE_BYTES, STREAM_RETRY_MAX, STREAM_RETRY_MIN,
    STREAM_SILENCE_MAX, STREAM_WINDOW_BYTES,
};

/// How a stream ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("all was passed on")]
    Passed,
    #[error("the link's hours are over")]
    Shut,
    #[error("too much would have to wait for other operations")]
    Overflow,
    #[error("rows are being taken from another source")]
    Busy,
    #[error("the source has gone")]
    Gone,
    #[error("the source does not answer")]
    Silent,
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] CodecError),
    #[error("the source broke the protocol")]
    Protocol,
    #[error("a state sync was cut off: {0}")]
    Cut(Cut),
    #[error(transparent)]
    Stop(#[from] Stop),
}

/// One namespace's way from one source.
#[derive(Debug)]
pub(super) struct Subscriber {
    exchange: Arc<Exchange>,
    transport: Arc<dyn Transport>,
    link: Link,
    terms: Terms,
}

impl Subscriber {
    /// For a link; `tell` if no link leads the other way, `rank` among the sources that lead here.
    pub(super) fn new(
        exchange: Arc<Exchange>,
        transport: Arc<dyn Transport>,
        link: Link,
        tell: bool,
        rank: u32,
    ) -> Self {
        let terms = Terms {
            all: link.carries == Carries::All,
            pass: link.mode != LinkMode::Push,
            tell,
            pace: link.bytes_per_s,
            window: STREAM_WINDOW_BYTES,
            rank,
        };
        Self { exchange, transport, link, terms }
    }

    /// Reads for as long as the shard takes anything.
    pub(super) async fn run(self) {
        let from = self.link.from;
        let (mut failures, mut all, mut is_due) = (0, self.terms.all, false);
        loop {
            if !is_due {
                self.turn().await;
                is_due = true;
            }
            self.opening().await;
            let began = self.exchange.env.clock.now();
            let end = match self.once(all).await {
                Ok(never) => match never {},
                Err(end) => end,
            };
            self.exchange.ended(from);
            tracing::debug!(namespace = %self.exchange.shard.namespace(), %from, %end, "a stream ended");
            // In the source's own order nothing comes early.
            all = self.terms.all || matches!(end, End::Overflow);
            match end {
                End::Stop(_) | End::Cut(Cut::Stop(_)) => return,
                End::Passed => {
                    (is_due, failures) = (false, 0);
                    continue;
                }
                End::Shut => continue,
                // What rows will bring need not be held.
                End::Busy | End::Overflow => self.exchange.synced().await,
                End::Unreadable(_) | End::Protocol | End::Cut(Cut::Protocol) => {
                    tracing::warn!(%from, %end, "a stream was broken");
                    self.exchange.metrics.broken.inc();
                }
                End::Gone | End::Silent | End::Peer(_) | End::Cut(_) => {}
            }
            let lived = self.exchange.env.clock.now().since(began);
            failures = if lived > STREAM_RETRY_MAX { 0 } else { failures + 1 };
            sleep(self.pause(failures)).await;
        }
    }

    /// Longer with every failure, and never the same for two nodes.
    fn pause(&self, failures: u32) -> Duration {
        let longest = STREAM_RETRY_MIN.saturating_mul(1 << failures.min(10)).min(STREAM_RETRY_MAX);
        let nanos = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(nanos / 2 + self.exchange.env.rng.below(nanos / 2 + 1))
    }

    /// Waits until the link's mode says so.
    async fn turn(&self) {
        match self.link.mode {
            LinkMode::Push => {}
            LinkMode::Interval(ms) => sleep(Duration::from_millis(ms)).await,
            LinkMode::Manual => self.exchange.pass_asked(self.link.from).await,
        }
    }

    /// Waits until the link's hours begin.
    async fn opening(&self) {
        while let Hours::Shut(time) = hours(self.link.hours, self.exchange.env.clock.wall_ms()) {
            sleep(time).await;
        }
    }

    /// One stream, for as long as the link's hours last: also a long backlog, or a state sync, ends
    /// with them, and goes on the next time.
    async fn once(&self, all: bool) -> Result<Infallible, End> {
        match hours(self.link.hours, self.exchange.env.clock.wall_ms()) {
            Hours::Open(time) => tokio::time::timeout(time, self.follow(all)).await,
            Hours::Shut(_) => return Err(End::Shut),
        }
        .unwrap_or(Err(End::Shut))
    }

    async fn follow(&self, all: bool) -> Result<Infallible, End> {
        let shard = &self.exchange.shard;
        let mut vectors = shard.vectors();
        let vector = (**vectors.borrow_and_update()).clone();
        let terms = Terms { all, ..self.terms.clone() };
        let hello = Hello { namespace: shard.namespace(), vector, terms }.encode();
        self.exchange.metrics.sent(Kind::Vectors, hello.len());
        let opened = self.transport.open_stream(self.link.from, CONVERGE_STREAM, Lane::Data, hello);
        let mut stream = opened.await?;
        let clock = Arc::clone(&self.exchange.env.clock);
        let mut pulse = Pulse::new(clock.now(), self.silence_max());
        loop {
            let (now, holds) = (clock.now(), self.exchange.held() > 0);
            if pulse.is_over(now) {
                return Err(if pulse.is_closed() { End::Gone } else { End::Silent });
            }
            // Also while the stream never pauses: its source must hear how far we are.
            if pulse.is_due(now, holds) {
                self.exchange.release().await?;
                self.tell(Asked::State(self.exchange.state()), &stream).await;
            }
            tokio::select! {
                biased;
                said = stream.recv.recv() => {
                    self.hear(said.ok_or(End::Gone)?, &mut stream).await?;
                    pulse.heard();
                }
                changed = vectors.changed(), if !pulse.must_tell() => {
                    changed.map_err(|_closed| Stop { reason: "the shard is gone".to_owned() })?;
                    pulse.changed();
                }
                () = stream.send.closed(), if !pulse.is_closed() => pulse.closed(clock.now()),
                () = sleep(pulse.rest(now, holds)) => {}
            }
        }
    }

    fn silence_max(&self) -> Duration {
        STREAM_SILENCE_MAX + self.slowness()
    }

    /// A link that is slow by order may have to carry a message, perhaps of an earlier stream, before
    /// its source can say anything.
    fn slowness(&self) -> Duration {
        let rate = self.link.bytes_per_s.filter(|rate| *rate > 0);
        rate.map_or(Duration::ZERO, |rate| time_of(STREAM_MESSAGE_BYTES, rate))
    }

    async fn hear(&self, bytes: Bytes, stream: &mut PeerStream) -> Result<(), End> {
        match Said::decode(&bytes)? {
            Said::Ops(raw) => {
                let ops: Vec<Op> = raw.iter().map(decode_op).collect::<Result<_, _>>()?;
                let actors: Vec<Actor> = ops.iter().map(|op| op.dot.actor).collect();
                if self.exchange.take(self.link.from, ops).await? == Intake::Overflow {
                    return Err(End::Overflow);
                }
                self.taken(cost(&bytes), actors, stream).await;
                Ok(())
            }
            Said::State(state) => {
                self.exchange.compare(self.link.from, &state);
                Ok(())
            }
            Said::Short => {
                let Some(_permit) = self.exchange.may_sync() else { return Err(End::Busy) };
                let patience = STATE_SYNC_STALL_MAX + self.slowness();
                rows::take(&self.exchange, stream, patience).await.map_err(End::Cut)
            }
            Said::Passed => Err(End::Passed),
            Said::Offer(..)
            | Said::Buckets(_)
            | Said::Page(_)
            | Said::Part { .. }
            | Said::Done(..) => Err(End::Protocol),
        }
    }

    /// Gives credit back, and says at once what is flushed here: somebody may wait for that.
    async fn taken(&self, bytes: u64, mut actors: Vec<Actor>, stream: &PeerStream) {
        actors.sort_unstable();
        actors.dedup();
        let vector = self.exchange.shard.vector();
        let reached = actors.into_iter().map(|actor| (actor, vector.of(actor))).collect();
        let pruned = self.exchange.take_pruned(self.link.from);
        self.tell(Asked::Taken { bytes, reached, pruned }, stream).await;
    }

    async fn tell(&self, asked: Asked, stream: &PeerStream) {
        let bytes = asked.encode();
        self.exchange.metrics.sent(Kind::Vectors, bytes.len());
        // A source that listens no more may have said why, and that comes.
        drop(tokio::time::timeout(self.silence_max(), stream.send.send(bytes)).await);
    }
}
