//! What can go wrong with a call, and what became of the request.
//!
//! Promises: [`ClientError::outcome`] is `NotApplied` only when that is certain: the server said
//! so, or the request never left this machine.

use super::send::Answer;
use super::{Place, ReadMode};
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
    /// No URL can carry the key: parsers take `.` and `..` for steps in the path, however encoded.
    #[error("a key must not be empty, \".\" or \"..\": no URL can carry it; choose another")]
    Key,
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
            Self::Endpoint { .. } | Self::Key | Self::Unreachable { .. } | Self::TimeUp => {
                Outcome::NotApplied
            }
            Self::NoAnswer { .. } => Outcome::Unknown,
            Self::Refused { problem, .. } => problem.outcome,
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
            Self::Endpoint { .. } | Self::Key | Self::TimeUp => false,
            Self::Unreachable { .. } | Self::NoAnswer { .. } => true,
            Self::Refused { problem, .. } => problem.status >= 500 || problem.status == 429,
            Self::Strange { status, .. } => *status >= 500,
        }
    }

    /// Whether the node says that there is no such key (and not, say, no such namespace).
    pub fn is_missing_key(&self) -> bool {
        matches!(self, Self::Refused { problem, .. } if problem.code == KEY_NOT_FOUND)
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

/// The innermost cause: the outer ones only say that a request failed.
pub(super) fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

impl std::fmt::Display for ReadMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Linearizable => "linearizable",
            Self::Stale => "stale",
        })
    }
}
