//! Many writes fast: a stream of operations in, a stream of results out.
//!
//! Promises: constant memory: what is held is one request's worth. The results come in the order of
//! the operations, one for each. A request that fails in any way is sent again under the same name,
//! without the operations that have a result, so each takes effect once. Operations of one key keep
//! their order: a request never holds a key twice, and the next one waits for it.
//!
//! ```no_run
//! use futures_util::{StreamExt, stream};
//! use tetrarch::client::{BatchOp, Client, ops};
//!
//! # async fn tour(client: Client) -> Result<(), tetrarch::client::ClientError> {
//! let writes = stream::iter(0..1_000_000_u32).map(|n| BatchOp {
//!     op: ops::put(format!("n/{n}").as_bytes(), b"x"),
//!     ..BatchOp::default()
//! });
//! let mut results = std::pin::pin!(client.batch("default", writes));
//! while let Some(result) = results.next().await {
//!     let result = result?;
//!     if result.status >= 400 {
//!         println!("operation {} failed: {:?}", result.n, result.detail);
//!     }
//! }
//! # Ok(()) }
//! ```

use std::collections::HashSet;
use std::time::Duration;

use async_stream::try_stream;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use reqwest::Method;
use serde::Deserialize;

use super::call::{Call, Idempotency, Repeat, random_key};
use super::coded::space_path;
use super::send::Answer;
use super::txn::key_of;
use super::{Client, ClientError};
use crate::runtime::limits;
use crate::wire::{BatchEnd, NDJSON, Outcome};

pub use crate::wire::{BatchLine as BatchOp, BatchResult};

/// A line of an answer.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    End(BatchEnd),
    Result(BatchResult),
}

/// What one request will carry.
#[derive(Debug, Default)]
struct Portion {
    ops: Vec<BatchOp>,
    keys: HashSet<Bytes>,
    bytes: usize,
}

impl Portion {
    fn is_full(&self) -> bool {
        self.ops.len() >= limits::CLIENT_BATCH_OPS_MAX
            || self.bytes >= limits::CLIENT_BATCH_BYTES_MAX
    }

    /// Takes an operation, or gives it back when its key is here already.
    fn add(&mut self, op: BatchOp) -> Option<BatchOp> {
        let key = key_of(&op.op).unwrap_or_default();
        if !self.keys.insert(key.clone()) {
            return Some(op);
        }
        let value = op.op.value.as_ref().or(op.op.value64.as_ref()).map_or(0, String::len);
        self.bytes += key.len() + value;
        self.ops.push(op);
        None
    }
}

impl Client {
    /// Does all operations, in requests of some hundreds. An error ends the stream: what has no
    /// result then may or may not have been done, as [`ClientError::outcome`] says.
    pub fn batch(
        &self,
        ns: &str,
        ops: impl Stream<Item = BatchOp> + Send + 'static,
    ) -> impl Stream<Item = Result<BatchResult, ClientError>> + Send + 'static {
        self.batch_with(ns, ops, Idempotency::Generated)
    }

    /// The same under a name: for a program that itself starts over, with the same operations.
    pub fn batch_with(
        &self,
        ns: &str,
        ops: impl Stream<Item = BatchOp> + Send + 'static,
        idempotency: Idempotency,
    ) -> impl Stream<Item = Result<BatchResult, ClientError>> + Send + 'static {
        let (client, ns) = (self.clone(), ns.to_owned());
        try_stream! {
            let mut ops = Box::pin(ops);
            let mut portion = Portion::default();
            let mut done = 0;
            let mut requests = 0_u64;
            loop {
                let next = ops.next().await;
                let ended = next.is_none();
                let again = next.and_then(|op| portion.add(op));
                if again.is_some() || portion.is_full() || (ended && !portion.ops.is_empty()) {
                    let full = std::mem::take(&mut portion);
                    requests += 1;
                    // The same operations are cut the same way again.
                    let repeat = match &idempotency {
                        Idempotency::Key(name) => Repeat::Keyed(format!("{name}.{requests}")),
                        other => other.repeat(&client.inner.env),
                    };
                    let count = u64::try_from(full.ops.len()).unwrap_or(u64::MAX);
                    for result in client.batch_part(&ns, &full.ops, repeat).await? {
                        yield BatchResult { n: done + result.n, ..result };
                    }
                    done += count;
                }
                if let Some(op) = again {
                    portion.add(op);
                }
                if ended {
                    break;
                }
            }
        }
    }

    /// Does operations in one request, repeated until each has a result or the time is up; those
    /// without one are then of unknown outcome. No key may be there twice.
    ///
    /// # Errors
    ///
    /// When the request as a whole was refused.
    pub async fn batch_once(
        &self,
        ns: &str,
        ops: &[BatchOp],
    ) -> Result<Vec<BatchResult>, ClientError> {
        self.batch_part(ns, ops, Repeat::Keyed(random_key(&self.inner.env))).await
    }

    async fn batch_part(
        &self,
        ns: &str,
        ops: &[BatchOp],
        repeat: Repeat,
    ) -> Result<Vec<BatchResult>, ClientError> {
        let clock = &self.inner.env.clock;
        let deadline = clock.now() + self.inner.options.timeout;
        let mut results: Vec<Option<BatchResult>> = ops.iter().map(|_| None).collect();
        let mut pause_ms = limits::CLIENT_BACKOFF_MS.0;
        loop {
            let body = lines(ops, &results);
            let path = format!("{}/batch", space_path(ns));
            let mut call = Call::new(Method::POST, path, repeat.clone()).body(body);
            call = call.header("content-type", NDJSON);
            call.timeout = Some(deadline.since(clock.now()));
            let refused = match self.call(call).await {
                Ok(answer) => take(&answer, &mut results),
                Err(error) if results.iter().all(Option::is_none) => return Err(error),
                Err(error) => Some(error.to_string()),
            };
            let pause = Duration::from_millis(pause_ms);
            let late = deadline.since(clock.now()) <= pause;
            if late || refused.is_some() || results.iter().all(is_settled) {
                return Ok(fill(results, refused.as_deref()));
            }
            tokio::time::sleep(pause).await;
            pause_ms = (pause_ms * 2).min(limits::CLIENT_BACKOFF_MS.1);
        }
    }
}

/// The operations that have no final result yet; an empty line keeps the place of any other, since
/// the server knows an operation by the number of its line.
fn lines(ops: &[BatchOp], results: &[Option<BatchResult>]) -> Bytes {
    let mut body = Vec::new();
    for (op, result) in ops.iter().zip(results) {
        if !is_settled(result) {
            serde_json::to_writer(&mut body, op).expect("operations are plain JSON");
        }
        body.push(b'\n');
    }
    body.into()
}

/// Whether another try would change nothing.
fn is_settled(result: &Option<BatchResult>) -> bool {
    let passing = |status: u16| status == 429 || (status >= 500 && !matches!(status, 501 | 507));
    result.as_ref().is_some_and(|result| !passing(result.status))
}

/// Takes over the results of an answer; says so if the server read no further for a reason that
/// another try does not change.
fn take(answer: &Answer, results: &mut [Option<BatchResult>]) -> Option<String> {
    let mut refused = None;
    for line in answer.body.split(|byte| *byte == b'\n') {
        match serde_json::from_slice::<Line>(line) {
            Ok(Line::Result(result)) => {
                let at = result.n.checked_sub(1).and_then(|at| usize::try_from(at).ok());
                if let Some(place) = at.and_then(|at| results.get_mut(at)) {
                    *place = Some(result);
                }
            }
            Ok(Line::End(end)) => {
                let passing = matches!(
                    end.code.as_deref(),
                    None | Some("unavailable" | "overloaded" | "undetermined" | "internal")
                );
                refused = end.detail.or(end.code).filter(|_| !passing);
            }
            // The end of the body, or what a later release adds.
            Err(_) => {}
        }
    }
    refused
}

/// Gives a result to what has none: it was refused for this reason, or nobody can say.
fn fill(results: Vec<Option<BatchResult>>, refused: Option<&str>) -> Vec<BatchResult> {
    let (status, outcome, code) = match refused {
        Some(_) => (400, Outcome::NotApplied, "invalid"),
        None => (504, Outcome::Unknown, "undetermined"),
    };
    let detail = refused.unwrap_or("no node could say in time whether it took effect");
    let missing = |n: u64| BatchResult {
        id: None,
        n,
        status,
        outcome,
        etag: None,
        revision: None,
        code: Some(code.to_owned()),
        detail: Some(detail.to_owned()),
        value: None,
        value64: None,
        siblings: None,
        receipt: None,
        context: None,
        replayed: false,
    };
    let numbered = (1_u64..).zip(results);
    numbered.map(|(n, result)| result.unwrap_or_else(|| missing(n))).collect()
}
