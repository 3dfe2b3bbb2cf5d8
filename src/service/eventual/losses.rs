//! What was lost in an eventual namespace: the fate of a write, all losses, their totals, restoring.
//!
//! Promises: as the shard's; a cursor goes on at any node, where losses came on record in another
//! order and some may be told again.

use bytes::Bytes;

use crate::convergence::{ConflictPage, FateView, LogGone, LossTotals, LostSince, Wrote};
use crate::model::eventual::{Dot, LostRecord, Member};
use crate::runtime::limits::SCAN_PAGE_BYTES_MAX;
use crate::service::ask::Context;
use crate::service::cursor::{ScanCursor, query_of};
use crate::service::error::{ErrorKind, Gone, ServiceError};

use super::Space;
use super::keys::{refused, unread};

/// A page of losses.
#[derive(Clone, Debug)]
pub struct Losses {
    /// The oldest writes first.
    pub records: Vec<LostRecord>,
    /// Where the next page begins.
    pub next: Option<String>,
}

impl Space {
    /// What became of a write to a key, as far as this node has heard.
    ///
    /// # Errors
    ///
    /// When the session asks for more than is here in time.
    pub async fn fate(
        &self,
        dot: Dot,
        key: &Bytes,
        context: &Context,
    ) -> Result<FateView, ServiceError> {
        self.admit(key)?;
        self.reach(None, context).await?;
        let (shard, key) = (self.shard.clone(), key.clone());
        self.hall.env.tasks.blocking(move || shard.fate(dot, &key)).await.map_err(unread)
    }

    /// Losses of keys that begin so.
    ///
    /// # Errors
    ///
    /// When the cursor is none of this question.
    pub async fn losses(
        &self,
        prefix: &Bytes,
        limit: usize,
        cursor: Option<&str>,
        context: &Context,
    ) -> Result<Losses, ServiceError> {
        self.reach(None, context).await?;
        let question = query_of(&[b"conflicts", prefix]);
        let from = cursor.map(|text| ScanCursor::decode(text, self.scope(), question));
        let from = from
            .transpose()
            .map_err(|error| ErrorKind::InvalidCursor { reason: error.to_string() })?;
        let from = from.map(|cursor| cursor.edge);
        let page = self.shard.conflicts(from, limit, prefix.clone()).await.map_err(unread)?;
        let ConflictPage { records, next } = page;
        let next = next.map(|edge| {
            let scope = self.scope();
            ScanCursor { scope, query: question, edge, view: None }.encode()
        });
        Ok(Losses { records, next })
    }

    /// Where losses that come on record from now on will be found.
    pub fn losses_from_now(&self) -> u64 {
        self.shard.log_tail() + 1
    }

    /// The cursor of who has been told all before a place in this node's log.
    pub fn losses_bookmark(&self, prefix: &Bytes, at: u64) -> String {
        let (scope, query) = (self.scope(), self.question_of_log(prefix));
        let edge = Bytes::copy_from_slice(&at.to_be_bytes());
        ScanCursor { scope, query, edge, view: None }.encode()
    }

    /// The place of such a cursor, if it is one of this node.
    pub fn losses_place(&self, prefix: &Bytes, cursor: &str) -> Option<u64> {
        let query = self.question_of_log(prefix);
        let cursor = ScanCursor::decode(cursor, self.scope(), query).ok()?;
        cursor.edge.first_chunk::<8>().map(|at| u64::from_be_bytes(*at))
    }

    /// A number for the question what came on record here: each log has an order of its own.
    fn question_of_log(&self, prefix: &Bytes) -> u64 {
        let Member { node, home } = self.shard.member();
        query_of(&[b"conflicts of a log", prefix, &node.to_be_bytes(), &home.to_be_bytes()])
    }

    /// Losses that came on record here since, and where to go on.
    ///
    /// # Errors
    ///
    /// `CursorGone` when the log does not go back so far any more.
    pub async fn losses_since(&self, from: u64) -> Result<LostSince, ServiceError> {
        if self.hall.eventual.shard(self.id).is_none() {
            let reason = "the namespace is not open on this node any more".to_owned();
            return Err(ErrorKind::Unavailable { reason }.into());
        }
        if from > self.shard.log_tail() {
            return Ok(LostSince { records: Vec::new(), next: from });
        }
        let shard = self.shard.clone();
        let since = move || shard.lost_since(from, SCAN_PAGE_BYTES_MAX);
        self.hall.env.tasks.blocking(since).await.map_err(|gone| {
            let reason = gone.to_string();
            match gone {
                LogGone::Trimmed => {
                    ErrorKind::CursorGone { gone: Gone::History, reason, restart: None }.into()
                }
                LogGone::Unreadable(error) => unread(error),
            }
        })
    }

    /// How much was lost, of keys that begin so.
    ///
    /// # Errors
    ///
    /// When the session asks for more than is here in time.
    pub async fn totals(
        &self,
        prefix: &Bytes,
        context: &Context,
    ) -> Result<LossTotals, ServiceError> {
        self.reach(None, context).await?;
        self.shard.totals(prefix.clone()).await.map_err(unread)
    }

    /// Writes a lost value once more.
    ///
    /// # Errors
    ///
    /// When there is no such loss on record here, or its value is not kept any more.
    pub async fn restore(
        &self,
        key: Bytes,
        dot: Dot,
        context: &Context,
    ) -> Result<Wrote, ServiceError> {
        self.admit(&key)?;
        self.reach(None, context).await?;
        self.shard.restore(key, dot, context.deadline).await.map_err(refused)
    }
}
