//! Writing a copy.
//!
//! Promises: what is flushed and applied, and nothing else (R4); operations only if the log reaches
//! back to what the other has (R2), and rows otherwise; holds one batch or page. Nothing is kept for a
//! copy that is being written: if the log is trimmed under it, it ends without its end, and the next
//! one has rows.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;

use super::form::{CopyHead, Origin, Writer};
use crate::convergence::shard::Shard;
use crate::convergence::words::{LogGone, ReadError, SnapshotPage};
use crate::model::eventual::Vector;
use crate::runtime::limits::{SNAPSHOT_PAGE_BYTES, STREAM_BATCH_BYTES};

/// A copy that is being written.
pub struct Giving {
    shard: Shard,
    since: Vector,
    vector: Vector,
    /// What is written and not yet given.
    ready: VecDeque<Bytes>,
    /// What is left; none after the end.
    rest: Option<(Writer, Rest)>,
}

enum Rest {
    /// Operations from here to there.
    Ops { from: u64, to: u64 },
    /// Rows from here; none after the last.
    Rows { from: Option<Bytes> },
}

impl fmt::Debug for Giving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Giving").field("shard", &self.shard).finish_non_exhaustive()
    }
}

impl Giving {
    /// A copy of what the shard has and `since` lacks.
    ///
    /// # Errors
    ///
    /// When the rows cannot be read.
    pub async fn begin(
        shard: Shard,
        name: &str,
        cluster: u64,
        since: Vector,
    ) -> Result<Self, ReadError> {
        let head = CopyHead {
            namespace: name.to_owned(),
            origin: Origin { cluster, namespace: shard.namespace() },
            data_type: shard.data_type(),
            source: shard.actor(),
            since: Vector::default(),
            vector: (*shard.vector()).clone(),
            rows: None,
        };
        if let Some(from) = shard.seek(&since) {
            // What is in the vector is in the log by now.
            let rest = Rest::Ops { from, to: shard.log_tail() };
            return Ok(Self::of(shard, CopyHead { since, ..head }, rest, None));
        }
        // Before the first row: a beat that is newer than the vector would claim what is not sent.
        let heads = shard.heads();
        let first = shard.snapshot_page(None, None, SNAPSHOT_PAGE_BYTES).await?;
        let (vector, from) = (first.vector.clone(), first.to.clone());
        let head = CopyHead { vector, rows: Some(Box::new(heads)), ..head };
        Ok(Self::of(shard, head, Rest::Rows { from }, Some(first)))
    }

    fn of(shard: Shard, head: CopyHead, rest: Rest, first: Option<SnapshotPage>) -> Self {
        let (since, vector) = (head.since.clone(), head.vector.clone());
        let (mut writer, begin) = Writer::begin(head);
        let mut ready = VecDeque::from([begin]);
        ready.extend(first.map(|page| writer.page(page)));
        Self { shard, since, vector, ready, rest: Some((writer, rest)) }
    }

    /// What whoever takes all of it has then.
    pub const fn vector(&self) -> &Vector {
        &self.vector
    }

    /// Whether it holds rows.
    pub const fn is_rows(&self) -> bool {
        matches!(self.rest, Some((_, Rest::Rows { .. })))
    }

    /// The next bytes; `None` after the end.
    ///
    /// # Errors
    ///
    /// When the log or the rows cannot be read: the copy has no end then.
    pub async fn next(&mut self) -> Result<Option<Bytes>, LogGone> {
        if let Some(ready) = self.ready.pop_front() {
            return Ok(Some(ready));
        }
        let Some((mut writer, rest)) = self.rest.take() else { return Ok(None) };
        match rest {
            Rest::Ops { from, to } if from <= to => {
                let (ops, next) = self.read(from, to).await?;
                if ops.is_empty() {
                    return Ok(Some(writer.end()));
                }
                let bytes = writer.ops(&ops);
                self.rest = Some((writer, Rest::Ops { from: next, to }));
                Ok(Some(bytes))
            }
            Rest::Rows { from: Some(from) } => {
                let page = self.shard.snapshot_page(Some(from), None, SNAPSHOT_PAGE_BYTES).await?;
                let rest = Rest::Rows { from: page.to.clone() };
                let bytes = writer.page(page);
                self.rest = Some((writer, rest));
                Ok(Some(bytes))
            }
            _ => Ok(Some(writer.end())),
        }
    }

    /// The operations of the next part of the log that the other lacks, and where to go on.
    async fn read(&self, mut from: u64, to: u64) -> Result<(Vec<Bytes>, u64), LogGone> {
        loop {
            let part = self.shard.read_ops(from, STREAM_BATCH_BYTES)?;
            if part.next <= from {
                return Err(LogGone::Trimmed);
            }
            let next = part.next;
            let lacking = part.ops.into_iter().filter(|op| !self.since.covers(op.dot));
            let ops: Vec<Bytes> = lacking.map(|op| op.bytes).collect();
            // None at all means that nothing is left.
            if !ops.is_empty() || next > to {
                return Ok((ops, next));
            }
            from = next;
            // Much of the log may be passed over; others want the thread, too.
            tokio::task::yield_now().await;
        }
    }
}
