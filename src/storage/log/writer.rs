//! The one that writes: turns requests into batches, and keeps the number of segments down.
//!
//! Why it exists: one write and one sync serve all groups that wait at that moment. It is a plain
//! struct that is called with what to write, so that a test drives it without a thread.
//!
//! Promises: requests are told in the order in which they came, with `Ok` only once durable. After
//! the first failure nothing is written any more. Relies on: being the only one that writes here.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Shared;
use super::format::{self, BATCH_HEADER, BatchHeader, Record, SECTOR, SegmentHeader, VERSION};
use super::front::Request;
use super::kept::Item;
use super::recover::{Numbers, Position};
use super::rewrite;
use super::segment::{Segment, Spares};
use crate::runtime::limits::LOG_ROOM_RETRY;
use crate::runtime::planted::{self, Bug};
use crate::runtime::{Moment, Rng, Tasks, causes};
use crate::storage::StorageError;

/// The writer's own view of where it is.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    rng: Arc<Rng>,
    spares: Spares,
    segment: Arc<Segment>,
    salt: u64,
    offset: u64,
    lsn: u64,
    /// Nothing in older segments is needed; a durable batch says so.
    floor: u64,
    buffer: Vec<u8>,
    starts: Vec<usize>,
    /// Live items of the oldest segment that are still to be written anew.
    rewriting: Option<(u64, VecDeque<Item>)>,
    poisoned: Option<String>,
    /// Set when a new segment could not be allocated: when that is tried again, unless the room is
    /// needed before. New work is refused until then, so no batch may come by to try.
    out_of_room: Option<Moment>,
}

impl Writer {
    /// Goes on where the recovery ended; creates the first segment of a new log.
    pub(super) fn new(
        shared: Arc<Shared>,
        rng: Arc<Rng>,
        spares: Spares,
        position: Option<Position>,
        Numbers { seq, lsn, floor }: Numbers,
    ) -> Result<Self, StorageError> {
        let mut spares = spares;
        let Position { segment, salt, offset } = match position {
            Some(position) => position,
            None => roll(&shared, &rng, &mut spares, &Numbers { seq: seq + 1, lsn, floor })?,
        };
        let writer = Self {
            shared,
            rng,
            spares,
            segment,
            salt,
            offset,
            lsn,
            floor,
            buffer: Vec::new(),
            starts: Vec::new(),
            rewriting: None,
            poisoned: None,
            out_of_room: None,
        };
        writer.show();
        Ok(writer)
    }

    /// From now on new segment files are filled on a thread of their own.
    pub(super) fn fill_aside(&mut self, tasks: &Tasks) {
        self.spares.fill_aside(tasks);
    }

    /// Writes one batch, makes it durable, and tells everyone in order.
    pub(super) fn write_batch(&mut self, requests: Vec<Request>) {
        let result = match &self.poisoned {
            Some(reason) => Err(StorageError::Poisoned { reason: reason.clone() }),
            None => self.commit(&requests),
        };
        let result = result.map_err(Arc::new);
        if let Err(error) = &result {
            self.poison(error);
        }
        {
            let mut front = self.shared.front.lock();
            front.written(&requests, result.is_ok(), self.shared.options.cache_bytes);
            self.shared.metrics.queue_bytes.set(i64::try_from(front.queue_bytes).unwrap_or(0));
        }
        for request in requests {
            if let Some(done) = request.done {
                done(result.clone());
            }
        }
        if self.poisoned.is_none()
            && let Err(error) = self.make_room()
        {
            self.poison(&Arc::new(error));
        }
    }

    /// Whether there is something to write anew although nobody waits.
    pub(super) fn has_work(&self) -> bool {
        let now = self.shared.clock.now();
        let tries_again = self.tries_again().is_some_and(|again| now >= again);
        tries_again || self.poisoned.is_none() && self.rewriting.is_some()
    }

    /// When it looks for room again, if there was none.
    pub(super) fn tries_again(&self) -> Option<Moment> {
        self.out_of_room.filter(|_| self.poisoned.is_none())
    }

    fn commit(&mut self, requests: &[Request]) -> Result<(), StorageError> {
        // Records written anew come first: a request of this very batch may remove them again.
        let rewritten = self.rewritten()?;
        let asked = requests.iter().filter_map(|request| request.record.as_ref());
        let records: Vec<&Record> = rewritten.iter().chain(asked).collect();
        #[cfg(feature = "planted-bugs")]
        let (late, records) = super::late::hold_back(records);
        #[cfg(feature = "planted-bugs")]
        let records: Vec<&Record> = late.iter().chain(records).collect();
        if records.is_empty() {
            return Ok(());
        }
        self.buffer.clear();
        self.buffer.resize(BATCH_HEADER, 0);
        self.starts.clear();
        for record in &records {
            record.encode(&mut self.buffer, &mut self.starts);
        }
        let body_len = self.buffer.len() - BATCH_HEADER;
        self.buffer.resize(self.buffer.len().next_multiple_of(format::SECTOR_LEN), 0);
        let need = self.buffer.len() as u64;
        if self.offset + need > self.segment.len {
            self.roll()?;
        }
        assert!(self.offset + need <= self.segment.len, "a batch fits into an empty segment");
        let floor = self.oldest_needed();
        self.write(body_len, floor)?;
        self.floor = floor;
        self.keep(&records);
        self.offset += need;
        self.lsn += 1;
        self.shared.flushed.store(self.lsn, Ordering::Release);
        self.shared.batches.fetch_add(1, Ordering::Relaxed);
        #[allow(clippy::cast_precision_loss, reason = "figures for people")]
        {
            self.shared.metrics.batch_records.observe(records.len() as f64);
            self.shared.metrics.batch_bytes.observe(need as f64);
        }
        Ok(())
    }

    /// The oldest segment with something alive, before the batch at hand.
    fn oldest_needed(&self) -> u64 {
        let kept = self.shared.kept.lock();
        let mut needed = kept.segments.keys().filter(|seq| kept.live_of(**seq).items > 0);
        needed.next().copied().unwrap_or(self.segment.seq)
    }

    fn write(&mut self, body_len: usize, floor: u64) -> Result<(), StorageError> {
        let body = self.buffer.get(BATCH_HEADER..BATCH_HEADER + body_len).unwrap_or_default();
        let header = BatchHeader {
            version: VERSION,
            seq: self.segment.seq,
            salt: self.salt,
            lsn: self.lsn + 1,
            floor,
            body_len: format::len32(body_len),
            body_crc: crc32c::crc32c(body),
        };
        if let Some(start) = self.buffer.get_mut(..BATCH_HEADER) {
            start.copy_from_slice(&header.encode());
        }
        let path = &self.segment.path;
        self.segment
            .file
            .write_at(self.offset, &self.buffer)
            .map_err(|error| StorageError::io("write log segment", path, error))?;
        let clock = &self.shared.clock;
        let start = clock.now();
        if !planted::active(Bug::AckBeforeFlush) {
            self.segment
                .file
                .sync()
                .map_err(|error| StorageError::io("sync log segment", path, error))?;
        }
        self.shared.metrics.fsync_seconds.observe(clock.now().since(start).as_secs_f64());
        self.shared.fsyncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Takes the durable records into the view of what is on disk.
    fn keep(&mut self, records: &[&Record]) {
        let mut kept = self.shared.kept.lock();
        let mut starts = self.starts.iter();
        let mut places = Vec::new();
        for record in records {
            places.clear();
            if let Record::Entries { entries, .. } = record {
                places.extend(entries.iter().zip(&mut starts).map(|(entry, start)| {
                    let offset = u32::try_from(self.offset + *start as u64);
                    let offset = offset.expect("a segment is smaller than 4 GiB");
                    (offset, format::len32(entry.len()))
                }));
            }
            kept.run(record, self.segment.seq, &places)
                .expect("appends are contiguous, so no entry is far from the others");
        }
    }

    fn roll(&mut self) -> Result<(), StorageError> {
        let next = Numbers { seq: self.segment.seq + 1, lsn: self.lsn, floor: self.floor };
        let position = roll(&self.shared, &self.rng, &mut self.spares, &next)?;
        (self.segment, self.salt, self.offset) = (position.segment, position.salt, position.offset);
        self.out_of_room = None;
        self.shared.front.lock().full = false;
        Ok(())
    }

    /// Gives empty segments back, starts or goes on writing anew, prepares the next segment.
    fn make_room(&mut self) -> Result<(), StorageError> {
        while let Some(segment) = self.take_empty() {
            let max = self.shared.options.recycle_max;
            self.spares.give(&segment.path, segment.len, max)?;
            self.out_of_room = None;
        }
        self.plan_rewrite();
        let now = self.shared.clock.now();
        if self.out_of_room.is_none_or(|again| now >= again) {
            // The next segment is whole well before this one is used up: ready in time, and the
            // zeros are spread over many batches.
            match self.spares.prepare(self.offset + self.offset / 2) {
                Ok(()) => {
                    self.out_of_room = None;
                    self.shared.front.lock().full = false;
                }
                Err(error @ StorageError::Full { .. }) => {
                    if self.out_of_room.is_none() {
                        tracing::error!(%error, "no room for the next log segment; refusing new work");
                    }
                    self.out_of_room = Some(now + LOG_ROOM_RETRY);
                    self.shared.front.lock().full = true;
                }
                Err(error) => return Err(error),
            }
        }
        self.show();
        Ok(())
    }

    /// The oldest segment, if it is known not to be needed. A reader that still holds it delays its
    /// reuse.
    fn take_empty(&self) -> Option<Arc<Segment>> {
        let mut kept = self.shared.kept.lock();
        let (seq, segment) = kept.segments.first_key_value()?;
        let seq = *seq;
        if seq >= self.floor || Arc::strong_count(segment) > 1 {
            return None;
        }
        assert!(kept.live_of(seq).items == 0, "nothing lives below the floor");
        kept.live.remove(&seq);
        kept.segments.remove(&seq)
    }

    /// Decides whether the oldest segment's live records are to be written anew: when there are
    /// many segments, and most of what they hold is dead. Were everything alive written anew, less
    /// would be left than starts this: so it ends.
    fn plan_rewrite(&mut self) {
        let kept = self.shared.kept.lock();
        let Some((seq, _)) = kept.segments.first_key_value() else { return };
        if self.rewriting.as_ref().is_some_and(|(at, items)| at == seq && !items.is_empty()) {
            return;
        }
        self.rewriting = None;
        let live: u64 = kept.live.values().map(|live| live.bytes).sum();
        let total: u64 = kept.segments.values().map(|segment| segment.len).sum();
        let many = kept.segments.len() > self.shared.options.segments_soft_max;
        let gains = 2 * (live + self.segment.len) < total;
        if many && gains && *seq != self.segment.seq && kept.live_of(*seq).items > 0 {
            self.rewriting = Some((*seq, kept.items_of(*seq).into()));
        }
    }

    fn rewritten(&mut self) -> Result<Vec<Record>, StorageError> {
        let Some((seq, items)) = &mut self.rewriting else { return Ok(Vec::new()) };
        let max = self.shared.chunk_max().min(self.shared.options.rewrite_bytes_per_batch);
        let (records, bytes) = rewrite::next(&self.shared.kept, *seq, items, max)?;
        self.shared.metrics.rewritten_bytes.inc_by(bytes as u64);
        Ok(records)
    }

    fn poison(&mut self, error: &Arc<StorageError>) {
        if self.poisoned.is_some() {
            return;
        }
        let reason = causes(error);
        tracing::error!(reason, "the log is poisoned");
        self.poisoned = Some(reason.clone());
        self.shared.metrics.poisoned.set(1);
        let hooks = {
            let mut front = self.shared.front.lock();
            front.poisoned = Some(reason);
            std::mem::take(&mut front.on_poison)
        };
        for hook in hooks {
            hook(error);
        }
    }

    fn show(&self) {
        let segments = self.shared.kept.lock().segments.len();
        self.shared.metrics.segments.set(i64::try_from(segments).unwrap_or(i64::MAX));
        self.shared.metrics.spares.set(i64::try_from(self.spares.len()).unwrap_or(i64::MAX));
        self.shared.spares.store(self.spares.len(), Ordering::Relaxed);
    }
}

/// Starts a segment. Its header is durable before its first batch is written, so that a damaged
/// header in a segment with batches is known to be damage.
fn roll(
    shared: &Shared,
    rng: &Rng,
    spares: &mut Spares,
    &Numbers { seq, lsn, floor }: &Numbers,
) -> Result<Position, StorageError> {
    let segment = spares.take(seq)?;
    let salt = rng.next();
    let floor = floor.max(1);
    let header = SegmentHeader { version: VERSION, seq, salt, first_lsn: lsn + 1, floor };
    segment
        .file
        .write_at(0, &header.encode())
        .and_then(|()| segment.file.sync())
        .map_err(|error| StorageError::io("start log segment", &segment.path, error))?;
    let segment = Arc::new(segment);
    shared.kept.lock().segments.insert(seq, Arc::clone(&segment));
    Ok(Position { segment, salt, offset: SECTOR })
}
