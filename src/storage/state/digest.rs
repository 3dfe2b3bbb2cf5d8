//! A digest of a group's rows, to compare replicas by.
//!
//! Why it exists: two replicas that have applied the same entries must hold the same rows, whatever
//! layers those stand in; a test, or an operator in doubt, compares one number instead of all rows.
//!
//! Promises: exactly the rows at [`Digest::applied`], all of them, in whichever layers they are;
//! nothing of the history, which one replica may keep longer than another. Applies and reads go on
//! meanwhile; the flush and the checkpoints of the group wait. Relies on: `Group::moving`.

use super::State;
use super::merge::{Merge, Source, Window};
use crate::runtime::Moment;
use crate::runtime::limits::{DIGEST_FROZEN_MAX, DIGEST_ROWS_PER_LOOK};
use crate::storage::checkpoint::Tally;
use crate::storage::{GroupId, StorageError};

/// What a group's rows come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    /// The applied index that it is of.
    pub applied: u64,
    /// How many rows.
    pub rows: u64,
    /// Their hash, which does not depend on their order.
    pub digest: u64,
}

impl State {
    /// The digest of a group's rows at the applied index of this moment; `None` when it is not done
    /// by `until`. Blocks for as long as it takes to read the group's rows once.
    ///
    /// # Errors
    ///
    /// When rows cannot be read.
    pub fn digest(&self, group: GroupId, until: Moment) -> Result<Option<Digest>, StorageError> {
        let inner = &*self.0.inner;
        inner.check()?;
        let Some(found) = inner.find(group) else {
            return Ok(Some(Digest { applied: 0, rows: 0, digest: 0 }));
        };
        let _moving = found.moving.lock();
        inner.check()?;
        // Each digest leaves a frozen table behind, and every lookup asks each of those.
        if found.layers.read().frozen.len() >= DIGEST_FROZEN_MAX {
            inner.flush_frozen(&found).inspect_err(|error| inner.fail(error))?;
        }
        let (applied, frozen, delta, base) = {
            let mut layers = found.layers.write();
            layers.freeze();
            let frozen: Vec<_> = layers.frozen.iter().cloned().collect();
            (layers.index(), frozen, layers.delta, layers.base.clone())
        };
        let all = Window::all();
        let mut sources: Vec<_> =
            frozen.iter().rev().map(|table| Source::map(&table.rows, &all)).collect();
        if delta.rows > 0 {
            sources.push(Source::index(&*inner.engine, group, &all));
        }
        sources.extend(base.iter().map(|base| Source::table(base, &all)));
        let mut merge = Merge::new(sources, all)?;
        let mut tally = Tally::default();
        while let Some((key, value)) = merge.next()? {
            tally.add(&key, &value);
            if tally.rows % DIGEST_ROWS_PER_LOOK == 0 && inner.env.clock.now() >= until {
                return Ok(None);
            }
        }
        Ok(Some(Digest { applied, rows: tally.rows, digest: tally.digest }))
    }
}
