//! `POST /v1/ns/{ns}/batch`: many independent operations, streamed in and out.
//!
//! ```text
//!   body ---> lines ---> portion ---> hall (a few portions at a time) ---> results, in order
//! ```
//!
//! Promises: memory is bounded by a line and a few portions, whatever the body's length; the body is
//! read no faster than the answer is taken; operations on one key are done in the order of their
//! lines; a line that makes no sense is answered in its place and harms no other. A client that
//! stalls is ended, and what has no result was not looked at.

mod lines;
mod result;

#[cfg(test)]
mod tests;

use std::collections::{HashSet, VecDeque};
use std::convert::Infallible;

use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, StreamExt};

use crate::runtime::limits::{BATCH_PORTIONS_MAX, BATCH_STALL_MAX};
use crate::service::eventual::{Space, SpaceOp};
use crate::service::{Batch, BatchOp, Context, OnceKey};
use crate::wire::{BatchEnd, BatchLine, BatchResult, NDJSON};

use super::doc::params::{OnceHeaders, SpacePath};
use super::facts::Facts;
use super::once::once;
use super::parse::{content_type, namespace_path, query};
use super::places::Place;
use super::problem::Failure;
use super::{Asked, Front, eventual};

use lines::{Ended, Lines, Next, Planned, Portion, Side};

pub(super) use result::{empty as empty_result, refused as refused_result};

/// Does many operations, each by itself.
#[utoipa::path(
    post,
    path = "/v1/ns/{ns}/batch",
    operation_id = "batch",
    tag = "keys",
    params(SpacePath, OnceHeaders),
    request_body(content = BatchLine, content_type = "application/x-ndjson",
        description = "One operation a line"),
    responses((status = 200,
        description = "One result a line, in order, and a last line that says that it is the last",
        content((BatchResult = "application/x-ndjson"))))
)]
pub(super) async fn batch(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    request: Request,
) -> Response {
    match begin(&front, &asked, request).await {
        Ok(response) => response,
        Err(failure) => failure.response(&front, &asked),
    }
}

async fn begin(front: &Front, asked: &Asked, request: Request) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    query(parts.uri.query(), &[])?;
    lines_or_nothing(&parts.headers)?;
    let namespace = namespace_path(parts.uri.path())?;
    // Told once and not for each line.
    let doer = match eventual::here(front, asked, &parts.uri).await? {
        Some(here) => Doer::Here(here.space),
        None => Doer::Groups(front.service.batch(&namespace)),
    };
    let run = Run {
        front: front.clone(),
        asked: asked.clone(),
        once: once_of(&parts)?,
        doer,
        place: front.places.batch()?,
    };
    let mut response = Response::new(Body::from_stream(answer(run, body)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON));
    Facts::default().write(headers, front, asked);
    Ok(response)
}

/// Each operation is told apart by the number of its line; its own content is the hall's to compare.
fn once_of(parts: &Parts) -> Result<Option<OnceKey>, Failure> {
    once(parts, &[])
}

fn lines_or_nothing(headers: &HeaderMap) -> Result<(), Failure> {
    let said = content_type(headers)?.unwrap_or_default();
    let essence = said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        // The last is what curl says of `-d` when it is not told.
        "" | NDJSON | "application/jsonl" | "application/x-www-form-urlencoded" => Ok(()),
        other => Err(Failure::unsupported(format!("the body must be {NDJSON}, not {other}"))),
    }
}

/// What a batch stands on while it runs.
struct Run {
    front: Front,
    asked: Asked,
    once: Option<OnceKey>,
    doer: Doer,
    place: Place,
}

/// Who does the operations.
#[derive(Clone)]
enum Doer {
    Groups(Batch),
    Here(Space),
}

impl Doer {
    fn side(&self) -> Side {
        match self {
            Self::Groups(_) => Side::Groups,
            Self::Here(_) => Side::Here,
        }
    }

    async fn run(&self, lines: Vec<lines::Line>, context: Context) -> Vec<BatchResult> {
        match self {
            Self::Groups(batch) => in_groups(batch, lines, context).await,
            Self::Here(space) => in_space(space, lines, context).await,
        }
    }
}

async fn in_groups(batch: &Batch, lines: Vec<lines::Line>, context: Context) -> Vec<BatchResult> {
    let step = |line: &lines::Line| match &line.step {
        Ok(Planned::Group(step)) => Some(BatchOp { number: line.number, step: step.clone() }),
        _ => None,
    };
    let ops: Vec<BatchOp> = lines.iter().filter_map(step).collect();
    let done = if ops.is_empty() { Vec::new() } else { batch.run(ops, context).await };
    let success = |number, result| match result {
        Ok(done) => result::success(number, done),
        Err(error) => result::refused(number, &error),
    };
    result::all(lines, done, success)
}

async fn in_space(space: &Space, lines: Vec<lines::Line>, context: Context) -> Vec<BatchResult> {
    let step = |line: &lines::Line| match &line.step {
        Ok(Planned::Here(key, step)) => {
            Some(SpaceOp { number: line.number, key: key.clone(), step: step.clone() })
        }
        _ => None,
    };
    let ops: Vec<SpaceOp> = lines.iter().filter_map(step).collect();
    let done = if ops.is_empty() { Vec::new() } else { space.run(ops, &context).await };
    result::all(lines, done, |number, result| eventual::batch::result(space, number, result))
}

impl Run {
    /// Does a portion; the lines of its results.
    fn start(&self, portion: Portion) -> BoxFuture<'static, Vec<BatchResult>> {
        let now = self.front.service.env().clock.now();
        let context = Context {
            // Each portion has the time that a request has: a batch as a whole has no end.
            deadline: now + self.asked.patience,
            request_id: self.asked.id.clone(),
            once: self.once.clone(),
            session: self.asked.session.clone(),
        };
        let doer = self.doer.clone();
        Box::pin(async move { doer.run(portion.lines, context).await })
    }
}

fn answer(run: Run, body: Body) -> impl futures_util::Stream<Item = Result<Bytes, Infallible>> {
    async_stream::stream! {
        let mut lines = Lines::new(run.doer.side(), body, BATCH_STALL_MAX);
        let mut running = Running::default();
        let (mut held, mut ended) = (None::<Portion>, None::<Ended>);
        let (mut ops, mut failed) = (0u64, 0u64);
        loop {
            if let Some(portion) = held.take_if(|portion| running.takes(portion)) {
                let keys = portion.keys.clone();
                running.add(keys, run.start(portion));
            }
            tokio::select! {
                next = lines.next(), if held.is_none() && ended.is_none() => match next {
                    Next::Portion(portion) => held = Some(portion),
                    Next::End(why) => ended = Some(why),
                },
                Some(results) = running.done(), if !running.is_empty() => {
                    ops += u64::try_from(results.len()).unwrap_or(u64::MAX);
                    failed += results.iter().map(|r| u64::from(r.status >= 400)).sum::<u64>();
                    yield Ok(written(&results));
                }
                else => break,
            }
        }
        let Some(Ended { code, detail }) = ended else { return };
        let (end, code) = (true, code.map(str::to_owned));
        if code.is_some() {
            lines.discard().await;
        }
        yield Ok(written(&[BatchEnd { end, ops, failed, code, detail }]));
        drop(run.place);
    }
}

/// The portions that are being done, oldest first.
#[derive(Default)]
struct Running {
    keys: VecDeque<HashSet<u64>>,
    portions: FuturesOrdered<BoxFuture<'static, Vec<BatchResult>>>,
}

impl Running {
    /// Whether there is room for a portion, and none of its keys is being worked on: the order of
    /// operations on one key is that of their lines.
    fn takes(&self, portion: &Portion) -> bool {
        self.keys.len() < BATCH_PORTIONS_MAX
            && self.keys.iter().all(|keys| keys.is_disjoint(&portion.keys))
    }

    fn add(&mut self, keys: HashSet<u64>, portion: BoxFuture<'static, Vec<BatchResult>>) {
        self.keys.push_back(keys);
        self.portions.push_back(portion);
    }

    fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The results of the oldest portion. Cancel-safe.
    async fn done(&mut self) -> Option<Vec<BatchResult>> {
        let results = self.portions.next().await?;
        self.keys.pop_front();
        Some(results)
    }
}

fn written<T: serde::Serialize>(lines: &[T]) -> Bytes {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, line).expect("a line is numbers and text, in memory");
        text.push(b'\n');
    }
    Bytes::from(text)
}

/// The status of a line that no hall has seen.
fn refusal(number: u64, failure: &Failure) -> BatchResult {
    BatchResult {
        status: failure.status.as_u16(),
        code: Some(failure.code.to_owned()),
        detail: Some(failure.detail.clone()),
        ..result::empty(number, StatusCode::BAD_REQUEST)
    }
}
