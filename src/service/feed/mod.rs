//! What scans and watches stand on: questions for groups, answered by whichever replica can.
//!
//! ```text
//!   scan, watch ---> Reach ---> answer            this node's replica
//!                          '--> FEED ---> answer  another node's, which never passes it on
//! ```
//!
//! Promises: an answer is never older than asked for; a replica whose history is trimmed too far is
//! no reason to give up while another one has it. Relies on: the catalog for who has replicas.

pub(super) mod answer;
pub(super) mod ask;
mod fold;
mod local;
pub(super) mod place;
pub(super) mod reach;

use std::fmt::Debug;

use async_trait::async_trait;

use crate::model::GroupId;
use crate::runtime::Moment;

pub use ask::Show;
pub use local::LocalFeed;

pub(super) use ask::{Answer, Ask, ChangesAnswer, ChangesAsk, Fold, PageAnswer, PageAsk, PageItem};
pub(super) use fold::edge_after;
pub(super) use reach::HallReach;

/// Why a group did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FeedError {
    /// No replica's history reaches back so far.
    #[error("the history of group {group} begins after index {floor}")]
    Gone {
        /// The group.
        group: GroupId,
        /// The oldest that one of them has.
        floor: u64,
        /// Whether all of them have said so: one that was not reached may still have it.
        all: bool,
    },
    /// None could answer in time.
    #[error("group {group}: {reason}")]
    Unavailable {
        /// The group.
        group: GroupId,
        /// The last obstacle.
        reason: String,
    },
    /// An answer makes no sense.
    #[error("group {group}: {reason}")]
    Broken {
        /// The group.
        group: GroupId,
        /// What is wrong with it.
        reason: String,
    },
}

/// The way to the groups, wherever their replicas are.
#[async_trait]
pub(super) trait Reach: Send + Sync + Debug {
    /// Has a replica answer: the nearest, or another one when that one cannot. Cancel-safe.
    async fn ask(&self, group: GroupId, ask: Ask, deadline: Moment) -> Result<Answer, FeedError>;
}

/// The answer to a question for a page or a count.
pub(super) async fn ask_page(
    reach: &dyn Reach,
    group: GroupId,
    ask: Ask,
    deadline: Moment,
) -> Result<PageAnswer, FeedError> {
    match reach.ask(group, ask, deadline).await? {
        Answer::Page(page) => Ok(page),
        other => Err(misfit(group, &other)),
    }
}

/// The answer to a question for changes.
pub(super) async fn ask_changes(
    reach: &dyn Reach,
    group: GroupId,
    ask: ChangesAsk,
    deadline: Moment,
) -> Result<ChangesAnswer, FeedError> {
    match reach.ask(group, Ask::Changes(ask), deadline).await? {
        Answer::Changes(changes) => Ok(changes),
        other => Err(misfit(group, &other)),
    }
}

/// The index that a linearizable read of the group must reflect.
pub(super) async fn read_index(
    reach: &dyn Reach,
    group: GroupId,
    deadline: Moment,
) -> Result<u64, FeedError> {
    match reach.ask(group, Ask::ReadIndex, deadline).await? {
        Answer::Index(index) => Ok(index),
        other => Err(misfit(group, &other)),
    }
}

fn misfit(group: GroupId, answer: &Answer) -> FeedError {
    let kind = match answer {
        Answer::Index(_) => "an index",
        Answer::Page(_) => "a page",
        Answer::Changes(_) => "changes",
        Answer::Declined(_) => "a refusal",
    };
    FeedError::Broken { group, reason: format!("the question was answered by {kind}") }
}
