//! The table of a comparison with a peer: what is compared, and what must be reached.
//!
//! Promises: a figure that was not measured is absent; a ratio is the median of the ratios of pairs that
//! were measured one after the other, with the least and the greatest beside it.

use serde::{Deserialize, Serialize};

use super::conditions::Conditions;
use crate::bench::figures::{Build, Machine};
use crate::bench::kept::Kept;

/// The version of the form.
pub const VERSION: u32 = 2;

/// All that was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PeerReport {
    /// The version of this form.
    pub version: u32,
    /// Where it ran.
    pub machine: Machine,
    /// What ran.
    pub build: Build,
    /// What it was compared with: name, release, interface.
    pub peer: String,
    /// The command line that repeats it.
    pub command: String,
    /// When it began, milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// What a reader must know.
    pub remarks: Vec<String>,
    /// Under which conditions all pairs were measured.
    pub conditions: Conditions,
    /// What each pair came to.
    pub pairs: Vec<Pair>,
    /// Keys that were read back, both sides together.
    pub checked: u64,
    /// How many were not as acknowledged.
    pub wrong: u64,
    /// The table.
    pub rows: Vec<Row>,
}

impl Kept for PeerReport {
    const VERSION: u32 = VERSION;

    fn version(&self) -> u32 {
        self.version
    }
}

/// Figures of one side, one for each pair.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spread {
    /// The one in the middle.
    pub median: Option<f64>,
    /// The smallest.
    pub least: Option<f64>,
    /// The greatest.
    pub most: Option<f64>,
    /// All, in the order of the pairs; absent where it was not measured.
    pub values: Vec<Option<f64>>,
}

impl Spread {
    fn of(values: Vec<Option<f64>>) -> Self {
        let mut known: Vec<f64> = values.iter().copied().flatten().collect();
        known.sort_by(f64::total_cmp);
        let at = |index: usize| known.get(index).copied();
        let upper = at(known.len() / 2);
        let lower = at(known.len().saturating_sub(1) / 2);
        let median = lower.zip(upper).map(|(lower, upper)| f64::midpoint(lower, upper));
        Self { median, least: at(0), most: known.last().copied(), values }
    }
}

/// A figure by which the two are compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Row {
    /// What.
    pub what: String,
    /// In which unit.
    pub unit: String,
    /// Ours.
    pub ours: Spread,
    /// The peer's.
    pub peer: Spread,
    /// Ours by the peer's, pair by pair. For gaps there is none: they are judged by themselves.
    pub ratio: Option<Spread>,
    /// What must be reached at least, in words.
    pub least: String,
    /// What is aimed at, in words.
    pub aim: String,
    /// `aim`, `least`, `no`; absent when it was not measured.
    pub reached: Option<String>,
}

/// What both sides came to, one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pair {
    /// Ours.
    pub ours: Measured,
    /// The peer's.
    pub peer: Measured,
}

/// What one side came to in one pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Measured {
    /// CPU without load, in percent of a core.
    pub idle: Option<f64>,
    /// The same with many groups.
    pub idle_many: Option<f64>,
    /// PUTs a second of many writers.
    pub put_per_s: Option<f64>,
    /// CPU of the nodes for one of them, in microseconds.
    pub put_cpu_us: Option<f64>,
    /// Milliseconds of the PUTs of an open load.
    pub put_p99_at_rate: Option<f64>,
    /// Milliseconds of a lonely writer's PUT, the median.
    pub put_alone: Option<f64>,
    /// GETs a second of many readers.
    pub get_per_s: Option<f64>,
    /// Keys a second that batches write.
    pub batch_per_s: Option<f64>,
    /// Memory of the largest node when it has all keys.
    pub rss_mib: Option<f64>,
    /// Milliseconds without a success of keys that the dead node led.
    pub gap_led: Option<f64>,
    /// The same of all other keys.
    pub gap_others: Option<f64>,
    /// CPU of the generator for a PUT, in microseconds.
    pub put_own_us: Option<f64>,
    /// The same for a GET.
    pub get_own_us: Option<f64>,
}

/// How a figure is judged.
#[derive(Clone, Copy, Debug)]
enum Goal {
    /// The ratio must be at least so great.
    Times(f64, f64),
    /// The ratio must be no more.
    NoMore(f64, f64),
    /// Ours itself must be no more.
    Within(f64, f64),
    /// It is told, and nothing is asked of it.
    Told,
}

impl Goal {
    fn words(self) -> [String; 2] {
        match self {
            Self::Times(least, aim) => [least, aim].map(|times| format!(">= {times} x")),
            Self::NoMore(least, aim) => [least, aim].map(|times| format!("<= {times} x")),
            Self::Within(least, aim) => [least, aim].map(|ms| format!("<= {ms} ms")),
            Self::Told => ["-", "-"].map(str::to_owned),
        }
    }

    /// What was reached by this ratio, or by this figure of ours.
    fn reached(self, ratio: Option<f64>, ours: Option<f64>) -> Option<&'static str> {
        let (least, aim) = match self {
            Self::Times(least, aim) => ratio.map(|ratio| (ratio >= least, ratio >= aim))?,
            Self::NoMore(least, aim) => ratio.map(|ratio| (ratio <= least, ratio <= aim))?,
            Self::Within(least, aim) => ours.map(|ours| (ours <= least, ours <= aim))?,
            Self::Told => return None,
        };
        Some(match (aim, least) {
            (true, _) => "aim",
            (false, true) => "least",
            (false, false) => "no",
        })
    }
}

/// A gap that is none: two beats of a writer that nothing is in the way of, on a busy machine.
const NO_GAP_MS: f64 = 100.0;

type Of = fn(&Measured) -> Option<f64>;

/// The table from what was measured.
pub(super) fn table(pairs: &[Pair], rate: f64) -> Vec<Row> {
    use Goal::{NoMore, Times, Told, Within};
    let gap = "gap after kill -9";
    let row =
        |what: &str, unit, ours: Of, peer: Of, goal| row(pairs, (what, unit), (ours, peer), goal);
    let like = |what: &str, unit, of: Of, goal| row(what, unit, of, of, goal);
    vec![
        like("PUT/s, 256 connections", "/s", |m| m.put_per_s, Times(2.0, 4.0)),
        like(&format!("p99 PUT at {rate:.0}/s"), "ms", |m| m.put_p99_at_rate, NoMore(0.7, 0.3)),
        like("PUT p50, 1 client", "ms", |m| m.put_alone, NoMore(1.0, 0.6)),
        like("linearizable GET/s, 256", "/s", |m| m.get_per_s, Times(5.0, 10.0)),
        row(
            "batched writes/s : its PUT/s",
            "/s",
            |m| m.batch_per_s,
            |m| m.put_per_s,
            Times(10.0, 30.0),
        ),
        like("CPU of three nodes per PUT", "us", |m| m.put_cpu_us, NoMore(0.5, 0.25)),
        like("idle CPU, few groups", "% of a core", |m| m.idle, NoMore(1.0, 1.0)),
        row("idle CPU, 1,000 groups", "% of a core", |m| m.idle_many, |m| m.idle, NoMore(5.0, 1.0)),
        like("RSS per node, filled", "MiB", |m| m.rss_mib, NoMore(1.5, 1.0)),
        like(&format!("{gap}: its keys"), "ms", |m| m.gap_led, Within(3_000.0, 1_000.0)),
        like(&format!("{gap}: others"), "ms", |m| m.gap_others, Within(NO_GAP_MS, NO_GAP_MS)),
        like("generator CPU per PUT", "us", |m| m.put_own_us, Told),
        like("generator CPU per GET", "us", |m| m.get_own_us, Told),
    ]
}

fn row(pairs: &[Pair], (what, unit): (&str, &str), (ours, peer): (Of, Of), goal: Goal) -> Row {
    let mine: Vec<_> = pairs.iter().map(|pair| ours(&pair.ours)).collect();
    let other: Vec<_> = pairs.iter().map(|pair| peer(&pair.peer)).collect();
    let ratios = mine.iter().zip(&other).map(|(one, two)| {
        let (one, two) = one.zip(*two)?;
        (two > 0.0).then(|| one / two)
    });
    let ratio = match goal {
        Goal::Times(..) | Goal::NoMore(..) => Some(Spread::of(ratios.collect())),
        Goal::Within(..) | Goal::Told => None,
    };
    let mine = Spread::of(mine);
    let reached = goal.reached(ratio.as_ref().and_then(|ratio| ratio.median), mine.median);
    let [least, aim] = goal.words();
    Row {
        what: what.to_owned(),
        unit: unit.to_owned(),
        ours: mine,
        peer: Spread::of(other),
        ratio,
        least,
        aim,
        reached: reached.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(put_per_s: f64) -> Measured {
        Measured { put_per_s: Some(put_per_s), ..Measured::default() }
    }

    fn pair(ours: Measured, peer: Measured) -> Pair {
        Pair { ours, peer }
    }

    #[test]
    fn ratios_are_of_pairs_and_the_median_is_judged() {
        let pairs = [300.0, 100.0, 500.0].map(|ours| pair(side(ours), side(100.0)));
        let table = table(&pairs, 10_000.0);
        let put = &table[0];
        let ratio = put.ratio.clone().unwrap();
        assert_eq!((ratio.median, ratio.least, ratio.most), (Some(3.0), Some(1.0), Some(5.0)));
        assert_eq!(put.reached.as_deref(), Some("least"));
        // What was not measured is judged by nobody.
        assert_eq!((table[1].ours.median, table[1].reached.clone()), (None, None));
    }

    #[test]
    fn batches_are_compared_with_the_single_writes_of_the_peer() {
        let ours = Measured { batch_per_s: Some(3_000.0), ..Measured::default() };
        let table = table(&[pair(ours, side(100.0))], 10.0);
        assert_eq!(table[4].reached.as_deref(), Some("aim"));
    }

    #[test]
    fn gaps_are_judged_by_themselves() {
        let ours =
            Measured { gap_led: Some(2_000.0), gap_others: Some(120.0), ..Measured::default() };
        let table = table(&[pair(ours, Measured::default())], 10.0);
        assert_eq!(
            (table[9].reached.as_deref(), table[10].reached.as_deref()),
            (Some("least"), Some("no"))
        );
        assert_eq!(table[9].ratio, None);
        // Of an even number the mean of the two in the middle.
        assert_eq!(Spread::of(vec![Some(4.0), None, Some(1.0)]).median, Some(2.5));
    }
}
