//! What can go wrong with a call, and what became of the request.
//!
//! Promises: [`ClientError::outcome`] is `NotApplied` only when that is certain: the server said
//! so, or the request never left this machine.

use super::Place;
use super::send::Answer;
use crate::wire::{Outcome, Problem};

/// A call that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The endpoint is not one.
    #[error("\"{endpoint}\" is not an endpoint; give http://HOST:PORT of a node")]
    Endpoint {
        /// As given.
        endpoint: String,
    },
    /// The key is empty, or a lock's name is one that no URL can carry: parsers take `.` and `..`
    /// for steps in the path, however encoded.
    #[error("a key must not be empty, and a lock's name neither \".\" nor \"..\"; choose another")]
    Key,
    /// The idempotency key is not one.
    #[error("an idempotency key has 1 to 255 printable characters without blanks; choose another")]
    IdempotencyKey,
    /// The request surely did not reach the node.
    #[error("{endpoint} cannot be reached ({reason}); is the node running?")]
    Unreachable {
        /// Who was asked.
        endpoint: String,
        /// What the network said.
        reason: String,
    },
    /// The request was sent, or may have been, and no answer came.
    #[error("{endpoint} gave no answer ({reason})")]
    NoAnswer {
        /// Who was asked.
        endpoint: String,
        /// What the network said.
        reason: String,
    },
    /// The node answered with an error.
    #[error("{} ({}, HTTP {})", problem.detail, problem.code, problem.status)]
    Refused {
        /// The node's words.
        problem: Box<Problem>,
        /// What the answer reflects.
        place: Place,
    },
    /// The node answered something that this client does not understand.
    #[error("{endpoint} answered HTTP {status} without a known body; is it a tetrarch node?")]
    Strange {
        /// Who was asked.
        endpoint: String,
        /// Its status.
        status: u16,
    },
    /// A try may have taken effect, and until the deadline no node could say whether it did.
    #[error("whether it took effect could not be learnt in time; last: {last}")]
    Unsure {
        /// How the last try ended.
        last: Box<Self>,
    },
    /// The stream ended without its last line: what came before it is right, but not all.
    #[error("the answer of {endpoint} was cut off ({reason}); ask again")]
    CutOff {
        /// Who was asked.
        endpoint: String,
        /// What is missing.
        reason: String,
    },
    /// The history needed is gone. A watch can start over from `restart`, after the keys were read
    /// anew; a scan must start over.
    #[error("{} ({})", problem.detail, problem.code)]
    Gone {
        /// The node's words.
        problem: Box<Problem>,
        /// The oldest cursor from which a watch can go on.
        restart: Option<String>,
    },
    /// The lease ended or could not be renewed in time: whatever it protected is no longer ours.
    #[error("lease {id} is lost ({reason})")]
    LeaseLost {
        /// The lease.
        id: String,
        /// How that is known.
        reason: String,
    },
    /// The time was up before anything could be sent.
    #[error("the time was up before a node could be asked")]
    TimeUp,
}

impl ClientError {
    pub(super) fn refused(endpoint: &str, error: &reqwest::Error) -> Self {
        Self::Unreachable { endpoint: endpoint.to_owned(), reason: reason(error) }
    }

    /// The error that an answer with an error status is. A HEAD has no body, and its 404 can only
    /// be read by its status.
    pub(super) fn of(answer: &Answer, head: bool) -> Self {
        let place = answer.place();
        if let Ok(problem) = serde_json::from_slice::<Problem>(&answer.body) {
            if answer.status == 410 {
                let restart = problem.restart.clone();
                return Self::Gone { problem: Box::new(problem), restart };
            }
            return Self::Refused { problem: Box::new(problem), place };
        }
        if head && answer.status == 404 {
            let problem = Problem {
                kind: "urn:tetrarch:problem:key_not_found".to_owned(),
                title: "no such key".to_owned(),
                status: 404,
                detail: "there is no such key".to_owned(),
                code: KEY_NOT_FOUND.to_owned(),
                outcome: Outcome::NotApplied,
                request_id: String::new(),
                leader: None,
                retry_after: None,
                groups: None,
                restart: None,
                holder: None,
            };
            return Self::Refused { problem: Box::new(problem), place };
        }
        Self::Strange { endpoint: answer.endpoint.clone(), status: answer.status }
    }

    /// What became of the request.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Endpoint { .. }
            | Self::Key
            | Self::IdempotencyKey
            | Self::Unreachable { .. }
            | Self::LeaseLost { .. }
            | Self::TimeUp => Outcome::NotApplied,
            Self::NoAnswer { .. } | Self::Unsure { .. } | Self::CutOff { .. } => Outcome::Unknown,
            Self::Refused { problem, .. } | Self::Gone { problem, .. } => problem.outcome,
            // Something between us and the node may have spoken; only a refusal of the request
            // itself is certain.
            Self::Strange { status, .. } if (400..500).contains(status) => Outcome::NotApplied,
            Self::Strange { status, .. } if (200..300).contains(status) => Outcome::Applied,
            Self::Strange { .. } => Outcome::Unknown,
        }
    }

    /// Whether the same request may have better luck later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Endpoint { .. }
            | Self::Key
            | Self::IdempotencyKey
            | Self::Unsure { .. }
            | Self::Gone { .. }
            | Self::LeaseLost { .. }
            | Self::TimeUp => false,
            Self::Unreachable { .. } | Self::NoAnswer { .. } | Self::CutOff { .. } => true,
            // Done; a repetition at another node would do it once more.
            Self::Refused { problem, .. } if problem.outcome == Outcome::Applied => false,
            // That this release cannot do something will not pass.
            Self::Refused { problem, .. } if matches!(problem.status, 501 | 507) => false,
            Self::Refused { problem, .. } => problem.status >= 500 || problem.status == 429,
            Self::Strange { status, .. } => *status >= 500,
        }
    }

    /// Whether a final refusal is the request's own result in the group's order, so that it also says
    /// what became of earlier tries of the same request: with the same name it has one result.
    pub(super) fn comes_from_the_order(&self) -> bool {
        match self {
            Self::Refused { problem, .. } => !OUT_OF_ORDER.contains(&problem.code.as_str()),
            _ => false,
        }
    }

    /// The machine-readable name of the error, when a node gave one.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { problem, .. } | Self::Gone { problem, .. } => Some(&problem.code),
            Self::Unsure { last } => last.code(),
            _ => None,
        }
    }

    /// Whether the node says that there is no such key (and not, say, no such namespace).
    pub fn is_missing_key(&self) -> bool {
        matches!(self, Self::Refused { problem, .. } if problem.code == KEY_NOT_FOUND)
    }

    /// Whether a condition (`if_match`, `if_none_match`) did not hold.
    pub fn is_unmet(&self) -> bool {
        matches!(self, Self::Refused { problem, .. } if problem.status == 412)
    }

    /// Whether there is no such lease, so that all that it held is gone.
    pub fn is_missing_lease(&self) -> bool {
        matches!(self, Self::Refused { problem, .. } if problem.code == LEASE_NOT_FOUND)
    }

    /// Whether somebody else holds the lock.
    pub fn is_lock_held(&self) -> bool {
        matches!(self, Self::Refused { problem, .. } if problem.code == LOCK_HELD)
    }

    /// What the answer reflects, if there was one.
    pub fn place(&self) -> Place {
        match self {
            Self::Refused { place, .. } => *place,
            _ => Place::default(),
        }
    }
}

const KEY_NOT_FOUND: &str = "key_not_found";
const LEASE_NOT_FOUND: &str = "lease_not_found";
const LOCK_HELD: &str = "lock_held";

/// Refusals that a node gives before it asks the group: another try may have got further.
const OUT_OF_ORDER: &[&str] = &["namespace_not_found", "idempotency_mismatch", "not_found"];

/// The innermost cause: the outer ones only say that a request failed.
pub(super) fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
