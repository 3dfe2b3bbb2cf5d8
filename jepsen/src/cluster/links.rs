//! What a directed link between two nodes does to the bytes that flow along it.
//!
//! Why it exists: both networks (the proxies on loopback, the switch between namespaces) obey the
//! same settings and keep the same counts, so that a fault is written once and says for both whether
//! it did anything. A link is a direction: the bytes from one node to another on whatever connection,
//! so that the answers of a node that was asked take the same link as what it sends by itself.
//!
//! Promises: settings take effect at once, also on what is already under way; chance comes from the
//! seed in the settings.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

/// Whether anything gets through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Block {
    /// Yes.
    #[default]
    Open,
    /// Nothing, and nobody is told: what a dead cable does. What was sent arrives when it heals.
    Stall,
    /// Connections are reset, new ones too: what a firewall that rejects does.
    Cut,
}

/// How what gets through is treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// How long it takes.
    pub delay: Duration,
    /// By how much more or less it may take.
    pub jitter: Duration,
    /// How many packets of a thousand are lost. On a proxied connection nothing can be lost: there
    /// the bytes come late by a retransmission, which is all that a node would see of it.
    pub loss: u32,
    /// How many packets of a thousand come twice. Only where there are packets.
    pub duplicate: u32,
    /// How many packets of a thousand overtake the others. Only where there are packets.
    pub reorder: u32,
    /// How many bytes get through in a second.
    pub bytes_per_second: Option<u64>,
    /// Where chance comes from.
    pub seed: u64,
}

impl Shape {
    /// Whether it treats anything at all.
    pub fn is_plain(&self) -> bool {
        *self == Self { seed: self.seed, ..Self::default() }
    }
}

/// All that is set on a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) block: Block,
    pub(super) shape: Shape,
}

/// What a link has done since the cluster started, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounts {
    /// Delivered.
    pub passed: u64,
    /// Held back or thrown away because the link was blocked.
    pub withheld: u64,
    /// Delivered late, twice, out of order or never because of its shape.
    pub treated: u64,
}

/// A direction between two nodes.
#[derive(Debug)]
pub(super) struct Link {
    /// What everything takes at least, whatever else is set: the length of the cable.
    length: Duration,
    settings: watch::Sender<Settings>,
    passed: AtomicU64,
    withheld: AtomicU64,
    treated: AtomicU64,
    rng: Mutex<fastrand::Rng>,
}

impl Link {
    fn new(length: Duration) -> Self {
        Self {
            length,
            settings: watch::Sender::new(Settings::default()),
            passed: AtomicU64::new(0),
            withheld: AtomicU64::new(0),
            treated: AtomicU64::new(0),
            rng: Mutex::new(fastrand::Rng::with_seed(0)),
        }
    }

    pub(super) fn settings(&self) -> Settings {
        *self.settings.borrow()
    }

    /// Whether it passes everything at once, as it is.
    pub(super) fn is_plain(&self) -> bool {
        self.length.is_zero() && self.settings().shape.is_plain()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Settings> {
        self.settings.subscribe()
    }

    pub(super) fn set_block(&self, block: Block) {
        self.settings.send_modify(|settings| settings.block = block);
    }

    pub(super) fn set_shape(&self, shape: Shape) {
        *self.rng.lock() = fastrand::Rng::with_seed(shape.seed);
        self.settings.send_modify(|settings| settings.shape = shape);
    }

    pub(super) fn count_passed(&self, bytes: usize) {
        self.passed.fetch_add(u64::try_from(bytes).unwrap_or(0), Ordering::Relaxed);
    }

    pub(super) fn count_withheld(&self, bytes: usize) {
        self.withheld.fetch_add(u64::try_from(bytes).unwrap_or(0), Ordering::Relaxed);
    }

    pub(super) fn count_treated(&self, bytes: usize) {
        self.treated.fetch_add(u64::try_from(bytes).unwrap_or(0), Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> LinkCounts {
        LinkCounts {
            passed: self.passed.load(Ordering::Relaxed),
            withheld: self.withheld.load(Ordering::Relaxed),
            treated: self.treated.load(Ordering::Relaxed),
        }
    }

    /// What chance makes of the next packet. Always draws the same number of numbers, so that one
    /// setting does not shift what another one draws.
    pub(super) fn fate(&self) -> Fate {
        let shape = self.settings().shape;
        let mut rng = self.rng.lock();
        let spread = u64::try_from(shape.jitter.as_micros()).unwrap_or(u64::MAX / 4);
        let (lost, twice, overtakes) = (rng.u32(..1000), rng.u32(..1000), rng.u32(..1000));
        let early = Duration::from_micros(rng.u64(0..=spread.saturating_mul(2)));
        let delay = self.length + (shape.delay + early).saturating_sub(shape.jitter);
        Fate {
            delay,
            lost: lost < shape.loss,
            twice: twice < shape.duplicate,
            overtakes: overtakes < shape.reorder,
        }
    }

    /// Waits until the link's block is as wanted.
    pub(super) async fn until(&self, is_so: impl Fn(Block) -> bool) {
        let mut settings = self.watch();
        // The sender lives as long as this link.
        drop(settings.wait_for(|settings| is_so(settings.block)).await);
    }
}

/// What is to become of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) delay: Duration,
    pub(super) lost: bool,
    pub(super) twice: bool,
    pub(super) overtakes: bool,
}

/// All directed links of a cluster.
#[derive(Clone, Debug)]
pub(super) struct Links {
    all: Arc<BTreeMap<(u32, u32), Link>>,
}

impl Links {
    /// Links between all nodes, in both directions.
    pub(super) fn new(nodes: u32) -> Self {
        Self::of_length(nodes, Duration::ZERO)
    }

    /// Links on which everything takes at least so long, always.
    pub(super) fn of_length(nodes: u32, length: Duration) -> Self {
        let pairs = (1..=nodes).flat_map(|from| (1..=nodes).map(move |to| (from, to)));
        let apart = pairs.filter(|(from, to)| from != to);
        Self { all: Arc::new(apart.map(|pair| (pair, Link::new(length))).collect()) }
    }

    pub(super) fn get(&self, from: u32, to: u32) -> Option<&Link> {
        self.all.get(&(from, to))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&(u32, u32), &Link)> {
        self.all.iter()
    }

    /// Everything open and plain.
    pub(super) fn clear(&self) {
        for link in self.all.values() {
            link.set_block(Block::Open);
            link.set_shape(Shape::default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_link_stays_long_when_everything_is_healed() {
        let links = Links::of_length(2, Duration::from_millis(80));
        let link = links.get(1, 2).unwrap();
        link.set_shape(Shape { delay: Duration::from_millis(5), ..Shape::default() });
        assert_eq!(link.fate().delay, Duration::from_millis(85));
        links.clear();
        assert_eq!(link.fate().delay, Duration::from_millis(80));
        assert!(!link.is_plain());
    }

    #[test]
    fn the_same_seed_makes_the_same_fates() {
        let shape = Shape {
            delay: Duration::from_millis(50),
            jitter: Duration::from_millis(10),
            loss: 200,
            seed: 7,
            ..Shape::default()
        };
        let fates = |shape: Shape| {
            let links = Links::new(2);
            let link = links.get(1, 2).unwrap();
            link.set_shape(shape);
            (0..100).map(|_| link.fate()).collect::<Vec<_>>()
        };
        assert_eq!(fates(shape), fates(shape));
        assert_ne!(fates(shape), fates(Shape { seed: 8, ..shape }));
        let slow = fates(shape);
        assert!(slow.iter().all(|fate| (40..=60).contains(&fate.delay.as_millis())));
        let lost = slow.iter().filter(|fate| fate.lost).count();
        assert!((5..45).contains(&lost), "{lost} of 100 lost");
        // Loss does not shift what the delays are.
        let delays = |shape| fates(shape).iter().map(|fate| fate.delay).collect::<Vec<_>>();
        assert_eq!(delays(shape), delays(Shape { loss: 900, ..shape }));
    }

    #[test]
    fn a_node_has_no_link_to_itself() {
        let links = Links::new(3);
        assert!(links.get(2, 2).is_none());
        assert_eq!(links.iter().count(), 6);
    }
}
