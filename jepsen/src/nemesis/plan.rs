//! Composes faults: periods of calm, of one fault, of many.
//!
//! Promises: a quarter of the periods is calm, others a random part of what the plan names; every
//! begin has its end in the history, in the reverse order; when the plan is over the cluster is
//! healed, or the run says why not.

use std::time::Duration;

use fastrand::Rng;
use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use super::{Deadline, Effect, Fault, FaultKind, Needs};
use crate::cluster::{Cluster, ClusterError};
use crate::history::{Recorder, Value};

/// Of how many periods one is calm.
const CALM_ONE_IN: u8 = 4;
/// Most faults at a time: more than that mostly stand in each other's way.
const TOGETHER_MAX: usize = 4;
/// The part of a period over which its faults begin.
const BEGIN_WITHIN: u32 = 4;

/// One kind of fault of a plan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Package {
    pub(super) kind: &'static FaultKind,
    pub(super) variant: Option<&'static str>,
}

/// What is to be broken.
#[derive(Clone, Debug)]
pub struct Plan {
    packages: Vec<Package>,
}

impl Plan {
    pub(super) fn new(packages: Vec<Package>) -> Self {
        Self { packages }
    }

    /// What the cluster must be started with for all of it.
    pub fn needs(&self) -> Needs {
        Needs {
            own_disks: self.packages.iter().any(|package| package.kind.needs.own_disks),
            shim: self.packages.iter().any(|package| package.kind.needs.shim),
        }
    }

    /// Names of its faults, as in the plan's text.
    pub fn names(&self) -> Vec<String> {
        let name = |package: &Package| match package.variant {
            None => package.kind.name.to_owned(),
            Some(variant) => format!("{}:{variant}", package.kind.name),
        };
        self.packages.iter().map(name).collect()
    }

    /// Whether nothing is to be broken.
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty()
    }

    /// Breaks the cluster until the deadline, a period of about `interval` after the other, writes
    /// down what it did, and heals.
    ///
    /// # Errors
    ///
    /// When the cluster does not come back after all faults are over.
    pub async fn run(
        &self,
        cluster: &Cluster,
        recorder: &Recorder,
        rng: &mut Rng,
        interval: Duration,
        until: Deadline,
    ) -> Result<(), ClusterError> {
        // The clients get going first.
        rest(&until, interval / 2).await;
        let mut is_first = true;
        while until.left().is_some() {
            let calm = rng.u8(..CALM_ONE_IN) == 0;
            let faults = self.choose(rng);
            let mut own = rng.fork();
            // A short run must not be all calm.
            if faults.is_empty() || (calm && !is_first) {
                rest(&until, interval).await;
                continue;
            }
            is_first = false;
            period(faults, cluster, recorder, &mut own, (interval, &until)).await;
            rest(&until, interval / 4).await;
        }
        let healed = cluster.heal().await;
        if !self.is_empty() {
            let effect = match &healed {
                Ok(()) => Effect::installed(Value::Nil),
                Err(error) => Effect::failed(Value::Nil, error.to_string()),
            };
            recorder.record(effect.event("heal"));
        }
        healed
    }

    /// A random part of the plan, in random order: one, or each with an even chance.
    fn choose(&self, rng: &mut Rng) -> Vec<Box<dyn Fault>> {
        let mut packages = self.packages.clone();
        rng.shuffle(&mut packages);
        let together = rng.usize(1..=TOGETHER_MAX);
        packages.truncate(together);
        packages.iter().map(|package| package.kind.make(package.variant)).collect()
    }
}

async fn rest(until: &Deadline, time: Duration) {
    if let Some(left) = until.left() {
        sleep(left.min(time)).await;
    }
}

/// One period: all faults begin within its first part, last until it is over, and end.
async fn period(
    faults: Vec<Box<dyn Fault>>,
    cluster: &Cluster,
    recorder: &Recorder,
    rng: &mut Rng,
    (interval, until): (Duration, &Deadline),
) {
    let ends = Deadline::after(until.left().unwrap_or_default().min(interval));
    let apart = u64::try_from((interval / BEGIN_WITHIN).as_millis()).unwrap_or(u64::MAX).max(1);
    let mut lasting: Vec<(Box<dyn Fault>, Rng)> = Vec::new();
    for mut fault in faults {
        let pause = rng.u64(..apart);
        let mut own = rng.fork();
        if !lasting.is_empty() {
            rest(&ends, Duration::from_millis(pause)).await;
        }
        let effect = fault.begin(cluster, &mut own).await;
        if fault.is_one_shot() {
            recorder.record(effect.event(fault.name()));
            continue;
        }
        recorder.record(effect.event(format!("start-{}", fault.name())));
        if effect.is_installed() {
            lasting.push((fault, own));
        }
    }
    if let Some(left) = ends.left() {
        let keeping = lasting.iter_mut().map(|(fault, own)| fault.keep(cluster, own));
        // A fault that has nothing more to do does not end the others.
        let keeping = async {
            join_all(keeping).await;
            std::future::pending::<()>().await;
        };
        drop(timeout(left, keeping).await);
    }
    for (mut fault, _) in lasting.into_iter().rev() {
        let effect = fault.end(cluster).await;
        recorder.record(effect.event(format!("stop-{}", fault.name())));
    }
}
