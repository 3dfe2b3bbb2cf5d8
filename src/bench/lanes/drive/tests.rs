//! The load tells the truth about a store in memory, and finds out one that does not.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::*;

/// What is wrong with a store.
#[derive(Clone, Debug, Default)]
struct Faults {
    /// Acknowledges writes of this key and forgets them.
    forgets: Option<String>,
    /// Refuses each write at first.
    refuses: bool,
    /// One write in so many of a batch has no result.
    loses: bool,
}

#[derive(Debug, Default)]
struct Memory {
    values: Mutex<BTreeMap<String, Vec<u8>>>,
    refused: Mutex<BTreeMap<String, u32>>,
    faults: Faults,
}

#[derive(Debug)]
struct InMemory(Arc<Memory>);

impl Lanes for InMemory {
    fn sites(&self) -> u64 {
        3
    }

    fn routed(&self) -> bool {
        true
    }

    fn batches(&self) -> bool {
        true
    }

    fn lane(&self, number: u64) -> Box<dyn Lane> {
        let (site, of) = (number % 3, Arc::clone(&self.0));
        Box::new(MemoryLane { of, site, shown: Vec::new(), batch: Vec::new() })
    }
}

struct MemoryLane {
    of: Arc<Memory>,
    site: u64,
    shown: Vec<u8>,
    batch: Vec<(String, Vec<u8>)>,
}

impl MemoryLane {
    fn set(&self, key: &str, value: &[u8]) {
        if self.of.faults.forgets.as_deref() != Some(key) {
            self.of.values.lock().insert(key.to_owned(), value.to_vec());
        }
    }
}

#[async_trait]
impl Lane for MemoryLane {
    fn suits(&self, key: &str) -> bool {
        u64::from(*key.as_bytes().last().unwrap()) % 3 == self.site
    }

    async fn put(&mut self, key: &str, value: &[u8]) -> Result<(), Failed> {
        tokio::task::yield_now().await;
        let seen = {
            let mut refused = self.of.refused.lock();
            let seen = refused.entry(key.to_owned()).or_default();
            *seen += 1;
            *seen
        };
        if self.of.faults.refuses && seen == 1 {
            return Err(Failed::NotApplied("not yet".to_owned()));
        }
        self.set(key, value);
        Ok(())
    }

    async fn get(&mut self, key: &str) -> Result<Option<&[u8]>, Failed> {
        tokio::task::yield_now().await;
        let Some(value) = self.of.values.lock().get(key).cloned() else { return Ok(None) };
        self.shown = value;
        Ok(Some(&self.shown))
    }

    fn add(&mut self, key: &str, value: &[u8]) {
        self.batch.push((key.to_owned(), value.to_vec()));
    }

    async fn send(&mut self) -> Result<Vec<Outcome>, Failed> {
        tokio::task::yield_now().await;
        let batch = std::mem::take(&mut self.batch);
        batch.iter().for_each(|(key, value)| self.set(key, value));
        let loses = self.of.faults.loses;
        let lost =
            |at: usize| if at.is_multiple_of(10) { Outcome::Unknown } else { Outcome::Applied };
        Ok(if loses { (0..batch.len()).map(lost).collect() } else { Vec::new() })
    }
}

const SHORT: Duration = Duration::from_millis(60);

struct Bench {
    env: Env,
    memory: Arc<Memory>,
    book: Arc<Book>,
}

impl Bench {
    fn new(faults: Faults) -> Self {
        let memory = Arc::new(Memory { faults, ..Memory::default() });
        Self { env: Env::system(), memory, book: Book::new("m/", 60, 64) }
    }

    async fn run(&self, load: Load) -> Phase {
        let lanes = Arc::new(InMemory(Arc::clone(&self.memory)));
        let done = phase(&self.env, lanes, &self.book, &[], load).await;
        assert_eq!(self.env.tasks.failure(), None);
        done
    }
}

#[tokio::test]
async fn what_was_written_is_read_back_right() {
    let bench = Bench::new(Faults::default());
    for load in [
        Load::Closed(6, 100, SHORT),
        Load::Closed(6, 50, SHORT),
        Load::Batches(3, 20, SHORT),
        Load::Fill(4, 1),
        Load::Closed(6, 0, SHORT),
    ] {
        let done = bench.run(load).await;
        assert!(done.ok > 0 || matches!(load, Load::Fill(..)), "{load:?}");
        assert_eq!((done.failed(), done.wrong), (0, 0), "{load:?}: {:?}", done.why);
    }
    assert!(bench.book.missing().is_empty());
}

#[tokio::test]
async fn a_store_that_forgets_a_key_is_found_out() {
    let bench = Bench::new(Faults { forgets: Some("m/00000007".to_owned()), ..Faults::default() });
    let filled = bench.run(Load::Fill(4, 7)).await;
    assert_eq!((filled.ok, filled.failed()), (60, 0));
    let read = bench.run(Load::Closed(6, 0, SHORT)).await;
    assert!(read.wrong > 0);
}

#[tokio::test]
async fn filling_goes_on_until_all_is_there_and_failures_are_told_by_kind() {
    let bench = Bench::new(Faults { refuses: true, ..Faults::default() });
    let filled = bench.run(Load::Fill(4, 1)).await;
    assert_eq!((filled.ok, filled.failed(), bench.book.missing().len()), (60, 0, 0));
    let bench = Bench::new(Faults { loses: true, ..Faults::default() });
    let batches = bench.run(Load::Batches(1, 20, SHORT)).await;
    // Of each twenty two are unknown, and not in what was acknowledged.
    assert_eq!((batches.unknown * 9, batches.not_applied), (batches.ok, 0));
    let read = bench.run(Load::Closed(6, 0, SHORT)).await;
    assert_eq!(read.wrong, 0, "what is unknown is not judged");
}

#[tokio::test]
async fn an_open_load_does_all_that_was_planned() {
    let bench = Bench::new(Faults::default());
    let lasts = Duration::from_millis(200);
    let planned = pace::plan(1, 1_000.0, lasts, 1).len();
    let done = bench.run(Load::Open(5, 1_000.0, lasts)).await;
    assert_eq!((usize::try_from(done.ok).unwrap(), done.failed()), (planned, 0));
    assert!(done.seconds >= 0.1);
}
