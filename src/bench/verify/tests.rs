//! Reading back finds what is wrong: with the store, and with the books.
//!
//! A store in memory takes the load of each workload; then it is made to lie, or the books are, and
//! each lie must be found.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::*;
use crate::bench::draw::{ZIPF, Zipf};
use crate::bench::ledger::{Ledger, Planted};
use crate::bench::pace::Fire;
use crate::bench::round::Round;
use crate::bench::target::{Acked, Change, Over, Shown, Target};
use crate::bench::workload::Choice;
use crate::runtime::{Env, Moment};

/// How the store lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Lie {
    #[default]
    None,
    /// Every so many writes one is acknowledged and not made.
    Drops(u64),
    /// Every so many conditional writes one ignores its condition.
    IgnoresCondition(u64),
    /// Every so many writes one is refused, and made all the same.
    RefusesAndDoes(u64),
    /// Reads at the other sites show what was there before the newest write.
    Lags,
    /// Of writes that nobody saw it says that they were replaced by who had seen them.
    HidesLosses,
}

#[derive(Clone, Debug)]
struct Held {
    value: Bytes,
    revision: u64,
    before: Option<Bytes>,
}

/// One node that three sites ask, or with `lww` one that ranks writes and names what they lose.
#[derive(Debug, Default)]
struct Memory {
    lww: bool,
    lie: Lie,
    held: Mutex<BTreeMap<String, Held>>,
    fates: Mutex<BTreeMap<String, Fate>>,
    revision: AtomicU64,
}

impl Memory {
    fn put(&self, key: &str, value: Bytes, over: Over<'_>) -> Result<Acked, Failed> {
        let mut held = self.held.lock();
        let revision = 1 + self.revision.fetch_add(1, Ordering::Relaxed);
        let old = held.get(key).cloned();
        let matches = match over {
            Over::Anything => true,
            Over::Seen(seen) => seen.token == old.as_ref().map(|old| old.revision.to_string()),
        };
        let due = |every: u64| revision.is_multiple_of(every);
        let ignores = matches!(self.lie, Lie::IgnoresCondition(every) if due(every));
        if !matches && !self.lww && !ignores {
            return Err(Failed::Unmet);
        }
        let name = format!("w{revision}");
        if let (Some(old), true) = (&old, self.lww) {
            let lost = !matches && self.lie != Lie::HidesLosses;
            let fate = if lost { Fate::Lost } else { Fate::Superseded };
            self.fates.lock().insert(format!("w{}", old.revision), fate);
        }
        let acked = Acked { name: self.lww.then_some(name), order: Some(revision), proof: None };
        if matches!(self.lie, Lie::Drops(every) if due(every)) {
            return Ok(acked);
        }
        let before = old.map(|old| old.value);
        held.insert(key.to_owned(), Held { value, revision, before });
        if matches!(self.lie, Lie::RefusesAndDoes(every) if due(every)) {
            return Err(Failed::NotApplied("so it says".to_owned()));
        }
        Ok(acked)
    }
}

#[async_trait]
impl Target for Memory {
    fn sites(&self) -> u64 {
        3
    }

    async fn read(&self, site: u64, key: &str) -> Result<Seen, Failed> {
        // Lets others come between a read and the write that follows it.
        tokio::task::yield_now().await;
        let held = self.held.lock().get(key).cloned();
        Ok(held.map_or_else(Seen::default, |held| {
            let old = (self.lie == Lie::Lags && site > 1).then_some(held.before).flatten();
            let name = self.lww.then(|| format!("w{}", held.revision));
            let shown = Shown { value: old.unwrap_or(held.value), name };
            Seen { values: vec![shown], token: Some(held.revision.to_string()) }
        }))
    }

    async fn write(
        &self,
        _site: u64,
        key: &str,
        value: Bytes,
        over: Over<'_>,
    ) -> Result<Acked, Failed> {
        tokio::task::yield_now().await;
        self.put(key, value, over)
    }

    async fn change(&self, _site: u64, _key: &str, change: &Change) -> Result<Acked, Failed> {
        Err(Failed::NotApplied(format!("{change:?} is of no use here")))
    }

    async fn fate(&self, _key: &str, name: &str) -> Result<Option<Fate>, Failed> {
        Ok(Some(self.fates.lock().get(name).copied().unwrap_or(Fate::Current)))
    }
}

/// Loads a store, and reads back.
async fn judged(memory: Memory, workload: Workload, planted: Option<Planted>) -> Run {
    let env = Env::system();
    let keys = workload.keys().min(50);
    let mut ledger = Ledger::new(keys, workload.fields());
    ledger.values.planted = planted;
    let mode = if memory.lww { Mode::Lww } else { Mode::Linearizable };
    let (target, value_bytes, watch) = (Arc::new(memory), 32, None);
    let shop = Shop { env: env.clone(), target, ledger, mode, workload, value_bytes, watch };
    for key in 0..keys {
        if workload.is_ycsb() {
            // Whoever lies may do so from the first write on.
            drop(shop.write_blind(1, key, (true, value_bytes)).await);
        } else if workload == Workload::Inventory {
            let stock = STOCK.to_string().into();
            drop(shop.target.write(1, &shop.key(key), stock, Over::Anything).await);
        }
    }
    let filled = shop.ledger.acked();
    let span = (env.clock.now(), Moment(u64::MAX));
    let tally = Tally::new(3, span, mode == Mode::Linearizable);
    let choice = Choice::new(workload, workload.reads(), Zipf::new(keys, ZIPF), keys);
    let round = Round::new(shop, tally, choice, 11);
    let site = |site: u64| {
        let round = &round;
        async move {
            for _ in 0..400 {
                let job = round.draw(site);
                round.fire(site, job, round.shop.env.clock.now(), false).await;
            }
        }
    };
    // Two at each site.
    tokio::join!(site(1), site(2), site(3), site(1), site(2), site(3));
    let mut run = Run::default();
    verify(&round.shop, &round.tally, filled, &mut run).await;
    run
}

const ALL: [Workload; 6] = [
    Workload::YcsbA,
    Workload::YcsbF,
    Workload::Counter,
    Workload::Cart,
    Workload::Profile,
    Workload::Inventory,
];

#[tokio::test]
async fn a_store_that_keeps_its_word_passes_with_every_workload() {
    for workload in ALL {
        let run = judged(Memory::default(), workload, None).await;
        assert!(run.verified.checked > 20, "{workload}: {:?}", run.verified);
        assert_eq!(run.verified.wrong, 0, "{workload}: {:?}", run.verified);
        assert_eq!(run.verified.blurred, 0, "{workload}");
    }
}

#[tokio::test]
async fn an_acknowledged_write_that_is_gone_is_found() {
    for workload in ALL {
        let memory = Memory { lie: Lie::Drops(23), ..Memory::default() };
        let run = judged(memory, workload, None).await;
        assert!(run.verified.wrong > 0, "{workload}: {:?}", run.verified);
        assert!(!run.verified.examples.is_empty(), "and said in words");
    }
}

#[tokio::test]
async fn a_condition_that_is_ignored_is_found() {
    for workload in [Workload::Counter, Workload::Cart] {
        let memory = Memory { lie: Lie::IgnoresCondition(3), ..Memory::default() };
        let run = judged(memory, workload, None).await;
        assert!(run.verified.wrong > 0, "{workload}: {:?}", run.verified);
    }
}

#[tokio::test]
async fn a_refusal_that_had_an_effect_is_found() {
    for workload in [Workload::YcsbA, Workload::Counter] {
        let memory = Memory { lie: Lie::RefusesAndDoes(7), ..Memory::default() };
        let run = judged(memory, workload, None).await;
        assert!(run.verified.wrong > 0, "{workload}: {:?}", run.verified);
    }
}

#[tokio::test]
async fn a_linearizable_read_that_is_old_is_found() {
    let memory = Memory { lie: Lie::Lags, ..Memory::default() };
    let run = judged(memory, Workload::YcsbA, None).await;
    assert!(run.verified.wrong > 0, "{:?}", run.verified);
    let said = run.verified.examples.iter().any(|text| text.contains("lacked"));
    assert!(said, "{:?}", run.verified.examples);
}

#[tokio::test]
async fn what_is_lost_by_rank_is_counted_and_is_no_fault() {
    for workload in ALL {
        let run = judged(Memory { lww: true, ..Memory::default() }, workload, None).await;
        assert_eq!(run.verified.wrong, 0, "{workload}: {:?}", run.verified);
        if workload == Workload::YcsbF {
            let loss = run.loss.unwrap();
            assert!(loss.direct > 0.0 && loss.effective >= loss.direct, "{loss:?}");
        }
    }
    let sums = judged(Memory { lww: true, ..Memory::default() }, Workload::Counter, None).await;
    assert!(sums.counter.unwrap().error > 0.0);
}

#[tokio::test]
async fn losses_that_the_store_hides_are_found_by_lineage() {
    let memory = Memory { lww: true, lie: Lie::HidesLosses, ..Memory::default() };
    let run = judged(memory, Workload::YcsbF, None).await;
    assert!(run.verified.wrong > 0, "{:?}", run.verified);
    let said = run.verified.examples.iter().any(|text| text.contains("by lineage"));
    assert!(said, "{:?}", run.verified.examples);
}

#[tokio::test]
async fn a_fault_planted_into_the_books_is_found() {
    for workload in [Workload::YcsbA, Workload::YcsbF, Workload::Profile] {
        for planted in [Planted::Forgets(50), Planted::Denies(50)] {
            let run = judged(Memory::default(), workload, Some(planted)).await;
            assert!(run.verified.wrong > 0, "{workload}, {planted:?}: {:?}", run.verified);
            let said = run.verified.examples.iter().any(|text| text.contains("in the books"));
            assert!(said, "{:?}", run.verified.examples);
        }
    }
}
