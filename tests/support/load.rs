//! Writers: many connections that write, overwrite and delete, and keep the ledger.
//!
//! Promises: every answer is entered into the ledger; a stopped load has no request under way. Each
//! writer also reads back, at a random node, what was just acknowledged to it: a linearizable read
//! that begins after the acknowledgement must show it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::api::{Answer, Api, Fate, fate};
use super::ledger::{Ack, Acked, Content, Ledger, Record};
use super::wait::wait_until;

/// Pause after a failure: a cluster that is down is not asked as fast as the loop can turn.
const REST: Duration = Duration::from_millis(10);

/// Writes of one key before the writer goes on to the next.
const WRITES_PER_KEY: u32 = 4;

/// One in so many writes is a deletion, one in so many is read back.
const DELETE_ONE_IN: u32 = 12;
const READ_BACK_ONE_IN: u32 = 8;

/// What to write.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// One writer for each; its keys begin with this.
    pub(crate) prefixes: Vec<String>,
    /// Lengths of values.
    pub(crate) value_bytes: Range<usize>,
}

impl Plan {
    /// So many writers over the whole keyspace with small values.
    pub(crate) fn spread(writers: usize) -> Self {
        let prefixes = (0..writers).map(|writer| format!("w{writer}/")).collect();
        Self { prefixes, value_bytes: 0..1500 }
    }
}

/// Writers at work.
#[derive(Debug)]
pub(crate) struct Load {
    writers: JoinSet<Ledger>,
    stop: CancellationToken,
    acked: Vec<Arc<AtomicU64>>,
}

impl Load {
    /// Starts one writer for each prefix of the plan; each sends to random nodes.
    pub(crate) fn start(api: &Api, bases: &[String], plan: &Plan, rng: &mut fastrand::Rng) -> Self {
        let stop = CancellationToken::new();
        let mut writers = JoinSet::new();
        let mut acked = Vec::new();
        for prefix in &plan.prefixes {
            let count = Arc::new(AtomicU64::new(0));
            acked.push(Arc::clone(&count));
            let writer = Writer {
                api: api.clone(),
                bases: bases.to_vec(),
                prefix: prefix.clone(),
                value_bytes: plan.value_bytes.clone(),
                rng: rng.fork(),
                acked: count,
                ledger: Ledger::default(),
            };
            writers.spawn(writer.run(stop.clone()));
        }
        Self { writers, stop, acked }
    }

    /// Acknowledged writes so far.
    pub(crate) fn acked(&self) -> u64 {
        self.acked.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Acknowledged writes so far, of each writer in the plan's order.
    pub(crate) fn acked_by_writer(&self) -> Vec<u64> {
        self.acked.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }

    /// Waits until so many more writes have been acknowledged.
    pub(crate) async fn progress(&self, more: u64) {
        let goal = self.acked() + more;
        wait_until(&format!("{more} more writes are acknowledged"), async || {
            let acked = self.acked();
            if acked >= goal { Ok(()) } else { Err(format!("{} are missing", goal - acked)) }
        })
        .await;
    }

    /// Waits until every writer has had so many more writes acknowledged.
    pub(crate) async fn progress_of_each(&self, more: u64) {
        let start = self.acked_by_writer();
        wait_until(&format!("every writer gets {more} more acknowledgements"), async || {
            let now = self.acked_by_writer();
            let late: Vec<usize> = (0..now.len()).filter(|w| now[*w] < start[*w] + more).collect();
            if late.is_empty() { Ok(()) } else { Err(format!("writers {late:?} are late")) }
        })
        .await;
    }

    /// Lets every writer finish its request and hands over the books.
    pub(crate) async fn stop(mut self) -> Ledger {
        self.stop.cancel();
        let mut all = Ledger::default();
        while let Some(ledger) = self.writers.join_next().await {
            all.merge(ledger.expect("a writer does not panic"));
        }
        println!("  {}", all.summary());
        for (kind, reasons) in [("refused", &all.not_applied), ("unknown", &all.unknown)] {
            for (reason, count) in reasons {
                println!("    {count} {kind}: {reason}");
            }
        }
        all
    }
}

struct Writer {
    api: Api,
    bases: Vec<String>,
    prefix: String,
    value_bytes: Range<usize>,
    rng: fastrand::Rng,
    acked: Arc<AtomicU64>,
    ledger: Ledger,
}

impl Writer {
    async fn run(mut self, stop: CancellationToken) -> Ledger {
        let mut number = 0_u64;
        while !stop.is_cancelled() {
            number += 1;
            let key = format!("{}{number}", self.prefix);
            let mut record = Record { key, acked: None, maybe: None };
            let mut version = 0;
            while version < WRITES_PER_KEY && record.maybe.is_none() && !stop.is_cancelled() {
                version += 1;
                self.write(&mut record, version).await;
            }
            self.ledger.records.push(record);
        }
        self.ledger
    }

    fn base(&mut self) -> String {
        self.rng.choice(&self.bases).expect("there is a node").clone()
    }

    /// Values are unique: each names its key and version.
    fn value(&mut self, key: &str, version: u32) -> Bytes {
        let mut value = format!("{key}#{version}#").into_bytes();
        let filler = self.rng.usize(self.value_bytes.clone());
        value.extend(std::iter::repeat_with(|| self.rng.u8(..)).take(filler));
        value.into()
    }

    async fn write(&mut self, record: &mut Record, version: u32) {
        let base = self.base();
        let deletes = version > 1 && self.rng.u32(..DELETE_ONE_IN) == 0;
        let (content, came_back) = if deletes {
            (Content::Absent, self.api.delete(&base, record.key.as_bytes()).await)
        } else {
            let value = self.value(&record.key, version);
            (Content::of(&value), self.api.put(&base, record.key.as_bytes(), value).await)
        };
        match fate(came_back) {
            Fate::Applied(answer) => {
                self.enter(record, content, &answer, deletes);
                if self.rng.u32(..READ_BACK_ONE_IN) == 0 {
                    self.read_back(record).await;
                }
            }
            Fate::NotApplied(reason) => {
                *self.ledger.not_applied.entry(gist(&reason)).or_default() += 1;
                tokio::time::sleep(REST).await;
            }
            Fate::Unknown(reason) => {
                *self.ledger.unknown.entry(gist(&reason)).or_default() += 1;
                record.maybe = Some(content);
                tokio::time::sleep(REST).await;
            }
        }
    }

    fn enter(&mut self, record: &mut Record, content: Content, answer: &Answer, deletes: bool) {
        let key = &record.key;
        let group = answer.group().expect("an acknowledgement names its group");
        let index = answer.index().expect("an acknowledgement names its index");
        let etag = (!deletes).then(|| answer.etag().expect("a PUT has an ETag").to_owned());
        let existed = record.acked.as_ref().is_some_and(|a| a.content != Content::Absent);
        let status = match (deletes, existed) {
            (true, false) => 404,
            (false, false) => 201,
            (_, true) => 204,
        };
        assert_eq!(answer.status, status, "{key}: existed {existed}, deleted {deletes}");
        let before = record.acked.as_ref().map_or(0, |acked| acked.index);
        assert!(index > before, "{key}: index {index} after index {before}");
        record.acked = Some(Acked { content, etag, index });
        self.ledger.acks.push(Ack { at: Instant::now(), group, index });
        self.acked.fetch_add(1, Ordering::Relaxed);
    }

    async fn read_back(&mut self, record: &Record) {
        let base = self.base();
        let Ok(answer) = self.api.get(&base, record.key.as_bytes()).await else { return };
        let found = match answer.status {
            200 => Content::of(&answer.body),
            404 if answer.is_missing_key() => Content::Absent,
            _ => return,
        };
        let acked = record.acked.as_ref().expect("only what was acknowledged is read back");
        assert_eq!(found, acked.content, "{} read at {base} after its write", record.key);
    }
}

/// A reason without its numbers, so that equal ones are counted together.
fn gist(reason: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in reason.split_whitespace().take(24) {
        let plain: String =
            word.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect();
        words.push(plain);
    }
    let mut text = words.join(" ");
    while text.contains("##") {
        text = text.replace("##", "#");
    }
    text
}
