//! What is wrong with the lists themselves, before any cycle is looked for.
//!
//! Promises: every finding is an anomaly under any reading of the history: each element is appended at
//! most once (checked), lists only grow at their end, so that all reads of a key are prefixes of one
//! list. Relies on: completions stand behind their invocations.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::txns::{Micro, Txn, Txns};
use crate::history::{Kind, Value};
use crate::verdict::Anomaly;

struct Read<'a> {
    txn: &'a Txn,
    list: Vec<&'a Value>,
}

struct Append<'a> {
    txn: &'a Txn,
    element: &'a Value,
}

/// What happened to one key, reads in the order of their invocations.
#[derive(Default)]
struct List<'a> {
    reads: Vec<Read<'a>>,
    appends: Vec<Append<'a>>,
}

/// All that is wrong with the lists.
pub(super) fn anomalies(txns: &Txns) -> Vec<Anomaly> {
    let mut lists: BTreeMap<&Value, List<'_>> = BTreeMap::new();
    for txn in &txns.all {
        for micro in &txn.micros {
            match micro {
                Micro::Append { key, element } => {
                    lists.entry(key).or_default().appends.push(Append { txn, element });
                }
                Micro::Read { key, list: Some(list) } if txn.kind == Kind::Ok => {
                    let list = list.iter().collect();
                    lists.entry(key).or_default().reads.push(Read { txn, list });
                }
                Micro::Read { .. } => {}
            }
        }
    }
    let mut found = Vec::new();
    for (key, list) in &lists {
        found.extend(list.repeated(key));
        found.extend(list.forked(key));
        found.extend(list.disordered(key));
        found.extend(list.invented(key));
        found.extend(list.lost(key));
    }
    found
}

fn anomaly(kind: &str, words: String, txns: &[&Txn]) -> Anomaly {
    let mut events: Vec<u64> = txns.iter().flat_map(|txn| txn.events()).collect();
    events.sort_unstable();
    events.dedup();
    Anomaly { kind: kind.to_owned(), words, events }
}

impl List<'_> {
    /// An element twice in one list.
    fn repeated(&self, key: &Value) -> Option<Anomaly> {
        self.reads.iter().find_map(|read| {
            let mut seen = BTreeSet::new();
            let twice = read.list.iter().find(|element| !seen.insert(**element))?;
            let by = self.appends.iter().find(|append| append.element == *twice);
            let words = format!(
                "{} read {twice} of key {key} twice, which was appended once{}",
                read.txn.named(),
                by.map_or_else(String::new, |append| format!(", by {}", append.txn.named())),
            );
            let txns: Vec<&Txn> = std::iter::once(read.txn).chain(by.map(|by| by.txn)).collect();
            Some(anomaly("duplicate-elements", words, &txns))
        })
    }

    /// Two lists of which neither is the beginning of the other.
    fn forked(&self, key: &Value) -> Option<Anomaly> {
        let mut by_length: Vec<&Read<'_>> = self.reads.iter().collect();
        by_length.sort_by_key(|read| read.list.len());
        by_length.windows(2).find_map(|pair| {
            let [short, long] = pair else { return None };
            if long.list.starts_with(&short.list) {
                return None;
            }
            let place =
                short.list.iter().zip(&long.list).take_while(|(one, two)| one == two).count();
            let show = |read: &Read<'_>| {
                read.list.get(place).map_or_else(String::new, ToString::to_string)
            };
            let words = format!(
                "key {key} was read in two orders: at place {place} {} found {} and {} found {}",
                short.txn.named(),
                show(short),
                long.txn.named(),
                show(long),
            );
            Some(anomaly("incompatible-order", words, &[short.txn, long.txn]))
        })
    }

    /// Two appends of one transaction that do not stand together, in its order. No cycle shows it: the
    /// order is within the transaction.
    fn disordered(&self, key: &Value) -> Option<Anomaly> {
        let longest = self.reads.iter().max_by_key(|read| read.list.len())?;
        let places: HashMap<&Value, usize> =
            longest.list.iter().enumerate().map(|(place, element)| (*element, place)).collect();
        self.appends.windows(2).find_map(|pair| {
            let [first, second] = pair else { return None };
            if !std::ptr::eq(first.txn, second.txn) {
                return None;
            }
            let place = *places.get(second.element)?;
            if places.get(first.element).is_some_and(|before| before + 1 == place) {
                return None;
            }
            let words = format!(
                "{} appended {} and then {} to key {key}, and {} did not find them side by side",
                first.txn.named(),
                first.element,
                second.element,
                longest.txn.named(),
            );
            Some(anomaly("incompatible-order", words, &[first.txn, longest.txn]))
        })
    }

    /// An element that nobody appended.
    fn invented(&self, key: &Value) -> Option<Anomaly> {
        let known: BTreeSet<&Value> = self.appends.iter().map(|append| append.element).collect();
        self.reads.iter().find_map(|read| {
            let element = read.list.iter().find(|element| !known.contains(**element))?;
            let words =
                format!("{} read {element} of key {key}, which nobody appended", read.txn.named());
            Some(anomaly("phantom-element", words, &[read.txn]))
        })
    }

    /// An element that was appended for certain, and that a later read does not hold.
    fn lost(&self, key: &Value) -> Option<Anomaly> {
        let longest = self.reads.iter().max_by_key(|read| read.list.len())?;
        let places: HashMap<&Value, usize> =
            longest.list.iter().enumerate().map(|(place, element)| (*element, place)).collect();
        // The shortest list of this read and all that began after it.
        let mut shortest: Vec<&Read<'_>> = Vec::with_capacity(self.reads.len());
        for read in self.reads.iter().rev() {
            let shorter = shortest.last().filter(|last| last.list.len() <= read.list.len());
            shortest.push(shorter.copied().unwrap_or(read));
        }
        shortest.reverse();
        let done = self.appends.iter().filter(|append| append.txn.kind == Kind::Ok);
        done.filter_map(|append| {
            let from = self.reads.partition_point(|read| read.txn.call < append.txn.ret);
            let read = shortest.get(from)?;
            let place = places.get(append.element);
            if place.is_some_and(|place| *place < read.list.len()) {
                return None;
            }
            let element = append.element;
            let (kind, fate) = match place {
                None => ("lost-element", "no read ever found it"),
                Some(_) => ("stale-read", "others found it"),
            };
            let words = format!(
                "{} appended {element} to key {key} and was done before {} began, which did not find it; {fate}",
                append.txn.named(),
                read.txn.named(),
            );
            Some(anomaly(kind, words, &[append.txn, read.txn]))
        })
        .min_by_key(|anomaly| anomaly.kind.clone())
    }
}
