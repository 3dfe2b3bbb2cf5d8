//! Many histories on all processors, and what they came to.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::history::{Counts, run};
use crate::rules::Broken;
use crate::verdict::Verdict;

/// What a number of histories came to.
#[derive(Clone, Debug, Default)]
pub struct Total {
    pub runs: u64,
    pub diverged: u64,
    pub wrong_rows: u64,
    pub wrong_fates: u64,
    pub wrong: u64,
    /// The lowest seed that went wrong, and how.
    pub first: Option<(u64, String)>,
    pub counts: Counts,
}

/// Runs these seeds, or fewer once `enough` of them are wrong.
pub fn sweep(broken: Broken, seeds: Range<u64>, enough: u64, done: impl Fn() + Sync) -> Total {
    let next = AtomicU64::new(seeds.start);
    let total = Mutex::new(Total::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || total.lock().unwrap().wrong >= enough {
                        return;
                    }
                    let (verdict, counts) = run(seed, broken);
                    add(&mut total.lock().unwrap(), seed, verdict, &counts);
                    done();
                }
            });
        }
    });
    total.into_inner().unwrap()
}

fn add(total: &mut Total, seed: u64, verdict: Verdict, counts: &Counts) {
    total.runs += 1;
    total.diverged += u64::from(verdict.diverged);
    total.wrong_rows += u64::from(verdict.wrong_rows);
    total.wrong_fates += u64::from(verdict.wrong_fates);
    total.wrong += u64::from(!verdict.is_right());
    if let Some(why) = verdict.why
        && total.first.as_ref().is_none_or(|(first, _)| seed < *first)
    {
        total.first = Some((seed, why));
    }
    let sum = &mut total.counts;
    for (sum, more) in [
        (&mut sum.ops, counts.ops),
        (&mut sum.syncs, counts.syncs),
        (&mut sum.cuts, counts.cuts),
        (&mut sum.crashes, counts.crashes),
        (&mut sum.joined, counts.joined),
        (&mut sum.left, counts.left),
    ] {
        *sum += more;
    }
}
