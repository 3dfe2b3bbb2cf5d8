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
    fn cut(&self, excess: u64) -> Result<Option<Base>, ReadError> {
        let (group, log, tail) = (self.inner.place.group, &self.inner.log, self.log_tail());
        let kept_ms = self.inner.env.clock.wall_ms().saturating_sub(EVENTUAL_LOG_AGE_MS);
        let Some(mut next) = log.state(group).first_index else { return Ok(None) };
        let mut base = self.base();
        let (mut freed, mut is_cut, mut was_old) = (0_u64, false, false);
        while next <= tail {
            let entries = log.read(group, next, tail + 1, EVENTUAL_TRIM_STEP_BYTES)?;
            if entries.is_empty() {
                break;
            }
            for entry in entries {
                if freed >= excess {
                    was_old = is_old(&entry.bytes, kept_ms).unwrap_or(was_old);
                    if !was_old {
                        return Ok(is_cut.then_some(base));
                    }
                }
                freed += entry.bytes.len() as u64;
                // What came with a state sync is in the base from the beginning.
                if let Some(dot) = dot_of(&entry.bytes).filter(|dot| !base.vector.covers(*dot)) {
                    base.vector.advance(dot);
                }
                base.index = entry.index;
                next = entry.index + 1;
                is_cut = true;
            }
        }
        Ok(is_cut.then_some(base))
    }
}
