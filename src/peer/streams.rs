//! Ordered streams inside a connection, each with a window of its own.
//!
//! Why it exists: one slow consumer must neither stall the connection, which all groups share, nor
//! make it buffer without bound. A sender spends the stream's window and waits when it is used up;
//! the receiver gives it back as the room above takes the messages.
//!
//! # Invariants
//!
//! * What is under way on a stream costs at most `PEER_STREAM_WINDOW_BYTES` per direction. A
//!   message costs its length and `PEER_STREAM_MESSAGE_COST`, but at most half of the window, so
//!   that any message can be sent.
//! * Credit is given back in quarters: with all messages taken, three quarters are free, which is
//!   more than any message costs. Nothing can wait for credit that nobody will send.
//! * A peer that exceeds the window or returns more than it was sent breaks the protocol, and the
//!   connection ends.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::frame::{Frame, Kind};
use super::{Channel, Lane, PeerStream};
use crate::runtime::limits::{
    PEER_FRAME_BYTES_MAX, PEER_STREAM_MESSAGE_COST, PEER_STREAM_QUEUE, PEER_STREAM_WINDOW_BYTES,
    PEER_STREAMS_MAX,
};

const WINDOW: u32 = PEER_STREAM_WINDOW_BYTES;

/// The most messages that fit the window.
const WINDOW_MESSAGES: usize = (WINDOW / PEER_STREAM_MESSAGE_COST) as usize + 1;

fn cost(message: &Bytes) -> u32 {
    u32::try_from(message.len())
        .unwrap_or(u32::MAX)
        .saturating_add(PEER_STREAM_MESSAGE_COST)
        .min(WINDOW / 2)
}

#[derive(Debug)]
struct Entry {
    /// Gone once the other side said that it sends no more.
    inbound: Option<mpsc::Sender<Bytes>>,
    window: Arc<Semaphore>,
    /// Set when the other side reads no more, or the connection is gone.
    stopped: CancellationToken,
}

/// Why no stream could be opened.
#[derive(Debug)]
pub(super) enum NotOpened {
    TooMany,
    Closed,
}

/// The streams of one connection.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: Mutex<Option<HashMap<u64, Entry>>>,
}

impl Streams {
    pub(super) fn new() -> Self {
        Self { open: Mutex::new(Some(HashMap::new())) }
    }

    /// A message arrived. `Err` says how the peer broke the protocol.
    pub(super) fn data(&self, id: u64, message: Bytes) -> Result<(), &'static str> {
        let open = self.open.lock();
        let Some(inbound) = open.as_ref().and_then(|o| o.get(&id)?.inbound.as_ref()) else {
            // Ended here while the message was on its way.
            return Ok(());
        };
        match inbound.try_send(message) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err("the peer exceeded a stream's window"),
        }
    }

    /// Credit came back.
    pub(super) fn credit(&self, id: u64, amount: u32) -> Result<(), &'static str> {
        let open = self.open.lock();
        let Some(entry) = open.as_ref().and_then(|o| o.get(&id)) else { return Ok(()) };
        let amount = amount as usize;
        if entry.window.available_permits().saturating_add(amount) > WINDOW as usize {
            return Err("the peer returned more credit than it was sent");
        }
        entry.window.add_permits(amount);
        Ok(())
    }

    /// The other side sends no more.
    pub(super) fn end(&self, id: u64) {
        if let Some(entry) = self.open.lock().as_mut().and_then(|o| o.get_mut(&id)) {
            entry.inbound = None;
        }
    }

    /// The other side reads no more.
    pub(super) fn stop(&self, id: u64) {
        if let Some(entry) = self.open.lock().as_ref().and_then(|o| o.get(&id)) {
            entry.stopped.cancel();
        }
    }

    /// The connection is gone: all streams end.
    pub(super) fn close(&self) {
        let open = self.open.lock().take();
        for entry in open.into_iter().flat_map(HashMap::into_values) {
            entry.stopped.cancel();
        }
    }

    fn add(&self, id: u64, entry: Entry) -> Result<(), NotOpened> {
        let mut open = self.open.lock();
        let open = open.as_mut().ok_or(NotOpened::Closed)?;
        if open.len() >= PEER_STREAMS_MAX {
            return Err(NotOpened::TooMany);
        }
        if let Some(replaced) = open.insert(id, entry) {
            // Only a peer that reuses ids gets here; its older stream ends.
            replaced.stopped.cancel();
        }
        Ok(())
    }

    fn remove(&self, id: u64) {
        if let Some(open) = self.open.lock().as_mut() {
            open.remove(&id);
        }
    }
}

/// Makes this end of a stream and starts its pumps. `first` is queued before any data.
pub(super) fn start(
    connection: &Arc<Connection>,
    id: u64,
    channel: Channel,
    lane: Lane,
) -> Result<PeerStream, NotOpened> {
    let (send, outbound) = mpsc::channel(PEER_STREAM_QUEUE);
    let (deliver, recv) = mpsc::channel(PEER_STREAM_QUEUE);
    let (inbound, arrived) = mpsc::channel(WINDOW_MESSAGES);
    let window = Arc::new(Semaphore::new(WINDOW as usize));
    let stopped = CancellationToken::new();
    connection.streams.add(
        id,
        Entry { inbound: Some(inbound), window: Arc::clone(&window), stopped: stopped.clone() },
    )?;
    let pump = Pump { connection: Arc::clone(connection), id, channel, lane };
    connection.env.tasks.spawn("peer-stream", async move {
        tokio::join!(pump.outward(outbound, &window, &stopped), pump.inward(arrived, deliver));
        pump.connection.streams.remove(pump.id);
    });
    Ok(PeerStream { send, recv })
}

struct Pump {
    connection: Arc<Connection>,
    id: u64,
    channel: Channel,
    lane: Lane,
}

impl Pump {
    fn frame(&self, kind: Kind, payload: Bytes) -> Frame {
        let word = 0;
        Frame { kind, channel: self.channel, lane: self.lane, id: self.id, word, payload }
    }

    async fn outward(
        &self,
        mut outbound: mpsc::Receiver<Bytes>,
        window: &Semaphore,
        stopped: &CancellationToken,
    ) {
        let all_sent = stopped
            .run_until_cancelled(async {
                while let Some(message) = outbound.recv().await {
                    if message.len() > PEER_FRAME_BYTES_MAX {
                        // A stream has no gaps: the only honest thing is to end it.
                        tracing::error!(bytes = message.len(), "stream message is too long");
                        return;
                    }
                    let Ok(permit) = window.acquire_many(cost(&message)).await else { return };
                    permit.forget();
                    let frame = self.frame(Kind::StreamData, message);
                    if !self.connection.lanes.push_when_room(frame).await {
                        return;
                    }
                }
            })
            .await;
        // Ended by the other side or by us: either way nothing more will come.
        drop((outbound, all_sent));
        self.connection.lanes.push_always(self.frame(Kind::StreamEnd, Bytes::new()));
    }

    async fn inward(&self, mut arrived: mpsc::Receiver<Bytes>, deliver: mpsc::Sender<Bytes>) {
        let mut owed = 0;
        loop {
            let message = tokio::select! {
                biased;
                () = deliver.closed() => break,
                message = arrived.recv() => message,
            };
            // Ended by the other side, which needs no word of it.
            let Some(message) = message else { return };
            owed += cost(&message);
            if deliver.send(message).await.is_err() {
                break;
            }
            if owed >= WINDOW / 4 {
                // Credit must not wait behind data, or two busy directions could starve each other.
                let mut credit = Frame::bare(Kind::StreamCredit, Lane::Control, self.id);
                credit.word = std::mem::take(&mut owed);
                self.connection.lanes.push_always(credit);
            }
        }
        self.connection.lanes.push_always(self.frame(Kind::StreamStop, Bytes::new()));
    }
}
