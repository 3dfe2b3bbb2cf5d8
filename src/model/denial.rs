//! Why a write that could be understood was not done.
//!
//! Promises: every denial has a code that never changes, for programs, and says what is wrong, for
//! people. Nothing was changed by what was denied. Variants that later releases add go to the end.

use serde::{Deserialize, Serialize};

use super::lease::LeaseId;
use super::number::NumberFault;

/// Why a write was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Denial {
    /// The namespace may not grow in this group.
    #[error("the namespace has {used} bytes in this group, of {limit} that it may have")]
    Quota {
        /// Bytes of keys and values in this group, without this write.
        used: u64,
        /// Its quota.
        limit: u64,
    },
    /// The value would be longer than the namespace takes.
    #[error("the value would be longer than {limit} bytes")]
    TooLarge {
        /// The longest that it takes.
        limit: u64,
    },
    /// The patch is none, or does not fit the value.
    #[error("{reason}")]
    Patch {
        /// Which of the two.
        fault: PatchFault,
        /// What is wrong.
        reason: String,
    },
    /// The value is no number that can be counted with, or the sum would not be one.
    #[error("the number cannot be changed so: {fault}")]
    NotANumber {
        /// What is wrong.
        fault: NumberFault,
    },
    /// There is no such lease, or it is the own lease of a key.
    #[error("there is no lease {0}")]
    NoLease(LeaseId),
    /// The lease exists with another time.
    #[error("the lease exists, and lives {ttl_ms} ms")]
    LeaseExists {
        /// How long it lives.
        ttl_ms: u64,
    },
    /// Too much depends on the lease already.
    #[error("{limit} keys and locks depend on the lease already")]
    TooManyKeys {
        /// The most that may.
        limit: u64,
    },
    /// The group has too many leases already.
    #[error("the group has {limit} leases already")]
    TooManyLeases {
        /// The most that it may have.
        limit: u64,
    },
    /// Too many wait for the lock already.
    #[error("{limit} wait for the lock already")]
    LockQueueFull {
        /// The most that may.
        limit: u64,
    },
    /// One key was named twice in one request.
    #[error("the key is named twice in one request")]
    DuplicateKey,
    /// A part of the request is longer than it may be.
    #[error("the {what} is longer than {limit} bytes")]
    TooLong {
        /// Which part.
        what: Part,
        /// The longest that it may be.
        limit: u64,
    },
    /// A precondition within a transaction did not hold.
    #[error("a precondition does not hold")]
    Unmet {
        /// The log index of the row that was found.
        row_at: Option<u64>,
        /// Its revision.
        revision: Option<u64>,
    },
    /// A time to live of nothing, or a lease id that is not for granting.
    #[error("{reason}")]
    Invalid {
        /// What is wrong.
        reason: String,
    },
}

/// What is wrong with a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PatchFault {
    /// It is no patch, whatever the value.
    Invalid,
    /// It does not fit the value.
    Conflict,
}

/// A bounded part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// A key or a lock's name.
    Key,
    /// A content type.
    ContentType,
    /// A lock's owner.
    Owner,
    /// An idempotency key.
    OnceKey,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Key => "key",
            Self::ContentType => "content type",
            Self::Owner => "owner",
            Self::OnceKey => "idempotency key",
        })
    }
}

impl Denial {
    /// The code, which never changes.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Quota { .. } => "quota_exceeded",
            Self::TooLarge { .. } => "value_too_large",
            Self::Patch { fault: PatchFault::Invalid, .. } => "patch_invalid",
            Self::Patch { fault: PatchFault::Conflict, .. } => "patch_conflict",
            Self::NotANumber { .. } => "not_a_number",
            Self::NoLease(_) => "lease_not_found",
            Self::LeaseExists { .. } => "lease_exists",
            Self::TooManyKeys { .. } => "lease_keys_exceeded",
            Self::TooManyLeases { .. } => "leases_exceeded",
            Self::LockQueueFull { .. } => "lock_queue_full",
            Self::DuplicateKey => "duplicate_key",
            Self::TooLong { .. } => "too_long",
            Self::Unmet { .. } => "precondition_failed",
            Self::Invalid { .. } => "invalid",
        }
    }
}
