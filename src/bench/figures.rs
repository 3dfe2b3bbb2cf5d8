//! What a measurement found: the one form in which results are kept, printed, drawn and compared.
//!
//! Why it exists: a table in a terminal, a page with pictures and a later run that asks "did it get
//! better" must speak of the same numbers. So a run ends in values, not in lines of text; whoever
//! shows them takes them from `report.json`.
//!
//! Promises: a figure that was not measured is absent, never zero. Times are milliseconds unless the
//! name says otherwise, shares are from 0 to 1. A reader of an older version finds what it knows: new
//! members come with a default, and [`VERSION`] rises only when an old one changes its meaning.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The version of the form.
pub const VERSION: u32 = 1;

/// The file in the output directory.
pub const FILE: &str = "report.json";

/// One command's measurements, with all that is needed to judge and to repeat them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// The version of this form.
    pub version: u32,
    /// Where it ran.
    pub machine: Machine,
    /// What ran.
    pub build: Build,
    /// The command line that repeats it.
    pub command: String,
    /// The seed of every choice; each run adds its own number.
    pub seed: u64,
    /// When it began, milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// What a reader must know to read the figures rightly.
    pub remarks: Vec<String>,
    /// What the load generator itself costs.
    pub generator: Option<Generator>,
    /// How many runs were planned; fewer are there while it goes on, or when it was stopped.
    pub planned: u64,
    /// The measurements, in the order they were made.
    pub runs: Vec<Run>,
}

/// The machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// Processors that this process may use.
    pub cores: u64,
    /// Bytes of memory.
    pub memory: u64,
    /// The kernel's release.
    pub kernel: String,
    /// The processor's name.
    pub cpu: String,
    /// The file system and device that held the data.
    pub disk: String,
}

/// The program that was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Build {
    /// Its release.
    pub version: String,
    /// The commit, when the build knew it.
    pub commit: Option<String>,
    /// `release` or `debug`.
    pub profile: String,
}

/// What one operation costs the load generator, measured against a target that answers at once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Generator {
    /// CPU time of one operation without a store, in microseconds: draw, pace, record, note.
    pub cpu_us_per_op: f64,
    /// Operations that it could start in a second on one processor.
    pub ops_per_s: f64,
}

/// One workload on one system under one condition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Run {
    /// Unique in the report: `lww/ycsb-a/rtt80/none`, and `#2` for a second one.
    pub name: String,
    /// `tetrarch`, or the peer it is compared with.
    pub system: String,
    /// How the namespace behaves: `linearizable`, `linearizable-session`, `lww`, `lww-ack2`, `mv`,
    /// `counter`, `set`, `map`.
    pub mode: String,
    /// What was done: `ycsb-a`, `counter`, ….
    pub workload: String,
    /// Time from one site to another and back.
    pub rtt_ms: u64,
    /// How the nodes of an eventual namespace are linked: `mesh`, `ring`, `hub`; the first node is the hub.
    pub topology: String,
    /// `none`, `partition`, `partition-1-1-1`, `node-down`, `clock-off`.
    pub fault: String,
    /// From when to when the fault lasted, in seconds of the run.
    pub fault_s: Option<(f64, f64)>,
    /// The sites that the fault cut off or stopped.
    pub fault_sites: Vec<u64>,
    /// How it was loaded.
    pub load: Load,
    /// How many nodes.
    pub nodes: u64,
    /// Groups of a linearizable namespace, where they were given.
    pub groups: Option<u64>,
    /// The mark of the recorded trace that was driven.
    pub trace: Option<String>,
    /// How many keys.
    pub keys: u64,
    /// Bytes of a value.
    pub value_bytes: u64,
    /// The seed of this run.
    pub seed: u64,
    /// Seconds before the measurement that are not in it.
    pub warmup_s: f64,
    /// Seconds of the measurement.
    pub seconds: f64,
    /// By kind of operation: `read`, `write`, `rmw`, `add`, `cart`, ….
    pub ops: BTreeMap<String, OpFigures>,
    /// Second after second of the measurement, and of the time after it until all was answered.
    pub per_second: Vec<Second>,
    /// How much of what was wanted was answered in time.
    pub availability: Availability,
    /// From a write's answer until the other nodes show it.
    pub visibility: Option<Visibility>,
    /// How old reads were.
    pub staleness: Option<Staleness>,
    /// What was lost of what was acknowledged.
    pub loss: Option<Loss>,
    /// Counters against what was added.
    pub counter: Option<SumFigures>,
    /// Carts against what was put in and taken out.
    pub cart: Option<CartFigures>,
    /// Fields of profiles whose acknowledged last value is not there.
    pub profile_fields_lost: Option<u64>,
    /// Pieces of the stock that were sold and were not there.
    pub invariant_breaks: Option<u64>,
    /// Values side by side.
    pub siblings: Option<Siblings>,
    /// From the last write (or the end of the fault, if that was later) until all nodes agreed.
    pub converge_ms: Option<f64>,
    /// Bytes between nodes for one acknowledged operation.
    pub wire_bytes_per_op: Option<f64>,
    /// CPU time of all nodes for one acknowledged operation, in microseconds.
    pub cpu_us_per_op: Option<f64>,
    /// CPU time of the load generator for one operation, in microseconds, with its HTTP client.
    pub client_cpu_us_per_op: Option<f64>,
    /// Resident memory of the largest node at the end, in bytes.
    pub rss_bytes: Option<u64>,
    /// fsyncs of all nodes for one acknowledged operation.
    pub fsyncs_per_op: Option<f64>,
    /// What reading everything back found.
    pub verified: Verified,
    /// Why the run has no figures, or not all.
    pub trouble: Option<String>,
}

/// How a system was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Load {
    /// Operations arrive at this rate (a second, all sites together), whether or not earlier ones
    /// were answered; latency counts from the intended start.
    Open {
        /// Operations a second.
        rate: f64,
    },
    /// So many connections (all sites together) ask again as soon as they are answered.
    Closed {
        /// Connections.
        connections: u64,
    },
}

impl Default for Load {
    fn default() -> Self {
        Self::Open { rate: 0.0 }
    }
}

/// What became of one kind of operation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OpFigures {
    /// How many were wanted.
    pub count: u64,
    /// Answered with success.
    pub ok: u64,
    /// Refused, surely without effect; a condition that did not hold to the end counts here.
    pub not_applied: u64,
    /// Nobody knows.
    pub unknown: u64,
    /// Could not be started in time for want of a place among those under way; they were started
    /// late, or counted as `not_applied` when the run ended before.
    pub late: u64,
    /// Tries beyond the first, of conditional writes.
    pub retries: u64,
    /// Latency of those with success, all sites together.
    pub latency: Latency,
    /// The same by site; sites are numbered from 1, as the nodes.
    pub by_site: BTreeMap<u64, Latency>,
}

/// A distribution of times, in milliseconds from the intended start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Latency {
    /// How many.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Half of them took no longer.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

/// One second of a run, by the intended start of the operations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Second {
    /// Which one, from 0.
    pub t: u64,
    /// By site.
    pub sites: BTreeMap<u64, SecondAtSite>,
}

/// One second at one site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecondAtSite {
    /// Operations that were wanted.
    pub wanted: u64,
    /// Answered with success.
    pub ok: u64,
    /// Answered with success within [`Availability::within_ms`] of the intended start.
    pub in_time: u64,
    /// Refused or unknown.
    pub failed: u64,
}

/// How much of what was wanted was answered in time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Availability {
    /// The time that counts as in time.
    pub within_ms: f64,
    /// Share of all wanted operations.
    pub share: f64,
    /// The same while the fault lasted, by site.
    pub during_fault: BTreeMap<u64, f64>,
    /// The longest time without any success at a site, by site.
    pub longest_gap_ms: BTreeMap<u64, f64>,
}

/// From the answer to a write until another node shows it, over all other nodes. One machine has
/// one clock, so this is measured, not estimated; it is as fine as the questions were frequent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Visibility {
    /// How many pairs of write and node were watched.
    pub samples: u64,
    /// How many had not shown up when the watch ended.
    pub never: u64,
    /// Points of the distribution: (milliseconds, share of samples visible by then).
    pub cdf: Vec<(f64, f64)>,
    /// The time between two questions, which bounds the error.
    pub resolution_ms: f64,
}

/// How old reads were: how many writes to the key had been acknowledged, when the read began, that
/// were newer than what it showed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Staleness {
    /// Reads that could be judged.
    pub reads: u64,
    /// Share that showed the newest.
    pub fresh: f64,
    /// By k: how many reads lacked k writes; the last k stands for all above.
    pub k: BTreeMap<u64, u64>,
    /// Greatest k.
    pub max: u64,
    /// Age of what stale reads showed: since the write that they should have shown was acknowledged.
    pub age: Latency,
}

/// Acknowledged writes that are gone without anyone having seen them, or whose effect is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Loss {
    /// Acknowledged writes that were followed.
    pub writes: u64,
    /// Share never seen by a later writer, and not current.
    pub direct: f64,
    /// Share that is not among the ancestors of what is current.
    pub effective: f64,
    /// What the model says of the first.
    pub predicted_direct: Option<f64>,
    /// What the model says of the second.
    pub predicted_effective: Option<f64>,
    /// How far the model's own runs lie apart, as standard deviations of the two: as chance would have
    /// a measurement of the same length.
    pub predicted_spread: Option<(f64, f64)>,
    /// The mean time that the model took from the run: from when a writer looked until another site
    /// showed what it wrote.
    pub lag_ms: Option<f64>,
    /// What the server's own meter says of the first, as a share of `writes`.
    pub metered_direct: Option<f64>,
    /// What it says of the second. It is too high where writers replace what has been replaced
    /// meanwhile: such a write counts for it as one that stands on nothing.
    pub metered_effective: Option<f64>,
    /// Writes that receipts call lost although somebody wrote over them who had seen them: the store
    /// had swept them before, and does not take the later context back.
    pub lost_though_seen: u64,
    /// How the receipts' fates are spread: `current`, `superseded`, `lost`, ….
    pub fates: BTreeMap<String, u64>,
}

/// Counters at the end against what was acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SumFigures {
    /// The sum of all acknowledged additions.
    pub expected: i64,
    /// What the counters say together.
    pub actual: i64,
    /// Additions of unknown outcome: `actual` may differ by as much.
    pub unknown: u64,
    /// Share of the acknowledged additions that is missing (or too much), beyond what is unknown.
    pub error: f64,
}

/// Carts at the end against what was acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CartFigures {
    /// Carts that were used.
    pub carts: u64,
    /// Items that should be in one, and are there or not.
    pub expected: u64,
    /// Put in, never taken out, and not there.
    pub lost: u64,
    /// Taken out by who had seen them, never put in again, and there.
    pub resurrected: u64,
}

/// How many values stood side by side, in reads and at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Siblings {
    /// Reads that were looked at.
    pub reads: u64,
    /// Values a read, on average.
    pub mean: f64,
    /// 99 % of the reads had no more.
    pub p99: u64,
    /// The most.
    pub max: u64,
    /// Share of reads with more than one.
    pub share: f64,
}

/// What reading everything back found. `wrong` above zero means that the store broke its promise, or
/// this program its bookkeeping: the other figures are then worth nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Verified {
    /// Statements that were checked: keys, sums, fates, reads.
    pub checked: u64,
    /// How many were not so.
    pub wrong: u64,
    /// Keys that could not be judged exactly, since a write to them had an unknown outcome.
    pub blurred: u64,
    /// The first few that were wrong, in words.
    pub examples: Vec<String>,
}

/// Within how many standard deviations a measured loss agrees with the model.
pub const AGREES_SPREADS: f64 = 3.0;

/// And what is always allowed beside them: the questions by which lags are sampled cost time too.
pub const AGREES_SHARE: f64 = 0.003;

impl Loss {
    /// Whether the measured losses are what the model says, as far as chance allows.
    pub fn agrees(&self) -> Option<bool> {
        let (direct, effective) = self.predicted_spread?;
        let near = |measured: f64, predicted: Option<f64>, spread: f64| {
            let by = (measured - predicted?).abs();
            Some(by <= AGREES_SHARE + AGREES_SPREADS * spread)
        };
        let direct = near(self.direct, self.predicted_direct, direct)?;
        Some(direct && near(self.effective, self.predicted_effective, effective)?)
    }
}

impl Visibility {
    /// When this share of the samples was visible, in milliseconds.
    pub fn at(&self, share: f64) -> Option<f64> {
        self.cdf.iter().find(|(_, seen)| *seen >= share).map(|(ms, _)| *ms)
    }
}

impl Run {
    /// All operations of the run, by outcome: wanted, with success, refused, unknown.
    pub fn totals(&self) -> (u64, u64, u64, u64) {
        self.ops.values().fold((0, 0, 0, 0), |(count, ok, not_applied, unknown), op| {
            (count + op.count, ok + op.ok, not_applied + op.not_applied, unknown + op.unknown)
        })
    }

    /// The figures of the operation that changes something, by which modes are compared.
    pub fn writes(&self) -> Option<&OpFigures> {
        self.ops
            .iter()
            .filter(|(kind, _)| kind.as_str() != "read")
            .map(|(_, op)| op)
            .max_by_key(|op| op.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_back_as_written_and_takes_what_lacks_members() {
        let run = Run {
            name: "lww/ycsb-a/rtt80/none".into(),
            fault_s: Some((1.0, 2.5)),
            ..Run::default()
        };
        let report = Report { version: VERSION, runs: vec![run], ..Report::default() };
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
        let old: Report = serde_json::from_str(r#"{"version":1,"runs":[{"name":"x"}]}"#).unwrap();
        assert_eq!(old.runs[0].name, "x");
        assert_eq!(old.runs[0].loss, None);
    }

    #[test]
    fn a_loss_agrees_with_the_model_within_chance_and_not_beyond() {
        let of = |direct, effective, spread| Loss {
            direct,
            effective,
            predicted_direct: Some(0.10),
            predicted_effective: Some(0.20),
            predicted_spread: spread,
            ..Loss::default()
        };
        let spread = Some((0.01, 0.02));
        // Three standard deviations and 0.3 points: 6.7 to 13.3 and 13.7 to 26.3 percent.
        for (direct, effective, agrees) in [
            (0.10, 0.20, true),
            (0.132, 0.262, true),
            (0.068, 0.138, true),
            (0.134, 0.20, false),
            (0.066, 0.20, false),
            (0.10, 0.264, false),
            (0.10, 0.136, false),
            (f64::NAN, 0.20, false),
        ] {
            let loss = of(direct, effective, spread);
            assert_eq!(loss.agrees(), Some(agrees), "{direct} {effective}");
        }
        assert_eq!(of(0.10, 0.20, None).agrees(), None);
        let half = Loss { predicted_effective: None, ..of(0.10, 0.20, spread) };
        assert_eq!(half.agrees(), None);
    }

    #[test]
    fn the_operation_that_changes_something_is_found() {
        let of = |count| OpFigures { count, ok: count, ..OpFigures::default() };
        let ops = [("read".to_owned(), of(9)), ("write".to_owned(), of(5))].into();
        let run = Run { ops, ..Run::default() };
        assert_eq!(run.writes().map(|op| op.count), Some(5));
        assert_eq!(run.totals(), (14, 14, 0, 0));
    }
}
