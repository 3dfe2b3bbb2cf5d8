//! The load of lanes: plain writes and reads, as fast or as often as asked.
//!
//! Promises: keys come in the same order for every store; everything that is read is compared with
//! what was acknowledged; an open load's latency counts from when an operation was meant to begin, and
//! one that found no caller in time is told as failed. Closed: each caller asks again when it is
//! answered, so that a stall slows the load down with it. Relies on: [`Book`] for what is right.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::book::Book;
pub use super::counts::Phase;
use super::counts::Tally;
use super::{Lane, Lanes, on_threads, site_of};
use crate::bench::cost::cpu_us;
use crate::bench::pace;
use crate::bench::target::{Failed, Target};
use crate::runtime::limits::{
    BENCH_DRAWS_MAX, BENCH_FILL_TRIES_MAX, BENCH_LANE_PAUSE, BENCH_OP_MAX,
};
use crate::runtime::{Env, Moment};
use crate::wire::Outcome;

/// Neighbours are asked far from each other: the first of these steps that meets every key.
const STRIDES: [u64; 3] = [7_919, 7_907, 7_901];

/// Tallies, so that lanes seldom wait for each other; an even number, so that those of two threads
/// never do.
const TALLIES: u64 = 8;

/// What is done, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Load {
    /// So many callers for so long, with so many PUTs in a hundred; the rest are GETs.
    Closed(u64, u64, Duration),
    /// So many callers send so many PUTs in one request, for so long.
    Batches(u64, u64, Duration),
    /// So many callers for so many PUTs a second, for so long.
    Open(u64, f64, Duration),
    /// So many callers write what was not written yet, so many in one request.
    Fill(u64, u64),
}

impl Load {
    const fn callers(self) -> u64 {
        match self {
            Self::Closed(callers, ..)
            | Self::Batches(callers, ..)
            | Self::Open(callers, ..)
            | Self::Fill(callers, _) => callers,
        }
    }
}

/// Operations of an open load that are due.
#[derive(Debug)]
struct Due {
    moments: Mutex<VecDeque<Moment>>,
    /// As many as there are moments; closed when no more come.
    count: Semaphore,
}

impl Due {
    fn pop(&self) -> Option<Moment> {
        self.moments.lock().pop_front()
    }

    /// The next one; nothing when there are no more.
    async fn next(&self) -> Option<Moment> {
        match self.count.acquire().await {
            Ok(one) => one.forget(),
            // Those that are left are still to be done.
            Err(_) => return self.pop(),
        }
        self.pop()
    }
}

#[derive(Debug)]
struct Drive {
    env: Env,
    lanes: Arc<dyn Lanes>,
    book: Arc<Book>,
    load: Load,
    until: Moment,
    stride: u64,
    /// One for all lanes, or where leaders are asked directly one for each site.
    next: Vec<AtomicU64>,
    due: Due,
    missing: Vec<u64>,
    tallies: Vec<Mutex<Tally>>,
}

/// What one caller holds.
struct Hand {
    lane: Box<dyn Lane>,
    number: u64,
    sequence: usize,
    name: String,
    value: Vec<u8>,
    begun: Vec<(u64, u64)>,
}

/// How a write ended, as the book wants it.
const fn applied(done: Result<(), &Failed>) -> Option<bool> {
    match done {
        Ok(()) => Some(true),
        Err(Failed::Unknown(_)) => None,
        Err(Failed::NotApplied(_) | Failed::Unmet) => Some(false),
    }
}

impl Drive {
    async fn work(self: Arc<Self>, number: u64) {
        let sites = self.lanes.sites();
        let mut hand = Hand {
            lane: self.lanes.lane(number),
            number,
            sequence: if self.next.len() > 1 { site_of(number, sites) } else { 0 },
            name: String::new(),
            value: Vec::new(),
            begun: Vec::new(),
        };
        match self.load {
            Load::Closed(callers, puts, _) => self.closed(&mut hand, callers, puts).await,
            Load::Batches(_, size, _) => self.batches(&mut hand, size).await,
            Load::Open(..) => self.open(&mut hand).await,
            Load::Fill(_, size) => self.fill(&mut hand, size).await,
        }
    }

    fn goes_on(&self, now: Moment) -> bool {
        now < self.until && !self.env.tasks.is_stopping()
    }

    async fn closed(&self, hand: &mut Hand, callers: u64, puts: u64) {
        // Spread over the callers, so that a small share is not one of all at once.
        let mut turn = hand.number.wrapping_mul(100) / callers.max(1);
        loop {
            let now = self.env.clock.now();
            if !self.goes_on(now) {
                return;
            }
            turn += 1;
            // 37 and 100 have no divisor in common: a hundred turns meet each number once.
            if turn.wrapping_mul(37) % 100 < puts {
                self.put(hand, now).await;
            } else {
                self.get(hand, now).await;
            }
        }
    }

    async fn open(&self, hand: &mut Hand) {
        while let Some(intended) = self.due.next().await {
            let now = self.env.clock.now();
            if self.goes_on(now) {
                self.put(hand, intended).await;
            } else {
                let late = Failed::NotApplied("no caller was free in time".to_owned());
                self.tally(hand.number).lock().fail(1, &late);
            }
        }
    }

    fn tally(&self, number: u64) -> &Mutex<Tally> {
        let at = usize::try_from(number % TALLIES).unwrap_or(0);
        self.tallies.get(at).expect("there are so many of them")
    }

    /// The next key that suits the caller, with its name in the hand; after many that do not, one that
    /// does not.
    fn draw(&self, hand: &mut Hand) -> u64 {
        let next = self.next.get(hand.sequence).expect("each site has a sequence");
        let mut key = 0;
        for _ in 0..BENCH_DRAWS_MAX {
            let turn = next.fetch_add(1, Ordering::Relaxed);
            key = turn.wrapping_mul(self.stride) % self.book.keys();
            self.book.name_into(&mut hand.name, key);
            if hand.lane.suits(&hand.name) {
                break;
            }
        }
        key
    }

    /// Notes how a request about one key ended.
    async fn note(&self, number: u64, intended: Moment, done: Result<bool, Failed>) {
        let took = self.env.clock.now().since(intended).as_micros();
        let failed = {
            let mut tally = self.tally(number).lock();
            match done {
                Ok(right) => {
                    tally.ok += 1;
                    tally.wrong += u64::from(!right);
                    tally.times.saturating_record(u64::try_from(took).unwrap_or(u64::MAX));
                    false
                }
                Err(failed) => {
                    tally.fail(1, &failed);
                    true
                }
            }
        };
        if failed {
            sleep(BENCH_LANE_PAUSE).await;
        }
    }

    async fn put(&self, hand: &mut Hand, intended: Moment) {
        for _ in 0..BENCH_DRAWS_MAX {
            let key = self.draw(hand);
            let Some(version) = self.book.begin(key, &mut hand.value) else { continue };
            let done = hand.lane.put(&hand.name, &hand.value).await;
            self.book.end(key, version, applied(done.as_ref().copied()));
            return self.note(hand.number, intended, done.map(|()| true)).await;
        }
        let busy = Failed::NotApplied("there are fewer keys than callers".to_owned());
        self.note(hand.number, intended, Err(busy)).await;
    }

    async fn get(&self, hand: &mut Hand, intended: Moment) {
        let key = self.draw(hand);
        let before = self.book.before(key);
        let done = hand.lane.get(&hand.name).await;
        let done = done.map(|read| self.book.is_right(key, before, read));
        self.note(hand.number, intended, done).await;
    }

    async fn batches(&self, hand: &mut Hand, size: u64) {
        let size = size.min(self.book.keys());
        let slices = (self.book.keys() / size.max(1)).max(1);
        loop {
            let now = self.env.clock.now();
            if !self.goes_on(now) {
                return;
            }
            let next = self.next.first().expect("there is at least one sequence");
            let first = next.fetch_add(1, Ordering::Relaxed) % slices * size;
            self.batch(hand, first..first + size, now).await;
        }
    }

    /// Writes these keys in one request, but those that somebody else is writing.
    async fn batch(&self, hand: &mut Hand, keys: impl Iterator<Item = u64> + Send, now: Moment) {
        hand.begun.clear();
        for key in keys {
            if let Some(version) = self.book.begin(key, &mut hand.value) {
                self.book.name_into(&mut hand.name, key);
                hand.lane.add(&hand.name, &hand.value);
                hand.begun.push((key, version));
            }
        }
        let done = hand.lane.send().await;
        let mut ok = 0;
        for (at, (key, version)) in hand.begun.iter().enumerate() {
            let applied = match &done {
                Ok(outcomes) => match outcomes.get(at) {
                    None | Some(Outcome::Applied) => Some(true),
                    Some(Outcome::NotApplied) => Some(false),
                    Some(Outcome::Unknown) => None,
                },
                Err(failed) => applied(Err(failed)),
            };
            ok += u64::from(applied == Some(true));
            self.book.end(*key, *version, applied);
        }
        let all = u64::try_from(hand.begun.len()).unwrap_or(u64::MAX);
        let took = self.env.clock.now().since(now).as_micros();
        {
            let mut tally = self.tally(hand.number).lock();
            tally.ok += ok;
            if ok == all {
                tally.times.saturating_record(u64::try_from(took).unwrap_or(u64::MAX));
                return;
            }
            let partly = || Failed::Unknown(format!("{} of {all} writes of a batch", all - ok));
            tally.fail(all - ok, &done.err().unwrap_or_else(partly));
        }
        sleep(BENCH_LANE_PAUSE).await;
    }

    async fn fill(&self, hand: &mut Hand, size: u64) {
        let size = usize::try_from(size).unwrap_or(1).max(1);
        let next = self.next.first().expect("there is at least one sequence");
        loop {
            let turn = next.fetch_add(1, Ordering::Relaxed);
            let turn = usize::try_from(turn).unwrap_or(usize::MAX);
            let Some(keys) = self.missing.chunks(size).nth(turn) else { return };
            if size > 1 {
                self.batch(hand, keys.iter().copied(), self.env.clock.now()).await;
            }
            for key in keys {
                if self.book.before(*key).is_written() {
                    continue;
                }
                self.fill_in(hand, *key).await;
            }
            if self.env.tasks.is_stopping() {
                return;
            }
        }
    }

    /// Writes one key, again and again: nobody else writes it, so that twice is as good as once.
    async fn fill_in(&self, hand: &mut Hand, key: u64) {
        for tries in 1.. {
            let Some(version) = self.book.begin(key, &mut hand.value) else { return };
            self.book.name_into(&mut hand.name, key);
            let now = self.env.clock.now();
            let done = hand.lane.put(&hand.name, &hand.value).await;
            let last = tries >= BENCH_FILL_TRIES_MAX || self.env.tasks.is_stopping();
            let ended = applied(done.as_ref().copied());
            self.book.end(key, version, if last { ended } else { ended.or(Some(false)) });
            if done.is_ok() || last {
                return self.note(hand.number, now, done.map(|()| true)).await;
            }
            sleep(BENCH_LANE_PAUSE).await;
        }
    }
}

/// Runs one phase of a load. `pids` are the nodes, of which the CPU time is looked at.
pub async fn phase(
    env: &Env,
    lanes: Arc<dyn Lanes>,
    book: &Arc<Book>,
    pids: &[u32],
    load: Load,
) -> Phase {
    let sequences = if lanes.routed() { lanes.sites() } else { 1 };
    let began = env.clock.now();
    let until = match load {
        Load::Closed(.., lasts) | Load::Batches(.., lasts) => began + lasts,
        Load::Open(.., lasts) => began + lasts + BENCH_OP_MAX,
        Load::Fill(..) => began,
    };
    let keys = book.keys();
    let stride = STRIDES.into_iter().find(|stride| !keys.is_multiple_of(*stride)).unwrap_or(1);
    let drive = Arc::new(Drive {
        env: env.clone(),
        lanes,
        book: Arc::clone(book),
        load,
        until,
        stride,
        next: (0..sequences).map(|_| AtomicU64::new(0)).collect(),
        due: Due { moments: Mutex::default(), count: Semaphore::new(0) },
        missing: if matches!(load, Load::Fill(..)) { book.missing() } else { Vec::new() },
        tallies: (0..TALLIES).map(|_| Mutex::new(Tally::new())).collect(),
    });
    let (cpu, own) = (spent(pids), cpu_us("self"));
    if let Load::Open(_, rate, lasts) = load {
        keep_pace(env, &drive, pace::plan(1, rate, lasts, 1), began);
    }
    let of_all = Arc::clone(&drive);
    on_threads(env, load.callers(), move |number| Arc::clone(&of_all).work(number)).await;
    let seconds = env.clock.now().since(began).as_secs_f64();
    let since = |after: Option<u64>, before: Option<u64>| after?.checked_sub(before?);
    let (cpu_us, own_cpu_us) = (since(spent(pids), cpu), since(cpu_us("self"), own));
    let mut all = Tally::new();
    drive.tallies.iter().for_each(|tally| all.add(&tally.lock()));
    Phase { seconds, cpu_us, own_cpu_us, ..all.into_phase() }
}

/// A thread that says when something is due.
fn keep_pace(env: &Env, drive: &Arc<Drive>, plan: Vec<(Duration, u64)>, begin: Moment) {
    let (clock, drive) = (Arc::clone(&env.clock), Arc::clone(drive));
    drop(env.tasks.thread("bench-pace", move || {
        for (at, _) in plan {
            let due = begin + at;
            pace::wait(&*clock, due);
            drive.due.moments.lock().push_back(due);
            drive.due.count.add_permits(1);
            if drive.env.tasks.is_stopping() {
                break;
            }
        }
        drive.due.count.close();
    }));
}

/// CPU time of processes together.
pub fn spent(pids: &[u32]) -> Option<u64> {
    (!pids.is_empty()).then(|| pids.iter().map(|pid| cpu_us(&pid.to_string())).sum())?
}

/// Reads a sample back through every site; how many keys were read, and how many were not as
/// acknowledged.
pub async fn check(target: &dyn Target, book: &Book) -> (u64, u64) {
    const SAMPLE: u64 = 1_000;
    let (mut checked, mut wrong) = (0, 0);
    let keys = book.keys();
    let stride = STRIDES.into_iter().find(|stride| !keys.is_multiple_of(*stride)).unwrap_or(1);
    for number in 0..SAMPLE.min(keys) {
        let key = number.wrapping_mul(stride) % keys;
        let before = book.before(key);
        let seen = target.read_back(1 + number % target.sites(), &book.name(key)).await;
        checked += 1;
        let shown = |seen: &[crate::bench::target::Shown]| {
            book.is_right(key, before, seen.first().map(|shown| shown.value.as_ref()))
        };
        wrong += u64::from(!seen.is_ok_and(|seen| shown(&seen.values)));
    }
    (checked, wrong)
}

#[cfg(test)]
mod tests;
