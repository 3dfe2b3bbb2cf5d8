//! Merging the cells of two replicas: what a state sync does to one cell.
//!
//! Why it exists: when the log no longer reaches back, replicas exchange cells instead of operations.
//! A cell says with its owner's vector what happened to every dot: live, swept unseen, or gone, which
//! is what is covered and neither. Gone is either superseded, or lost for good and in the records.
//!
//! Promises: commutative, associative and idempotent as to what is shown, and right when cut anywhere,
//! as long as the reader's vector joins the source's only after the last cell (rule R1). Until then
//! the reader holds dots above its own vector; they take part in everything but in what its own
//! writes remove (rule R3).
//!
//! Relies on its caller for what the model in `tests/model` has shown to be needed:
//!
//! * While a sync is under way no operation that the source's vector covers is applied from a stream
//!   (rule R7): its effect comes with the state. One that came after its key was merged, or passed over
//!   as equal, would bring back what the source knows to be removed, for ever. Own writes, and others
//!   that the source has not heard of, go on. So an operation may be held back while later ones of the
//!   same log are not: each is taken only when all that it removes is covered.
//! * The source's vector is taken before its first cell is read; it need not be pinned otherwise.
//! * Buckets are passed over only if both digests are equal, of what lives and of what is lost.
//!
//! And on it to take the source's records of lost writes along with the cells, and to [`settle`] marks
//! that have one: a source that has called the loss of a swept write final keeps no mark of it.

use super::cell::{Cell, Content, Swept};
use super::dot::{Dot, Vector};
use crate::runtime::planted::{self, Bug};

/// A cell of the reader, which has applied `mine_to`, after hearing of the source's, which has applied
/// `theirs_to`. No cell is an empty one.
pub fn merge_cell(
    mine: Option<Cell>,
    mine_to: &Vector,
    theirs: Option<Cell>,
    theirs_to: &Vector,
) -> Option<Cell> {
    let (mine, theirs) = (mine.unwrap_or_default(), theirs.unwrap_or_default());
    let mut merged = Cell { writes: mine.writes.clone(), ..Cell::default() };
    // Mine stay that the source has too, or has not heard of.
    for (dot, version) in &mine.live {
        if theirs.live.contains_key(dot) || !theirs_to.covers(*dot) {
            merged.live.insert(*dot, version.clone());
        }
    }
    for (dot, mark) in &mine.swept {
        let known = theirs.swept.contains_key(dot) || theirs.live.contains_key(dot);
        if known || !theirs_to.covers(*dot) {
            merged.swept.insert(*dot, mark.clone());
        }
    }
    // Theirs come that are news. What I have heard of and no longer have went here, and stays away;
    // but a mark of what is still live here tells how it ended.
    for (dot, version) in theirs.live {
        if !mine_to.covers(dot) || planted::active(Bug::EventualSyncUnion) {
            merged.live.insert(dot, version);
        }
    }
    for (dot, mark) in theirs.swept {
        let known = mine.swept.contains_key(&dot);
        if known || !mine_to.covers(dot) || mine.live.contains_key(&dot) {
            keep_mark(&mut merged, dot, mark);
        }
    }
    for (actor, count) in theirs.writes {
        let known = merged.writes.entry(actor).or_default();
        *known = (*known).max(count);
    }
    newest_totals(&mut merged);
    merged.present()
}

/// Drops the marks of writes that are on record as swept.
pub fn settle(cell: Option<Cell>, is_recorded: impl Fn(Dot) -> bool) -> Option<Cell> {
    let mut cell = cell?;
    cell.swept.retain(|dot, _| !is_recorded(*dot));
    cell.present()
}

/// Of two that swept one version the lower dot is named, whichever was heard of first.
pub(super) fn keep_mark(cell: &mut Cell, dot: Dot, mark: Swept) {
    match cell.swept.get_mut(&dot) {
        // It is the same version; but of one of them the value may be dropped.
        Some(known) => known.by = known.by.min(mark.by),
        None => drop(cell.swept.insert(dot, mark)),
    }
}

/// Of an actor's running totals only the newest counts: an interrupted sync, or a stream behind it,
/// may bring an older one beside it, which must not be added.
pub(super) fn newest_totals(cell: &mut Cell) {
    let totals = |(dot, version): (&Dot, &super::Version)| {
        matches!(version.content, Content::Total(_)).then_some(*dot)
    };
    let mut newest: Option<Dot> = None;
    let mut older = Vec::new();
    for dot in cell.live.iter().filter_map(totals) {
        // In the order of dots those of one actor stand together, the newest last.
        older.extend(newest.filter(|before| before.actor == dot.actor));
        newest = Some(dot);
    }
    for dot in older {
        cell.live.remove(&dot);
    }
}
