//! A switch in user space between the nodes' network namespaces: delay, jitter, loss, duplication,
//! reordering and bandwidth for each direction of each pair, packet by packet.
//!
//! Why it exists: many kernels have no netem. Promises: packets of a direction keep their order unless
//! one is to overtake; a blocked direction drops all; what comes from or goes to the harness itself is
//! never touched. What waits is bounded; beyond that packets are dropped, as a full queue would do.
//! A cut link is silent here, as a stalled one: a switch resets nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixDatagram;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::crew::Crew;
use super::links::{Block, Link, Links};

/// The longest frame that a TAP device hands over.
const FRAME_MAX: usize = 65_536;
/// Frames that may wait on a link.
const WAITING_MAX: usize = 2048;
/// Ethernet addresses end in the number of the port; they begin like this.
const PREFIX: [u8; 5] = [2, 0x74, 0x65, 0x74, 0x72];

type Ports = Arc<BTreeMap<u8, UnixDatagram>>;

/// The Ethernet address of a port.
pub(super) fn ethernet(port: u8) -> String {
    let [a, b, c, d, e] = PREFIX;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{port:02x}")
}

/// What waits on a link until it is due.
struct Late {
    due: Instant,
    frame: Vec<u8>,
}

/// Starts a switch with these ports; those that are seats have links between them.
pub(super) fn start(crew: &Crew, links: &Links, ports: BTreeMap<u8, UnixDatagram>) {
    let ports: Ports = Arc::new(ports);
    let mut queues = BTreeMap::new();
    for ((from, to), _) in links.iter() {
        let (queue, late) = mpsc::channel(WAITING_MAX);
        queues.insert((*from, *to), queue);
        let (pair, links, ports) = ((*from, *to), links.clone(), Arc::clone(&ports));
        crew.spawn("link", async move { deliver_late(late, pair, &links, &ports).await });
    }
    let queues = Arc::new(queues);
    for from in ports.keys().copied() {
        let (links, ports, queues) = (links.clone(), Arc::clone(&ports), Arc::clone(&queues));
        crew.spawn("port", async move {
            let Some(line) = ports.get(&from) else { return };
            let mut bytes = vec![0; FRAME_MAX];
            // An end that is gone says so with every call; the namespace goes with it.
            while let Ok(length) = line.recv(&mut bytes).await {
                let frame = bytes.get(..length).unwrap_or_default();
                for to in addressees(frame, from, &ports) {
                    let pair = (u32::from(from), u32::from(to));
                    match (links.get(pair.0, pair.1), queues.get(&pair)) {
                        (Some(link), Some(queue)) => pass(frame, link, queue, &ports, to),
                        _ => send(&ports, to, frame),
                    }
                }
            }
        });
    }
}

/// Where a frame goes: to the port in its address, or to all when it is for all.
fn addressees(frame: &[u8], from: u8, ports: &Ports) -> Vec<u8> {
    match frame {
        [a, b, c, d, e, port, ..] if [*a, *b, *c, *d, *e] == PREFIX => vec![*port],
        [first, ..] if first & 1 == 1 => ports.keys().copied().filter(|p| *p != from).collect(),
        _ => Vec::new(),
    }
}

/// Sends without waiting: a port that takes nothing loses it.
fn send(ports: &Ports, to: u8, frame: &[u8]) {
    if let Some(line) = ports.get(&to) {
        drop(line.try_send(frame));
    }
}

fn pass(frame: &[u8], link: &Link, queue: &mpsc::Sender<Late>, ports: &Ports, to: u8) {
    let settings = link.settings();
    if settings.block != Block::Open {
        return link.count_withheld(frame.len());
    }
    // What waits goes first, also when the link has become plain meanwhile.
    let is_idle = queue.capacity() == queue.max_capacity();
    if link.is_plain() && is_idle {
        link.count_passed(frame.len());
        return send(ports, to, frame);
    }
    let fate = link.fate();
    let is_slow = settings.shape.bytes_per_second.is_some() || !fate.delay.is_zero();
    if !settings.shape.is_plain() && (fate.lost || fate.twice || fate.overtakes || is_slow) {
        link.count_treated(frame.len());
    }
    if fate.lost {
        return;
    }
    if fate.overtakes {
        link.count_passed(frame.len());
        return send(ports, to, frame);
    }
    for _ in 0..=usize::from(fate.twice) {
        let late = Late { due: Instant::now() + fate.delay, frame: frame.to_vec() };
        // A full queue drops what comes last.
        drop(queue.try_send(late));
    }
}

async fn deliver_late(
    mut late: mpsc::Receiver<Late>,
    (from, to): (u32, u32),
    links: &Links,
    ports: &Ports,
) {
    while let (Some(Late { due, frame }), Some(link)) = (late.recv().await, links.get(from, to)) {
        sleep_until(due).await;
        let settings = link.settings();
        if settings.block != Block::Open {
            link.count_withheld(frame.len());
            continue;
        }
        link.count_passed(frame.len());
        send(ports, u8::try_from(to).unwrap_or(0), &frame);
        if let Some(rate) = settings.shape.bytes_per_second {
            let bytes = u64::try_from(frame.len()).unwrap_or(u64::MAX);
            sleep(Duration::from_micros(bytes.saturating_mul(1_000_000) / rate.max(1))).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::links::Shape;

    /// Ports 1 and 2 of a switch, as the other ends of their lines.
    struct Pair {
        one: UnixDatagram,
        two: UnixDatagram,
        links: Links,
        _crew: Crew,
    }

    fn pair() -> Pair {
        let (one, own_one) = UnixDatagram::pair().unwrap();
        let (two, own_two) = UnixDatagram::pair().unwrap();
        let (crew, links) = (Crew::default(), Links::new(2));
        start(&crew, &links, BTreeMap::from([(1, own_one), (2, own_two)]));
        Pair { one, two, links, _crew: crew }
    }

    fn frame(to: u8, number: u8) -> Vec<u8> {
        [&PREFIX[..], &[to, number]].concat()
    }

    impl Pair {
        fn shape(&self, shape: Shape) {
            self.links.get(1, 2).unwrap().set_shape(Shape { seed: 3, ..shape });
        }

        /// Sends frames 0 to n from 1 to 2, and a last one that is not touched.
        async fn numbers(&self, count: u8) -> Vec<u8> {
            for number in 0..count {
                self.one.send(&frame(2, number)).await.unwrap();
            }
            let counted = || {
                let counts = self.links.get(1, 2).unwrap().counts();
                counts.treated + counts.passed + counts.withheld
            };
            while counted() < u64::from(count) * 7 {
                tokio::task::yield_now().await;
            }
            self.links.get(1, 2).unwrap().set_shape(Shape::default());
            self.links.get(1, 2).unwrap().set_block(Block::Open);
            self.one.send(&frame(2, 255)).await.unwrap();
            let mut arrived = Vec::new();
            loop {
                let mut bytes = [0; 16];
                let length = self.two.recv(&mut bytes).await.unwrap();
                assert_eq!(length, 7);
                match bytes[6] {
                    255 => return arrived,
                    number => arrived.push(number),
                }
            }
        }
    }

    #[tokio::test]
    async fn a_plain_link_passes_everything_in_order() {
        assert_eq!(pair().numbers(20).await, (0..20).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_blocked_link_drops_one_direction() {
        let pair = pair();
        pair.links.get(1, 2).unwrap().set_block(Block::Stall);
        pair.two.send(&frame(1, 9)).await.unwrap();
        let mut bytes = [0; 16];
        assert_eq!(pair.one.recv(&mut bytes).await.unwrap(), 7, "the other way is open");
        assert_eq!(pair.numbers(5).await, [] as [u8; 0]);
        assert_eq!(pair.links.get(1, 2).unwrap().counts().withheld, 35);
    }

    #[tokio::test]
    async fn packets_are_lost_repeated_and_overtaken_by_chance() {
        let lossy = pair();
        lossy.shape(Shape { loss: 500, ..Shape::default() });
        // Those that are neither lost nor late count when they pass.
        let arrived = lossy.numbers(60).await.len();
        assert!((10..50).contains(&arrived), "{arrived} of 60");
        let double = pair();
        double.shape(Shape { duplicate: 1000, ..Shape::default() });
        assert_eq!(double.numbers(3).await, [0, 0, 1, 1, 2, 2]);
        let unruly = pair();
        let delay = Duration::from_millis(20);
        unruly.shape(Shape { delay, reorder: 300, ..Shape::default() });
        let mut arrived = unruly.numbers(30).await;
        assert!(!arrived.is_sorted(), "{arrived:?}");
        arrived.sort_unstable();
        assert_eq!(arrived, (0..30).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn jitter_alone_keeps_the_order() {
        let pair = pair();
        let delay = Duration::from_millis(10);
        pair.shape(Shape { delay, jitter: delay, ..Shape::default() });
        assert_eq!(pair.numbers(30).await, (0..30).collect::<Vec<_>>());
    }

    #[test]
    fn frames_go_to_their_port_or_to_all() {
        assert_eq!(ethernet(3), "02:74:65:74:72:03");
        let (a, _) = std::os::unix::net::UnixDatagram::pair().unwrap();
        drop(a);
        let ports: Ports = Arc::new(BTreeMap::new());
        assert_eq!(addressees(&frame(7, 0), 1, &ports), [7]);
        assert!(addressees(&[0xff; 14], 1, &ports).is_empty());
        assert!(addressees(&[], 1, &ports).is_empty());
    }
}
