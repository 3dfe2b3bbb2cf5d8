//! What is measured: one run, as it was asked for.
//!
//! Promises: two runs that differ in anything a reader must know have different names; what makes no
//! sense is refused before anything is started.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::fault::Fault;
use super::figures::Load;
use super::mode::Mode;
use super::replay::Replay;
use super::workload::Workload;
use crate::runtime::limits::{
    BENCH_CONNECTIONS_MAX, BENCH_KEYS_MAX, BENCH_OPS_MAX, BENCH_VALUE_BYTES_MAX,
};
use crate::wire;

/// How the nodes of an eventual namespace are linked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topology {
    /// Each with every other one.
    #[default]
    Mesh,
    /// Each with its neighbours.
    Ring,
    /// All with the first.
    Hub,
}

impl Topology {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Mesh, Self::Ring, Self::Hub];

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mesh => "mesh",
            Self::Ring => "ring",
            Self::Hub => "hub",
        }
    }

    /// As it is asked of the store.
    pub const fn wire(self) -> wire::Topology {
        match self {
            Self::Mesh => wire::Topology::Mesh,
            Self::Ring => wire::Topology::Ring,
            Self::Hub => wire::Topology::Hub(1),
        }
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is measured.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What the namespace promises.
    pub mode: Mode,
    /// What is done.
    pub workload: Workload,
    /// Time between sites, there and back, as it is set: for the report and the model.
    pub rtt: Duration,
    /// What goes wrong.
    pub fault: Fault,
    /// For how long; a share of the measurement when not given.
    pub cut: Option<Duration>,
    /// How the nodes of an eventual namespace are linked.
    pub topology: Topology,
    /// How many nodes, when it matters.
    pub nodes: Option<u64>,
    /// How it is loaded.
    pub load: Load,
    /// What was recorded, in place of what chance would choose.
    pub trace: Option<Arc<Replay>>,
    /// How many keys.
    pub keys: u64,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Share of reads.
    pub reads: f64,
    /// Before the measurement.
    pub warmup: Duration,
    /// The measurement.
    pub lasts: Duration,
    /// Decides all choices.
    pub seed: u64,
}

impl Wanted {
    /// With what is usual for the workload.
    pub fn usual(mode: Mode, workload: Workload, load: Load, lasts: Duration) -> Self {
        Self {
            mode,
            workload,
            rtt: Duration::ZERO,
            fault: Fault::None,
            cut: None,
            topology: Topology::Mesh,
            nodes: None,
            load,
            trace: None,
            keys: workload.keys(),
            value_bytes: 128,
            reads: workload.reads(),
            warmup: Duration::from_secs(1),
            lasts,
            seed: 1,
        }
    }

    /// What is done, as the report calls it.
    pub fn does(&self) -> &'static str {
        if self.trace.is_some() { TRACE } else { self.workload.name() }
    }

    /// From when to when the fault lasts, counted from the beginning of the measurement.
    pub fn fault_lasts(&self) -> Option<(Duration, Duration)> {
        let (from, to) = self.fault.lasts(self.lasts)?;
        Some(self.cut.map_or((from, to), |cut| (CUT_FROM, CUT_FROM + cut)))
    }

    /// The run's name.
    pub fn name(&self) -> String {
        let rtt = self.rtt.as_millis();
        let mut name = format!("{}/{}/rtt{rtt}/{}", self.mode, self.does(), self.fault);
        if let Some(cut) = self.cut {
            name.push_str(&format!("-{}s", cut.as_secs()));
        }
        if self.topology != Topology::Mesh || self.nodes.is_some() {
            name.push_str(&format!("/{}", self.topology));
        }
        if let Some(nodes) = self.nodes {
            name.push_str(&nodes.to_string());
        }
        name
    }

    /// What is wrong with it, if anything is.
    pub fn objection(&self) -> Option<String> {
        let (mode, workload) = (self.mode, self.workload);
        let ops = match self.load {
            Load::Open { rate } if !(rate > 0.0 && rate.is_finite()) => {
                return Some("the rate must be above 0".to_owned());
            }
            Load::Open { rate } => rate * (self.warmup + self.lasts).as_secs_f64(),
            Load::Closed { connections } if !(1..=BENCH_CONNECTIONS_MAX).contains(&connections) => {
                return Some(format!("connections must be from 1 to {BENCH_CONNECTIONS_MAX}"));
            }
            Load::Closed { .. } => 0.0,
        };
        #[allow(clippy::cast_precision_loss, reason = "the bound is a round number")]
        let most = BENCH_OPS_MAX as f64;
        if !workload.fits(mode) {
            return Some(format!("{workload} makes no sense in {mode}"));
        }
        if ops > most {
            return Some(format!("more than {BENCH_OPS_MAX} operations; make it shorter"));
        }
        if !(1..=BENCH_KEYS_MAX).contains(&self.keys) {
            return Some(format!("keys must be from 1 to {BENCH_KEYS_MAX}"));
        }
        if !(16..=BENCH_VALUE_BYTES_MAX).contains(&self.value_bytes) {
            return Some(format!("a value must have from 16 to {BENCH_VALUE_BYTES_MAX} bytes"));
        }
        if self.cut.is_some_and(|cut| CUT_FROM + cut >= self.lasts) {
            return Some("a fault must end before the measurement".to_owned());
        }
        if self.mode.is_strong() && self.topology != Topology::Mesh {
            return Some(format!("{mode} has no topology"));
        }
        let is_share = (0.0..=1.0).contains(&self.reads);
        (!is_share).then(|| "the share of reads must be from 0 to 1".to_owned())
    }
}

/// What a recorded trace is called among workloads.
pub const TRACE: &str = "trace";

/// When a fault of a given length begins: late enough to see what it was like before.
const CUT_FROM: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::compare::open;

    fn wanted() -> Wanted {
        Wanted::usual(Mode::Lww, Workload::YcsbA, open(10.0), Duration::from_secs(20))
    }

    #[test]
    fn what_differs_has_another_name() {
        let (plain, second) = (wanted(), Duration::from_secs(1));
        let cut = Wanted { fault: Fault::Partition, cut: Some(second * 15), ..wanted() };
        let ring = Wanted { topology: Topology::Ring, nodes: Some(5), ..wanted() };
        assert_eq!(plain.name(), "lww/ycsb-a/rtt0/none");
        assert_eq!(cut.name(), "lww/ycsb-a/rtt0/partition-15s");
        assert_eq!(ring.name(), "lww/ycsb-a/rtt0/none/ring5");
        assert_eq!(cut.fault_lasts(), Some((second * 3, second * 18)));
        assert_eq!((plain.fault_lasts(), plain.objection()), (None, None));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let second = Duration::from_secs(1);
        let strong = Mode::Linearizable;
        for wrong in [
            Wanted { load: open(0.0), ..wanted() },
            Wanted { fault: Fault::Partition, cut: Some(second * 17), ..wanted() },
            Wanted { topology: Topology::Hub, mode: strong, ..wanted() },
            Wanted { reads: 1.5, ..wanted() },
            Wanted { mode: Mode::Set, ..wanted() },
        ] {
            assert!(wrong.objection().is_some(), "{wrong:?}");
        }
    }
}
