//! Two keys of one group that are only ever written together, by a transaction, with one value.
//!
//! A transaction that reads both never sees two values, nor a value that nobody wrote, nor one older than
//! what was complete when it began.

use std::collections::BTreeMap;

/// All that is known of a pair.
#[derive(Debug, Default)]
pub struct Pair {
    /// Values that were asked for, with their place once it is known.
    asked: BTreeMap<String, Option<u64>>,
    floor: u64,
}

impl Pair {
    /// What an operation that begins now must not fall behind.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// A write of both begins.
    pub fn begin(&mut self, value: &str) {
        self.asked.insert(value.to_owned(), None);
    }

    /// It was acknowledged at a place.
    pub fn done(&mut self, value: &str, place: u64, floor: u64) -> Result<(), String> {
        if place <= floor {
            return Err(format!("a write has place {place}, and {floor} was complete before"));
        }
        self.floor = self.floor.max(place);
        self.placed(value, place)
    }

    fn placed(&mut self, value: &str, place: u64) -> Result<(), String> {
        match self.asked.get_mut(value) {
            None => Err(format!("{value:?} was never written")),
            Some(Some(known)) if *known != place => {
                Err(format!("{value:?} was written at {known} and at {place}"))
            }
            Some(known) => {
                *known = Some(place);
                Ok(())
            }
        }
    }

    /// A transaction read both; each with the place of its write, all reflecting `upto`.
    pub fn read(
        &mut self,
        both: [Option<(&str, u64)>; 2],
        upto: u64,
        floor: u64,
    ) -> Result<(), String> {
        if upto < floor {
            return Err(format!("a read looked up to {upto}, and {floor} was complete before"));
        }
        self.floor = self.floor.max(upto);
        if both[0] != both[1] {
            return Err(format!("a transaction was seen in halves: {both:?}"));
        }
        let shown = match both[0] {
            Some((value, place)) => {
                self.placed(value, place)?;
                place
            }
            None => 0,
        };
        let places = self.asked.values().flatten();
        match places.copied().find(|place| *place > shown && *place <= upto) {
            Some(missed) => Err(format!("a read up to {upto} showed {shown}, and missed {missed}")),
            None => Ok(()),
        }
    }
}
