//! Whether a shard takes writes, while its namespace goes to the other side.
//!
//! Why it exists: what is copied must be all that was ever acknowledged. The catalog says that nothing
//! more is written; but a node that dies may come back with an older catalog than it had. So each node
//! writes down in the shard's own log that it has closed it, before it says so.
//!
//! Promises: once [`Shard::close_gate`] has returned, no write that is in no vector given after that is
//! ever acknowledged here, until this node knows a catalog that is newer than the gate and opens it;
//! behind a sealed gate nothing is read either. Operations of other nodes pass at all times. Relies on
//! the registry to say what the catalog says, and on the worker to ask before each write.

use super::batch::Batch;
use super::draft::Draft;
use super::shard::{Part, Shard};
use super::words::{ReadError, Stop, WriteError};
use super::worker::Command;
use crate::model::eventual::{Gate, Record};

/// What a shard takes from clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Passage {
    /// Reads and writes.
    #[default]
    Open,
    /// Reads.
    Frozen,
    /// Nothing.
    Sealed,
}

/// What holds: the catalog's word, unless it is older than the gate.
pub(super) fn passage(told: Passage, epoch: u64, gate: Option<Gate>) -> Passage {
    match gate.filter(|gate| gate.epoch > epoch) {
        Some(gate) if gate.sealed => Passage::Sealed,
        Some(_) => Passage::Frozen,
        None => told,
    }
}

impl Draft {
    /// Refuses a client's write where only others originate, while the namespace goes to the other
    /// side, and of a key that is too long.
    pub(super) fn admits(&self, part: &Part, key: &[u8]) -> Result<(), WriteError> {
        if part.is_reader {
            return Err(WriteError::Reader);
        }
        match passage(part.passage, part.epoch, self.own.gate) {
            Passage::Open => {}
            Passage::Frozen | Passage::Sealed => return Err(WriteError::Switching),
        }
        let (bytes, max) = (key.len() as u64, part.limits.key_bytes_max);
        if bytes > max {
            return Err(WriteError::TooLarge { what: "the key", bytes, max });
        }
        Ok(())
    }
}

impl Batch {
    /// Closes the gate, unless it was closed by as new a catalog before.
    pub(super) fn close(&mut self, gate: Gate) -> Result<(), ReadError> {
        match self.draft.own.gate {
            Some(known) if known.epoch >= gate.epoch => Ok(()),
            _ => self.record(&Record::Gate(gate)),
        }
    }
}

impl Shard {
    /// What it takes from clients now.
    pub fn passage(&self) -> Passage {
        let gate = self.inner.live.read().own.gate;
        let part = self.inner.part.read();
        passage(part.passage, part.epoch, gate)
    }

    /// Writes down that the shard is closed as of this epoch of the catalog, and returns when that is
    /// flushed, and with it every write that was let in before.
    ///
    /// # Errors
    ///
    /// When the shard has stopped.
    pub async fn close_gate(&self, gate: Gate) -> Result<(), Stop> {
        self.ask(|answer| Command::Gate(gate, answer)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_holds_until_a_newer_catalog_is_known() {
        let gate = |sealed| Some(Gate { epoch: 7, sealed });
        assert_eq!(passage(Passage::Open, 6, gate(false)), Passage::Frozen, "an old catalog");
        assert_eq!(passage(Passage::Open, 6, gate(true)), Passage::Sealed);
        assert_eq!(
            passage(Passage::Frozen, 7, gate(true)),
            Passage::Frozen,
            "stopped and begun anew"
        );
        assert_eq!(passage(Passage::Open, 8, gate(true)), Passage::Open, "given up");
        assert_eq!(passage(Passage::Frozen, 8, None), Passage::Frozen);
    }
}
