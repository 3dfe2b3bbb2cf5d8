//! Ports that nobody else is likely to take.
//!
//! Why it exists: the founders of a cluster must know each other's ports before any is bound, and a
//! killed node must get its port again. Ports that the operating system hands out to outgoing
//! connections would be taken in between, so these come from below that range; whoever loses a race
//! all the same starts again with others.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

/// Below what Linux, macOS and the BSDs give to outgoing connections.
const RANGE: std::ops::Range<u16> = 10_240..32_000;

static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// Ports that could be bound just now and that this process has not given out before.
pub(crate) fn free(count: usize) -> Vec<u16> {
    // Not seeded: which ports are free is not the test's choice.
    let mut rng = fastrand::Rng::new();
    let mut taken = TAKEN.lock().unwrap();
    let mut ports = Vec::new();
    while ports.len() < count {
        let port = rng.u16(RANGE);
        let is_free = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if is_free && taken.insert(port) {
            ports.push(port);
        }
    }
    ports
}
