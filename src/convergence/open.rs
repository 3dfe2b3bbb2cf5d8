//! Opening a shard: rows from the newest checkpoint, the rest from the log, sums from the rows.
//!
//! Why it exists: after any stop a shard is what its log comes to. Promises: everything that was ever
//! acknowledged is there; the actor goes on only if the last thing in the log is that the shard was
//! closed, and nothing on disk had to be distrusted. Relies on the log being cut only behind a durable
//! checkpoint.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::audit;
use super::clocks::Clocks;
use super::draft::{Draft, Place};
use super::rows::{OWN_KEY, Own};
use super::shard::{Counts, Inner, Live, Part, Shard};
use super::trail::Trail;
use super::words::{Base, ReadError};
use super::worker::{Worker, next_run};
use crate::model::NamespaceId;
use crate::model::codec;
use crate::model::eventual::{Actor, DataType, Head, Member, Record, Vector, rows};
use crate::runtime::Env;
use crate::runtime::limits::{EVENTUAL_QUEUE_MAX, EVENTUAL_TRIM_STEP_BYTES};
use crate::storage::State;
use crate::storage::checkpoint::Applied;
use crate::storage::log::{Log, Mark};

/// What a shard is opened from.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub(super) namespace: NamespaceId,
    pub(super) data_type: DataType,
    pub(super) member: Member,
    pub(super) log: Log,
    pub(super) state: State,
    pub(super) env: Env,
    pub(super) clocks: Arc<Clocks>,
    pub(super) part: Part,
}

const BASE: &str = "the base of an eventual log";

impl Base {
    /// The mark that stands where the log was cut.
    pub(super) fn mark(&self) -> Mark {
        Mark { index: self.index, bytes: codec::seal_whole(&self.vector, 64) }
    }

    fn of_mark(mark: &Mark) -> Result<Self, ReadError> {
        Ok(Self { index: mark.index, vector: codec::open_whole(BASE, &mark.bytes)? })
    }
}

/// Opens a shard. Blocks: it reads all rows, and the end of the log.
pub(super) fn open(parts: Parts) -> Result<(Shard, Worker), ReadError> {
    let Parts { namespace, data_type, member, log, state, env, clocks, part } = parts;
    let group = super::storage_group(namespace);
    let place = Place { state, group, data_type, member };
    let index = replay(&place, &log)?;
    let (head, own) = heads(&place)?;
    let (sums, _rows) = audit::sums(&place)?;
    let base = base(&log, &place, &own)?;
    let actor = actor(&place, &head, &own, env.clock.wall_ms());
    let vector = Arc::new(head.vector.clone());
    let mut trail = Trail::new(base);
    trail.reached(index, &vector);
    let (inbox, commands) = mpsc::channel(EVENTUAL_QUEUE_MAX);
    let (is_news, may_settle) = (true, true);
    let live = Live { head, own, vector: Arc::clone(&vector), sums, index, is_news, may_settle };
    let inner = Arc::new(Inner {
        namespace,
        place,
        log,
        env,
        clocks,
        part: RwLock::new(part),
        live: RwLock::new(live),
        actor: Mutex::new(actor),
        trail: Mutex::new(trail),
        seen: watch::Sender::new(vector),
        heard: watch::Sender::new(BTreeMap::new()),
        is_forked: AtomicBool::new(false),
        inbox,
        waiting: Arc::new(AtomicUsize::new(0)),
        stop: CancellationToken::new(),
        is_clean_stop: AtomicBool::new(false),
        ended: CancellationToken::new(),
        counts: Counts::default(),
    });
    let worker = Worker::new(Arc::clone(&inner), commands);
    Ok((Shard { inner }, worker))
}

fn heads(place: &Place) -> Result<(Head, Own), ReadError> {
    let head = place.get(rows::HEAD_KEY)?.as_ref().map(Head::decode).transpose()?;
    let own = place.get(OWN_KEY)?.as_ref().map(Own::decode).transpose()?;
    Ok((head.unwrap_or_default(), own.unwrap_or_default()))
}

/// Folds what the log has and the rows do not; returns the last entry.
fn replay(place: &Place, log: &Log) -> Result<u64, ReadError> {
    let found = log.state(place.group);
    let purged = found.purged.as_ref().map_or(0, |mark| mark.index);
    let applied = place.state.applied(place.group).map_or(0, |applied| applied.index);
    if applied < purged {
        let reason = format!("rows up to entry {applied}, but the log begins after {purged}");
        return Err(ReadError { reason });
    }
    let last = found.last_index.unwrap_or(applied).max(applied);
    let mut next = applied + 1;
    let (mut pieces, mut draft) = (Pieces::default(), None);
    while next <= last {
        let entries = log.read(place.group, next, last + 1, EVENTUAL_TRIM_STEP_BYTES)?;
        let Some(upto) = entries.last().map(|entry| entry.index) else {
            return Err(ReadError { reason: format!("entry {next} of the log is missing") });
        };
        let mut folding = match draft.take() {
            Some(folding) => folding,
            None => {
                let (head, own) = heads(place)?;
                Draft::new(place.clone(), head, own)
            }
        };
        for entry in &entries {
            if let Some(record) = pieces.take(Record::decode(&entry.bytes)?)? {
                folding.fold(&record)?;
            }
        }
        next = upto + 1;
        if !pieces.is_empty() && next <= last {
            // Applied up to the middle of a record, its beginning would never be read again.
            draft = Some(folding);
            continue;
        }
        place.state.apply(place.group, |applying| {
            applying.put_effects(upto, folding.finish().effects);
            applying.set_applied(Applied { index: upto, mark: Bytes::new() });
            Ok(())
        })?;
    }
    Ok(last)
}

/// Records that were written in parts.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    bytes: Vec<u8>,
    count: u64,
}

impl Pieces {
    /// Whether none is begun.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The record that is whole with this entry, if one is.
    pub(super) fn take(&mut self, record: Record) -> Result<Option<Record>, ReadError> {
        let Record::Piece { at, left, bytes } = record else {
            // What was gathered was cut short by a stop.
            self.bytes.clear();
            return Ok(Some(record));
        };
        if at == 0 {
            self.bytes.clear();
            self.count = 0;
        }
        if at != self.count {
            return Err(ReadError {
                reason: "a part of a record is missing in the log".to_owned(),
            });
        }
        self.count += 1;
        self.bytes.extend_from_slice(&bytes);
        if left > 0 {
            return Ok(None);
        }
        let whole = Bytes::from(std::mem::take(&mut self.bytes));
        Ok(Some(Record::decode(&whole)?))
    }
}

/// Where the log begins for readers, and what it does not say.
fn base(log: &Log, place: &Place, own: &Own) -> Result<Base, ReadError> {
    let cut = log.state(place.group).purged;
    let mut base = cut.as_ref().map(Base::of_mark).transpose()?.unwrap_or_default();
    base.vector.join(&own.jumped);
    Ok(base)
}

fn actor(place: &Place, head: &Head, own: &Own, wall_ms: u64) -> Actor {
    let Member { node, home } = place.member;
    let last = last_run(&head.vector, place.member);
    match last {
        Some(last) if own.closed && place.state.rebuilt().is_none() => last,
        _ => next_run(&head.vector, last.unwrap_or(Actor { node, home, run: 0 }), wall_ms),
    }
}

fn last_run(vector: &Vector, member: Member) -> Option<Actor> {
    vector.0.keys().filter(|actor| Member::from(**actor) == member).max().copied()
}
