//! What a group refuses, in the hall's words.
//!
//! Promises: every denial has its own kind or keeps its own code; none of them changed anything.

use crate::model::{Denial, GroupId, PatchFault};

use super::ask::EntityTag;
use super::error::ErrorKind;

/// The error that a client is told. `namespace` is its name, for what concerns one.
pub(super) fn denied(namespace: &str, group: GroupId, denial: Denial) -> ErrorKind {
    match denial {
        Denial::Quota { used, limit } => {
            ErrorKind::Quota { name: namespace.to_owned(), used, limit }
        }
        Denial::TooLarge { limit } => ErrorKind::TooLarge { limit },
        Denial::Patch { fault, reason } => {
            ErrorKind::Patch { conflict: fault == PatchFault::Conflict, reason }
        }
        denial @ Denial::NotANumber { .. } => {
            ErrorKind::Patch { conflict: true, reason: denial.to_string() }
        }
        Denial::NoLease(id) => ErrorKind::NoLease { id },
        Denial::Unmet { row_at, revision } => {
            let tag = row_at.map(|at| EntityTag { group, at });
            ErrorKind::Unmet { tag, revision }
        }
        Denial::Invalid { reason } => ErrorKind::Invalid { reason },
        // The hall looks first, so that only a limit that shrank on the way ends here.
        denial @ (Denial::TooLong { .. } | Denial::DuplicateKey) => {
            ErrorKind::Invalid { reason: denial.to_string() }
        }
        denial => ErrorKind::Denied { code: denial.code(), reason: denial.to_string() },
    }
}
