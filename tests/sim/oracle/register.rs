//! One key that is written with values that never come twice, read, changed by condition and deleted.
//!
//! Every acknowledged write has a place in the group's order. A read says which write it shows and up to
//! where it looked. So: places follow real time; a read shows the newest write up to where it looked; a
//! value whose write was surely without effect is never seen; a conditional write follows the write that
//! it named.

use std::collections::{BTreeMap, BTreeSet};

/// What a write was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrote {
    /// The value; `None` for a deletion.
    pub value: Option<String>,
    /// For a conditional write, the write that it must follow.
    pub follows: Option<u64>,
}

/// All that is known of a key.
#[derive(Debug, Default)]
pub struct Register {
    /// By place.
    writes: BTreeMap<u64, Wrote>,
    /// Values whose write has no outcome yet, or none that is known.
    open: BTreeMap<String, Wrote>,
    /// Deletions without a known outcome.
    open_deletes: usize,
    /// Values that were surely never written.
    never: BTreeSet<String>,
    /// Reads: the place of the write that was shown -> the furthest place that was looked up to.
    shown: BTreeMap<u64, u64>,
    /// The newest place that any completed operation has shown.
    floor: u64,
}

impl Register {
    /// What every operation that begins now must not fall behind.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// The newest known write, for a condition.
    pub fn newest(&self) -> Option<(u64, &Wrote)> {
        self.writes.last_key_value().map(|(place, wrote)| (*place, wrote))
    }

    /// A write begins.
    pub fn begin(&mut self, wrote: &Wrote) {
        match &wrote.value {
            Some(value) => drop(self.open.insert(value.clone(), wrote.clone())),
            None => self.open_deletes += 1,
        }
    }

    /// A write had surely no effect.
    pub fn not_done(&mut self, wrote: &Wrote) -> Result<(), String> {
        match &wrote.value {
            Some(value) => {
                self.open.remove(value);
                self.never.insert(value.clone());
                let seen = self.writes.values().any(|known| known.value.as_ref() == Some(value));
                if seen { Err(format!("{value:?} was seen and then refused")) } else { Ok(()) }
            }
            None => {
                self.open_deletes -= 1;
                Ok(())
            }
        }
    }

    /// A write was acknowledged at a place; when it began, `floor` was complete.
    pub fn done(&mut self, wrote: &Wrote, place: u64, floor: u64) -> Result<(), String> {
        match &wrote.value {
            Some(value) => drop(self.open.remove(value)),
            None => self.open_deletes -= 1,
        }
        if place <= floor {
            return Err(format!("a write has place {place}, and {floor} was complete before"));
        }
        self.floor = self.floor.max(place);
        self.place(wrote.clone(), place)
    }

    /// A deletion found nothing at a place, and so wrote nothing.
    pub fn nothing_to_delete(&mut self, place: u64, floor: u64) -> Result<(), String> {
        self.open_deletes -= 1;
        self.read(None, place, floor)
    }

    fn place(&mut self, wrote: Wrote, place: u64) -> Result<(), String> {
        if let Some(known) = self.writes.get(&place) {
            let same = known.value == wrote.value;
            return if same { Ok(()) } else { Err(format!("{place} is {known:?} and {wrote:?}")) };
        }
        if let Some(upto) = self.shown.range(..place).map(|(_, upto)| *upto).find(|u| *u >= place) {
            return Err(format!(
                "a read up to {upto} did not show the write at {place}: {wrote:?}"
            ));
        }
        if let Some(named) = wrote.follows
            && let Some((between, other)) = self.writes.range(named + 1..place).next()
        {
            return Err(format!(
                "{wrote:?} at {place} follows {named}, but {between} is {other:?}"
            ));
        }
        let after = self.writes.range(place + 1..).next();
        if let Some((later, other)) = after
            && other.follows.is_some_and(|named| named < place)
        {
            return Err(format!("{other:?} at {later} follows another write than that at {place}"));
        }
        if let Some(value) = &wrote.value {
            let twice = self.writes.iter().find(|(_, known)| known.value.as_ref() == Some(value));
            if let Some((other, _)) = twice {
                return Err(format!("{value:?} was applied at {other} and at {place}"));
            }
        }
        self.writes.insert(place, wrote);
        Ok(())
    }

    /// A read, linearizable, showed a value with the place of its write, and looked up to `upto`.
    pub fn read(
        &mut self,
        shown: Option<(&str, u64)>,
        upto: u64,
        floor: u64,
    ) -> Result<(), String> {
        if upto < floor {
            return Err(format!("a read looked up to {upto}, and {floor} was complete before"));
        }
        self.floor = self.floor.max(upto);
        self.look(shown, upto)
    }

    /// A read of any kind.
    pub fn look(&mut self, shown: Option<(&str, u64)>, upto: u64) -> Result<(), String> {
        let from = match shown {
            Some((value, place)) => {
                if place > upto {
                    return Err(format!("a read up to {upto} showed the write at {place}"));
                }
                if self.never.contains(value) {
                    return Err(format!("{value:?} was refused and is seen"));
                }
                let known = self.writes.get(&place).filter(|w| w.value.as_deref() == Some(value));
                if known.is_none() {
                    let Some(wrote) = self.open.get(value).cloned() else {
                        return Err(format!("{value:?} at {place} was never written there"));
                    };
                    self.place(wrote, place)?;
                }
                place
            }
            // A deletion that was not answered yet may be what is seen, wherever it stands.
            None if self.open_deletes > 0 => return Ok(()),
            None => {
                let newest = self.writes.range(..=upto).next_back();
                match newest {
                    Some((place, wrote)) if wrote.value.is_some() => {
                        return Err(format!(
                            "a read up to {upto} showed nothing, and {place} is {wrote:?}"
                        ));
                    }
                    Some((place, _)) => *place,
                    None => 0,
                }
            }
        };
        let missed = self.writes.range(from + 1..).next().filter(|(place, _)| **place <= upto);
        if let Some((place, wrote)) = missed {
            return Err(format!(
                "a read up to {upto} showed {from}, and missed {place}: {wrote:?}"
            ));
        }
        let furthest = self.shown.entry(from).or_default();
        *furthest = upto.max(*furthest);
        Ok(())
    }
}
