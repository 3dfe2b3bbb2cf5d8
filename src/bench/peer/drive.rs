//! The load of a comparison with a peer: plain writes and reads, as fast or as often as asked.
//!
//! Why it exists beside the load of `bench compare`: that one keeps a book of every write, which costs as
//! much as the write. Here both sides are asked for speed; what was written is checked by a sample.
//!
//! Promises: the same keys in the same order for both sides; a key that was written by two at a time, or
//! with an unknown outcome, is not judged; everything that is read is compared with what was
//! acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;
use parking_lot::Mutex;

use crate::bench::cost::cpu_us;
use crate::bench::pace::{self, Fire};
use crate::bench::target::{Failed, Over, Target};
use crate::runtime::limits::BENCH_OP_MAX;
use crate::runtime::{Env, Moment};

/// Keys are taken in strides that have no divisor in common with the usual numbers of keys, so that
/// neighbours are asked far from each other.
const STRIDE: u64 = 7_919;

/// What is known of the keys.
#[derive(Debug)]
pub(super) struct Book {
    value_bytes: usize,
    /// Newest acknowledged version of each key; 0: none.
    versions: Vec<AtomicU64>,
    busy: Vec<AtomicBool>,
    /// Whether nobody can say what is there.
    blurred: Vec<AtomicBool>,
}

impl Book {
    pub(super) fn new(keys: u64, value_bytes: usize) -> Arc<Self> {
        let flags = || (0..keys).map(|_| AtomicBool::new(false)).collect();
        let versions = (0..keys).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self { value_bytes, versions, busy: flags(), blurred: flags() })
    }

    pub(super) fn keys(&self) -> u64 {
        u64::try_from(self.versions.len()).unwrap_or(u64::MAX)
    }

    fn of<T>(all: &[T], key: u64) -> &T {
        let at = usize::try_from(key).unwrap_or(usize::MAX);
        all.get(at).expect("a key's number is below the number of keys")
    }

    pub(super) fn name(key: u64) -> String {
        format!("peer/{key:08}")
    }

    fn value(&self, key: u64, version: u64) -> Bytes {
        let mut value = format!("{key:08}:{version:08x}").into_bytes();
        value.resize(self.value_bytes.max(value.len()), b'.');
        Bytes::from(value)
    }

    /// The next value of a key that is about to be written.
    pub(super) fn begin(&self, key: u64) -> (u64, Bytes) {
        if Self::of(&self.busy, key).swap(true, Ordering::AcqRel) {
            self.blur(key);
        }
        let version = Self::of(&self.versions, key).load(Ordering::Acquire) + 1;
        (version, self.value(key, version))
    }

    /// What became of it.
    pub(super) fn end(&self, key: u64, version: u64, applied: Option<bool>) {
        match applied {
            Some(true) => Self::of(&self.versions, key).store(version, Ordering::Release),
            Some(false) => {}
            None => self.blur(key),
        }
        Self::of(&self.busy, key).store(false, Ordering::Release);
    }

    /// Writes a key; whether it was acknowledged.
    pub(super) async fn put(&self, target: &dyn Target, site: u64, key: u64) -> bool {
        self.write(target, site, key).await.is_ok()
    }

    async fn write(&self, target: &dyn Target, site: u64, key: u64) -> Result<(), Failed> {
        let (version, value) = self.begin(key);
        let done = target.write(site, &Self::name(key), value, Over::Anything).await;
        let applied = match &done {
            Ok(_) => Some(true),
            Err(Failed::Unknown(_)) => None,
            Err(_) => Some(false),
        };
        self.end(key, version, applied);
        done.map(drop)
    }

    /// Keys of which nothing was acknowledged yet.
    pub(super) fn missing(&self) -> Vec<u64> {
        (0..self.keys())
            .filter(|key| Self::of(&self.versions, *key).load(Ordering::Acquire) == 0)
            .collect()
    }

    fn blur(&self, key: u64) {
        Self::of(&self.blurred, key).store(true, Ordering::Release);
    }

    /// Whether this may be read while nobody writes.
    fn is_right(&self, key: u64, read: Option<&Bytes>) -> bool {
        if Self::of(&self.blurred, key).load(Ordering::Acquire) {
            return true;
        }
        let version = Self::of(&self.versions, key).load(Ordering::Acquire);
        let expected = (version > 0).then(|| self.value(key, version));
        read == expected.as_ref()
    }
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Put,
    Get,
}

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Much {
    /// So many connections, each asking again when it is answered, for so long.
    Closed(u64, Duration),
    /// So many a second, for so long.
    Open(f64, Duration),
}

/// What a phase came to.
#[derive(Debug)]
pub(super) struct Phase {
    pub(super) ok: u64,
    pub(super) failed: u64,
    /// Reads that did not show what was acknowledged.
    pub(super) wrong: u64,
    pub(super) seconds: f64,
    /// In microseconds, from the intended start.
    times: Histogram<u64>,
    /// CPU time of the nodes.
    pub(super) cpu_us: Option<u64>,
    /// Why the first one failed that did.
    pub(super) why: Option<String>,
}

impl Phase {
    #[allow(clippy::cast_precision_loss, reason = "a figure for display needs no more digits")]
    pub(super) fn per_second(&self) -> f64 {
        self.ok as f64 / self.seconds.max(1e-9)
    }

    #[allow(clippy::cast_precision_loss, reason = "a figure for display needs no more digits")]
    pub(super) fn quantile_ms(&self, quantile: f64) -> f64 {
        self.times.value_at_quantile(quantile) as f64 / 1_000.0
    }

    #[allow(clippy::cast_precision_loss, reason = "a figure for display needs no more digits")]
    pub(super) fn cpu_us_per_op(&self) -> Option<f64> {
        self.cpu_us.map(|us| us as f64 / self.ok.max(1) as f64)
    }
}

#[derive(Debug)]
struct Tally {
    times: Histogram<u64>,
    ok: u64,
    failed: u64,
    wrong: u64,
    why: Option<String>,
}

struct Drive {
    env: Env,
    target: Arc<dyn Target>,
    book: Arc<Book>,
    kind: Kind,
    next: AtomicU64,
    /// By site, so that they do not wait for each other.
    tallies: Vec<Mutex<Tally>>,
}

impl Drive {
    fn note(&self, site: u64, intended: Moment, done: Result<bool, Failed>) {
        let took = self.env.clock.now().since(intended).as_micros();
        let at = usize::try_from(site.saturating_sub(1)).unwrap_or(usize::MAX);
        let mut tally = self.tallies.get(at).expect("a site has a number from 1 on").lock();
        match done {
            Ok(right) => {
                tally.ok += 1;
                tally.wrong += u64::from(!right);
                tally.times.saturating_record(u64::try_from(took).unwrap_or(u64::MAX));
            }
            Err(failed) => {
                tally.failed += 1;
                tally.why.get_or_insert_with(|| failed.to_string());
            }
        }
    }
}

impl Fire for Drive {
    type Job = u64;

    fn draw(&self, _site: u64) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed).wrapping_mul(STRIDE) % self.book.keys()
    }

    async fn fire(&self, site: u64, key: u64, intended: Moment, _late: bool) {
        let done = match self.kind {
            Kind::Put => self.book.write(&*self.target, site, key).await.map(|()| true),
            Kind::Get => {
                let seen = self.target.read(site, &Book::name(key)).await;
                let value = |values: &[crate::bench::target::Shown]| {
                    values.first().map(|shown| shown.value.clone())
                };
                seen.map(|seen| self.book.is_right(key, value(&seen.values).as_ref()))
            }
        };
        self.note(site, intended, done);
    }

    fn never(&self, site: u64, _key: u64, intended: Moment) {
        self.note(
            site,
            intended,
            Err(Failed::NotApplied("there was no place for it in time".to_owned())),
        );
    }
}

/// Runs one phase.
pub(super) async fn phase(
    env: &Env,
    target: &Arc<dyn Target>,
    book: &Arc<Book>,
    pids: &[u32],
    (kind, much, first): (Kind, Much, u64),
) -> Phase {
    let sites = target.sites();
    let empty = || Tally {
        times: Histogram::new_with_bounds(1, 600_000_000, 3)
            .expect("the bounds are fixed and proper"),
        ok: 0,
        failed: 0,
        wrong: 0,
        why: None,
    };
    let drive = Arc::new(Drive {
        env: env.clone(),
        target: Arc::clone(target),
        book: Arc::clone(book),
        kind,
        next: AtomicU64::new(first),
        tallies: (0..sites).map(|_| Mutex::new(empty())).collect(),
    });
    let (began, cpu) = (env.clock.now(), spent(pids));
    match much {
        Much::Closed(connections, lasts) => {
            pace::closed(env, &drive, (connections, sites), began + lasts).await;
        }
        Much::Open(rate, lasts) => {
            let plan = pace::plan(sites, rate, lasts, 1);
            pace::open(env, &drive, plan, (began, began + lasts + BENCH_OP_MAX)).await;
        }
    }
    let seconds = env.clock.now().since(began).as_secs_f64();
    let cpu_us = spent(pids).zip(cpu).and_then(|(after, before)| after.checked_sub(before));
    let mut all = empty();
    for tally in &drive.tallies {
        let tally = tally.lock();
        all.times.add(&tally.times).expect("all histograms have the same bounds");
        all.ok += tally.ok;
        all.failed += tally.failed;
        all.wrong += tally.wrong;
        all.why = all.why.or_else(|| tally.why.clone());
    }
    Phase {
        ok: all.ok,
        failed: all.failed,
        wrong: all.wrong,
        seconds,
        times: all.times,
        cpu_us,
        why: all.why,
    }
}

/// CPU time of processes together.
pub(super) fn spent(pids: &[u32]) -> Option<u64> {
    pids.iter().map(|pid| cpu_us(&pid.to_string())).sum()
}

/// Reads a sample back through every site; how many keys were read, and how many were not as
/// acknowledged.
pub(super) async fn check(target: &Arc<dyn Target>, book: &Book) -> (u64, u64) {
    const SAMPLE: u64 = 1_000;
    let (mut checked, mut wrong) = (0, 0);
    for number in 0..SAMPLE.min(book.keys()) {
        let key = number.wrapping_mul(STRIDE) % book.keys();
        let seen = target.read_back(1 + number % target.sites(), &Book::name(key)).await;
        checked += 1;
        let right = seen
            .is_ok_and(|seen| book.is_right(key, seen.values.first().map(|shown| &shown.value)));
        wrong += u64::from(!right);
    }
    (checked, wrong)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use async_trait::async_trait;

    use super::*;
    use crate::bench::target::{Acked, Change, Seen, Shown};

    /// A store in memory that forgets one key in so many.
    #[derive(Debug, Default)]
    struct Memory {
        values: Mutex<BTreeMap<String, Bytes>>,
        forgets: Option<String>,
    }

    #[async_trait]
    impl Target for Memory {
        fn sites(&self) -> u64 {
            3
        }

        async fn read(&self, _site: u64, key: &str) -> Result<Seen, Failed> {
            let value = self.values.lock().get(key).cloned();
            let values = value.map(|value| Shown { value, name: None }).into_iter().collect();
            Ok(Seen { values, token: None })
        }

        async fn write(
            &self,
            _: u64,
            key: &str,
            value: Bytes,
            _: Over<'_>,
        ) -> Result<Acked, Failed> {
            tokio::task::yield_now().await;
            if self.forgets.as_deref() != Some(key) {
                self.values.lock().insert(key.to_owned(), value);
            }
            Ok(Acked::default())
        }

        async fn change(&self, _: u64, _: &str, _: &Change) -> Result<Acked, Failed> {
            Err(Failed::Unmet)
        }

        async fn shows(&self, _: u64, _: &str, _: &Acked, _: Duration) -> Result<bool, Failed> {
            Ok(true)
        }
    }

    async fn fill(memory: Memory) -> (u64, u64, u64) {
        let env = Env::system();
        let (target, book): (Arc<dyn Target>, _) = (Arc::new(memory), Book::new(50, 64));
        let much = Much::Closed(4, Duration::from_millis(60));
        let put = phase(&env, &target, &book, &[], (Kind::Put, much, 0)).await;
        assert!(put.ok > 0 && put.failed == 0 && put.wrong == 0, "{put:?}");
        let get = phase(&env, &target, &book, &[], (Kind::Get, much, 0)).await;
        let (checked, wrong) = check(&target, &book).await;
        (checked, wrong, get.wrong)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_written_is_read_back_right() {
        assert_eq!(fill(Memory::default()).await, (50, 0, 0));
    }

    #[tokio::test]
    async fn a_store_that_forgets_a_key_is_found_out() {
        let memory = Memory { forgets: Some(Book::name(7)), ..Memory::default() };
        let (checked, wrong, wrong_reads) = fill(memory).await;
        assert_eq!((checked, wrong), (50, 1));
        assert!(wrong_reads > 0);
    }

    #[test]
    fn a_key_that_two_write_at_a_time_is_not_judged() {
        let book = Book::new(2, 32);
        let (one, _) = book.begin(1);
        let (other, _) = book.begin(1);
        book.end(1, one, Some(true));
        book.end(1, other, Some(true));
        assert!(book.is_right(1, None));
        let (version, value) = book.begin(0);
        book.end(0, version, Some(true));
        assert!(book.is_right(0, Some(&value)) && !book.is_right(0, None));
        book.end(0, version, None);
        assert!(book.is_right(0, None));
    }
}
