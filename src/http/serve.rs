//! Connections: accepted, bounded, and ended in order.
//!
//! ```text
//!   accept ---> a place? ---> converse: hyper, watched by `pulse`
//!                 '-- none: those idle longest are closed, and it is asked again
//! ```
//!
//! Promises: no more connections than the bound, and clients that do nothing cannot keep others out;
//! a client that dawdles over its head, or does not take its answer, is dropped; when the node stops,
//! requests under way are answered and no new ones are taken. Upgraded connections leave this file's
//! bounds: the peer room has its own.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::runtime::Env;
use crate::runtime::limits::{
    HTTP_ACCEPT_PAUSE, HTTP_CONNECTIONS_MAX, HTTP_DRAIN_MAX, HTTP_EVICT_AGAIN, HTTP_EVICT_AT_ONCE,
    HTTP_HEAD_BYTES_MAX, HTTP_HEADER_TIMEOUT, HTTP_HEADERS_MAX, HTTP_IDLE_TIMEOUT,
    HTTP_WRITE_STALL_MAX,
};

use super::entrance::Entrance;
use super::pulse::{Felt, Live, Lives, Measured, Pulse};

/// Bounds of connections that tests tighten; the defaults are those of `runtime::limits`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    connections: usize,
    head: Duration,
    idle: Duration,
    stall: Duration,
}

// hyper's own bound: one that is set, even to the same, costs an allocation a request.
const _: () = assert!(HTTP_HEADERS_MAX == 100);

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: HTTP_CONNECTIONS_MAX,
            head: HTTP_HEADER_TIMEOUT,
            idle: HTTP_IDLE_TIMEOUT,
            stall: HTTP_WRITE_STALL_MAX,
        }
    }
}

/// Serves until `closing`, then lets the requests under way end, for at most [`HTTP_DRAIN_MAX`].
/// `closing` comes before the node's tasks stop: what is under way still needs them.
pub async fn serve(
    listener: TcpListener,
    entrance: impl Into<Entrance>,
    env: &Env,
    closing: CancellationToken,
) {
    serve_within(listener, entrance.into(), env, closing, Bounds::default()).await;
}

async fn serve_within(
    listener: TcpListener,
    entrance: Entrance,
    env: &Env,
    closing: CancellationToken,
    bounds: Bounds,
) {
    let places = Arc::new(Semaphore::new(bounds.connections));
    let lives = Lives::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = closing.cancelled() => break,
            accepted = accept(&listener, &places, &lives) => accepted,
        };
        match accepted {
            Ok((stream, from, place)) => {
                let closing = closing.clone();
                let live = lives.enter(Arc::clone(&env.clock));
                let entrance = entrance.clone();
                let connection = async move {
                    converse((stream, from), entrance, &closing, &live, bounds).await;
                    drop((live, place));
                };
                drop(env.tasks.spawn_to_end("http connection", connection));
            }
            Err(error) => {
                // Out of file descriptors, most likely: idle connections hold some.
                lives.cut_idle(HTTP_EVICT_AT_ONCE);
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(HTTP_ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let all = u32::try_from(bounds.connections).unwrap_or(u32::MAX);
    if tokio::time::timeout(HTTP_DRAIN_MAX, places.acquire_many(all)).await.is_err() {
        tracing::warn!("some connections were still busy when the node stopped");
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    lives: &Lives,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    // The client first, then a place for it: without a client nobody has to make room.
    let (stream, from) = listener.accept().await?;
    stream.set_nodelay(true)?;
    loop {
        let place = Arc::clone(places).acquire_owned();
        match tokio::time::timeout(Duration::ZERO, place).await {
            Ok(place) => return Ok((stream, from, open(place))),
            Err(_) => lives.cut_idle(HTTP_EVICT_AT_ONCE),
        }
        let place = Arc::clone(places).acquire_owned();
        if let Ok(place) = tokio::time::timeout(HTTP_EVICT_AGAIN, place).await {
            return Ok((stream, from, open(place)));
        }
    }
}

fn open<E: std::fmt::Debug>(place: Result<OwnedSemaphorePermit, E>) -> OwnedSemaphorePermit {
    place.expect("the semaphore of connections is never closed")
}

async fn converse(
    (stream, from): (TcpStream, SocketAddr),
    entrance: Entrance,
    closing: &CancellationToken,
    live: &Live,
    bounds: Bounds,
) {
    let pulse = live.pulse();
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.idle)
        .max_buf_size(HTTP_HEAD_BYTES_MAX)
        .serve_connection(
            TokioIo::new(Felt::new(stream, Arc::clone(pulse))),
            Measured::new(entrance, from, Arc::clone(pulse)),
        )
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = watched(connection.as_mut(), pulse, bounds) => ended,
        () = live.cut() => Ok(()),
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let patience: Duration = HTTP_DRAIN_MAX;
            match tokio::time::timeout(patience, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        // Clients that vanish or send what is not HTTP: of interest only to who looks for it.
        tracing::debug!(%error, "connection ended early");
    }
}

/// The connection, ended when its client takes too long over a head or an answer. Time is looked at
/// only while a client is late: a busy or idle connection costs no timer of ours.
async fn watched<C: Future<Output = hyper::Result<()>>>(
    mut connection: Pin<&mut C>,
    pulse: &Pulse,
    bounds: Bounds,
) -> hyper::Result<()> {
    let mut patience: Option<Pin<Box<tokio::time::Sleep>>> = None;
    poll_fn(|cx| {
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            return Poll::Ready(ended);
        }
        loop {
            let Some(left) = pulse.patience(bounds.head, bounds.stall) else {
                patience = None;
                return Poll::Pending;
            };
            if left.is_zero() {
                return Poll::Ready(Ok(()));
            }
            let sleep = patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(left)));
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            // It was set for an earlier lateness, perhaps: look again.
            patience = None;
        }
    })
    .await
}

#[cfg(test)]
mod tests;
