//! One end of a multiplexed connection: calls and streams over frames.
//!
//! Why it exists: both ends write, read and watch over the connection in the same way; what differs
//! (one asks, the other answers) is in `dispatch`.
//!
//! Promises: when `run` returns the connection is closed, every call has its verdict and every
//! stream has ended. Writing is batched by what is queued at that moment, never by a timer.
//! Relies on: `lanes` for the verdicts, `streams` for the windows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::dispatch::Desk;
use super::frame::{Frame, FrameReader, Kind};
use super::lanes::{Lanes, NotQueued};
use super::streams::{NotOpened, Streams};
use super::{Channel, Lane, PeerError, PeerMetrics, PeerOptions, PeerStream, streams};
use crate::model::NodeId;
use crate::runtime::limits::{PEER_FRAME_BYTES_MAX, PEER_WRITE_BATCH_BYTES};
use crate::runtime::{Env, Moment};

/// Payloads from this size on are written from where they are instead of being copied.
const COPY_BYTES_MAX: usize = 32 * 1024;

pub(super) type ReadHalf = Box<dyn AsyncRead + Send + Unpin>;
pub(super) type WriteHalf = Box<dyn AsyncWrite + Send + Unpin>;

/// One end of a connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: NodeId,
    pub(super) env: Env,
    pub(super) lanes: Lanes,
    pub(super) streams: Streams,
    pub(super) metrics: PeerMetrics,
    pub(super) since: Moment,
    silence: Duration,
    ping_every: Duration,
    close: CancellationToken,
}

impl Connection {
    pub(super) fn new(
        peer: NodeId,
        env: Env,
        options: &PeerOptions,
        metrics: PeerMetrics,
    ) -> Arc<Self> {
        Arc::new(Self {
            peer,
            lanes: Lanes::new(options.lane_bounds(), metrics.queue_gauges(peer)),
            streams: Streams::new(),
            since: env.clock.now(),
            env,
            metrics,
            silence: options.silence_max,
            ping_every: options.ping_every,
            close: CancellationToken::new(),
        })
    }

    /// Asks `run` to end.
    pub(super) fn close(&self) {
        self.close.cancel();
    }

    /// Carries frames until the connection ends; returns why it did. `desk` serves what the other
    /// side asks: the end that connected has none.
    pub(super) async fn run(
        self: &Arc<Self>,
        reader: FrameReader<ReadHalf>,
        writer: WriteHalf,
        desk: Option<Desk>,
    ) -> String {
        let asks = desk.is_none();
        let reads = reader.reads();
        // When the node stops, this future is dropped where it stands.
        let _ends = Ends(self);
        let reason = tokio::select! {
            biased;
            () = self.close.cancelled() => "closed here".to_owned(),
            () = self.env.tasks.stopping() => "the node stops".to_owned(),
            reason = self.read(reader, desk) => reason,
            reason = self.write(writer) => reason,
            () = silence(&reads, (self.ping_every, self.silence), || self.ping(asks)) => {
                nothing_heard(self.silence)
            }
        };
        self.lanes.close(&reason);
        self.streams.close();
        reason
    }

    async fn read(
        self: &Arc<Self>,
        mut reader: FrameReader<ReadHalf>,
        desk: Option<Desk>,
    ) -> String {
        loop {
            let frame = match reader.next().await {
                Ok(Some(frame)) => frame,
                Ok(None) => return "closed by the peer".to_owned(),
                Err(error) => return error.to_string(),
            };
            self.metrics.frames_received.inc();
            self.metrics.bytes_received.inc_by(frame.wire_bytes() as u64);
            if let Err(reason) = self.handle(frame, desk.as_ref()).await {
                return reason;
            }
        }
    }

    async fn handle(self: &Arc<Self>, frame: Frame, desk: Option<&Desk>) -> Result<(), String> {
        match (frame.kind, desk) {
            (Kind::Answer, None) => self.lanes.answer(frame.id, Ok(frame.payload)),
            (Kind::Refused, None) => {
                let reason = String::from_utf8_lossy(&frame.payload).into_owned();
                self.lanes.answer(frame.id, Err(PeerError::Refused { reason }));
            }
            (Kind::StreamData, _) => self.streams.data(frame.id, frame.payload)?,
            (Kind::StreamCredit, _) => self.streams.credit(frame.id, frame.word)?,
            (Kind::StreamEnd, _) => self.streams.end(frame.id),
            (Kind::StreamStop, _) => self.streams.stop(frame.id),
            (Kind::Pong, None) => {}
            (_, Some(desk)) => return desk.serve(self, frame).await,
            (kind, None) => return Err(format!("the peer sent {kind:?} where only answers go")),
        }
        Ok(())
    }

    async fn write(&self, mut writer: WriteHalf) -> String {
        let mut batch = Vec::new();
        let mut out = BytesMut::with_capacity(COPY_BYTES_MAX);
        while self.lanes.take(&mut batch, PEER_WRITE_BATCH_BYTES).await {
            if let Err(error) = self.write_batch(&mut writer, &mut batch, &mut out).await {
                return format!("write failed: {error}");
            }
            // Lets those run that are ready to add to the next batch: several times fewer writes
            // under load, and nothing lost when idle.
            tokio::task::yield_now().await;
        }
        "closed here".to_owned()
    }

    async fn write_batch(
        &self,
        writer: &mut WriteHalf,
        batch: &mut Vec<Frame>,
        out: &mut BytesMut,
    ) -> std::io::Result<()> {
        let mut bytes = 0u64;
        self.metrics.frames_sent.inc_by(batch.len() as u64);
        for frame in batch.drain(..) {
            bytes += frame.wire_bytes() as u64;
            if frame.payload.len() < COPY_BYTES_MAX {
                frame.put(out);
                continue;
            }
            frame.put_header(out);
            writer.write_all(out).await?;
            out.clear();
            writer.write_all(&frame.payload).await?;
        }
        self.metrics.bytes_sent.inc_by(bytes);
        writer.write_all(out).await?;
        out.clear();
        writer.flush().await
    }

    fn ping(&self, asks: bool) {
        if asks {
            self.lanes.push_always(Frame::bare(Kind::Ping, Lane::Control, 0));
        }
    }

    /// Asks the other side.
    pub(super) async fn call(
        &self,
        channel: Channel,
        lane: Lane,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, PeerError> {
        check_length(&body)?;
        let word = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        let started = self.env.clock.now();
        let frame = Frame { kind: Kind::Call, channel, lane, id: 0, word, payload: body };
        let (id, answered) = self.lanes.push_call(frame).map_err(not_queued)?;
        // Forgets the call also when the caller drops this future.
        let waits = Waits { lanes: &self.lanes, id };
        match tokio::time::timeout(timeout, answered).await {
            Ok(Ok(result)) => {
                self.metrics.round_trip.observe(self.env.clock.now().since(started).as_secs_f64());
                result
            }
            Ok(Err(_)) => Err(PeerError::unknown("the connection was dropped")),
            Err(_) => {
                let reason = format!("no answer within {timeout:?}");
                let handed = waits.lanes.give_up(id);
                Err(if handed { PeerError::unknown(reason) } else { PeerError::not_sent(reason) })
            }
        }
    }

    /// Opens a stream from this end.
    pub(super) fn open_stream(
        self: &Arc<Self>,
        channel: Channel,
        lane: Lane,
        header: Bytes,
    ) -> Result<PeerStream, PeerError> {
        check_length(&header)?;
        let id = self.lanes.next_id();
        let stream = streams::start(self, id, channel, lane).map_err(|e| match e {
            NotOpened::TooMany => PeerError::not_sent("too many open streams"),
            NotOpened::Closed => {
                not_queued(NotQueued::Closed(self.lanes.closed().unwrap_or_default()))
            }
        })?;
        // The pump cannot be ahead of this frame: it has nothing to send before we return.
        let open = Frame { kind: Kind::StreamOpen, channel, lane, id, word: 0, payload: header };
        self.lanes.push(open).map_err(not_queued)?;
        Ok(stream)
    }
}

/// Ends when nothing was read for longer than `longest`, and does something at each tick until then.
/// Counts its own ticks rather than reading a clock, so that a process that was suspended does not
/// take its own absence for the peer's.
pub(super) async fn silence(
    reads: &AtomicU64,
    (every, longest): (Duration, Duration),
    at_each_tick: impl Fn(),
) {
    let first = tokio::time::Instant::now() + every;
    let mut tick = tokio::time::interval_at(first, every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut heard, mut silent) = (0, Duration::ZERO);
    loop {
        tick.tick().await;
        let now = reads.load(Ordering::Relaxed);
        if now == heard {
            silent += every;
        } else {
            (heard, silent) = (now, Duration::ZERO);
        }
        if silent > longest {
            return;
        }
        at_each_tick();
    }
}

/// Why a silent connection ended.
pub(super) fn nothing_heard(longest: Duration) -> String {
    format!("nothing heard for {longest:?}")
}

struct Ends<'a>(&'a Connection);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.lanes.close("the node stops");
        self.0.streams.close();
    }
}

struct Waits<'a> {
    lanes: &'a Lanes,
    id: u64,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.lanes.give_up(self.id);
    }
}

fn check_length(body: &Bytes) -> Result<(), PeerError> {
    if body.len() <= PEER_FRAME_BYTES_MAX {
        return Ok(());
    }
    let reason = format!("{} bytes, allowed are {PEER_FRAME_BYTES_MAX}", body.len());
    Err(PeerError::NotSent { reason })
}

fn not_queued(error: NotQueued) -> PeerError {
    match error {
        NotQueued::Full => PeerError::not_sent("the queue to the peer is full"),
        NotQueued::Closed(reason) => PeerError::NotSent { reason },
    }
}
