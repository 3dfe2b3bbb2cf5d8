//! Judges whether each scan shows, of each group, one state that existed.
//!
//! Promises: every key of a tag has the number of one transaction or none; between the newest thing
//! that a scan shows of a group and anything else it shows of it, nothing acknowledged is skipped; no
//! scan is older than what was acknowledged before it began, or newer than its first page. Relies on:
//! the index of each acknowledged write; a write without an answer excuses, never accuses.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::super::finding::{Findings, at, ended, extra, extra_number, number, shows, text};
use super::KEYS;
use crate::checker::{Budget, Checker};
use crate::history::{History, Kind, Operation};
use crate::verdict::Verdict;

/// Judges `scan` histories.
#[derive(Debug)]
pub(super) struct ScanChecker;

/// A transaction on all keys of a tag.
#[derive(Clone, Copy, Debug)]
struct Write<'a> {
    number: Option<i64>,
    /// Group and index, when it was answered.
    place: Option<(u64, u64)>,
    operation: Operation<'a>,
}

/// What a scan shows of one tag.
#[derive(Clone, Debug, Default)]
struct Shown {
    numbers: BTreeSet<Option<i64>>,
    /// Group and highest index.
    place: Option<(u64, u64)>,
}

impl Checker for ScanChecker {
    fn name(&self) -> &'static str {
        "scan"
    }

    fn check(&self, history: &History, _: Budget) -> Verdict {
        let operations = history.operations();
        let mut writes: BTreeMap<i64, Vec<Write<'_>>> = BTreeMap::new();
        for operation in operations.iter().copied() {
            let put_or_delete = ["put", "delete"].contains(&operation.invoke.f.as_str());
            let Some((tag, number)) = operation.invoke.value.as_keyed() else { continue };
            let (Some(tag), true) = (tag.as_int(), put_or_delete) else { continue };
            if operation.kind() != Kind::Fail {
                let witness = operation.complete.and_then(|event| event.witness);
                let place = witness
                    .filter(|_| operation.kind() == Kind::Ok)
                    .map(|witness| (witness.group, witness.index));
                let write = Write { number: number.as_int(), place, operation };
                writes.entry(tag).or_default().push(write);
            }
        }
        let mut findings = Findings::default();
        let (mut scans, mut gone) = (0_u64, 0_u64);
        for operation in &operations {
            if !["pages", "stream"].contains(&operation.invoke.f.as_str()) {
                continue;
            }
            match operation.kind() {
                Kind::Ok => {
                    scans += 1;
                    judge(operation, &writes, &mut findings);
                }
                _ => {
                    let error = operation.complete.and_then(|event| event.error.as_deref());
                    gone += u64::from(error == Some("view_gone"));
                }
            }
        }
        let figures = json!({
            "scans": scans,
            "view_gone": gone,
            "writes": writes.values().map(Vec::len).sum::<usize>(),
        });
        let fine = "every scan shows, of each group, one state that existed";
        findings.verdict(self.name(), scans, fine, figures)
    }
}

fn judge(scan: &Operation<'_>, writes: &BTreeMap<i64, Vec<Write<'_>>>, findings: &mut Findings) {
    let Some(complete) = scan.complete else { return };
    let views: BTreeSet<_> = extra(complete, "view").as_list().unwrap_or_default().iter().collect();
    if views.len() > 1 {
        findings.add("views-mixed", "the pages of a scan name several views", shows([scan]));
    }
    let items = complete.value.as_list().unwrap_or_default();
    let keys: Vec<&str> = items.iter().filter_map(|item| text(item, 0)).collect();
    if !keys.is_sorted_by(|before, after| before < after) {
        findings.add("out-of-order", "keys are not in order, or come twice", shows([scan]));
    }
    let space = at(&scan.invoke.value, 0).as_int().unwrap_or(0);
    let mut shown: BTreeMap<i64, Shown> =
        writes.keys().filter(|tag| *tag % 2 == space).map(|tag| (*tag, Shown::default())).collect();
    let mut counts: BTreeMap<i64, i64> = BTreeMap::new();
    // The newest thing that is shown of each group.
    let mut newest: BTreeMap<u64, u64> = BTreeMap::new();
    for item in items {
        let Some(tag) = text(item, 0).and_then(tag_of) else { continue };
        let of = shown.entry(tag).or_default();
        of.numbers.insert(at(item, 1).as_int());
        *counts.entry(tag).or_default() += 1;
        if let (Some(group), Some(index)) = (number(item, 2), number(item, 3)) {
            of.place = of.place.max(Some((group, index)));
            let highest = newest.entry(group).or_default();
            *highest = index.max(*highest);
        }
    }
    let case = Case { scan, newest: &newest };
    for (tag, of) in &shown {
        let count = counts.get(tag).copied().unwrap_or(0);
        let whole = of.numbers.len() <= 1 && (count == 0 || count == KEYS);
        if !whole {
            let words = format!("of tag {tag} a scan shows {count} keys of {:?}", of.numbers);
            findings.add("torn", words, shows([scan]));
            continue;
        }
        case.tag(*tag, of, writes.get(tag).map_or(&[], Vec::as_slice), findings);
    }
}

/// The tag in `{t012}k3`.
fn tag_of(key: &str) -> Option<i64> {
    key.strip_prefix("{t")?.split_once('}')?.0.parse().ok()
}

struct Case<'a> {
    scan: &'a Operation<'a>,
    newest: &'a BTreeMap<u64, u64>,
}

impl Case<'_> {
    /// One tag, all keys of which show the same number, or none of which is there.
    fn tag(&self, tag: i64, of: &Shown, writes: &[Write<'_>], findings: &mut Findings) {
        let number = of.numbers.first().copied().flatten();
        let from = writes.iter().find(|write| number.is_some() && write.number == number);
        if let (Some(number), None) = (number, from) {
            let words = format!("nobody wrote {number} to tag {tag}");
            findings.add("unwritten", words, shows([self.scan]));
            return;
        }
        if let Some(from) = from {
            self.too_new(tag, from, findings);
        }
        for write in writes {
            let Some((group, index)) = write.place else { continue };
            // Behind what is shown, or the very write.
            if of.place.is_some_and(|(_, shown)| shown >= index) {
                continue;
            }
            // What is not there may have been deleted after; by whom is known if it was answered.
            let deleted = |after: &Write<'_>| {
                after.number.is_none()
                    && after.place.is_none_or(|(_, place)| place > index)
                    && after.operation.invoke.time < ended(self.scan)
            };
            if number.is_none() && (write.number.is_none() || writes.iter().any(deleted)) {
                continue;
            }
            let within = self.newest.get(&group).is_some_and(|newest| *newest >= index);
            let before = ended(&write.operation) < self.scan.invoke.time;
            if within || before {
                let words = format!(
                    "a scan shows {number:?} for tag {tag}, without the write of {:?} at {index} of \
                     group {group}{}",
                    write.number,
                    if before {
                        ", which was acknowledged before it began"
                    } else {
                        ", and something newer of that group"
                    }
                );
                let kind = if before { "stale-view" } else { "no-such-state" };
                findings.add(kind, words, shows([&write.operation, self.scan]));
            }
        }
    }

    /// A write that was asked for after the first page came is not in the view.
    fn too_new(&self, tag: i64, from: &Write<'_>, findings: &mut Findings) {
        let after = self.scan.complete.and_then(|event| extra_number(event, "after-first-ns"));
        let first_page = ended(self.scan).saturating_sub(after.unwrap_or(0));
        if from.operation.invoke.time > first_page {
            let words = format!(
                "a scan shows {:?} of tag {tag}, which was written after its first page had come",
                from.number
            );
            findings.add("too-new", words, shows([&from.operation, self.scan]));
        }
    }
}

#[cfg(test)]
mod tests;
