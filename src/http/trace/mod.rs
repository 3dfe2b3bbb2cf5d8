//! `GET /v1/ns/{ns}/trace`: what is asked of a namespace at this node, as it is answered.
//!
//! Why it exists: a user's own traffic says best what another mode would cost and lose. Reads are seen
//! nowhere but at the front door, so it is recorded here, while somebody takes it and no longer.
//!
//! ```text
//!   gate --(anything recorded?)--> Under: request, body's length --> answer --> bounded queue --> stream
//! ```
//!
//! Promises: while nothing is recorded a request costs one relaxed load more. A recording ends with its
//! stream, its time or its number of requests, whichever comes first; it never holds a request up: what
//! comes faster than it is taken is left out, and counted in the stream. No value is ever recorded.

mod note;

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use xxhash_rust::xxh3::xxh3_64;

use crate::runtime::limits::{
    TRACE_QUEUE_RECORDS, TRACE_RECORDS_MAX, TRACE_TICK, TRACE_TIME_DEFAULT, TRACE_TIME_MAX,
    TRACES_MAX,
};
use crate::runtime::{Env, Moment};
use crate::service::Outcome;
use crate::wire::{NDJSON, TRACE_VERSION, TraceEnd, TraceHead, TraceMissed, TraceRecord};

use super::doc::params::{SpacePath, TraceQuery};
use super::facts::Facts;
use super::parse::{Query, namespace_path};
use super::problem::Failure;
use super::scan::line;
use super::{Asked, Front};

pub(super) use note::From;
use note::{Note, op};

/// Recordings of all front doors of this process.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// Whether anything is recorded anywhere in this process.
pub(super) fn is_on() -> bool {
    RUNNING.load(Ordering::Relaxed) > 0
}

/// The recordings of one front door.
#[derive(Clone, Debug, Default)]
pub(super) struct Traces(Arc<Mutex<Vec<Arc<Recording>>>>);

/// One recording.
#[derive(Debug)]
struct Recording {
    namespace: String,
    began: Moment,
    salt: Option<u64>,
    queue: mpsc::Sender<TraceRecord>,
    /// Requests that found no room in the queue and have not been told.
    missed: AtomicU64,
}

/// A request under way that somebody records.
#[derive(Debug)]
pub(super) struct Under {
    note: Note,
    by: Vec<Arc<Recording>>,
}

impl Traces {
    /// Looks at a request on its way in; `None` when nobody records it.
    pub(super) fn look(&self, route: &str, request: &mut Request) -> Option<Under> {
        let op = op(route, request.method())?;
        let namespace = namespace_path(request.uri().path()).ok()?;
        let by: Vec<_> =
            self.0.lock().iter().filter(|one| one.namespace == namespace).cloned().collect();
        (!by.is_empty()).then(|| Under { note: Note::of(op, request), by })
    }

    /// Begins one; `None` when there are as many as there may be.
    fn begin(&self, recording: Recording) -> Option<Running> {
        let mut all = self.0.lock();
        if all.len() >= TRACES_MAX {
            return None;
        }
        let recording = Arc::new(recording);
        all.push(Arc::clone(&recording));
        RUNNING.fetch_add(1, Ordering::Relaxed);
        Some(Running { recording, all: self.clone() })
    }
}

impl Under {
    /// The request is answered.
    pub(super) fn answered(self, response: &Response, outcome: Outcome, span: (Moment, Moment)) {
        let answered = self.note.answered(response, outcome);
        for recording in self.by {
            let record = answered.told(recording.began, span, recording.salt);
            if recording.queue.try_send(record).is_err() {
                recording.missed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// A recording among the others, until it is dropped.
#[derive(Debug)]
struct Running {
    recording: Arc<Recording>,
    all: Traces,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.all.0.lock().retain(|one| !Arc::ptr_eq(one, &self.recording));
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Records what is asked of a namespace at this node.
///
/// A line for each request about its keys, when it has been answered: what was asked, by whom, when, on
/// which condition, how large, and how it ended. Never a value.
#[utoipa::path(
    get,
    path = "/v1/ns/{ns}/trace",
    operation_id = "trace",
    tag = "operations",
    params(SpacePath, TraceQuery),
    responses((status = 200, description = "A head, the requests, an end",
        content((TraceRecord = "application/x-ndjson"))))
)]
pub(super) async fn trace(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let begun = begin(&front, &asked, &parts).await;
    begun.unwrap_or_else(|failure| failure.response(&front, &asked))
}

async fn begin(front: &Front, asked: &Asked, parts: &Parts) -> Result<Response, Failure> {
    let namespace = namespace_path(parts.uri.path())?;
    let query = Query::of(parts.uri.query(), &["duration", "records", "salt"])?;
    let lasts = query.duration("duration")?.unwrap_or(TRACE_TIME_DEFAULT);
    let most = query.number("records")?.unwrap_or(TRACE_RECORDS_MAX);
    if lasts > TRACE_TIME_MAX || !(1..=TRACE_RECORDS_MAX).contains(&most) {
        let hours = TRACE_TIME_MAX.as_secs() / 3_600;
        let detail = format!("a trace is of {hours}h and {TRACE_RECORDS_MAX} records at most");
        return Err(Failure::invalid(detail));
    }
    let salt = query.text("salt")?.map(|salt| xxh3_64(salt.as_bytes()));
    front.service.knows(&namespace, &asked.context()).await?;
    let env = front.service.env();
    let (queue, taken) = mpsc::channel(TRACE_QUEUE_RECORDS);
    let head = TraceHead {
        trace: TRACE_VERSION,
        namespace: namespace.clone(),
        node: Some(front.service.node().0),
        began_ms: env.clock.wall_ms(),
        hashed: salt.is_some(),
        ..TraceHead::default()
    };
    let began = env.clock.now();
    let missed = AtomicU64::new(0);
    let recording = Recording { namespace, began, salt, queue, missed };
    let running = front.traces.begin(recording);
    let running =
        running.ok_or_else(|| Failure::overloaded("this node records as much as it can"))?;
    let lines = lines(head, running, taken, (Instant::now() + lasts, most), env.clone());
    let mut response = Response::new(Body::from_stream(lines));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Facts::default().write(headers, front, asked);
    Ok(response)
}

fn lines(
    head: TraceHead,
    running: Running,
    mut taken: mpsc::Receiver<TraceRecord>,
    (until, most): (Instant, u64),
    env: Env,
) -> impl futures_util::Stream<Item = Result<Bytes, Infallible>> {
    async_stream::stream! {
        let mut text = Vec::new();
        line(&mut text, &head);
        yield Ok(Bytes::from(text));
        let (mut records, mut missed) = (0, 0);
        let end = loop {
            if records >= most {
                break "records";
            }
            let tick = until.min(Instant::now() + TRACE_TICK);
            let record = tokio::select! {
                biased;
                () = env.tasks.stopping() => break "stopping",
                record = taken.recv() => record,
                () = sleep_until(tick) => {
                    if Instant::now() >= until {
                        break "time";
                    }
                    // Whoever takes it sees that it goes on, and this node whether somebody does.
                    yield Ok(Bytes::from_static(b"\n"));
                    continue;
                }
            };
            let mut text = Vec::new();
            let gap = running.recording.missed.swap(0, Ordering::Relaxed);
            if gap > 0 {
                missed += gap;
                line(&mut text, &TraceMissed { missed: gap });
            }
            // With it what else is there, so that a busy namespace is no line a packet.
            let mut next = record;
            while let Some(record) = next {
                line(&mut text, &record);
                records += 1;
                let room = records < most && text.len() < PORTION_BYTES;
                next = room.then(|| taken.try_recv().ok()).flatten();
            }
            yield Ok(Bytes::from(text));
            if Instant::now() >= until {
                break "time";
            }
        };
        missed += running.recording.missed.swap(0, Ordering::Relaxed);
        let mut text = Vec::new();
        line(&mut text, &TraceEnd { end: end.to_owned(), records, missed });
        drop(running);
        yield Ok(Bytes::from(text));
    }
}

/// Bytes of records that are sent together.
const PORTION_BYTES: usize = 64 * 1024;
