//! The books of values: each write of each cell.
//!
//! A cell is a key, or a field of a key that is written for itself. Values carry the number of the
//! write that made them, so that a read says which write it shows.
//!
//! Promises: a read is judged by real time alone: of two writes one is *newer* than the other when it
//! began after the other was acknowledged. On one machine with one clock that is exact; writes that
//! overlap are in no order, and no read is blamed for showing either.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::End;
use crate::bench::target::{Acked, Failed};
use crate::runtime::Moment;
use crate::runtime::limits::BENCH_STALE_MAX;

/// One write.
#[derive(Clone, Debug)]
pub struct Write {
    /// Its number in the run.
    pub number: u64,
    /// The site that asked for it.
    pub site: u64,
    /// When it was sent.
    pub began: Moment,
    /// When and how it ended; `None` while it is under way.
    pub end: Option<(Moment, End)>,
    /// The name that the store gave it.
    pub name: Option<Box<str>>,
    /// Its place in the order of the key's writes.
    pub order: Option<u64>,
    /// What its client had seen; `None` when it had not looked.
    pub over: Option<Box<[Box<str>]>>,
}

impl Write {
    /// Whether it was acknowledged.
    pub fn is_acked(&self) -> bool {
        matches!(self.end, Some((_, End::Acked)))
    }

    /// Whether it may have taken effect without having been acknowledged.
    pub fn is_unsure(&self) -> bool {
        !matches!(self.end, Some((_, End::Acked | End::NotApplied)))
    }

    fn acked_at(&self) -> Option<Moment> {
        self.end.filter(|(_, end)| *end == End::Acked).map(|(at, _)| at)
    }
}

/// What a read comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// So many newer writes had been acknowledged when it began; the oldest of them for so long.
    Behind(u64, Duration),
    /// What it shows is of a write that was not acknowledged (yet): it has no place in the order.
    Unsure,
    /// Nobody ever wrote that.
    Wrong,
}

/// The writes of one cell, in the order they began.
#[derive(Debug, Default)]
pub struct Cell {
    writes: Vec<Write>,
}

impl Cell {
    /// All of them.
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// The write of this number.
    pub fn find(&self, number: u64) -> Option<&Write> {
        let at = self.writes.binary_search_by_key(&number, |write| write.number).ok()?;
        self.writes.get(at)
    }

    fn find_mut(&mut self, number: u64) -> Option<&mut Write> {
        let at = self.writes.binary_search_by_key(&number, |write| write.number).ok()?;
        self.writes.get_mut(at)
    }

    /// Judges a read that began then and showed the write of this number, or nothing.
    pub fn judge(&self, shown: Option<u64>, read_began: Moment) -> Judged {
        // Newer than nothing is everything.
        let after = match shown.map(|number| self.find(number)) {
            None => Moment(0),
            Some(None) => return Judged::Wrong,
            Some(Some(write)) => match write.acked_at() {
                Some(at) => at,
                None => return Judged::Unsure,
            },
        };
        let mut behind = 0;
        let mut oldest = read_began;
        for write in self.writes.iter().rev() {
            if write.began <= after || behind == BENCH_STALE_MAX {
                break;
            }
            if let Some(at) = write.acked_at().filter(|at| *at < read_began) {
                behind += 1;
                oldest = oldest.min(at);
            }
        }
        Judged::Behind(behind, read_began.since(oldest))
    }
}

/// All cells.
#[derive(Debug)]
pub struct Values {
    cells: Box<[Mutex<Cell>]>,
    acked: AtomicU64,
    open: AtomicU64,
    #[cfg(test)]
    pub(in crate::bench) planted: Option<super::Planted>,
}

impl Values {
    /// So many empty ones.
    pub fn new(cells: u64) -> Self {
        Self {
            cells: (0..cells).map(|_| Mutex::default()).collect(),
            acked: AtomicU64::new(0),
            open: AtomicU64::new(0),
            #[cfg(test)]
            planted: None,
        }
    }

    /// How many cells there are.
    pub fn len(&self) -> u64 {
        u64::try_from(self.cells.len()).unwrap_or(u64::MAX)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// One cell.
    pub fn cell(&self, cell: u64) -> &Mutex<Cell> {
        let at = usize::try_from(cell).unwrap_or(usize::MAX);
        self.cells.get(at).expect("a cell's number is below the number of cells")
    }

    /// Enters a write before it is sent; returns its number.
    pub fn begin(
        &self,
        numbers: &super::Ledger,
        cell: u64,
        (site, began): (u64, Moment),
        over: Option<Box<[Box<str>]>>,
    ) -> u64 {
        let mut cell = self.cell(cell).lock();
        // Under the lock, so that the numbers of a cell grow.
        let number = numbers.number();
        cell.writes.push(Write { number, site, began, end: None, name: None, order: None, over });
        self.open.fetch_add(1, Ordering::Relaxed);
        number
    }

    /// Closes it with its answer.
    pub fn end(&self, cell: u64, number: u64, at: Moment, answer: Result<&Acked, &Failed>) {
        #[cfg(test)]
        let answer = match (self.planted, answer) {
            (Some(super::Planted::Forgets(every)), Ok(_)) if number.is_multiple_of(every) => return,
            (Some(super::Planted::Denies(every)), Ok(_)) if number.is_multiple_of(every) => {
                Err(&Failed::Unmet)
            }
            (_, answer) => answer,
        };
        let mut cell = self.cell(cell).lock();
        let write = cell.find_mut(number).expect("a write is entered before it is closed");
        write.end = Some((at, End::of(answer)));
        if let Ok(acked) = answer {
            write.name = acked.name.as_deref().map(Into::into);
            write.order = acked.order;
            self.acked.fetch_add(1, Ordering::Relaxed);
        }
        drop(cell);
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Writes that were acknowledged.
    pub fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    /// Writes under way.
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::ledger::Ledger;

    fn at(ms: u64) -> Moment {
        Moment(ms * 1_000_000)
    }

    fn write(ledger: &Ledger, began: u64, ended: Option<u64>) -> u64 {
        let number = ledger.values.begin(ledger, 0, (1, at(began)), None);
        if let Some(ended) = ended {
            ledger.values.end(0, number, at(ended), Ok(&Acked::default()));
        }
        number
    }

    #[test]
    fn a_read_is_as_old_as_the_acknowledged_writes_it_lacks() {
        let ledger = Ledger::new(1, 1);
        let first = write(&ledger, 1, Some(2));
        let overlaps = write(&ledger, 2, Some(20));
        let second = write(&ledger, 10, Some(12));
        let third = write(&ledger, 15, Some(18));
        let under_way = write(&ledger, 16, None);
        let cell = ledger.values.cell(0).lock();
        let judge = |shown, began| cell.judge(shown, at(began));
        assert_eq!(judge(Some(third), 30), Judged::Behind(0, Duration::ZERO));
        assert_eq!(judge(Some(second), 30), Judged::Behind(1, Duration::from_millis(12)));
        // The first was overwritten by two; the one that began when it ended is in no order with it.
        assert_eq!(judge(Some(first), 19), Judged::Behind(2, Duration::from_millis(7)));
        assert_eq!(judge(Some(first), 11), Judged::Behind(0, Duration::ZERO));
        assert_eq!(judge(Some(overlaps), 30), Judged::Behind(0, Duration::ZERO));
        assert_eq!(judge(Some(under_way), 30), Judged::Unsure);
        assert_eq!(judge(Some(99), 30), Judged::Wrong);
        assert_eq!(judge(None, 19), Judged::Behind(3, Duration::from_millis(17)));
        assert_eq!(judge(None, 1), Judged::Behind(0, Duration::ZERO));
    }

    #[test]
    fn a_refused_write_counts_for_nothing() {
        let ledger = Ledger::new(1, 1);
        let first = write(&ledger, 1, Some(2));
        let refused = write(&ledger, 3, None);
        assert_eq!((ledger.acked(), ledger.open()), (1, 1));
        ledger.values.end(0, refused, at(4), Err(&Failed::Unmet));
        assert_eq!((ledger.acked(), ledger.open()), (1, 0));
        let cell = ledger.values.cell(0).lock();
        assert_eq!(cell.judge(Some(first), at(9)), Judged::Behind(0, Duration::ZERO));
        assert_eq!(cell.judge(Some(refused), at(9)), Judged::Unsure);
        assert!(!cell.writes()[1].is_unsure() && !cell.writes()[1].is_acked());
    }
}
