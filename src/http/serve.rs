//! Connections: accepted, bounded, and ended in order.
//!
//! Promises: no more connections than the bound (others wait in the kernel's queue); a client that
//! dawdles over its headers is dropped; when the node stops, requests under way are answered and no
//! new ones are taken. Upgraded connections leave this file's bounds: the peer room has its own.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::runtime::Env;
use crate::runtime::limits::{
    HTTP_ACCEPT_PAUSE, HTTP_CONNECTIONS_MAX, HTTP_DRAIN_MAX, HTTP_HEAD_BYTES_MAX,
    HTTP_HEADER_TIMEOUT,
};

/// Serves until `closing`, then lets the requests under way end, for at most [`HTTP_DRAIN_MAX`].
/// `closing` comes before the node's tasks stop: what is under way still needs them.
pub async fn serve(listener: TcpListener, router: Router, env: &Env, closing: CancellationToken) {
    let places = Arc::new(Semaphore::new(HTTP_CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            biased;
            () = closing.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, place)) => {
                let closing = closing.clone();
                let service = router.clone();
                let connection = async move {
                    converse(stream, service, &closing).await;
                    drop(place);
                };
                drop(env.tasks.spawn_to_end("http connection", connection));
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(HTTP_ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let all = u32::try_from(HTTP_CONNECTIONS_MAX).unwrap_or(u32::MAX);
    if tokio::time::timeout(HTTP_DRAIN_MAX, places.acquire_many(all)).await.is_err() {
        tracing::warn!("some connections were still busy when the node stopped");
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places)
        .acquire_owned()
        .await
        .expect("the semaphore of connections is never closed");
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, place))
}

async fn converse(stream: TcpStream, router: Router, closing: &CancellationToken) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HTTP_HEADER_TIMEOUT)
        .max_buf_size(HTTP_HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
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

#[cfg(test)]
mod tests;
