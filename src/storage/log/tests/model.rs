//! Any history against a plain model, on tiny segments, so that rolling, recycling and writing anew
//! all happen, with restarts in between.
//!
//! A failing case is printed by proptest, shrunk, with the line that replays it.

use bytes::Bytes;
use proptest::prelude::*;

use super::expected::Expected;
use super::{Entry, Kept, KeptGroup, Log, SimDisk, mark, nobody, open, options};

#[derive(Clone, Debug)]
enum Step {
    Append { group: u64, count: u64, bytes: usize },
    TruncateAfter { group: u64, back: u64 },
    Purge { group: u64, ahead: u64 },
    PurgeBeyond { group: u64, beyond: u64 },
    Vote { group: u64, bytes: usize },
    Committed { group: u64 },
    Note { key: u64 },
    Drop { group: u64 },
    Read { group: u64, from: u64, count: u64, bytes_max: usize },
    Drive,
    Reopen { drive: bool, cut: Option<u64> },
}

fn step() -> impl Strategy<Value = Step> {
    // Group 1 is hot, so that the others grow cold.
    let group = || prop_oneof![6 => Just(1u64), 1 => 2..5u64];
    prop_oneof![
        12 => (group(), 1..6u64, 0..1500usize)
            .prop_map(|(group, count, bytes)| Step::Append { group, count, bytes }),
        2 => (group(), 0..8u64).prop_map(|(group, back)| Step::TruncateAfter { group, back }),
        6 => (group(), 0..8u64).prop_map(|(group, ahead)| Step::Purge { group, ahead }),
        1 => (group(), 0..20u64).prop_map(|(group, beyond)| Step::PurgeBeyond { group, beyond }),
        2 => (group(), 0..40usize).prop_map(|(group, bytes)| Step::Vote { group, bytes }),
        2 => group().prop_map(|group| Step::Committed { group }),
        1 => (0..4u64).prop_map(|key| Step::Note { key }),
        1 => (2..5u64).prop_map(|group| Step::Drop { group }),
        2 => (group(), 0..60u64, 0..20u64, 0..3000usize).prop_map(
            |(group, from, count, bytes_max)| Step::Read { group, from, count, bytes_max }
        ),
        12 => Just(Step::Drive),
        1 => (any::<bool>(), proptest::option::of(any::<u64>()))
            .prop_map(|(drive, cut)| Step::Reopen { drive, cut }),
    ]
}

/// What a restart must find as the running log believes it to be: where everything is.
fn layout(log: &Log) -> String {
    let kept: &Kept = &log.shared.kept.lock();
    let used = |group: &&KeptGroup| group.vote.is_some() || !group.places.is_empty();
    let groups: Vec<String> = kept
        .groups
        .iter()
        .filter(|(_, group)| used(group) || group.committed.is_some() || group.purged.is_some())
        .map(|(id, group)| {
            let first = if group.places.is_empty() { 0 } else { group.first };
            let held = (&group.vote, &group.committed, &group.purged);
            format!("{id}: {held:?} {first} {:?} {}", group.places, group.live_bytes)
        })
        .collect();
    let live: Vec<_> = kept.live.iter().filter(|(_, live)| live.items > 0).collect();
    let segments: Vec<_> = kept.segments.keys().collect();
    format!("{groups:#?} {:?} {live:?} {segments:?}", kept.notes)
}

struct Run {
    disk: SimDisk,
    log: Log,
    now: Expected,
    durable: Expected,
    stamp: u64,
    lsn: u64,
    most_segments: usize,
}

impl Run {
    fn new() -> Self {
        let disk = SimDisk::new();
        let log = open(&disk);
        let (now, durable) = (Expected::default(), Expected::default());
        Self { disk, log, now, durable, stamp: 0, lsn: 0, most_segments: 0 }
    }

    fn stamp(&mut self, bytes: usize) -> Bytes {
        self.stamp += 1;
        let stamp = self.stamp.to_le_bytes();
        Bytes::from(stamp.iter().copied().cycle().take(bytes).collect::<Vec<u8>>())
    }

    fn append(&mut self, group: u64, count: u64, bytes: usize) {
        let first = self.now.next(group, self.stamp % 3);
        let mut entries = Vec::new();
        for index in first..first + count {
            entries.push(Entry { index, bytes: self.stamp(bytes) });
        }
        entries.iter().for_each(|entry| self.now.append(group, entry));
        self.log.append(group, entries, nobody());
    }

    fn purge(&mut self, group: u64, index: u64) {
        self.now.purge(group, &mark(index));
        self.log.purge(group, mark(index), nobody());
    }

    fn first(&mut self, group: u64) -> Option<u64> {
        self.now.group(group).entries.keys().next().copied()
    }

    fn read(&mut self, group: u64, from: u64, count: u64, bytes_max: usize) {
        let found = self.log.read(group, from, from + count, bytes_max).unwrap();
        let wanted = self.now.group(group).entries.range(from..from + count);
        let wanted: Vec<Entry> =
            wanted.map(|(index, bytes)| Entry { index: *index, bytes: bytes.clone() }).collect();
        assert_eq!(found.is_empty(), wanted.is_empty());
        assert_eq!(found[..], wanted[..found.len()]);
        let bytes: usize = found.iter().map(|entry| entry.bytes.len()).sum();
        assert!(found.len() < 2 || bytes <= bytes_max, "no more than asked for");
    }

    fn drive(&mut self) {
        self.log.drive();
        self.durable = self.now.clone();
        assert!(self.log.flushed_lsn() >= self.lsn, "the lsn never falls");
        self.lsn = self.log.flushed_lsn();
        self.most_segments = self.most_segments.max(self.log.stats().segments);
    }

    fn reopen(&mut self, drive: bool, cut: Option<u64>) {
        if drive {
            self.drive();
        }
        self.now = self.durable.clone();
        let before = layout(&self.log);
        if let Some(seed) = cut {
            self.disk.power_cut(seed);
        }
        self.log = open(&self.disk);
        assert_eq!(layout(&self.log), before);
        assert_eq!((self.log.recovered_lsn(), self.log.flushed_lsn()), (self.lsn, self.lsn));
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Append { group, count, bytes } => self.append(group, count, bytes),
            Step::TruncateAfter { group, back } => {
                let last = self.now.group(group).entries.keys().next_back().copied();
                let index = last.and_then(|last| last.checked_sub(back));
                self.now.truncate_after(group, index);
                self.log.truncate_after(group, index);
            }
            Step::Purge { group, ahead } => {
                if let Some(first) = self.first(group) {
                    self.purge(group, first + ahead);
                }
            }
            Step::PurgeBeyond { group, beyond } => {
                let next = self.now.next(group, 0);
                self.purge(group, next + beyond);
            }
            Step::Vote { group, bytes } => {
                let vote = self.stamp(bytes);
                self.now.group(group).vote = Some(vote.clone());
                self.log.save_vote(group, vote, nobody());
            }
            Step::Committed { group } => {
                let committed = self.stamp(8);
                self.now.group(group).committed = Some(committed.clone());
                self.log.save_committed(group, committed);
            }
            Step::Note { key } => {
                let value = self.stamp(8);
                self.now.notes.insert(key, value.clone());
                self.log.note(key, value);
            }
            Step::Drop { group } => {
                self.now.drop_group(group);
                self.log.drop_group(group, nobody());
            }
            Step::Read { group, from, count, bytes_max } => {
                let from = self.first(group).unwrap_or(0) + from;
                self.read(group, from.saturating_sub(10), count, bytes_max);
            }
            Step::Drive => self.drive(),
            Step::Reopen { drive, cut } => self.reopen(drive, cut),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_history_reads_like_maps_of_entries(
        steps in proptest::collection::vec(step(), 1..250),
    ) {
        let mut run = Run::new();
        for (at, step) in steps.into_iter().enumerate() {
            let checked = at % 10 == 0 || matches!(step, Step::Reopen { .. });
            run.step(&step);
            if checked {
                run.now.check(&run.log, true).unwrap();
            }
        }
        run.now.check(&run.log, true).unwrap();
        run.reopen(true, Some(1));
        run.now.check(&run.log, true).unwrap();
    }
}

#[test]
fn a_long_history_recycles_and_writes_anew_all_the_time() {
    let mut run = Run::new();
    let mut rng = fastrand::Rng::with_seed(11);
    for round in 0..600 {
        let group = if rng.u8(0..8) == 0 { rng.u64(2..5) } else { 1 };
        run.append(group, rng.u64(1..4), rng.usize(0..1200));
        if group == 1 {
            let last = run.now.next(1, 0) - 1;
            run.purge(1, last.saturating_sub(3));
        } else if rng.u8(0..6) == 0 {
            let first = run.first(group).unwrap();
            run.purge(group, first + 2);
        }
        run.drive();
        if round % 40 == 0 {
            run.reopen(true, Some(round));
            run.now.check(&run.log, true).unwrap();
        }
    }
    let segments = run.log.stats().segments;
    let newest = run.log.shared.kept.lock().segments.keys().next_back().copied().unwrap();
    assert!(newest > 40 && segments <= 12, "{segments} files for {newest} segments");
    assert!(run.log.shared.metrics.rewritten_bytes.get() > 1000, "the cold groups were moved");
    assert!(run.most_segments > options().segments_soft_max);
}
