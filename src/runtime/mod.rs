//! The utility room: the only place that touches the wall clock, randomness, spawning and metrics,
//! and by which a process owns a directory.
//!
//! Why it exists: a seeded simulation must be able to own time, chance and scheduling, so every
//! other room asks this one for them (`clippy.toml` bans the real ones elsewhere).
//!
//! Promises: nothing here knows what a key, a shard or a peer is.
//! Relies on: tokio, getrandom, fastrand.

mod causes;
pub mod clock;
mod directory;
pub mod limits;
pub mod metrics;
pub mod planted;
pub mod rng;
pub mod task;

use std::sync::Arc;

pub use causes::causes;
pub use clock::{Clock, Moment};
pub use directory::DirectoryLock;
pub use rng::Rng;
pub use task::Tasks;

/// Everything of the outside world that is neither a disk nor a network: one value per node.
#[derive(Clone, Debug)]
pub struct Env {
    /// Monotonic and wall time.
    pub clock: Arc<dyn Clock>,
    /// Seeded or system randomness.
    pub rng: Arc<Rng>,
    /// Named tasks and threads.
    pub tasks: Tasks,
}

impl Env {
    /// The real world: system clocks, entropy from the operating system, tokio tasks and threads.
    pub fn system() -> Self {
        Self {
            clock: Arc::new(clock::SystemClock::default()),
            rng: Arc::new(Rng::from_entropy()),
            tasks: Tasks::default(),
        }
    }
}
