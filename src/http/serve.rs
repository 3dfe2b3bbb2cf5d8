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

use crate::runtime::limits::{
    HTTP_ACCEPT_PAUSE, HTTP_CONNECTIONS_MAX, HTTP_DRAIN_MAX, HTTP_HEAD_BYTES_MAX,
    HTTP_HEADER_TIMEOUT,
};
use crate::runtime::{Env, Tasks};

/// Serves until the node stops, then lets the requests under way end, for at most
/// [`HTTP_DRAIN_MAX`].
pub async fn serve(listener: TcpListener, router: Router, env: &Env) {
    let places = Arc::new(Semaphore::new(HTTP_CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            biased;
            () = env.tasks.stopping() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, place)) => {
                let tasks = env.tasks.clone();
                let service = router.clone();
                let connection = async move {
                    converse(stream, service, &tasks).await;
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

async fn converse(stream: TcpStream, router: Router, tasks: &Tasks) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HTTP_HEADER_TIMEOUT)
        .max_buf_size(HTTP_HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = tasks.stopping() => {
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
