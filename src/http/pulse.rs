//! What a connection is doing, so that one that does nothing can be told from one that works.
//!
//! Why it exists: hyper has one timer for idle connections and for heads that drip, and none for
//! clients that do not take their answers. Here the bytes themselves are felt on their way.
//! Promises: a few atomics per read and write; no lock but when connections begin, end or are cut.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

use super::entrance::Entrance;
use crate::runtime::{Clock, Moment};

use super::trace;

const IDLE: u64 = 0;
const HEAD: u64 = 1;
const BUSY: u64 = 2;

/// What one connection is doing, and since when.
#[derive(Debug)]
pub(super) struct Pulse {
    clock: Arc<dyn Clock>,
    /// The moment shifted by two bits, and what began then.
    phase: AtomicU64,
    /// When the client stopped taking bytes; 0 while it takes them.
    stalled: AtomicU64,
}

impl Pulse {
    fn new(clock: Arc<dyn Clock>) -> Self {
        let this = Self { clock, phase: AtomicU64::new(0), stalled: AtomicU64::new(0) };
        this.enter(IDLE);
        this
    }

    fn enter(&self, phase: u64) {
        self.phase.store((self.clock.now().0 << 2) | phase, Ordering::Relaxed);
    }

    fn read_some(&self) {
        if self.phase.load(Ordering::Relaxed) & 3 == IDLE {
            self.enter(HEAD);
        }
    }

    fn took(&self, some: bool) {
        if some {
            self.stalled.store(0, Ordering::Relaxed);
        } else if self.stalled.load(Ordering::Relaxed) == 0 {
            self.stalled.store(self.clock.now().0.max(1), Ordering::Relaxed);
        }
    }

    /// How long the client may still take over what it is late with; `None` when it is not late.
    pub(super) fn patience(&self, head: Duration, stall: Duration) -> Option<Duration> {
        let phase = self.phase.load(Ordering::Relaxed);
        let stalled = self.stalled.load(Ordering::Relaxed);
        let left = |since: u64, most: Duration| (Moment(since) + most).since(self.clock.now());
        match (phase & 3, stalled) {
            (HEAD, _) => Some(left(phase >> 2, head)),
            (_, 0) => None,
            (_, since) => Some(left(since, stall)),
        }
    }

    /// Since when nothing is under way; `None` while something is.
    fn idle_since(&self) -> Option<u64> {
        let phase = self.phase.load(Ordering::Relaxed);
        (phase & 3 != BUSY).then_some(phase >> 2)
    }
}

/// All connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Lives(Arc<Mutex<All>>);

#[derive(Debug, Default)]
struct All {
    next: u64,
    lives: BTreeMap<u64, (Arc<Pulse>, CancellationToken)>,
}

/// A connection among the others, until it is dropped.
#[derive(Debug)]
pub(super) struct Live {
    id: u64,
    pulse: Arc<Pulse>,
    cut: CancellationToken,
    all: Lives,
}

impl Lives {
    /// A new connection.
    pub(super) fn enter(&self, clock: Arc<dyn Clock>) -> Live {
        let (pulse, cut) = (Arc::new(Pulse::new(clock)), CancellationToken::new());
        let mut all = self.0.lock();
        all.next += 1;
        let id = all.next;
        all.lives.insert(id, (Arc::clone(&pulse), cut.clone()));
        Live { id, pulse, cut, all: self.clone() }
    }

    /// Ends the connections on which nothing was under way for longest.
    pub(super) fn cut_idle(&self, count: usize) {
        let all = self.0.lock();
        let mut idle: Vec<(u64, &CancellationToken)> = all
            .lives
            .values()
            .filter(|(_, cut)| !cut.is_cancelled())
            .filter_map(|(pulse, cut)| Some((pulse.idle_since()?, cut)))
            .collect();
        idle.sort_unstable_by_key(|(since, _)| *since);
        for (_, cut) in idle.into_iter().take(count) {
            cut.cancel();
        }
    }
}

impl Live {
    pub(super) fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    /// Waits until the connection is to end.
    pub(super) async fn cut(&self) {
        self.cut.cancelled().await;
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.all.0.lock().lives.remove(&self.id);
    }
}

/// A stream whose bytes are felt.
#[derive(Debug)]
pub(super) struct Felt<S> {
    stream: S,
    pulse: Arc<Pulse>,
}

impl<S> Felt<S> {
    pub(super) fn new(stream: S, pulse: Arc<Pulse>) -> Self {
        Self { stream, pulse }
    }

    fn took<T>(&self, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.pulse.took(poll.is_ready());
        poll
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Felt<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.pulse.read_some();
        }
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Felt<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.took(poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.took(poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The entrance, with each request's beginning and the end of its answer felt.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    entrance: Entrance,
    from: SocketAddr,
    pulse: Arc<Pulse>,
}

impl Measured {
    pub(super) fn new(entrance: Entrance, from: SocketAddr, pulse: Arc<Pulse>) -> Self {
        Self { entrance, from, pulse }
    }
}

impl hyper::service::Service<Request<Incoming>> for Measured {
    type Response = Response<Sent>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.pulse.enter(BUSY);
        if trace::is_on() {
            request.extensions_mut().insert(trace::From(self.from));
        }
        let (entrance, pulse) = (self.entrance.clone(), Arc::clone(&self.pulse));
        Box::pin(async move {
            let response = entrance.answer(request.map(Body::new)).await;
            Ok(response.map(|body| Sent { body, pulse }))
        })
    }
}

/// An answer's body; when it is gone the connection is idle.
#[derive(Debug)]
pub(super) struct Sent {
    body: Body,
    pulse: Arc<Pulse>,
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.pulse.enter(IDLE);
    }
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
