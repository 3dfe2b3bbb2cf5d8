//! `GET /v1/limits`: every bound that a client can meet, as this release has it.
//!
//! Promises: the numbers are those of `runtime::limits`, never written a second time.

use std::time::Duration;

use axum::extract::{Extension, Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use crate::runtime::limits;
use crate::wire::{LimitView, LimitsView};

use super::envelope::json;
use super::facts::Facts;
use super::parse::query;
use super::{Asked, Front};

/// Says what this node accepts at most.
#[utoipa::path(get, path = "/v1/limits", operation_id = "get_limits", tag = "operations",
    responses((status = 200, description = "All bounds that a client can meet", body = LimitsView)))]
pub(super) async fn limits(
    State(front): State<Front>,
    Extension(asked): Extension<Asked>,
    request: Request,
) -> Response {
    if let Err(failure) = query(request.uri().query(), &[]) {
        return failure.response(&front, &asked);
    }
    let mut response = json(StatusCode::OK, &view());
    Facts::default().write(response.headers_mut(), &front, &asked);
    response
}

/// Name, number, unit, meaning.
type Bound = (&'static str, u64, &'static str, &'static str);

fn view() -> LimitsView {
    let view = |(name, value, unit, what): Bound| {
        (name.to_owned(), LimitView { value, unit: unit.to_owned(), what: what.to_owned() })
    };
    let limits = sizes().into_iter().chain(counts()).chain(times()).map(view).collect();
    LimitsView { limits }
}

fn sizes() -> Vec<Bound> {
    let bytes = |name, number: usize, what| {
        (name, u64::try_from(number).unwrap_or(u64::MAX), "bytes", what)
    };
    vec![
        bytes("key_bytes", limits::KEY_BYTES_MAX, "Longest key that a namespace can allow"),
        bytes(
            "value_bytes",
            limits::VALUE_BYTES_MAX,
            "Longest value, unless a namespace says less",
        ),
        bytes(
            "content_type_bytes",
            limits::CONTENT_TYPE_BYTES_MAX,
            "Longest Content-Type of a value",
        ),
        bytes(
            "idempotency_key_bytes",
            limits::IDEMPOTENCY_KEY_BYTES_MAX,
            "Longest Idempotency-Key",
        ),
        bytes("request_id_bytes", limits::REQUEST_ID_BYTES_MAX, "Longest Request-Id that is taken"),
        bytes("session_bytes", limits::SESSION_TEXT_BYTES_MAX, "Longest KV-Session"),
        bytes("context_bytes", limits::OPAQUE_TEXT_BYTES_MAX, "Longest KV-Context, and vector"),
        bytes(
            "field_bytes",
            limits::FIELD_BYTES_MAX,
            "Longest element of a set, and path in a map, of an eventual namespace",
        ),
        bytes("head_bytes", limits::HTTP_HEAD_BYTES_MAX, "Request line and headers together"),
        bytes(
            "admin_body_bytes",
            limits::ADMIN_BODY_BYTES_MAX,
            "Longest JSON body of other requests",
        ),
        bytes("txn_bytes", limits::TXN_BYTES_MAX, "Keys, values and patches of a transaction"),
        bytes("txn_body_bytes", limits::TXN_BODY_BYTES_MAX, "Longest JSON body of a transaction"),
        bytes("batch_line_bytes", limits::BATCH_LINE_BYTES_MAX, "Longest line of a batch"),
        bytes("lock_owner_bytes", limits::LOCK_OWNER_BYTES_MAX, "Longest name of a lock's owner"),
        bytes("cursor_bytes", limits::CURSOR_TEXT_BYTES_MAX, "Longest cursor that is taken"),
        bytes("scan_page_bytes", limits::SCAN_PAGE_BYTES_MAX, "After which a page ends early"),
        bytes("watch_poll_bytes", limits::WATCH_POLL_BYTES, "After which a poll ends early"),
        bytes("history_bytes", limits::HISTORY_BYTES, "History of a node, for watches and views"),
    ]
}

fn counts() -> Vec<Bound> {
    let count = |name, number: usize, unit, what| {
        (name, u64::try_from(number).unwrap_or(u64::MAX), unit, what)
    };
    vec![
        count("headers", limits::HTTP_HEADERS_MAX, "headers", "Headers of a request"),
        count("etags", limits::ETAGS_MAX, "etags", "ETags in If-Match or If-None-Match"),
        count("siblings", limits::SIBLINGS_MAX, "values", "Beside each other under a key"),
        count(
            "key_cells",
            limits::KEY_CELLS_MAX,
            "cells",
            "Elements or fields of a key that a read of an eventual namespace gives out",
        ),
        count(
            "op_cells",
            limits::OP_CELLS_MAX,
            "cells",
            "Elements or fields that one write of an eventual namespace changes",
        ),
        count("txn_ops", limits::TXN_OPS_MAX, "ops", "Conditions and operations of a transaction"),
        count(
            "requests",
            limits::HTTP_REQUESTS_MAX,
            "requests",
            "Served by a node at the same time",
        ),
        count(
            "connections",
            limits::HTTP_CONNECTIONS_MAX,
            "connections",
            "Open at a node; for more, the idlest are closed",
        ),
        count("watches", limits::WATCHES_MAX, "watches", "Served by a node at the same time"),
        count("batches", limits::BATCHES_MAX, "batches", "Served by a node at the same time"),
        count(
            "scan_streams",
            limits::SCAN_STREAMS_MAX,
            "scans",
            "Streamed by a node at the same time",
        ),
        count("scan_limit", limits::SCAN_LIMIT_MAX, "keys", "On a page of a scan"),
        count("scan_limit_default", limits::SCAN_LIMIT_DEFAULT, "keys", "When limit= is left out"),
        count("watch_poll_events", limits::WATCH_POLL_EVENTS, "events", "In one poll of a watch"),
        count("patch_steps", limits::PATCH_STEPS_MAX, "steps", "Of a JSON patch"),
        count("patch_depth", limits::JSON_DEPTH_MAX, "levels", "Of a JSON value that is patched"),
        count(
            "patch_work",
            limits::PATCH_WORK_MAX,
            "units",
            "Bytes read and members passed by the patches of one request; beyond: patch_invalid",
        ),
        count("lock_queue", limits::LOCK_QUEUE_MAX, "requests", "Waiting for one lock"),
        ("lease_keys", limits::LEASE_KEYS_MAX, "keys", "Attached to one lease"),
        ("leases", limits::LEASES_MAX, "leases", "Alive in one group"),
        ("once_records", limits::ONCE_RECORDS_MAX, "results", "Kept for repeats in one group"),
        count("lock_waits", limits::LOCK_WAITS_MAX, "requests", "Waiting for locks at a node"),
        count(
            "slow_bodies",
            limits::HTTP_SLOW_BODIES_MAX,
            "requests",
            "Whose bodies are still coming, at a node; for more, the oldest is refused",
        ),
    ]
}

fn times() -> Vec<Bound> {
    let time = |name, time: Duration, what| {
        (name, u64::try_from(time.as_millis()).unwrap_or(u64::MAX), "ms", what)
    };
    vec![
        time(
            "request_timeout_default",
            limits::REQUEST_TIMEOUT_DEFAULT,
            "Request-Timeout when it is left out",
        ),
        time(
            "request_timeout",
            limits::REQUEST_TIMEOUT_MAX,
            "Longest Request-Timeout, and longest wait for a lock",
        ),
        time(
            "header_timeout",
            limits::HTTP_HEADER_TIMEOUT,
            "For a request's head, from its first byte",
        ),
        time("idle_timeout", limits::HTTP_IDLE_TIMEOUT, "For a connection without a request"),
        time("body_stall", limits::HTTP_BODY_STALL_MAX, "Without a byte of a body"),
        time("write_stall", limits::HTTP_WRITE_STALL_MAX, "Without taking a byte of an answer"),
        time("batch_stall", limits::BATCH_STALL_MAX, "Without a byte of a batch"),
        time("once_keep", limits::ONCE_KEEP, "That a result is kept for repeats"),
        time("watch_bookmark", limits::WATCH_BOOKMARK_EVERY, "Between bookmarks of a watch"),
        time("lease_ttl_min", limits::LEASE_TTL_MIN, "Shortest life of a lease or key with a ttl"),
        time("lease_ttl", limits::LEASE_TTL_MAX, "Longest life of a lease or key with a ttl"),
    ]
}
