//! Digests and figures of a shard's rows, kept as they change.
//!
//! Why it exists: whether two replicas agree, and how much a namespace holds, must be known at once and
//! without a pass over its rows. Promises: what stands here is the sum over the rows that are visible;
//! it is built from them at open, and `Shard::audit` compares it with them again. Relies on the draft
//! to count every change of a row once.

use std::collections::BTreeMap;

use crate::model::eventual::digest::{BUCKETS, bucket_of, cell_digest, loss_digest};
use crate::model::eventual::{Cell, Dot, Field, FieldKind, Swept};

/// How much a shard holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Rows with live or swept versions.
    pub cells: u64,
    /// Bytes of these rows.
    pub bytes: u64,
    /// Registers in which several versions stand beside each other.
    pub siblings: u64,
    /// Versions that were removed unseen and whose fate is not final.
    pub marks: u64,
    /// Writes to registers that what is shown there does not stand on.
    pub without_effect: u64,
    /// Lost writes on record.
    pub lost: u64,
}

impl Figures {
    fn of_cell(row_bytes: usize, field: &Field, cell: &Cell) -> Self {
        let is_register = field.kind == FieldKind::Register;
        Self {
            cells: 1,
            bytes: row_bytes as u64,
            siblings: u64::from(is_register && cell.live.len() > 1),
            marks: cell.swept.len() as u64,
            without_effect: if is_register { cell.without_effect() } else { 0 },
            lost: 0,
        }
    }

    fn each(&mut self, other: Self, f: fn(u64, u64) -> u64) {
        self.cells = f(self.cells, other.cells);
        self.bytes = f(self.bytes, other.bytes);
        self.siblings = f(self.siblings, other.siblings);
        self.marks = f(self.marks, other.marks);
        self.without_effect = f(self.without_effect, other.without_effect);
        self.lost = f(self.lost, other.lost);
    }
}

/// A change of [`Sums`]; its numbers wrap.
#[derive(Clone, Debug, Default)]
pub(super) struct Change {
    buckets: BTreeMap<usize, (u128, u128)>,
    figures: Figures,
}

impl Change {
    /// A cell's row comes to stand; its marks count as losses, once where they are on record too.
    pub(super) fn add_cell(&mut self, row_bytes: usize, key: &[u8], field: &Field, cell: &Cell) {
        self.turn_cell(true, row_bytes, (key, field), cell);
        self.turn_marks((key, field), &BTreeMap::new(), &cell.swept);
    }

    /// A cell's row comes to stand, or goes. Its marks are counted by [`Change::turn_marks`].
    pub(super) fn turn_cell(
        &mut self,
        stands: bool,
        row_bytes: usize,
        (key, field): (&[u8], &Field),
        cell: &Cell,
    ) {
        let turn = if stands { u64::wrapping_add } else { u64::wrapping_sub };
        self.figures.each(Figures::of_cell(row_bytes, field, cell), turn);
        let term = cell_digest(key, field, cell);
        let bucket = self.buckets.entry(bucket_of(key)).or_default();
        bucket.0 = if stands { bucket.0.wrapping_add(term) } else { bucket.0.wrapping_sub(term) };
    }

    /// The marks of a cell change. Only those count that do: there may be many.
    pub(super) fn turn_marks(
        &mut self,
        (key, field): (&[u8], &Field),
        before: &BTreeMap<Dot, Swept>,
        after: &BTreeMap<Dot, Swept>,
    ) {
        let bucket = self.buckets.entry(bucket_of(key)).or_default();
        let by = |marks: &BTreeMap<Dot, Swept>, dot| marks.get(&dot).map(|mark| mark.by);
        for (dot, mark) in before.iter().filter(|(dot, mark)| by(after, **dot) != Some(mark.by)) {
            bucket.1 = bucket.1.wrapping_sub(loss_digest(key, field, *dot, Some(mark.by)));
        }
        for (dot, mark) in after.iter().filter(|(dot, mark)| by(before, **dot) != Some(mark.by)) {
            bucket.1 = bucket.1.wrapping_add(loss_digest(key, field, *dot, Some(mark.by)));
        }
    }

    /// Another loss is on record. They never go.
    pub(super) fn count_lost(&mut self) {
        self.figures.lost = self.figures.lost.wrapping_add(1);
    }

    /// The term of a record comes to count, or counts no more. That something is on record as outranked
    /// does not count: when a replica says so depends on when it looked.
    pub(super) fn turn_lost(&mut self, counts: bool, place: (&[u8], &Field, Dot), by: Option<Dot>) {
        if by.is_none() {
            return;
        }
        let (key, field, dot) = place;
        let term = loss_digest(key, field, dot, by);
        let bucket = self.buckets.entry(bucket_of(key)).or_default();
        bucket.1 = if counts { bucket.1.wrapping_add(term) } else { bucket.1.wrapping_sub(term) };
    }
}

/// The sums over all rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sums {
    /// What lives, by bucket.
    pub(super) buckets: Vec<u128>,
    /// What is lost, or seems to be, by bucket.
    pub(super) losses: Vec<u128>,
    /// How much there is.
    pub(super) figures: Figures,
}

impl Default for Sums {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], losses: vec![0; BUCKETS], figures: Figures::default() }
    }
}

impl Sums {
    /// Makes a change.
    pub(super) fn add(&mut self, change: &Change) {
        self.figures.each(change.figures, u64::wrapping_add);
        for (bucket, (live, lost)) in &change.buckets {
            if let Some(sum) = self.buckets.get_mut(*bucket) {
                *sum = sum.wrapping_add(*live);
            }
            if let Some(sum) = self.losses.get_mut(*bucket) {
                *sum = sum.wrapping_add(*lost);
            }
        }
    }

    /// The buckets in which two differ.
    pub(super) fn differ(&self, other: &Self) -> Vec<usize> {
        let mine = self.buckets.iter().zip(&self.losses);
        let theirs = other.buckets.iter().zip(&other.losses);
        let pairs = mine.zip(theirs).enumerate();
        pairs.filter(|(_, (mine, theirs))| mine != theirs).map(|(bucket, _)| bucket).collect()
    }
}
