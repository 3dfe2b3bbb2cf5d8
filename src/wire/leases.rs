//! Bodies about leases and locks.
//!
//! Why it exists: a lock is held by a lease, so the two are told of in the same words.
//! Promises and relies on: as all of [`crate::wire`].

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The body of `POST /v1/leases`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LeaseGrant {
    /// How long it lives without a renewal, such as `30s`.
    #[schema(pattern = "^[0-9]{1,15}(ms|s|m|h)$")]
    pub ttl: String,
    /// A key that will hang on it: keys of the same group then vanish in the moment it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub near: Option<LeaseNear>,
}

/// Where a lease should live.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LeaseNear {
    /// The key's namespace.
    #[schema(max_length = 64)]
    pub ns: String,
    /// The key.
    #[schema(min_length = 1, max_length = 4096)]
    pub key: String,
}

/// A lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeaseView {
    /// Its id, 16 hex digits.
    pub id: String,
    /// How long it lives from each renewal, in milliseconds.
    pub ttl_ms: u64,
    /// How long it still lives, about; `null` while that is not known.
    pub expires_in_ms: Option<u64>,
}

/// The answer to `DELETE /v1/leases/{id}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeaseEnded {
    /// Keys of the lease's home group that vanished with it.
    pub keys: u64,
}

/// The body of `POST /v1/ns/{ns}/locks/{name}`: `ttl` for a lease of its own, or `lease`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LockAcquire {
    /// How long the lock is held without a renewal of its lease, such as `10s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, pattern = "^[0-9]{1,15}(ms|s|m|h)$")]
    pub ttl: Option<String>,
    /// The lease that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, pattern = "^[0-9a-fA-F]{16}$")]
    pub lease: Option<String>,
    /// Who asks, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 255)]
    pub owner: Option<String>,
    /// How long to stand in line; not at all when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, pattern = "^[0-9]{1,15}(ms|s|m|h)$")]
    pub wait: Option<String>,
}

/// The answer to a lock that was acquired.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LockHeld {
    /// The lock.
    pub name: String,
    /// The fencing token: larger than every one given out for this lock before.
    pub token: u64,
    /// The lease that holds it; renew it to keep the lock.
    pub lease: String,
    /// How long the lease lives from each renewal, in milliseconds, when it was made for the lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// Who asked.
    pub owner: String,
}

/// Who holds a lock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LockHolder {
    /// Its lease.
    pub lease: String,
    /// Its fencing token.
    pub token: u64,
    /// Who it says it is.
    pub owner: String,
}

/// The answer to `GET /v1/ns/{ns}/locks/{name}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LockView {
    /// The lock.
    pub name: String,
    /// Who holds it; `null` when it is free.
    pub holder: Option<LockHolder>,
    /// How many stand in line behind the holder.
    pub waiting: u64,
}

/// The answer to `DELETE /v1/ns/{ns}/locks/{name}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LockReleased {
    /// The lock.
    pub name: String,
    /// Always true: a lock that was not held is a 409.
    pub released: bool,
}
