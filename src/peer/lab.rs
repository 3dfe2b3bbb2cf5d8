//! Distance, cuts and wrong clocks between real nodes, for measurements on one machine.
//!
//! Why it exists: what a mode costs and loses depends on how far its nodes are from each other, and a
//! machine has no distance. So a node that was started for a laboratory sends what it writes to
//! another node through a line that is as long as it is told, and stops sending when it is told that
//! the line is cut. It needs no rights and is the same on every machine.
//!
//! ```text
//!   writer --> [ bounded buffer ] --> (due, bytes), (due, bytes) ... --> socket, each when it is due
//! ```
//!
//! Promises: what is written at a time leaves this node one delay later, in order, and never holds up
//! what is written after it: a line is long, not slow. Both ends delay what they send, so that the
//! way there and back takes twice the delay, with an error of a millisecond, which is as fine as the
//! timers are. A cut line keeps what is on it and makes no connection, as a network would that drops
//! everything; so both ends of a link must be told. Long bodies and greetings pass through too.
//! A node that was not started so has none of this: no task, no copy, no branch per frame.
//!
//! Relies on: the laboratory to reach every node by [`LAB_PATH`], which the others do not have.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::connection::WriteHalf;
use crate::model::NodeId;
use crate::runtime::clock::ShiftedClock;
use crate::runtime::limits::{LAB_LINE_BYTES, LAB_PIECE_BYTES};
use crate::runtime::{Clock, Rng, Tasks};

/// Where a laboratory tells a node about its lines and its clock.
pub const LAB_PATH: &str = "/internal/lab";

/// What a laboratory says; what it leaves out stays as it is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    /// How long everything sent to another node takes.
    delay_ms: Option<f64>,
    /// By how much more it takes at random, at most.
    jitter_ms: Option<f64>,
    /// The nodes to which the line is cut; all others are whole.
    cut: Option<BTreeSet<u64>>,
    /// How far this node's wall clock is ahead.
    clock_ms: Option<i64>,
}

#[derive(Clone, Debug, Default)]
struct Lines {
    delay: Duration,
    jitter: Duration,
    cut: BTreeSet<NodeId>,
}

/// A node's lines to all others, and its clock.
#[derive(Debug)]
pub struct Lab {
    lines: watch::Sender<Lines>,
    rng: Rng,
    clock: Arc<ShiftedClock>,
}

impl Lab {
    /// Lines of this length; `seed` decides what is left to chance.
    pub fn new(delay: Duration, seed: u64) -> Self {
        Self {
            lines: watch::Sender::new(Lines { delay, ..Lines::default() }),
            rng: Rng::seeded(seed),
            clock: Arc::default(),
        }
    }

    /// The clock that can be set wrong.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock) as Arc<_>
    }

    /// The route by which a laboratory gives its orders.
    pub fn routes(self: &Arc<Self>) -> axum::Router {
        let lab = Arc::clone(self);
        let answer = move |Json(order): Json<Order>| async move {
            if lab.obey(&order) { StatusCode::NO_CONTENT } else { StatusCode::BAD_REQUEST }
        };
        axum::Router::new().route(LAB_PATH, axum::routing::put(answer))
    }

    /// Does as told; `false` when that cannot be.
    fn obey(&self, order: &Order) -> bool {
        let time = |ms: f64| Duration::try_from_secs_f64(ms / 1_000.0).ok();
        let (delay, jitter) = (order.delay_ms.map(time), order.jitter_ms.map(time));
        if matches!(delay, Some(None)) || matches!(jitter, Some(None)) {
            return false;
        }
        self.lines.send_modify(|lines| {
            lines.delay = delay.flatten().unwrap_or(lines.delay);
            lines.jitter = jitter.flatten().unwrap_or(lines.jitter);
            if let Some(cut) = &order.cut {
                lines.cut = cut.iter().copied().map(NodeId).collect();
            }
        });
        if let Some(ms) = order.clock_ms {
            self.clock.shift(ms);
        }
        true
    }

    /// Waits until the line to a node is whole.
    pub(super) async fn whole(&self, to: NodeId) {
        let mut lines = self.lines.subscribe();
        // The sender is ours: it cannot be gone.
        drop(lines.wait_for(|lines| !lines.cut.contains(&to)).await);
    }

    fn is_cut(&self, to: NodeId) -> bool {
        self.lines.borrow().cut.contains(&to)
    }

    /// When something written now arrives at the other end.
    fn due(&self) -> Instant {
        let (delay, jitter) = {
            let lines = self.lines.borrow();
            (lines.delay, lines.jitter)
        };
        let micros = u64::try_from(jitter.as_micros()).unwrap_or(u64::MAX);
        let more = if micros == 0 { 0 } else { self.rng.below(micros) };
        Instant::now() + delay + Duration::from_micros(more)
    }

    /// A writer whose bytes pass through the line. The node at its end is named when it is known.
    pub(super) fn line(
        self: &Arc<Self>,
        tasks: &Tasks,
        writer: WriteHalf,
    ) -> (WriteHalf, Arc<OnceLock<NodeId>>) {
        let (near, far) = tokio::io::duplex(LAB_PIECE_BYTES);
        let end = Arc::new(OnceLock::new());
        let line = Line { lab: Arc::clone(self), end: Arc::clone(&end) };
        tasks.spawn("lab-line", async move {
            if let Err(error) = line.carry(far, writer).await {
                tracing::debug!(%error, "a line of the laboratory ended");
            }
        });
        (Box::new(near), end)
    }
}

struct Line {
    lab: Arc<Lab>,
    end: Arc<OnceLock<NodeId>>,
}

/// What is on its way, and its place in the line's memory.
struct Piece {
    due: Instant,
    bytes: Bytes,
}

impl Line {
    async fn carry(&self, far: DuplexStream, writer: WriteHalf) -> io::Result<()> {
        let (put, take) = mpsc::unbounded_channel();
        // The channel is bounded by these.
        let room = Semaphore::new(LAB_LINE_BYTES);
        let (entered, left) = tokio::join!(self.enter(far, put, &room), async {
            let left = self.leave(take, writer, &room).await;
            // Nobody takes anything off any more: who waits for room shall hear of it.
            room.close();
            left
        });
        entered.and(left)
    }

    async fn enter(
        &self,
        mut far: DuplexStream,
        put: mpsc::UnboundedSender<Piece>,
        room: &Semaphore,
    ) -> io::Result<()> {
        let mut last = Instant::now();
        loop {
            let mut bytes = BytesMut::with_capacity(LAB_PIECE_BYTES);
            if far.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
            // Nothing overtakes what was written before it.
            last = last.max(self.lab.due());
            let wanted = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            let Ok(place) = room.acquire_many(wanted).await else { return Ok(()) };
            place.forget();
            if put.send(Piece { due: last, bytes: bytes.freeze() }).is_err() {
                return Ok(());
            }
        }
    }

    async fn leave(
        &self,
        mut take: mpsc::UnboundedReceiver<Piece>,
        mut writer: WriteHalf,
        room: &Semaphore,
    ) -> io::Result<()> {
        while let Some(piece) = take.recv().await {
            sleep_until(piece.due).await;
            if let Some(to) = self.end.get().filter(|to| self.lab.is_cut(**to)) {
                let abandoned = async {
                    // Both ends give a silent connection up; then nothing of it will ever arrive.
                    while !take.is_closed() {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                };
                tokio::select! {
                    () = self.lab.whole(*to) => {}
                    () = abandoned => return Ok(()),
                }
            }
            writer.write_all(&piece.bytes).await?;
            writer.flush().await?;
            room.add_permits(piece.bytes.len());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(text: &str) -> Order {
        toml::from_str(text).unwrap()
    }

    /// A line of a laboratory with both of its outer ends.
    fn line(lab: &Arc<Lab>) -> (WriteHalf, DuplexStream) {
        let (socket, other_end) = tokio::io::duplex(1 << 20);
        let (writer, end) = lab.line(&Tasks::default(), Box::new(socket));
        end.set(NodeId(2)).unwrap();
        (writer, other_end)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_sent_arrives_later_in_order_and_holds_up_nothing() {
        let lab = Arc::new(Lab::new(Duration::from_millis(40), 1));
        let (mut writer, mut other) = line(&lab);
        let began = Instant::now();
        for byte in 0..10u8 {
            writer.write_all(&[byte]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut arrived = [0; 10];
        other.read_exact(&mut arrived).await.unwrap();
        assert_eq!(arrived, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        // Ten bytes, 10 ms apart, each 40 ms on its way: 130 ms, not 400.
        let took = began.elapsed();
        assert!((130..140).contains(&took.as_millis()), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn chance_never_lets_anything_overtake() {
        let lab = Arc::new(Lab::new(Duration::from_millis(5), 7));
        assert!(lab.obey(&order("jitter_ms = 50.0")));
        let (mut writer, mut other) = line(&lab);
        let sent: Vec<u8> = (0..200).collect();
        for byte in &sent {
            writer.write_all(&[*byte]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut arrived = vec![0; sent.len()];
        other.read_exact(&mut arrived).await.unwrap();
        assert_eq!(arrived, sent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_line_keeps_what_is_on_it_until_it_is_whole() {
        let lab = Arc::new(Lab::new(Duration::ZERO, 1));
        let (mut writer, mut other) = line(&lab);
        assert!(lab.obey(&order("cut = [2, 3]")));
        writer.write_all(b"x").await.unwrap();
        let mut byte = [0];
        let read = tokio::time::timeout(Duration::from_secs(60), other.read_exact(&mut byte)).await;
        assert!(read.is_err(), "nothing passes a cut line");
        assert!(tokio::time::timeout(Duration::from_secs(1), lab.whole(NodeId(3))).await.is_err());
        lab.whole(NodeId(4)).await;
        assert!(lab.obey(&order("cut = []")));
        other.read_exact(&mut byte).await.unwrap();
        assert_eq!(&byte, b"x");
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_goes_as_told_and_nonsense_is_refused() {
        let lab = Lab::new(Duration::ZERO, 1);
        let (before, moment) = (lab.clock().wall_ms(), lab.clock().now());
        assert!(lab.obey(&order("clock_ms = 5000")));
        assert!(lab.clock().wall_ms() >= before + 5_000);
        assert!(lab.clock().now().since(moment) < Duration::from_secs(5), "only the wall clock");
        assert!(lab.obey(&order("clock_ms = -5000")));
        assert!(lab.clock().wall_ms() < before);
        assert!(!lab.obey(&order("delay_ms = -1.0")));
        assert!(toml::from_str::<Order>("delay = 1").is_err());
    }
}
