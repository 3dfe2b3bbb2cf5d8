//! Rows of a range as of an index, in portions, forward and backward.
//!
//! A view of an earlier index is the rows of now, with every row that changed since replaced by what it
//! was before the first of those changes. A page finds it in steps. Each step reads a bounded number
//! of rows under the group's lock and takes the handles of the history's chunks; after the lock it
//! searches each chunk for what changed in the keys that the step has seen. It costs one search for
//! each chunk with changes since the index, some thousand at most, and the changes found. What a
//! step sees becomes less where very many changes stand close together, so that its memory is
//! bounded too. Steps go on until the page is full: each holds at the same index, however far
//! applying has gone meanwhile, or the history has been trimmed and the view is gone.
//!
//! Promises: exactly the rows at [`PageRows::at`], as far as changes are recorded: rows that no
//! history keeps are shown as they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::group::Group;
use super::history::{Change, Chunk, Overlay};
use super::merge::{Layered, Window};
use super::options::Read;
use super::{Inner, State};
use crate::runtime::limits::{PAGE_CHANGES_MAX, PAGE_STEP_BYTES, PAGE_STEP_ROWS, PAGE_STEPS_MAX};
use crate::storage::{GroupId, StorageError};

/// Which rows a page is asked for.
#[derive(Clone, Debug)]
pub struct Page {
    /// First key, inclusive.
    pub from: Bytes,
    /// Last key, exclusive; without it to the end.
    pub to: Option<Bytes>,
    /// From the last key to the first.
    pub reverse: bool,
    /// As of this index; without it as of now.
    pub at: Option<u64>,
    /// Most rows.
    pub limit: usize,
    /// About so many bytes of rows, and one row at least.
    pub bytes_max: usize,
    /// Leaves the values empty.
    pub keys_only: bool,
}

/// A page of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRows {
    /// Keys and values, in the order asked for.
    pub rows: Vec<(Bytes, Bytes)>,
    /// The index that they reflect: the one asked for, or the applied one where that is lower.
    pub at: u64,
    /// Whether the range has further rows. After a page that is not full it may say so although
    /// none follow; the next page then shows it.
    pub more: bool,
}

/// The history no longer reaches back so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the history begins after index {floor}")]
pub struct Gone {
    /// What came after this index is known.
    pub floor: u64,
}

/// Bounds of a page's steps; tests use small ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Keys that one step looks at under the lock, removed ones included.
    pub(super) keys: usize,
    pub(super) bytes: usize,
    /// Changed keys that one step keeps.
    pub(super) changes: usize,
    /// Steps after which a page that has a row is given out.
    pub(super) steps: usize,
}

impl Pace {
    const USUAL: Self = Self {
        keys: PAGE_STEP_ROWS,
        bytes: PAGE_STEP_BYTES,
        changes: PAGE_CHANGES_MAX,
        steps: PAGE_STEPS_MAX,
    };
}

impl State {
    /// A page of rows. Blocks: it reads files.
    ///
    /// # Errors
    ///
    /// [`Gone`] when the history no longer reaches back to the index.
    pub fn page(&self, group: GroupId, page: Page) -> Result<Result<PageRows, Gone>, StorageError> {
        self.page_at_pace(group, page, Pace::USUAL)
    }

    pub(super) fn page_at_pace(
        &self,
        group: GroupId,
        page: Page,
        pace: Pace,
    ) -> Result<Result<PageRows, Gone>, StorageError> {
        let inner = &*self.0.inner;
        let mut filling = Filling { page, rows: Vec::new(), bytes: 0 };
        let done = |filling: Filling, at, more| Ok(Ok(PageRows { rows: filling.rows, at, more }));
        let Some(found) = inner.find(group) else { return done(filling, 0, false) };
        let mut window = filling.window();
        let mut at = filling.page.at;
        let mut steps = 0;
        loop {
            let step = match inner.step(&found, &window, at, &filling.bounds(pace))? {
                Ok(step) => step,
                Err(gone) if filling.page.at.is_some() => return Ok(Err(gone)),
                // Trimmed between two steps of a page of now: give out what there is, or start over.
                Err(gone) if !filling.rows.is_empty() => {
                    return done(filling, at.unwrap_or(gone.floor), true);
                }
                Err(_gone) => {
                    (at, window) = (None, filling.window());
                    continue;
                }
            };
            at = Some(step.at);
            steps += 1;
            for row in step.rows {
                if !filling.take(row) {
                    return done(filling, step.at, true);
                }
            }
            let Some(rest) = step.rest else { return done(filling, step.at, false) };
            window = rest;
            if steps >= pace.steps && !filling.rows.is_empty() {
                return done(filling, step.at, true);
            }
        }
    }

    /// The value of a key as of an index that is at most the applied one; beyond that, as of now.
    /// The index in the answer is the one that it reflects.
    ///
    /// # Errors
    ///
    /// [`Gone`] when the history no longer reaches back to the index.
    pub fn get_at(
        &self,
        group: GroupId,
        key: &[u8],
        at: u64,
    ) -> Result<Result<Read, Gone>, StorageError> {
        let inner = &*self.0.inner;
        let Some(found) = inner.find(group) else { return Ok(Ok(Read { value: None, index: 0 })) };
        let mut window = Window { from: Bytes::copy_from_slice(key), to: None, reverse: false };
        window.end_with(key);
        let (value, at, changes) = {
            let layers = found.layers.read();
            let (applied, history) = (layers.index(), &layers.history);
            let at = at.min(applied);
            if at < history.floor() {
                return Ok(Err(Gone { floor: history.floor() }));
            }
            let value = layers.get(&*inner.engine, group, key)?;
            (value, at, (at < applied).then(|| Changed::of(&layers.history, at, &window)))
        };
        let before = changes.map(|changes| changes.overlay(at, 1, window).0);
        let before = before.and_then(|mut before| before.pop_first());
        let value = before.map_or(value, |(_, before)| before);
        Ok(Ok(Read { value, index: at }))
    }
}

/// A page that is being filled.
struct Filling {
    page: Page,
    rows: Vec<(Bytes, Bytes)>,
    bytes: usize,
}

impl Filling {
    fn window(&self) -> Window {
        let Page { from, to, reverse, .. } = &self.page;
        Window { from: from.clone(), to: to.clone(), reverse: *reverse }
    }

    /// What the next step may do: no more rows than are wanted, and the one that says `more`.
    fn bounds(&self, pace: Pace) -> (Pace, bool) {
        let wanted = self.page.limit.saturating_sub(self.rows.len()).saturating_add(1);
        (Pace { keys: pace.keys.min(wanted).max(1), ..pace }, self.page.keys_only)
    }

    /// False if the row does not fit any more.
    fn take(&mut self, (key, value): (Bytes, Bytes)) -> bool {
        let bytes = self.bytes + key.len() + value.len();
        let is_full = self.rows.len() >= self.page.limit
            || (!self.rows.is_empty() && bytes > self.page.bytes_max);
        if !is_full {
            self.bytes = bytes;
            self.rows.push((key, value));
        }
        !is_full
    }
}

/// What one step found.
struct Step {
    at: u64,
    rows: Vec<(Bytes, Bytes)>,
    /// What is left of the window.
    rest: Option<Window>,
}

/// What changed after an index, taken under the lock.
struct Changed {
    chunks: Vec<Arc<Chunk>>,
    /// Of the open chunk, already chosen.
    open: Vec<Change>,
}

impl Changed {
    fn of(history: &super::history::History, at: u64, window: &Window) -> Self {
        let open = history.open_since(at).iter();
        Self {
            chunks: history.sealed_since(at).cloned().collect(),
            open: open.filter(|change| window.contains(&change.key)).cloned().collect(),
        }
    }

    fn overlay(
        self,
        at: u64,
        max: usize,
        window: Window,
    ) -> (BTreeMap<Bytes, Option<Bytes>>, Window) {
        let mut overlay = Overlay::new(at, max, window);
        for chunk in &self.chunks {
            overlay.add_chunk(chunk);
        }
        for change in &self.open {
            overlay.add(change);
        }
        overlay.done()
    }
}

impl Inner {
    fn step(
        &self,
        group: &Group,
        window: &Window,
        at: Option<u64>,
        (pace, keys_only): &(Pace, bool),
    ) -> Result<Result<Step, Gone>, StorageError> {
        let mut seen = window.clone();
        let (found, at, changed) = {
            let layers = group.layers.read();
            let (applied, history) = (layers.index(), &layers.history);
            let at = at.map_or(applied, |at| at.min(applied));
            if at < history.floor() {
                return Ok(Err(Gone { floor: history.floor() }));
            }
            if window.is_empty() {
                return Ok(Ok(Step { at, rows: Vec::new(), rest: None }));
            }
            let mut merge = layers.merge(&*self.engine, group.id, window.clone())?;
            let mut found: Vec<Layered> = Vec::new();
            let (mut keys, mut bytes) = (0, 0);
            while let Some((key, value)) = merge.visit()? {
                keys += 1;
                bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
                let ends = keys >= pace.keys || bytes >= pace.bytes;
                if ends {
                    seen.end_with(&key);
                }
                if value.is_some() {
                    found.push(if *keys_only { without_value(&key) } else { (key, value) });
                }
                if ends {
                    break;
                }
            }
            let changed = (at < applied).then(|| Changed::of(&layers.history, at, &seen));
            (found, at, changed)
        };
        let mut rows: BTreeMap<Bytes, Option<Bytes>> = found.into_iter().collect();
        if let Some(changed) = changed {
            let (before, shorter) = changed.overlay(at, pace.changes, seen);
            rows.retain(|key, _| shorter.contains(key));
            let before = before.into_iter();
            rows.extend(before.map(|(key, value)| {
                if *keys_only && value.is_some() { without_value(&key) } else { (key, value) }
            }));
            seen = shorter;
        }
        let rows = rows.into_iter().filter_map(|(key, value)| Some((key, value?)));
        let rows = if window.reverse { rows.rev().collect() } else { rows.collect::<Vec<_>>() };
        Ok(Ok(Step { at, rows, rest: window.without(&seen) }))
    }
}

/// The key by itself: not the block that it was read from, with the value in it.
fn without_value(key: &Bytes) -> Layered {
    (Bytes::copy_from_slice(key), Some(Bytes::new()))
}
