//! The list of all faults, and how a plan is read from its text.

use super::packet::Packet;
use super::partition::Partition;
use super::plan::{Package, Plan};
use super::processes::{Kill, Pause, Restarts};
use super::{Fault, packet, partition, processes};

/// What the cluster must have been started with so that a fault can happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Each node's data on a file system of its own, which takes root.
    pub own_disks: bool,
    /// Each node under the fault shim, which takes a C compiler.
    pub shim: bool,
}

/// A kind of fault that a plan can name.
#[derive(Clone, Copy, Debug)]
pub struct FaultKind {
    /// Its name.
    pub name: &'static str,
    /// What it does, in one line.
    pub what: &'static str,
    /// What it takes.
    pub needs: Needs,
    /// Its variants; without a choice in the plan, chance takes one each time.
    pub variants: &'static [&'static str],
    make: fn(Option<&'static str>) -> Box<dyn Fault>,
}

impl FaultKind {
    /// A fault of this kind, of one variant or of a random one each time.
    pub fn make(&self, variant: Option<&'static str>) -> Box<dyn Fault> {
        (self.make)(variant)
    }
}

const NOTHING: Needs = Needs { own_disks: false, shim: false };

static FAULTS: &[FaultKind] = &[
    FaultKind {
        name: "partition",
        what: "cuts links between nodes: one node, halves, bridge, ring, one way, flapping, leaders",
        needs: NOTHING,
        variants: partition::VARIANTS,
        make: |variant| Box::new(Partition::new(variant)),
    },
    FaultKind {
        name: "packet",
        what: "delays packets, loses, repeats and reorders them, narrows the bandwidth",
        needs: NOTHING,
        variants: packet::VARIANTS,
        make: |variant| Box::new(Packet::new(variant)),
    },
    FaultKind {
        name: "kill",
        what: "kill -9 of one node, a minority, a majority, all, leaders, one just elected",
        needs: NOTHING,
        variants: processes::KILLS,
        make: |variant| Box::new(Kill::new(variant)),
    },
    FaultKind {
        name: "pause",
        what: "SIGSTOP of nodes, longer than an election takes",
        needs: NOTHING,
        variants: processes::PAUSES,
        make: |variant| Box::new(Pause::new(variant)),
    },
    FaultKind {
        name: "restarts",
        what: "kills and starts one node again and again",
        needs: NOTHING,
        variants: processes::RESTARTS,
        make: |variant| Box::new(Restarts::new(variant)),
    },
];

/// All kinds of faults.
pub fn faults() -> &'static [FaultKind] {
    FAULTS
}

/// Reads a plan: names separated by commas, each perhaps with `:variant`; `all`; `none`.
///
/// # Errors
///
/// What is wrong with the text, and what could stand there.
pub fn parse(spec: &str) -> Result<Plan, String> {
    let mut packages: Vec<Package> = Vec::new();
    for part in spec.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match part {
            "none" => {}
            "all" => packages.extend(FAULTS.iter().map(|kind| Package { kind, variant: None })),
            named => packages.push(package(named)?),
        }
    }
    if spec.trim().is_empty() {
        return Err(format!("no nemesis is named; give none, all, or some of {}", names()));
    }
    Ok(Plan::new(packages))
}

fn package(text: &str) -> Result<Package, String> {
    let (name, variant) = match text.split_once(':') {
        Some((name, variant)) => (name, Some(variant)),
        None => (text, None),
    };
    let kind = FAULTS.iter().find(|kind| kind.name == name);
    let kind = kind.ok_or_else(|| format!("there is no nemesis {name}; use {}", names()))?;
    let variant = match variant {
        None => None,
        Some(wanted) => {
            Some(*kind.variants.iter().find(|known| **known == wanted).ok_or_else(|| {
                format!("{name} has no variant {wanted}; use {}", kind.variants.join(", "))
            })?)
        }
    };
    Ok(Package { kind, variant })
}

fn names() -> String {
    FAULTS.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ")
}
