//! What was acknowledged, and the check that it is still there.
//!
//! Why it exists: "nothing acknowledged is lost" needs a record kept by those who were told. Each key
//! has one writer, and a writer leaves a key for ever after an outcome that nobody knows, so that at
//! any time a key must hold exactly what was acknowledged last, or the one write after it whose fate
//! is unknown. A write that was reported as not applied must never be seen.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures_util::StreamExt;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use super::api::{Answer, Api, Silence};
use super::wait::wait_until;

/// Reads under way at the same time during a check.
const READS_AT_A_TIME: usize = 32;

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Nothing.
    Absent,
    /// A value, by its length and hash.
    Value { bytes: usize, hash: u64 },
}

impl Content {
    pub(crate) fn of(value: &[u8]) -> Self {
        Self::Value { bytes: value.len(), hash: xxh3_64(value) }
    }
}

/// An acknowledged write of a key.
#[derive(Clone, Debug)]
pub(crate) struct Acked {
    pub(crate) content: Content,
    pub(crate) etag: Option<String>,
    pub(crate) index: u64,
}

/// All that is known of one key.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) key: String,
    pub(crate) acked: Option<Acked>,
    /// The one write after it whose outcome is unknown.
    pub(crate) maybe: Option<Content>,
}

/// An acknowledgement: when, and from which place in which group's order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ack {
    pub(crate) at: Instant,
    pub(crate) group: u64,
    pub(crate) index: u64,
}

/// All that writers were told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) records: Vec<Record>,
    pub(crate) acks: Vec<Ack>,
    pub(crate) not_applied: BTreeMap<String, u64>,
    pub(crate) unknown: BTreeMap<String, u64>,
}

/// How a check reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Through the group's leader.
    Linearizable,
    /// The node's own copy, which may be late; it is asked until it has caught up.
    OwnCopy,
}

impl Ledger {
    /// Puts the books of several writers together.
    pub(crate) fn merge(&mut self, other: Self) {
        self.records.extend(other.records);
        self.acks.extend(other.acks);
        for (reason, count) in other.not_applied {
            *self.not_applied.entry(reason).or_default() += count;
        }
        for (reason, count) in other.unknown {
            *self.unknown.entry(reason).or_default() += count;
        }
    }

    /// One line about it all, for people.
    pub(crate) fn summary(&self) -> String {
        let keys = self.records.len();
        let refused: u64 = self.not_applied.values().sum();
        let unknown: u64 = self.unknown.values().sum();
        let acked = self.acks.len();
        format!("{acked} writes acknowledged, {refused} refused, {unknown} unknown, {keys} keys")
    }

    /// Checks that no two acknowledged writes claim the same place in a group's order.
    pub(crate) fn check_order(&self) {
        let mut places = HashSet::new();
        for ack in &self.acks {
            let (group, index) = (ack.group, ack.index);
            assert!(places.insert((group, index)), "two writes were given {group}-{index}");
        }
    }

    /// Reads every key at every one of these nodes and compares. Panics with what is wrong.
    pub(crate) async fn check(&self, api: &Api, bases: &[String], reading: Reading) {
        self.check_order();
        assert!(!self.acks.is_empty(), "a check of nothing proves nothing");
        for base in bases {
            let asked = self.records.iter().map(|record| {
                let (api, base, record) = (api.clone(), Arc::<str>::from(base.as_str()), record);
                async move { record.check(&api, &base, reading).await }
            });
            let wrong: Vec<String> = futures_util::stream::iter(asked)
                .buffer_unordered(READS_AT_A_TIME)
                .filter_map(async |wrong| wrong)
                .collect()
                .await;
            let (count, keys) = (wrong.len(), self.records.len());
            let shown = wrong.iter().take(10).cloned().collect::<Vec<_>>().join("\n  ");
            assert!(count == 0, "{base}: {count} of {keys} keys are wrong:\n  {shown}");
        }
        println!(
            "  {} keys read back at {} nodes, all as promised",
            self.records.len(),
            bases.len()
        );
    }
}

impl Record {
    async fn check(&self, api: &Api, base: &str, reading: Reading) -> Option<String> {
        let key = &self.key;
        wait_until(&format!("{key} is read at {base}"), async || {
            let came_back = match reading {
                Reading::Linearizable => api.get(base, key.as_bytes()).await,
                Reading::OwnCopy => api.get_stale(base, key.as_bytes()).await,
            };
            let answer = match came_back {
                Ok(answer) if answer.status == 200 || answer.is_missing_key() => answer,
                Ok(answer) => return Err(format!("status {}: {}", answer.status, answer.text())),
                Err(Silence::NotSent(reason) | Silence::Lost(reason)) => return Err(reason),
            };
            match self.wrong(&answer) {
                Some(wrong) if reading == Reading::OwnCopy && self.is_early(&answer) => Err(wrong),
                verdict => Ok(verdict),
            }
        })
        .await
    }

    fn is_early(&self, answer: &Answer) -> bool {
        let acked = self.acked.as_ref().map_or(0, |acked| acked.index);
        answer.index().is_none_or(|index| index < acked)
    }

    /// What is wrong with an answer, if anything is.
    fn wrong(&self, answer: &Answer) -> Option<String> {
        let found = if answer.status == 200 { Content::of(&answer.body) } else { Content::Absent };
        if self.maybe.as_ref() == Some(&found) {
            return None;
        }
        let Some(acked) = &self.acked else {
            let refused = format!("{}: {found:?}, though no write was accepted", self.key);
            return (found != Content::Absent).then_some(refused);
        };
        if found != acked.content {
            let (key, index) = (&self.key, answer.index());
            return Some(format!(
                "{key}: acknowledged {acked:?}, maybe {:?}, found {found:?} as of index {index:?}",
                self.maybe
            ));
        }
        let etag = answer.etag().map(str::to_owned);
        if found != Content::Absent && etag != acked.etag {
            return Some(format!("{}: ETag {etag:?} instead of {:?}", self.key, acked.etag));
        }
        let early = format!("{}: KV-Index before {}", self.key, acked.index);
        self.is_early(answer).then_some(early)
    }
}
