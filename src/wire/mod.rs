//! What clients and servers say to each other: header names, paths, JSON bodies.
//!
//! Why it exists: the front door writes these and the client reads them; one definition keeps the
//! two from drifting apart. Bodies are contract: fields are added, never renamed or reused, and a
//! reader ignores fields that it does not know.
//!
//! Relies on: serde, and utoipa for the schemas of `/openapi.json`. No room's own types appear here, so that a change inside a room cannot
//! change the contract unnoticed.

mod batch;
mod cluster;
mod eventual;
mod keys;
mod leases;
mod limits;
mod ops;
mod scans;
mod spaces;
mod switching;
mod trace;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use batch::{BatchEnd, BatchLine, BatchResult};
pub use cluster::{
    ChangeReply, ClusterView, DigestView, GroupDigest, GroupView, JoinRequest, KnownNode, LabOrder,
    NodeView, ReplaceRequest, ReplicaView, RouteReplica, RouteView,
};
pub use eventual::{
    Conflict, ConflictBookmark, ConflictPage, Convergence, ConvergenceLag, ConvergenceMember,
    EventualRow, FieldOp, FieldOps, ImportView, KV_CONTEXT, KV_PARTIAL, KV_RECEIPT, KV_SIBLINGS,
    KV_VECTOR, LossTotals, PassView, ReceiptView, Restored, Sibling, VectorView,
};
pub use keys::{Changed, Envelope};
pub use leases::{
    LeaseEnded, LeaseGrant, LeaseNear, LeaseView, LockAcquire, LockHeld, LockHolder, LockReleased,
    LockView,
};
pub use limits::{LimitView, LimitsView};
pub use ops::{Amount, Condition, KvOp, Op, OpResult, TxnReply, TxnRequest};
pub use scans::{
    PrefixDeleted, ScanEnd, ScanItem, ScanName, ScanPage, StreamError, WatchEvent, WatchPoll,
    WatchRow,
};
pub use spaces::{
    LinkMode, NamespaceChange, NamespaceCreate, NamespaceDeleted, NamespaceLimits, NamespaceView,
    NamespacesView, SiteLink, Topology,
};
pub use switching::{SwitchObstacle, SwitchRequest, SwitchSurvey, SwitchView};
pub use trace::{TRACE_VERSION, TraceEnd, TraceHead, TraceLine, TraceMissed, TraceRecord};

/// The group that answered: a number. On every answer that belongs to a group.
pub const KV_GROUP: &str = "kv-group";
/// The position in the group's order that the answer reflects, exactly.
pub const KV_INDEX: &str = "kv-index";
/// What kind of read it was: `linearizable`, `stale; age-ms=180` or `stale; age=unknown`.
pub const KV_READ: &str = "kv-read";
/// Base URL of the node that leads the group, as a hint where to ask next time.
pub const KV_LEADER: &str = "kv-leader";
/// The node that the answer comes from (after forwarding: the one that did the work).
pub const KV_SERVED_BY: &str = "kv-served-by";
/// What the client has seen (both ways): an answer with it is never older than that.
pub const KV_SESSION: &str = "kv-session";
/// `?1` when the answer is that of an earlier request with the same idempotency key.
pub const KV_REPLAYED: &str = "kv-replayed";
/// The revision of a key that was read or written.
pub const KV_REVISION: &str = "kv-revision";
/// How often a key was written since it was created, on reads and on answers with a value.
pub const KV_VERSION: &str = "kv-version";
/// The lease that a key hangs on: asked for in a PUT, told in answers with a value.
pub const KV_LEASE: &str = "kv-lease";
/// Where a watch can be resumed, when an answer has no body to say it.
pub const KV_CURSOR: &str = "kv-cursor";
/// `prefix` confirms that all keys under a prefix are to be deleted.
pub const KV_CONFIRM: &str = "kv-confirm";
/// Names a request so that repeating it has no second effect.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// How long the client waits: `500ms`, `5s`, or a plain number of seconds.
pub const REQUEST_TIMEOUT: &str = "request-timeout";
/// Names the request in logs; made when absent.
pub const REQUEST_ID: &str = "request-id";
/// Media type of a stream of JSON values, one a line.
pub const NDJSON: &str = "application/x-ndjson";
/// Media type of a copy of an eventual namespace.
pub const COPY_TYPE: &str = "application/vnd.tetrarch.copy";
/// Media type of a patch after RFC 7396.
pub const MERGE_PATCH: &str = "application/merge-patch+json";
/// Media type of a patch after RFC 6902.
pub const JSON_PATCH: &str = "application/json-patch+json";
/// Media type of a patch of our own ([`KvOp`]).
pub const KV_OP: &str = "application/kv-op+json";
/// Media type of every error.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Where the cluster's state is read.
pub const CLUSTER_PATH: &str = "/v1/cluster";
/// Digests of a node's own replicas.
pub const DIGEST_PATH: &str = "/v1/cluster/digest";
/// Where a node joins ([`JoinRequest`]).
pub const NODES_PATH: &str = "/v1/cluster/nodes";
/// Where a node is replaced ([`ReplaceRequest`]).
pub const REPLACE_PATH: &str = "/v1/cluster/replace";
/// Where a key's place is asked for, with `?ns=` and `?key=`, both percent-encoded.
pub const ROUTE_PATH: &str = "/v1/route";

/// Where namespaces are listed and created.
pub const NAMESPACES_PATH: &str = "/v1/namespaces";
/// Where leases are granted.
pub const LEASES_PATH: &str = "/v1/leases";
/// Where the bounds that a client can meet are read.
pub const LIMITS_PATH: &str = "/v1/limits";
/// Where a laboratory gives its orders, at nodes that were started for one.
pub const LAB_PATH: &str = "/internal/lab";
/// Where the machine-readable description of all this is read.
pub const OPENAPI_PATH: &str = "/openapi.json";

/// How a client must treat a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It took effect.
    Applied,
    /// It surely took no effect: repeating it is safe.
    NotApplied,
    /// It may or may not have taken effect, or may still do so.
    Unknown,
}

/// An error's body (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `urn:tetrarch:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the code means.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// The machine-readable name of the error.
    pub code: String,
    /// How to treat the request.
    pub outcome: Outcome,
    /// The request's name in the logs.
    pub request_id: String,
    /// Base URL of the leader's node, when it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// Seconds after which another try makes sense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// The groups of the keys, when they are too many (`cross_group`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<u64>>,
    /// Where to begin anew, when what was asked for is gone (`history_trimmed`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<String>,
    /// Who holds the lock (`lock_held`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<LockHolder>,
}

/// Base URL of a node from its `host:port`.
pub fn base_url(address: &str) -> String {
    format!("http://{address}")
}
