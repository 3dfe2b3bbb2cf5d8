//! The answering end of a connection: brings calls and streams to the inbox.
//!
//! Promises: at most `PEER_CALLS_RUNNING_MAX` calls of one connection run at a time, the rest is
//! refused at once; a call is dropped when its caller's time is over, because nobody waits any more.
//! Relies on: the caller to name its time in the frame.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::connection::Connection;
use super::frame::{Frame, Kind};
use super::hello::Refusal;
use super::{Doorkeeper, Inbox, Lane, Refused, streams};
use crate::runtime::limits::PEER_FRAME_BYTES_MAX;

/// Serves what one peer asks.
#[derive(Debug)]
pub(super) struct Desk {
    inbox: Arc<dyn Inbox>,
    doorkeeper: Arc<dyn Doorkeeper>,
    running: Arc<Semaphore>,
    /// Votes and heartbeats have places of their own: forwarded work that is stuck must not cost
    /// every group its leader.
    running_control: Arc<Semaphore>,
}

impl Desk {
    pub(super) fn new(
        inbox: Arc<dyn Inbox>,
        doorkeeper: Arc<dyn Doorkeeper>,
        calls_max: usize,
    ) -> Self {
        let places = || Arc::new(Semaphore::new(calls_max));
        Self { inbox, doorkeeper, running: places(), running_control: places() }
    }

    /// Serves one frame. `Err` says why the connection must end.
    pub(super) async fn serve(
        &self,
        connection: &Arc<Connection>,
        frame: Frame,
    ) -> Result<(), String> {
        match frame.kind {
            Kind::Call => self.serve_call(connection, frame).await,
            Kind::StreamOpen => self.serve_stream(connection, frame),
            Kind::Ping => {
                connection.lanes.push_always(Frame::bare(Kind::Pong, Lane::Control, frame.id));
            }
            Kind::Refusal => {
                let refusal = Refusal::decode(&frame.payload).map_err(|e| e.to_string())?;
                self.doorkeeper.refused(connection.peer, &refusal);
                return Err(format!("refused by the peer: {refusal}"));
            }
            other => return Err(format!("the peer sent {other:?} where only questions go")),
        }
        Ok(())
    }

    async fn serve_call(&self, connection: &Arc<Connection>, frame: Frame) {
        let places = match frame.lane {
            Lane::Control => &self.running_control,
            Lane::Data => &self.running,
        };
        let Ok(permit) = Arc::clone(places).try_acquire_owned() else {
            connection.metrics.overloaded.inc();
            // Waits for room, so that a peer that does not read its refusals is not read either.
            let refused = refused(&frame, "overloaded: too many calls are running");
            connection.lanes.push_when_room(refused).await;
            return;
        };
        let inbox = Arc::clone(&self.inbox);
        let connection = Arc::clone(connection);
        let tasks = connection.env.tasks.clone();
        tasks.spawn("peer-call", async move {
            let (id, lane) = (frame.id, frame.lane);
            let time = Duration::from_millis(u64::from(frame.word));
            let work = inbox.call(connection.peer, frame.channel, frame.payload.clone());
            let answer = match tokio::time::timeout(time, work).await {
                Ok(Ok(answer)) if answer.len() <= PEER_FRAME_BYTES_MAX => {
                    Frame::with(Kind::Answer, lane, id, answer)
                }
                Ok(Ok(answer)) => {
                    // Not `Refused`, which would claim that nothing was done: the caller hears
                    // nothing and concludes `Unknown`.
                    tracing::error!(bytes = answer.len(), "answer is too long to be sent");
                    return;
                }
                Ok(Err(Refused { reason })) => refused(&frame, &reason),
                Err(_) => return,
            };
            connection.lanes.push_when_room(answer).await;
            // Held until the answer has a place: unsent answers are bounded like running calls.
            drop(permit);
        });
    }

    fn serve_stream(&self, connection: &Arc<Connection>, frame: Frame) {
        let Ok(stream) = streams::start(connection, frame.id, frame.channel, frame.lane) else {
            connection.metrics.overloaded.inc();
            for kind in [Kind::StreamStop, Kind::StreamEnd] {
                connection.lanes.push_always(Frame::bare(kind, frame.lane, frame.id));
            }
            return;
        };
        let inbox = Arc::clone(&self.inbox);
        let peer = connection.peer;
        connection.env.tasks.spawn("peer-inbox-stream", async move {
            inbox.stream(peer, frame.channel, frame.payload, stream).await;
        });
    }
}

/// The refusal of a call.
pub(super) fn refused(call: &Frame, reason: &str) -> Frame {
    let reason = Bytes::copy_from_slice(reason.as_bytes());
    Frame::with(Kind::Refused, call.lane, call.id, reason)
}
