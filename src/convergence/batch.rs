//! Records that are flushed together, with what they change and whom to tell.
//!
//! Why it exists: one sync serves all that waited. Promises: each record is folded as it is logged, in
//! one order; what is too long for an entry of the log takes several, and counts only with the last.

use std::sync::Arc;

use bytes::Bytes;

use super::draft::Draft;
use super::words::{ReadError, Stop};
use crate::model::eventual::{Record, Vector, encode_op};
use crate::storage::log::Entry;

/// A long text of bytes in parts.
fn pieces(bytes: &Bytes, len: usize) -> impl Iterator<Item = Bytes> + '_ {
    (0..bytes.len()).step_by(len.max(1)).map(move |at| bytes.slice(at..(at + len).min(bytes.len())))
}

/// Told once the batch is visible, or never will be.
pub(super) type Answer = Box<dyn FnOnce(&Result<Arc<Vector>, Stop>) + Send>;

/// Commands that are flushed together.
pub(super) struct Batch {
    pub(super) draft: Draft,
    pub(super) entries: Vec<Entry>,
    pub(super) answers: Vec<Answer>,
    next: u64,
    entry_bytes_max: usize,
    pub(super) has_beat: bool,
    /// Whether a look for final losses has come to its end.
    pub(super) is_settled: bool,
}

impl Batch {
    /// Nothing yet; the first record becomes the entry `next`.
    pub(super) fn new(draft: Draft, next: u64, entry_bytes_max: usize) -> Self {
        Self {
            draft,
            entries: Vec::new(),
            answers: Vec::new(),
            next,
            entry_bytes_max,
            has_beat: false,
            is_settled: false,
        }
    }

    /// Folds a record, and has it logged.
    pub(super) fn record(&mut self, record: &Record) -> Result<(), ReadError> {
        self.draft.fold(record)?;
        let bytes = match record {
            Record::Op(op) => encode_op(op),
            _ => record.encode(),
        };
        if bytes.len() <= self.entry_bytes_max {
            self.push(bytes);
            return Ok(());
        }
        // Room for the envelope of a piece.
        let pieces: Vec<Bytes> = pieces(&bytes, self.entry_bytes_max / 2).collect();
        let count = pieces.len() as u64;
        for (at, bytes) in (0..).zip(pieces) {
            self.push(Record::Piece { at, left: count - 1 - at, bytes }.encode());
        }
        Ok(())
    }

    fn push(&mut self, bytes: Bytes) {
        self.entries.push(Entry { index: self.next, bytes });
        self.next += 1;
    }
}
