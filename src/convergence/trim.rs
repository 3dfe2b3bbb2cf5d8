//! Cutting a shard's log, by size and by age, behind a durable checkpoint.
//!
//! Why it exists: nobody has to agree to it: a reader that needs what was cut off gets rows instead, so
//! a node that is away for long never fills the others' disks. Promises: what is cut off is in a durable
//! checkpoint, and the mark of the cut says what was applied there (rule R2).

use bytes::Bytes;

use super::shard::Shard;
use super::words::{Base, ReadError, decode_op};
use crate::model::eventual::dot_of;
use crate::runtime::limits::{EVENTUAL_LOG_AGE_MS, EVENTUAL_TRIM_STEP_BYTES};

/// Whether an operation's record is older than the time up to which logs are kept.
fn is_old(bytes: &Bytes, kept_ms: u64) -> Option<bool> {
    dot_of(bytes)?;
    decode_op(bytes).ok().map(|op| op.hlc.ms() < kept_ms)
}

impl Shard {
    /// Cuts the log if it has more bytes than it may, or entries that are too old. Blocks.
    pub(super) fn trim(&self, bytes: u64, bytes_max: u64) -> Result<(), ReadError> {
        let excess = if bytes > bytes_max { bytes - bytes_max / 4 * 3 } else { 0 };
        let Some(base) = self.cut(excess)? else { return Ok(()) };
        let index = base.index;
        let state = &self.inner.place.state;
        let group = self.inner.place.group;
        let is_covered = |upto: u64| {
            state.current_checkpoint(group).is_some_and(|there| there.applied().index >= upto)
        };
        if !is_covered(index) {
            state.checkpoint(group)?;
        }
        assert!(is_covered(index), "a log is cut only behind a durable checkpoint");
        self.inner.trail.lock().rebase(&base);
        self.inner.log.purge(group, base.mark(), Box::new(|_result| {}));
        Ok(())
    }

    /// Up to which entry to cut, and the base then; `None` if nothing is to be cut.
    ///
    /// Only operations have an age: what stands before one that is too old goes with it. While nothing
    /// is to be cut the first operation says so, behind a step of other entries at most; behind more of
    /// them it is the log's size that counts.
    fn cut(&self, excess: u64) -> Result<Option<Base>, ReadError> {
        let (group, log, tail) = (self.inner.place.group, &self.inner.log, self.log_tail());
        let kept_ms = self.inner.env.clock.wall_ms().saturating_sub(EVENTUAL_LOG_AGE_MS);
        let Some(mut next) = log.state(group).first_index else { return Ok(None) };
        let mut base = self.base();
        let (mut freed, mut is_cut, mut undecided) = (0_u64, false, 0);
        while next <= tail && undecided < EVENTUAL_TRIM_STEP_BYTES {
            // One entry, unless much of the log goes.
            let step = if is_cut || freed < excess { EVENTUAL_TRIM_STEP_BYTES } else { 1 };
            let entries = log.read(group, next, tail + 1, step)?;
            if entries.is_empty() {
                break;
            }
            for entry in entries {
                let is_old = is_old(&entry.bytes, kept_ms);
                let is_excess = freed < excess;
                if !is_excess && is_old == Some(false) {
                    return Ok(is_cut.then_some(base));
                }
                freed += entry.bytes.len() as u64;
                next = entry.index + 1;
                if !is_excess && is_old.is_none() {
                    // Not an operation: the base's vector does not depend on it.
                    undecided += entry.bytes.len();
                    continue;
                }
                // What came with a state sync is in the base from the beginning.
                if let Some(dot) = dot_of(&entry.bytes).filter(|dot| !base.vector.covers(*dot)) {
                    base.vector.advance(dot);
                }
                base.index = entry.index;
                (is_cut, undecided) = (true, 0);
            }
        }
        Ok(is_cut.then_some(base))
    }
}
