//! Counts what happens while it happens: latency, outcomes, each second, how old reads were.
//!
//! Promises: an operation counts in the second in which it was *meant* to begin, and its latency from
//! then, so that a store that stands still is charged for all who would have come meanwhile. What was
//! meant to begin before or after the measurement is not in it, though the books have it. One lock a
//! site, held for a few hundred nanoseconds.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use super::figures::{
    Availability, Latency, OpFigures, Run, Second, SecondAtSite, Siblings, Staleness,
};
use super::ledger::values::Judged;
use super::perform::Done;
use super::target::Failed;
use crate::runtime::Moment;
use crate::runtime::limits::{BENCH_EXAMPLES_MAX, BENCH_IN_TIME};

/// Times in microseconds, to three digits, up to ten minutes.
#[derive(Debug)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        let times = Histogram::new_with_bounds(1, 600_000_000, 3);
        Self(times.expect("the bounds are fixed and proper"))
    }
}

impl Times {
    /// Adds one.
    pub fn record(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// Adds all of another.
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    /// The figures of it.
    pub fn figures(&self) -> Latency {
        let ms = |share: f64| ms_of(self.0.value_at_quantile(share));
        Latency {
            count: self.0.len(),
            mean: if self.0.is_empty() { 0.0 } else { self.0.mean() / 1_000.0 },
            p50: ms(0.5),
            p90: ms(0.9),
            p99: ms(0.99),
            p999: ms(0.999),
            max: ms_of(self.0.max()),
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "ten minutes of microseconds fit a float exactly")]
fn ms_of(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

#[derive(Debug, Default)]
struct Kind {
    counts: OpFigures,
    times: Times,
}

#[derive(Debug, Default)]
struct AtSite {
    kinds: BTreeMap<&'static str, Kind>,
    seconds: Vec<SecondAtSite>,
    last_ok: Option<Moment>,
    longest_gap: Duration,
    behind: BTreeMap<u64, u64>,
    age: Times,
    siblings: BTreeMap<u64, u64>,
    wrong: u64,
    examples: Vec<String>,
    changed: u64,
}

/// When an operation was meant to begin, and when it was over.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Meant to begin.
    pub intended: Moment,
    /// Over.
    pub ended: Moment,
    /// It had to wait for a place among those under way.
    pub late: bool,
}

/// The counts of one run.
#[derive(Debug)]
pub struct Tally {
    from: Moment,
    until: Moment,
    sites: Box<[Mutex<AtSite>]>,
    /// Whether a read that lacks anything acknowledged breaks the mode's promise.
    strict: bool,
}

impl Tally {
    /// Counts what is meant to begin in this time.
    pub fn new(sites: u64, (from, until): (Moment, Moment), strict: bool) -> Self {
        Self { from, until, sites: (0..sites).map(|_| Mutex::default()).collect(), strict }
    }

    /// Counts an operation.
    pub fn note(&self, site: u64, span: Span, done: &Done) {
        let at = usize::try_from(site.saturating_sub(1)).unwrap_or(usize::MAX);
        let mut here = self.sites.get(at).expect("a site has a number from 1 on").lock();
        here.changed += u64::from(done.changed);
        here.judge(done, self.strict);
        if span.intended < self.from || span.intended >= self.until {
            return;
        }
        let took = span.ended.since(span.intended);
        let kind = here.kinds.entry(done.kind).or_default();
        kind.counts.count += 1;
        kind.counts.late += u64::from(span.late);
        kind.counts.retries += done.retries;
        match &done.result {
            Ok(()) => {
                kind.counts.ok += 1;
                kind.times.record(took);
            }
            Err(Failed::Unknown(_)) => kind.counts.unknown += 1,
            Err(Failed::Unmet | Failed::NotApplied(_)) => kind.counts.not_applied += 1,
        }
        let ok = done.result.is_ok();
        let second = usize::try_from(span.intended.since(self.from).as_secs()).unwrap_or(0);
        if here.seconds.len() <= second {
            here.seconds.resize(second + 1, SecondAtSite::default());
        }
        if let Some(second) = here.seconds.get_mut(second) {
            second.wanted += 1;
            second.ok += u64::from(ok);
            second.in_time += u64::from(ok && took <= BENCH_IN_TIME);
            second.failed += u64::from(!ok);
        }
        if ok {
            let last = here.last_ok.unwrap_or(self.from);
            here.longest_gap = here.longest_gap.max(span.ended.since(last));
            here.last_ok = Some(last.max(span.ended));
        }
    }

    /// Changes that were acknowledged, in all the time, as this page has counted them.
    pub fn changed(&self) -> u64 {
        self.sites.iter().map(|site| site.lock().changed).sum()
    }

    /// Operations of the measurement so far: with success, without.
    pub fn so_far(&self) -> (u64, u64) {
        let mut sums = (0, 0);
        for site in &self.sites {
            for second in &site.lock().seconds {
                sums.0 += second.ok;
                sums.1 += second.failed;
            }
        }
        sums
    }

    /// Reads that broke the mode's promise, the first few in words, and how many were looked at.
    pub fn wrong_reads(&self) -> (u64, u64, Vec<String>) {
        let mut found = (0, 0, Vec::new());
        for site in &self.sites {
            let site = site.lock();
            found.0 += site.wrong;
            found.1 += site.behind.values().sum::<u64>();
            found.2.extend(site.examples.iter().cloned());
        }
        found.2.truncate(BENCH_EXAMPLES_MAX);
        found
    }

    /// Fills in what was counted. `fault` is the time of the fault, counted from the beginning.
    pub fn fill(&self, run: &mut Run, fault: Option<(Duration, Duration)>) {
        let mut merged: BTreeMap<&'static str, Times> = BTreeMap::new();
        let mut stale = (Staleness::default(), Times::default());
        let mut siblings: BTreeMap<u64, u64> = BTreeMap::new();
        run.availability.within_ms = BENCH_IN_TIME.as_secs_f64() * 1_000.0;
        for (site, here) in (1..).zip(&self.sites) {
            let here = here.lock();
            for (name, kind) in &here.kinds {
                let op = run.ops.entry((*name).to_owned()).or_default();
                add_counts(op, &kind.counts);
                op.by_site.insert(site, kind.times.figures());
                merged.entry(name).or_default().add(&kind.times);
            }
            add_seconds(&mut run.per_second, site, &here.seconds);
            for (k, reads) in &here.behind {
                *stale.0.k.entry(*k).or_default() += reads;
            }
            stale.1.add(&here.age);
            for (values, reads) in &here.siblings {
                *siblings.entry(*values).or_default() += reads;
            }
            let gap = here.longest_gap.max(self.until.since(here.last_ok.unwrap_or(self.from)));
            let gap_ms = gap.as_secs_f64() * 1_000.0;
            run.availability.longest_gap_ms.insert(site, gap_ms);
        }
        for (name, times) in merged {
            if let Some(op) = run.ops.get_mut(name) {
                op.latency = times.figures();
            }
        }
        availability(&mut run.availability, &run.per_second, fault);
        run.staleness = staleness(stale.0, &stale.1);
        run.siblings = of_siblings(&siblings);
    }
}

impl AtSite {
    fn judge(&mut self, done: &Done, strict: bool) {
        let Some((judged, values)) = done.read else { return };
        *self.siblings.entry(values).or_default() += 1;
        match judged {
            Judged::Behind(behind, age) => {
                *self.behind.entry(behind).or_default() += 1;
                if behind > 0 {
                    self.age.record(age);
                }
                if behind > 0 && strict {
                    let text = format!("a linearizable read lacked {behind} acknowledged writes");
                    self.blame(text);
                }
            }
            Judged::Unsure => {}
            Judged::Wrong => self.blame("a read showed what nobody had written".to_owned()),
        }
    }

    fn blame(&mut self, text: String) {
        self.wrong += 1;
        if self.examples.len() < BENCH_EXAMPLES_MAX {
            self.examples.push(text);
        }
    }
}

fn add_counts(op: &mut OpFigures, counts: &OpFigures) {
    op.count += counts.count;
    op.ok += counts.ok;
    op.not_applied += counts.not_applied;
    op.unknown += counts.unknown;
    op.late += counts.late;
    op.retries += counts.retries;
}

fn add_seconds(all: &mut Vec<Second>, site: u64, seconds: &[SecondAtSite]) {
    for (t, second) in (0..).zip(seconds) {
        let at = usize::try_from(t).unwrap_or(usize::MAX);
        while all.len() <= at {
            let t = u64::try_from(all.len()).unwrap_or(u64::MAX);
            all.push(Second { t, ..Second::default() });
        }
        if let Some(there) = all.get_mut(at) {
            there.sites.insert(site, *second);
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts of operations are far below 2^53")]
fn share(part: u64, of: u64) -> f64 {
    part as f64 / of.max(1) as f64
}

fn availability(to: &mut Availability, seconds: &[Second], fault: Option<(Duration, Duration)>) {
    let (mut wanted, mut in_time) = (0, 0);
    let mut during: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for second in seconds {
        let (begins, ends) = (Duration::from_secs(second.t), Duration::from_secs(second.t + 1));
        let inside = fault.is_some_and(|(from, to)| begins >= from && ends <= to);
        for (site, counts) in &second.sites {
            wanted += counts.wanted;
            in_time += counts.in_time;
            if inside {
                let during = during.entry(*site).or_default();
                during.0 += counts.in_time;
                during.1 += counts.wanted;
            }
        }
    }
    to.share = share(in_time, wanted);
    to.during_fault =
        during.into_iter().map(|(site, (part, of))| (site, share(part, of))).collect();
}

fn staleness(mut found: Staleness, age: &Times) -> Option<Staleness> {
    found.reads = found.k.values().sum();
    if found.reads == 0 {
        return None;
    }
    found.fresh = share(found.k.get(&0).copied().unwrap_or(0), found.reads);
    found.max = found.k.keys().max().copied().unwrap_or(0);
    found.age = age.figures();
    Some(found)
}

fn of_siblings(counts: &BTreeMap<u64, u64>) -> Option<Siblings> {
    let reads: u64 = counts.values().sum();
    let max = *counts.keys().max()?;
    let values: u64 = counts.iter().map(|(values, reads)| values * reads).sum();
    let mut seen = 0;
    let at_99 = counts.iter().find(|(_, reads)| {
        seen += **reads;
        seen * 100 >= reads_of_99(counts)
    });
    let several: u64 = counts.iter().filter(|(values, _)| **values > 1).map(|(_, n)| n).sum();
    Some(Siblings {
        reads,
        mean: share(values, reads),
        p99: at_99.map_or(max, |(values, _)| *values),
        max,
        share: share(several, reads),
    })
}

/// Ninety-nine times the number of reads.
fn reads_of_99(counts: &BTreeMap<u64, u64>) -> u64 {
    counts.values().sum::<u64>() * 99
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment(ms * 1_000_000)
    }

    fn done(result: Result<(), Failed>, read: Option<(Judged, u64)>) -> Done {
        Done { kind: "read", changed: false, result, retries: 0, read }
    }

    #[test]
    fn a_store_that_stands_still_is_charged_from_the_intended_start() {
        let tally = Tally::new(2, (at(1_000), at(5_000)), false);
        let ok = done(Ok(()), None);
        let span = |intended, ended| Span { intended: at(intended), ended: at(ended), late: false };
        tally.note(1, span(500, 600), &ok);
        tally.note(1, span(1_000, 1_001), &ok);
        tally.note(1, span(2_100, 4_100), &ok);
        tally.note(2, span(2_100, 2_102), &done(Err(Failed::Unknown(String::new())), None));
        let mut run = Run::default();
        tally.fill(&mut run, Some((Duration::from_secs(1), Duration::from_secs(2))));
        let read = &run.ops["read"];
        assert_eq!((read.count, read.ok, read.unknown), (3, 2, 1));
        assert!((read.latency.max - 2_000.0).abs() < 3.0, "{:?}", read.latency);
        assert_eq!(run.per_second.len(), 2);
        assert_eq!(run.per_second[1].sites[&1].in_time, 0);
        assert_eq!(run.per_second[1].sites[&1].ok, 1);
        assert!((run.availability.share - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!(run.availability.during_fault, [(1, 0.0), (2, 0.0)].into());
        assert!((run.availability.longest_gap_ms[&1] - 3_099.0).abs() < 1.0);
        assert!((run.availability.longest_gap_ms[&2] - 4_000.0).abs() < 1.0);
    }

    #[test]
    fn stale_reads_and_siblings_are_distributions() {
        let tally = Tally::new(1, (at(0), at(1_000)), true);
        let span = Span { intended: at(1), ended: at(2), late: false };
        for _ in 0..99 {
            tally.note(1, span, &done(Ok(()), Some((Judged::Behind(0, Duration::ZERO), 1))));
        }
        let ms = Duration::from_millis;
        tally.note(1, span, &done(Ok(()), Some((Judged::Behind(3, ms(40)), 4))));
        tally.note(1, span, &done(Ok(()), Some((Judged::Wrong, 1))));
        let mut run = Run::default();
        tally.fill(&mut run, None);
        let stale = run.staleness.unwrap();
        assert_eq!((stale.reads, stale.max), (100, 3));
        assert!((stale.fresh - 0.99).abs() < 1e-9 && (stale.age.max - 40.0).abs() < 0.1);
        let siblings = run.siblings.unwrap();
        assert_eq!((siblings.reads, siblings.max, siblings.p99), (101, 4, 1));
        let (wrong, looked, examples) = tally.wrong_reads();
        assert_eq!((wrong, looked), (2, 100));
        assert!(examples[0].contains("lacked 3"), "{examples:?}");
    }
}
