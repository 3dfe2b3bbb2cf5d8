//! openraft's log storage over the node's one shared log.
//!
//! Promises: an entry is readable when `append` returns and reported flushed only when it is
//! durable, strictly in the order of the log; votes take the same queue. The committed mark is
//! written without a sync of its own: it may be behind after a power cut, which is why a restarted
//! leader must be elected again (`enable_leader_restore` is off).
//! Relies on: `storage::log`, whose writer completes in queue order and poisons itself on failure.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use futures_util::{Stream, stream};
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::{LogState, OptionalSend};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::codec;
use super::types::{Entry, LeaderId, LogId, TypeConfig, Vote};
use crate::model::GroupId;
use crate::runtime::limits;
use crate::runtime::planted::{self, Bug};
use crate::storage::StorageError;
use crate::storage::log::{Entry as Record, Flushed, Log, Mark};

/// The highest vote that this process has begun to write for a group: known before anybody can be
/// told of the vote, and so before openraft's own metrics say so.
pub type Promised = Arc<Mutex<Option<LeaderId>>>;

/// The log of one group.
#[derive(Clone, Debug)]
pub struct LogStore {
    log: Log,
    group: GroupId,
    promised: Promised,
}

impl LogStore {
    /// The log of `group` inside the node's log.
    pub fn new(log: Log, group: GroupId) -> Self {
        if planted::active(Bug::TruncateCommitted)
            && group != GroupId::SYSTEM
            && let Some(last) = log.state(group.0).last_index
        {
            log.truncate_after(group.0, Some(last.saturating_sub(4)));
        }
        Self { log, group, promised: Promised::default() }
    }

    /// What is promised to candidates; stays up to date.
    pub fn promised(&self) -> Promised {
        Arc::clone(&self.promised)
    }

    async fn flush(&self) -> Result<(), io::Error> {
        let (done, flushed) = completion();
        self.log.flush(done);
        durable(flushed).await
    }

    fn last_log_id(&self) -> Result<Option<LogId>, io::Error> {
        let state = self.log.state(self.group.0);
        let Some(last) = state.last_index else {
            return state.purged.map(|mark| decode_log_id(&mark.bytes)).transpose();
        };
        let entries = self.log.read(self.group.0, last, last + 1, usize::MAX)?;
        let entry = entries.first().ok_or_else(|| missing(self.group, last))?;
        codec::decode_entry_log_id(&entry.bytes).map(Some).map_err(invalid)
    }

    fn read(&self, from: u64, to: u64, bytes_max: usize) -> Result<Vec<Entry>, io::Error> {
        let records = self.log.read(self.group.0, from, to, bytes_max)?;
        records.iter().map(|r| codec::decode_entry(&r.bytes).map_err(invalid)).collect()
    }

    fn bounds(&self, range: &impl RangeBounds<u64>) -> (u64, u64) {
        let from = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index + 1,
            Bound::Unbounded => self.log.state(self.group.0).first_index.unwrap_or(0),
        };
        let to = match range.end_bound() {
            Bound::Included(index) => index + 1,
            Bound::Excluded(index) => *index,
            Bound::Unbounded => self.log.state(self.group.0).last_index.map_or(0, |last| last + 1),
        };
        (from, to)
    }
}

type Durable = Result<(), Arc<StorageError>>;

fn completion() -> (Flushed, oneshot::Receiver<Durable>) {
    let (done, flushed) = oneshot::channel();
    // The receiver is gone only when the group stops; nobody then waits for the flush.
    (Box::new(move |result| drop(done.send(result))), flushed)
}

async fn durable(flushed: oneshot::Receiver<Durable>) -> Result<(), io::Error> {
    match flushed.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(from_shared(&error)),
        Err(_closed) => Err(io::Error::other("the log writer has stopped")),
    }
}

fn decode_log_id(bytes: &[u8]) -> Result<LogId, io::Error> {
    codec::decode("log id", bytes).map_err(invalid)
}

fn invalid(error: codec::CodecError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn missing(group: GroupId, index: u64) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("group {group}: the log has no entry {index}, which it should have"),
    )
}

fn from_shared(error: &Arc<StorageError>) -> io::Error {
    io::Error::other(Arc::clone(error))
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, to) = self.bounds(&range);
        let store = self.clone();
        // In portions: after a restart the range may be the whole log, which is larger than memory.
        let portions = stream::unfold(Some(from), move |next| {
            let portion = next.filter(|from| *from < to).map(|from| {
                match store.read(from, to, limits::APPLY_READ_BYTES_MAX) {
                    Ok(entries) if entries.is_empty() => {
                        (vec![Err(missing(store.group, from))], None)
                    }
                    Ok(entries) => {
                        let next = from + entries.len() as u64;
                        (entries.into_iter().map(Ok).collect(), Some(next))
                    }
                    Err(error) => (vec![Err(error)], None),
                }
            });
            std::future::ready(portion)
        });
        Box::pin(futures_util::StreamExt::flat_map(portions, stream::iter))
    }

    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let (mut from, to) = self.bounds(&range);
        let mut all = Vec::new();
        while from < to {
            let entries = self.read(from, to, usize::MAX)?;
            if entries.is_empty() {
                break;
            }
            from += entries.len() as u64;
            all.extend(entries);
        }
        Ok(all)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        let entries = self.read(start, end, limits::APPEND_BYTES_MAX)?;
        // A purge may have come in between: a later start must not be taken for the one asked for.
        let starts_there = entries.first().is_some_and(|entry| entry.log_id.index == start);
        Ok(if starts_there { entries } else { Vec::new() })
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        if planted::active(Bug::ForgetVote) {
            return Ok(None);
        }
        let vote = self.log.state(self.group.0).vote;
        vote.map(|bytes| codec::decode("vote", &bytes).map_err(invalid)).transpose()
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let purged = self.log.state(self.group.0).purged;
        let last_purged_log_id = purged.map(|mark| decode_log_id(&mark.bytes)).transpose()?;
        let start = last_purged_log_id.map_or(0, |id| id.index + 1);
        if let Some(first) = self.log.state(self.group.0).first_index
            && first != start
        {
            return Err(missing(self.group, start));
        }
        Ok(LogState { last_purged_log_id, last_log_id: self.last_log_id()? })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        {
            let mut promised = self.promised.lock();
            *promised = (*promised).max(Some(vote.leader_id));
        }
        let (done, flushed) = completion();
        self.log.save_vote(self.group.0, codec::encode(vote), done);
        durable(flushed).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        if let Some(committed) = committed {
            self.log.save_committed(self.group.0, codec::encode(&committed));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        let state = self.log.state(self.group.0);
        let committed = state.committed.map(|bytes| decode_log_id(&bytes)).transpose()?;
        // The mark travels beside the entries; never claim more than the log holds.
        Ok(committed.min(self.last_log_id()?))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let records = entries
            .into_iter()
            .map(|entry| Record { index: entry.log_id.index, bytes: codec::encode_entry(&entry) })
            .collect();
        let done = Box::new(move |result: Result<(), Arc<StorageError>>| {
            callback.io_completed(result.map_err(|error| from_shared(&error)));
        });
        self.log.append(self.group.0, records, done);
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        self.log.truncate_after(self.group.0, last_log_id.map(|id| id.index));
        // Awaited: an installed checkpoint, or applied entries, may become durable before the log's
        // next batch does, and a log that still ends in the old term then contradicts them.
        self.flush().await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        let mark = Mark { index: log_id.index, bytes: codec::encode(&log_id) };
        // Not awaited: entries that come back after a crash because the purge was not yet durable
        // are behind a durable checkpoint and harmless.
        self.log.purge(self.group.0, mark, Box::new(|_result| {}));
        Ok(())
    }
}
