//! Taking a copy in.
//!
//! Promises: what does not fit is refused before anything of it is taken; of a copy that turns out to
//! be damaged or cut, what came before stays, and is what it was at the source: operations count,
//! and rows are older knowledge that the vector does not claim (R1). No state sync runs beside the
//! taking of rows (R7). Relies on the form for what belongs together.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use super::form::{CopyHead, Damage, Part, Reader};
use crate::convergence::stream::exchange::{Exchange, SyncTo};
use crate::convergence::stream::pace::time_of;
use crate::convergence::words::{SnapshotPage, Stop};
use crate::model::eventual::{DataType, Vector};
use crate::runtime::Moment;
use crate::runtime::limits::{COPY_RATE_MIN, COPY_STALL_MAX, COPY_TURN_MAX};

/// What came of a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Operations that were news here.
    pub applied: u64,
    /// Operations that were known.
    pub known: u64,
    /// Operations that wait, for others or for their time.
    pub waiting: u64,
    /// Pages of rows.
    pub pages: u64,
    /// What is known here now.
    pub vector: Arc<Vector>,
}

/// Why a copy was not taken, or not to its end.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct Untaken {
    /// What is wrong.
    pub why: Untaking,
    /// Whether something of it was taken before that.
    pub partly: bool,
}

/// What can be wrong with a copy.
#[derive(Debug, thiserror::Error)]
pub enum Untaking {
    /// It cannot be read.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// It is of another type.
    #[error("it is a copy of a namespace of type {theirs:?}, and this one is of type {ours:?}")]
    Type {
        /// Of the copy.
        theirs: DataType,
        /// Of the namespace.
        ours: DataType,
    },
    /// It is of another namespace of the same cluster.
    #[error(
        "it is a copy of another namespace of this cluster ({0:?}): their writes have the same \
             names, and would be taken for each other"
    )]
    Sister(String),
    /// Something is missing before it.
    #[error(
        "it begins after {missing} writes that this node does not have: take that copy first, \
             or write one that begins earlier"
    )]
    Gap {
        /// How many writes.
        missing: u64,
    },
    /// This node takes no writes of others but over its link.
    #[error("this node is a read replica of the namespace")]
    Reader,
    /// There is no room for what would have to wait.
    #[error("too many of its writes would have to wait for others or for their time")]
    Full,
    /// Other rows are being taken.
    #[error("another state sync of the namespace is under way")]
    Busy,
    /// Nothing more came, or an error.
    #[error("it did not come to its end: {0}")]
    Body(String),
    /// The shard takes nothing more.
    #[error(transparent)]
    Stop(#[from] Stop),
}

/// Takes a copy in, piece by piece as it comes.
///
/// # Errors
///
/// See [`Untaking`]; what was taken before an error stays.
pub async fn take(
    exchange: &Exchange,
    cluster: u64,
    mut pieces: impl Stream<Item = Result<Bytes, String>> + Unpin,
) -> Result<Taken, Untaken> {
    let mut taking =
        Taking { exchange, cluster, taken: Taken::default(), partly: false, rows: None };
    match taking.all(&mut pieces).await {
        Ok(()) => Ok(Taken { vector: exchange.shard.vector(), ..taking.taken }),
        Err(why) => Err(Untaken { why, partly: taking.partly }),
    }
}

struct Taking<'a> {
    exchange: &'a Exchange,
    cluster: u64,
    taken: Taken,
    partly: bool,
    rows: Option<Rows<'a>>,
}

/// Rows on their way.
struct Rows<'a> {
    head: Box<CopyHead>,
    /// Where the next page begins; none before the first.
    next: Option<Bytes>,
    under_way: SyncTo<'a>,
    turn: tokio::sync::SemaphorePermit<'a>,
    whole: bool,
}

impl Taking<'_> {
    async fn all(
        &mut self,
        pieces: &mut (impl Stream<Item = Result<Bytes, String>> + Unpin),
    ) -> Result<(), Untaking> {
        if self.exchange.shard.part().is_reader {
            return Err(Untaking::Reader);
        }
        let mut reader = Reader::new();
        let mut head = None;
        let mut since = self.exchange.env.clock.now();
        while let Some(piece) = self.piece(pieces, reader.held(), since).await? {
            reader.push(&piece);
            while let Some(part) = reader.next()? {
                self.part(part, &mut head).await?;
                since = self.exchange.env.clock.now();
            }
        }
        Ok(reader.finish()?)
    }

    /// The next piece. While rows are on their way, which keep all others from being taken, a part of
    /// them must come whole in a time that goes by what there is of it.
    async fn piece(
        &self,
        pieces: &mut (impl Stream<Item = Result<Bytes, String>> + Unpin),
        held: usize,
        since: Moment,
    ) -> Result<Option<Bytes>, Untaking> {
        let next = pieces.next();
        let piece = if self.rows.is_some() {
            let end = since + COPY_STALL_MAX + time_of(held, COPY_RATE_MIN);
            let left = end.since(self.exchange.env.clock.now());
            let slow = || format!("rows came with less than {COPY_RATE_MIN} bytes per second");
            let piece = tokio::time::timeout(left, next).await;
            piece.map_err(|_late| Untaking::Body(slow()))?
        } else {
            next.await
        };
        piece.transpose().map_err(Untaking::Body)
    }

    async fn part(&mut self, part: Part, head: &mut Option<Vector>) -> Result<(), Untaking> {
        const ORDER: Untaking = Untaking::Damaged(Damage::Broken("its parts are out of order"));
        match (part, head.is_some()) {
            (Part::Head(begin), false) => {
                *head = Some(begin.vector.clone());
                self.begin(begin).await
            }
            (Part::Ops(ops), true) if self.rows.is_none() => {
                // Also when it fails midway.
                let before = std::mem::replace(&mut self.partly, true);
                let came = self.exchange.take_copied(ops).await?.ok_or(Untaking::Full)?;
                self.partly = before || came.applied + came.waiting > 0;
                self.taken.applied += came.applied;
                self.taken.known += came.known;
                self.taken.waiting = came.waiting;
                Ok(())
            }
            (Part::Page(page), true) => self.page(page).await,
            (Part::End, true) => self.end().await,
            _ => Err(ORDER),
        }
    }

    async fn begin(&mut self, head: Box<CopyHead>) -> Result<(), Untaking> {
        let shard = &self.exchange.shard;
        if head.origin.cluster == self.cluster && head.origin.namespace != shard.namespace() {
            return Err(Untaking::Sister(head.namespace));
        }
        let (theirs, ours) = (head.data_type, shard.data_type());
        if theirs != ours {
            return Err(Untaking::Type { theirs, ours });
        }
        if head.rows.is_none() {
            let missing = shard.vector().missing(&head.since);
            return if missing == 0 { Ok(()) } else { Err(Untaking::Gap { missing }) };
        }
        let turn = tokio::time::timeout(COPY_TURN_MAX, self.exchange.turn()).await;
        let turn = turn.map_err(|_late| Untaking::Busy)?.ok_or(Untaking::Busy)?;
        let under_way = self.exchange.sync_to(&head.vector).await;
        self.rows = Some(Rows { head, next: None, under_way, turn, whole: false });
        Ok(())
    }

    async fn page(&mut self, page: Box<SnapshotPage>) -> Result<(), Untaking> {
        let wrong = |what| Err(Untaking::Damaged(Damage::Broken(what)));
        let Some(rows) = self.rows.as_mut() else { return wrong("it has rows nobody spoke of") };
        let is_first = self.taken.pages == 0;
        let fits = match &rows.next {
            _ if rows.whole || page.buckets.is_some() => false,
            None => is_first && page.is_first() && page.vector == rows.head.vector,
            Some(next) => *next == page.from,
        };
        if !fits {
            return wrong("its pages do not follow one another");
        }
        rows.next = page.to.clone();
        rows.whole = page.to.is_none();
        self.partly |= !page.entries.is_empty() || !page.lost.is_empty();
        self.taken.pages += 1;
        Ok(self.exchange.shard.merge(*page).await?)
    }

    async fn end(&mut self) -> Result<(), Untaking> {
        let Some(rows) = self.rows.take() else { return Ok(()) };
        let CopyHead { vector, rows: Some(heads), .. } = *rows.head else { return Ok(()) };
        if !rows.whole {
            return Err(Untaking::Damaged(Damage::Broken("not all pages are in it")));
        }
        let before = self.exchange.shard.vector();
        self.exchange.adopt(vector.0.keys().copied());
        let all = Vector::default().missing(&vector);
        self.taken.applied = before.missing(&vector);
        self.taken.known = all.saturating_sub(self.taken.applied);
        self.partly = true;
        self.exchange.shard.reached(vector, *heads).await?;
        drop(rows.under_way);
        drop(rows.turn);
        self.exchange.release().await?;
        Ok(())
    }
}
