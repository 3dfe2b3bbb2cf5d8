//! What the hall answers when it cannot do what was asked, and what the client may conclude.
//!
//! Promises: every error says its outcome. `NotApplied` is said only where nothing was handed to a
//! group, or where the group surely refused it; everything else is `Unknown`.

use crate::model::{GroupId, NodeId};
use crate::placement::RefusalCode;

/// How a client must treat a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It took effect.
    Applied,
    /// It surely took no effect: repeating it is safe.
    NotApplied,
    /// It may or may not have taken effect, or may still do so.
    Unknown,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// The request makes no sense.
    #[error("{reason}")]
    Invalid {
        /// What to change.
        reason: String,
    },
    /// There is no such namespace.
    #[error("there is no namespace {name:?}")]
    NamespaceNotFound {
        /// The name that was asked for.
        name: String,
    },
    /// The namespace's mode cannot do this in this release.
    #[error("namespace {name:?} is eventual, which this release does not serve")]
    ModeUnsupported {
        /// The namespace.
        name: String,
    },
    /// The key is longer than its namespace allows.
    #[error("the key has {bytes} bytes, the limit is {limit}")]
    KeyTooLong {
        /// Length of the key.
        bytes: u64,
        /// The longest that is taken.
        limit: u64,
    },
    /// The value is longer than its namespace allows.
    #[error("the value is longer than the limit of {limit} bytes")]
    TooLarge {
        /// The longest that is taken.
        limit: u64,
    },
    /// What the cursor points into is not kept any more.
    #[error("{reason}")]
    CursorGone {
        /// Of which kind it is.
        gone: Gone,
        /// What was lost.
        reason: String,
        /// Where to go on from, when there is such a place.
        restart: Option<String>,
    },
    /// The cursor is none, or not one for this request.
    #[error("{reason}")]
    InvalidCursor {
        /// What is wrong with it.
        reason: String,
    },
    /// The namespace keeps no history.
    #[error("namespace {name:?} keeps no history: it cannot be watched")]
    HistoryOff {
        /// The namespace.
        name: String,
    },
    /// This node serves as many watches as it may.
    #[error("this node serves {limit} watches already")]
    TooManyWatches {
        /// How many it serves.
        limit: usize,
    },
    /// The cluster refused a change of the catalog.
    #[error("{reason}")]
    Refused {
        /// Why, for programs.
        code: RefusalCode,
        /// Why, for people.
        reason: String,
    },
    /// No leader, no quorum, starting or stopping, and the time ran out before anything was
    /// proposed.
    #[error("{reason}")]
    Unavailable {
        /// What was missing.
        reason: String,
    },
    /// Too much waits already.
    #[error("{reason}")]
    Overloaded {
        /// Which queue was full.
        reason: String,
    },
    /// Handed over, and no answer came.
    #[error("{reason}")]
    Undetermined {
        /// What happened.
        reason: String,
    },
    /// Something is broken here.
    #[error("{reason}")]
    Internal {
        /// For the log; clients see the request id only.
        reason: String,
    },
}

/// What a cursor can have lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// A scan's view.
    View,
    /// Changes that a watch has not seen.
    History,
}

/// An error, and what is known of the group that it concerns.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct ServiceError {
    /// What went wrong.
    pub kind: ErrorKind,
    /// The group that the request belongs to, once that was known.
    pub group: Option<GroupId>,
    /// Who leads it, as far as this node knows.
    pub leader: Option<NodeId>,
}

impl From<ErrorKind> for ServiceError {
    fn from(kind: ErrorKind) -> Self {
        Self { kind, group: None, leader: None }
    }
}

impl ServiceError {
    /// What the client may conclude.
    pub fn outcome(&self) -> Outcome {
        match &self.kind {
            ErrorKind::Undetermined { .. } | ErrorKind::Internal { .. } => Outcome::Unknown,
            ErrorKind::Invalid { .. }
            | ErrorKind::NamespaceNotFound { .. }
            | ErrorKind::ModeUnsupported { .. }
            | ErrorKind::KeyTooLong { .. }
            | ErrorKind::TooLarge { .. }
            | ErrorKind::Refused { .. }
            | ErrorKind::Unavailable { .. }
            | ErrorKind::Overloaded { .. }
            | ErrorKind::CursorGone { .. }
            | ErrorKind::InvalidCursor { .. }
            | ErrorKind::HistoryOff { .. }
            | ErrorKind::TooManyWatches { .. } => Outcome::NotApplied,
        }
    }

    /// The machine-readable name of the error; contract.
    pub fn code(&self) -> &'static str {
        match &self.kind {
            ErrorKind::Invalid { .. } => "invalid",
            ErrorKind::NamespaceNotFound { .. } => "namespace_not_found",
            ErrorKind::ModeUnsupported { .. } => "mode_unsupported",
            ErrorKind::KeyTooLong { .. } => "key_too_long",
            ErrorKind::TooLarge { .. } => "too_large",
            ErrorKind::Refused { .. } => "refused",
            ErrorKind::CursorGone { gone: Gone::View, .. } => "view_gone",
            ErrorKind::CursorGone { gone: Gone::History, .. } => "history_trimmed",
            ErrorKind::InvalidCursor { .. } => "invalid_cursor",
            ErrorKind::HistoryOff { .. } => "watch_off",
            ErrorKind::TooManyWatches { .. } => "too_many_watches",
            ErrorKind::Unavailable { .. } => "unavailable",
            ErrorKind::Overloaded { .. } => "overloaded",
            ErrorKind::Undetermined { .. } => "undetermined",
            ErrorKind::Internal { .. } => "internal",
        }
    }

    pub(super) fn about(mut self, group: GroupId, leader: Option<NodeId>) -> Self {
        self.group = Some(group);
        self.leader = self.leader.or(leader);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_handed_over_has_an_unknown_outcome() {
        let reason = String::new();
        for (kind, outcome) in [
            (ErrorKind::Unavailable { reason: reason.clone() }, Outcome::NotApplied),
            (ErrorKind::Overloaded { reason: reason.clone() }, Outcome::NotApplied),
            (ErrorKind::Undetermined { reason: reason.clone() }, Outcome::Unknown),
            (ErrorKind::Internal { reason }, Outcome::Unknown),
            (ErrorKind::TooLarge { limit: 1 }, Outcome::NotApplied),
        ] {
            assert_eq!(ServiceError::from(kind.clone()).outcome(), outcome, "{kind:?}");
        }
    }
}
