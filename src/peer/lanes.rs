//! What one end of a connection has yet to write, and whom it owes an answer.
//!
//! Why it exists: whether a call was surely not sent or perhaps sent must never be guessed. Queue
//! and waiting calls therefore sit behind one lock, ids are given out in queue order, and "handed to
//! the socket" is a comparison with the last id that the writer took from a lane.
//!
//! # Invariants
//!
//! * Every lane is bounded in bytes and frames; frames whose number is bounded by other means
//!   (answers to pings, credits, ends of streams) may exceed the bound and are counted.
//! * Control is taken before data, order within a lane is kept.
//! * After `close` nothing is taken and every waiting call has its verdict.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::frame::{Frame, Kind};
use super::metrics::QueueGauges;
use super::{Lane, PeerError};

/// What a call ends with.
pub(super) type CallResult = Result<Bytes, PeerError>;

/// Why a frame was not queued.
#[derive(Debug)]
pub(super) enum NotQueued {
    Full,
    Closed(String),
}

#[derive(Debug)]
struct Waiting {
    lane: Lane,
    answer: oneshot::Sender<CallResult>,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// The last call id that the writer took; ids grow along the queue.
    taken: u64,
}

#[derive(Debug, Default)]
struct Inner {
    control: Queue,
    data: Queue,
    waiting: HashMap<u64, Waiting>,
    last_id: u64,
    closed: Option<String>,
}

impl Inner {
    fn queue(&mut self, lane: Lane) -> &mut Queue {
        match lane {
            Lane::Control => &mut self.control,
            Lane::Data => &mut self.data,
        }
    }
}

/// Bounds of one lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct LaneBounds {
    pub(super) bytes: usize,
    pub(super) frames: usize,
}

/// The two queues of one end of a connection.
#[derive(Debug)]
pub(super) struct Lanes {
    inner: Mutex<Inner>,
    bounds: LaneBounds,
    gauges: QueueGauges,
    /// Wakes the writer.
    work: Notify,
    /// Wakes those who wait for room.
    room: Notify,
}

impl Lanes {
    pub(super) fn new(bounds: LaneBounds, gauges: QueueGauges) -> Self {
        Self { inner: Mutex::default(), bounds, gauges, work: Notify::new(), room: Notify::new() }
    }

    /// Queues a call under a new id.
    pub(super) fn push_call(
        &self,
        mut frame: Frame,
    ) -> Result<(u64, oneshot::Receiver<CallResult>), NotQueued> {
        let (answer, answered) = oneshot::channel();
        let mut inner = self.inner.lock();
        self.room_for(&mut inner, &frame)?;
        inner.last_id += 1;
        let id = inner.last_id;
        frame.id = id;
        inner.waiting.insert(id, Waiting { lane: frame.lane, answer });
        self.put(inner, frame);
        Ok((id, answered))
    }

    /// A new id for a stream. Streams and calls share the numbers.
    pub(super) fn next_id(&self) -> u64 {
        let mut inner = self.inner.lock();
        inner.last_id += 1;
        inner.last_id
    }

    /// Queues a frame if there is room.
    pub(super) fn push(&self, frame: Frame) -> Result<(), NotQueued> {
        let mut inner = self.inner.lock();
        self.room_for(&mut inner, &frame)?;
        self.put(inner, frame);
        Ok(())
    }

    /// Queues a frame when there is room; `false` when the connection closed.
    pub(super) async fn push_when_room(&self, frame: Frame) -> bool {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            // Listen before looking, or room made in between would go unnoticed.
            room.as_mut().enable();
            {
                let mut inner = self.inner.lock();
                match self.room_for(&mut inner, &frame) {
                    Ok(()) => {
                        self.put(inner, frame);
                        return true;
                    }
                    Err(NotQueued::Closed(_)) => return false,
                    Err(NotQueued::Full) => {}
                }
            }
            room.await;
        }
    }

    /// Queues a frame whose number is bounded elsewhere, however full the lane is.
    pub(super) fn push_always(&self, frame: Frame) {
        let inner = self.inner.lock();
        if inner.closed.is_none() {
            self.put(inner, frame);
        }
    }

    fn room_for(&self, inner: &mut Inner, frame: &Frame) -> Result<(), NotQueued> {
        if let Some(reason) = &inner.closed {
            return Err(NotQueued::Closed(reason.clone()));
        }
        let bounds = self.bounds;
        let queue = inner.queue(frame.lane);
        // An empty lane takes any frame, or a frame longer than the bound could never be sent.
        let full = queue.frames.len() >= bounds.frames
            || (!queue.frames.is_empty()
                && queue.bytes.saturating_add(frame.wire_bytes()) > bounds.bytes);
        if full { Err(NotQueued::Full) } else { Ok(()) }
    }

    fn put(&self, mut inner: parking_lot::MutexGuard<'_, Inner>, frame: Frame) {
        let bytes = frame.wire_bytes();
        let lane = frame.lane;
        let wake = inner.control.frames.is_empty() && inner.data.frames.is_empty();
        let queue = inner.queue(lane);
        queue.bytes += bytes;
        queue.frames.push_back(frame);
        drop(inner);
        self.gauges.add(lane, bytes);
        if wake {
            self.work.notify_one();
        }
    }

    /// Takes what is queued, control first, up to about `bytes_max`; `false` once closed. Waits
    /// while there is nothing.
    pub(super) async fn take(&self, batch: &mut Vec<Frame>, bytes_max: usize) -> bool {
        loop {
            let closed = self.take_now(batch, bytes_max);
            if closed {
                return false;
            }
            if !batch.is_empty() {
                return true;
            }
            self.work.notified().await;
        }
    }

    fn take_now(&self, batch: &mut Vec<Frame>, bytes_max: usize) -> bool {
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        if inner.closed.is_some() {
            return true;
        }
        let mut total = 0usize;
        for lane in [Lane::Control, Lane::Data] {
            let before = inner.queue(lane).bytes;
            while total < bytes_max {
                let queue = inner.queue(lane);
                let Some(frame) = queue.frames.pop_front() else { break };
                queue.bytes -= frame.wire_bytes();
                if frame.kind == Kind::Call {
                    queue.taken = frame.id;
                    // Its caller gave up while it waited here and was told `NotSent`.
                    if !inner.waiting.contains_key(&frame.id) {
                        continue;
                    }
                }
                total += frame.wire_bytes();
                batch.push(frame);
            }
            self.gauges.remove(lane, before - inner.queue(lane).bytes);
        }
        // What exceeded the batch must be fetched without another wake-up.
        if !inner.control.frames.is_empty() || !inner.data.frames.is_empty() {
            self.work.notify_one();
        }
        drop(guard);
        self.room.notify_waiters();
        false
    }

    /// Hands an answer to the call that waits for it; too late is no error.
    pub(super) fn answer(&self, id: u64, result: CallResult) {
        let waiting = self.inner.lock().waiting.remove(&id);
        if let Some(waiting) = waiting {
            // The caller may be gone in this very moment: then nobody needs the answer.
            drop(waiting.answer.send(result));
        }
    }

    /// Forgets a call whose time is over and says whether it had been handed to the socket.
    pub(super) fn give_up(&self, id: u64) -> bool {
        let mut inner = self.inner.lock();
        match inner.waiting.remove(&id) {
            Some(waiting) => id <= inner.queue(waiting.lane).taken,
            None => true,
        }
    }

    /// Ends everything: waiting calls get their verdict. Only the first reason counts.
    pub(super) fn close(&self, reason: &str) {
        let mut inner = self.inner.lock();
        if inner.closed.is_some() {
            return;
        }
        inner.closed = Some(reason.to_owned());
        let waiting = std::mem::take(&mut inner.waiting);
        let verdicts: Vec<_> = waiting
            .into_iter()
            .map(|(id, w)| {
                let handed = id <= inner.queue(w.lane).taken;
                let error =
                    if handed { PeerError::unknown(reason) } else { PeerError::not_sent(reason) };
                (w.answer, error)
            })
            .collect();
        for lane in [Lane::Control, Lane::Data] {
            let queue = std::mem::take(inner.queue(lane));
            self.gauges.remove(lane, queue.bytes);
        }
        drop(inner);
        for (answer, error) in verdicts {
            // A caller that left does not need the verdict.
            drop(answer.send(Err(error)));
        }
        self.work.notify_one();
        self.room.notify_waiters();
    }

    /// Why it closed, if it did.
    pub(super) fn closed(&self) -> Option<String> {
        self.inner.lock().closed.clone()
    }

    /// Bytes that wait, per lane.
    pub(super) fn queued_bytes(&self) -> usize {
        let inner = self.inner.lock();
        inner.control.bytes + inner.data.bytes
    }
}
