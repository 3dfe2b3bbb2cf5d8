//! What a request and its answer come to in a trace.
//!
//! Promises: of a body only its length is kept, and of a patch the name of its operation; nothing here
//! holds a request up or refuses it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, Method, header};
use axum::response::Response;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::runtime::Moment;
use crate::runtime::limits::{TRACE_PEEK_BYTES, TRACE_TAG_BYTES_MAX};
use crate::service::Outcome;
use crate::wire::{JSON_PATCH, KV_CONTEXT, KV_OP, KV_RECEIPT, MERGE_PATCH, TraceRecord};

use super::super::envelope::text_or_64;
use super::super::keys::key_address;
use super::super::parse::Query;

/// Where a request came from: known of each connection, said of a request only while something is
/// recorded.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct From(pub(in super::super) SocketAddr);

/// A request that is under way.
#[derive(Debug)]
pub(super) struct Note {
    record: TraceRecord,
    key: Option<Bytes>,
    seen: Arc<Seen>,
}

/// What was seen of a body on its way.
#[derive(Debug, Default)]
struct Seen {
    bytes: AtomicU64,
    /// The beginning of a patch.
    head: Mutex<Vec<u8>>,
}

/// What a route is called in a trace; `None` for what is about no keys.
pub(super) fn op(route: &str, method: &Method) -> Option<&'static str> {
    let rest = route.strip_prefix("/v1/ns/{ns}/")?;
    Some(match (rest, method) {
        ("keys/{*key}" | "key", &Method::GET) => "get",
        ("keys/{*key}" | "key", &Method::HEAD) => "head",
        ("keys/{*key}" | "key", &Method::PUT) => "put",
        ("keys/{*key}" | "key", &Method::DELETE) => "delete",
        ("keys/{*key}" | "key", &Method::PATCH) => "patch",
        ("keys", &Method::GET) => "list",
        ("keys", &Method::DELETE) => "delete-prefix",
        ("batch", _) => "batch",
        ("txn", _) => "txn",
        ("watch", _) => "watch",
        ("locks/{*name}", _) => "lock",
        _ => return None,
    })
}

impl Note {
    /// Looks at a request, and from now on at its body.
    pub(super) fn of(op: &'static str, request: &mut Request) -> Self {
        let seen = Arc::new(Seen::default());
        let headers = request.headers();
        let tag = |name: &str| headers.get(name).map(|value| short(value.as_bytes()));
        let kind = (op == "patch").then(|| essence(headers)).and_then(|said| match said.as_str() {
            MERGE_PATCH => Some("merge"),
            JSON_PATCH => Some("json-patch"),
            _ => None,
        });
        let peeks = op == "patch" && essence(headers) == KV_OP;
        let key = matches!(op, "get" | "head" | "put" | "delete" | "patch")
            .then(|| Some(key_address(request.uri(), ANY, ANY).ok()?.key))
            .flatten();
        let read = Query::of(request.uri().query(), ANY).ok();
        let record = TraceRecord {
            op: op.to_owned(),
            kind: kind.map(str::to_owned),
            client: request.extensions().get::<From>().map(|From(address)| address.to_string()),
            read: read.and_then(|query| query.text("read").ok().flatten()),
            if_match: tag(header::IF_MATCH.as_str()),
            if_none_match: tag(header::IF_NONE_MATCH.as_str()),
            context: tag(KV_CONTEXT),
            ..TraceRecord::default()
        };
        if !request.body().is_end_stream() {
            let looks = Arc::clone(&seen);
            let body = std::mem::take(request.body_mut());
            *request.body_mut() = Body::new(body.map_frame(move |frame| {
                if let Some(data) = frame.data_ref() {
                    looks.look(data, peeks);
                }
                frame
            }));
        }
        Self { record, key, seen }
    }

    /// The record of an answered request; the same for all who record it but for their own times and
    /// names.
    pub(super) fn answered(mut self, response: &Response, outcome: Outcome) -> Answered {
        let record = &mut self.record;
        record.bytes = self.seen.bytes.load(Ordering::Relaxed);
        if record.kind.is_none() && record.op == "patch" {
            record.kind = kind_of(&self.seen.head.lock()).map(str::to_owned);
        }
        record.answer_bytes = response.body().size_hint().exact();
        record.status = response.status().as_u16();
        record.outcome = match outcome {
            Outcome::Applied if record.status < 400 => "applied",
            Outcome::Applied | Outcome::NotApplied => "not_applied",
            Outcome::Unknown => "unknown",
        }
        .to_owned();
        let headers = response.headers();
        let made = headers.get(KV_RECEIPT).or_else(|| headers.get(header::ETAG));
        record.made = made.map(|value| short(value.as_bytes()));
        Answered { record: self.record, key: self.key }
    }
}

/// Every name of a parameter that requests about keys take: a strange one is for the handler to refuse.
const ANY: &[&str] = &[
    "ack",
    "cursor",
    "delimiter",
    "end",
    "end64",
    "initial",
    "key64",
    "keys_only",
    "kinds",
    "limit",
    "max_staleness",
    "min_vector",
    "prefix",
    "prefix64",
    "prev",
    "read",
    "reverse",
    "since",
    "start",
    "start64",
    "ttl",
    "view",
    "wait",
];

/// A record, and the key that it is about.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    record: TraceRecord,
    key: Option<Bytes>,
}

impl Answered {
    /// As one recording wants it: from its own beginning on, and with hashes if it has a salt.
    pub(super) fn told(
        &self,
        began: Moment,
        span: (Moment, Moment),
        salt: Option<u64>,
    ) -> TraceRecord {
        let micros = |from: Moment, to: Moment| {
            u64::try_from(to.since(from).as_micros()).unwrap_or(u64::MAX)
        };
        let mut record = self.record.clone();
        record.at_us = micros(began, span.0);
        record.took_us = micros(span.0, span.1);
        let Some(salt) = salt else {
            if let Some(key) = &self.key {
                (record.key, record.key64) = text_or_64(key);
            }
            return record;
        };
        let hash = |bytes: &[u8]| format!("{:016x}", xxh3_64_with_seed(bytes, salt));
        record.key_hash = self.key.as_ref().map(|key| hash(key));
        for text in [
            &mut record.client,
            &mut record.if_match,
            &mut record.if_none_match,
            &mut record.context,
            &mut record.made,
        ] {
            *text = text.take().map(|text| if text == "*" { text } else { hash(text.as_bytes()) });
        }
        record
    }
}

impl Seen {
    fn look(&self, data: &Bytes, peeks: bool) {
        self.bytes.fetch_add(u64::try_from(data.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
        if peeks {
            let mut head = self.head.lock();
            let room = TRACE_PEEK_BYTES.saturating_sub(head.len()).min(data.len());
            head.extend_from_slice(data.get(..room).unwrap_or_default());
        }
    }
}

fn essence(headers: &HeaderMap) -> String {
    let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let said = said.and_then(|said| said.split(';').next()).unwrap_or_default();
    said.trim().to_ascii_lowercase()
}

/// The operation of a kv-op, by the first name in its JSON.
fn kind_of(head: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(head);
    let name = text.split('"').nth(1)?;
    Some(match name {
        "add" => "add",
        "max" => "max",
        "min" => "min",
        "append" => "append",
        "set_add" => "set-add",
        "set_remove" => "set-remove",
        "fields" => "fields",
        _ => return None,
    })
}

/// A tag as it is, or the hash of a long one: two that are alike are alike here.
fn short(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.len() <= TRACE_TAG_BYTES_MAX => text.to_owned(),
        _ => format!("{:016x}", xxh3_64(bytes)),
    }
}
