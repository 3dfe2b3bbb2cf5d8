//! What goes wrong while it is measured, when, and at which sites.
//!
//! Promises: a fault lasts from 30 % to 70 % of the measurement (the classic 30 s of a minute are from
//! second 15 to 45), so that there is a before and an after in the same run.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// The last site is cut off from the others.
    Partition,
    /// All sites are cut off from each other.
    Shattered,
    /// The last site's node is killed, and started again.
    NodeDown,
    /// The last site's clock is five seconds ahead.
    ClockOff,
}

/// A name that is none.
#[derive(Debug, thiserror::Error)]
#[error("there is no fault \"{name}\"; choose among {}", Fault::ALL.map(Fault::name).join(", "))]
pub struct UnknownFault {
    name: String,
}

/// How far a wrong clock is ahead: ten times what the store takes for harmless.
pub const CLOCK_AHEAD_MS: i64 = 5_000;

impl Fault {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::None, Self::Partition, Self::Shattered, Self::NodeDown, Self::ClockOff];

    /// Its name in reports and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Partition => "partition",
            Self::Shattered => "partition-1-1-1",
            Self::NodeDown => "node-down",
            Self::ClockOff => "clock-off",
        }
    }

    /// From when to when it lasts, counted from the beginning of a measurement of this length.
    pub fn lasts(self, measured: Duration) -> Option<(Duration, Duration)> {
        let part = |share: f64| {
            let second = Duration::from_secs(1);
            // Whole seconds, so that each counted second is inside or outside.
            if measured < second * 4 {
                measured.mul_f64(share)
            } else {
                whole(measured.mul_f64(share))
            }
        };
        let (from, to) =
            if measured == Duration::from_secs(60) { (0.25, 0.75) } else { (0.3, 0.7) };
        (self != Self::None).then(|| (part(from), part(to)))
    }
}

fn whole(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs())
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(name: &str) -> Result<Self, UnknownFault> {
        let found = Self::ALL.into_iter().find(|fault| fault.name() == name);
        found.ok_or_else(|| UnknownFault { name: name.to_owned() })
    }
}

/// Who can make things go wrong, and right again.
#[async_trait]
pub trait Faulty: Send + Sync {
    /// The sites that a fault cuts off, stops, or sets wrong.
    fn sites_of(&self, fault: Fault) -> Vec<u64>;

    /// Lets it begin. `Err` says why it did not.
    async fn strike(&self, fault: Fault) -> Result<(), String>;

    /// Lets it end, and waits until every node takes part again.
    async fn heal(&self, fault: Fault) -> Result<(), String>;

    /// The processes whose CPU and memory count, as they are now.
    async fn pids(&self) -> Vec<u32>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_has_a_before_and_an_after() {
        let seconds = Duration::from_secs;
        assert_eq!(Fault::Partition.lasts(seconds(60)), Some((seconds(15), seconds(45))));
        assert_eq!(Fault::NodeDown.lasts(seconds(20)), Some((seconds(6), seconds(14))));
        assert_eq!(Fault::None.lasts(seconds(60)), None);
        for fault in Fault::ALL {
            assert_eq!(fault.name().parse::<Fault>().unwrap(), fault);
        }
        "flood".parse::<Fault>().unwrap_err();
    }
}
