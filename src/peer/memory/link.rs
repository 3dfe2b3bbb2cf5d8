//! One direction of a stream in memory: a pipe that delays, holds up and breaks.
//!
//! Promises: messages leave in the order they entered, each at its own time but never before the
//! one ahead of it; after a lost message nothing more arrives, as on a TCP connection. Relies on:
//! the two ends' channels for back-pressure.

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::MemoryNetwork;
use crate::model::NodeId;
use crate::runtime::limits::PEER_FRAME_BYTES_MAX;

/// Messages that may be under way in one direction of a stream.
const UNDER_WAY_MAX: usize = 64;

/// Carries messages until an end is dropped or the connection breaks.
pub(super) async fn carry(
    network: MemoryNetwork,
    (from, to): (NodeId, NodeId),
    broken: CancellationToken,
    entered: mpsc::Receiver<Bytes>,
    left: mpsc::Sender<Bytes>,
) {
    let (under_way, arriving) = mpsc::channel(UNDER_WAY_MAX);
    let both = async {
        tokio::join!(
            depart(&network, (from, to), &broken, entered, under_way),
            arrive(arriving, left)
        );
    };
    broken.run_until_cancelled(both).await;
}

async fn depart(
    network: &MemoryNetwork,
    (from, to): (NodeId, NodeId),
    broken: &CancellationToken,
    mut entered: mpsc::Receiver<Bytes>,
    under_way: mpsc::Sender<(Instant, Bytes)>,
) {
    loop {
        let message = tokio::select! {
            biased;
            () = under_way.closed() => return,
            message = entered.recv() => message,
        };
        let Some(message) = message else { return };
        if message.len() > PEER_FRAME_BYTES_MAX {
            // As on the real one: a stream has no gaps.
            tracing::error!(bytes = message.len(), "stream message is too long");
            return;
        }
        let Some(time) = network.depart((from, to), broken).await else {
            // Lost: what follows must not arrive either, and the end must not be seen.
            broken.cancelled().await;
            return;
        };
        if under_way.send((Instant::now() + time, message)).await.is_err() {
            return;
        }
    }
}

async fn arrive(mut arriving: mpsc::Receiver<(Instant, Bytes)>, left: mpsc::Sender<Bytes>) {
    loop {
        let message = tokio::select! {
            biased;
            () = left.closed() => return,
            message = arriving.recv() => message,
        };
        let Some((time, message)) = message else { return };
        sleep_until(time).await;
        if left.send(message).await.is_err() {
            return;
        }
    }
}
