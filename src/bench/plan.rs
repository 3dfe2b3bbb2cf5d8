//! The lists of runs: the quick one, and the full one.
//!
//! Promises: the quick list takes less than five minutes and has what a reader asks first: what each
//! mode costs near and far, what is lost, and what a partition does to both sides. Runs of one distance
//! stand together, so that nodes are started a few times only.

use std::sync::Arc;
use std::time::Duration;

use super::compare::open;
use super::fault::Fault;
use super::mode::Mode;
use super::replay::Replay;
use super::wanted::{Topology, Wanted};
use super::workload::Workload;

/// What may be set of a list.
#[derive(Clone, Debug)]
pub struct Choices {
    /// Only these modes; all when empty.
    pub modes: Vec<Mode>,
    /// Only these workloads; all when empty.
    pub workloads: Vec<Workload>,
    /// Only these distances; all when empty.
    pub rtts: Vec<Duration>,
    /// Only these faults; all when empty.
    pub faults: Vec<Fault>,
    /// Operations a second, all sites together; the list's when not given.
    pub rate: Option<f64>,
    /// How long each run without a fault lasts; the list's when not given.
    pub seconds: Option<Duration>,
    /// How often each run is made.
    pub times: u64,
    /// The seed of all choices.
    pub seed: u64,
}

impl Default for Choices {
    fn default() -> Self {
        Self {
            modes: Vec::new(),
            workloads: Vec::new(),
            rtts: Vec::new(),
            faults: Vec::new(),
            rate: None,
            seconds: None,
            times: 1,
            seed: 1,
        }
    }
}

/// Operations a second of all sites: what one person's machine carries in each mode, so that modes are
/// compared under the same load.
const RATE: f64 = 300.0;

/// The same of counters in few keys, which meet each other.
const RATE_OF_SUMS: f64 = 150.0;

/// Distances of the full list, in milliseconds there and back.
const RTTS: [u64; 4] = [0, 10, 80, 200];

/// What answers the two questions in a few minutes.
pub fn quick(choices: &Choices) -> Vec<Wanted> {
    use Mode::{Counter, Linearizable, LinearizableSession, Lww, LwwAck2, Map, Mv, Set};
    let lasts = choices.seconds.unwrap_or(Duration::from_millis(3_500));
    let mut runs = Vec::new();
    for rtt in [0, 80] {
        let mut add = |workload, modes: &[Mode]| {
            runs.extend(modes.iter().map(|mode| one(*mode, workload, rtt, Fault::None, lasts)));
        };
        add(Workload::YcsbA, &[Linearizable, LinearizableSession, Lww, LwwAck2, Mv]);
        add(Workload::YcsbF, &[Lww]);
        add(Workload::Counter, &[Linearizable, Lww, Counter]);
        add(Workload::Cart, &[Lww, Mv, Set]);
        add(Workload::Profile, &[Lww, Map]);
        add(Workload::Inventory, &[Linearizable, Counter]);
    }
    let partition = choices.seconds.map_or(Duration::from_secs(12), |lasts| lasts * 3);
    for mode in [Linearizable, Lww] {
        runs.push(one(mode, Workload::YcsbA, 10, Fault::Partition, partition));
    }
    settle(runs, choices)
}

/// All that there is, with each mode where it fits.
pub fn full(choices: &Choices) -> Vec<Wanted> {
    let lasts = choices.seconds.unwrap_or(Duration::from_secs(20));
    let mut runs = Vec::new();
    for rtt in RTTS {
        for workload in Workload::ALL {
            // Mixes that differ in their share of reads only: the ends of the scale show it.
            let is_between =
                matches!(workload, Workload::YcsbB | Workload::YcsbC | Workload::YcsbD);
            if is_between && !matches!(rtt, 0 | 80) {
                continue;
            }
            for mode in Mode::ALL.into_iter().filter(|mode| workload.fits(*mode)) {
                runs.push(one(mode, workload, rtt, Fault::None, lasts));
            }
        }
        if rtt == 80 {
            // Loss by the rate of writing.
            for rate in [30.0, 100.0, 1_000.0, 2_000.0] {
                let rewrites = one(Mode::Lww, Workload::YcsbF, rtt, Fault::None, lasts);
                runs.push(Wanted { load: open(rate), ..rewrites });
            }
        }
    }
    let minute = choices.seconds.map_or(Duration::from_secs(60), |lasts| lasts * 3);
    for fault in [Fault::Partition, Fault::NodeDown, Fault::ClockOff] {
        for mode in [Mode::Linearizable, Mode::Lww, Mode::LwwAck2, Mode::Mv] {
            runs.push(one(mode, Workload::YcsbA, 10, fault, minute));
        }
        for (mode, workload) in [
            (Mode::Lww, Workload::YcsbF),
            (Mode::Linearizable, Workload::Counter),
            (Mode::Counter, Workload::Counter),
            (Mode::Set, Workload::Cart),
            (Mode::Counter, Workload::Inventory),
        ] {
            runs.push(one(mode, workload, 10, fault, minute));
        }
    }
    for mode in [Mode::Linearizable, Mode::Lww, Mode::LwwAck2] {
        runs.push(one(mode, Workload::YcsbA, 10, Fault::Shattered, minute));
    }
    for mode in [Mode::Lww, Mode::Mv] {
        // Until all agree, by how long they were apart.
        runs.extend(LENGTHS.map(|seconds| cut(mode, seconds)));
    }
    runs.extend(topologies(lasts));
    settle(runs, choices)
}

/// How long a partition lasts, in seconds, where that is asked.
const LENGTHS: [u64; 3] = [5, 15, 30];

/// A partition of this length, with a few seconds before and after it.
fn cut(mode: Mode, seconds: u64) -> Wanted {
    let cut = Duration::from_secs(seconds);
    let lasts = cut + Duration::from_secs(6);
    Wanted { cut: Some(cut), ..one(mode, Workload::YcsbA, 10, Fault::Partition, lasts) }
}

/// What travels between five nodes, by how they are linked. Of three, a ring is a mesh.
fn topologies(lasts: Duration) -> impl Iterator<Item = Wanted> {
    Topology::ALL.into_iter().map(move |topology| {
        let writes = one(Mode::Lww, Workload::YcsbA, 10, Fault::None, lasts);
        Wanted { topology, nodes: Some(5), ..writes }
    })
}

fn one(mode: Mode, workload: Workload, rtt_ms: u64, fault: Fault, lasts: Duration) -> Wanted {
    let sums = matches!(workload, Workload::Counter | Workload::Inventory);
    let rate = if sums { RATE_OF_SUMS } else { RATE };
    Wanted {
        rtt: Duration::from_millis(rtt_ms),
        fault,
        ..Wanted::usual(mode, workload, open(rate), lasts)
    }
}

/// A trace through each mode that its changes make sense in, or those of them that are chosen.
pub fn replay(trace: &Arc<Replay>, modes: &[Mode], rtts: &[Duration], seed: u64) -> Vec<Wanted> {
    let workload = trace.workload;
    let mut runs = Vec::new();
    for rtt in rtts {
        let fits = |mode: &Mode| workload.fits(*mode) && (modes.is_empty() || modes.contains(mode));
        for mode in Mode::ALL.into_iter().filter(fits) {
            runs.push(Wanted {
                rtt: *rtt,
                trace: Some(Arc::clone(trace)),
                keys: trace.keys,
                reads: trace.reads(),
                warmup: Duration::ZERO,
                // The same for all: they differ in their mode alone.
                seed,
                ..Wanted::usual(mode, workload, open(trace.rate()), trace.lasts())
            });
        }
    }
    runs
}

/// Keeps what was chosen, sets what was set, and gives each run a seed of its own.
fn settle(runs: Vec<Wanted>, choices: &Choices) -> Vec<Wanted> {
    fn among<T: PartialEq>(some: &[T], one: &T) -> bool {
        some.is_empty() || some.contains(one)
    }
    let mut kept: Vec<Wanted> = runs
        .into_iter()
        .filter(|run| among(&choices.modes, &run.mode) && among(&choices.workloads, &run.workload))
        .filter(|run| among(&choices.rtts, &run.rtt) && among(&choices.faults, &run.fault))
        .collect();
    for run in &mut kept {
        run.load = choices.rate.map_or(run.load, open);
    }
    let times = usize::try_from(choices.times).unwrap_or(1).max(1);
    let repeated = kept.into_iter().flat_map(|run| std::iter::repeat_n(run, times));
    (1..)
        .zip(repeated)
        .map(|(number, run)| Wanted { seed: choices.seed.wrapping_mul(1_000_003) + number, ..run })
        .collect()
}

/// Seconds until nodes are ready, and have ended.
const START: f64 = 5.0;

/// How long runs will take, in seconds, with starting nodes, filling and reading back.
pub fn estimate<'a>(runs: impl Iterator<Item = &'a Wanted>) -> f64 {
    let mut seconds = 0.0;
    let mut last = None;
    for run in runs {
        let kind = (run.rtt, run.nodes, run.fault != Fault::None);
        if last != Some(kind) {
            seconds += START;
            last = Some(kind);
        }
        // Reading back asks for each write's fate; far sites take a while to agree.
        let after = 1.5 + run.lasts.as_secs_f64() / 10.0 + run.rtt.as_secs_f64() * 4.0;
        seconds += (run.warmup + run.lasts).as_secs_f64() + after;
    }
    seconds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_of_both_lists_makes_sense_and_quick_is_quick() {
        let (quick, full) = (quick(&Choices::default()), full(&Choices::default()));
        for run in quick.iter().chain(&full) {
            assert_eq!(run.objection(), None, "{}", run.name());
        }
        assert!(estimate(quick.iter()) < 270.0, "{}", estimate(quick.iter()));
        assert!(full.len() > 100, "{}", full.len());
        let modes: std::collections::BTreeSet<_> = quick.iter().map(|run| run.mode).collect();
        assert_eq!(modes.len(), Mode::ALL.len(), "each mode is in the quick list");
        for fault in Fault::ALL {
            assert!(full.iter().any(|run| run.fault == fault));
        }
    }

    #[test]
    fn what_is_chosen_is_kept_and_each_run_has_its_seed() {
        let choices = Choices {
            modes: vec![Mode::Lww],
            workloads: vec![Workload::YcsbF],
            rtts: vec![Duration::from_millis(80)],
            rate: Some(50.0),
            times: 3,
            seed: 9,
            ..Choices::default()
        };
        let runs = quick(&choices);
        assert_eq!(runs.len(), 3);
        assert!(runs.iter().all(|run| run.load == open(50.0)));
        let seeds: std::collections::BTreeSet<_> = runs.iter().map(|run| run.seed).collect();
        assert_eq!(seeds.len(), 3);
    }
}
