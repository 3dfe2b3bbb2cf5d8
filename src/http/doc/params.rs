//! Parameters as `/openapi.json` describes them. Handlers read them through `parse`; these types are
//! never made.
//!
//! Promises: a bound that stands here is one that is kept: the tests of the description send what
//! it allows.
#![allow(dead_code, reason = "only their descriptions are used")]

use utoipa::IntoParams;

/// A key of a namespace.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(in super::super) struct KeyPath {
    /// The namespace.
    #[param(pattern = "^[a-z0-9][a-z0-9._-]{0,63}$")]
    ns: String,
    /// The key, percent-encoded; it may hold `/`. Any bytes; text here, for tools.
    #[param(min_length = 1, max_length = 4096)]
    key: String,
}

/// A namespace.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(in super::super) struct SpacePath {
    /// The namespace.
    #[param(pattern = "^[a-z0-9][a-z0-9._-]{0,63}$")]
    ns: String,
}

/// A lease.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(in super::super) struct LeasePath {
    /// The lease's id.
    #[param(pattern = "^[0-9a-fA-F]{16}$")]
    id: String,
}

/// A lock.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(in super::super) struct LockPath {
    /// The namespace.
    #[param(pattern = "^[a-z0-9][a-z0-9._-]{0,63}$")]
    ns: String,
    /// The lock's name, percent-encoded; it may hold `/`.
    #[param(min_length = 1, max_length = 4096)]
    name: String,
}

/// A write of an eventual namespace.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(in super::super) struct ReceiptPath {
    /// The namespace.
    #[param(pattern = "^[a-z0-9][a-z0-9._-]{0,63}$")]
    ns: String,
    /// The write's `KV-Receipt`.
    #[param(pattern = "^[0-9]{1,20}-[0-9a-f]{8}-[0-9]{1,10}[.][0-9]{1,20}$")]
    receipt: String,
}

/// The key that a write was made to: one of the two.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct LostKeyQuery {
    /// The key, percent-encoded.
    #[param(min_length = 1, max_length = 4096)]
    key: Option<String>,
    /// The same in base64url.
    #[param(pattern = "^[A-Za-z0-9_-]*$", max_length = 5464)]
    key64: Option<String>,
}

/// Over which link.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct PassQuery {
    /// The node that the link leads from.
    from: u64,
}

/// Of which keys.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct PrefixOnlyQuery {
    /// Only keys that begin with this.
    #[param(max_length = 4096)]
    prefix: Option<String>,
    /// The same in base64url; one of the two.
    #[param(pattern = "^[A-Za-z0-9_-]*$", max_length = 5464)]
    prefix64: Option<String>,
}

/// Which losses.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct ConflictQuery {
    /// Only keys that begin with this.
    #[param(max_length = 4096)]
    prefix: Option<String>,
    /// The same in base64url; one of the two.
    #[param(pattern = "^[A-Za-z0-9_-]*$", max_length = 5464)]
    prefix64: Option<String>,
    /// Most losses of a page.
    #[param(minimum = 1, maximum = 10_000)]
    limit: Option<u64>,
    /// `next` of the page before.
    #[param(max_length = 32_768)]
    cursor: Option<String>,
    /// `1`: a line for each, and then for each that follows.
    #[param(pattern = "^(0|1|true|false)$")]
    follow: Option<String>,
}

/// In which form.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(in super::super) struct FollowHeaders {
    /// What the client has seen.
    #[param(rename = "KV-Session", max_length = 24_576)]
    kv_session: Option<String>,
}

/// How to read.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct ReadQuery {
    /// `linearizable` (the default), `stale`, `bounded` (with `max_staleness`) or `session`.
    #[param(pattern = "^(linearizable|stale|bounded|session)$")]
    read: Option<String>,
    /// How old the answer may be; with `read=bounded`.
    #[param(pattern = "^[0-9]{1,15}(ms|s|m|h)$")]
    max_staleness: Option<String>,
    /// Of an eventual namespace: what the answer must reflect at least, a `KV-Vector`.
    #[param(max_length = 65_536)]
    min_vector: Option<String>,
}

/// Conditions and the form of a read.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(in super::super) struct ReadHeaders {
    /// Only if the newest write is one of these.
    #[param(rename = "If-Match", max_length = 1024)]
    if_match: Option<String>,
    /// Only if the newest write is none of these; otherwise 304.
    #[param(rename = "If-None-Match", max_length = 1024)]
    if_none_match: Option<String>,
    /// Only if it was written later; otherwise 304. Passed over beside `If-None-Match`.
    #[param(rename = "If-Modified-Since", max_length = 64)]
    if_modified_since: Option<String>,
    /// What the client has seen.
    #[param(rename = "KV-Session", max_length = 24_576)]
    kv_session: Option<String>,
}

/// What belongs to a put.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct PutQuery {
    /// How long the key lives unless it is written again.
    #[param(pattern = "^[0-9]{1,15}(ms|s|m|h)$")]
    ttl: Option<String>,
    /// `1`: answer with what was there before.
    #[param(pattern = "^(0|1|true|false)$")]
    prev: Option<String>,
    /// Of an eventual namespace: on how many nodes the write is flushed before the answer.
    #[param(minimum = 1)]
    ack: Option<u64>,
}

/// What belongs to a delete.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct ChangeQuery {
    /// `1`: answer with what was there before.
    #[param(pattern = "^(0|1|true|false)$")]
    prev: Option<String>,
    /// Of an eventual namespace: on how many nodes the write is flushed before the answer.
    #[param(minimum = 1)]
    ack: Option<u64>,
}

/// What belongs to a patch.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct PatchQuery {
    /// Of an eventual namespace: on how many nodes the write is flushed before the answer.
    #[param(minimum = 1)]
    ack: Option<u64>,
}

/// Which hold on a lock ends: exactly one of the two.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct LockReleaseQuery {
    /// The one with this token.
    token: Option<u64>,
    /// The one with this lease.
    #[param(pattern = "^[0-9a-fA-F]{16}$")]
    lease: Option<String>,
}

/// Where a key is asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct RouteQuery {
    /// The namespace; `default` when left out.
    #[param(pattern = "^[a-z0-9][a-z0-9._-]{0,63}$")]
    ns: Option<String>,
    /// The key, percent-encoded.
    #[param(min_length = 1, max_length = 4096)]
    key: String,
}

/// Conditions of a put.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(in super::super) struct PutHeaders {
    /// Only if the newest write is one of these; `*`: if there is one.
    #[param(rename = "If-Match", max_length = 1024)]
    if_match: Option<String>,
    /// Only if the newest write is none of these; `*`: if there is none.
    #[param(rename = "If-None-Match", max_length = 1024)]
    if_none_match: Option<String>,
    /// The lease that the key hangs on.
    #[param(rename = "KV-Lease", pattern = "^[0-9a-fA-F]{16}$")]
    kv_lease: Option<String>,
    /// `return=representation`: answer with the new value.
    #[param(rename = "Prefer", max_length = 255)]
    prefer: Option<String>,
    /// Makes repeating the request harmless.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255)]
    idempotency_key: Option<String>,
    /// Of an eventual namespace: what was shown, which is what the write replaces.
    #[param(rename = "KV-Context", max_length = 65_536)]
    kv_context: Option<String>,
}

/// Conditions of a delete.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(in super::super) struct ChangeHeaders {
    /// Only if the newest write is one of these; `*`: if there is one.
    #[param(rename = "If-Match", max_length = 1024)]
    if_match: Option<String>,
    /// Only if the newest write is none of these; `*`: if there is none.
    #[param(rename = "If-None-Match", max_length = 1024)]
    if_none_match: Option<String>,
    /// Makes repeating the request harmless.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255)]
    idempotency_key: Option<String>,
    /// Of an eventual namespace: what was shown, which is what the write replaces.
    #[param(rename = "KV-Context", max_length = 65_536)]
    kv_context: Option<String>,
}

/// Conditions of a patch.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(in super::super) struct PatchHeaders {
    /// Only if the newest write is one of these; `*`: if there is one.
    #[param(rename = "If-Match", max_length = 1024)]
    if_match: Option<String>,
    /// Only if the newest write is none of these; `*`: if there is none.
    #[param(rename = "If-None-Match", max_length = 1024)]
    if_none_match: Option<String>,
    /// Makes repeating the request harmless.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255)]
    idempotency_key: Option<String>,
    /// Of an eventual namespace: what was shown, which is what the write replaces.
    #[param(rename = "KV-Context", max_length = 65_536)]
    kv_context: Option<String>,
}

/// What makes a request repeatable.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(in super::super) struct OnceHeaders {
    /// Makes repeating the request harmless.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255)]
    idempotency_key: Option<String>,
}

/// Which keys are listed, and how.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct ScanQuery {
    /// Only keys that begin with this.
    #[param(max_length = 4096)]
    prefix: Option<String>,
    /// The same in base64url; one of the two.
    #[param(pattern = "^[A-Za-z0-9_-]*$", max_length = 5464)]
    prefix64: Option<String>,
    /// Only keys from this one on.
    #[param(max_length = 4096)]
    start: Option<String>,
    /// The same in base64url; one of the two.
    #[param(pattern = "^[A-Za-z0-9_-]*$", max_length = 5464)]
    start64: Option<String>,
    /// Only keys below this one.
    #[param(max_length = 4096)]
    end: Option<String>,
    /// The same in base64url; one of the two.
    #[param(pattern = "^[A-Za-z0-9_-]*$", max_length = 5464)]
    end64: Option<String>,
    /// `1`: from the last to the first.
    #[param(pattern = "^(0|1|true|false)$")]
    reverse: Option<String>,
    /// Most items of a page.
    #[param(minimum = 1, maximum = 10_000)]
    limit: Option<u64>,
    /// What of each key: `value` (all, the default), `meta`, `key`, or only their `count`.
    #[param(pattern = "^(key|meta|value|count)$")]
    fields: Option<String>,
    /// Keys that are the same up to its first place behind the prefix become one item.
    #[param(max_length = 64)]
    delimiter: Option<String>,
    /// `next` of the page before; the rest of the query must be the same.
    #[param(max_length = 32_768)]
    cursor: Option<String>,
    /// `linearizable` (the default), `stale` or `session`.
    #[param(pattern = "^(linearizable|stale|session)$")]
    read: Option<String>,
    /// Of an eventual namespace: what the answer must reflect at least, a `KV-Vector`.
    #[param(max_length = 65_536)]
    min_vector: Option<String>,
}

/// Which keys are deleted, and that it is meant.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct PrefixQuery {
    /// All keys that begin with this; may be empty.
    #[param(max_length = 4096)]
    prefix: Option<String>,
    /// The same in base64url; one of the two.
    #[param(pattern = "^[A-Za-z0-9_-]*$", max_length = 5464)]
    prefix64: Option<String>,
}

/// That deleting a prefix is meant.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(in super::super) struct PrefixHeaders {
    /// Must be `prefix`.
    #[param(rename = "KV-Confirm", pattern = "^prefix$")]
    kv_confirm: String,
}

/// Which keys are watched, and from where on.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct WatchQuery {
    /// Only keys that begin with this.
    #[param(max_length = 4096)]
    prefix: Option<String>,
    /// The same in base64url; one of the two.
    #[param(pattern = "^[A-Za-z0-9_-]*$", max_length = 5464)]
    prefix64: Option<String>,
    /// Only keys from this one on.
    #[param(max_length = 4096)]
    start: Option<String>,
    /// The same in base64url; one of the two.
    #[param(pattern = "^[A-Za-z0-9_-]*$", max_length = 5464)]
    start64: Option<String>,
    /// Only keys below this one.
    #[param(max_length = 4096)]
    end: Option<String>,
    /// The same in base64url; one of the two.
    #[param(pattern = "^[A-Za-z0-9_-]*$", max_length = 5464)]
    end64: Option<String>,
    /// `now` (the default), `start`, or a cursor.
    #[param(max_length = 32_768)]
    since: Option<String>,
    /// `1`: first the keys as they are.
    #[param(pattern = "^(0|1|true|false)$")]
    initial: Option<String>,
    /// `1`: with what was there before each change.
    #[param(pattern = "^(0|1|true|false)$")]
    prev: Option<String>,
    /// Only these, with commas between: `put`, `delete`, `expire`.
    #[param(pattern = "^(put|delete|expire)(,(put|delete|expire))*$")]
    kinds: Option<String>,
}

/// How much is recorded.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct TraceQuery {
    /// How long, at most an hour; a minute when it is not said.
    #[param(pattern = "^([1-9]|[1-5][0-9])s$")]
    duration: Option<String>,
    /// How many requests at most.
    #[param(minimum = 1, maximum = 10_000_000)]
    records: Option<u64>,
    /// Keys, clients and tags stand as hashes that begin with this text.
    #[param(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9]+$")]
    salt: Option<String>,
}

/// How a watch is told.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(in super::super) struct WatchHeaders {
    /// The cursor of the last event that was seen; counts more than `since`.
    #[param(rename = "Last-Event-ID", max_length = 32_768)]
    last_event_id: Option<String>,
    /// `wait=30`: one answer, after so many seconds at most.
    #[param(rename = "Prefer", max_length = 255)]
    prefer: Option<String>,
}

/// What an export leaves out.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in super::super) struct ExportQuery {
    /// Leaves out what whoever takes it has: a `KV-Vector`. Without it everything is in it.
    #[param(max_length = 65_536)]
    since: Option<String>,
}
