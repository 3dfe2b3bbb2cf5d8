//! What is done: the workloads, and the choice of the next operation.
//!
//! Why it exists: "writes a second" says nothing; a loss shows in what people do with a store. Besides
//! the mixes of YCSB there are the four classic victims: a counter, a shopping cart, a profile that
//! several people edit, and a stock that must not be sold twice. What each comes to in each mode is in
//! [`super::perform`].
//!
//! Promises: the same seed chooses the same operations in the same order, at each site its own.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::draw::{Zipf, unit};
use super::mode::Mode;
use crate::runtime::Rng;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Workload {
    /// Half reads, half writes.
    YcsbA,
    /// 95 % reads, 5 % writes.
    YcsbB,
    /// Reads only.
    YcsbC,
    /// Reads of what was inserted last; 5 % insertions.
    YcsbD,
    /// Half reads, half reads that are written back.
    YcsbF,
    /// Adds one.
    Counter,
    /// Puts items into carts (80 %), takes some out again (15 %), looks (5 %).
    Cart,
    /// The writers of each site set a field of their own in one key.
    Profile,
    /// Sells pieces of a stock that must not go below zero.
    Inventory,
}

/// A name that is none.
#[derive(Debug, thiserror::Error)]
#[error("there is no workload \"{name}\"; choose among {}", Workload::ALL.map(Workload::name).join(", "))]
pub struct UnknownWorkload {
    name: String,
}

impl Workload {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::YcsbA,
        Self::YcsbB,
        Self::YcsbC,
        Self::YcsbD,
        Self::YcsbF,
        Self::Counter,
        Self::Cart,
        Self::Profile,
        Self::Inventory,
    ];

    /// Its name in reports and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::YcsbA => "ycsb-a",
            Self::YcsbB => "ycsb-b",
            Self::YcsbC => "ycsb-c",
            Self::YcsbD => "ycsb-d",
            Self::YcsbF => "ycsb-f",
            Self::Counter => "counter",
            Self::Cart => "cart",
            Self::Profile => "profile",
            Self::Inventory => "inventory",
        }
    }

    /// The share of reads, unless it is set.
    pub const fn reads(self) -> f64 {
        match self {
            Self::YcsbA | Self::YcsbF => 0.5,
            Self::YcsbB | Self::YcsbD => 0.95,
            Self::YcsbC => 1.0,
            Self::Cart => 0.05,
            Self::Counter | Self::Profile | Self::Inventory => 0.0,
        }
    }

    /// How many keys, unless it is set: enough of them that a few seconds of load do not hit one
    /// only, few enough that they meet.
    pub const fn keys(self) -> u64 {
        match self {
            Self::Cart | Self::Profile => 100,
            Self::Inventory => 20,
            _ => 1_000,
        }
    }

    /// Whether it makes sense in a mode: a counter takes no documents.
    pub const fn fits(self, mode: Mode) -> bool {
        match mode {
            Mode::Linearizable | Mode::LinearizableSession | Mode::Lww | Mode::LwwAck2 => true,
            Mode::Mv => !matches!(self, Self::Counter | Self::Profile | Self::Inventory),
            Mode::Counter => matches!(self, Self::Counter | Self::Inventory),
            Mode::Set => matches!(self, Self::Cart),
            Mode::Map => matches!(self, Self::Profile),
        }
    }

    /// Whether it writes values that are read back one by one.
    pub const fn is_ycsb(self) -> bool {
        matches!(self, Self::YcsbA | Self::YcsbB | Self::YcsbC | Self::YcsbD | Self::YcsbF)
    }

    /// Places of one key that are written for themselves.
    pub const fn fields(self) -> u64 {
        if matches!(self, Self::Profile) { PROFILE_FIELDS } else { 1 }
    }
}

/// Fields of a profile, each with writers of its own.
pub const PROFILE_FIELDS: u64 = 3;

/// Pieces of each key of a stock.
pub const STOCK: i64 = 40;

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Workload {
    type Err = UnknownWorkload;

    fn from_str(name: &str) -> Result<Self, UnknownWorkload> {
        let found = Self::ALL.into_iter().find(|workload| workload.name() == name);
        found.ok_or_else(|| UnknownWorkload { name: name.to_owned() })
    }
}

/// One operation, on a key's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Looks.
    Read(u64),
    /// Sets, without having looked.
    Write(u64),
    /// Sets a key that was not there.
    Insert(u64),
    /// Looks, and sets.
    Rewrite(u64),
    /// Adds one.
    Add(u64),
    /// Puts a new item into a cart.
    PutIn(u64),
    /// Takes an item out of a cart that is seen there.
    TakeOut(u64),
    /// Sets one field.
    SetField(u64, u64),
    /// Sells one piece, if there is one.
    Sell(u64),
}

impl Op {
    /// The key's number.
    pub const fn key(self) -> u64 {
        match self {
            Self::Read(key)
            | Self::Write(key)
            | Self::Insert(key)
            | Self::Rewrite(key)
            | Self::Add(key)
            | Self::PutIn(key)
            | Self::TakeOut(key)
            | Self::SetField(key, _)
            | Self::Sell(key) => key,
        }
    }

    /// The kind's name in reports.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Read(_) => "read",
            Self::Write(_) => "write",
            Self::Insert(_) => "insert",
            Self::Rewrite(_) => "rmw",
            Self::Add(_) => "add",
            Self::PutIn(_) => "put-in",
            Self::TakeOut(_) => "take-out",
            Self::SetField(..) => "set-field",
            Self::Sell(_) => "sell",
        }
    }
}

/// Chooses operations.
#[derive(Clone, Debug)]
pub struct Choice {
    workload: Workload,
    reads: f64,
    keys: Zipf,
    /// How many keys there are, of which the last are the newest.
    there: Arc<AtomicU64>,
    /// How many there may ever be.
    most: u64,
}

impl Choice {
    /// Of a workload with this share of reads over these keys; insertions may add keys up to `most`.
    pub fn new(workload: Workload, reads: f64, keys: Zipf, most: u64) -> Self {
        let there = Arc::new(AtomicU64::new(keys.keys()));
        Self { workload, reads, keys, there, most }
    }

    /// The next operation of a site.
    pub fn next(&self, site: u64, rng: &Rng) -> Op {
        let key = self.keys.draw(rng);
        let reads = unit(rng) < self.reads;
        match self.workload {
            Workload::YcsbD if reads => Op::Read(self.newest(key)),
            Workload::YcsbD => self.insert().unwrap_or(Op::Write(key)),
            _ if reads => Op::Read(key),
            Workload::YcsbA | Workload::YcsbB | Workload::YcsbC => Op::Write(key),
            Workload::YcsbF => Op::Rewrite(key),
            Workload::Counter => Op::Add(key),
            // 80 of 95 that change something put in.
            Workload::Cart if unit(rng) < 80.0 / 95.0 => Op::PutIn(key),
            Workload::Cart => Op::TakeOut(key),
            Workload::Profile => Op::SetField(key, site.saturating_sub(1) % PROFILE_FIELDS),
            Workload::Inventory => Op::Sell(key),
        }
    }

    /// The key that is as far from the newest as `rank` is from the first.
    fn newest(&self, rank: u64) -> u64 {
        self.there.load(Ordering::Relaxed).saturating_sub(1).saturating_sub(rank)
    }

    fn insert(&self) -> Option<Op> {
        let next = |there: u64| (there < self.most).then_some(there + 1);
        self.there.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok().map(Op::Insert)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::draw::ZIPF;

    fn mix(workload: Workload, many: usize) -> Vec<Op> {
        let choice = Choice::new(workload, workload.reads(), Zipf::new(100, ZIPF), 10_000);
        let rng = Rng::seeded(5);
        (0..many).map(|at| choice.next(1 + at as u64 % 3, &rng)).collect()
    }

    #[test]
    fn names_read_back_and_every_mode_has_something_to_do() {
        for workload in Workload::ALL {
            assert_eq!(workload.name().parse::<Workload>().unwrap(), workload);
        }
        "ycsb-z".parse::<Workload>().unwrap_err();
        for mode in Mode::ALL {
            assert!(Workload::ALL.iter().any(|workload| workload.fits(mode)), "{mode}");
        }
    }

    #[test]
    fn each_mix_has_its_shares() {
        let share = |workload, of: fn(&Op) -> bool| {
            let ops = mix(workload, 20_000);
            ops.iter().filter(|op| of(op)).count() / 200
        };
        assert!((48..=52).contains(&share(Workload::YcsbA, |op| matches!(op, Op::Write(_)))));
        assert!((4..=6).contains(&share(Workload::YcsbB, |op| matches!(op, Op::Write(_)))));
        assert_eq!(share(Workload::YcsbC, |op| matches!(op, Op::Read(_))), 100);
        assert!((48..=52).contains(&share(Workload::YcsbF, |op| matches!(op, Op::Rewrite(_)))));
        assert!((78..=82).contains(&share(Workload::Cart, |op| matches!(op, Op::PutIn(_)))));
        assert!((13..=17).contains(&share(Workload::Cart, |op| matches!(op, Op::TakeOut(_)))));
        assert_eq!(share(Workload::Counter, |op| matches!(op, Op::Add(_))), 100);
    }

    #[test]
    fn insertions_add_keys_which_are_then_read_most() {
        let ops = mix(Workload::YcsbD, 20_000);
        let inserted = ops.iter().filter(|op| matches!(op, Op::Insert(_))).count();
        assert!((900..1_100).contains(&inserted), "{inserted}");
        let last = ops.iter().rev().find_map(|op| match op {
            Op::Read(key) => Some(*key),
            _ => None,
        });
        assert!(last.unwrap() > 900, "{last:?}");
    }

    #[test]
    fn the_writers_of_a_profile_set_different_fields() {
        let fields: std::collections::BTreeSet<_> = mix(Workload::Profile, 100)
            .into_iter()
            .map(|op| match op {
                Op::SetField(_, field) => field,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(fields.len() as u64, PROFILE_FIELDS);
    }
}
